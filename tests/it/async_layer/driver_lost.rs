//! The task that drives a connection ends before the connection does, because the task panics or
//! its runtime ends.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::runtime::{Builder, Runtime};
use wsmux::{
    ConnectionError, Culprit, DriverLost, Side, SocketError, VarInt, WebSocketConnection, Wire,
    socket::{Incoming, MemorySocket, Outgoing, Socket, memory_pair},
};

use super::{
    hand::Hand,
    pair::{WIRES, config, connection},
};

/// The method in which the application's socket panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Recv,
    Ready,
    Send,
    Flush,
    Rtt,
}

/// A socket that works until it is poisoned, and then panics.
struct Poisoned {
    socket: MemorySocket,
    fault: Fault,
    poison: Arc<AtomicBool>,
}

impl Poisoned {
    fn at(&self, fault: Fault) {
        let poisoned = self.poison.load(Ordering::SeqCst);
        assert!(!(poisoned && self.fault == fault), "a bug of the application's socket");
    }
}

impl Socket for Poisoned {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, SocketError>> {
        self.at(Fault::Recv);
        self.socket.poll_recv(cx)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.at(Fault::Ready);
        self.socket.poll_ready(cx)
    }

    fn start_send(&mut self, item: Outgoing<'_>) -> Result<(), SocketError> {
        self.at(Fault::Send);
        self.socket.start_send(item)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.at(Fault::Flush);
        self.socket.poll_flush(cx)
    }

