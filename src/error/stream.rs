//! The errors of operations that exist only in the async library, and not in the engine.

use std::io;

use wsmux_proto::{ConnectionError, ReadError, VarInt};

/// Reading an exact number of bytes failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadExactError {
    /// The stream ended early, after this many bytes.
    #[error("stream ended after {0} bytes")]
    FinishedEarly(usize),
    /// Reading failed.
    #[error(transparent)]
    ReadError(#[from] ReadError),
}

/// Reading to the end failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadToEndError {
    /// The stream is longer than the limit.
    #[error("stream is longer than the limit")]
    TooLong,
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Waiting for the end of a sending half failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoppedError {
    /// The connection ended first.
    #[error("connection lost: {0}")]
    ConnectionLost(#[from] ConnectionError),
    /// This end has reset the stream.
    #[error("stream closed")]
    ClosedStream,
}

/// Waiting for a reset failed, because the stream can no longer be reset.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ResetError {
    /// The connection ended first.
    #[error("connection lost: {0}")]
    ConnectionLost(#[from] ConnectionError),
    /// The stream has ended without a reset: all data has arrived, or this end has stopped the
    /// stream.
    #[error("stream closed")]
    ClosedStream,
}

impl From<ReadError> for ResetError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(error) => Self::ConnectionLost(error),
            // The other errors say that this end can no longer read the stream, so a reset would
            // not be reported.
            _ => Self::ClosedStream,
        }
    }
}

impl From<ReadExactError> for io::Error {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::FinishedEarly(_) => Self::new(io::ErrorKind::UnexpectedEof, error),
            ReadExactError::ReadError(error) => error.into(),
        }
    }
}

impl From<ReadToEndError> for io::Error {
    fn from(error: ReadToEndError) -> Self {
        match error {
            ReadToEndError::TooLong => Self::new(io::ErrorKind::InvalidData, error),
            ReadToEndError::Read(error) => error.into(),
        }
    }
}

impl From<StoppedError> for io::Error {
    fn from(error: StoppedError) -> Self {
        match error {
            StoppedError::ConnectionLost(error) => error.into(),
            StoppedError::ClosedStream => Self::new(io::ErrorKind::NotConnected, error),
        }
    }
}

impl From<ResetError> for io::Error {
    fn from(error: ResetError) -> Self {
        match error {
            ResetError::ConnectionLost(error) => error.into(),
            ResetError::ClosedStream => Self::new(io::ErrorKind::NotConnected, error),
        }
    }
}

/// The code of a reset or a stop for which the caller gave no code.
pub(crate) const NO_CODE: VarInt = VarInt::from_u32(0);
