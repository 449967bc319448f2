//! A log of what went over the wire, in QUIC's qlog (draft-ietf-quic-qlog-main-schema), for tools such as qvis.

mod output;
mod schema;

use std::{
    fmt, fs,
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use self::{
    output::{Output, Writer},
    schema::{ErrorCode, Owner},
};
use crate::{
    ConnectionInfo, Side, Wire,
    proto::{Close, ConnectionError, Frame, Timeout},
    shared::Shared,
    socket::Incoming,
};

/// Bytes of records that are gathered before they are handed to the writer.
const CHUNK: usize = 32 * 1024;

/// Records are not gathered for longer than this, so that a log can be looked at while it grows.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// The least bytes that a log may be bounded to: its beginning, its end, and something between.
const MIN_SIZE: u64 = 64 * 1024;

/// What [`QlogConfig::max_size`] is by default: some 400,000 messages, as many as a full link of a gigabit carries in
/// three minutes, and little enough for a browser that runs qvis. Without a bound a flood of small messages fills the
/// disk, because a message of two bytes makes a record of 200.
const DEFAULT_MAX_SIZE: u64 = 64 * 1024 * 1024;

/// What is kept free of a log for its end: two warnings, and the event that says how the connection ended.
const END: u64 = 2 * 256 + 512 + 6 * MAX_REASON as u64;

/// Bytes of a reason in the last event; each may take six in JSON.
const MAX_REASON: usize = 1024;

/// Entries for the frames of one message. One of 64 KiB may hold tens of thousands of frames.
const MAX_FRAMES: usize = 1_000;

/// Whether and where connections are logged, in QUIC's qlog: for
/// [`WebSocketClientBuilder::qlog`](crate::WebSocketClientBuilder::qlog) and its kin. Cheap to clone.
///
/// ```
/// use wsmux::{QlogConfig, WebSocketClient};
///
/// let qlog = QlogConfig::directory("qlogs").title("nightly load");
/// let client = WebSocketClient::builder().qlog(qlog);
/// ```
///
/// **What is written.** Each connection on the [QMux](Wire::QMux) wire has a log of its own, a sequence of JSON
/// texts (RFC 7464), version 0.3 of the schema, which is the newest that [qvis](https://qvis.quictools.info)
/// reads. The js-ws wire does not speak QUIC's language; its connections are not logged.
///
/// | event | |
/// |---|---|
/// | `connectivity:connection_started` | the addresses, where both are known |
/// | `transport:parameters_set` | the limits of either end |
/// | `transport:packet_sent`, `transport:packet_received` | one message, as a packet of type `1RTT`. Its number counts the messages of its direction; `raw.length` is its size without the WebSocket's framing. The frames are those of QUIC, and `datagram`, `reset_stream_at`, `qx_transport_parameters` and `qx_ping` |
/// | `recovery:metrics_updated` | the smoothed round-trip time, when it has changed |
/// | `connectivity:connection_closed` | how it ended; always the last |
/// | `generic:warning` | events are missing here, because the writer was too slow or the log has reached its [largest size](Self::max_size) |
///
/// Equal frames that follow each other in one message have one entry, whose `count` says how many they are, and whose
/// `frame_size` is that of all of them. Of a message with very many frames those after the first 1,000 entries have
/// one entry together, of type `unknown`.
///
/// Frames are shown without their data: neither what streams carry nor headers are in the log, but the peers'
/// addresses, the reasons of closes, and who sent how much when.
///
/// **What it costs.** Each message is decoded once more and written as JSON by the connection's task. The log is
/// written on the runtime's threads for blocking work, in chunks of some 32 KiB, or after a second when something
/// happens then, and at the end; so a process that is killed loses the last second. A connection never waits for
/// its log: when more than 4 MiB wait for the writer, events are left out. When the writer fails, the log
/// ends there, and the connection goes on. The log of a connection that has ended is whole once the writer is
/// dropped, at the latest when the runtime has shut down.
#[derive(Clone)]
pub struct QlogConfig {
    open: Arc<Open>,
    title: Option<Arc<str>>,
    description: Option<Arc<str>>,
    max_size: u64,
}

type Open = dyn Fn(&QlogConnection<'_>) -> Option<Writer> + Send + Sync;

/// A connection that has just been made, which may be logged.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct QlogConnection<'a> {
    /// The connection's number in this process; with the feature `tracing` its span has the same.
    pub id: u64,
    /// Which end of it this is.
    pub side: Side,
    /// What its handshake said.
    pub info: &'a ConnectionInfo,
}

impl QlogConfig {
    /// Logs each connection to what `open` returns for it, and those not for which that is `None`. `open` is called
    /// by the task that makes the connection, and should not block; the writer may.
    pub fn new<F>(open: F) -> Self
    where
        F: Fn(&QlogConnection<'_>) -> Option<Box<dyn Write + Send>> + Send + Sync + 'static,
    {
        let open = Arc::new(open);
        Self { open, title: None, description: None, max_size: DEFAULT_MAX_SIZE }
    }

    /// Logs each connection to a file of its own in this directory, which is made where it is missing. The
    /// name begins with the milliseconds since 1970: `1790000000123-4711-0-client.sqlog` is of the process 4711, and
    /// of its first connection. A file that cannot be made is a writer that fails.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        let directory = path.into();
        Self::new(move |connection| {
            let QlogConnection { id, side, .. } = *connection;
            let (now, process) = (since_1970().as_millis(), std::process::id());
            let name = format!("{now}-{process}-{id}-{}.sqlog", side_name(side));
            Some(Box::new(NewFile::Path { directory: directory.clone(), name }))
        })
    }

    /// What a tool shows as the log's title.
    pub fn title(mut self, title: impl Into<Arc<str>>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// What else there is to say of the log.
    pub fn description(mut self, description: impl Into<Arc<str>>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Bytes that the log of one connection may have. At them it says so, and leaves out all that follows but how the
    /// connection ended and how many events are missing; the connection goes on. At least 64 KiB; default 64 MiB.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = bytes.max(MIN_SIZE);
        self
    }

    /// The log of a new connection, if it is to have one. Within a runtime.
    pub(crate) fn start(&self, shared: &Arc<Shared>) -> Option<Log> {
        let (side, wire) = {
            let state = shared.lock();
            (state.engine.side(), state.engine.wire())
        };
        if wire != Wire::QMux {
            return None;
        }
        let connection = QlogConnection { id: shared.id, side, info: &shared.info };
        let writer = (self.open)(&connection)?;
        let mut log = Log {
            output: Output::new(writer, tokio::runtime::Handle::current()),
            shared: shared.clone(),
            wire,
            chunk: Vec::new(),
            handed_over: shared.now(),
            room: self.max_size - END,
            is_full: false,
            lost: 0,
            sent: 0,
            received: 0,
            rtt: None,
            farewell: None,
        };
        log.begin(side, self);
        Some(log)
    }
}

impl fmt::Debug for QlogConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QlogConfig")
            .field("title", &self.title)
            .field("description", &self.description)
            .field("max_size", &self.max_size)
            .finish_non_exhaustive()
    }
}

