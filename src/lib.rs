//! One WebSocket as a QUIC-shaped connection. The connection carries many streams, each with its
//! own flow control, so a slow reader never pauses the other streams.
//!
//! [`WebSocketClient`] and [`WebSocketServer`] make a [`WebSocketConnection`]. On this connection,
//! both ends open and accept streams, [bidirectional](WebSocketStream) or unidirectional. Streams
//! implement tokio's `AsyncRead` and `AsyncWrite`. Names and behaviour follow quinn where possible.
//!
#![cfg_attr(feature = "tokio", doc = "```")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use wsmux::{WebSocketClient, WebSocketServer};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let server = WebSocketServer::builder().bind("127.0.0.1:0").await?;
//!     let url = format!("ws://{}/", server.local_addr()?);
//!     tokio::spawn(async move {
//!         let connection = server.accept().await?.await.ok()?;
//!         let (mut send, mut recv) = connection.accept_bi().await.ok()?.into_split();
//!         let request = recv.read_to_end(1024).await.ok()?;
//!         send.write_all(&request).await.ok()?;
//!         send.finish().ok()?;
//!         connection.closed().await;
//!         Some(())
//!     });
//!
//!     let connection = WebSocketClient::builder().build()?.connect(&url).await?;
//!     let (mut send, mut recv) = connection.open_bi().await?.into_split();
//!     send.write_all(b"hello").await?;
//!     send.finish()?;
//!     assert_eq!(recv.read_to_end(1024).await?, b"hello");
//!     Ok(())
//! }
//! ```
//!
//! # The manual
//!
//! - [Defaults](manual::defaults): each setting, its reason, and when to change it
//! - [Flow control](manual::flow_control): credit, memory, priorities
//! - [Closing](manual::closing): how streams and connections end, without losing data
//! - [Authentication](manual::authentication): certificates, passwords and tokens, and when to use
//!   each
//! - [Cancel safety](manual::cancel_safety): what a dropped future does
//! - [Reconnecting](manual::reconnecting): what survives the loss of a connection
//! - [When the network goes](manual::when_the_network_goes): connections that outlive their sockets
//! - [Behind a proxy](manual::behind_a_proxy): nginx, HAProxy, draining a node
#![cfg_attr(
    all(feature = "axum", feature = "http2"),
    doc = "- [In axum](manual::in_axum): routes of axum and hyper, and WebSockets over HTTP/2"
)]
//! - [With tonic](manual::with_tonic): gRPC over the streams of one connection
//! - [Observability](manual::observability): statistics, `tracing` and qlog
//! - [How the cost grows](manual::scale): connections, streams, sizes and cores
//! - [Threats](manual::threats): what a hostile peer can try, and what stops it
//! - Coming from [quinn](manual::coming_from_quinn)
//! - Coming from [`@matrixai/ws`](manual::coming_from_js_ws)
//!
//! [SPEC.md] defines the format of both [wire protocols](Wire). [`proto`] is the engine alone,
//! without sockets, clocks or tasks.
//!
//! # In a web page
//!
//! On `wasm32-unknown-unknown` the same connection runs over the browser's WebSocket, in a window
//! or a worker. The default features and `futures-io`, `web-transport` and `tracing` work on this
//! target; any other feature is a compile error. Parts that a page cannot use do not exist on this
//! target: servers, headers, certificates, proxies and addresses. A browser's WebSocket stays in
//! the thread that opened it, so a client's futures are not `Send`. Connections and streams are
//! `Send`. The browser delays the timers of a hidden page; for the consequences, see SPEC.md, §8.4,
//! and `BrowserApi`.
//!
//! # Features
//!
//! | feature | | what it brings |
//! |---|---|---|
//! | `tokio` | default | the connection, its client and its server |
//! | `tls` | default | `wss://` through rustls, with the platform's roots |
//! | `tungstenite` | default | a connection over a `tokio-tungstenite` WebSocket that the application has opened |
//! | `blocking` | | the connection for threads without a runtime: `std::io::Read` and `Write` |
//! | `futures-io` | | streams as `AsyncRead` and `AsyncWrite` of `futures`, and as `Stream` and `Sink` of `Bytes` |
//! | `web-transport` | | the connection as a `web_transport_trait::Session` |
//! | `tracing` | | spans and events of connections, streams and handshakes |
//! | `qlog` | | a qlog file for each connection on the QMux wire |
//! | `hyper` | | connections on a route of a hyper 1.x server, over HTTP/1.1 and HTTP/2 |
//! | `axum` | | connections on a route of an axum server, through an extractor |
//! | `http2` | | a client whose connections share a TCP connection, over HTTP/2 |
//! | none | | the engine alone, without tokio |
//!
//! [SPEC.md]: https://github.com/wsmux/wsmux/blob/main/SPEC.md

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![warn(unreachable_pub)]
// Some links in the documentation lead to items that exist only with these features.
#![cfg_attr(
    any(not(feature = "tls"), not(feature = "tungstenite"), target_family = "wasm"),
    allow(rustdoc::broken_intra_doc_links)
)]

