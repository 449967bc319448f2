//! Many tasks wait for the same event. A new stream, a datagram, or free room in the queue of
//! datagrams wakes only as many tasks as it can serve. The task that has waited longest is woken
//! first.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::Poll,
};

use tokio::task::LocalSet;
use wsmux::{
    Config, WebSocketConnection, Wire,
    socket::{MemoryStall, memory_pair},
};

use super::{
    hand::Hand,
    pair::{WIRES, config, memory, over, quiet},
};

const CROWD: usize = 1_000;

/// Awaits `future`, and adds the number of its polls to `polls`.
async fn counted<F: Future>(future: F, polls: Rc<Cell<usize>>) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        polls.set(polls.get() + 1);
        future.as_mut().poll(cx)
    })
    .await
}

/// How often the tasks of a crowd were polled, and which of the tasks have finished.
#[derive(Default)]
struct Crowd {
    polls: Rc<Cell<usize>>,
    /// The numbers of the tasks that have finished, in the order in which the tasks finished.
    done: Rc<std::cell::RefCell<Vec<usize>>>,
}

impl Crowd {
    /// Spawns a crowd of tasks, which begin to wait in the order of their numbers.
    async fn wait<F: Future<Output = ()> + 'static>(future: impl Fn(usize) -> F) -> Self {
        let crowd = Self::default();
        for nth in 0..CROWD {
            let (future, done) = (counted(future(nth), crowd.polls.clone()), crowd.done.clone());
            tokio::task::spawn_local(async move {
                future.await;
                done.borrow_mut().push(nth);
            });
        }
        quiet().await;
        assert_eq!(crowd.polls.get(), CROWD, "all wait");
        crowd
    }

    fn is_served(&self) {
        assert_eq!(*self.done.borrow(), (0..CROWD).collect::<Vec<_>>());
        // Each task is polled once when it starts, and once when it gets what it waits for.
        assert_eq!(self.polls.get(), 2 * CROWD);
    }
}

fn many() -> Config {
    config(|config| {
        config.max_concurrent_bidi_streams(2 * CROWD as u64);
        config.max_concurrent_uni_streams(2 * CROWD as u64);
    })
}