/// A file that is made by the first write, on a thread that may block.
enum NewFile {
    Path { directory: PathBuf, name: String },
    File(fs::File),
}

impl NewFile {
    fn file(&mut self) -> io::Result<&mut fs::File> {
        if let Self::Path { directory, name } = self {
            fs::create_dir_all(&*directory)?;
            let path = directory.join(name);
            *self = Self::File(fs::OpenOptions::new().write(true).create_new(true).open(path)?);
        }
        match self {
            Self::File(file) => Ok(file),
            Self::Path { .. } => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file()?.flush()
    }
}

/// One connection's log, which its task keeps.
#[derive(Debug)]
pub(crate) struct Log {
    output: Output,
    shared: Arc<Shared>,
    wire: Wire,
    /// Records that are not yet with the output.
    chunk: Vec<u8>,
    /// When records were last handed to the output.
    handed_over: Duration,
    /// Bytes that events may still have; for the end there is room besides.
    room: u64,
    /// There was an event that had no room.
    is_full: bool,
    /// Events left out since the last that was not.
    lost: u64,
    /// Messages, and so the number of the next.
    sent: u64,
    received: u64,
    rtt: Option<Duration>,
    /// What this end said when it closed the connection.
    farewell: Option<Close>,
}

impl Log {
    fn begin(&mut self, side: Side, config: &QlogConfig) {
        let (title, description) = (config.title.as_deref(), config.description.as_deref());
        let header = schema::Header {
            qlog_version: "0.3",
            qlog_format: "JSON-SEQ",
            title,
            description,
            trace: schema::Trace {
                title,
                description,
                common_fields: schema::CommonFields {
                    protocol_type: ["QMux"],
                    group_id: self.shared.id.to_string(),
                    time_format: "relative",
                    // Of the moment from which this connection's times are counted.
                    reference_time: milliseconds(since_1970().saturating_sub(self.shared.now())),
                },
                vantage_point: schema::VantagePoint { name: "wsmux", kind: side_name(side) },
            },
        };
        self.record(&header);
        self.room = self.room.saturating_sub(self.chunk.len() as u64);
        let info = &self.shared.info;
        if let (Some(local), Some(remote)) = (info.local_address(), info.remote_address()) {
            let (from, to) = match side {
                Side::Client => (local, remote),
                Side::Server => (remote, local),
            };
            let started = schema::ConnectionStarted {
                ip_version: if to.is_ipv4() { "v4" } else { "v6" },
                src_ip: from.ip(),
                dst_ip: to.ip(),
                protocol: "QMux",
                src_port: from.port(),
                dst_port: to.port(),
            };
            self.event(self.shared.now(), "connectivity:connection_started", started);
        }
    }

