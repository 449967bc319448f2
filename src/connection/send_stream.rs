//! The sending half of a stream.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::shared::{ConnectionRef, Locked, Queue, wait_for};
use crate::{
    error::StoppedError,
    observe::trace::{self, Told},
    proto::{ClosedStream, StreamId, VarInt, WriteError},
};

/// The sending half of a stream.
///
/// Dropping it before [`finish`](Self::finish) resets the stream with code 0: the peer sees an error, never
/// an end that looks complete.
///
/// # As an `AsyncWrite`
/// A shutdown finishes the stream. Of a stream that the peer has stopped it is `Ok`, as with quinn: there is
/// nothing left to end, and a relay of both directions, such as `tokio::io::copy_bidirectional`, would otherwise
/// give up the other one too. A write to it fails with [`BrokenPipe`](std::io::ErrorKind::BrokenPipe),
/// [`finish`](Self::finish) with [`WriteError::Stopped`], and [`stopped`](Self::stopped) gives the code.
#[derive(Debug)]
pub struct SendStream {
    id: StreamId,
    connection: ConnectionRef,
    /// This end has reset the stream.
    reset: bool,
    /// This end has finished the stream.
    finished: bool,
    told: Told,
}

impl SendStream {
    pub(crate) fn new(id: StreamId, connection: ConnectionRef) -> Self {
        Self { id, connection, reset: false, finished: false, told: Told::default() }
    }

