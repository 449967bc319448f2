//! One WebSocket as a QUIC-shaped connection: many streams, each with its own credit, so that a slow
//! reader never pauses the others.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![warn(unreachable_pub)]

#[cfg(feature = "blocking")]
pub mod blocking;
#[cfg(feature = "tokio")]
mod client;
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
mod handshake;
#[cfg(feature = "tokio")]
mod info;
pub mod proto;
#[cfg(feature = "qlog")]
mod qlog;
#[cfg(feature = "tokio")]
mod recv_stream;
#[cfg(feature = "tokio")]
mod send_stream;
#[cfg(feature = "tokio")]
mod server;
#[cfg(feature = "tokio")]
mod shared;
#[cfg(feature = "tokio")]
pub mod socket;
#[cfg(feature = "tokio")]
mod stream;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tokio")]
mod trace;
#[cfg(feature = "tokio")]
mod upgraded;
#[cfg(feature = "web-transport")]
mod web_transport;

pub use config::Config;
#[cfg(feature = "qlog")]
pub use qlog::{QlogConfig, QlogConnection};
#[cfg(feature = "web-transport")]
pub use web_transport::WebTransportError;
#[cfg(feature = "tokio")]
pub use {
    client::{ConnectError, WebSocketClient, WebSocketClientBuilder},
    connection::WebSocketConnection,
    error::{ReadExactError, ReadToEndError, ResetError, StoppedError},
    handshake::BuildError,
    info::ConnectionInfo,
    recv_stream::RecvStream,
    send_stream::SendStream,
    server::{
        AcceptError, BindError, Connecting, WebSocketAcceptor, WebSocketServer,
        WebSocketServerBuilder,
    },
    stream::{JoinError, WebSocketStream},
};

pub use proto::{
    ApplicationClose, ClosedStream, ConnectionClose, ConnectionError, ConnectionStats, Culprit,
    Dir, OpenError, ReadError, RecvStreamStats, SendDatagramError, SendStreamStats, Side,
    SocketError, StreamId, Timeout, TransportError, TransportErrorCode, VarInt,
    VarIntBoundsExceeded, Wire, WriteError,
};

/// The TLS library whose configurations a client and a server take.
#[cfg(feature = "tls")]
pub use rustls;
/// The WebSocket library whose sockets [`WebSocketConnection::from_websocket`] takes.
#[cfg(feature = "tokio")]
pub use tokio_tungstenite;
/// The types of HTTP's headers and statuses.
#[cfg(feature = "tokio")]
pub use tokio_tungstenite::tungstenite::http;
