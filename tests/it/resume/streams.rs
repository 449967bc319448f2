//! What an application sees of its streams, its calls and its datagrams while sockets are lost.

use bytes::Bytes;
use tokio::task::JoinSet;
use wsmux::{ReadError, WebSocketClient, WebSocketConnection, WebSocketServer, Wire};
use wsmux_testing::{
    cutter::Cut,
    interop::{
        Echo, KIB, code, get_echo, receive_pattern, reset_code, send_pattern, stop_code, within,
        write_pattern,
    },
};

use super::{
    config, connect_plain, connect_tls, ended_by_the_loss, kill_at_random,
    place::{Ends, Place},
};

const STREAMS: u64 = 200;
const LEN: u64 = 20 * KIB;

/// The way in which the stream with the number `nth` ends.
fn way(nth: u64) -> u64 {
    nth % 3
}

/// Opens streams. One third of them is finished, one third is reset, and one third is stopped. Each
/// stream has a number. The number is the stream's first byte, and also the code with which the
/// stream is reset or stopped.
async fn open_all(connection: WebSocketConnection) {
    for nth in 0..STREAMS {
        let mut send = within("opening", connection.open_uni()).await.expect("a stream");
        within("writing", send.write_all(&[nth as u8])).await.expect("a stream that takes it");
        match way(nth) {
            0 => send_pattern(&mut send, nth as u8, LEN).await,
            1 => {
                let job = write_pattern(&mut send, nth as u8, 0, LEN);
                within("writing", job).await.expect("a stream that takes all");
                send.reset_at(code(nth), LEN + 1).expect("a stream that can be reset");
            }
            _ => assert_eq!(stop_code(&send).await, nth),
        }
    }
}

async fn accept_all(connection: WebSocketConnection) {
    let mut jobs = JoinSet::new();
    let mut seen = [false; STREAMS as usize];
    for _ in 0..STREAMS {
        let mut recv = within("accepting", connection.accept_uni()).await.expect("a stream");
        let mut nth = [0];
        within("reading", recv.read_exact(&mut nth)).await.expect("a number");
        let nth = u64::from(nth[0]);
        assert!(!std::mem::replace(&mut seen[nth as usize], true), "stream {nth} again");
        jobs.spawn(async move {
            match way(nth) {
                0 => {
                    receive_pattern(&mut recv, nth as u8, LEN).await;
                    let again = within("reading", recv.read_chunk(1)).await;
                    assert!(matches!(again, Ok(None)), "{again:?} after the end");
                }
                1 => {
                    assert_eq!(reset_code(&mut recv).await, nth);
                    let again = within("reading", recv.read_chunk(1)).await;
                    assert!(!matches!(again, Ok(Some(_))), "{again:?} after a reset");
                }
                _ => {
                    recv.stop(code(nth)).expect("a stream that can be stopped");
                    let after = within("reading", recv.read_chunk(1)).await;
                    assert!(matches!(after, Err(ReadError::ClosedStream)), "{after:?}");
                }
            }
        });
    }
    while let Some(done) = jobs.join_next().await {
        done.expect("each stream ends as it was ended");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fin_reset_and_stop_is_seen_exactly_once() {
    for (seed, ends) in [(3, connect_plain().await), (4, connect_tls().await)] {
        let (client, server) = (&ends.client, &ends.server);
        let all = async {
            let mut jobs = JoinSet::new();
            for (from, to) in [(client, server), (server, client)] {
                jobs.spawn(open_all(from.clone()));
                jobs.spawn(accept_all(to.clone()));
            }
            while let Some(done) = jobs.join_next().await {
                done.expect("all streams end");
            }
        };
        tokio::select! {
            () = all => {}
            () = kill_at_random(&ends.cutter, seed, 1..60_000) => {}
        }
        let stats = client.session_stats();
        println!("{stats:?}, {} dials", ends.cutter.accepted());
        assert!(stats.resumptions >= 3, "{stats:?}");
        ends.talk().await;
    }
}

async fn calls(ends: &Ends, seed: u64) {
    let _echo = Echo::start(&ends.server);
    let calling = async {
        for nth in 0..300 {
            get_echo(&ends.client, nth as u8, 100).await;
        }
    };
    tokio::select! {
        () = calling => {}
        () = kill_at_random(&ends.cutter, seed, 1..20_000) => {}
    }
    let stats = ends.client.session_stats();
    println!("{stats:?}");
    assert!(stats.resumptions >= 3, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_see_only_a_pause() {
    calls(&connect_plain().await, 5).await;
    calls(&connect_tls().await, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_datagram_arrives_twice() {
    let ends = connect_plain().await;
    let sending = async {
        for nth in 0..3000_u64 {
            let datagram = Bytes::from(nth.to_be_bytes().repeat(100));
            within("a datagram", ends.client.send_datagram_wait(datagram)).await.expect("room");
        }
        let mut end = ends.client.open_uni().await.expect("a stream");
        end.finish().expect("a stream that can be finished");
    };
    let reading = async {
        let mut next = 0;
        let mut received = 0;
        let mut ended = std::pin::pin!(ends.server.accept_uni());
        loop {
            let datagram = tokio::select! {
                biased;
                datagram = ends.server.read_datagram() => datagram.expect("a datagram"),
                _ = &mut ended => break,
            };
            let nth = u64::from_be_bytes(datagram[..8].try_into().expect("8 bytes"));
            assert!(nth >= next, "{nth} after {next}");
            next = nth + 1;
            received += 1;
        }
        println!("{received} datagrams arrived");
        assert!(received > 1000, "{received} datagrams");
    };
    let both = async { tokio::join!(sending, reading) };
    tokio::select! {
        _ = within("all datagrams", both) => {}
        () = kill_at_random(&ends.cutter, 7, 1..200_000) => {}
    }
    assert!(ends.client.session_stats().resumptions >= 3);
}

/// js-ws has no resumption, so the setting changes nothing there.
#[tokio::test]
async fn a_js_ws_connection_ends_with_its_socket_as_before() {
    let server = WebSocketServer::builder().wires([Wire::JsWs]).config(config());
    let place = Place::start(server, "ws").await;
    let client = WebSocketClient::builder().wire(Wire::JsWs).config(config());
    let ends = place.connect(client).await;
    let _echo = Echo::start(&ends.server);
    get_echo(&ends.client, 1, 100).await;
    ends.cutter.cut(Cut::Reset);
    ended_by_the_loss(&ends.client).await;
    ended_by_the_loss(&ends.server).await;
    assert_eq!(ends.cutter.accepted(), 1);
}