    fn rtt(&self) -> Option<Duration> {
        self.at(Fault::Rtt);
        None
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn lost(error: &ConnectionError) -> DriverLost {
    assert_eq!(error.culprit(), Culprit::Local);
    match error {
        ConnectionError::DriverLost(lost) => *lost,
        other => panic!("{other}"),
    }
}

/// Returns the connection's error that is the source of an operation's error.
fn inner(error: &dyn std::error::Error) -> &ConnectionError {
    let source = error.source().expect("the connection's error is inside");
    source.downcast_ref().unwrap_or_else(|| panic!("{source} is not the connection's"))
}

/// Asserts that every waiting operation of the client reports the same end.
async fn assert_everybody_learns(
    client: WebSocketConnection,
    end: impl AsyncFnOnce(),
    expected: DriverLost,
) {
    let wire = client.wire();
    let (mut send, mut recv) = client.open_bi().await.unwrap().into_split();
    send.write_all(b"x").await.unwrap();
    let mut read = Hand::waiting(recv.read_chunk(1));
    let mut stopped = Hand::waiting(send.stopped());
    let mut accept = Hand::waiting(client.accept_bi());
    let mut datagram = Hand::new(client.read_datagram());
    if wire == Wire::QMux {
        assert!(datagram.poll().is_pending());
    }
    let mut closed = Hand::waiting(client.closed());
    let mut drained = Hand::new(async {
        client.drain();
        client.closed().await
    });
    end().await;
    let wakes = [read.wakes(), stopped.wakes(), accept.wakes(), closed.wakes()];
    assert!(wakes.iter().all(|&wakes| wakes > 0), "everybody is woken: {wakes:?}");
    assert_eq!(lost(&closed.ready()), expected);
    assert_eq!(lost(&drained.ready()), expected);
    assert_eq!(lost(&client.close_reason().unwrap()), expected);
    assert_eq!(lost(inner(&read.ready().unwrap_err())), expected);
    assert_eq!(lost(inner(&stopped.ready().unwrap_err())), expected);
    assert_eq!(lost(&accept.ready().unwrap_err()), expected);
    if wire == Wire::QMux {
        assert_eq!(lost(&datagram.ready().unwrap_err()), expected);
    }
    drop((read, stopped, accept, datagram, closed, drained));
    let write = Hand::new(send.write(b"y")).ready().unwrap_err();
    assert_eq!(lost(inner(&write)), expected);
    let io = std::io::Error::from(write);
    assert_eq!(io.kind(), std::io::ErrorKind::Other);
    assert_eq!(lost(inner(&Hand::new(client.open_bi()).ready().unwrap_err())), expected);
    // The first cause is kept.
    client.close(VarInt::from_u32(1), b"");
    assert_eq!(lost(&client.close_reason().unwrap()), expected);
}

/// [C-82] If the task that drives a connection panics, or ends with its runtime, every handle MUST
/// report that as the cause, and never a close by this end.
#[test]
fn a_panic_of_the_applications_socket_is_said_on_every_handle() {
    for wire in WIRES {
        for fault in [Fault::Recv, Fault::Ready, Fault::Send, Fault::Flush, Fault::Rtt] {
            let poison = Arc::new(AtomicBool::new(false));
            let runtime = runtime();
            runtime.block_on(async {
                tokio::time::pause();
                let (left, right) = memory_pair(1 << 20);
                let socket = Poisoned { socket: left, fault, poison: poison.clone() };
                let client = connection(socket, Side::Client, wire, &config(|_| ()));
                let server = connection(right, Side::Server, wire, &config(|_| ()));
                client.established().await.unwrap();
                let end = async || {
                    poison.store(true, Ordering::SeqCst);
                    // The driver asks the socket for its round-trip time once a second, and sends a
                    // ping after ten seconds. So the driver calls every method of the socket in
                    // this time.
                    tokio::time::sleep(Duration::from_secs(11)).await;
                };
                assert_everybody_learns(client, end, DriverLost::Panicked).await;
                let seen = server.closed().await;
                assert!(matches!(seen, ConnectionError::SocketLost(SocketError::Eof)), "{seen}");
            });
        }
    }
}

/// [C-82] If the task that drives a connection panics, or ends with its runtime, every handle MUST
/// report that as the cause, and never a close by this end.
#[test]
fn the_end_of_its_runtime_is_said_on_every_handle() {
    for wire in WIRES {
        let (left, right) = memory_pair(1 << 20);
        let (near, far) = (runtime(), runtime());
        let entered = near.enter();
        let client = connection(left, Side::Client, wire, &config(|_| ()));
        drop(entered);
        let server = far.block_on(async { connection(right, Side::Server, wire, &config(|_| ())) });
        let step = |runtime: &Runtime| {
            runtime.block_on(async {
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
            });
        };
        (0..3).for_each(|_| [&near, &far].into_iter().for_each(step));
        let handle = client.clone();
        let outside = runtime();
        outside.block_on(async move {
            let end = async || near.shutdown_background();
            assert_everybody_learns(client, end, DriverLost::Dropped).await;
        });
        assert_eq!(lost(&handle.close_reason().unwrap()), DriverLost::Dropped);
        let seen = far.block_on(server.closed());
        assert!(matches!(seen, ConnectionError::SocketLost(SocketError::Eof)), "{seen}");
    }
}

/// A panic in other code is not reported as a panic of the driver.
#[test]
fn a_runtime_that_ends_while_its_owner_panics_is_no_panic_of_the_driver() {
    let (left, _right) = memory_pair(1 << 20);
    let runtime = runtime();
    let entered = runtime.enter();
    let client = connection(left, Side::Client, Wire::QMux, &config(|_| ()));
    drop(entered);
    let owner = AssertUnwindSafe(move || {
        let _runtime = runtime;
        panic!("of the owner");
    });
    catch_unwind(owner).unwrap_err();
    assert_eq!(lost(&client.close_reason().unwrap()), DriverLost::Dropped);
}

#[test]
fn a_connection_that_had_ended_keeps_its_reason_when_its_runtime_ends() {
    let (left, _right) = memory_pair(1 << 20);
    let runtime = runtime();
    let entered = runtime.enter();
    let client = connection(left, Side::Client, Wire::QMux, &config(|_| ()));
    drop(entered);
    client.close(VarInt::from_u32(1), b"");
    drop(runtime);
    assert!(matches!(client.close_reason(), Some(ConnectionError::LocallyClosed)));
}

/// A waker of the application, which panics.
struct Bug;

impl Wake for Bug {
    fn wake(self: Arc<Self>) {
        panic!("a bug of the application's waker");
    }
}

/// There are several reads, and all of them except one have a waker that panics. The first panic
/// ends the driver. The waker panics again when the ending driver wakes all waiting tasks.
#[test]
fn a_waker_that_panics_takes_neither_the_process_nor_the_others_wakes() {
    for wire in WIRES {
        let runtime = runtime();
        runtime.block_on(async {
            let (left, right) = memory_pair(1 << 20);
            let client = connection(left, Side::Client, wire, &config(|_| ()));
            let server = connection(right, Side::Server, wire, &config(|_| ()));
            client.established().await.unwrap();
            let mut streams = Vec::new();
            for _ in 0..8 {
                let (mut send, recv) = client.open_bi().await.unwrap().into_split();
                send.write_all(b"x").await.unwrap();
                streams.push((send, recv));
            }
            let mut reads: Vec<_> =
                streams.iter_mut().map(|(_, recv)| Hand::new(recv.read_chunk(1))).collect();
            let bug = Waker::from(Arc::new(Bug));
            // All reads but the last have the waker that panics.
            let mut last = reads.pop().unwrap();
            assert!(last.poll().is_pending());
            for read in &mut reads {
                assert!(read.poll_with(&bug).is_pending());
            }
            let mut far = server.accept_bi().await.unwrap();
            far.send().write_all(b"y").await.unwrap();
            while client.close_reason().is_none() {
                tokio::task::yield_now().await;
            }
            let end = client.closed().await;
            assert_eq!(lost(&end), DriverLost::Panicked, "{wire:?}");
            assert!(last.wakes() > 0, "{wire:?}: it would wait in vain");
        });
    }
}
