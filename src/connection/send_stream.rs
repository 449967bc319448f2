//! The sending half of a stream.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wsmux_proto::{
    self as proto, ClosedStream, ResetAtError, SendStreamStats, StreamId, VarInt, WriteError,
};

use super::shared::{ConnectionRef, Queue, wait_for};
use crate::{
    error::StoppedError,
    observe::trace::{self, EndRecorded},
};

/// The sending half of a stream.
///
/// Dropping the handle before [`finish`](Self::finish) resets the stream with code 0. The peer then
/// gets an error, and so learns that the data is incomplete.
///
/// # As an `AsyncWrite`
/// A shutdown finishes the stream. As in quinn, a shutdown also returns `Ok` if the peer has
/// stopped the stream, because nothing is left to finish. If a shutdown returned an error, code
/// that relays both directions, such as `tokio::io::copy_bidirectional`, would abort the other
/// direction too. A write to a stopped stream fails with
/// [`BrokenPipe`](std::io::ErrorKind::BrokenPipe), and [`finish`](Self::finish) fails with
/// [`WriteError::Stopped`]; [`stopped`](Self::stopped) returns the peer's code.
#[derive(Debug)]
pub struct SendStream {
    id: StreamId,
    connection: ConnectionRef,
    end: End,
    end_recorded: EndRecorded,
}

/// How the application has ended this sending half.
#[derive(Debug, Clone, Copy)]
enum End {
    None,
    Finished,
    /// A half can also be reset after it was finished (RFC 9000 §3.1).
    Reset {
        was_finished: bool,
    },
}

impl SendStream {
    pub(crate) fn new(id: StreamId, connection: ConnectionRef) -> Self {
        Self { id, connection, end: End::None, end_recorded: EndRecorded::default() }
    }

