//! A stream whose reader has stopped reading does not slow the other streams down.

use std::time::Duration;

use wsmux::{Config, VarInt, WebSocketConnection, WebSocketStream, Wire};

use super::{
    bytes::{expected, read_expected, write_expected},
    hand::give_up_after,
    pair::{WIRES, config, memory, quiet, soon, tcp},
};

const STALLED: usize = 32;
const MIB: usize = 1024 * 1024;

/// Without pings nothing wakes a stalled task, so a stall that is not resolved lasts for ever.
fn without_pings() -> Config {
    config(|config| {
        config.keep_alive_interval(None).max_idle_timeout(None);
    })
}

/// Opens streams that nobody reads, and fills their windows and send buffers.
async fn stall(
    client: &WebSocketConnection,
    server: &WebSocketConnection,
    window: usize,
) -> Vec<(WebSocketStream, WebSocketStream)> {
    let mut stalled = Vec::new();
    for seed in 0..STALLED {
        let mut stream = client.open_bi().await.unwrap();
        stream.send().announce();
        let accepted = server.accept_bi().await.unwrap();
        write_expected(stream.send(), seed, window).await;
        stalled.push((stream, accepted));
    }
    // This waits until the windows are full. Data that is written after that stays in the send
    // buffers.
    while client.stats().send_buffered > 0 {
        tokio::task::yield_now().await;
    }
    for (seed, (stream, _)) in stalled.iter_mut().enumerate() {
        stream.send().write_chunk(expected(seed, window, 1_000)).await.unwrap();
    }
    stalled
}

/// Moves `count` bytes over a new stream.
async fn move_bytes(client: &WebSocketConnection, server: &WebSocketConnection, count: usize) {
    let (written, read) = tokio::join!(
        async {
            let mut stream = client.open_bi().await.unwrap();
            write_expected(stream.send(), 99, count).await;
            stream.send().finish().unwrap();
            stream.recv().read_to_end(0).await.unwrap();
            count
        },
        async {
            let mut stream = server.accept_bi().await.unwrap();
            stream.send().finish().unwrap();
            read_expected(stream.recv(), 99).await
        },
    );
    assert_eq!(written, read);
}

/// Reads the data that waited in the stalled streams.
async fn unstall(stalled: Vec<(WebSocketStream, WebSocketStream)>, window: usize) {
    for (seed, (mut stream, mut accepted)) in stalled.into_iter().enumerate() {
        stream.send().finish().unwrap();
        assert_eq!(read_expected(accepted.recv(), seed).await, window + 1_000);
    }
}

async fn one_of_many(
    (client, server): (WebSocketConnection, WebSocketConnection),
    window: usize,
    count: usize,
) {
    let stalled = stall(&client, &server, window).await;
    move_bytes(&client, &server, count).await;
    // Now bytes move in the other direction.
    let (written, read) = tokio::join!(
        async {
            let mut stream = server.open_bi().await.unwrap();
            write_expected(stream.send(), 98, count / 16).await;
            stream.send().finish().unwrap();
        },
        async {
            let mut stream = client.accept_bi().await.unwrap();
            read_expected(stream.recv(), 98).await
        },
    );
    assert_eq!(((), count / 16), (written, read));
    unstall(stalled, window).await;
}

#[tokio::test]
async fn over_tcp_256_mib_pass_32_qmux_streams_that_stand_still() {
    one_of_many(tcp(Wire::QMux, &without_pings()).await, MIB, 256 * MIB).await;
}

#[tokio::test]
async fn over_tcp_256_mib_pass_32_jsws_streams_that_stand_still() {
    one_of_many(tcp(Wire::JsWs, &without_pings()).await, MIB, 256 * MIB).await;
}

#[tokio::test(start_paused = true)]
async fn in_memory_16_mib_pass_32_streams_that_stand_still() {
    for wire in WIRES {
        let mut config = without_pings();
        config.stream_receive_window(100_000);
        one_of_many(memory(wire, &config).await, 100_000, 16 * MIB).await;
    }
}

