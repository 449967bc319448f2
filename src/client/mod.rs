//! Clients: of this machine's sockets, of a browser's, and one that connects again.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(all(feature = "http2", not(target_family = "wasm")))]
mod http2;
#[cfg(not(target_family = "wasm"))]
mod native;
mod reconnect;

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
