//! Tasks that an executor other than tokio's may run. Such a task is owned only by its wakers, and
//! it owns streams.
//!
//! If the last waker of such a task is woken or dropped, the task and its streams are dropped.
//! Dropping a stream locks the connection. So code must not hold this lock when it wakes or drops a
//! waker, or it deadlocks.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, Weak, mpsc},
    task::{Context, Wake},
    thread,
    time::Duration,
};

use bytes::Bytes;
use wsmux::{
    Config, Side, VarInt, WebSocketConnection, Wire,
    socket::{MemorySocket, memory_pair},
};

use super::pair::{WIRES, config, connection, over, quiet};

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task that its executor has dropped. Waking it drops the last reference to it.
struct Task(Mutex<Work>);

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

impl Task {
    /// Polls the work once. After that, only the waker that the work has registered owns the task.
    /// Asserts that exactly one such waker exists.
    fn start(work: impl Future<Output = ()> + Send + 'static) -> Weak<Self> {
        let task = Arc::new(Self(Mutex::new(Box::pin(work))));
        let waker = task.clone().into();
        let polled = task.0.lock().unwrap().as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending(), "it has nothing to wait for");
        drop(waker);
        let weak = Arc::downgrade(&task);
        drop(task);
        assert_eq!(weak.strong_count(), 1, "one waits for it");
        weak
    }
}

/// Runs `scenario` in a thread of its own, because a failure would be a deadlock.
fn must_end<F: Future<Output = ()>>(scenario: impl FnOnce() -> F + Send + 'static) {
    let (done, outcome) = mpsc::channel();
    thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(scenario());
        done.send(()).unwrap();
    });
    assert_eq!(outcome.recv_timeout(Duration::from_secs(60)), Ok(()), "it waits for itself");
}

const STREAMS: u64 = 8;

fn small() -> Config {
    config(|config| {
        config.stream_receive_window(100).send_buffer(100).datagram_send_buffer_size(1_000);
        config.max_concurrent_bidi_streams(STREAMS);
    })
}

/// Both ends of a connection, and a handle that stalls the client's sending.
struct Ends {
    client: WebSocketConnection,
    server: WebSocketConnection,
    stall: wsmux::socket::MemoryStall,
}

async fn ends(wire: Wire) -> Ends {
    let (left, right): (MemorySocket, MemorySocket) = memory_pair(64 * 1024);
    let stall = left.stall();
    let (client, server) = over((left, right), wire, &small()).await;
    quiet().await;
    Ends { client, server, stall }
}

/// Lets all tasks run, and asserts that `task` was woken and so was dropped.
async fn is_let_go(task: Weak<Task>, what: &str) {
    quiet().await;
    assert_eq!(task.strong_count(), 0, "{what}: it was not woken");
}

/// [C-87] A waker MUST NOT be woken or dropped while the lock of a connection is held.
#[test]
fn one_that_waits_for_a_connection_may_be_its_last_handle() {
    must_end(|| async {
        let (left, right) = memory_pair(64 * 1024);
        let client = connection(left, Side::Client, Wire::QMux, &Config::default());
        let task = Task::start(async move { client.established().await.unwrap() });
        let server = connection(right, Side::Server, Wire::QMux, &Config::default());
        server.established().await.unwrap();
        is_let_go(task, "established").await;
        server.closed().await;
    });
}

/// [C-87] A waker MUST NOT be woken or dropped while the lock of a connection is held.
#[test]
fn one_that_waits_to_accept_or_to_open_may_own_a_stream() {
    for wire in WIRES {
        must_end(move || async move {
            let Ends { client, server, .. } = ends(wire).await;
            let (owned, accepter) = (server.open_bi().await.unwrap(), server.clone());
            let task = Task::start(async move {
                accepter.accept_bi().await.unwrap();
                drop(owned);
            });
            let mut stream = client.open_bi().await.unwrap();
            stream.send().announce();
            is_let_go(task, "accept_bi").await;
        });
    }
    must_end(|| async {
        let Ends { client, server, .. } = ends(Wire::QMux).await;
        let (owned, accepter) = (server.open_bi().await.unwrap(), server.clone());
        let task = Task::start(async move {
            accepter.accept_uni().await.unwrap();
            drop(owned);
        });
        client.open_uni().await.unwrap().announce();
        is_let_go(task, "accept_uni").await;
        let (mut owned, opener) = (Vec::new(), client.clone());
        while let Some(stream) = client.try_open_bi().unwrap() {
            owned.push(stream);
        }
        let task = Task::start(async move {
            opener.open_bi().await.unwrap();
            drop(owned);
        });
        server.set_max_concurrent_bi_streams(STREAMS + 1);
        is_let_go(task, "open_bi").await;
    });
}

