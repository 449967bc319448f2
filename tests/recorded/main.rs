//! What is recorded with `tracing`, and what must not be recorded.

#[cfg(all(
    feature = "axum",
    feature = "blocking",
    feature = "http2",
    feature = "qlog",
    feature = "tls",
    feature = "tracing"
))]
mod secrets;
#[cfg(feature = "tracing")]
mod tracing;
