//! What one process saw.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

/// What one process saw of one behaviour of one backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// Only the stopped streams are affected. Other streams of the connection work.
    OwnStreamOnly,
    /// No other stream of the connection works.
    AllStreamsStop,
    /// The whole connection ends.
    ConnectionEnds,
    /// The crate's API does not let an application get into this situation.
    NotPossible,
    /// The crate has only one kind of close, which the row above shows.
    NoOtherClose,
    /// The backend accepts this many bytes before a write waits.
    Accepts(u64),
    /// Writes go on without end.
    AcceptsAll,
    /// With this many streams open, opening one more stream waits.
    OpenWaits(u64),
    /// With this many streams open, opening one more stream fails.
    OpenFails(u64),
    /// With this many streams open, opening another one ends the connection.
    OpenEndsConnection(u64),
    /// No limit was met: this many streams were open at once, and the process did not try to open
    /// more.
    NoLimit(u64),
    /// The connection ends.
    ConnectionError,
    /// The peer sends an error for the connection and keeps the connection open.
    ErrorSentOnly,
    /// The stream is reset.
    StreamReset,
    /// The connection and the stream stay open.
    Ignored,
    /// The application gets an error.
    Error,
    /// All data arrives, followed by the end of the stream.
    Complete,
    /// The stream ends without an error, although it was not finished or data is missing.
    LooksComplete,
    /// The application waits for ever.
    Waits,
    /// The process failed for this reason.
    Failed(String),
    /// The process did not end in time.
    Hangs,
}

impl Display for Seen {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnStreamOnly => f.write_str("no other stream"),
            Self::AllStreamsStop => f.write_str("every stream"),
            Self::ConnectionEnds => f.write_str("the connection"),
            Self::NotPossible => f.write_str("not possible"),
            Self::NoOtherClose => f.write_str("no other close"),
            Self::Accepts(bytes) if bytes % (1 << 20) == 0 => {
                write!(f, "{} MiB", bytes / (1 << 20))
            }
            Self::Accepts(bytes) => write!(f, "{} KiB", bytes / 1024),
            Self::AcceptsAll => f.write_str("no error: data is discarded"),
            Self::OpenWaits(count) => write!(f, "{count}: open waits"),
            Self::OpenFails(count) => write!(f, "{count}: open fails"),
            Self::OpenEndsConnection(count) => write!(f, "{count}: connection ends"),
            Self::NoLimit(count) => write!(f, "none up to {count}"),
            Self::ConnectionError => f.write_str("connection error"),
            Self::ErrorSentOnly => f.write_str("error sent, connection stays"),
            Self::StreamReset => f.write_str("stream reset"),
            Self::Ignored => f.write_str("dropped silently"),
            Self::Error => f.write_str("error"),
            Self::Complete => f.write_str("all data"),
            Self::LooksComplete => f.write_str("end: looks complete"),
            Self::Waits => f.write_str("nothing: waits"),
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::Hangs => f.write_str("hangs"),
        }
    }
}
