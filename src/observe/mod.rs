//! What makes a connection observable: the spans and events of `tracing`, and qlog.

#[cfg(all(feature = "qlog", not(target_family = "wasm")))]
pub(crate) mod qlog;
pub(crate) mod trace;
