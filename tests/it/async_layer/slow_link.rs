//! On a slow link, data in flight does not count as silence, and a drain waits for this data.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wsmux::{Config, Side, WebSocketServer, Wire};

use super::pair::{connection, websocket};

/// A js-ws peer sends as much as its credit allows in one message, as the real endpoint does. At
/// 240 kbit/s this takes 35 s. Meanwhile bytes keep arriving, but the peer's pongs wait behind
/// them.
#[tokio::test(start_paused = true)]
async fn a_peer_whose_message_is_on_its_way_is_not_silent() {
    let config = Config::default();
    let (mut peer, stream) = tokio::io::duplex(64 * 1024);
    const REQUEST: &[u8] =
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let acceptor = WebSocketServer::builder().wires([Wire::JsWs]).config(config).build().unwrap();
    peer.write_all(REQUEST).await.unwrap();
    let server = acceptor.from_io(stream).await.unwrap();
    let frame = |payload: &[u8]| {
        let mut out = vec![0x82];
        match u8::try_from(payload.len()) {
            Ok(len) if len < 126 => out.push(0x80 | len),
            _ => {
                out.push(0x80 | 127);
                out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
            }
        }
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

/// A drain sends every byte that a write has accepted (C-49), even if sending these bytes takes
/// longer than the close wait.
#[tokio::test(start_paused = true)]
async fn a_drain_over_a_slow_link_loses_nothing_or_says_so() {
    for wire in [Wire::QMux, Wire::JsWs] {
        let config = Config::default();
        let (mut peer, stream) = tokio::io::duplex(1024);
        let socket = websocket(stream, Side::Client, wire, &config).await;
        let client = connection(socket, Side::Client, wire, &config);
        let frame = |payload: &[u8]| [&[0x82, payload.len() as u8][..], payload].concat();
        if let Some(hello) = super::raw::hello(Side::Server, wire) {
            peer.write_all(&frame(&hello)).await.unwrap();
        }
        client.established().await.unwrap();
        let (mut send, mut recv) = client.open_bi().await.unwrap().into_split();
        match wire {
            Wire::QMux => {
                // The peer ends its sending half without data.
                send.announce();
                peer.write_all(&frame(&[0x0b, 0, 0])).await.unwrap();
            }
            _ => {
                peer.write_all(&frame(&[0, 0, 1, 0, 16, 0, 0])).await.unwrap();
                peer.write_all(&frame(&[0, 0, 3, 0])).await.unwrap();
            }
        }
        assert!(recv.read(&mut [0; 1]).await.unwrap().is_none());
        send.write_all(&[7; 100_000]).await.unwrap();
        send.finish().unwrap();
        let stopped = send.stopped();
        drop((send, recv));
        client.drain();
        let draining = client.clone();
        let ended = tokio::spawn(async move { draining.closed().await });
        // The link carries 10,000 bytes a second.
        let begun = tokio::time::Instant::now();
        let (mut arrived, mut buf) = (0, [0; 1_000]);
        while let Ok(len @ 1..) = peer.read(&mut buf).await {
            arrived += len;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(
            arrived > 100_000,
            "{wire:?}: {arrived} bytes in {:?}; this end says {:?} and {:?}, in flight {:?}",
            begun.elapsed(),
            stopped.await,
            ended.await.unwrap(),
            client.in_flight()
        );
    }
}

/// Tests the same drain between a client and a server of ours, over the socket that they normally
/// use.
#[tokio::test(start_paused = true)]
async fn a_drain_over_a_slow_link_between_two_of_ours_loses_nothing() {
    let (near, left) = tokio::io::duplex(1024);
    let (right, far) = tokio::io::duplex(1024);
    let (mut left_in, mut left_out) = tokio::io::split(left);
    let (mut right_in, mut right_out) = tokio::io::split(right);
    // The link carries 10,000 bytes a second to the server, and does not delay the other direction.
    tokio::spawn(async move {
        let mut buf = [0; 1_000];
        while let Ok(len @ 1..) = left_in.read(&mut buf).await {
            tokio::time::sleep(Duration::from_millis(len as u64 / 10)).await;
            if right_out.write_all(&buf[..len]).await.is_err() {
                break;
            }
        }
        let _ = right_out.shutdown().await;
    });
    tokio::spawn(async move { tokio::io::copy(&mut right_in, &mut left_out).await });
    let server = wsmux::WebSocketServer::builder().build().unwrap();
    let client = wsmux::WebSocketClient::builder().build().unwrap();
    let (client, server) =
        tokio::join!(client.from_io("ws://localhost/", near), server.from_io(far));
    let (client, server) = (client.unwrap(), server.unwrap());
    let mut send = client.open_uni().await.unwrap();
    send.write_all(&[7; 100_000]).await.unwrap();
    send.finish().unwrap();
    let stopped = send.stopped();
    drop(send);
    client.drain();
    let draining = client.clone();
    let ended = tokio::spawn(async move { draining.closed().await });
    let accepted = server.accept_uni().await;
    let read = match accepted {
        Ok(mut recv) => {
            recv.read_to_end(1 << 20).await.map(|all| all.len()).map_err(|e| e.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    assert!(
        read == Ok(100_000),
        "the server: {read:?}; the client: {:?} and {:?}, in flight {:?}",
        stopped.await,
        ended.await.unwrap(),
        client.in_flight()
    );
}
