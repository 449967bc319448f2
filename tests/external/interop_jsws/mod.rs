//! The js-ws wire against the package that defines it, `@matrixai/ws` 1.1.7 under Node, over wss.
//! Each test runs twice, with our server and with our client. tests/peers/node/NOTES.md describes
//! the package's own behaviour.
//!
//! Needs Node 20 and the npm packages of tests/peers/node; `./test` installs them and runs this
//! module.

mod authentication;
mod cancel;
mod close;
use wsmux_testing::interop;
use wsmux_testing::node;
mod pair;
mod waiting;

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use wsmux::Config;

use super::node_stories::*;
use interop::*;
use pair::*;

in_both_roles! {
    a_stream_carries_64_mib_each_way_through_windows_of_1_mib,
    a_stream_carries_64_mib_each_way_through_windows_of_1024_bytes,
    two_hundred_streams_run_at_once_in_each_direction,
    ten_thousand_streams_one_after_another_leave_nothing_behind,
    either_half_finishes_while_the_other_goes_on,
    our_reset_and_our_stop_reach_the_peer_with_their_codes,
    the_peers_reset_and_stop_reach_us_with_their_codes,
    a_peer_that_does_not_read_is_sent_its_window_and_not_a_byte_more,
    a_short_stream_is_not_lost_on_a_peer_that_reads_late,
    no_credit_is_sent_for_a_stream_that_has_ended,
    a_stream_for_which_there_is_no_room_is_refused_and_the_others_go_on,
}

/// Sends 64 MiB each way over one stream.
async fn bulk(pair: &Pair, opener: Opener) {
    let (mut stream, there) = pair.open(opener).await;
    let (send, recv) = stream.split();
    let (seed, bytes) = (opener as u8, 64 * MIB);
    tokio::join!(
        pair.node.read_pattern(there, seed, bytes),
        pair.node.write_pattern(there, seed + 100, bytes),
        send_pattern(send, seed, bytes),
        receive_pattern(recv, seed + 100, bytes),
    );
    pair.node.assert_unharmed().await;
}

async fn a_stream_carries_64_mib_each_way_through_windows_of_1_mib(role: Role) {
    let pair = Pair::with_windows(role, MIB).await;
    for opener in Opener::BOTH {
        bulk(&pair, opener).await;
    }
}

async fn a_stream_carries_64_mib_each_way_through_windows_of_1024_bytes(role: Role) {
    let pair = Pair::with_windows(role, KIB).await;
    // Here only the client opens a stream. In the previous test the server also opens a stream.
    bulk(&pair, if role == Role::WeServe { Opener::Them } else { Opener::Us }).await;
}

async fn two_hundred_streams_run_at_once_in_each_direction(role: Role) {
    const STREAMS: u64 = 200;
    const BYTES: u64 = 100_000;
    let pair = Pair::new(role, config(|c| _ = c.max_concurrent_bidi_streams(STREAMS)), &[]).await;
    let echo = Echo::start(&pair.ours);
    pair.start_node_echo().await;

    many_echoes_at_once(&pair.ours, &pair.node, STREAMS, BYTES).await;
    echo.idle().await;
    pair.assert_no_streams_left().await;
}

async fn ten_thousand_streams_one_after_another_leave_nothing_behind(role: Role) {
    // The client opens most of the streams, and the server opens some streams in between.
    let (our_streams, their_streams) = match role {
        Role::WeServe => (1_000, 10_000),
        Role::WeConnect => (10_000, 1_000),
    };
    let pair = Pair::new(role, Config::default(), &[]).await;
    let echo = Echo::start(&pair.ours);
    pair.start_node_echo().await;

    echoes_in_sequence(&pair.ours, &pair.node, our_streams, their_streams, 10).await;
    echo.idle().await;
    pair.assert_no_streams_left().await;
}

async fn either_half_finishes_while_the_other_goes_on(role: Role) {
    let pair = Pair::new(role, Config::default(), &[]).await;
    for opener in Opener::BOTH {
        let (mut stream, there) = pair.open(opener).await;
        // Our sending half ends first.
        let (send, recv) = stream.split();
        tokio::join!(send_pattern(send, 1, 10_000), pair.node.read_pattern(there, 1, 10_000));
        tokio::join!(receive_pattern(recv, 2, 10_000), pair.node.write_pattern(there, 2, 10_000));
        // The package's sending half ends first.
        let (mut stream, there) = pair.open(opener).await;
        let (send, recv) = stream.split();
        tokio::join!(receive_pattern(recv, 3, 10_000), pair.node.write_pattern(there, 3, 10_000));
        tokio::join!(send_pattern(send, 4, 10_000), pair.node.read_pattern(there, 4, 10_000));
    }
    pair.assert_no_streams_left().await;
}

/// The largest code that a JavaScript number can hold, a small code, and zero.
const CODES: [u64; 3] = [(1 << 53) - 1, 4242, 0];

async fn our_reset_and_our_stop_reach_the_peer_with_their_codes(role: Role) {
    let pair = Pair::new(role, Config::default(), &[]).await;
    for opener in Opener::BOTH {
        for number in CODES {
            let (mut stream, there) = pair.open(opener).await;
            our_reset_and_stop(&mut stream, &pair.node, there, number).await;
        }
    }
    pair.assert_no_streams_left().await;
}

async fn the_peers_reset_and_stop_reach_us_with_their_codes(role: Role) {
    let pair = Pair::new(role, Config::default(), &[]).await;
    for opener in Opener::BOTH {
        // The package sends its own codes in full, even if a JavaScript number cannot hold them.
        for number in [CODES[0], CODES[1], CODES[2], (1 << 62) - 1] {
            let (mut stream, there) = pair.open(opener).await;
            let arguments = json!({ "stream": there, "code": number.to_string() });
            their_reset_and_stop(&mut stream, &pair.node, arguments, number).await;
        }
    }
    pair.assert_no_streams_left().await;
}

