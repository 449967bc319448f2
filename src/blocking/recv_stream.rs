//! The receiving half of a stream.

use std::{
    io::{self, Read},
    mem,
    time::Duration,
};

use bytes::Bytes;
use wsmux_proto::{ClosedStream, ReadError, StreamId, VarInt};

use super::{
    WaitError,
    wait::{checked_limit, try_wait},
};
use crate::error::{ReadToEndError, ResetError};

/// The receiving half of a stream. It implements [`Read`].
///
/// If the handle is dropped before the stream was read to its end, the stream is stopped with code
/// 0. This asks the peer to send no more.
#[derive(Debug)]
pub struct RecvStream {
    inner: crate::connection::RecvStream,
    timeout: Option<Duration>,
    /// The bytes that a call of [`read_to_end`](Self::read_to_end) had read when it timed out.
    /// Their number is at most the `limit` of that call.
    unread: Bytes,
}

impl RecvStream {
    /// Wraps an async stream for use by threads; see
    /// [`WebSocketConnection::from_async`](super::WebSocketConnection::from_async).
    pub fn from_async(stream: crate::connection::RecvStream) -> Self {
        Self { inner: stream, timeout: None, unread: Bytes::new() }
    }

    /// Converts into the async stream, for use by tasks.
    ///
    /// # Errors
    /// Returns the stream unchanged if it still has bytes from a [`read_to_end`](Self::read_to_end)
    /// that timed out. Read these first.
    pub fn into_async(self) -> Result<crate::connection::RecvStream, Self> {
        if self.unread.is_empty() { Ok(self.inner) } else { Err(self) }
    }

    pub(super) fn as_async(&self) -> &crate::connection::RecvStream {
        &self.inner
    }

    /// Returns the stream's id.
    pub fn id(&self) -> StreamId {
        self.inner.id()
    }

    /// Sets how long a read, or [`received_reset`](Self::received_reset), may wait. The initial
    /// value `None` sets no limit. A call that waits longer fails with
    /// [`TimedOut`](io::ErrorKind::TimedOut); no byte is lost, and the call can be repeated. A
    /// method that reads several times may wait this long each time.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for zero, as with the standard library's
    /// sockets.
    pub fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.timeout = checked_limit(timeout)?;
        Ok(())
    }

    /// Returns how long a read may wait.
    pub fn read_timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Waits for bytes, and returns up to `max_length` of them in one piece and without a copy.
    /// Returns `None` at the end of the stream.
    ///
    /// # Errors
    /// [`WaitError`] with a [`ReadError`].
    pub fn read_chunk(&mut self, max_length: usize) -> Result<Option<Bytes>, WaitError<ReadError>> {
        if !self.unread.is_empty() {
            return Ok(Some(self.unread.split_to(max_length.min(self.unread.len()))));
        }
        try_wait(self.timeout, self.inner.read_chunk(max_length))
    }

    /// Reads to the end of the stream, up to `limit` bytes. This method hides
    /// [`Read::read_to_end`], which has no limit. To call `Read::read_to_end`, use its full path.
    ///
    /// # Errors
    /// [`WaitError`] with [`ReadToEndError::TooLong`] if there are more than `limit` bytes; the
    /// bytes read so far are lost. A timeout loses nothing, because the next read begins where this
    /// read began.
    pub fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, WaitError<ReadToEndError>> {
        let mut all = Vec::new();
        loop {
            match self.read_chunk(usize::MAX) {
                Ok(Some(chunk)) if chunk.len() > limit - all.len() => {
                    return Err(WaitError::Failed(ReadToEndError::TooLong));
                }
                // An earlier call may have read all bytes and timed out. Then all bytes are in one
                // chunk, which is returned without a copy.
                Ok(Some(chunk)) if all.is_empty() => all = chunk.into(),
                Ok(Some(chunk)) => all.extend_from_slice(&chunk),
                Ok(None) => return Ok(all),
                Err(WaitError::TimedOut) => {
                    self.unread = mem::take(&mut all).into();
                    return Err(WaitError::TimedOut);
                }
                Err(WaitError::Failed(error)) => return Err(WaitError::Failed(error.into())),
            }
        }
    }

    /// Stops the stream: received bytes are discarded, and the peer receives the code
    /// (STOP_SENDING, RFC 9000 §19.5).
    ///
    /// # Errors
    /// [`ClosedStream`] if the stream has ended or was already stopped.
    pub fn stop(&mut self, code: VarInt) -> Result<(), ClosedStream> {
        self.unread.clear();
        self.inner.stop(code)
    }

    /// Waits until the peer has reset the stream, and returns the code of the reset. This reads no
    /// bytes.
    ///
    /// # Errors
    /// [`WaitError`] with a [`ResetError`] if the peer can no longer reset the stream, because the
    /// stream has ended or this end has stopped it.
    pub fn received_reset(&mut self) -> Result<VarInt, WaitError<ResetError>> {
        try_wait(self.timeout, self.inner.received_reset())
    }
}

/// The errors are converted as [`WaitError`] describes, and contain a [`ReadError`] or a
/// [`ConnectionError`](crate::ConnectionError).
impl Read for RecvStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.unread.is_empty() {
            let len = buf.len().min(self.unread.len());
            buf[..len].copy_from_slice(&self.unread.split_to(len));
            return Ok(len);
        }
        Ok(try_wait(self.timeout, self.inner.read(buf))?.unwrap_or(0))
    }
}
