//! A real transfer's qlog, read back: the schema's required fields, and that the frames are those sent.
//!
//! The schema is version 0.3: draft-ietf-quic-qlog-main-schema-05 and draft-ietf-quic-qlog-quic-events-04.

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

/// Longer than anything here takes on any machine.
const WATCHDOG: Duration = Duration::from_secs(60);

/// A directory that is gone with the test.
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

/// What each of the transfer's streams carries; not a multiple of anything.
const SIZES: [usize; 3] = [1_000_003, 70_001, 0];

/// The client sends on bidirectional streams, which the server echoes, a unidirectional one and a datagram; then
/// it closes.
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

/// The log's records, each taken apart as RFC 7464 wants it.
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

fn uint(value: &Value) -> u64 {
    match value {
        Value::Number(number) => {
            let number = number.as_u64().expect("a whole number");
            assert!(number < 1 << 53, "JavaScript would take {number} for another");
            number
        }
        Value::String(text) => text.parse().expect("a number in words"),
        other => panic!("{other} is no number"),
    }
}

fn is_text(value: &Value) -> bool {
    value.is_string()
}

fn is_uint(value: &Value) -> bool {
    uint(value) < 1 << 62
}

fn is_code(value: &Value) -> bool {
    value.is_string() || is_uint(value)
}

fn is_time(value: &Value) -> bool {
    value.as_f64().is_some_and(|time| time >= 0.0)
}