#[cfg(all(feature = "blocking", not(target_family = "wasm")))]
pub mod blocking;
#[cfg(feature = "tokio")]
mod client;
#[cfg(feature = "tokio")]
mod connection;
#[cfg(feature = "tokio")]
mod error;
#[cfg(feature = "tokio")]
mod handshake;
#[cfg(feature = "tokio")]
mod integrations;
#[cfg(all(any(doc, doctest), feature = "tls", not(target_family = "wasm")))]
pub mod manual;
#[cfg(feature = "tokio")]
mod observe;
#[cfg(feature = "tokio")]
mod runtime;
#[cfg(all(feature = "tokio", not(target_family = "wasm")))]
mod server;
#[cfg(feature = "tokio")]
mod setters;
#[cfg(feature = "tokio")]
pub mod socket;
#[cfg(all(feature = "tls", not(target_family = "wasm")))]
mod tls;

#[cfg(all(feature = "tokio", target_family = "wasm"))]
pub use client::BrowserApi;
#[cfg(all(feature = "http2", not(target_family = "wasm")))]
pub use client::Http2Client;
#[cfg(all(feature = "axum", not(target_family = "wasm")))]
pub use integrations::axum;
#[cfg(all(feature = "hyper", not(target_family = "wasm")))]
pub use integrations::hyper;
#[cfg(feature = "web-transport")]
pub use integrations::web_transport::WebTransportError;
#[cfg(all(feature = "qlog", not(target_family = "wasm")))]
pub use observe::qlog::{QlogConfig, QlogConnection};
#[cfg(all(feature = "tokio", not(target_family = "wasm")))]
pub use {
    client::{ConnectAttempts, SocketOptions, VerifyServer},
    error::{AcceptError, BindError},
    server::{
        Connecting, Listener, ShutdownReport, WebSocketAcceptor, WebSocketServer,
        WebSocketServerBuilder, authorize,
    },
};
#[cfg(feature = "tokio")]
pub use {
    client::{
        ReconnectError, ReconnectEvent, ReconnectEvents, ReconnectingClient,
        ReconnectingClientBuilder, WebSocketClient, WebSocketClientBuilder,
    },
    connection::{
        ConnectionEvent, ConnectionEvents, ConnectionInfo, JoinError, RecvStream, SendStream,
        WebSocketConnection, WebSocketConnectionBuilder, WebSocketStream,
    },
    error::{
        BuildError, ConnectError, ReadExactError, ReadToEndError, ResetError, ServerRejection,
        StoppedError, VerifyServerError,
    },
    runtime::{MaybeSend, MaybeSync},
};

/// The engine alone: a state machine without a socket, a clock or a task.
#[doc(inline)]
pub use wsmux_proto as proto;

pub use proto::{
    ApplicationClose, ClosedStream, Config, ConnectionClose, ConnectionError, ConnectionStats,
    Culprit, Dir, DriverLost, InFlight, MemoryBound, MemoryUse, OpenError, ReadError,
    RecvStreamStats, ResetAtError, SendDatagramError, SendStreamStats, SessionState, SessionStats,
    Side, SocketError, StreamId, Timeout, TransportError, TransportErrorCode, VarInt,
    VarIntBoundsExceeded, Wire, WriteError,
};

/// The attribute macro for implementations of [`VerifyServer`].
#[cfg(all(feature = "tokio", not(target_family = "wasm")))]
pub use async_trait::async_trait;
/// The crate with HTTP's types for headers and statuses.
#[cfg(feature = "tokio")]
pub use http;
/// The TLS library. Clients and servers accept its configurations.
#[cfg(all(feature = "tls", not(target_family = "wasm")))]
pub use rustls;
/// The WebSocket library. [`WebSocketConnection::from_websocket`] accepts its sockets.
#[cfg(all(feature = "tungstenite", not(target_family = "wasm")))]
pub use tokio_tungstenite;

#[cfg(all(
    target_family = "wasm",
    any(
        feature = "blocking",
        feature = "hyper",
        feature = "axum",
        feature = "http2",
        feature = "qlog"
    )
))]
compile_error!(
    "wsmux on wasm32 does not support the features `blocking`, `hyper`, `axum`, `http2` and `qlog`: \
     a web page has no blocking threads, no files and no sockets of its own"
);
