//! The receiving half of a stream.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use wsmux_proto::{
    self as proto, ClosedStream, Read, ReadError, RecvStreamStats, StreamId, VarInt,
};

use super::{SendStream, shared::ConnectionRef};
use crate::{
    error::{ReadExactError, ReadToEndError, ResetError},
    observe::trace::{self, EndRecorded},
};

/// The receiving half of a stream.
///
/// Dropping the handle before the end of the stream was read stops the stream with code 0, which
/// asks the peer to send no more.
#[derive(Debug)]
pub struct RecvStream {
    id: StreamId,
    connection: ConnectionRef,
    end: End,
    end_recorded: EndRecorded,
}

/// How reading has ended. Later reads return the same result.
#[derive(Debug, Clone, Copy)]
enum End {
    None,
    Finished,
    Reset(VarInt),
}

impl RecvStream {
    pub(crate) fn new(id: StreamId, connection: ConnectionRef) -> Self {
        Self { id, connection, end: End::None, end_recorded: EndRecorded::default() }
    }

    /// Returns the stream's id.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Waits for data, and copies as much of it into `buf` as fits. Returns the number of bytes, or
    /// `None` at the end of the stream.
    ///
    /// # Errors
    /// [`ReadError`].
    ///
    /// # Cancel safety
    /// Dropping the future loses no data.
    pub async fn read(&mut self, buf: &mut [u8]) -> Result<Option<usize>, ReadError> {
        let mut buf = ReadBuf::new(buf);
        let more = poll_fn(|cx| self.poll_read_buf(cx, &mut buf)).await?;
        Ok(more.then_some(buf.filled().len()))
    }

