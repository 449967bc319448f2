//! Reads back the qlog of a real transfer. The log must have the fields that the schema requires,
//! and it must contain the frames that were sent.
//!
//! The schema is version 0.3: draft-ietf-quic-qlog-main-schema-05 and
//! draft-ietf-quic-qlog-quic-events-04.

mod resumption;
mod schema;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use serde_json::Value;
use wsmux::{
    ConnectionError, QlogConfig, Side, SocketError, VarInt, WebSocketClient, WebSocketConnection,
    WebSocketServer, Wire,
    socket::{Incoming, Outgoing, Socket, memory_pair},
};

use self::schema::{check_event, check_log, check_packets, uint};

/// A time limit that a passing test never reaches, even on a slow machine.
const WATCHDOG: Duration = Duration::from_secs(60);

/// A directory that is removed at the end of the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wsmux-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

type Qlog = Option<QlogConfig>;

fn config(qlog: impl Into<Qlog>) -> Qlog {
    qlog.into()
}

/// How many bytes each stream of the transfer carries. The numbers are not multiples of the size of
/// a buffer or a frame.
const SIZES: [usize; 3] = [1_000_003, 70_001, 0];

/// The client sends on bidirectional streams, which the server echoes, then sends a unidirectional
/// stream and a datagram, and closes the connection.
async fn transfer(client: &Qlog, server: &Qlog, wire: Wire) {
    let builder = WebSocketServer::builder().wires([wire]).qlog(server.clone());
    let server = builder.bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let serve = async {
        let connection = server.accept().await.unwrap().await.unwrap();
        for _ in SIZES {
            let (mut send, mut recv) = connection.accept_bi().await.unwrap().into_split();
            let all = recv.read_to_end(usize::MAX).await.unwrap();
            send.write_all(&all).await.unwrap();
            send.finish().unwrap();
        }
        if wire == Wire::QMux {
            let mut recv = connection.accept_uni().await.unwrap();
            recv.stop(VarInt::from_u32(9)).unwrap();
            connection.read_datagram().await.unwrap();
        }
        connection.closed().await
    };
    let dial = async {
        let client = WebSocketClient::builder().wire(wire).qlog(client.clone()).build().unwrap();
        let connection = client.connect(&url).await.unwrap();
        for size in SIZES {
            let (mut send, mut recv) = connection.open_bi().await.unwrap().into_split();
            let write = async {
                send.write_all(&vec![7; size]).await.unwrap();
                send.finish().unwrap();
            };
            let (_, all) = tokio::join!(write, recv.read_to_end(usize::MAX));
            assert_eq!(all.unwrap().len(), size);
        }
        if wire == Wire::QMux {
            let mut send = connection.open_uni().await.unwrap();
            send.write_all(b"gone").await.unwrap();
            assert_eq!(send.stopped().await.unwrap(), Some(VarInt::from_u32(9)));
            connection.send_datagram_wait("datagram".into()).await.unwrap();
        }
        connection.drain();
        connection.closed().await
    };
    tokio::join!(serve, dial);
}

/// Returns the records of the log, which are separated as RFC 7464 requires.
fn records(log: &[u8]) -> Vec<Value> {
    assert_eq!(log.first(), Some(&0x1e), "a record separator comes first");
    assert_eq!(log.last(), Some(&b'\n'), "the last record is whole");
    log[1..]
        .split(|&byte| byte == 0x1e)
        .map(|record| {
            assert_eq!(record.last(), Some(&b'\n'), "each record ends its line");
            serde_json::from_slice(record).expect("a record is JSON")
        })
        .collect()
}

