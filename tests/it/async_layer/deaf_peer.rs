//! A peer that reads nothing but sends something now and then, and its effect on the application.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use wsmux::{
    Config, ConnectionError, OpenError, Side, Timeout, VarInt, WebSocketConnection, Wire,
    WriteError,
    socket::{Incoming, MemoryStall, memory_pair},
};

use super::{
    hand::Hand,
    pair::{WIRES, config, connection, memory, quiet, soon},
    raw::RawPeer,
};

/// Returns a client whose peer allows any number of streams. The client's socket is stalled, as if
/// the peer read nothing.
async fn client_of_deaf_peer(
    wire: Wire,
    config: &Config,
) -> (WebSocketConnection, RawPeer, MemoryStall) {
    let (left, right) = memory_pair(64 * 1024);
    let stall = left.stall();
    let mut peer = RawPeer::new(right, Side::Server, wire);
    if wire == Wire::QMux {
        // MAX_STREAMS of 2^60, for both kinds of streams.
        peer.send(&b"\x12\xd0\0\0\0\0\0\0\0\x13\xd0\0\0\0\0\0\0\0"[..]);
    }
    let client = connection(left, Side::Client, wire, config);
    client.established().await.unwrap();
    quiet().await;
    stall.pause_writes(true);
    (client, peer, stall)
}

/// Once a second, makes the peer send a message that needs no answer.
async fn say_something(mut peer: RawPeer) {
    loop {
        match peer.wire {
            Wire::QMux => peer.send(&b"\0"[..]),
            _ => peer.socket.inject(Incoming::Pong("".into())),
        }
        sleep(Duration::from_secs(1)).await;
    }
}

fn is_stall(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::TimedOut(Timeout::WriteStall))
}

/// A fan-out: the application sends an event on each of many streams, and finishes and drops each
/// stream.
#[tokio::test(start_paused = true)]
async fn a_fan_out_to_a_deaf_peer_waits_and_ends_with_the_connection() {
    const EVENTS: usize = 5_000;
    const WINDOW: usize = 1 << 20;
    const STREAMS: u64 = 1_000;
    for wire in WIRES {
        let config = config(|config| {
            config.send_window(WINDOW).max_local_streams(STREAMS);
        });
        let (client, peer, _stall) = client_of_deaf_peer(wire, &config).await;
        let speaker = tokio::spawn(say_something(peer));
        let start = Instant::now();
        let calls: Vec<_> = (0..EVENTS)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move {
                    let mut stream = client.open_bi().await.map_err(|error| match error {
                        OpenError::ConnectionLost(error) => error,
                        error => panic!("{error}"),
                    })?;
                    match stream.send().write_all(&[7; 10_000]).await {
                        Ok(()) => {
                            stream.send().finish().unwrap();
                            Ok(())
                        }
                        Err(WriteError::ConnectionLost(error)) => Err(error),
                        Err(error) => panic!("{error}"),
                    }
                })
            })
            .collect();
        sleep(Duration::from_secs(30)).await;
        let stats = client.stats();
        assert!(stats.live_streams <= STREAMS, "{wire:?}: {stats:?}");
        assert!(stats.send_buffered <= WINDOW as u64 + STREAMS * 1024, "{wire:?}: {stats:?}");
        let done = calls.iter().filter(|call| call.is_finished()).count();
        assert!(done < 200, "{wire:?}: {done} calls did not wait");
        let mut lost = 0;
        for call in calls {
            if let Err(error) = call.await.unwrap() {
                assert!(is_stall(&error), "{wire:?}: {error}");
                lost += 1;
            }
        }
        assert_eq!(lost, EVENTS - done, "{wire:?}");
        let took = start.elapsed().as_secs();
        assert!((60..=61).contains(&took), "{wire:?}: after {took} s");
        // The peer does not read our Close, so only the close wait ends the connection.
        let end = timeout(Duration::from_secs(4), client.closed()).await.expect("the close wait");
        assert!(is_stall(&end), "{wire:?}: {end}");
        speaker.abort();
    }
}