    /// The stream's number.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Waits for room in the send buffer, then takes as many bytes as there is room for, at least one. When
    /// the buffer was full it waits until half of it is free. Where the
    /// [send window](crate::Config::send_window) of the connection is what is full, it waits until the stream
    /// itself has sent, or has got credit.
    ///
    /// # Errors
    /// [`WriteError`], with nothing taken.
    ///
    /// # Cancel safety
    /// Nothing is taken when the future is dropped.
    pub async fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        poll_fn(|cx| self.poll_write(cx, data)).await
    }

    /// Writes all of `data`.
    ///
    /// # Errors
    /// [`WriteError`]; some bytes may have been taken before.
    ///
    /// # Cancel safety
    /// None: how many bytes were taken is forgotten with the future. Use [`write`](Self::write), or
    /// [`write_chunk`](Self::write_chunk), which takes all or nothing.
    pub async fn write_all(&mut self, mut data: &[u8]) -> Result<(), WriteError> {
        while !data.is_empty() {
            let taken = self.write(data).await?;
            data = &data[taken..];
        }
        Ok(())
    }

    /// Waits for room in the send buffer, then takes the whole chunk without a copy. The buffer may so hold
    /// more than its limit, by less than this chunk. Where the
    /// [send window](crate::Config::send_window) of the connection is full, the streams that wait go on in
    /// order.
    ///
    /// A chunk with an owner of your own ([`Bytes::from_owner`]) may be dropped while the connection's lock is held: the
    /// owner's drop must not use the connection, nor drop its handles. The same holds for datagrams.
    ///
    /// # Errors
    /// [`WriteError`], with nothing taken.
    ///
    /// # Cancel safety
    /// Nothing is taken when the future is dropped.
    pub async fn write_chunk(&mut self, chunk: Bytes) -> Result<(), WriteError> {
        let mut chunk = chunk;
        poll_fn(|cx| self.poll_write_chunk(cx, &mut chunk)).await
    }

    /// Takes as many bytes as there is room for. With `Pending`, `cx` is woken when there is room.
    ///
    /// # Errors
    /// [`WriteError`], with nothing taken.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, WriteError>> {
        if data.is_empty() {
            return Poll::Ready(self.check().map(|()| 0));
        }
        let mut state = self.connection.lock();
        let written = state.send_stream(self.id).write(data);
        let taken = written.inspect_err(|error| {
            trace::write_failed(&self.connection.span, self.id, &mut self.told, error);
        })?;
        match taken {
            0 => self.wait_for_room(state, cx),
            taken => {
                state.wake_driver();
                Poll::Ready(Ok(taken))
            }
        }
    }

    /// Takes the whole chunk, and leaves an empty one, as soon as there is any room.
    ///
    /// # Errors
    /// [`WriteError`], with nothing taken.
    pub fn poll_write_chunk(
        &mut self,
        cx: &mut Context<'_>,
        chunk: &mut Bytes,
    ) -> Poll<Result<(), WriteError>> {
        if chunk.is_empty() {
            return Poll::Ready(self.check());
        }
        let mut state = self.connection.lock();
        let written = state.send_stream(self.id).write_chunk(chunk);
        let taken = written.inspect_err(|error| {
            trace::write_failed(&self.connection.span, self.id, &mut self.told, error);
        })?;
        match taken {
            0 => self.wait_for_room(state, cx),
            _ => {
                state.wake_driver();
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Waits for room in the send buffer. With `Pending`, `cx` is woken when there is some.
    #[cfg(feature = "futures-io")]
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        let mut state = self.connection.lock();
        // The chunk's length is not known yet.
        let room = state.send_stream(self.id).poll_room_for(usize::MAX);
        let room = room.inspect_err(|error| {
            trace::write_failed(&self.connection.span, self.id, &mut self.told, error);
        })?;
        match room {
            false => self.wait_for_room(state, cx),
            true => Poll::Ready(Ok(())),
        }
    }

    /// Takes the whole chunk, after [`poll_room`](Self::poll_room) has found room.
    #[cfg(feature = "futures-io")]
    pub(crate) fn push_chunk(&mut self, chunk: Bytes) -> Result<(), WriteError> {
        let mut state = self.connection.lock();
        state.send_stream(self.id).append_chunk(chunk)?;
        state.wake_driver();
        Ok(())
    }

    /// Finishes the stream, unless it is finished or the peer has stopped it: for the traits whose shutdown does not
    /// report what became of it.
    pub(crate) fn shut_down(&mut self) -> Result<(), WriteError> {
        if self.finished {
            return Ok(());
        }
        match self.finish() {
            Err(WriteError::Stopped(_)) => Ok(()),
            finished => finished,
        }
    }

    /// Whether both are halves of one stream.
    pub(crate) fn belongs_to(&self, connection: &ConnectionRef, id: StreamId) -> bool {
        self.id == id && std::ptr::eq(&**connection, &*self.connection)
    }

    fn wait_for_room<T>(&self, mut state: Locked<'_>, cx: &Context<'_>) -> Poll<T> {
        state.wait_to_write(self.id, cx);
        // A peer that grants nothing yet is shown the stream.
        state.wake_driver();
        Poll::Pending
    }

    /// Whether the stream can still be written to.
    fn check(&self) -> Result<(), WriteError> {
        self.connection.lock().send_stream(self.id).poll_room().map(drop)
    }

    /// Nothing follows what was written. The end is sent behind it, also when the handle is dropped after
    /// this.
    ///
    /// # Errors
    /// [`WriteError`] when the stream had ended before, and how.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        let mut state = self.connection.lock();
        state.send_stream(self.id).finish()?;
        self.finished = true;
        state.wake_driver();
        trace::event!(
            self.connection.span,
            TRACE,
            "stream.finished",
            stream = self.id.into_inner()
        );
        Ok(())
    }

    /// Gives the stream up: what has not been sent is dropped, and the peer is told the code
    /// (RESET_STREAM, RFC 9000 §19.4).
    ///
    /// # Errors
    /// [`ClosedStream`] when the stream has ended.
    pub fn reset(&mut self, code: VarInt) -> Result<(), ClosedStream> {
        let mut state = self.connection.lock();
        state.send_stream(self.id).reset(code)?;
        self.reset = true;
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

    /// Gives the stream up behind its first `reliable_size` bytes: they are still sent and delivered, and then
    /// the peer is told the code (RESET_STREAM_AT, draft-ietf-quic-reliable-stream-reset). Where fewer were
    /// written, all of them are.
    ///
    /// # Errors
    /// [`ResetAtError`](crate::ResetAtError) when the stream has ended, or the peer does not take this.
    pub fn reset_at(
        &mut self,
        code: VarInt,
        reliable_size: u64,
    ) -> Result<(), crate::proto::ResetAtError> {
        let mut state = self.connection.lock();
        state.send_stream(self.id).reset_at(code, reliable_size)?;
        self.reset = true;
        state.was_reset(self.id);
        state.forget_writer(self.id);
        state.wake_driver();
        Ok(())
    }

    /// Waits until the peer has stopped the stream, and gives its code; or until the end of a finished stream
    /// has been handed to the socket, with every byte before it, and gives `None`. What the socket has taken
    /// is not yet with the peer, less still read.
    ///
    /// # Errors
    /// [`StoppedError`] when neither can happen any more.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub fn stopped(
        &self,
    ) -> impl Future<Output = Result<Option<VarInt>, StoppedError>> + Send + Sync + 'static {
        let connection = self.connection.clone();
        let id = self.id;
        // From here on, and not from the first poll: the handle may be gone by then.
        let watch = (!self.reset).then(|| connection.lock().watch_end(self.id));
        async move {
            let Some(watch) = watch else { return Err(StoppedError::ClosedStream) };
            let outcome = wait_for(&connection, Queue::End(id), |_| watch.get().cloned()).await;
            #[cfg(feature = "tracing")]
            if let Ok(Some(code)) = outcome {
                let error = WriteError::Stopped(code);
                trace::write_failed(&connection.span, id, &mut Told::default(), &error);
            }
            outcome
        }
    }

    /// Shows the stream to the peer although nothing has been written: an empty STREAM frame. On the js-ws
    /// wire, where the peer sees a stream at once, nothing.
    pub fn announce(&mut self) {
        let mut state = self.connection.lock();
        state.send_stream(self.id).announce();
        state.wake_driver();
    }

    /// Streams of a higher priority send first, strictly; equal ones take turns. At the start 0. It can change
    /// while data waits.
    ///
    /// # Errors
    /// [`ClosedStream`] when the stream has ended.
    pub fn set_priority(&self, priority: i32) -> Result<(), ClosedStream> {
        self.connection.lock().send_stream(self.id).set_priority(priority)
    }

    /// What the half has done, and what it waits for.
    ///
    /// # Errors
    /// [`ClosedStream`] when the stream has ended on both sides.
    pub fn stats(&self) -> Result<crate::proto::SendStreamStats, ClosedStream> {
        let mut state = self.connection.lock();
        let now = state.time(self.connection.now());
        state.engine.send_stream(now, self.id).stats()
    }

    /// The stream's priority.
    ///
    /// # Errors
    /// [`ClosedStream`] when the stream has ended.
    pub fn priority(&self) -> Result<i32, ClosedStream> {
        self.connection.lock().send_stream(self.id).priority()
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

    /// Done at once: what was written leaves as soon as credit and socket allow.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Finishes the stream. Repeating it does no harm, nor does calling it after the peer has stopped the stream: see
    /// [`SendStream`](SendStream#as-an-asyncwrite).
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().shut_down().map_err(Into::into))
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        let mut state = self.connection.lock();
        if !self.finished && !self.reset {
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
        // Also of a finished half: the waker of a write that was given up may still be there.
        state.forget_writer(self.id);
        state.send_stream(self.id).release();
        state.wake_driver();
    }
}