/// [C-88] When tasks wait to open or accept a stream, or to send or read a datagram, an event MUST
/// wake as many of them as it can serve and no more, first come first served. If a task that was
/// woken does not make its call, the next task is woken.
#[tokio::test(start_paused = true)]
async fn a_stream_wakes_one_of_those_who_wait_to_accept() {
    for wire in WIRES {
        let (client, server) = memory(wire, &many()).await;
        let scenario = async {
            let crowd = Crowd::wait(|_| {
                let server = server.clone();
                async move { drop(server.accept_bi().await.unwrap()) }
            });
            let crowd = crowd.await;
            for nth in 0..CROWD {
                let mut stream = client.open_bi().await.unwrap();
                stream.send().announce();
                // The first half of the streams are opened one at a time. The second half are
                // opened ten at a time.
                if nth < CROWD / 2 || nth % 10 == 0 {
                    quiet().await;
                }
            }
            quiet().await;
            crowd.is_served();
        };
        LocalSet::new().run_until(scenario).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_unidirectional_stream_wakes_one_of_those_who_wait_to_accept() {
    let (client, server) = memory(Wire::QMux, &many()).await;
    let scenario = async {
        let crowd = Crowd::wait(|_| {
            let server = server.clone();
            async move { drop(server.accept_uni().await.unwrap()) }
        });
        let crowd = crowd.await;
        for _ in 0..CROWD {
            client.open_uni().await.unwrap().announce();
            quiet().await;
        }
        crowd.is_served();
    };
    LocalSet::new().run_until(scenario).await;
}

/// [C-88] When tasks wait to open or accept a stream, or to send or read a datagram, an event MUST
/// wake as many of them as it can serve and no more, first come first served. If a task that was
/// woken does not make its call, the next task is woken.
#[tokio::test(start_paused = true)]
async fn a_datagram_wakes_one_of_those_who_wait_to_read() {
    let (client, server) = memory(Wire::QMux, &Config::default()).await;
    let scenario = async {
        let crowd = Crowd::wait(|nth| {
            let server = server.clone();
            async move {
                let datagram = server.read_datagram().await.unwrap();
                assert_eq!(datagram, (nth as u64).to_be_bytes()[..]);
            }
        });
        let crowd = crowd.await;
        for nth in 0..CROWD {
            client.send_datagram((nth as u64).to_be_bytes().to_vec().into()).unwrap();
            if nth < CROWD / 2 || nth % 10 == 0 {
                quiet().await;
            }
        }
        quiet().await;
        crowd.is_served();
    };
    LocalSet::new().run_until(scenario).await;
}

/// Returns a client, its server, and a handle that stalls the client's socket. The client's queue
/// of datagrams has a limit of `room` bytes and is full. Nothing is sent while the socket is
/// stalled.
async fn full(room: usize) -> (WebSocketConnection, WebSocketConnection, MemoryStall) {
    let config = config(|config| {
        config.datagram_send_buffer_size(room);
    });
    let (left, right) = memory_pair(64 * 1024);
    let stall = left.stall();
    let (client, server) = over((left, right), Wire::QMux, &config).await;
    quiet().await;
    stall.pause_writes(true);
    // The socket holds back the first datagram.
    client.send_datagram("held".into()).unwrap();
    quiet().await;
    client.send_datagram(vec![b'f'; room - 2 * OVERHEAD].into()).unwrap();
    (client, server, stall)
}

/// A lower bound of the bytes that a queued datagram uses in addition to its content.
const OVERHEAD: usize = 128;

/// [C-88] When tasks wait to open or accept a stream, or to send or read a datagram, an event MUST
/// wake as many of them as it can serve and no more, first come first served. If a task that was
/// woken does not make its call, the next task is woken.
#[tokio::test(start_paused = true)]
async fn room_wakes_as_many_of_those_who_wait_to_send_as_it_is_for() {
    const LEN: usize = 600;
    let (client, server, stall) = full(3 * (LEN + OVERHEAD)).await;
    let scenario = async {
        let crowd = Crowd::wait(|nth| {
            let client = client.clone();
            let datagram = [&(nth as u64).to_be_bytes()[..], &[0; LEN - 8]].concat();
            async move { client.send_datagram_wait(datagram.into()).await.unwrap() }
        });
        let crowd = crowd.await;
        stall.pause_writes(false);
        assert_eq!(server.read_datagram().await.unwrap(), "held");
        assert_eq!(server.read_datagram().await.unwrap()[0], b'f');
        for nth in 0..CROWD {
            let datagram = server.read_datagram().await.unwrap();
            assert_eq!(datagram[..8], (nth as u64).to_be_bytes());
        }
        quiet().await;
        crowd.is_served();
        assert_eq!(client.stats().datagrams_dropped_outgoing, 0);
    };
    LocalSet::new().run_until(scenario).await;
}

#[tokio::test(start_paused = true)]
async fn small_datagrams_do_not_overtake_a_large_one_that_waits() {
    let (client, server, stall) = full(2_000).await;
    let send = |byte: u8, len: usize| client.send_datagram_wait(vec![byte; len].into());
    // At first the queue has room for the small datagrams, but not for the large one.
    let mut large = Hand::waiting(send(b'l', 1_800));
    let mut small = [1, 2, 3].map(|byte| Hand::waiting(send(byte, 1)));
    stall.pause_writes(false);
    quiet().await;
    assert_eq!(large.wakes(), 1);
    assert!(small.iter().all(|small| small.wakes() == 0), "there is no room besides");
    // A sender that begins to wait now is served after the earlier senders.
    let mut late = Hand::waiting(send(b'e', 1));
    large.ready().unwrap();
    quiet().await;
    for small in &mut small {
        assert_eq!(small.wakes(), 1);
        small.ready().unwrap();
    }
    late.ready().unwrap();
    let mut first_bytes = Vec::new();
    for _ in 0..7 {
        first_bytes.push(server.read_datagram().await.unwrap()[0]);
    }
    assert_eq!(first_bytes, [b'h', b'f', b'l', 1, 2, 3, b'e']);
}

/// [C-88] When tasks wait to open or accept a stream, or to send or read a datagram, an event MUST
/// wake as many of them as it can serve and no more, first come first served. If a task that was
/// woken does not make its call, the next task is woken.
#[tokio::test(start_paused = true)]
async fn room_whose_sender_was_dropped_goes_to_the_next() {
    let (client, server, stall) = full(2_000).await;
    let send = |byte: u8| client.send_datagram_wait(vec![byte; 1_000].into());
    let mut crowd = [1, 2, 3, 4].map(|byte| Some(Hand::waiting(send(byte))));
    let wakes = |crowd: &[Option<Hand<'_, _>>]| -> Vec<usize> {
        crowd.iter().map(|hand| hand.as_ref().map_or(9, Hand::wakes)).collect()
    };
    stall.pause_writes(false);
    quiet().await;
    assert_eq!(wakes(&crowd), [1, 0, 0, 0]);
    // A waiting sender that is dropped does not use up the room. If it was woken, it passes the
    // room on to the next sender.
    crowd[1] = None;
    assert_eq!(wakes(&crowd), [1, 9, 0, 0]);
    crowd[0] = None;
    assert_eq!(wakes(&crowd), [9, 9, 1, 0]);
    crowd[2].as_mut().unwrap().ready().unwrap();
    quiet().await;
    crowd[3].as_mut().unwrap().ready().unwrap();
    let mut first_bytes = Vec::new();
    for _ in 0..4 {
        first_bytes.push(server.read_datagram().await.unwrap()[0]);
    }
    assert_eq!(first_bytes, [b'h', b'f', 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn room_that_another_took_is_waited_for_in_the_same_place() {
    let (client, _server, stall) = full(2_000).await;
    let send = |byte: u8| client.send_datagram_wait(vec![byte; 1_000].into());
    let [mut first, mut second] = [1, 2].map(|byte| Hand::waiting(send(byte)));
    stall.pause_writes(false);
    quiet().await;
    stall.pause_writes(true);
    for _ in 0..2 {
        // The socket holds back the first datagram, and the second one fills the queue.
        client.send_datagram(vec![0; 1_000].into()).unwrap();
        quiet().await;
    }
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    assert!(first.poll().is_pending(), "there is no room for it");
    stall.pause_writes(false);
    quiet().await;
    assert_eq!((first.wakes(), second.wakes()), (2, 0));
    first.ready().unwrap();
    quiet().await;
    second.ready().unwrap();
    assert_eq!(client.stats().datagrams_dropped_outgoing, 0);
}

/// [C-88] When tasks wait to open or accept a stream, or to send or read a datagram, an event MUST
/// wake as many of them as it can serve and no more, first come first served. If a task that was
/// woken does not make its call, the next task is woken.
#[tokio::test(start_paused = true)]
async fn one_that_was_woken_and_dropped_leaves_what_it_was_to_get_to_the_next() {
    for wire in WIRES {
        let (client, server) = memory(wire, &many()).await;
        let mut crowd = [(); 3].map(|()| Some(Hand::waiting(server.accept_bi())));
        let mut stream = client.open_bi().await.unwrap();
        stream.send().announce();
        quiet().await;
        for nth in 0..3 {
            let wakes = crowd.each_ref().map(|hand| hand.as_ref().map_or(9, Hand::wakes));
            let expected = [[1, 0, 0], [9, 1, 0], [9, 9, 1]];
            assert_eq!(wakes, expected[nth], "{wire:?}");
            crowd[nth] = None;
        }
        let accepted = server.accept_bi().await.unwrap();
        assert_eq!(accepted.id(), stream.id(), "{wire:?}");
    }
    let (client, server) = memory(Wire::QMux, &Config::default()).await;
    let [first, mut second, third] = [(); 3].map(|()| Hand::waiting(server.read_datagram()));
    client.send_datagram("one".into()).unwrap();
    quiet().await;
    assert_eq!([first.wakes(), second.wakes(), third.wakes()], [1, 0, 0]);
    // A reader that comes later does not take the datagram for which the first reader was woken.
    let mut late = Hand::waiting(server.read_datagram());
    drop(first);
    assert_eq!([second.wakes(), third.wakes(), late.wakes()], [1, 0, 0]);
    assert_eq!(second.ready().unwrap(), "one");
    drop(third);
    // The next datagram arrives before any of the waiting readers has been polled.
    client.send_datagram("two".into()).unwrap();
    quiet().await;
    assert_eq!(late.wakes(), 1);
    assert!(matches!(late.poll(), Poll::Ready(Ok(two)) if two == "two"));
}

/// If a datagram arrives before the reader of the previous datagram has run, the new datagram has
/// to wake another reader.
#[tokio::test(start_paused = true)]
async fn each_of_several_datagrams_wakes_a_reader_of_its_own() {
    let (client, server) = memory(Wire::QMux, &Config::default()).await;
    let mut readers = [(); 4].map(|()| Hand::waiting(server.read_datagram()));
    for (nth, wakes) in [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]].into_iter().enumerate() {
        client.send_datagram(vec![nth as u8].into()).unwrap();
        quiet().await;
        assert_eq!(readers.each_ref().map(Hand::wakes), wakes);
    }
    for reader in &mut readers[..3] {
        reader.ready().unwrap();
    }
    client.close(wsmux::VarInt::from_u32(0), b"");
    quiet().await;
    readers[3].ready().unwrap_err();
}

/// If all tasks were woken before the connection sends, all answers would be sent together at the
/// end, and the peer would be idle until it receives them.
#[tokio::test(start_paused = true)]
async fn what_a_crowd_answers_leaves_in_parts() {
    // After 61 tasks tokio lets the connection run in any case, so this test has fewer tasks.
    const TASKS: usize = 60;
    let (client, server) = memory(Wire::QMux, &many()).await;
    let mut streams = Vec::new();
    for _ in 0..TASKS {
        let (mut send, mut recv) = client.open_bi().await.unwrap().into_split();
        send.write_all(b"?").await.unwrap();
        tokio::spawn(async move {
            recv.read_exact(&mut [0]).await.unwrap();
            send.write_all(b"!").await.unwrap();
            send.finish().unwrap();
        });
        streams.push(server.accept_bi().await.unwrap().into_split());
    }
    quiet().await;
    let before = client.stats().messages_sent;
    for (send, _) in &mut streams {
        send.write_all(b"!").await.unwrap();
    }
    for (_, recv) in &mut streams {
        assert_eq!(recv.read_to_end(2).await.unwrap(), b"?!");
    }
    assert_eq!(client.stats().messages_sent - before, 4, "parts of 16 tasks");
}
