//! Observability of a connection: tracing's spans and events, and qlog.

#[cfg(all(feature = "qlog", not(target_family = "wasm")))]
pub(crate) mod qlog;
pub(crate) mod trace;
