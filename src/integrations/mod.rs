//! Adapters to other crates. Connections run over the servers and sockets of these crates.
//! Connections and streams implement traits of these crates.

#[cfg(all(feature = "axum", not(target_family = "wasm")))]
pub mod axum;
#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(all(feature = "hyper", not(target_family = "wasm")))]
mod http_server;
#[cfg(all(feature = "hyper", not(target_family = "wasm")))]
pub mod hyper;
#[cfg(all(feature = "tungstenite", not(target_family = "wasm")))]
mod tungstenite;
#[cfg(all(feature = "hyper", not(target_family = "wasm")))]
mod upgrade;
#[cfg(feature = "web-transport")]
pub(crate) mod web_transport;
