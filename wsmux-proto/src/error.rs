//! Why a connection ended, and how each operation can fail. Each error shows who caused it.

use std::{fmt, io, sync::Arc};

use bytes::Bytes;

use super::{TransportError, TransportErrorCode, VarInt};

/// Why a connection ended. This error is cheap to clone.
///
/// `Display` and `Debug` show the reason that the peer gave when it closed the connection.
/// `Display` shows at most 1 KiB of this reason, with control characters escaped. The peer chooses
/// the reason, which may repeat a secret that was sent to the peer, such as a token. So an
/// application that prints the error may print the secret. No event of the feature `tracing`
/// contains the reason.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer violated the protocol of the wire, caused too much work, or wants to resume a
    /// session that this end does not know. This end closed the connection with the code of the
    /// inner error.
    #[error("{mistake}: {0}", mistake = mistake(.0.code))]
    TransportError(#[from] TransportError),
    /// The peer sent a text message. Neither wire has text messages.
    #[error("the peer sent a text message")]
    TextMessage,
    /// The peer sent a larger message than this end allows.
    #[error("the peer sent a message of more than {limit} bytes")]
    MessageTooLarge {
        /// The largest message allowed, in bytes.
        limit: u64,
    },
    /// The peer violated the WebSocket protocol (RFC 6455).
    #[error("the peer broke the WebSocket protocol: {0}")]
    WebSocketProtocol(Arc<str>),
    /// The peer's protocol layer closed the connection. Any code except
    /// [`NO_ERROR`](TransportErrorCode::NO_ERROR) means that the peer found an error, usually in
    /// what this end sent.
    #[error("closed by the peer: {0}")]
    ConnectionClosed(ConnectionClose),
    /// The peer's application closed the connection.
    #[error("closed by the peer's application: {0}")]
    ApplicationClosed(ApplicationClose),
    /// The TCP, TLS or HTTP/2 stream below the WebSocket ended or failed before the peer had closed
    /// the connection.
    #[error("connection lost: {0}")]
    SocketLost(SocketError),
    /// The peer did not do something in time. The [`Timeout`] shows what it failed to do.
    #[error("timed out: {0}")]
    TimedOut(Timeout),
    /// This end closed the connection.
    #[error("closed by this end")]
    LocallyClosed,
    /// The task that drives the connection ended before the connection did. No close was sent, so
    /// the peer notices only that the socket has ended.
    #[error("{0}")]
    DriverLost(DriverLost),
}

/// Says what the peer did wrong.
fn mistake(code: TransportErrorCode) -> &'static str {
    match code {
        TransportErrorCode::EXCESSIVE_LOAD => "the peer caused too much work",
        // The peer usually made no mistake: this end has restarted, or has given the session up.
        TransportErrorCode::SESSION_REFUSED => "the peer wants to resume an unknown session",
        _ => "the peer broke the protocol",
    }
}

/// How the task that drives a connection ended before the connection did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DriverLost {
    /// The task panicked in wsmux, in the application's own `Socket`, or in a waker.
    Panicked,
    /// The task was dropped, because its runtime has ended.
    Dropped,
}

impl fmt::Display for DriverLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Panicked => "the connection's driver panicked",
            Self::Dropped => "the connection's driver was dropped: its runtime has ended",
        })
    }
}

/// Who caused the end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Culprit {
    /// This end caused the end of the connection, by its application or by its runtime.
    Local,
    /// The peer caused the end of the connection.
    Peer,
    /// The network between the two ends caused the end of the connection.
    Network,
    /// The cause is unknown, because the connection timed out.
    Timeout,
}

impl ConnectionError {
    /// Returns who caused the end of the connection.
    pub fn culprit(&self) -> Culprit {
        match self {
            Self::LocallyClosed | Self::DriverLost(_) => Culprit::Local,
            Self::SocketLost(_) => Culprit::Network,
            Self::TimedOut(_) => Culprit::Timeout,
            _ => Culprit::Peer,
        }
    }
}