    /// The socket takes this message.
    pub(crate) fn sent(&mut self, now: Duration, message: Bytes) {
        let number = self.sent;
        self.sent += 1;
        self.packet(now, Owner::Local, number, message);
    }

    /// The socket has brought this.
    pub(crate) fn received(&mut self, now: Duration, items: &[Incoming]) {
        for item in items {
            if let Incoming::Message(message) = item {
                let number = self.received;
                self.received += 1;
                self.packet(now, Owner::Remote, number, message.clone());
            }
        }
    }

    fn packet(&mut self, now: Duration, sender: Owner, packet_number: u64, mut message: Bytes) {
        if self.output.has_failed() {
            return;
        }
        if self.is_full {
            self.lost += 1;
            // The last event repeats what this end said when it closed.
            if let (Owner::Local, Ok(Some(Frame::ConnectionClose(close)))) =
                (sender, self.wire.decode(&mut message))
            {
                self.farewell = Some(close);
            }
            return;
        }
        let raw = schema::RawInfo { length: message.len() };
        let mut frames: Vec<schema::SizedFrame> = Vec::new();
        let mut before = message.len();
        // What cannot be decoded ends the connection, which the last event says.
        loop {
            let kind = self.wire.frame_type(&message).unwrap_or_default();
            let Ok(Some(frame)) = self.wire.decode(&mut message) else { break };
            let frame_size = before - message.len();
            let frames_are_full = frames.len() > MAX_FRAMES;
            before = message.len();
            if let Frame::TransportParameters(parameters) = &frame {
                let parameters = schema::ParametersSet::new(sender, parameters);
                self.event(now, "transport:parameters_set", parameters);
            }
            if let Some(frame) = schema::Frame::new(&frame) {
                let entry = schema::SizedFrame { frame, frame_size, count: 1 };
                match frames.last_mut() {
                    Some(last) if last.frame == entry.frame => last.add(&entry),
                    Some(last) if frames_are_full => last.add_other(&entry, kind),
                    _ => frames.push(entry),
                }
            }
            if let (Owner::Local, Frame::ConnectionClose(close)) = (sender, frame) {
                self.farewell = Some(close);
            }
        }
        let name = match sender {
            Owner::Local => "transport:packet_sent",
            Owner::Remote => "transport:packet_received",
        };
        let header = schema::PacketHeader { packet_type: "1RTT", packet_number };
        self.event(now, name, schema::Packet { header, frames, raw });
    }