    /// Reads until `buf` is full.
    ///
    /// # Errors
    /// [`ReadExactError`]; `buf` contains the bytes that were read before the error.
    ///
    /// # Cancel safety
    /// This method is not cancel safe: if its future is dropped, it is unknown how much of `buf`
    /// was filled.
    pub async fn read_exact(&mut self, buf: &mut [u8]) -> Result<(), ReadExactError> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.read(&mut buf[filled..]).await? {
                Some(len) => filled += len,
                None => return Err(ReadExactError::FinishedEarly(filled)),
            }
        }
        Ok(())
    }

    /// Waits for data, and returns at most `max_length` bytes as one chunk, without a copy. Returns
    /// `None` at the end of the stream.
    ///
    /// # Errors
    /// [`ReadError`].
    ///
    /// # Cancel safety
    /// Dropping the future loses no data.
    pub async fn read_chunk(&mut self, max_length: usize) -> Result<Option<Bytes>, ReadError> {
        poll_fn(|cx| self.poll_read_chunk(cx, max_length)).await
    }

    /// Reads to the end of the stream, and returns everything. The stream may have at most `limit`
    /// bytes left.
    ///
    /// # Errors
    /// [`ReadToEndError`]; it is [`TooLong`](ReadToEndError::TooLong) if the stream has more than
    /// `limit` bytes left. Data that was read before the error is lost.
    ///
    /// # Cancel safety
    /// This method is not cancel safe: if its future is dropped, the data that the future has read
    /// is lost.
    pub async fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, ReadToEndError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.read_chunk(usize::MAX).await? {
            if chunk.len() > limit - all.len() {
                return Err(ReadToEndError::TooLong);
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    /// Does the same as [`read_chunk`](Self::read_chunk), as a poll function. If the result is
    /// `Pending`, the task of `cx` is woken when there is data, or when the stream has ended.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn poll_read_chunk(
        &mut self,
        cx: &mut Context<'_>,
        max_length: usize,
    ) -> Poll<Result<Option<Bytes>, ReadError>> {
        self.poll_engine(cx, |stream| stream.read(max_length))
    }

    /// Abandons the stream: discards the received data, and asks the peer to send no more, with
    /// `code` as the reason (STOP_SENDING, RFC 9000 §19.5).
    ///
    /// # Errors
    /// [`ClosedStream`] if the stream has ended or was stopped already.
    pub fn stop(&mut self, code: VarInt) -> Result<(), ClosedStream> {
        let mut state = self.connection.lock();
        state.recv_stream(self.id).stop(code)?;
        state.wake_driver();
        trace::event!(
            self.connection.span,
            DEBUG,
            "stream.stopped",
            stream = self.id.into_inner(),
            code = code.into_inner(),
            by = "local"
        );
        Ok(())
    }

    /// Returns statistics of this half.
    ///
    /// # Errors
    /// [`ClosedStream`] if both halves of the stream have ended.
    pub fn stats(&self) -> Result<RecvStreamStats, ClosedStream> {
        self.connection.lock().recv_stream(self.id).stats()
    }

    /// Waits until the peer has reset the stream, and returns the peer's code. This reads no data.
    ///
    /// # Errors
    /// [`ResetError`] once the stream can no longer be reset, because all data has arrived or
    /// because this end has stopped the stream.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn received_reset(&mut self) -> Result<VarInt, ResetError> {
        if let End::Reset(code) = self.end {
            return Ok(code);
        }
        poll_fn(|cx| {
            let mut state = self.connection.lock();
            match state.recv_stream(self.id).poll_reset()? {
                Some(code) => {
                    trace::reset_by_peer(
                        &self.connection.span,
                        self.id,
                        &mut self.end_recorded,
                        code,
                    );
                    Poll::Ready(Ok(code))
                }
                None => {
                    state.wait_to_read(self.id, cx);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Whether `send` is the other half of the same stream.
    pub(crate) fn is_other_half_of(&self, send: &SendStream) -> bool {
        send.belongs_to(&self.connection, self.id)
    }

    /// Copies received data into `buf`. Returns `false` at the end of the stream.
    fn poll_read_buf(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<bool, ReadError>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(true));
        }
        let read = ready!(self.poll_engine(cx, |stream| stream.read_into(buf)));
        Poll::Ready(read.map(|copied| copied.is_some()))
    }

    /// Reads from the engine, and remembers the end of the stream for later reads.
    fn poll_engine<T>(
        &mut self,
        cx: &mut Context<'_>,
        read: impl FnOnce(&mut proto::RecvStream<'_>) -> Result<Read<T>, ReadError>,
    ) -> Poll<Result<Option<T>, ReadError>> {
        match self.end {
            End::None => {}
            End::Finished => return Poll::Ready(Ok(None)),
            End::Reset(code) => return Poll::Ready(Err(ReadError::Reset(code))),
        }
        let mut state = self.connection.lock();
        let found = read(&mut state.recv_stream(self.id));
        match &found {
            Ok(Read::Blocked) => {
                state.wait_to_read(self.id, cx);
                // Even a read that returned no data may have raised the window. In that case the
                // driver must send the new limit to the peer.
                state.wake_driver();
                return Poll::Pending;
            }
            Ok(Read::Finished) => self.end = End::Finished,
            Err(ReadError::Reset(code)) => {
                self.end = End::Reset(*code);
                trace::reset_by_peer(&self.connection.span, self.id, &mut self.end_recorded, *code);
            }
            Ok(Read::Data(_)) | Err(_) => {}
        }
        // A read may grant credit or end the stream. In both cases there may be frames to send.
        state.wake_driver();
        Poll::Ready(found.map(Read::data))
    }
}

impl AsyncRead for RecvStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.get_mut().poll_read_buf(cx, buf))?;
        Poll::Ready(Ok(()))
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        let mut state = self.connection.lock();
        state.forget_reader(self.id);
        #[cfg(feature = "tracing")]
        if let Ok(None) = state.recv_stream(self.id).poll_reset() {
            let stream = self.id.into_inner();
            trace::event!(
                self.connection.span,
                DEBUG,
                "stream.stopped",
                stream = stream,
                code = 0,
                by = "local"
            );
        }
        state.recv_stream(self.id).release();
        state.wake_driver();
    }
}
