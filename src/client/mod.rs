//! The clients: one over this machine's sockets, one over a browser's WebSocket, one over HTTP/2,
//! and one that dials again when its connection is lost.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(all(feature = "http2", not(target_family = "wasm")))]
mod http2;
#[cfg(not(target_family = "wasm"))]
mod native;
mod reconnect;

use std::time::Duration;

#[cfg(target_family = "wasm")]
pub use self::browser::{BrowserApi, WebSocketClient, WebSocketClientBuilder};
#[cfg(all(feature = "http2", not(target_family = "wasm")))]
pub use self::http2::Http2Client;
#[cfg(not(target_family = "wasm"))]
pub use self::native::{
    ConnectAttempts, SocketOptions, VerifyServer, WebSocketClient, WebSocketClientBuilder,
};
pub use self::reconnect::{
    ReconnectError, ReconnectEvent, ReconnectEvents, ReconnectingClient, ReconnectingClientBuilder,
};

/// The default connect timeout. TCP sends its first four SYN packets after 0, 1, 3 and 7 s. If an
/// address has still not answered 3 s after the fourth, it is unlikely to answer at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