/// The package silently discards data that exceeds its window. If we sent one byte too many, the
/// end of the pattern would be missing.
async fn a_peer_that_does_not_read_is_sent_its_window_and_not_a_byte_more(role: Role) {
    const WINDOW: u64 = 10_000;
    let pair = Pair::with_windows(role, WINDOW).await;
    for opener in Opener::BOTH {
        let (mut stalled, there) = pair.open(opener).await;
        let before = pair.ours.stats().bytes_sent;
        let look = async {
            // When the exchanges have ended, the stalled stream has sent all that it can send.
            for _ in 0..10 {
                pair.exchange(Opener::Us, 100).await;
            }
            let sent = pair.ours.stats().bytes_sent - before;
            // The package holds one window of data in the queue of its web stream, and has granted
            // credit for another window. `bytes_sent` also includes the exchanges. In each exchange
            // this end sends 100 bytes of data, and less than 100 bytes of headers and control
            // messages.
            assert!((2 * WINDOW..2 * WINDOW + 10 * 200).contains(&sent), "{sent} bytes");
            // The package first reads one message at a time, and after each message grants us
            // credit for the next message. After that the package reads everything that is left.
            let mut bytes = 0;
            for max in [Some(1); 50].into_iter().chain([None]) {
                let read = json!({ "stream": there, "seed": 9, "max": max.unwrap_or(MIB) });
                let read = pair.node.call("read", read).await;
                assert_eq!(read["patternOk"], true, "{read}");
                bytes += read["bytes"].as_u64().unwrap();
            }
            assert_eq!(bytes, MIB);
        };
        tokio::join!(send_pattern(stalled.send(), 9, MIB), look);
    }
}

/// If data and the stream's end are in one TLS record, the package loses both when its application
/// is not reading. So we send them in two records (J-16).
async fn a_short_stream_is_not_lost_on_a_peer_that_reads_late(role: Role) {
    let pair = Pair::new(role, Config::default(), &[]).await;
    for opener in Opener::BOTH {
        for seed in 0..30 {
            let (mut stream, there) = pair.open(opener).await;
            send_pattern(stream.send(), seed, 100).await;
            assert!(matches!(within("the end sent", stream.send().stopped()).await, Ok(None)));
            pair.exchange(Opener::Us, 1).await;
            pair.node.read_pattern(there, seed, 100).await;
        }
    }
}

/// If we sent an Ack on a stream of the package's after the stream has ended, the package would
/// mistake the Ack for a new stream.
async fn no_credit_is_sent_for_a_stream_that_has_ended(role: Role) {
    let pair = Pair::with_windows(role, 4 * KIB).await;
    for opener in Opener::BOTH {
        for seed in 0..10 {
            let (mut stream, there) = pair.open(opener).await;
            let (send, recv) = stream.split();
            // The whole window is sent. If the stream had not ended, a grant would now be due.
            let write = pair.node.write_pattern(there, seed, 4 * KIB);
            let read = pair.node.read_pattern(there, seed, 10);
            tokio::join!(write, read, send_pattern(send, seed, 10));
            // We read only after both halves have ended. `received_reset` fails once no reset can
            // arrive. So when this call fails, the end of the stream has arrived.
            within("the end", recv.received_reset()).await.unwrap_err();
            let mut bytes = [0; 4 * KIB as usize];
            recv.read_exact(&mut bytes).await.unwrap();
            check_pattern(seed, 0, &bytes);
            // Everything but the end has been read, so the stream still exists. If our end wrongly
            // sent an Ack on the stream, the Ack would arrive before this exchange.
            pair.exchange(Opener::Them, 1).await;
            assert_eq!(recv.read_chunk(1).await.unwrap(), None);
        }
        // If the package had mistaken an Ack for a new stream, it would accept that stream in place
        // of this exchange's stream.
        pair.exchange(Opener::Us, 1_000).await;
    }
    pair.assert_no_streams_left().await;
}

async fn a_stream_for_which_there_is_no_room_is_refused_and_the_others_go_on(role: Role) {
    let refusals = AtomicU64::new(0);
    let config = config(|c| _ = c.max_concurrent_bidi_streams(2).max_waiting_streams(0));
    let pair = Pair::new(role, config, &[]).await;
    let refuse = async || {
        let refused = pair.node.open("bi").await;
        let write = pair.node.call("waitWriteError", json!({ "stream": refused }));
        let read = pair.node.call_fails("read", json!({ "stream": refused }));
        assert_eq!(write.await["code"], 0);
        assert_eq!(read.await.code, Some(0));
        let refused = refusals.fetch_add(1, Ordering::Relaxed) + 1;
        assert_eq!(pair.ours.stats().streams_refused, refused);
    };
    let (mut first, first_there) = pair.open(Opener::Them).await;
    let (mut second, second_there) = pair.open(Opener::Them).await;
    refuse().await;
    refuse().await;
    pair.talk(&mut first, first_there, 10_000).await;
    drop(first);
    // There is room for one stream again, but not for two.
    let (mut third, third_there) = pair.open(Opener::Them).await;
    refuse().await;
    // Streams that we open do not count against our limit.
    pair.exchange(Opener::Us, 10_000).await;
    pair.talk(&mut second, second_there, 10_000).await;
    pair.talk(&mut third, third_there, 10_000).await;
    drop((second, third));
    pair.assert_no_streams_left().await;
}