/// Which deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timeout {
    /// The peer's transport parameters did not arrive within the handshake timeout.
    Handshake,
    /// No message was sent or received during the idle timeout.
    Idle,
    /// A ping was not answered within the idle timeout, or within three keep-alive intervals if
    /// there is no idle timeout. During this time, nothing was received, and the socket, if it was
    /// full, got no room.
    KeepAlive,
    /// The socket stayed full during the [write-stall timeout](crate::Config::write_stall_timeout)
    /// while there was something to send. A [`Session`](crate::Session) also ends for this reason
    /// if its peer acknowledged nothing during this time.
    WriteStall,
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake => "the peer never sent its transport parameters",
            Self::Idle => "the connection was idle",
            Self::KeepAlive => "the peer does not answer pings",
            Self::WriteStall => "the peer reads nothing, although there is data to send",
        })
    }
}

/// How the socket under the WebSocket failed. This error is cheap to clone.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The stream ended without the WebSocket's closing handshake, perhaps in the middle of a
    /// message.
    #[error("the stream ended without a closing handshake")]
    Eof,
    /// Reading or writing failed.
    #[error("{0}")]
    Io(Arc<io::Error>),
}

impl From<io::Error> for SocketError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

/// What the peer sent when its protocol layer closed the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionClose {
    /// The transport error code.
    pub error_code: TransportErrorCode,
    /// The type of the frame that caused the error, if the peer sent that type.
    pub frame_type: Option<VarInt>,
    /// The reason that the peer gave, usually in UTF-8.
    pub reason: Bytes,
}

/// What the peer sent when its application closed the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationClose {
    /// The application's error code.
    pub error_code: VarInt,
    /// The reason that the peer gave, usually in UTF-8.
    pub reason: Bytes,
}

/// How many bytes of a reason `Display` shows. wsmux sends reasons of at most this length, but a
/// peer may send 64 KiB.
const MAX_SHOWN: usize = 1024;

fn fmt_reason(f: &mut fmt::Formatter<'_>, reason: &Bytes) -> fmt::Result {
    if reason.is_empty() {
        return Ok(());
    }
    f.write_str(": ")?;
    let shown = &reason[..reason.len().min(MAX_SHOWN)];
    // Control characters are escaped, because with them the peer could begin a new line in a log or
    // control a terminal. Invalid UTF-8 is replaced: Q-67 (RFC 9000 §19.19).
    String::from_utf8_lossy(shown).chars().try_for_each(|letter| match letter.is_control() {
        true => write!(f, "{}", letter.escape_default()),
        false => write!(f, "{letter}"),
    })?;
    if shown.len() < reason.len() { f.write_str(" ...") } else { Ok(()) }
}

impl fmt::Display for ConnectionClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error_code.fmt(f)?;
        fmt_reason(f, &self.reason)
    }
}

impl fmt::Display for ApplicationClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code {}", self.error_code)?;
        fmt_reason(f, &self.reason)
    }
}

/// Opening a stream failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The connection has ended.
    #[error("connection lost: {0}")]
    ConnectionLost(#[from] ConnectionError),
    /// The connection is draining, so this end opens no more streams.
    #[error("the connection is draining")]
    Draining,
    /// The wire does not have this kind of stream. js-ws has no unidirectional streams.
    #[error("the wire does not support this kind of stream")]
    Unsupported,
}

/// Reading from a stream failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The peer reset the stream with this code.
    #[error("stream reset by the peer with code {0}")]
    Reset(VarInt),
    /// The connection ended before the stream did, and all received data has been read.
    #[error("connection lost: {0}")]
    ConnectionLost(#[source] ConnectionError),
    /// This end stopped the stream, or has already read the stream's end.
    #[error("stream closed")]
    ClosedStream,
}

/// Writing to a stream failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The peer stopped reading the stream, with this code. The peer may not have read everything
    /// that was written before.
    #[error("stream stopped by the peer with code {0}")]
    Stopped(VarInt),
    /// The connection has ended. Some bytes that were written before may not have been sent.
    #[error("connection lost: {0}")]
    ConnectionLost(#[source] ConnectionError),
    /// This end has finished or reset the stream.
    #[error("stream closed")]
    ClosedStream,
}

/// The call concerns a half of a stream that has already ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, thiserror::Error)]
#[error("stream closed")]
pub struct ClosedStream;

/// Resetting a stream at an offset failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResetAtError {
    /// The peer or the wire does not support RESET_STREAM_AT.
    #[error("the peer does not support RESET_STREAM_AT")]
    UnsupportedByPeer,
    /// The sending half of the stream has ended, or the connection has ended.
    #[error("stream closed")]
    ClosedStream,
}

