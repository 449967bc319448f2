//! A stream's sending half, as the application sees it.

use bytes::Bytes;

use super::{
    Phase, Send, Streams,
    control_queue::ControlFrame,
    held::{Held, Piece},
    send::{EndWatch, ResetBy, SendState},
    table::Key,
};
use crate::{
    ClosedStream, ConnectionError, ResetAtError, SendStreamStats, StreamId, Time, VarInt,
    WriteError,
};

impl Streams {
    pub(crate) fn send_stream<'a>(
        &'a mut self,
        now: Time,
        id: StreamId,
        end: Option<&'a ConnectionError>,
    ) -> SendStream<'a> {
        SendStream { streams: self, now, id, end }
    }
}

/// Whether a sending half has ended, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendEnd {
    /// The half has not ended.
    Open,
    /// The socket has taken all bytes and the end of the stream.
    Finished,
    /// The peer stopped the half with this code.
    Stopped(VarInt),
    /// This end reset the half.
    Reset,
}

/// A stream's sending half, borrowed from its [`Connection`](crate::Connection).
#[derive(Debug)]
pub struct SendStream<'a> {
    streams: &'a mut Streams,
    now: Time,
    id: StreamId,
    end: Option<&'a ConnectionError>,
}

impl SendStream<'_> {
    /// Returns how many bytes the send buffer would accept now. If the result is 0,
    /// [`Event::Writable`](crate::Event::Writable) reports when there is room.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    pub fn poll_room(&mut self) -> Result<usize, WriteError> {
        let (_, room) = self.room_for(Piece::Bytes)?;
        Ok(room)
    }

    /// Whether [`write_chunk`](Self::write_chunk) would accept a chunk of `len` bytes now. If not,
    /// [`Event::Writable`](crate::Event::Writable) reports when there is room.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    pub fn poll_room_for(&mut self, len: usize) -> Result<bool, WriteError> {
        let (key, room) = self.room_for(Piece::Whole(len))?;
        if room == 0 {
            self.wait_for_budget(key, len);
        }
        Ok(room > 0)
    }

    /// Returns the stream's key, if the application may write to this half.
    #[inline]
    fn writable(&mut self) -> Result<Key, WriteError> {
        let key = self.streams.table.key(self.id);
        let send = key.and_then(|key| self.streams.table[key].send.as_ref());
        match (key, send, self.end) {
            (Some(key), Some(send), None) if send.is_writable() => Ok(key),
            _ => self.why_not_writable(key),
        }
    }

    #[cold]
    fn why_not_writable(&self, key: Option<Key>) -> Result<Key, WriteError> {
        let send = key.and_then(|key| self.streams.table[key].send.as_ref());
        let writable = send.map_or(Err(WriteError::ClosedStream), Send::check_writable);
        match (key, writable, self.end) {
            // If the peer stopped the stream before the connection ended, the stop takes
            // precedence.
            (_, Err(WriteError::Stopped(code)), _) => Err(WriteError::Stopped(code)),
            (_, _, Some(end)) => Err(WriteError::ConnectionLost(end.clone())),
            (Some(key), Ok(()), None) => Ok(key),
            (_, Err(error), None) => Err(error),
            (None, Ok(()), None) => Err(WriteError::ClosedStream),
        }
    }

    /// Returns the stream's key, and how many bytes the stream's buffer and the send window have
    /// room for. If there is no room, records that the application waits for room.
    fn room_for(&mut self, piece: Piece) -> Result<(Key, usize), WriteError> {
        let key = self.writable()?;
        let Streams { table, send_budget, .. } = &mut *self.streams;
        let send = table[key].send.as_mut().ok_or(WriteError::ClosedStream)?;
        let held = send.held();
        let limit = send_budget.limit(held, send.credit.left(), piece);
        let room = limit.saturating_sub(held.bytes);
        send.waiting_for_room = room == 0;
        Ok((key, room))
    }

    /// Makes sure that the application is woken when there is room for a chunk. If the stream holds
    /// bytes, the application is woken when these bytes are sent. If the stream has no credit, the
    /// application is woken when the stream gets credit. In all other cases the stream has to wait
    /// in the queue of the send window.
    fn wait_for_budget(&mut self, key: Key, len: usize) {
        let streams = &mut *self.streams;
        let stream = &mut streams.table[key];
        let Some(send) = stream.send.as_mut().filter(|send| send.buffered() == 0) else { return };
        if send.credit.left() == 0 {
            // Some peers grant credit only to streams that they know of. Without this frame, such a
            // peer would never learn of the stream.
            let unseen = send.is_unseen() && self.id.initiator() == streams.side;
            if unseen && !streams.caps.opens_with_grant() {
                streams.queue_control(key, ControlFrame::Announce);
            }
        } else if !std::mem::replace(&mut send.queued_for_room, true)
            && streams.send_budget.wait(self.id, len, streams.table.len())
        {
            let Streams { table, send_budget, .. } = streams;
            send_budget.forget_waiting(|id| table.key(id).is_some());
        }
    }

    /// Copies as many bytes of `data` as there is room for. Returns how many bytes were copied. If
    /// the result is 0, [`Event::Writable`](crate::Event::Writable) reports when there is room.
    ///
    /// # Errors
    /// [`WriteError`]. In this case no bytes were copied.
    pub fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        let (key, room) = self.room_for(Piece::Bytes)?;
        let taken = room.min(data.len());
        self.add(key, taken, |send| send.push_slice(&data[..taken]));
        Ok(taken)
    }

    /// Accepts all of `data`, even if there is room for only one byte. A chunk of 4 KiB or more is
    /// not copied. The buffer may exceed its limit by less than one chunk. If there is no room,
    /// leaves `data` as it is and returns 0, and [`Event::Writable`](crate::Event::Writable)
    /// reports when there is room.
    ///
    /// # Errors
    /// [`WriteError`]. In this case `data` is unchanged.
    pub fn write_chunk(&mut self, data: &mut Bytes) -> Result<usize, WriteError> {
        if !self.poll_room_for(data.len())? {
            return Ok(0);
        }
        let taken = data.len();
        self.append_chunk(std::mem::take(data))?;
        Ok(taken)
    }

    /// Accepts all of `data`, even if there is no room. A chunk of 4 KiB or more is not copied.
    /// This is for a caller that has already waited for room.
    ///
    /// # Errors
    /// [`WriteError`]. In this case `data` is dropped.
    pub fn append_chunk(&mut self, data: Bytes) -> Result<(), WriteError> {
        let key = self.writable()?;
        self.add(key, data.len(), |send| send.push_chunk(data));
        Ok(())
    }

    fn add(&mut self, key: Key, len: usize, push: impl FnOnce(&mut Send)) {
        if len == 0 {
            return;
        }
        let Some(send) = self.streams.table[key].send.as_mut() else { return };
        let before = send.held().uncovered;
        push(send);
        let uncovered = send.held().uncovered - before;
        self.streams.send_budget.taken(len, uncovered);
        self.streams.schedule(key);
    }

    /// Ends the stream after the bytes that were written so far.
    ///
    /// # Errors
    /// [`WriteError`] if the half has already ended. The error says how the half ended.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        let key = self.writable()?;
        let send = self.streams.table[key].send.as_mut().ok_or(WriteError::ClosedStream)?;
        send.finish()?;
        self.streams.schedule(key);
        Ok(())
    }

    /// Resets the stream (RESET_STREAM, RFC 9000 §19.4). Bytes that have not been sent are dropped.
    ///
    /// # Errors
    /// [`ClosedStream`] if the FIN has already been sent, or the stream was reset or stopped
    /// before.
    pub fn reset(&mut self, code: VarInt) -> Result<(), ClosedStream> {
        let Some(key) = self.streams.table.key(self.id) else { return Err(ClosedStream) };
        let stream = &mut self.streams.table[key];
        let Some(send) = &mut stream.send else { return Err(ClosedStream) };
        let before = send.held();
        send.reset(code, ResetBy::Application)?;
        (send.end_watch, send.waiting_for_room) = (EndWatch::Nobody, false);
        stream.send_released = true;
        self.streams.cancel_turn(key);
        self.streams.send_budget.change(before, Held::default());
        self.streams.unblock(self.now, key);
        // C-12 (RFC 9000 §3.2)
        if self.streams.phase != Phase::Ended {
            self.streams.queue_control(key, ControlFrame::Reset);
        }
        self.streams.maybe_free(key);
        Ok(())
    }

    /// Resets the stream after its first `reliable_size` bytes (RESET_STREAM_AT,
    /// draft-ietf-quic-reliable-stream-reset). These bytes are still sent and delivered. If fewer
    /// than `reliable_size` bytes were written, all written bytes are sent and delivered.
    ///
    /// # Errors
    /// [`ResetAtError`].
    pub fn reset_at(&mut self, code: VarInt, reliable_size: u64) -> Result<(), ResetAtError> {
        // Q-47 (RSA "Transport Parameter")
        if !self.streams.declared.peer_takes_reset_at() {
            return Err(ResetAtError::UnsupportedByPeer);
        }
        if self.end.is_some() {
            return Err(ResetAtError::ClosedStream);
        }
        let Some(key) = self.streams.table.key(self.id) else {
            return Err(ResetAtError::ClosedStream);
        };
        let stream = &mut self.streams.table[key];
        let send = stream.send.as_mut().ok_or(ResetAtError::ClosedStream)?;
        let before = send.held();
        send.reset_at(code, reliable_size).map_err(|_| ResetAtError::ClosedStream)?;
        (send.end_watch, send.waiting_for_room) = (EndWatch::Nobody, false);
        stream.send_released = true;
        let reset_is_due = send.queue_reset_if_sent();
        let after = send.held();
        self.streams.send_budget.change(before, after);
        if reset_is_due {
            self.streams.cancel_turn(key);
            self.streams.unblock(self.now, key);
            self.streams.queue_control(key, ControlFrame::Reset);
        }
        Ok(())
    }

    /// Returns how the half has ended. If the result is [`SendEnd::Open`], the event
    /// [`Event::Ended`](crate::Event::Ended) will report the end of the half.
    pub fn poll_end(&mut self) -> SendEnd {
        // If the application has neither reset nor released the half, its stream is freed only
        // after the FIN was sent. So if the table no longer contains the stream, the half is
        // finished.
        let Some(key) = self.streams.table.key(self.id) else { return SendEnd::Finished };
        let Some(send) = self.streams.table[key].send.as_mut() else { return SendEnd::Finished };
        let end = match send.state() {
            SendState::Ready | SendState::DataQueued => SendEnd::Open,
            SendState::DataSent => SendEnd::Finished,
            SendState::ResetAtQueued { .. }
            | SendState::ResetQueued { .. }
            | SendState::ResetSent { .. } => {
                send.stopped_with().map_or(SendEnd::Reset, SendEnd::Stopped)
            }
        };
        // After the connection has ended, `Event::Ended` is not reported, so there is nothing to
        // wait for.
        send.end_watch = match end == SendEnd::Open && self.streams.phase != Phase::Ended {
            true => EndWatch::Waiting,
            false => EndWatch::Nobody,
        };
        if end != SendEnd::Open || self.streams.phase == Phase::Ended {
            self.streams.maybe_free(key);
        }
        end
    }

    /// Sends an empty STREAM frame, so that the peer learns of the stream before any bytes are
    /// written. Does nothing if the wire opens a stream with a grant, because the peer learns of
    /// the stream from that grant.
    pub fn announce(&mut self) {
        if self.streams.caps.opens_with_grant() || self.end.is_some() {
            return;
        }
        if let Some(key) = self.streams.table.key(self.id) {
            self.streams.queue_control(key, ControlFrame::Announce);
        }
    }

    /// Sets the priority, which is 0 at first. Streams of a higher priority send first, and streams
    /// of the same priority take turns.
    ///
    /// # Errors
    /// [`ClosedStream`] if the stream has ended.
    pub fn set_priority(&mut self, priority: i32) -> Result<(), ClosedStream> {
        let key = self.streams.table.key(self.id).ok_or(ClosedStream)?;
        let Streams { scheduler, table, .. } = &mut *self.streams;
        table[key].send.as_ref().ok_or(ClosedStream)?;
        scheduler.set_priority(table, key, priority);
        Ok(())
    }

    /// Returns the priority.
    ///
    /// # Errors
    /// [`ClosedStream`] if the stream has ended.
    pub fn priority(&self) -> Result<i32, ClosedStream> {
        let send = self.streams.table.find(self.id).and_then(|stream| stream.send.as_ref());
        Ok(send.ok_or(ClosedStream)?.scheduling.priority())
    }

    /// Returns statistics of this half.
    ///
    /// # Errors
    /// [`ClosedStream`] if the stream has ended and was freed.
    pub fn stats(&self) -> Result<SendStreamStats, ClosedStream> {
        let send = self.streams.table.find(self.id).and_then(|stream| stream.send.as_ref());
        Ok(send.ok_or(ClosedStream)?.stats(self.now))
    }

    /// Releases the half, because the application no longer uses it. If the half was neither
    /// finished nor reset, it is reset with code 0.
    pub fn release(&mut self) {
        let Some(key) = self.streams.table.key(self.id) else { return };
        let stream = &mut self.streams.table[key];
        match stream.send.as_ref().map(|send| send.state()) {
            // C-10
            Some(SendState::Ready) => {
                let _ = self.reset(VarInt::default());
            }
            // A finished half is kept until its FIN has been sent. The half is marked as released
            // already here, because no later call marks it if the peer stops the half before the
            // FIN is sent.
            _ => {
                stream.send_released = true;
                self.streams.maybe_free(key);
            }
        }
    }
}