    /// The smoothed round-trip time is this.
    pub(crate) fn rtt(&mut self, now: Duration, rtt: Option<Duration>) {
        if let Some(rtt) = rtt
            && self.rtt.replace(rtt) != Some(rtt)
        {
            let metrics = schema::MetricsUpdated { smoothed_rtt: milliseconds(rtt) };
            self.event(now, "recovery:metrics_updated", metrics);
        }
    }

    fn event(&mut self, now: Duration, name: &'static str, data: impl serde::Serialize) {
        if self.output.has_failed() {
            return;
        }
        if self.is_full || self.output.is_full() {
            self.lost += 1;
            return;
        }
        let (before, lost) = (self.chunk.len(), self.lost);
        self.append(now, name, data);
        let written = (self.chunk.len() - before) as u64;
        match self.room.checked_sub(written) {
            Some(room) => self.room = room,
            None => {
                self.chunk.truncate(before);
                self.is_full = true;
                self.lost = lost + 1;
                self.warn(now, "the log has reached its largest size: what follows is missing");
            }
        }
        if self.chunk.len() >= CHUNK || now.saturating_sub(self.handed_over) >= MAX_DELAY {
            self.handed_over = now;
            self.output.push(std::mem::take(&mut self.chunk));
        }
    }

    fn append(&mut self, now: Duration, name: &'static str, data: impl serde::Serialize) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            let why = if self.is_full { "no room in the log" } else { "the writer is slow" };
            self.warn(now, &format!("{why}: {lost} events are missing here"));
        }
        self.record(&schema::Event { time: milliseconds(now), name, data });
    }

    fn warn(&mut self, now: Duration, message: &str) {
        let data = schema::Warning { message };
        self.record(&schema::Event { time: milliseconds(now), name: "generic:warning", data });
    }

    /// Appends a record of RFC 7464.
    fn record(&mut self, record: &impl serde::Serialize) {
        let before = self.chunk.len();
        self.chunk.push(0x1e);
        // Nothing here can fail to be JSON; if it did, it would be left out.
        match serde_json::to_writer(&mut self.chunk, record) {
            Ok(()) => self.chunk.push(b'\n'),
            Err(_) => self.chunk.truncate(before),
        }
    }

    fn closed(&mut self) -> schema::ConnectionClosed {
        let Some(error) = self.shared.lock().engine.close_reason().cloned() else {
            // There never was a driver that would have ended it.
            let reason = "never began".to_owned();
            return schema::ConnectionClosed { reason, trigger: "error", ..Default::default() };
        };
        let owner = match &error {
            // What the peer said for itself.
            ConnectionError::ConnectionClosed(_) | ConnectionError::ApplicationClosed(_) => {
                Some(Owner::Remote)
            }
            ConnectionError::Reset(_) => None,
            // Whatever the reason, it was this end that closed.
            _ => Some(Owner::Local),
        };
        let trigger = match &error {
            ConnectionError::TimedOut(Timeout::Handshake) => "handshake_timeout",
            ConnectionError::TimedOut(Timeout::Idle | Timeout::KeepAlive) => "idle_timeout",
            ConnectionError::LocallyClosed | ConnectionError::ApplicationClosed(_) => "application",
            ConnectionError::ConnectionClosed(close) if close.error_code.into_inner() == 0 => {
                "clean"
            }
            _ => "error",
        };
        let mut closed = schema::ConnectionClosed {
            owner,
            connection_code: None,
            application_code: None,
            reason: error.to_string(),
            trigger,
        };
        match (&error, self.farewell.take()) {
            (ConnectionError::ConnectionClosed(close), _) => {
                closed.connection_code = Some(close.error_code.into());
                closed.reason = schema::text(&close.reason).into_owned();
            }
            (ConnectionError::ApplicationClosed(close), _) => {
                closed.application_code = Some(ErrorCode::application(close.error_code));
                closed.reason = schema::text(&close.reason).into_owned();
            }
            (_, Some(Close::Transport { code, .. })) => closed.connection_code = Some(code.into()),
            (_, Some(Close::Application { code, reason })) => {
                closed.application_code = Some(ErrorCode::application(code));
                closed.reason = schema::text(&reason).into_owned();
            }
            (_, None) => {}
        }
        closed.reason.truncate(closed.reason.floor_char_boundary(MAX_REASON));
        closed
    }
}

