//! Which tasks are woken and how often: a task is woken when it can proceed, and only then.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use wsmux::{
    Config, ConnectionError, DriverLost, OpenError, ReadError, ResetError, SendDatagramError,
    SocketError, StoppedError, Wire, WriteError,
    socket::{Incoming, Outgoing, Socket, memory_pair},
};

use super::{
    bytes::{read_expected, write_expected},
    hand::Hand,
    pair::{WIRES, config, memory, over, quiet},
};

/// A socket that counts how often it is polled, and panics on demand.
struct Watched<S> {
    socket: S,
    asked: Arc<AtomicUsize>,
    panics: Arc<AtomicBool>,
}

impl<S> Watched<S> {
    fn new(socket: S) -> Self {
        Self { socket, asked: Arc::default(), panics: Arc::default() }
    }
}

impl<S: Socket + Unpin> Socket for Watched<S> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, SocketError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        assert!(!self.panics.load(Ordering::Relaxed), "on demand");
        self.socket.poll_recv(cx)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.socket.poll_ready(cx)
    }

    fn start_send(&mut self, item: Outgoing<'_>) -> Result<(), SocketError> {
        self.socket.start_send(item)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.socket.poll_flush(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_does_nothing() {
    for wire in WIRES {
        let config = config(|config| {
            config.keep_alive_interval(None).max_idle_timeout(None);
        });
        let (left, right) = memory_pair(64 * 1024);
        let left = Watched::new(left);
        let asked = left.asked.clone();
        let (client, server) = over((left, right), wire, &config).await;
        let mut stream = client.open_bi().await.unwrap();
        stream.send().write_all(b"x").await.unwrap();
        let _accepted = server.accept_bi().await.unwrap();
        quiet().await;
        let before = asked.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(24 * 3_600)).await;
        let later = asked.load(Ordering::Relaxed) - before;
        // Timers that were set earlier may still fire once.
        assert!(later <= 2, "{wire:?}: asked {later} times");
        tokio::time::sleep(Duration::from_secs(24 * 3_600)).await;
        assert_eq!(asked.load(Ordering::Relaxed) - before, later, "{wire:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_kept_alive_does_little_else() {
    for wire in WIRES {
        let (left, right) = memory_pair(64 * 1024);
        let left = Watched::new(left);
        let asked = left.asked.clone();
        let (client, _server) = over((left, right), wire, &Config::default()).await;
        quiet().await;
        let before = asked.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let later = asked.load(Ordering::Relaxed) - before;
        // There is a ping every ten seconds. Each ping may cause several polls: for a timer that
        // fired early, for the ping, for its pong, and for the other end's ping.
        assert!((360..360 * 10).contains(&later), "{wire:?}: asked {later} times");
        assert!(client.close_reason().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_stands_still_is_not_asked_again_and_again() {
    for wire in WIRES {
        let config = config(|config| {
            config.keep_alive_interval(None).max_idle_timeout(None);
        });
        let (left, right) = memory_pair(64 * 1024);
        let stall = left.stall();
        let left = Watched::new(left);
        let asked = left.asked.clone();
        let (client, _server) = over((left, right), wire, &config).await;
        let mut stream = client.open_bi().await.unwrap();
        quiet().await;
        stall.pause_writes(true);
        // The socket accepts the first write and is then full. The second write finds the socket
        // full.
        for _ in 0..2 {
            stream.send().write_all(&[0; 1_000]).await.unwrap();
            quiet().await;
        }
        let before = asked.load(Ordering::Relaxed);
        for _ in 0..1_000 {
            stream.send().write_all(&[0; 100]).await.unwrap();
            quiet().await;
        }
        let later = asked.load(Ordering::Relaxed) - before;
        assert_eq!(later, 0, "{wire:?}: only the socket can say that it has room again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_is_woken_for_half_a_buffer_and_not_for_each_byte() {
    const BUFFER: usize = 64 * 1024;
    const COUNT: usize = 16 * BUFFER;
    for wire in WIRES {
        let config = config(|config| {
            config.send_buffer(BUFFER).stream_receive_window(1_000);
        });
        let (client, server) = memory(wire, &config).await;
        let mut stream = client.open_bi().await.unwrap();
        stream.send().announce();
        let mut accepted = server.accept_bi().await.unwrap();
        let reader = tokio::spawn(async move {
            let mut read = 0;
            while let Some(chunk) = accepted.recv().read_chunk(100).await.unwrap() {
                read += chunk.len();
                tokio::task::yield_now().await;
            }
            read
        });
        let data = vec![1; COUNT];
        let (mut written, mut wakes) = (0, 0);
        while written < COUNT {
            let mut write = Hand::new(stream.send().write(&data[written..]));
            written += loop {
                match write.poll() {
                    Poll::Ready(taken) => break taken.unwrap(),
                    Poll::Pending => {
                        let before = write.wakes();
                        while write.wakes() == before {
                            tokio::task::yield_now().await;
                        }
                    }
                }
            };
            wakes += write.wakes();
        }
        stream.send().finish().unwrap();
        assert_eq!(reader.await.unwrap(), COUNT);
        assert!((10..=COUNT / (BUFFER / 2)).contains(&wakes), "{wire:?}: woken {wakes} times");
    }
}

#[tokio::test(start_paused = true)]
async fn a_million_small_writes_are_some_hundred_messages() {
    for wire in WIRES {
        let (left, right) = memory_pair(256 * 1024);
        let left = Watched::new(left);
        let asked = left.asked.clone();
        let (client, server) = over((left, right), wire, &Config::default()).await;
        let mut stream = client.open_bi().await.unwrap();
        stream.send().announce();
        let mut accepted = server.accept_bi().await.unwrap();
        let reader = tokio::spawn(async move {
            let mut read = 0;
            while let Some(chunk) = accepted.recv().read_chunk(usize::MAX).await.unwrap() {
                read += chunk.len();
            }
            read
        });
        for _ in 0..1_000_000 {
            stream.send().write_all(&[7; 32]).await.unwrap();
        }
        stream.send().finish().unwrap();
        assert_eq!(reader.await.unwrap(), 32_000_000);
        let sent = client.stats().messages_sent;
        // 32 MB in messages of 64 KiB are 489 messages.
        assert!((489..2_000).contains(&sent), "{wire:?}: {sent} messages");
        let asked = asked.load(Ordering::Relaxed);
        assert!(asked < 20_000, "{wire:?}: the socket was asked {asked} times");
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_streams_one_after_another_leave_nothing() {
    for wire in WIRES {
        let (client, server) = memory(wire, &Config::default()).await;
        for seed in 0..10_000 {
            let mut stream = client.open_bi().await.unwrap();
            write_expected(stream.send(), seed, 10).await;
            stream.send().finish().unwrap();
            let mut accepted = server.accept_bi().await.unwrap();
            assert_eq!(read_expected(accepted.recv(), seed).await, 10);
            write_expected(accepted.send(), seed, 5).await;
            accepted.send().finish().unwrap();
            assert_eq!(read_expected(stream.recv(), seed).await, 5);
        }
        quiet().await;
        for connection in [client, server] {
            let stats = connection.stats();
            assert_eq!((stats.live_streams, stats.send_buffered), (0, 0), "{wire:?}");
        }
    }
}

/// Starts every operation that can wait, ends the driver with `end`, and checks that all operations
/// are woken and report the cause.
fn everybody_is_woken(
    wire: Wire,
    cause: DriverLost,
    end: impl FnOnce(tokio::runtime::Runtime, &AtomicBool),
) {
    let lost =
        |end: &ConnectionError| matches!(end, ConnectionError::DriverLost(lost) if *lost == cause);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.unwrap();
    let (left, right) = memory_pair(64 * 1024);
    let left = Watched::new(left);
    let panics = left.panics.clone();
    let config = config(|config| {
        config.max_concurrent_bidi_streams(2).stream_receive_window(100).send_buffer(100);
        config.datagram_send_buffer_size(1_000);
    });
    let (client, _server, mut one, mut two) = runtime.block_on(async {
        let (client, server) = over((left, right), wire, &config).await;
        let mut one = client.open_bi().await.unwrap();
        let two = client.open_bi().await.unwrap();
        while let Poll::Ready(taken) = Hand::new(one.send().write(&[0; 10])).poll() {
            taken.unwrap();
            quiet().await;
        }
        (client, server, one, two)
    });
    let (send, recv) = one.split();
    let mut stopped = Hand::waiting(send.stopped());
    let mut write = Hand::waiting(send.write(b"x"));
    let mut read = Hand::waiting(recv.read_chunk(1));
    let mut reset = Hand::waiting(two.recv().received_reset());
    let mut accepts = [(); 2].map(|()| Hand::waiting(client.accept_bi()));
    let mut closed = Hand::waiting(client.closed());
    let mut qmux = (wire == Wire::QMux).then(|| {
        client.send_datagram(vec![0; 900].into()).unwrap();
        (
            Hand::waiting(client.open_bi()),
            Hand::waiting(client.read_datagram()),
            Hand::waiting(client.send_datagram_wait(vec![0; 900].into())),
        )
    });
    end(runtime, &panics);
    let wakes = [stopped.wakes(), write.wakes(), read.wakes(), reset.wakes(), closed.wakes()];
    assert!(wakes.iter().all(|&wakes| wakes > 0), "{wire:?}: {wakes:?}");
    assert!(matches!(stopped.ready(), Err(StoppedError::ConnectionLost(end)) if lost(&end)));
    assert!(matches!(write.ready(), Err(WriteError::ConnectionLost(end)) if lost(&end)));
    assert!(matches!(read.ready(), Err(ReadError::ConnectionLost(end)) if lost(&end)));
    assert!(matches!(reset.ready(), Err(ResetError::ConnectionLost(end)) if lost(&end)));
    assert!(lost(&closed.ready()));
    for accept in &mut accepts {
        assert!(accept.wakes() > 0, "{wire:?}");
        assert!(matches!(accept.ready(), Err(end) if lost(&end)));
    }
    if let Some((open, read, send)) = &mut qmux {
        let wakes = [open.wakes(), read.wakes(), send.wakes()];
        assert!(wakes.iter().all(|&wakes| wakes > 0), "{wire:?}: {wakes:?}");
        assert!(matches!(open.ready(), Err(OpenError::ConnectionLost(end)) if lost(&end)));
        assert!(matches!(read.ready(), Err(end) if lost(&end)));
        assert!(matches!(send.ready(), Err(SendDatagramError::ConnectionLost(end)) if lost(&end)));
    }
}

/// [C-82] If the task that drives a connection panics, or ends with its runtime, every handle MUST
/// report that as the cause, and never a close by this end.
#[test]
fn the_end_of_the_runtime_wakes_everybody() {
    for wire in WIRES {
        everybody_is_woken(wire, DriverLost::Dropped, |runtime, _| drop(runtime));
    }
}

/// [C-82] If the task that drives a connection panics, or ends with its runtime, every handle MUST
/// report that as the cause, and never a close by this end.
#[test]
fn a_socket_that_panics_ends_its_connection_and_wakes_everybody() {
    for wire in WIRES {
        everybody_is_woken(wire, DriverLost::Panicked, |runtime, panics| {
            panics.store(true, Ordering::Relaxed);
            runtime.block_on(async { tokio::time::sleep(Duration::from_secs(20)).await });
        });
    }
}
