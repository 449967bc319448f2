//! The backends, behind three small traits, so that each workload is written once.

mod floor;
mod net;
mod penguin;
mod qmux;
mod quinn;
mod tcp;
mod tungstenite;
pub mod wsmux;
mod yamux;
mod zmux;

use anyhow::{Result, bail};
use bytes::Bytes;
use clap::ValueEnum;
use serde::Serialize;

use crate::{
    behaviours::{self, Behaviour, Seen},
    ends::{self, Form},
    outcome::Metrics,
    workloads::{self, Sizes, Workload},
};

/// A stream of one backend. The workloads use the streams of every backend through this trait. Each
/// backend implements it in the way in which an application would use the crate.
pub trait Stream: Send + 'static {
    /// Accepts all of `data`. The data may stay in a buffer until [`flush`](Self::flush) is called.
    fn write(&mut self, data: &[u8]) -> impl Future<Output = Result<()>> + Send;
    /// Writes a chunk, without a copy if the backend's API permits that.
    fn write_chunk(&mut self, chunk: Bytes) -> impl Future<Output = Result<()>> + Send;
    /// Sends what the backend has buffered. The default does nothing, because most backends buffer
    /// nothing here.
    fn flush(&mut self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
    /// Flushes, and ends this direction.
    fn finish(&mut self) -> impl Future<Output = Result<()>> + Send;
    /// Reads the next bytes and returns their number, which is 0 at the end.
    fn read(&mut self, buf: &mut [u8]) -> impl Future<Output = Result<usize>> + Send;
    /// Reads to the end in the fastest way, discards the data, and returns its length.
    fn discard(&mut self) -> impl Future<Output = Result<u64>> + Send;
}

/// The object on which streams are opened. With a mux this object is a connection. Without a mux
/// each stream has a connection of its own, so this object only contains the server's address.
pub trait Connection: Clone + Send + Sync + 'static {
    type Stream: Stream;
    fn open(&self) -> impl Future<Output = Result<Self::Stream>> + Send;
    /// Ends the connection in the crate's own way, without waiting for the peer. With some crates,
    /// dropping the last handle ends the connection.
    fn close(self) {}
    /// Whether the crate has a second kind of close, which sends everything that was written before
    /// it ends the connection.
    const DRAINS: bool = false;
    /// Ends the connection with the second kind of close, and waits until the connection has ended.
    fn drain(self) -> impl Future<Output = ()> + Send {
        async { self.close() }
    }
}

/// A server that passes each stream to [`peer::serve`](crate::peer::serve), and its client. The
/// server is started on the server's runtime, and [`connect`](Self::connect) runs on the clients'
/// runtime.
pub trait Rival: Send + Sync + 'static {
    /// Whether many streams share a connection.
    const MUX: bool = true;
    type Connection: Connection;
    fn connect(&self) -> impl Future<Output = Result<Self::Connection>> + Send;
}

/// Backends, in the order in which the tables show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// wsmux, QMux wire, ws
    Wsmux,
    /// wsmux, QMux wire, wss
    WsmuxWss,
    /// wsmux, js-ws wire, ws
    WsmuxJsws,
    /// wsmux, QMux wire, ws, with connections that outlive their sockets. Only measured if it is
    /// named
    WsmuxResume,
    /// qmux, defaults, ws
    Qmux,
    /// qmux, windows of 1 MiB, records of 64 KiB, no Nagle, ws
    #[value(name = "qmux-1m")]
    #[serde(rename = "qmux-1m")]
    Qmux1m,
    /// qmux, defaults, wss
    QmuxWss,
    /// yamux, defaults, ws
    Yamux,
    /// yamux, frames of 64 KiB, no limit on the connection's receive window, ws
    YamuxTuned,
    /// penguin-mux, defaults, ws
    Penguin,
    /// penguin-mux, windows of 16 frames (1 MiB of bulk), ws
    #[value(name = "penguin-1m")]
    #[serde(rename = "penguin-1m")]
    Penguin1m,
    /// zmux, defaults, ws
    Zmux,
    /// zmux, defaults, wss
    ZmuxWss,
    /// quinn: QUIC
    Quinn,
    /// A WebSocket of tokio-tungstenite per stream, ws
    WsRaw,
    /// A WebSocket of tokio-tungstenite per stream, wss
    WssRaw,
    /// Frames by hand, a connection per stream, ws
    WsFloor,
    /// TCP, a connection per stream
    Tcp,
}

/// A backend's role in the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// This crate
    Ours,
    /// Many streams over one WebSocket
    Mux,
    /// A connection for each stream
    NoMux,
    /// Many streams without a WebSocket
    Quic,
}

impl Backend {
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Returns the backends that are measured if none is named.
    pub fn usual() -> Vec<Self> {
        let all = Self::value_variants().iter().copied();
        all.filter(|backend| *backend != Self::WsmuxResume).collect()
    }

