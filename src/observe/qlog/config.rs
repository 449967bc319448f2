//! Which connections are logged, and where to.

use std::{
    fmt, fs,
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

use super::{
    Log,
    output::Output,
    recorder::END,
    side_name, since_1970,
    writer::{Writer, WriterThread},
};
use crate::{
    connection::{ConnectionInfo, shared::Shared},
    proto::{Side, Wire},
};

/// The least bytes that a log may be bounded to: its beginning, its end, and something between.
pub(super) const MIN_SIZE: u64 = 64 * 1024;

/// What [`QlogConfig::max_size`] is by default: some 400,000 messages, as many as a full link of a gigabit carries in
/// three minutes, and little enough for a browser that runs qvis. Without a bound a flood of small messages fills the
/// disk, because a message of two bytes makes a record of 200.
const DEFAULT_MAX_SIZE: u64 = 64 * 1024 * 1024;

/// Whether and where connections are logged, in QUIC's qlog: for
/// [`WebSocketClientBuilder::qlog`](crate::WebSocketClientBuilder::qlog) and its like. Cheap to clone.
///
/// ```
/// use wsmux::{QlogConfig, WebSocketClient};
///
/// let qlog = QlogConfig::directory("qlogs").title("nightly load");
/// let client = WebSocketClient::builder().qlog(Some(qlog));
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
/// | `generic:warning` | events are missing here, because a writer was too slow or the log has reached its [largest size](Self::max_size) |
///
/// Equal frames that follow each other in one message have one entry, whose `count` says how many they are, and whose
/// `frame_size` is that of all of them. Of a message with very many frames those after the first 1,000 entries have
/// one entry together, of type `unknown`; so have those that follow a close, after the first of them. Of a reason the
/// first 1,024 bytes are written.
///
/// Frames are shown without their data: neither what streams carry nor headers are in the log, but the peers'
/// addresses, the reasons of closes, and who sent how much when.
///
/// **What it costs.** Each message is decoded once more and written as JSON by the connection's task. A thread writes
/// the logs of this configuration and of its clones, chunk by chunk. A chunk has some 32 KiB; it is shorter where an
/// event comes a second after the last chunk, and at the end. So a log can be looked at while it grows, and a
/// process that is killed loses the last chunk. The thread begins with the first log. It ends when the configuration,
/// its clones and their connections are gone and all is written.
///
/// **When a writer is slow.** A connection never waits for its log. At most 4 MiB are allocated for one log, and 64 MiB
/// wait for one thread, to which each connection may add a chunk and its end. Events for which there is no room are
/// left out, and a warning in the log says how many. A connection that is made when 64 MiB wait has no log. A writer
/// that hangs holds up the other logs of its configuration, and nothing else: writers that should not wait for each
/// other need configurations of their own. When a writer fails, its log ends there, and the connection goes on.
///
/// **When a log is whole.** The log of a connection that has ended is whole once its writer is dropped. A tokio runtime
/// that shuts down waits for the logs of its connections, but not for a writer that does nothing for two seconds.
/// Nothing waits for the logs of connections of the feature `blocking`: a program that ends may cut them off.
#[derive(Clone)]
#[must_use]
pub struct QlogConfig {
    source: Arc<Source>,
    title: Option<Arc<str>>,
    description: Option<Arc<str>>,
    max_size: u64,
}

type Open = dyn Fn(&QlogConnection<'_>) -> Option<Writer> + Send + Sync;

/// What a configuration shares with its clones.
struct Source {
    open: Box<Open>,
    thread: WriterThread,
}

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
    /// Logs each connection to the writer that `open` returns for it. A connection for which that is `None` has no
    /// log. `open` is called by the task that makes the connection, and should not block; the writer may.
    ///
    /// A writer is flushed and dropped when its log is written. One that fails or panics is dropped then.
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

    /// Logs each connection to a file of its own in this directory, which is made where it is missing. A file's name
    /// has the milliseconds since 1970, the process, the number of the connection in it, and which end it was:
    /// `1790000000123-4711-0-client.sqlog`. A file that cannot be made is a writer that fails.
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
