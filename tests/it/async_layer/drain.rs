//! `drain` lets open streams end, and refuses new streams.

use std::time::Duration;

use wsmux::{
    Config, ConnectionError, OpenError, ReadError, VarInt, WebSocketConnection, Wire, WriteError,
};

use super::{
    bytes::{read_expected, write_expected},
    hand::Hand,
    pair::{WIRES, config, memory, quiet, soon},
};

const ZERO: VarInt = VarInt::from_u32(0);

/// Asserts how the peer of a drained connection sees the connection's end.
fn assert_code_0(end: &ConnectionError, reason: &str) {
    assert!(
        matches!(end, ConnectionError::ApplicationClosed(close)
            if close.error_code == ZERO && close.reason == reason.as_bytes()),
        "{end:?}"
    );
}

/// [C-49] A drain MUST first send every byte that a write has accepted, and the FIN of every stream
/// that was finished. Then it MUST close with application error code 0.
#[tokio::test(start_paused = true)]
async fn everything_that_was_written_arrives_although_its_handles_are_gone() {
    for wire in WIRES {
        let (client, server) = memory(wire, &Config::default()).await;
        for seed in 0..10 {
            let (mut send, recv) = client.open_bi().await.unwrap().into_split();
            write_expected(&mut send, seed, 300_000).await;
            send.finish().unwrap();
            drop(recv);
        }
        client.drain();
        let ended = tokio::spawn(async move { client.closed().await });
        quiet().await;
        for seed in 0..10 {
            let mut stream = soon(server.accept_bi()).await.unwrap();
            assert_eq!(read_expected(stream.recv(), seed).await, 300_000, "{wire:?}");
        }
        assert_code_0(&soon(server.closed()).await, "");
        assert!(matches!(soon(ended).await.unwrap(), ConnectionError::LocallyClosed));
    }
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_open_go_on_both_ways_and_the_last_one_ends_it() {
    for wire in WIRES {
        let (client, server) = memory(wire, &Config::default()).await;
        let mut ours = client.open_bi().await.unwrap();
        ours.send().announce();
        let mut theirs = server.open_bi().await.unwrap();
        write_expected(theirs.send(), 1, 1_000).await;
        quiet().await;
        server.drain();
        let mut ours_accepted = soon(server.accept_bi()).await.unwrap();
        let mut theirs_accepted = soon(client.accept_bi()).await.unwrap();
        for (near, far, seed) in
            [(&mut ours, &mut ours_accepted, 2), (&mut theirs, &mut theirs_accepted, 1)]
        {
            let from = if seed == 1 { 1_000 } else { 0 };
            let mut at = from;
            while at < 1_000_000 {
                let data = super::bytes::expected(seed, at, 10_000);
                let taken = tokio::select! {
                    taken = near.send().write(&data) => taken.unwrap(),
                    chunk = far.recv().read_chunk(100_000) => {
                        assert!(!chunk.unwrap().unwrap().is_empty());
                        0
                    }
                };
                at += taken;
            }
            near.send().finish().unwrap();
            while soon(far.recv().read_chunk(100_000)).await.unwrap().is_some() {}
            far.send().finish().unwrap();
            assert_eq!(soon(near.recv().read_to_end(0)).await.unwrap(), b"");
            assert!(server.close_reason().is_none() || seed == 1, "{wire:?}");
        }
        assert_code_0(&soon(client.closed()).await, "");
        assert!(matches!(soon(server.closed()).await, ConnectionError::LocallyClosed));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_new_begins_and_whoever_waits_for_it_is_told() {
    for wire in WIRES {
        let config = config(|config| {
            config.max_concurrent_bidi_streams(1);
        });
        let (client, server) = memory(wire, &config).await;
        let mut first = client.open_bi().await.unwrap();
        first.send().announce();
        let accepted = server.accept_bi().await.unwrap();
        let mut waiting = (wire == Wire::QMux).then(|| Hand::waiting(client.open_bi()));
        client.drain();
        let mut closed = Hand::new(client.closed());
        if let Some(waiting) = &mut waiting {
            assert_eq!(waiting.wakes(), 1);
            assert!(matches!(waiting.ready(), Err(OpenError::Draining)));
        }
        assert!(matches!(client.open_bi().await, Err(OpenError::Draining)), "{wire:?}");
        assert!(matches!(client.try_open_bi(), Err(OpenError::Draining)), "{wire:?}");
        // The peer does not know of the drain yet.
        let mut crossing = server.open_bi().await.unwrap();
        crossing.send().write_all(b"hello").await.unwrap();
        if wire == Wire::QMux {
            // The peer's stream is served. Once the peer knows of the drain, it opens no more
            // streams.
            let mut served = soon(client.accept_bi()).await.unwrap();
            served.send().write_all(b"hello").await.unwrap();
            let read = soon(crossing.recv().read_chunk(5)).await;
            assert_eq!(read.unwrap().unwrap(), "hello");
            assert!(matches!(server.open_bi().await, Err(OpenError::Draining)));
        } else {
            // The peer's stream is refused with a reset and a STOP_SENDING.
            let read = soon(crossing.recv().read_chunk(1)).await;
            assert!(matches!(read, Err(ReadError::Reset(ZERO))), "{wire:?}: {read:?}");
            let stopped = soon(crossing.send().stopped()).await;
            assert!(matches!(stopped, Ok(Some(ZERO))), "{wire:?}: {stopped:?}");
            let write = crossing.send().write(b"more").await;
            assert!(matches!(write, Err(WriteError::Stopped(ZERO))), "{wire:?}");
        }
        drop(crossing);
        assert!(closed.poll().is_pending(), "{wire:?}: a stream is open yet");
        drop((first, accepted));
        quiet().await;
        assert!(matches!(closed.ready(), ConnectionError::LocallyClosed), "{wire:?}");
        assert_code_0(&soon(server.closed()).await, "");
    }
}

async fn hanging(wire: Wire) -> (WebSocketConnection, WebSocketConnection, wsmux::WebSocketStream) {
    let (client, server) = memory(wire, &Config::default()).await;
    let mut stream = client.open_bi().await.unwrap();
    stream.send().write_all(b"to nobody").await.unwrap();
    quiet().await;
    (client, server, stream)
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_does_not_end_delays_the_close_until_the_deadline() {
    for wire in WIRES {
        let (client, server, _stream) = hanging(wire).await;
        let begin = tokio::time::Instant::now();
        client.drain_timeout(Duration::from_secs(5));
        assert!(matches!(client.closed().await, ConnectionError::LocallyClosed));
        let taken = begin.elapsed().as_millis();
        assert!((5_000..5_010).contains(&taken), "{wire:?}: {taken} ms");
        assert_code_0(&soon(server.closed()).await, "shutdown deadline");
        // Without a deadline, the drain waits for the stream as long as the connection lives.
        let (client, _server, stream) = hanging(wire).await;
        client.drain();
        let mut closed = Hand::new(client.closed());
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert!(closed.poll().is_pending(), "{wire:?}");
        // A later call can still set a deadline. Here the drain ends before the deadline, because
        // the stream ends.
        client.drain_timeout(Duration::from_secs(3_600));
        drop(stream);
        soon(client.closed()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn both_ends_can_drain_at_once() {
    for wire in WIRES {
        let (client, server) = memory(wire, &Config::default()).await;
        let mut stream = client.open_bi().await.unwrap();
        write_expected(stream.send(), 1, 100_000).await;
        stream.send().finish().unwrap();
        quiet().await;
        client.drain();
        server.drain();
        let both = tokio::spawn({
            let (client, server) = (client.clone(), server.clone());
            async move { tokio::join!(client.closed(), server.closed()) }
        });
        let mut accepted = soon(server.accept_bi()).await.unwrap();
        assert_eq!(read_expected(accepted.recv(), 1).await, 100_000);
        accepted.send().finish().unwrap();
        assert_eq!(soon(stream.recv().read_to_end(0)).await.unwrap(), b"");
        let ends = soon(both).await.unwrap();
        let fine = |end: &ConnectionError| match end {
            ConnectionError::LocallyClosed => true,
            other => {
                assert_code_0(other, "");
                true
            }
        };
        assert!(fine(&ends.0) && fine(&ends.1), "{wire:?}: {ends:?}");
    }
}

/// Sends `BYTES` bytes each way on one stream, and checks them.
async fn exchange(stream: wsmux::WebSocketStream, seed: usize) {
    const BYTES: usize = 200_000;
    let (mut send, mut recv) = stream.into_split();
    let writer = async {
        write_expected(&mut send, seed, BYTES).await;
        send.finish().unwrap();
    };
    let (read, ()) = tokio::join!(read_expected(&mut recv, seed), writer);
    assert_eq!(read, BYTES);
}

/// [C-49] A drain MUST first send every byte that a write has accepted, and the FIN of every stream
/// that was finished. Then it MUST close with application error code 0.
#[tokio::test(start_paused = true)]
async fn a_hundred_streams_in_flight_lose_nothing_whichever_end_drains() {
    for wire in WIRES {
        for (client_does, server_does) in [(true, false), (false, true), (true, true)] {
            let settings = config(|config| _ = config.stream_receive_window(20_000));
            let (client, server) = memory(wire, &settings).await;
            let mut streams = tokio::task::JoinSet::new();
            for seed in 0..100 {
                let mut ours = client.open_bi().await.unwrap();
                ours.send().announce();
                let theirs = soon(server.accept_bi()).await.unwrap();
                streams.spawn(exchange(ours, seed));
                streams.spawn(exchange(theirs, seed));
            }
            tokio::task::yield_now().await;
            for (does, end) in [(client_does, &client), (server_does, &server)] {
                if does {
                    end.drain();
                }
            }
            while let Some(done) = streams.join_next().await {
                done.unwrap();
            }
            for end in [&client, &server] {
                let end = soon(end.closed()).await;
                let in_order = match &end {
                    ConnectionError::LocallyClosed => true,
                    ConnectionError::ApplicationClosed(close) => close.error_code == ZERO,
                    _ => false,
                };
                assert!(in_order, "{wire:?}: {end:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn past_the_deadline_every_stream_ends_in_the_documented_error() {
    for wire in WIRES {
        let (client, server) = memory(wire, &Config::default()).await;
        let mut pairs = Vec::new();
        for _ in 0..100 {
            let mut ours = client.open_bi().await.unwrap();
            ours.send().announce();
            pairs.push((ours, soon(server.accept_bi()).await.unwrap()));
        }
        client.drain_timeout(Duration::from_secs(5));
        client.closed().await;
        server.closed().await;
        for (mut ours, mut theirs) in pairs {
            let read = ours.recv().read_chunk(1).await.unwrap_err();
            assert!(matches!(read, ReadError::ConnectionLost(ConnectionError::LocallyClosed)));
            let write = ours.send().write(b"x").await.unwrap_err();
            assert!(matches!(write, WriteError::ConnectionLost(ConnectionError::LocallyClosed)));
            match theirs.recv().read_chunk(1).await.unwrap_err() {
                ReadError::ConnectionLost(end) => assert_code_0(&end, "shutdown deadline"),
                other => panic!("{other:?}"),
            }
        }
    }
}