/// Sending a datagram failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendDatagramError {
    /// The wire has no datagrams, or the peer does not accept them.
    #[error("the peer does not accept datagrams")]
    UnsupportedByPeer,
    /// The datagram is longer than the peer accepts, or it does not fit into a message that this
    /// end may send ([`Config::max_message_sent`](crate::Config::max_message_sent)).
    #[error("datagram is too large")]
    TooLarge,
    /// The connection has ended.
    #[error("connection lost: {0}")]
    ConnectionLost(#[from] ConnectionError),
}

impl From<ConnectionError> for io::Error {
    fn from(error: ConnectionError) -> Self {
        let kind = match &error {
            ConnectionError::TimedOut(_) => io::ErrorKind::TimedOut,
            ConnectionError::SocketLost(SocketError::Eof) => io::ErrorKind::UnexpectedEof,
            ConnectionError::SocketLost(SocketError::Io(error)) => error.kind(),
            ConnectionError::LocallyClosed => io::ErrorKind::NotConnected,
            ConnectionError::DriverLost(_) => io::ErrorKind::Other,
            ConnectionError::ConnectionClosed(_) | ConnectionError::ApplicationClosed(_) => {
                io::ErrorKind::ConnectionAborted
            }
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::ConnectionLost(error) => error.into(),
            OpenError::Draining => Self::new(io::ErrorKind::NotConnected, error),
            _ => Self::new(io::ErrorKind::Unsupported, error),
        }
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(_) => Self::new(io::ErrorKind::ConnectionReset, error),
            ReadError::ClosedStream => Self::new(io::ErrorKind::NotConnected, error),
            ReadError::ConnectionLost(error) => error.into(),
        }
    }
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(_) => Self::new(io::ErrorKind::BrokenPipe, error),
            WriteError::ClosedStream => Self::new(io::ErrorKind::NotConnected, error),
            WriteError::ConnectionLost(error) => error.into(),
        }
    }
}

impl From<SendDatagramError> for io::Error {
    fn from(error: SendDatagramError) -> Self {
        match error {
            SendDatagramError::UnsupportedByPeer => Self::new(io::ErrorKind::Unsupported, error),
            SendDatagramError::TooLarge => Self::new(io::ErrorKind::InvalidInput, error),
            SendDatagramError::ConnectionLost(error) => error.into(),
        }
    }
}

impl From<ClosedStream> for io::Error {
    fn from(error: ClosedStream) -> Self {
        Self::new(io::ErrorKind::NotConnected, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_peer_cannot_forge_a_line_of_a_log() {
        let close = ApplicationClose {
            error_code: VarInt::from_u32(7),
            reason: Bytes::from_static(b"bye\n2026-01-01 INFO admin logged in\x1b[2J"),
        };
        let words = ConnectionError::ApplicationClosed(close).to_string();
        assert!(!words.chars().any(char::is_control), "{words:?}");
        assert!(words.contains("bye\\n2026"), "{words:?}");
    }

    #[test]
    fn only_a_peer_that_broke_the_protocol_is_said_to_have_broken_it() {
        let words =
            |code| ConnectionError::TransportError(TransportError::new(code, "why")).to_string();
        let broke = "the peer broke the protocol: PROTOCOL_VIOLATION: why";
        assert_eq!(words(TransportErrorCode::PROTOCOL_VIOLATION), broke);
        for code in [TransportErrorCode::SESSION_REFUSED, TransportErrorCode::EXCESSIVE_LOAD] {
            assert!(!words(code).contains("broke") && words(code).ends_with(": why"));
        }
    }

    #[test]
    fn of_a_long_reason_a_kibibyte_is_shown() {
        // Each character except the first takes two bytes, so the limit of 1,024 bytes lies within
        // a character.
        let reason = Bytes::from(format!("x{}", "\u{e9}".repeat(32_000)));
        let close = ConnectionClose {
            error_code: TransportErrorCode::NO_ERROR,
            frame_type: None,
            reason: reason.clone(),
        };
        let words = ConnectionError::ConnectionClosed(close).to_string();
        assert!(words.ends_with(" ...") && words.len() < MAX_SHOWN + 64, "{words}");
        let close = ApplicationClose { error_code: VarInt::from_u32(7), reason: reason.slice(..3) };
        assert!(ConnectionError::ApplicationClosed(close).to_string().ends_with("code 7: x\u{e9}"));
    }
}
