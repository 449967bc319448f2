//! Implements [`web_transport_trait`], so that programs that were written for WebTransport run over
//! a [`WebSocketConnection`] without changes.
//!
//! The trait's codes have 32 bits. If the peer sends a code with more bits, the largest code of 32
//! bits is reported.

use std::time::Duration;

use bytes::Bytes;
use web_transport_trait as generic;
use wsmux_proto::{
    ConnectionError, ConnectionStats, OpenError, ReadError, SendDatagramError, VarInt, WriteError,
};

use crate::{
    connection::{RecvStream, SendStream, WebSocketConnection},
    error::StoppedError,
};

/// The error of all operations of the trait.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WebTransportError {
    /// The connection has ended.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// Opening a stream failed, and no other variant names the reason.
    #[error(transparent)]
    Open(OpenError),
    /// Reading failed, and no other variant names the reason.
    #[error(transparent)]
    Read(ReadError),
    /// Writing failed, and no other variant names the reason.
    #[error(transparent)]
    Write(WriteError),
    /// Sending a datagram failed, and no other variant names the reason.
    #[error(transparent)]
    Datagram(SendDatagramError),
    /// This end has reset the stream.
    #[error("stream closed")]
    ClosedStream,
}

/// Converts a code to the 32 bits of the trait's codes.
fn narrow(code: VarInt) -> u32 {
    u32::try_from(code.into_inner()).unwrap_or(u32::MAX)
}

impl generic::Error for WebTransportError {
    fn session_error(&self) -> Option<(u32, String)> {
        match self {
            Self::Connection(ConnectionError::ApplicationClosed(close)) => {
                let reason = String::from_utf8_lossy(&close.reason).into_owned();
                Some((narrow(close.error_code), reason))
            }
            _ => None,
        }
    }

    fn stream_error(&self) -> Option<u32> {
        match self {
            Self::Read(ReadError::Reset(code)) | Self::Write(WriteError::Stopped(code)) => {
                Some(narrow(*code))
            }
            _ => None,
        }
    }
}

impl From<OpenError> for WebTransportError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::ConnectionLost(error) => Self::Connection(error),
            error => Self::Open(error),
        }
    }
}

impl From<ReadError> for WebTransportError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(error) => Self::Connection(error),
            error => Self::Read(error),
        }
    }
}

impl From<WriteError> for WebTransportError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(error) => Self::Connection(error),
            error => Self::Write(error),
        }
    }
}

impl From<SendDatagramError> for WebTransportError {
    fn from(error: SendDatagramError) -> Self {
        match error {
            SendDatagramError::ConnectionLost(error) => Self::Connection(error),
            error => Self::Datagram(error),
        }
    }
}

impl From<StoppedError> for WebTransportError {
    fn from(error: StoppedError) -> Self {
        match error {
            StoppedError::ConnectionLost(error) => Self::Connection(error),
            StoppedError::ClosedStream => Self::ClosedStream,
        }
    }
}

struct Stats {
    counts: ConnectionStats,
    rtt: Option<Duration>,
}

impl generic::Stats for Stats {
    fn bytes_sent(&self) -> Option<u64> {
        Some(self.counts.bytes_sent)
    }

    fn bytes_received(&self) -> Option<u64> {
        Some(self.counts.bytes_received)
    }

    fn rtt(&self) -> Option<Duration> {
        self.rtt
    }
}

impl generic::Session for WebSocketConnection {
    type SendStream = SendStream;
    type RecvStream = RecvStream;
    type Error = WebTransportError;

    async fn accept_uni(&self) -> Result<RecvStream, WebTransportError> {
        Ok(WebSocketConnection::accept_uni(self).await?)
    }

    async fn accept_bi(&self) -> Result<(SendStream, RecvStream), WebTransportError> {
        Ok(WebSocketConnection::accept_bi(self).await?.into_split())
    }

    async fn open_bi(&self) -> Result<(SendStream, RecvStream), WebTransportError> {
        Ok(WebSocketConnection::open_bi(self).await?.into_split())
    }

    async fn open_uni(&self) -> Result<SendStream, WebTransportError> {
        Ok(WebSocketConnection::open_uni(self).await?)
    }

    fn send_datagram(&self, payload: Bytes) -> Result<(), WebTransportError> {
        Ok(WebSocketConnection::send_datagram(self, payload)?)
    }

    async fn recv_datagram(&self) -> Result<Bytes, WebTransportError> {
        Ok(self.read_datagram().await?)
    }

    fn max_datagram_size(&self) -> usize {
        WebSocketConnection::max_datagram_size(self).unwrap_or(0)
    }

    /// Returns the application's part of the subprotocol, or the whole subprotocol if it is not a
    /// QMux subprotocol.
    fn protocol(&self) -> Option<&str> {
        WebSocketConnection::protocol(self)
    }

    fn close(&self, code: u32, reason: &str) {
        WebSocketConnection::close(self, code.into(), reason.as_bytes());
    }

    async fn closed(&self) -> WebTransportError {
        WebSocketConnection::closed(self).await.into()
    }

    fn stats(&self) -> impl generic::Stats {
        Stats { counts: WebSocketConnection::stats(self), rtt: self.rtt() }
    }
}

impl generic::SendStream for SendStream {
    type Error = WebTransportError;

    async fn write(&mut self, buf: &[u8]) -> Result<usize, WebTransportError> {
        Ok(SendStream::write(self, buf).await?)
    }

    async fn write_chunk(&mut self, chunk: Bytes) -> Result<(), WebTransportError> {
        Ok(SendStream::write_chunk(self, chunk).await?)
    }

    fn set_priority(&mut self, order: i32) {
        // This fails only if the stream has ended. A stream that has ended has no use for a
        // priority.
        let _ = SendStream::set_priority(self, order);
    }

    /// Finishes the stream. As in quinn, this returns no error if the peer has stopped the stream,
    /// because `closed` returns the peer's code.
    fn finish(&mut self) -> Result<(), WebTransportError> {
        match SendStream::finish(self) {
            Ok(()) | Err(WriteError::Stopped(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn reset(&mut self, code: u32) {
        // The trait's `reset` cannot return the error, which says that the stream has already
        // ended.
        let _ = SendStream::reset(self, code.into());
    }

    async fn closed(&mut self) -> Result<(), WebTransportError> {
        match self.stopped().await {
            Ok(None) | Err(StoppedError::ClosedStream) => Ok(()),
            Ok(Some(code)) => Err(WebTransportError::Write(WriteError::Stopped(code))),
            Err(error) => Err(error.into()),
        }
    }
}

impl generic::RecvStream for RecvStream {
    type Error = WebTransportError;

    async fn read(&mut self, dst: &mut [u8]) -> Result<Option<usize>, WebTransportError> {
        Ok(RecvStream::read(self, dst).await?)
    }

    async fn read_chunk(&mut self, max: usize) -> Result<Option<Bytes>, WebTransportError> {
        Ok(RecvStream::read_chunk(self, max).await?)
    }

    fn stop(&mut self, code: u32) {
        // The error is ignored, as in `reset`.
        let _ = RecvStream::stop(self, code.into());
    }

    async fn closed(&mut self) -> Result<(), WebTransportError> {
        match self.received_reset().await {
            Ok(code) => Err(WebTransportError::Read(ReadError::Reset(code))),
            Err(crate::error::ResetError::ClosedStream) => Ok(()),
            Err(crate::error::ResetError::ConnectionLost(error)) => Err(error.into()),
        }
    }
}