/// The connection has ended.
impl Drop for Log {
    fn drop(&mut self) {
        let closed = self.closed();
        // However much waits: it is what a reader looks for first.
        self.append(self.shared.now(), "connectivity:connection_closed", closed);
        self.output.push(std::mem::take(&mut self.chunk));
        self.output.end();
    }
}

const fn side_name(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// To the microsecond.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::time::Instant;

    use super::*;
    use crate::{Config, proto::Connection};

    /// Waits for a permit before its first write, and gives all that was written when it is dropped.
    struct Stuck(mpsc::Receiver<()>, Vec<u8>, mpsc::Sender<Vec<u8>>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Drop for Stuck {
        fn drop(&mut self) {
            let _ = self.2.send(std::mem::take(&mut self.1));
        }
    }

    #[test]
    fn what_a_slow_writer_has_no_room_for_is_missing_and_the_log_says_so() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ((permit, permits), (done, logs)) = (mpsc::channel(), mpsc::channel());
        let writer = std::sync::Mutex::new(Some(Stuck(permits, Vec::new(), done)));
        let config = QlogConfig::new(move |_| {
            let writer = writer.lock().unwrap().take();
            writer.map(|writer| Box::new(writer) as Writer)
        });
        let engine = Connection::new(Config::default(), Side::Client, Wire::QMux, Duration::ZERO);
        let shared = Shared::new(engine, Instant::now(), ConnectionInfo::default());
        let _entered = runtime.enter();
        let mut log = config.start(&shared).unwrap();
        // A close of 8 KiB of a control character, which takes six bytes in JSON.
        let close = [&[0x1d, 0, 0x60, 0][..], &[0x06; 8 * 1024]].concat();
        let sent = 2 * 4 * 1024 * 1024 / (8 * 1024);
        for _ in 0..sent {
            log.sent(Duration::ZERO, close.clone().into());
        }
        let lost = log.lost;
        assert!(lost > 0 && lost < sent, "{lost}");
        drop(permit);
        drop(log);
        let text = String::from_utf8(logs.recv().unwrap()).unwrap();
        let count = |what: &str| text.matches(what).count() as u64;
        assert_eq!(count("transport:packet_sent"), sent - lost);
        assert_eq!(count(&format!("the writer is slow: {lost} events are missing here")), 1);
        let last = text.rsplit('\u{1e}').next().unwrap();
        assert!(last.contains("connectivity:connection_closed"), "{last}");
    }

    /// What a log of these messages says when it is written without haste, and how long they are together.
    fn logged(max_size: Option<u64>, messages: impl Iterator<Item = Vec<u8>>) -> (String, u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (done, logs) = mpsc::channel();
        let config = QlogConfig::new(move |_| {
            // Nothing holds it up.
            let (_, permits) = mpsc::channel();
            Some(Box::new(Stuck(permits, Vec::new(), done.clone())))
        });
        let config = match max_size {
            Some(bytes) => config.max_size(bytes),
            None => config,
        };
        let engine = Connection::new(Config::default(), Side::Server, Wire::QMux, Duration::ZERO);
        let shared = Shared::new(engine, Instant::now(), ConnectionInfo::default());
        let _entered = runtime.enter();
        let mut log = config.start(&shared).unwrap();
        let mut traffic = 0;
        for message in messages {
            traffic += message.len() as u64;
            while log.output.is_full() {
                std::thread::yield_now();
            }
            log.received(Duration::ZERO, &[Incoming::Message(message.into())]);
        }
        let close = [0x1d, 0x07, 0x03, b'b', b'y', b'e'];
        log.sent(Duration::ZERO, Bytes::copy_from_slice(&close));
        shared.lock().engine.close(Duration::ZERO, 7u32.into(), Bytes::from_static(b"bye"));
        drop(log);
        (String::from_utf8(logs.recv().unwrap()).unwrap(), traffic)
    }

    /// Each of these had an entry of 42 bytes: 10 MB made 210 MB, and are 35 kB now.
    #[test]
    fn a_megabyte_of_empty_datagrams_makes_a_small_log() {
        let message = [0x31, 0].repeat(32 * 1024);
        let (text, traffic) = logged(None, std::iter::repeat_n(message, 16));
        assert_eq!(traffic, 1024 * 1024);
        assert!((text.len() as u64) < traffic / 100, "{} bytes", text.len());
        let entry = r#"{"frame_type":"datagram","length":0,"frame_size":65536,"count":32768}"#;
        assert_eq!(text.matches(entry).count(), 16);
        assert!(!text.contains("generic:warning"));
    }

    #[test]
    fn a_log_ends_at_its_largest_size_and_says_so_and_how_it_ended() {
        // One datagram to a message is the most that can be made of a byte; some fold and some do not.
        let flood = |count| (0..count).map(|i| vec![0x31, 1, i as u8]);
        let (text, _) = logged(Some(0), flood(2_000));
        assert!(text.len() as u64 <= MIN_SIZE, "{} bytes", text.len());
        assert!(text.len() as u64 > MIN_SIZE - END - 1_024, "{} bytes", text.len());
        let written = text.matches("transport:packet_received").count();
        let last: Vec<_> = text.rsplit('\u{1e}').take(3).collect();
        // This end's Close is among the missing ones, and the last event has what it said.
        let missing = 2_000 - written + 1;
        let closed = r#""application_code":7,"reason":"bye","trigger":"application""#;
        assert!(last[0].contains("connectivity:connection_closed"), "{}", last[0]);
        assert!(last[0].contains(closed), "{}", last[0]);
        assert!(last[1].contains(&format!("{missing} events are missing here")), "{}", last[1]);
        assert!(last[2].contains("the log has reached its largest size"), "{}", last[2]);
    }

    #[test]
    fn a_message_of_very_many_frames_has_no_more_entries_than_fit() {
        // Two kinds in turn, which do not fold.
        let message = [0x31, 0, 0x31, 1, 0].repeat(10_000);
        let length = message.len();
        let (text, _) = logged(None, std::iter::once(message));
        assert_eq!(text.matches(r#""frame_type":"datagram""#).count(), MAX_FRAMES);
        let size = length - MAX_FRAMES / 2 * 5;
        let count = 20_000 - MAX_FRAMES;
        let rest = format!(
            r#"{{"frame_type":"unknown","raw_frame_type":49,"frame_size":{size},"count":{count}}}"#
        );
        assert!(text.contains(&rest), "{rest}");
    }

    /// A control character takes six bytes in JSON.
    #[test]
    fn the_end_has_room_for_the_longest_reason() {
        let (reason, code) = (Bytes::from(vec![0x06; 60_000]), 7u32.into());
        let engine = Connection::new(Config::default(), Side::Client, Wire::QMux, Duration::ZERO);
        let shared = Shared::new(engine, Instant::now(), ConnectionInfo::default());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = runtime.enter();
        let config = QlogConfig::new(|_| Some(Box::new(io::sink())));
        let mut log = config.start(&shared).unwrap();
        shared.lock().engine.handle_message(Duration::ZERO, vec![0; 3].into());
        log.farewell = Some(Close::Application { code, reason });
        let closed = serde_json::to_vec(&log.closed()).unwrap();
        assert!((closed.len() as u64) < END - 512, "{}", closed.len());
    }
}