/// Here no ping, timer or message from the peer wakes the driver, so the write has to wake the
/// driver.
#[tokio::test(start_paused = true)]
async fn a_stall_is_timed_from_the_first_write_to_a_full_socket() {
    for wire in WIRES {
        let config = config(|config| {
            config.keep_alive_interval(None).max_idle_timeout(None).window_growth_budget(0);
            config.write_stall_timeout(Some(Duration::from_secs(7)));
        });
        let (client, mut peer, _stall) = client_of_deaf_peer(wire, &config).await;
        // The socket holds back the frame that opens this stream, and is therefore full. Nothing
        // else is left to send.
        let mut first = client.open_bi().await.unwrap();
        first.send().announce();
        quiet().await;
        // This is longer than the write-stall timeout, and shorter than the peer's idle timeout. So
        // a connection that timed the stall from the first item on would end here.
        sleep(Duration::from_secs(15)).await;
        // The driver reads 16 messages in one batch. Then it looks for a further message and finds
        // none. It also finds that the socket is full.
        (0..16).for_each(|_| peer.socket.inject(Incoming::Ping));
        quiet().await;
        assert!(client.close_reason().is_none(), "{wire:?}: {:?}", client.close_reason());
        let mut stream = soon(client.open_bi()).await.unwrap();
        soon(stream.send().write_all(b"x")).await.unwrap();
        let start = Instant::now();
        let end = timeout(Duration::from_secs(60), client.closed()).await.expect("it ends");
        assert!(is_stall(&end), "{wire:?}: {end}");
        let took = start.elapsed().as_secs();
        // The connection ends after the write-stall timeout and the close wait.
        assert!((9..=11).contains(&took), "{wire:?}: after {took} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_holds_a_close_no_longer_than_the_wait() {
    for wire in WIRES {
        let config = config(|config| {
            config.close_timeout(Duration::from_secs(2));
        });
        let (client, peer, _stall) = client_of_deaf_peer(wire, &config).await;
        let speaker = tokio::spawn(say_something(peer));
        let mut stream = client.open_bi().await.unwrap();
        stream.send().write_all(&[7; 200_000]).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        let start = Instant::now();
        client.close(VarInt::from_u32(1), b"enough");
        let end = timeout(Duration::from_secs(3), client.closed()).await.expect("the close wait");
        assert!(matches!(end, ConnectionError::LocallyClosed), "{wire:?}: {end}");
        assert!(start.elapsed() >= Duration::from_secs(2), "{wire:?}");
        speaker.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn at_our_own_limit_streams_open_in_the_order_of_the_asking() {
    for wire in WIRES {
        let config = config(|config| {
            // Without pings, the two ends do something only when the test asks for it.
            config.max_local_streams(2).keep_alive_interval(None);
        });
        let (client, server) = memory(wire, &config).await;
        let mut open = vec![client.open_bi().await.unwrap(), client.open_bi().await.unwrap()];
        assert!(client.try_open_bi().unwrap().is_none(), "{wire:?}");
        let [first, second, mut third] = [(); 3].map(|()| Hand::waiting(client.open_bi()));
        for _ in 0..2 {
            // Reading to the end frees the stream, and after that no frame is left to send.
            let mut near = open.remove(0);
            near.send().write_all(b"x").await.unwrap();
            near.send().finish().unwrap();
            let mut far = server.accept_bi().await.unwrap();
            far.send().finish().unwrap();
            assert_eq!(far.recv().read_to_end(1).await.unwrap(), b"x");
            quiet().await;
            assert_eq!(near.recv().read_to_end(0).await.unwrap(), b"", "{wire:?}");
            quiet().await;
        }
        assert_eq!([first.wakes(), second.wakes(), third.wakes()], [1, 1, 0], "{wire:?}");
        // The first waiter is woken and then dropped, so the next waiter is woken.
        drop(first);
        assert_eq!(third.wakes(), 1, "{wire:?}");
        third.ready().unwrap();
    }
}

/// A write that is dropped while it waits leaves the window to the other writes.
#[tokio::test(start_paused = true)]
async fn writers_that_wait_for_the_window_go_on_in_order_when_it_is_free() {
    for wire in WIRES {
        let config = config(|config| {
            config.send_window(16 * 1024).keep_alive_interval(None);
        });
        let (client, mut peer, stall) = client_of_deaf_peer(wire, &config).await;
        let mut streams = Vec::new();
        for _ in 0..5 {
            streams.push(client.open_bi().await.unwrap().into_split().0);
        }
        if wire == Wire::JsWs {
            for index in 0..5u8 {
                // An Ack. On js-ws the id of a client's stream is twice its index.
                peer.send([&[2 * index, 0, 1][..], &(1_u32 << 20).to_be_bytes()].concat());
            }
            quiet().await;
        }
        let mut rest = streams.split_off(1);
        soon(streams[0].write_chunk(vec![7; 300_000].into())).await.unwrap();
        let mut waiting: Vec<_> = rest
            .iter_mut()
            .map(|send| Hand::waiting(send.write_chunk(vec![7; 9_000].into())))
            .collect();
        // One of the waiting writes is dropped.
        drop(waiting.remove(1));
        stall.pause_writes(false);
        let reader = tokio::spawn(async move { while peer.next().await.is_some() {} });
        quiet().await;
        for hand in &mut waiting {
            assert!(hand.wakes() >= 1, "{wire:?}");
        }
        for hand in &mut waiting {
            soon(std::future::poll_fn(|_| hand.poll())).await.unwrap();
        }
        reader.abort();
    }
}