#[test]
fn a_transfer_is_logged_at_both_ends_in_the_schema_that_qvis_reads() {
    let directory = Directory::new("qlog");
    let config = config(QlogConfig::directory(&directory.0).title("a transfer"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(transfer(&config, &config, Wire::QMux));
    // Both logs are guaranteed to be complete only after the runtime has been dropped.
    drop(runtime);

    let files = std::fs::read_dir(&directory.0).unwrap().map(|file| file.unwrap().path());
    let mut packets = BTreeMap::new();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let side = if name.ends_with("client.sqlog") { Side::Client } else { Side::Server };
        let log = std::fs::read(&file).unwrap();
        packets.insert(side, check_log(&log, side));
        assert_eq!(records(&log)[0]["title"], "a transfer");
    }
    let [sent, received] = packets[&Side::Client];
    assert_eq!(packets[&Side::Server], [received, sent], "both tell of the same messages");
}

/// A writer that collects bytes. When it is dropped, it sends them to a channel.
struct Collect(Vec<u8>, mpsc::Sender<Vec<u8>>);

impl Write for Collect {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Collect {
    fn drop(&mut self) {
        let _ = self.1.send(std::mem::take(&mut self.0));
    }
}

#[test]
fn a_writer_is_asked_for_each_connection_and_may_be_refused() {
    let (sender, logs) = mpsc::channel();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let config = config(QlogConfig::new({
        let asked = asked.clone();
        move |connection| {
            let number = connection.info.remote_address().map(|address| address.is_ipv4());
            asked.lock().unwrap().push((connection.side, number));
            let wanted = connection.side == Side::Server;
            wanted.then(|| Box::new(Collect(Vec::new(), sender.clone())) as Box<dyn Write + Send>)
        }
    }));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(transfer(&config, &config, Wire::QMux));
    check_log(&logs.recv().unwrap(), Side::Server);
    let mut asked = asked.lock().unwrap().clone();
    asked.sort();
    assert_eq!(asked, [(Side::Client, Some(true)), (Side::Server, Some(true))]);
    drop((config, runtime));
    assert!(logs.recv().is_err(), "no second log");
}

#[test]
fn a_log_that_cannot_be_written_leaves_the_connection_alone() {
    let directory = Directory::new("no-directory");
    std::fs::write(&directory.0, "a file").unwrap();
    let config = config(QlogConfig::directory(directory.0.join("below")));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(transfer(&config, &config, Wire::QMux));
    drop(runtime);
    assert!(Path::new(&directory.0).is_file());
    std::fs::remove_file(&directory.0).unwrap();
}

#[test]
fn the_js_ws_wire_is_not_logged() {
    let config = config(QlogConfig::new(|_| panic!("nothing to write")));
    tokio::runtime::Runtime::new().unwrap().block_on(transfer(&config, &config, Wire::JsWs));
}

/// A faulty socket of the application, which panics.
struct Bug;

impl Socket for Bug {
    fn poll_recv(&mut self, _: &mut Context<'_>) -> Poll<Result<Incoming, SocketError>> {
        panic!("a bug of the application's socket");
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        Poll::Pending
    }

    fn start_send(&mut self, _: Outgoing<'_>) -> Result<(), SocketError> {
        Ok(())
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        Poll::Pending
    }
}

#[test]
fn a_log_says_when_its_driver_panicked_or_its_runtime_ended() {
    fn ends(socket: impl Socket + Unpin, expected: &str) {
        let (sender, logs) = mpsc::channel();
        let config = config(QlogConfig::new(move |_| {
            Some(Box::new(Collect(Vec::new(), sender.clone())) as Box<dyn Write + Send>)
        }));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connection = runtime.block_on(async {
            let builder = WebSocketConnection::builder().qlog(config.clone());
            let connection = builder.build(socket, Side::Client, Wire::QMux);
            tokio::task::yield_now().await;
            connection
        });
        drop(runtime);
        let records = records(&logs.recv().unwrap());
        let closed = records.last().unwrap();
        assert_eq!(closed["name"], "connectivity:connection_closed");
        check_event(closed);
        assert_eq!(closed["data"]["owner"], "local");
        assert_eq!(closed["data"]["trigger"], "error");
        assert_eq!(closed["data"]["reason"], expected);
        assert_eq!(connection.close_reason().unwrap().to_string(), expected);
    }
    ends(Bug, "the connection's driver panicked");
    let (socket, _far) = memory_pair(1 << 20);
    ends(socket, "the connection's driver was dropped: its runtime has ended");
}

#[test]
fn equal_frames_that_follow_each_other_have_one_entry_that_counts_them() {
    // This many datagrams fit into the default queues of both ends.
    const DATAGRAMS: u64 = 1_000;
    let (sender, logs) = mpsc::channel();
    let config = config(QlogConfig::new(move |_| {
        Some(Box::new(Collect(Vec::new(), sender.clone())) as Box<dyn Write + Send>)
    }));
    // There is only one thread, so no driver runs between one datagram and the next.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (left, right) = memory_pair(1 << 20);
        let end = |socket, side, config| {
            WebSocketConnection::builder().qlog(config).build(socket, side, Wire::QMux)
        };
        let client = end(left, Side::Client, config.clone());
        let server = end(right, Side::Server, None);
        client.established().await.unwrap();
        for _ in 0..DATAGRAMS {
            // The datagram is not empty, because the peer closes the connection after too many
            // empty datagrams (C-60).
            client.send_datagram(Bytes::from_static(&[7])).unwrap();
        }
        client.drain();
        assert!(matches!(client.closed().await, ConnectionError::LocallyClosed));
        server.closed().await;
        for _ in 0..DATAGRAMS {
            server.read_datagram().await.expect("a drain sends what is queued");
        }
    });
    drop(runtime);
    let records = records(&logs.recv().unwrap());
    records[1..].iter().for_each(check_event);
    let (frames, _) = check_packets(&records, "transport:packet_sent");
    let datagrams = frames.iter().filter(|frame| frame["frame_type"] == "datagram");
    let counts: Vec<_> = datagrams.map(|frame| frame.get("count").map_or(1, uint)).collect();
    assert_eq!(counts, [DATAGRAMS]);
}

