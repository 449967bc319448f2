//! The engine: QUIC's streams over one WebSocket, as a state machine without a socket, a clock or a task.
//!
//! [`Connection`] takes messages and time, and gives messages and [`Event`]s. It is the same for a client and
//! a server, in a process and in a browser, and on either [`Wire`].

mod abuse;
mod close;
mod code;
mod connection;
mod datagrams;
mod error;
mod event;
mod frame;
mod message;
pub(crate) mod params;
mod socket;
mod stats;
mod stream_id;
pub(crate) mod stream_map;
mod streams;
mod timer;
pub(crate) mod tree;
mod varint;
mod wire;
mod write_stall;

pub use self::{
    code::{TransportError, TransportErrorCode},
    connection::{Connection, Transmit},
    error::{
        ApplicationClose, ClosedStream, ConnectionClose, ConnectionError, Culprit, DriverLost,
        OpenError, ReadError, ResetAtError, SendDatagramError, SocketError, Timeout, WriteError,
    },
    event::Event,
    frame::{Close, Credit, Frame},
    message::MessageBuf,
    params::TransportParameters,
    socket::SocketCapabilities,
    stats::{ConnectionStats, InFlight, RecvStreamStats, SendStreamStats},
    stream_id::{Dir, Side, StreamId},
    streams::{RecvStream, SendEnd, SendStream},
    varint::{VarInt, VarIntBoundsExceeded},
    wire::{Capabilities, QMuxVersion, Wire},
};
pub(crate) use wire::MIN_MAX_RECORD_SIZE;
#[cfg(feature = "tokio")]
pub(crate) use wire::{VERSIONS, is_foreign, split};
