//! The opening handshake (RFC 6455 §4) of both ends, without a socket.

#[cfg(not(target_family = "wasm"))]
pub(crate) mod client;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod head;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod headers;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod host;
#[cfg(not(target_family = "wasm"))]
mod key;
pub(crate) mod negotiation;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod proxy;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod server;
