//! The error of builders.

/// A builder's setting is not valid. A setting that is not valid is always a mistake of the caller.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A protocol's name is not an HTTP token (RFC 6455 §4.1): it is empty, or contains a character
    /// that a token must not contain. The error names that character and its position. The error
    /// does not repeat the name, because the name may be a secret.
    #[error("invalid subprotocol name: {0}")]
    InvalidProtocol(String),
    /// The name belongs to a wire that this library does not speak: `webtransport`, or another
    /// version of QMux.
    #[error("{0:?} names a wire that is not supported")]
    ForeignProtocol(String),
    /// The QMux wire needs at least one subprotocol, and there is none.
    #[error("no subprotocol to offer or accept")]
    NoSubprotocol,
    /// A server was set to accept no wire.
    #[error("no wire to accept")]
    NoWire,
    /// A header's name or value is not valid.
    #[error("invalid header {0:?}")]
    InvalidHeader(String),
    /// The handshake writes this header itself.
    #[error("the header {0:?} is reserved for the handshake")]
    ReservedHeader(String),
    /// The proxy's URL does not have the form `http://user:password@host:port` or `https://...`.
    #[error("invalid proxy: {0}")]
    InvalidProxy(String),
    /// The server's name for TLS is not valid.
    #[error("{0:?} is not a valid server name")]
    InvalidServerName(String),
    /// The certificates, keys or TLS configuration cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
}