fn is_one_of<const N: usize>(names: [&'static str; N]) -> impl Fn(&Value) -> bool {
    move |value| value.as_str().is_some_and(|text| names.contains(&text))
}

/// The field is there, and is what the schema says.
fn require(object: &Value, field: &str, is: impl Fn(&Value) -> bool) {
    let value = object.get(field).unwrap_or_else(|| panic!("no {field} in {object}"));
    assert!(is(value), "{field} of {object}");
}

/// What QlogFileSeq and TraceSeq demand, and what qvis demands besides.
fn check_header(header: &Value, side: &str) {
    // qvis takes "draft-02", two names of drafts between, and this.
    require(header, "qlog_version", is_one_of(["0.3"]));
    require(header, "qlog_format", is_one_of(["JSON-SEQ"]));
    let trace = header.get("trace").expect("a trace");
    require(&trace["vantage_point"], "type", |value| value == side);
    let common = &trace["common_fields"];
    require(common, "time_format", is_one_of(["relative"]));
    // Milliseconds since 1970, of this century.
    require(common, "reference_time", |value| {
        value.as_f64().is_some_and(|time| (1.7e12..4.1e12).contains(&time))
    });
    require(common, "protocol_type", |value| value.as_array().is_some_and(|all| !all.is_empty()));
}

fn check_event(event: &Value) {
    require(event, "time", is_time);
    require(event, "name", is_text);
    require(event, "data", Value::is_object);
    let data = &event["data"];
    match event["name"].as_str().unwrap() {
        "connectivity:connection_started" => {
            require(data, "src_ip", is_text);
            require(data, "dst_ip", is_text);
        }
        "connectivity:connection_closed" => {
            require(data, "owner", is_one_of(["local", "remote"]));
            let triggers = ["clean", "handshake_timeout", "idle_timeout", "error", "application"];
            require(data, "trigger", is_one_of(triggers));
        }
        "transport:parameters_set" => {
            require(data, "owner", is_one_of(["local", "remote"]));
            for name in ["initial_max_data", "initial_max_stream_data_uni", "max_idle_timeout"] {
                require(data, name, is_uint);
            }
        }
        "transport:packet_sent" | "transport:packet_received" => {
            require(&data["header"], "packet_type", is_one_of(["1RTT"]));
            require(&data["header"], "packet_number", is_uint);
            require(&data["raw"], "length", is_uint);
            require(data, "frames", Value::is_array);
            data["frames"].as_array().unwrap().iter().for_each(check_frame);
            let sizes = data["frames"].as_array().unwrap().iter().map(|f| uint(&f["frame_size"]));
            assert_eq!(sizes.sum::<u64>(), uint(&data["raw"]["length"]), "frames fill {data}");
        }
        "recovery:metrics_updated" => require(data, "smoothed_rtt", is_time),
        other => panic!("no such event in the schema: {other}"),
    }
}

/// The fields that the schema demands of each frame.
fn check_frame(frame: &Value) {
    require(frame, "frame_type", is_text);
    let uints: &[&str] = match frame["frame_type"].as_str().unwrap() {
        "padding" => &["payload_length"],
        "reset_stream" => &["stream_id", "error_code", "final_size"],
        "stop_sending" => &["stream_id", "error_code"],
        "stream" => &["stream_id", "offset", "length"],
        "max_data" => &["maximum"],
        "max_stream_data" => &["stream_id", "maximum"],
        "max_streams" => {
            require(frame, "stream_type", is_one_of(["bidirectional", "unidirectional"]));
            &["maximum"]
        }
        "data_blocked" => &["limit"],
        "stream_data_blocked" => &["stream_id", "limit"],
        "streams_blocked" => {
            require(frame, "stream_type", is_one_of(["bidirectional", "unidirectional"]));
            &["limit"]
        }
        "connection_close" => {
            require(frame, "error_space", is_one_of(["transport", "application"]));
            require(frame, "error_code", is_code);
            &["error_code_value"]
        }
        "datagram" => &["length"],
        "qx_transport_parameters" => &[],
        "qx_ping" => &["sequence_number"],
        other => panic!("no such frame: {other}"),
    };
    uints.iter().for_each(|field| require(frame, field, is_uint));
    if frame.get("count").is_some() {
        require(frame, "count", |count| uint(count) > 1);
    }
}

/// Of the packets of one direction: their numbers in order, their frames, and per stream the bytes.
fn check_packets(events: &[Value], name: &str) -> (Vec<Value>, BTreeMap<u64, u64>) {
    let mut frames = Vec::new();
    let packets = events.iter().filter(|event| event["name"] == name);
    for (number, packet) in packets.enumerate() {
        assert_eq!(uint(&packet["data"]["header"]["packet_number"]), number as u64);
        frames.extend(packet["data"]["frames"].as_array().unwrap().iter().cloned());
    }
    let mut streams: BTreeMap<u64, u64> = BTreeMap::new();
    for frame in frames.iter().filter(|frame| frame["frame_type"] == "stream") {
        let at = streams.entry(uint(&frame["stream_id"])).or_default();
        assert_eq!(uint(&frame["offset"]), *at, "no byte is skipped or sent twice: {frame}");
        *at += uint(&frame["length"]);
    }
    (frames, streams)
}

/// A log is as the schema wants it, and holds the transfer. Returns how many packets went which way.
fn check_log(log: &[u8], side: Side) -> [usize; 2] {
    let records = records(log);
    let (header, events) = records.split_first().unwrap();
    let local = if side == Side::Client { "client" } else { "server" };
    check_header(header, local);
    events.iter().for_each(check_event);
    let times: Vec<f64> = events.iter().map(|event| event["time"].as_f64().unwrap()).collect();
    assert!(times.is_sorted(), "qvis wants events in the order of their times");
    assert_eq!(events[0]["name"], "connectivity:connection_started");
    assert_eq!(events.last().unwrap()["name"], "connectivity:connection_closed");
    let owners = events.iter().filter(|event| event["name"] == "transport:parameters_set");
    assert_eq!(owners.count(), 2, "one of either end");

    let directions = ["transport:packet_sent", "transport:packet_received"];
    let [sent, received] = directions.map(|name| check_packets(events, name));
    let (of_client, of_server) = match side {
        Side::Client => (sent, received),
        Side::Server => (received, sent),
    };
    for (index, size) in SIZES.into_iter().enumerate() {
        let id = index as u64 * 4;
        assert_eq!(of_client.1[&id], size as u64, "stream {id} there");
        assert_eq!(of_server.1[&id], size as u64, "stream {id} and back");
    }
    assert_eq!(of_client.1[&2], 4, "the unidirectional stream");
    let has = |frames: &[Value], kind: &str, field: &str, value: u64| {
        frames.iter().any(|frame| frame["frame_type"] == kind && frame[field] == value)
    };
    assert!(has(&of_server.0, "stop_sending", "error_code", 9));
    assert!(has(&of_client.0, "reset_stream", "error_code", 9));
    assert!(has(&of_client.0, "datagram", "length", 8));
    assert!(has(&of_client.0, "connection_close", "error_code_value", 0));
    directions.map(|name| events.iter().filter(|event| event["name"] == name).count())
}

#[test]
fn a_transfer_is_logged_at_both_ends_in_the_schema_that_qvis_reads() {
    let directory = Directory::new("qlog");
    let config = config(QlogConfig::directory(&directory.0).title("a transfer"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(transfer(&config, &config, Wire::QMux));
    // Only now are both logs whole for certain.
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

/// Tells what was written once it is dropped.
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

/// A socket of the application's, with a bug.
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
    // They fit the default queues of both ends.
    const DATAGRAMS: u64 = 1_000;
    let (sender, logs) = mpsc::channel();
    let config = config(QlogConfig::new(move |_| {
        Some(Box::new(Collect(Vec::new(), sender.clone())) as Box<dyn Write + Send>)
    }));
    // On one thread, so that no driver runs between one datagram and the next.
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
            // Not empty: the peer closes the connection for too many empty ones (C-60).
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

/// A writer that hangs until the sender of its permits is gone, and tells then what was written.
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
    // More than tokio has threads for blocking work.
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
        tokio::task::spawn_blocking(|| "blocking work is done").await
    };
    let done = runtime.block_on(async { tokio::time::timeout(WATCHDOG, transfer).await });
    if done.is_err() {
        // Else the runtime would never end.
        drop(permit);
        panic!("blocking work waits for the writers");
    }
    // The writers hang still, and that holds up neither this nor the other log.
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
