//! What is wrong with a builder's settings.

/// What a builder was given cannot be: always this end's mistake.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A protocol's name is empty, or holds a character that a header does not take there (RFC 6455 §4.1). The error
    /// says which and where, and does not repeat the name, which may be a token.
    #[error("invalid subprotocol name: {0}")]
    InvalidProtocol(String),
    /// The subprotocol of another wire than ours: `webtransport`, or a version of QMux that is not spoken.
    #[error("{0:?} names a wire that is not supported")]
    ForeignProtocol(String),
    /// The QMux wire needs at least one subprotocol, and there is none.
    #[error("no subprotocol to offer or accept")]
    NoSubprotocol,
    /// A server accepts no wire.
    #[error("no wire to accept")]
    NoWire,
    /// A header's name or value is not one.
    #[error("invalid header {0:?}")]
    InvalidHeader(String),
    /// A header that the handshake writes itself.
    #[error("the header {0:?} is reserved for the handshake")]
    ReservedHeader(String),
    /// A client's proxy has no URL of the form `http://user:password@host:port` or `https://...`.
    #[error("invalid proxy: {0}")]
    InvalidProxy(String),
    /// The name that a server is to show in TLS is none.
    #[error("{0:?} is not a valid server name")]
    InvalidServerName(String),
    /// The certificates or keys are of no use.
    #[error("TLS: {0}")]
    Tls(String),
}