/// A writer that hangs until the sender of its permits has been dropped. After that it works like
/// [`Collect`].
struct Hangs(Arc<Mutex<mpsc::Receiver<()>>>, Collect);

impl Write for Hangs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.lock().unwrap().recv();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn writers_that_hang_cost_nothing_but_the_logs_of_their_own_config() {
    // There are more connections than threads in tokio's blocking pool, which has 512 by default.
    const CONNECTIONS: usize = 600;
    let ((permit, permits), (sender, logs)) = (mpsc::channel(), mpsc::channel());
    let permits = Arc::new(Mutex::new(permits));
    let hangs = config(QlogConfig::new(move |_| {
        let writer = Hangs(permits.clone(), Collect(Vec::new(), sender.clone()));
        Some(Box::new(writer) as Box<dyn Write + Send>)
    }));
    let (sender, others) = mpsc::channel();
    let other = config(QlogConfig::new(move |_| {
        Some(Box::new(Collect(Vec::new(), sender.clone())) as Box<dyn Write + Send>)
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let transfer = async {
        for _ in 0..CONNECTIONS {
            let (left, right) = memory_pair(1 << 16);
            let end = |socket, side, config: &Qlog| {
                let builder = WebSocketConnection::builder().qlog(config.clone());
                builder.build(socket, side, Wire::QMux)
            };
            let client = end(left, Side::Client, &hangs);
            let server = end(right, Side::Server, &None);
            client.established().await.unwrap();
            client.drain();
            tokio::join!(client.closed(), server.closed());
        }
        let (left, _right) = memory_pair(1 << 16);
        let builder = WebSocketConnection::builder().qlog(other);
        let connection = builder.build(left, Side::Client, Wire::QMux);
        connection.close(VarInt::from_u32(7), b"bye");
        drop(connection);
        // The connection's task runs now, and sends the close.
        tokio::task::yield_now().await;
        tokio::task::spawn_blocking(|| "blocking work is done").await
    };
    let done = runtime.block_on(async { tokio::time::timeout(WATCHDOG, transfer).await });
    if done.is_err() {
        // Dropping the permit lets the writers continue. Otherwise the runtime would wait for them
        // for ever, and the test would not fail.
        drop(permit);
        panic!("blocking work waits for the writers");
    }
    // The writers still hang, but neither dropping the runtime nor the other log waits for them.
    drop(runtime);
    assert!(logs.try_recv().is_err());
    let other = records(&others.recv().unwrap());
    assert_eq!(other.last().unwrap()["data"]["reason"], "bye");

    drop((permit, hangs));
    let logs: Vec<_> = logs.iter().map(|log| records(&log)).collect();
    assert_eq!(logs.len(), CONNECTIONS, "the thread writes what was left to it");
    let closed = |log: &Vec<Value>| log.last().unwrap()["name"] == "connectivity:connection_closed";
    assert!(logs.iter().all(closed));
}
