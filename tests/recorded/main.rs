//! What is recorded by way of `tracing`, and what must not be.

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