    pub fn kind(self) -> Kind {
        match self {
            Self::Wsmux | Self::WsmuxWss | Self::WsmuxJsws | Self::WsmuxResume => Kind::Ours,
            Self::Qmux | Self::Qmux1m | Self::QmuxWss => Kind::Mux,
            Self::Yamux | Self::YamuxTuned | Self::Penguin | Self::Penguin1m => Kind::Mux,
            Self::Zmux | Self::ZmuxWss => Kind::Mux,
            Self::Quinn => Kind::Quic,
            Self::WsRaw | Self::WssRaw | Self::WsFloor | Self::Tcp => Kind::NoMux,
        }
    }

    /// Whether the backend uses TLS over TCP. Such a backend is compared with other backends that
    /// use TLS.
    pub fn wss(self) -> bool {
        matches!(self, Self::WsmuxWss | Self::QmuxWss | Self::ZmuxWss | Self::WssRaw)
    }

    /// Whether the workload is meaningful for this backend.
    pub fn takes_part(self, workload: Workload) -> bool {
        match workload {
            // Without a mux each stream has a connection of its own. So a stalled stream cannot
            // affect other streams.
            Workload::Stalled1 | Workload::Stalled8 | Workload::Stalled32 => {
                self.kind() != Kind::NoMux
            }
            // Without a mux, these workloads would only measure thousands of TLS handshakes.
            Workload::Rpc1000 | Workload::Rpc64 | Workload::Rpc4k | Workload::Rpc1 => {
                self != Self::WssRaw
            }
            Workload::Mixed | Workload::Idle10k => self != Self::WssRaw,
            // Only the default configurations over `ws` are measured, because tuning and TLS do not
            // change the results of this workload.
            Workload::Idleconns => matches!(
                self,
                Self::Wsmux | Self::Qmux | Self::Yamux | Self::Penguin | Self::Zmux | Self::WsRaw
            ),
            _ => true,
        }
    }
}

/// Runs one workload on one backend. The process cannot be used for anything else afterwards.
pub fn measure(backend: Backend, workload: Workload, sizes: Sizes, form: Form) -> Result<Metrics> {
    use ::wsmux::Wire::{JsWs, QMux};

    // The limit on streams is raised only for workloads that are about many streams. For the other
    // workloads each backend keeps its default. The limit is twice the number of streams, because
    // streams that have ended may still count for a short time.
    let streams = workload.streams(&sizes).map(|streams| 2 * streams);
    macro_rules! run {
        ($start:expr) => {
            ends::run(form, $start, async move |rival, meter| {
                workloads::run(rival, meter, workload, &sizes).await
            })
        };
    }
    match backend {
        Backend::Wsmux => run!(wsmux::Wsmux::start(QMux, false, streams)),
        Backend::WsmuxWss => run!(wsmux::Wsmux::start(QMux, true, streams)),
        Backend::WsmuxJsws => run!(wsmux::Wsmux::start(JsWs, false, streams)),
        Backend::WsmuxResume => run!(wsmux::Wsmux::start_resumable(streams)),
        Backend::Qmux => run!(qmux::Qmux::start(false, false, streams)),
        Backend::Qmux1m => run!(qmux::Qmux::start(true, false, streams)),
        Backend::QmuxWss => run!(qmux::Qmux::start(false, true, streams)),
        Backend::Yamux => run!(yamux::Yamux::start(false, streams)),
        Backend::YamuxTuned => run!(yamux::Yamux::start(true, streams)),
        Backend::Penguin => run!(penguin::Penguin::start(false)),
        Backend::Penguin1m => run!(penguin::Penguin::start(true)),
        Backend::Zmux => run!(zmux::Zmux::start(false, streams)),
        Backend::ZmuxWss => run!(zmux::Zmux::start(true, streams)),
        Backend::Quinn => run!(quinn::Quinn::start(streams)),
        Backend::WsRaw => run!(tungstenite::Tungstenite::start(false)),
        Backend::WssRaw => run!(tungstenite::Tungstenite::start(true)),
        Backend::WsFloor => run!(floor::Floor::start()),
        Backend::Tcp => run!(tcp::Tcp::start()),
    }
}

/// Shows one behaviour of one backend. The process cannot be used for anything else afterwards.
pub fn show(backend: Backend, behaviour: Behaviour) -> Result<Seen> {
    use ::wsmux::Wire::{JsWs, QMux};

    macro_rules! show {
        ($start:expr) => {
            ends::run(Form::default(), $start, async move |rival, _| {
                behaviours::show(rival, behaviour).await
            })
        };
    }
    match backend {
        Backend::Wsmux => show!(wsmux::Wsmux::start(QMux, false, None)),
        Backend::WsmuxJsws => show!(wsmux::Wsmux::start(JsWs, false, None)),
        Backend::Qmux => show!(qmux::Qmux::start(false, false, None)),
        Backend::Qmux1m => show!(qmux::Qmux::start(true, false, None)),
        Backend::Zmux => show!(zmux::Zmux::start(false, None)),
        Backend::Yamux => show!(yamux::Yamux::start(false, None)),
        Backend::Penguin => show!(penguin::Penguin::start(false)),
        Backend::Penguin1m => show!(penguin::Penguin::start(true)),
        other => bail!("the behaviours of {} cannot be shown", other.name()),
    }
}
