//! Clients: of this machine's sockets, of a browser's, and one that connects again.

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

/// The default time to connect. TCP sends its first three SYN packets after 0, 1 and 3 s. An address
/// that has not answered when the fourth follows at 7 s is as good as dead.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
