//! The package opens more streams at once than our limit allows, because it cannot know our limit.

use serde_json::json;
use wsmux::{Config, ConnectionError};

use super::{interop::*, pair::*};

in_both_roles! {
    a_thousand_calls_at_once_are_all_answered_at_a_limit_of_a_hundred,
    calls_that_stall_do_not_keep_the_rest_of_a_thousand_from_their_turn,
    what_becomes_of_a_stream_while_it_waits_takes_effect,
    a_connection_that_is_closed_takes_what_waits_with_it,
    a_drain_refuses_what_waits_and_serves_what_runs,
}

async fn limited(role: Role, streams: u64) -> Pair {
    Pair::new(role, config(|c| _ = c.max_concurrent_bidi_streams(streams)), &[]).await
}

/// Waits until this many of the package's streams wait because of our limit.
async fn until_waiting(pair: &Pair, streams: u64) {
    let job = async {
        while pair.ours.stats().waiting_streams != streams {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    within(&format!("{streams} streams that wait"), job).await;
}

async fn a_thousand_calls_at_once_are_all_answered_at_a_limit_of_a_hundred(role: Role) {
    const CALLS: u64 = 1_000;
    let pair = Pair::new(role, Config::default(), &[]).await;
    let calls = pair.node.call("manyEcho", json!({ "streams": CALLS, "bytes": 1_000 }));
    // We accept no stream until all streams above the limit wait.
    until_waiting(&pair, CALLS - 100).await;
    let echo = Echo::start(&pair.ours);
    pair.start_node_echo().await;
    assert_eq!(calls.await["bytes"], CALLS * 1_000);
    echo.idle().await;
    assert_eq!(pair.ours.stats().streams_refused, 0);
    pair.assert_no_streams_left().await;
}

async fn calls_that_stall_do_not_keep_the_rest_of_a_thousand_from_their_turn(role: Role) {
    const CALLS: u64 = 1_000;
    let pair = limited(role, 100).await;
    let mut stalled = Vec::new();
    for _ in 0..90 {
        stalled.push(pair.open(Opener::Them).await);
    }
    let calls = pair.node.call("manyEcho", json!({ "streams": CALLS, "bytes": 1_000 }));
    until_waiting(&pair, CALLS - 10).await;
    let echo = Echo::start(&pair.ours);
    pair.start_node_echo().await;
    assert_eq!(calls.await["bytes"], CALLS * 1_000);
    echo.idle().await;
    for (stream, there) in &mut stalled {
        pair.talk(stream, *there, 10_000).await;
    }
    drop(stalled);
    assert_eq!(pair.ours.stats().streams_refused, 0);
    pair.assert_no_streams_left().await;
}

async fn what_becomes_of_a_stream_while_it_waits_takes_effect(role: Role) {
    let pair = limited(role, 1).await;
    let (mut first, first_there) = pair.open(Opener::Them).await;
    let cancelled = pair.node.open("bi").await;
    let stopped = pair.node.open("bi").await;
    let reset = pair.node.open("bi").await;
    let finished = pair.node.open("bi").await;
    until_waiting(&pair, 4).await;
    pair.node.call("cancel", json!({ "stream": cancelled, "code": 5 })).await;
    pair.node.call("stop", json!({ "stream": stopped, "code": 6 })).await;
    pair.node.call("reset", json!({ "stream": reset, "code": 7 })).await;
    pair.node.call("finish", json!({ "stream": finished })).await;
    // The cancelled stream no longer waits.
    until_waiting(&pair, 3).await;
    pair.talk(&mut first, first_there, 10_000).await;
    drop(first);

    let accept = || async { within("a stream", pair.ours.accept_bi()).await.unwrap() };
    // The package has stopped this stream. The data that the package still sends on the stream
    // arrives here.
    let mut stream = accept().await;
    assert_eq!(stop_code(stream.send()).await, 6);
    let write = pair.node.write_pattern(stopped, 1, 10_000);
    tokio::join!(write, receive_pattern(stream.recv(), 1, 10_000));
    drop(stream);
    // The package has reset this stream. The data that we still send on the stream arrives at the
    // package.
    let mut stream = accept().await;
    assert_eq!(reset_code(stream.recv()).await, 7);
    tokio::join!(send_pattern(stream.send(), 2, 10_000), pair.node.read_pattern(reset, 2, 10_000));
    drop(stream);
    // The package has finished this stream without data, so it is an empty request.
    let mut stream = accept().await;
    receive_pattern(stream.recv(), 0, 0).await;
    let read = pair.node.read_pattern(finished, 3, 10_000);
    tokio::join!(send_pattern(stream.send(), 3, 10_000), read);
    drop(stream);
    assert_eq!(pair.ours.stats().streams_refused, 0);
    pair.exchange(Opener::Them, 1).await;
    pair.assert_no_streams_left().await;
}

async fn a_connection_that_is_closed_takes_what_waits_with_it(role: Role) {
    let pair = limited(role, 1).await;
    let (_stream, _) = pair.open(Opener::Them).await;
    let mut reads = Vec::new();
    for _ in 0..20 {
        let stream = pair.node.open("bi").await;
        reads.push(pair.node.call_fails("read", json!({ "stream": stream })));
    }
    until_waiting(&pair, 20).await;
    pair.ours.close(code(42), b"enough");
    for read in reads {
        // The read fails with the connection's error, which has no stream code.
        assert_eq!(read.await.code, None);
    }
    let end = within("the end", pair.ours.closed()).await;
    assert!(matches!(end, ConnectionError::LocallyClosed), "{end:?}");
    assert_eq!(pair.ours.stats().waiting_streams, 0);
    pair.node.assert_unharmed().await;
}

async fn a_drain_refuses_what_waits_and_serves_what_runs(role: Role) {
    let pair = limited(role, 1).await;
    let (mut stream, there) = pair.open(Opener::Them).await;
    let mut refused = Vec::new();
    for _ in 0..20 {
        refused.push(pair.node.open("bi").await);
    }
    until_waiting(&pair, 20).await;
    let told = pair.node.call("closed", json!({}));
    let serve = async {
        for &stream in &refused {
            let write = pair.node.call("waitWriteError", json!({ "stream": stream }));
            let read = pair.node.call_fails("read", json!({ "stream": stream }));
            assert_eq!(write.await["code"], 0);
            assert_eq!(read.await.code, Some(0));
        }
        pair.talk(&mut stream, there, 10_000).await;
        drop(stream);
    };
    pair.ours.drain();
    let ((), end) = tokio::join!(serve, within("the drain", pair.ours.closed()));
    let end = format!("{end:?}");
    assert_eq!(told.await["code"], 1000, "{end}");
    assert_eq!(pair.ours.stats().streams_refused, 20);
    assert_eq!(pair.node.uncaught(), Vec::<String>::new());
}
