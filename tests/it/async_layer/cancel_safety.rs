//! Each future of the async layer can be dropped while it waits. Nothing is lost, repeated or
//! leaked, and the other waiting tasks are woken.

use std::{sync::Arc, task::Poll, time::Duration};

use ::bytes::Bytes;
use wsmux::{
    Config, ConnectionError, ReadError, RecvStream, SendStream, StoppedError, VarInt,
    WebSocketConnection, Wire, WriteError, socket::memory_pair,
};

use super::{
    bytes::{expected, read_expected, write_expected},
    hand::{Dice, Hand, give_up_after},
    pair::{WIRES, config, memory, over, quiet},
};

/// Opens a stream on which the client sends, and returns both ends of it.
async fn stream(client: &WebSocketConnection, server: &WebSocketConnection) -> Streams {
    let mut left = client.open_bi().await.unwrap();
    left.send().announce();
    let right = server.accept_bi().await.unwrap();
    let ((send, back_recv), (back_send, recv)) = (left.into_split(), right.into_split());
    Streams { send, recv, _back: (back_send, back_recv) }
}

struct Streams {
    send: SendStream,
    recv: RecvStream,
    _back: (SendStream, RecvStream),
}

/// Writes until the connection accepts nothing more, even after all other tasks have run. Returns
/// how many bytes it accepted.
async fn fill(send: &mut SendStream, seed: usize, at: usize) -> usize {
    let mut written = 0;
    while let Poll::Ready(taken) =
        Hand::new(send.write(&expected(seed, at + written, 1_000))).poll()
    {
        written += taken.unwrap();
        quiet().await;
    }
    written
}

async fn write_giving_up(send: &mut SendStream, count: usize) {
    let (mut dice, mut at, mut given_up) = (Dice(1), 0, 0);
    while at < count {
        let len = (1 + dice.below(700)).min(count - at);
        let data = expected(3, at, len);
        let polls = dice.below(4);
        let taken = match dice.below(2) {
            0 => give_up_after(polls, send.write(&data)).await,
            _ => give_up_after(polls, send.write_chunk(data)).await.map(|done| done.map(|()| len)),
        };
        match taken {
            Some(taken) => at += taken.unwrap(),
            None => given_up += 1,
        }
    }
    assert!(given_up > 1_000, "futures have been dropped: {given_up}");
}

async fn read_giving_up(recv: &mut RecvStream, count: usize) {
    let (mut dice, mut at, mut given_up) = (Dice(2), 0, 0);
    while at < count {
        let polls = dice.below(4);
        let mut buf = vec![0; 1 + dice.below(900)];
        let got = match dice.below(3) {
            0 => give_up_after(polls, recv.read(&mut buf))
                .await
                .map(|read| Bytes::copy_from_slice(&buf[..read.unwrap().unwrap()])),
            1 => give_up_after(polls, recv.read_chunk(buf.len()))
                .await
                .map(|chunk| chunk.unwrap().unwrap()),
            _ => {
                assert!(give_up_after(polls, recv.received_reset()).await.is_none());
                None
            }
        };
        let Some(got) = got else {
            given_up += 1;
            continue;
        };
        assert_eq!(got, expected(3, at, got.len()), "at {at}");
        at += got.len();
    }
    assert!(given_up > 1_000, "futures have been dropped: {given_up}");
}