/// [C-30] Reading from the socket MUST NOT wait for an application's read, for the accept queue, or
/// for a write to the socket.
/// [C-31] Streams whose readers have stopped MUST NOT slow or stop another stream, however many
/// such streams there are.
#[tokio::test(start_paused = true)]
async fn a_hundred_streams_that_nobody_accepts_do_not_stop_those_that_were() {
    for wire in WIRES {
        let config = config(|config| {
            config.max_concurrent_bidi_streams(101);
        });
        let (client, server) = memory(wire, &config).await;
        let mut stream = client.open_bi().await.unwrap();
        stream.send().announce();
        let mut accepted = server.accept_bi().await.unwrap();
        let mut unaccepted = Vec::new();
        for seed in 0..100 {
            let mut stream = client.open_bi().await.unwrap();
            write_expected(stream.send(), seed, 20_000).await;
            stream.send().finish().unwrap();
            unaccepted.push(stream);
        }
        quiet().await;
        let (_, read) = tokio::join!(
            async {
                write_expected(stream.send(), 1, 4 * MIB).await;
                stream.send().finish().unwrap();
            },
            read_expected(accepted.recv(), 1),
        );
        assert_eq!(read, 4 * MIB, "{wire:?}");
        // Streams that the server opens are opened and accepted as usual.
        let mut back = soon(server.open_bi()).await.unwrap();
        back.send().announce();
        soon(client.accept_bi()).await.unwrap();
        for seed in 0..100 {
            let mut stream = soon(server.accept_bi()).await.unwrap();
            assert_eq!(read_expected(stream.recv(), seed).await, 20_000, "{wire:?}");
        }
    }
}

/// [C-31] Streams whose readers have stopped MUST NOT slow or stop another stream, however many
/// such streams there are.
#[tokio::test(start_paused = true)]
async fn a_stalled_reader_delays_no_open_accept_reset_or_datagram() {
    for wire in WIRES {
        let config = config(|config| {
            config.stream_receive_window(50_000).max_concurrent_bidi_streams(STALLED as u64 + 1);
        });
        let (client, server) = memory(wire, &config).await;
        let stalled = stall(&client, &server, 50_000).await;
        let begin = tokio::time::Instant::now();
        for round in 0..500 {
            let mut stream = soon(client.open_bi()).await.unwrap();
            stream.send().write_all(b"hello").await.unwrap();
            let mut accepted = soon(server.accept_bi()).await.unwrap();
            match round % 3 {
                0 => stream.send().finish().unwrap(),
                1 => stream.send().reset(VarInt::from_u32(round)).unwrap(),
                _ => accepted.recv().stop(VarInt::from_u32(round)).unwrap(),
            }
            accepted.send().finish().unwrap();
            let end = soon(accepted.recv().read_to_end(10)).await;
            assert_eq!(end.is_ok(), round % 3 == 0, "{wire:?}: {end:?}");
            assert_eq!(soon(stream.recv().read_to_end(10)).await.unwrap(), b"");
            if wire == Wire::QMux {
                client.send_datagram(vec![round as u8].into()).unwrap();
                assert_eq!(soon(server.read_datagram()).await.unwrap(), vec![round as u8]);
                let mut uni = soon(client.open_uni()).await.unwrap();
                uni.finish().unwrap();
                let mut uni = soon(server.accept_uni()).await.unwrap();
                assert_eq!(soon(uni.read_to_end(0)).await.unwrap(), b"");
            }
        }
        // A paused clock advances only when all tasks wait. So this assertion shows that no
        // operation above had to wait for a timer.
        assert!(begin.elapsed() < Duration::from_secs(1), "{wire:?}: {:?}", begin.elapsed());
        unstall(stalled, 50_000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_no_stream_gets_no_answer_but_is_received_on_all() {
    for wire in WIRES {
        let (client, server) = memory(wire, &Config::default()).await;
        let mut streams = Vec::new();
        for _ in 0..20 {
            let mut stream = client.open_bi().await.unwrap();
            stream.send().write_all(b"question").await.unwrap();
            let mut accepted = server.accept_bi().await.unwrap();
            // The server writes an answer that nobody reads, until it can write no more.
            while give_up_after(50, accepted.send().write(&[1; 64 * 1024])).await.is_some() {}
            streams.push((stream, accepted));
        }
        for (stream, accepted) in &mut streams {
            let mut buf = [0; 8];
            soon(accepted.recv().read_exact(&mut buf)).await.unwrap();
            assert_eq!(&buf, b"question", "{wire:?}");
            soon(stream.send().write_all(b"more")).await.unwrap();
            assert_eq!(soon(accepted.recv().read_chunk(9)).await.unwrap().unwrap(), "more");
        }
    }
}
