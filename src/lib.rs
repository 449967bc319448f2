//! One WebSocket as a QUIC-shaped connection: many streams, each with its own credit, so that a slow
//! reader never pauses the others.

mod config;
#[cfg(feature = "tokio")]
mod connection;
#[cfg(feature = "tokio")]
mod driver;
#[cfg(feature = "tokio")]
mod error;
#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "tokio")]
mod info;
pub mod proto;
#[cfg(feature = "tokio")]
mod recv_stream;
#[cfg(feature = "tokio")]
mod send_stream;
#[cfg(feature = "tokio")]
mod shared;
#[cfg(feature = "tokio")]
pub mod socket;
#[cfg(feature = "tokio")]
mod stream;
#[cfg(feature = "web-transport")]
mod web_transport;

pub use config::Config;
#[cfg(feature = "web-transport")]
pub use web_transport::WebTransportError;
#[cfg(feature = "tokio")]
pub use {
    connection::WebSocketConnection,
    error::{ReadExactError, ReadToEndError, ResetError, StoppedError},
    info::ConnectionInfo,
    recv_stream::RecvStream,
    send_stream::SendStream,
    stream::{JoinError, WebSocketStream},
};

pub use proto::{
    ApplicationClose, ClosedStream, ConnectionClose, ConnectionError, ConnectionStats, Culprit,
    Dir, OpenError, ReadError, SendDatagramError, Side, SocketError, StreamId, Timeout,
    TransportError, TransportErrorCode, VarInt, VarIntBoundsExceeded, Wire, WriteError,
};