/// [C-87] A waker MUST NOT be woken or dropped while the lock of a connection is held.
#[test]
fn one_that_waits_for_datagrams_may_own_a_stream() {
    must_end(|| async {
        let Ends { client, server, stall } = ends(Wire::QMux).await;
        let (owned, reader) = (server.open_bi().await.unwrap(), server.clone());
        let task = Task::start(async move {
            reader.read_datagram().await.unwrap();
            drop(owned);
        });
        client.send_datagram(Bytes::from_static(b"x")).unwrap();
        is_let_go(task, "read_datagram").await;
        stall.pause_writes(true);
        // The socket holds back the first datagram.
        for _ in 0..2 {
            client.send_datagram(vec![0; 800].into()).unwrap();
            quiet().await;
        }
        let (owned, sender) = (client.open_bi().await.unwrap(), client.clone());
        let task = Task::start(async move {
            sender.send_datagram_wait(vec![0; 800].into()).await.unwrap();
            drop(owned);
        });
        stall.pause_writes(false);
        is_let_go(task, "send_datagram_wait").await;
    });
}

/// [C-87] A waker MUST NOT be woken or dropped while the lock of a connection is held.
#[test]
fn one_that_waits_for_bytes_room_or_an_end_may_own_a_stream() {
    for wire in WIRES {
        must_end(move || async move {
            let Ends { client, server, .. } = ends(wire).await;
            let mut stream = client.open_bi().await.unwrap();
            stream.send().announce();
            let (mut send, mut recv) = server.accept_bi().await.unwrap().into_split();
            let mut second = client.open_bi().await.unwrap();
            let task = Task::start(async move {
                recv.read_chunk(1).await.unwrap();
            });
            stream.send().write_all(b"x").await.unwrap();
            is_let_go(task, "read_chunk").await;
            while let Ok(written) =
                tokio::time::timeout(Duration::from_millis(1), send.write(&[0; 50])).await
            {
                written.unwrap();
            }
            let task = Task::start(async move {
                send.write(b"x").await.unwrap();
            });
            while let Ok(read) =
                tokio::time::timeout(Duration::from_millis(1), stream.recv().read_chunk(100)).await
            {
                if !matches!(read, Ok(Some(_))) {
                    break;
                }
            }
            is_let_go(task, "write").await;
            // The peer stops the stream for which this task waits. In the loop below, this end
            // resets the stream or drops its handle.
            second.send().announce();
            let peer = server.accept_bi().await.unwrap();
            let (stopped, owned) = (second.send().stopped(), stream);
            let task = Task::start(async move {
                stopped.await.unwrap();
                drop(owned);
            });
            drop(peer);
            is_let_go(task, "stopped").await;
            for reset in [true, false] {
                let mut ended = client.open_bi().await.unwrap();
                let (stopped, owned) = (ended.send().stopped(), server.open_bi().await.unwrap());
                let task = Task::start(async move {
                    let _ = stopped.await;
                    drop(owned);
                });
                let mut own = client.open_bi().await.unwrap();
                let own_stopped = own.send().stopped();
                let own_task = Task::start(async move {
                    let _ = own_stopped.await;
                    drop(ended);
                });
                match reset {
                    true => own.send().reset(VarInt::from_u32(1)).unwrap(),
                    false => drop(own),
                }
                // Dropping the first task also drops the stream for which the second task waits.
                is_let_go(own_task, "stopped").await;
                is_let_go(task, "stopped").await;
            }
        });
    }
}

/// [C-87] A waker MUST NOT be woken or dropped while the lock of a connection is held.
#[test]
fn those_who_wait_when_the_connection_ends_may_own_streams() {
    for wire in WIRES {
        for by_peer in [true, false] {
            must_end(move || async move {
                let Ends { client, server, .. } = ends(wire).await;
                let mut first = client.open_bi().await.unwrap();
                first.send().announce();
                let (mut send, mut recv) = server.accept_bi().await.unwrap().into_split();
                let mut tasks = Vec::new();
                for queue in 0..4 {
                    let owned = server.open_bi();
                    let owned = tokio::time::timeout(Duration::from_millis(1), owned).await.ok();
                    let server = server.clone();
                    tasks.push(Task::start(async move {
                        match queue {
                            0 => drop(server.accept_bi().await),
                            1 if wire == Wire::QMux => drop(server.read_datagram().await),
                            1 | 2 => drop(server.closed().await),
                            _ => drop(server.accept_bi().await),
                        }
                        drop(owned);
                    }));
                }
                let stopped = send.stopped();
                while let Ok(written) =
                    tokio::time::timeout(Duration::from_millis(1), send.write(&[0; 50])).await
                {
                    written.unwrap();
                }
                tasks.push(Task::start(async move { drop(stopped.await) }));
                tasks.push(Task::start(async move { drop(send.write(b"x").await) }));
                tasks.push(Task::start(async move { drop(recv.read_chunk(1).await) }));
                let closer = if by_peer { &client } else { &server };
                closer.close(VarInt::from_u32(0), b"");
                for task in tasks {
                    is_let_go(task, "the end").await;
                }
            });
        }
    }
}
