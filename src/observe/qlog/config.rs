//! Which connections are logged, and where the logs go.

use std::{
    fmt, fs,
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

use wsmux_proto::Side;

use super::{
    Log,
    output::Output,
    recorder::END,
    side_name, since_1970,
    writer::{Writer, WriterThread},
};
use crate::connection::{ConnectionInfo, shared::Shared};

/// The smallest bound for a log, in bytes. It leaves room for the first records, for the last
/// records, and for some events between them.
pub(super) const MIN_SIZE: u64 = 64 * 1024;

/// The default of [`QlogConfig::max_size`]. A log of this size has room for about 400,000 messages.
/// A full gigabit link carries this many large messages in three minutes. A browser that runs qvis
/// can still load such a log. A bound is needed because a message of two bytes makes a record of
/// 200 bytes, so a flood of small messages would fill the disk.
const DEFAULT_MAX_SIZE: u64 = 64 * 1024 * 1024;

/// Says which connections are logged in QUIC's qlog format, and where their logs go. Pass it to
/// [`WebSocketClientBuilder::qlog`](crate::WebSocketClientBuilder::qlog) and the `qlog` methods of
/// the other builders. Cheap to clone.
///
/// ```
/// use wsmux::{QlogConfig, WebSocketClient};
///
/// let qlog = QlogConfig::directory("qlogs").title("nightly load");
/// let client = WebSocketClient::builder().qlog(Some(qlog));
/// ```
///
/// **The format.** Each connection on the [QMux](crate::Wire::QMux) wire has a log of its own,
/// which is a sequence of JSON texts (RFC 7464). The log uses version 0.3 of the schema, which is
/// the newest version that [qvis](https://qvis.quictools.info) reads. Connections on the js-ws wire
/// are not logged, because the schema has no events for that wire.
///
/// | event | |
/// |---|---|
/// | `connectivity:connection_started` | the addresses, if both are known |
/// | `transport:parameters_set` | the transport parameters of one end; one event for each end |
/// | `transport:packet_sent`, `transport:packet_received` | one message, as a packet of type `1RTT`. Its number counts the messages in its direction; `raw.length` is its size without the WebSocket's framing. The frames are those of QUIC, and `datagram`, `reset_stream_at`, `qx_transport_parameters`, `qx_ping`, `session_ack`, `session_resumed` and `wsmux_going_away`. A message that is sent again has a new number |
/// | `recovery:metrics_updated` | the smoothed round-trip time, when it has changed |
/// | `connectivity:connection_closed` | how the connection ended; always the last event |
/// | `wsmux:connection_suspended` | the connection has lost its socket and waits for a new one |
/// | `wsmux:connection_resumed` | the connection goes on over a new socket. `gap` is how long it was suspended, in milliseconds; `resent_messages` and `resent_bytes` say how many messages and bytes this end sends again. |
/// | `generic:warning` | events are missing here, because a writer was too slow or the log has reached its [largest size](Self::max_size) |
///
/// Equal frames that follow each other in one message share one entry, whose `count` is the number
/// of these frames and whose `frame_size` is their total size. A message has at most 1,000 entries;
/// all further frames share one more entry, of type `unknown`. Frames that follow a
/// CONNECTION_CLOSE in the same message also share one entry. The reason of a close is cut to 1,024
/// bytes.
///
/// Frames are shown without their data, so neither the content of streams nor headers are in the
/// log. The log does contain the peers' addresses, the reasons of closes, and who sent how much
/// when.
///
/// If a client [resumes](crate::Config::resume_timeout) a connection, the log of that connection
/// goes on. At a server, the new socket also has a short log of its own, up to the moment when the
/// server knows to which connection it belongs.
///
/// **The cost.** The connection's task decodes each message a second time and writes it as JSON.
/// One thread writes the logs of this configuration and of its clones, in chunks of about 32 KiB. A
/// shorter chunk is written when an event occurs at least a second after the last chunk, and at the
/// end of the log. So a log can be read while it grows, and if the process is killed, only the last
/// chunk is lost. The thread starts with the first log. It ends when the configuration, its clones
/// and their connections are gone and everything is written.
///
/// **If a writer is slow.** A connection never waits for its log. At most 4 MiB are allocated for
/// one log. At most 64 MiB of chunks wait for one thread, plus one last chunk and the end of each
/// log. Events for which there is no room are left out, and a warning in the log says how many
/// events are missing. A connection that begins while 64 MiB wait has no log. A writer that hangs
/// delays only the other logs of its configuration. If writers must not wait for each other, use a
/// separate configuration for each writer. If a writer fails, its log ends there, and the
/// connection continues.
///
/// **When a log is complete.** The writer is dropped when the log of its connection is complete. A
/// tokio runtime that shuts down waits for the logs of its connections, but not for a writer that
/// makes no progress for two seconds. Nothing waits for the logs of connections made with the
/// feature `blocking`, so the end of the program may cut these logs off.
#[derive(Clone)]
#[must_use]
pub struct QlogConfig {
    source: Arc<Source>,
    title: Option<Arc<str>>,
    description: Option<Arc<str>>,
    max_size: u64,
}

type Open = dyn Fn(&QlogConnection<'_>) -> Option<Writer> + Send + Sync;

/// The part of a configuration that its clones share.
struct Source {
    open: Box<Open>,
    thread: WriterThread,
}

/// A new connection that may be logged.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct QlogConnection<'a> {
    /// The connection's number in this process. With the feature `tracing`, the connection's span
    /// has the same number.
    pub id: u64,
    /// The role of this end.
    pub side: Side,
    /// What is known of the connection from its opening handshake.
    pub info: &'a ConnectionInfo,
}

impl QlogConfig {
    /// Logs each connection to the writer that `open` returns for it. A connection for which `open`
    /// returns `None` has no log. The task that makes the connection calls `open`, so `open` should
    /// not block. The writer may block.
    ///
    /// A writer is flushed and dropped when its log is complete. A writer that fails or panics is
    /// dropped at once.
    pub fn new<F>(open: F) -> Self
    where
        F: Fn(&QlogConnection<'_>) -> Option<Box<dyn Write + Send>> + Send + Sync + 'static,
    {
        let source = Source { open: Box::new(open), thread: WriterThread::default() };
        Self {
            source: Arc::new(source),
            title: None,
            description: None,
            max_size: DEFAULT_MAX_SIZE,
        }
    }

    /// Logs each connection to a file of its own in this directory, which is created if it does not
    /// exist. The file name consists of the milliseconds since 1970, the process id, the
    /// connection's number in the process, and the role of this end:
    /// `1790000000123-4711-0-client.sqlog`. If the file cannot be created, the writer fails.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        let directory = path.into();
        Self::new(move |connection| {
            let QlogConnection { id, side, .. } = *connection;
            let (now, process) = (since_1970().as_millis(), std::process::id());
            let name = format!("{now}-{process}-{id}-{}.sqlog", side_name(side));
            Some(Box::new(NewFile::Path { directory: directory.clone(), name }))
        })
    }

    /// Sets the title that tools show for the log.
    pub fn title(mut self, title: impl Into<Arc<str>>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Sets a longer description of the log.
    pub fn description(mut self, description: impl Into<Arc<str>>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Bounds the log of one connection, in bytes. When a log reaches this size, a warning in it
    /// says so. After that, the log records only how many events are missing and how the connection
    /// ended. The connection continues. The bound is at least 64 KiB; the default is 64 MiB.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = bytes.max(MIN_SIZE);
        self
    }

    /// Starts the log of a new connection. Returns `None` if the connection is not logged. Must be
    /// called within a runtime.
    pub(crate) fn start(&self, shared: &Arc<Shared>) -> Option<Log> {
        let (side, wire) = {
            let state = shared.lock();
            (state.engine().side(), state.engine().wire())
        };
        if !wire.has_quic_frames() {
            return None;
        }
        let connection = QlogConnection { id: shared.id, side, info: &shared.info };
        let Source { open, thread } = &*self.source;
        thread.check_room().inspect_err(crate::observe::trace::qlog_failed).ok()?;
        let writer = open(&connection)?;
        let queue = thread.queue(writer).inspect_err(crate::observe::trace::qlog_failed).ok()?;
        let output = Output::new(queue, tokio::runtime::Handle::current());
        let mut log = Log::new(output, shared.clone(), wire, self.max_size - END);
        log.begin(side, self.title.as_deref(), self.description.as_deref());
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

/// A file that is created by the first write. The first write happens on the thread that writes the
/// logs, and that thread may block.
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