#[tokio::test(start_paused = true)]
async fn cancelled_writes_and_reads_lose_and_repeat_no_byte_and_no_credit() {
    const COUNT: usize = 1_000_000;
    for wire in WIRES {
        let config = config(|config| {
            config.send_buffer(1_000).stream_receive_window(3_000);
        });
        let (client, server) = memory(wire, &config).await;
        let mut stream = stream(&client, &server).await;
        tokio::join!(
            write_giving_up(&mut stream.send, COUNT),
            read_giving_up(&mut stream.recv, COUNT),
        );
        quiet().await;
        // Credit is granted again when a quarter of the window has been read. So the peer may still
        // lack the grant for the bytes that were read last, which are up to a quarter of the
        // window.
        let filled = fill(&mut stream.send, 3, COUNT).await;
        assert!((3_000 * 3 / 4 + 1_000..=4_999).contains(&filled), "{wire:?}: {filled}");
        stream.send.finish().unwrap();
        let mut rest = Vec::new();
        while let Some(chunk) = stream.recv.read_chunk(5_000).await.unwrap() {
            rest.extend_from_slice(&chunk);
        }
        assert_eq!(rest, expected(3, COUNT, filled), "{wire:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_after_one_that_gave_up_is_woken() {
    for wire in WIRES {
        let (client, server) = memory(wire, &Config::default()).await;
        let mut stream = stream(&client, &server).await;
        drop(Hand::waiting(stream.recv.read_chunk(10)));
        let mut second = Hand::waiting(stream.recv.read_chunk(10));
        stream.send.write_all(b"news").await.unwrap();
        quiet().await;
        assert_eq!(second.wakes(), 1, "{wire:?}");
        assert_eq!(second.ready().unwrap().unwrap(), "news");
        drop(second);
        // A read that was woken and then dropped has consumed nothing.
        let third = Hand::waiting(stream.recv.read_chunk(10));
        stream.send.write_all(b"more").await.unwrap();
        quiet().await;
        assert_eq!(third.wakes(), 1, "{wire:?}");
        drop(third);
        assert_eq!(stream.recv.read_chunk(10).await.unwrap().unwrap(), "more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_after_one_that_gave_up_is_woken() {
    for wire in WIRES {
        let config = config(|config| {
            config.send_buffer(1_000).stream_receive_window(1_000);
        });
        let (client, server) = memory(wire, &config).await;
        let mut stream = stream(&client, &server).await;
        assert_eq!(fill(&mut stream.send, 1, 0).await, 2_000);
        drop(Hand::waiting(stream.send.write(b"given up")));
        drop(Hand::waiting(stream.send.write_chunk("given up".into())));
        let mut second = Hand::waiting(stream.send.write(b"!"));
        assert_eq!(stream.recv.read_chunk(1_000).await.unwrap().unwrap(), expected(1, 0, 1_000));
        quiet().await;
        assert_eq!(second.wakes(), 1, "{wire:?}");
        assert_eq!(second.ready().unwrap(), 1);
        drop(second);
        stream.send.finish().unwrap();
        let rest = stream.recv.read_to_end(10_000).await.unwrap();
        assert_eq!(rest, [&expected(1, 1_000, 1_000)[..], b"!"].concat(), "{wire:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_given_up_leaves_no_waker_behind_its_stream() {
    for wire in WIRES {
        let config = config(|config| {
            config.send_buffer(1_000).stream_receive_window(100);
        });
        let (client, server) = memory(wire, &config).await;
        let mut stream = stream(&client, &server).await;
        assert_eq!(fill(&mut stream.send, 1, 0).await, 1_100);
        let write = Hand::waiting(stream.send.write(b"given up"));
        let waker = write.waker();
        drop(write);
        // The read frees too little room to wake the writer.
        stream.recv.read_chunk(100).await.unwrap();
        quiet().await;
        assert_eq!(stream.send.write(b"!").await.unwrap(), 1);
        stream.send.finish().unwrap();
        drop(stream.send);
        while stream.recv.read_chunk(100).await.unwrap().is_some() {}
        quiet().await;
        assert_eq!(Arc::strong_count(&waker), 1, "{wire:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn cancelled_accepts_lose_no_stream_and_wake_the_next_in_line() {
    for wire in WIRES {
        let (client, server) = memory(wire, &Config::default()).await;
        let [first, mut second] = [(); 2].map(|()| Hand::waiting(server.accept_bi()));
        let mut opened = vec![client.open_bi().await.unwrap()];
        opened[0].send().announce();
        quiet().await;
        drop(first);
        assert!(second.wakes() > 0, "{wire:?}");
        let mut accepted = vec![second.ready().unwrap()];
        let mut dice = Dice(7);
        for _ in 0..90 {
            let mut stream = client.open_bi().await.unwrap();
            stream.send().announce();
            opened.push(stream);
            let polls = dice.below(3);
            accepted.extend(give_up_after(polls, server.accept_bi()).await.map(Result::unwrap));
        }
        while accepted.len() < opened.len() {
            accepted.push(server.accept_bi().await.unwrap());
        }
        let pairs = opened.iter().zip(&accepted);
        assert!(pairs.into_iter().all(|(left, right)| left.id() == right.id()), "{wire:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_datagram_that_a_reader_did_not_stay_for_goes_to_the_next() {
    let (client, server) = memory(Wire::QMux, &Config::default()).await;
    let [first, mut second, mut third] = [(); 3].map(|()| Hand::waiting(server.read_datagram()));
    client.send_datagram("one".into()).unwrap();
    quiet().await;
    drop(first);
    assert_eq!((second.wakes(), third.wakes()), (1, 0));
    assert_eq!(second.ready().unwrap(), "one");
    assert!(third.poll().is_pending());
    let before = third.wakes();
    client.send_datagram("two".into()).unwrap();
    quiet().await;
    assert!(third.wakes() > before);
    assert_eq!(third.ready().unwrap(), "two");
    for number in 0..200_u8 {
        client.send_datagram(vec![number].into()).unwrap();
    }
    let (mut dice, mut read) = (Dice(9), Vec::new());
    while read.len() < 200 {
        let polls = dice.below(3);
        read.extend(give_up_after(polls, server.read_datagram()).await.map(Result::unwrap));
    }
    assert_eq!(read.concat(), (0..200).collect::<Vec<u8>>());
}

#[tokio::test(start_paused = true)]
async fn a_datagram_whose_sender_gave_up_waiting_is_not_sent() {
    let config = config(|config| {
        config.datagram_send_buffer_size(2_000);
    });
    let (left, right) = memory_pair(64 * 1024);
    let stall = left.stall();
    let (client, server) = over((left, right), Wire::QMux, &config).await;
    quiet().await;
    stall.pause_writes(true);
    let mut sent = 0;
    // The socket holds back one message, which contains the datagrams queued until then.
    while let Some(done) = give_up_after(2, client.send_datagram_wait(vec![sent; 600].into())).await
    {
        done.unwrap();
        sent += 1;
        quiet().await;
    }
    let [first, second] =
        [b'x', b'y'].map(|byte| Hand::waiting(client.send_datagram_wait(vec![byte; 600].into())));
    drop(first);
    stall.pause_writes(false);
    quiet().await;
    assert!(second.wakes() > 0);
    drop(second);
    client.send_datagram_wait("last".into()).await.unwrap();
    for number in 0..sent {
        assert_eq!(server.read_datagram().await.unwrap(), vec![number; 600]);
    }
    assert_eq!(server.read_datagram().await.unwrap(), "last");
    assert_eq!(client.stats().datagrams_dropped_outgoing, 0);
}

#[tokio::test(start_paused = true)]
async fn of_two_who_wait_for_the_end_of_a_stream_one_can_leave() {
    for wire in WIRES {
        let (client, server) = memory(wire, &Config::default()).await;
        let mut stream = stream(&client, &server).await;
        let [first, mut second] = [(); 2].map(|()| Hand::waiting(stream.send.stopped()));
        drop(first);
        stream.recv.stop(VarInt::from_u32(7)).unwrap();
        quiet().await;
        assert!(second.wakes() > 0, "{wire:?}");
        assert_eq!(second.ready().unwrap(), Some(VarInt::from_u32(7)), "{wire:?}");
        let again = stream.send.stopped().await;
        assert_eq!(again.unwrap(), Some(VarInt::from_u32(7)), "{wire:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_nobody_stayed_for_is_read_later() {
    for wire in WIRES {
        let (client, server) = memory(wire, &Config::default()).await;
        let mut stream = stream(&client, &server).await;
        let waiting = Hand::waiting(stream.recv.received_reset());
        stream.send.reset(VarInt::from_u32(9)).unwrap();
        quiet().await;
        assert_eq!(waiting.wakes(), 1, "{wire:?}");
        drop(waiting);
        assert_eq!(stream.recv.received_reset().await.unwrap(), VarInt::from_u32(9));
        let read = stream.recv.read_chunk(1).await;
        assert!(matches!(read, Err(ReadError::Reset(code)) if code == VarInt::from_u32(9)));
    }
}

#[tokio::test(start_paused = true)]
async fn of_those_who_wait_for_the_end_of_the_connection_some_can_leave() {
    for wire in WIRES {
        let (client, server) = memory(wire, &Config::default()).await;
        let mut stream = stream(&client, &server).await;
        fill(&mut stream.send, 1, 0).await;
        let [first, mut second] = [(); 2].map(|()| Hand::waiting(server.closed()));
        drop(first);
        let stopped = stream.send.stopped();
        let mut stopped = Hand::waiting(stopped);
        let mut write = Hand::waiting(stream.send.write(b"x"));
        let mut accept = Hand::waiting(client.accept_bi());
        client.close(VarInt::from_u32(1), b"enough");
        assert_eq!((stopped.wakes(), write.wakes(), accept.wakes()), (1, 1, 1), "{wire:?}");
        assert!(matches!(stopped.ready(), Err(StoppedError::ConnectionLost(_))));
        assert!(matches!(write.ready(), Err(WriteError::ConnectionLost(_))));
        assert!(matches!(accept.ready(), Err(ConnectionError::LocallyClosed)));
        quiet().await;
        assert_eq!(second.wakes(), 1, "{wire:?}");
        assert!(matches!(second.ready(), ConnectionError::ApplicationClosed(_)));
    }
}

/// A waker that owns a stream, like the waker of a task that is owned only by its wakers.
struct Owner(#[expect(dead_code, reason = "to be dropped")] wsmux::WebSocketStream);

impl std::task::Wake for Owner {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_waker_may_let_go_of_streams_of_its_connection_when_it_is_dropped() {
    // The test runs in a thread of its own, because a failure would be a deadlock.
    let (done, outcome) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, server) = memory(Wire::JsWs, &Config::default()).await;
            let mut stream = stream(&client, &server).await;
            while let Poll::Ready(taken) = Hand::new(stream.send.write(&[0; 1_000])).poll() {
                taken.unwrap();
            }
            for _ in 0..2 {
                let waker = Arc::new(Owner(client.open_bi().await.unwrap())).into();
                let cx = &mut std::task::Context::from_waker(&waker);
                assert!(stream.send.poll_write(cx, b"x").is_pending());
                assert!(stream._back.1.poll_read_chunk(cx, 1).is_pending());
            }
            drop(stream);
            done.send(()).unwrap();
        });
    });
    assert_eq!(outcome.recv_timeout(Duration::from_secs(20)), Ok(()), "it waits for itself");
}

#[tokio::test(start_paused = true)]
async fn a_stream_can_be_read_in_one_task_after_another() {
    for wire in WIRES {
        let (client, server) = memory(wire, &Config::default()).await;
        let mut stream = stream(&client, &server).await;
        for round in 0..10 {
            let recv = &mut stream.recv;
            assert!(give_up_after(2, recv.read_chunk(1)).await.is_none());
            write_expected(&mut stream.send, round, 1_000).await;
            let mut got = Vec::new();
            while got.len() < 1_000 {
                got.extend_from_slice(&recv.read_chunk(1_000).await.unwrap().unwrap());
            }
            assert_eq!(got, expected(round, 0, 1_000));
        }
        stream.send.finish().unwrap();
        assert_eq!(read_expected(&mut stream.recv, 0).await, 0);
    }
}
