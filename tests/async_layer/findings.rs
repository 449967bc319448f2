//! What a hostile reading of the engine found, where it shows in the async layer: each fails.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use wsmux::{Config, Side, StreamId, Wire, proto::Dir, socket::memory_pair};

use crate::{
    pair::{config, connection, quiet, websocket},
    raw::RawPeer,
};

/// A js-ws peer puts all its credit into one message, as the real endpoint does; over 240 kbit/s that takes 35 s. Its
/// bytes come all the while, and in front of its pongs.
#[tokio::test(start_paused = true)]
async fn a_peer_whose_message_is_on_its_way_is_not_silent() {
    let config = Config::default();
    let (mut peer, stream) = tokio::io::duplex(64 * 1024);
    let socket = websocket(stream, Side::Server, Wire::JsWs, &config).await;
    let server = connection(socket, Side::Server, Wire::JsWs, &config);
    let frame = |payload: &[u8]| {
        let mut out = vec![0x82, 0x80 | 127];
        out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(payload);
        out
    };
    peer.write_all(&frame(&[0, 0, 1, 0, 16, 0, 0])).await.unwrap();
    let (_send, _recv) = server.accept_bi().await.unwrap().into_split();
    let mut data = vec![0; 3 + 1024 * 1024];
    data[2] = 0;
    let (mut reading, mut writing) = tokio::io::split(peer);
    tokio::spawn(async move {
        let mut sink = tokio::io::sink();
        let _ = tokio::io::copy(&mut reading, &mut sink).await;
    });
    for (second, piece) in frame(&data).chunks(30_000).enumerate() {
        let written = writing.write_all(piece).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Some(error) = server.close_reason() {
            panic!("after {second} s, each of which brought 30,000 bytes: {error} ({written:?})");
        }
    }
}

/// A stop and a close that are read together.
#[tokio::test(start_paused = true)]
async fn a_stream_stopped_just_before_the_end_was_not_finished() {
    let config = config(|_| ());
    let (socket, other) = memory_pair(64 * 1024);
    let mut peer = RawPeer::new(other, Side::Server, Wire::QMux);
    let client = connection(socket, Side::Client, Wire::QMux, &config);
    client.established().await.unwrap();
    let (mut send, recv) = client.open_bi().await.unwrap().into_split();
    send.write_all(&[7; 400_000]).await.unwrap();
    send.finish().unwrap();
    let stopped = send.stopped();
    drop((send, recv));
    quiet().await;
    assert!(client.stats().send_buffered > 200_000, "the socket is full");
    let id = StreamId::new(Side::Client, Dir::Bi, 0).into_inner() as u8;
    // STOP_SENDING with 7, and an application's CONNECTION_CLOSE.
    peer.send(vec![0x05, id, 7, 0x1d, 1, 0]);
    let outcome = stopped.await;
    assert!(!matches!(outcome, Ok(None)), "{outcome:?}, and {:?}", client.in_flight());
}
