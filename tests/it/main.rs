//! The tests of the library that need only Rust and can share a process. `Cargo.toml` says which
//! tests need a process of their own, and why.
//!
//! The path of a test begins with its file: `cargo test --all-features --test it -- reconnect::`.

// The requirements of SPEC.md.
mod compliance;

// The connection, and the logs that it writes.
#[cfg(feature = "tungstenite")]
mod async_layer;
#[cfg(feature = "blocking")]
mod blocking;
#[cfg(all(feature = "tls", feature = "tungstenite"))]
mod carrier_end;
#[cfg(feature = "qlog")]
mod qlog;
#[cfg(feature = "tokio")]
mod settings;

// Clients and servers.
#[cfg(feature = "tls")]
mod alpn;
#[cfg(feature = "tls")]
mod authentication;
#[cfg(feature = "tokio")]
mod bad_input_connect;
#[cfg(feature = "tls")]
mod client_dial;
#[cfg(feature = "tls")]
mod client_proxy;
#[cfg(feature = "tokio")]
mod client_request;
#[cfg(all(feature = "tls", feature = "tungstenite"))]
mod handshake;
#[cfg(all(feature = "axum", feature = "http2", feature = "tls"))]
mod http_axum;
#[cfg(feature = "tls")]
mod reconnect;
#[cfg(feature = "tls")]
mod resume;
#[cfg(feature = "tls")]
mod server_limits;
#[cfg(all(feature = "tokio", unix))]
mod server_listeners;

// Other implementations of the QMux wire that are written in Rust.
#[cfg(feature = "tls")]
mod foreign;
#[cfg(feature = "tls")]
mod interop_qmux;
#[cfg(feature = "tls")]
mod interop_zmux;