    /// Returns the stream's id.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Waits for room in the send buffer, and takes as many bytes of `data` as fit. Returns the
    /// number of bytes taken: at least one, unless `data` is empty.
    ///
    /// If the buffer is full, the call waits until half of it is free. If the connection's [send
    /// window](crate::Config::send_window) is full, the call waits until this stream has sent some
    /// data or has received credit.
    ///
    /// # Errors
    /// [`WriteError`]. If this fails, nothing was taken.
    ///
    /// # Cancel safety
    /// If the future is dropped, nothing was taken.
    pub async fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        poll_fn(|cx| self.poll_write(cx, data)).await
    }

    /// Writes all of `data`.
    ///
    /// # Errors
    /// [`WriteError`]; some of the bytes may have been taken already.
    ///
    /// # Cancel safety
    /// This method is not cancel safe. If its future is dropped, the caller cannot know how many
    /// bytes were taken. Use [`write`](Self::write), or [`write_chunk`](Self::write_chunk), which
    /// takes all or nothing.
    pub async fn write_all(&mut self, mut data: &[u8]) -> Result<(), WriteError> {
        while !data.is_empty() {
            let taken = self.write(data).await?;
            data = &data[taken..];
        }
        Ok(())
    }

    /// Waits until the send buffer has any room, and takes the whole chunk without copying it.
    /// Therefore the buffer may exceed its limit, by less than the length of this chunk.
    ///
    /// If the connection's [send window](crate::Config::send_window) is full, the streams that wait
    /// for room in this window take turns.
    ///
    /// A chunk with an owner of your own ([`Bytes::from_owner`]) may be dropped while the
    /// connection's lock is held. The owner's `drop` must neither use the connection nor drop its
    /// handles. The same applies to datagrams.
    ///
    /// # Errors
    /// [`WriteError`]. If this fails, nothing was taken.
    ///
    /// # Cancel safety
    /// If the future is dropped, nothing was taken.
    pub async fn write_chunk(&mut self, chunk: Bytes) -> Result<(), WriteError> {
        let mut chunk = chunk;
        poll_fn(|cx| self.poll_write_chunk(cx, &mut chunk)).await
    }

    /// Takes as many bytes of `data` as fit into the send buffer, and returns their number. If the
    /// result is `Pending`, the task of `cx` is woken when there is room.
    ///
    /// # Errors
    /// [`WriteError`]. If this fails, nothing was taken.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, WriteError>> {
        if data.is_empty() {
            return Poll::Ready(self.check().map(|()| 0));
        }
        self.poll_engine(cx, |stream| {
            let taken = stream.write(data)?;
            Ok((taken > 0).then_some(taken))
        })
    }

    /// Takes the whole chunk if the send buffer has any room, and leaves `chunk` empty. If the
    /// result is `Pending`, the task of `cx` is woken when there is room.
    ///
    /// # Errors
    /// [`WriteError`]. If this fails, nothing was taken.
    pub fn poll_write_chunk(
        &mut self,
        cx: &mut Context<'_>,
        chunk: &mut Bytes,
    ) -> Poll<Result<(), WriteError>> {
        if chunk.is_empty() {
            return Poll::Ready(self.check());
        }
        self.poll_engine(cx, |stream| Ok((stream.write_chunk(chunk)? > 0).then_some(())))
    }

    /// Marks the end of the stream. The end is sent after all data that was written, even if the
    /// handle is dropped right after this call.
    ///
    /// # Errors
    /// [`WriteError`] if the stream has ended already; the error says how.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        let mut state = self.connection.lock();
        state.send_stream(self.id).finish()?;
        self.end = End::Finished;
        state.wake_driver();
        trace::event!(
            self.connection.span,
            TRACE,
            "stream.finished",
            stream = self.id.into_inner()
        );
        Ok(())
    }

    /// Abandons the stream: discards the data that has not been sent, and sends `code` to the peer
    /// (RESET_STREAM, RFC 9000 §19.4).
    ///
    /// # Errors
    /// [`ClosedStream`] if the stream has ended.
    pub fn reset(&mut self, code: VarInt) -> Result<(), ClosedStream> {
        let mut state = self.connection.lock();
        state.send_stream(self.id).reset(code)?;
        self.end = self.end.reset();
        state.was_reset(self.id);
        state.forget_writer(self.id);
        state.wake_driver();
        drop(state);
        trace::event!(
            self.connection.span,
            DEBUG,
            "stream.reset",
            stream = self.id.into_inner(),
            code = code.into_inner(),
            by = "local"
        );
        Ok(())
    }

    /// Abandons the stream after its first `reliable_size` bytes. The peer still receives these
    /// bytes, and then `code` (RESET_STREAM_AT, draft-ietf-quic-reliable-stream-reset). If fewer
    /// bytes were written, the peer receives all of them.
    ///
    /// # Errors
    /// [`ResetAtError`](crate::ResetAtError) if the stream has ended, or the peer does not support
    /// RESET_STREAM_AT.
    pub fn reset_at(&mut self, code: VarInt, reliable_size: u64) -> Result<(), ResetAtError> {
        let mut state = self.connection.lock();
        state.send_stream(self.id).reset_at(code, reliable_size)?;
        self.end = self.end.reset();
        state.was_reset(self.id);
        state.forget_writer(self.id);
        state.wake_driver();
        Ok(())
    }

    /// Waits for the end of the stream. Returns the peer's code if the peer has stopped the stream,
    /// or `None` if the stream was finished and everything up to its end was passed to the socket.
    /// The socket may have accepted data that has not reached the peer yet.
    ///
    /// The watch for the end begins with this call, and not with the first poll of the future. The
    /// future may outlive this handle.
    ///
    /// # Errors
    /// [`StoppedError`] if this end has reset the stream, or if the connection ended first.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub fn stopped(
        &self,
    ) -> impl Future<Output = Result<Option<VarInt>, StoppedError>> + Send + Sync + 'static {
        let connection = self.connection.clone();
        let id = self.id;
        // The watch starts in this method and not in the future, because the handle may be gone
        // when the future is first polled.
        let is_reset = matches!(self.end, End::Reset { .. });
        let watch = (!is_reset).then(|| connection.lock().watch_end(self.id));
        async move {
            let Some(watch) = watch else { return Err(StoppedError::ClosedStream) };
            let outcome = wait_for(&connection, Queue::End(id), |_| watch.get().cloned()).await;
            #[cfg(feature = "tracing")]
            if let Ok(Some(code)) = outcome {
                let error = WriteError::Stopped(code);
                trace::write_failed(&connection.span, id, &mut EndRecorded::default(), &error);
            }
            outcome
        }
    }

    /// Sends an empty STREAM frame, so that the peer sees the stream before anything is written. On
    /// the js-ws wire this does nothing, because the peer sees every stream at once.
    pub fn announce(&mut self) {
        let mut state = self.connection.lock();
        state.send_stream(self.id).announce();
        state.wake_driver();
    }

    /// Sets the stream's priority, which is 0 at first. Data of a stream with a higher priority is
    /// always sent first. Streams of equal priority take turns. The new priority also applies to
    /// data that was written earlier and has not been sent.
    ///
    /// # Errors
    /// [`ClosedStream`] if the stream has ended.
    pub fn set_priority(&self, priority: i32) -> Result<(), ClosedStream> {
        self.connection.lock().send_stream(self.id).set_priority(priority)
    }

    /// Returns the stream's [priority](Self::set_priority).
    ///
    /// # Errors
    /// [`ClosedStream`] if the stream has ended.
    pub fn priority(&self) -> Result<i32, ClosedStream> {
        self.connection.lock().send_stream(self.id).priority()
    }

    /// Returns statistics of this half, and what it waits for.
    ///
    /// # Errors
    /// [`ClosedStream`] if both halves of the stream have ended.
    pub fn stats(&self) -> Result<SendStreamStats, ClosedStream> {
        let mut state = self.connection.lock();
        let now = state.time(self.connection.now());
        state.engine_mut().send_stream(now, self.id).stats()
    }

    /// Waits for room in the send buffer. If the result is `Pending`, the task of `cx` is woken
    /// when there is room.
    #[cfg(feature = "futures-io")]
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        // The length of the next chunk is not known yet, so this method waits until there is room
        // for the longest chunk.
        self.poll_engine(cx, |stream| Ok(stream.poll_room_for(usize::MAX)?.then_some(())))
    }

    /// Takes the whole chunk, after [`poll_room`](Self::poll_room) has found room.
    #[cfg(feature = "futures-io")]
    pub(crate) fn push_chunk(&mut self, chunk: Bytes) -> Result<(), WriteError> {
        let mut state = self.connection.lock();
        state.send_stream(self.id).append_chunk(chunk)?;
        state.wake_driver();
        Ok(())
    }

    /// Finishes the stream, unless it is finished or the peer has stopped it. This method is for
    /// traits whose shutdown or close does not report how the stream ended.
    pub(crate) fn shut_down(&mut self) -> Result<(), WriteError> {
        if matches!(self.end, End::Finished | End::Reset { was_finished: true }) {
            return Ok(());
        }
        match self.finish() {
            Err(WriteError::Stopped(_)) => Ok(()),
            finished => finished,
        }
    }

    /// Whether this is the sending half of stream `id` of `connection`.
    pub(crate) fn belongs_to(&self, connection: &ConnectionRef, id: StreamId) -> bool {
        self.id == id && std::ptr::eq(&**connection, &*self.connection)
    }

    /// Calls the engine. If `write` returns `None` because there is no room, the task is
    /// registered, and is woken when there is room.
    fn poll_engine<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut proto::SendStream<'_>) -> Result<Option<T>, WriteError>,
    ) -> Poll<Result<T, WriteError>> {
        let mut state = self.connection.lock();
        let taken = write(&mut state.send_stream(self.id)).inspect_err(|error| {
            trace::write_failed(&self.connection.span, self.id, &mut self.end_recorded, error);
        })?;
        if taken.is_none() {
            state.wait_to_write(self.id, cx);
        }
        // The driver is woken even if nothing was taken, because the peer must see the stream
        // before it can grant credit for the stream.
        state.wake_driver();
        taken.map_or(Poll::Pending, |taken| Poll::Ready(Ok(taken)))
    }

    /// Returns an error if the stream can no longer be written to.
    fn check(&self) -> Result<(), WriteError> {
        self.connection.lock().send_stream(self.id).poll_room().map(drop)
    }
}

impl End {
    fn reset(self) -> Self {
        Self::Reset {
            was_finished: matches!(self, Self::Finished | Self::Reset { was_finished: true }),
        }
    }
}

impl AsyncWrite for SendStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(ready!(self.get_mut().poll_write(cx, data))?))
    }

    /// Returns at once, because written data is sent anyway as soon as credit and the socket allow
    /// it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Finishes the stream. The shutdown does nothing if the stream is finished or if the peer has
    /// stopped the stream; see [`SendStream`](SendStream#as-an-asyncwrite).
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().shut_down().map_err(Into::into))
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        let mut state = self.connection.lock();
        if let End::None = self.end {
            state.was_reset(self.id);
            #[cfg(feature = "tracing")]
            if state.send_stream(self.id).poll_room().is_ok() {
                let stream = self.id.into_inner();
                trace::event!(
                    self.connection.span,
                    DEBUG,
                    "stream.reset",
                    stream = stream,
                    code = 0,
                    by = "local"
                );
            }
        }
        // Even for a finished half a waker may still be stored, if the future of a write was
        // dropped.
        state.forget_writer(self.id);
        state.send_stream(self.id).release();
        state.wake_driver();
    }
}
