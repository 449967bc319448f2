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

/// How a sending half has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendEnd {
    /// It has not ended.
    Open,
    /// The socket has taken the end, and every byte before it.
    Finished,
    /// The peer stopped it with this code.
    Stopped(VarInt),
    /// This end reset it.
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
    /// How many bytes the send buffer would take now. With 0,
    /// [`Event::Writable`](crate::Event::Writable) follows when there is room.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    pub fn poll_room(&mut self) -> Result<usize, WriteError> {
        let (_, room) = self.room_for(Piece::Bytes)?;
        Ok(room)
    }

    /// Whether [`write_chunk`](Self::write_chunk) would take a chunk of `len` bytes now. If not,
    /// [`Event::Writable`](crate::Event::Writable) follows when there is room.
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

    /// The stream's key, if this half can be written to.
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
            // A stop that was received before the connection's end takes precedence.
            (_, Err(WriteError::Stopped(code)), _) => Err(WriteError::Stopped(code)),
            (_, _, Some(end)) => Err(WriteError::ConnectionLost(end.clone())),
            (Some(key), Ok(()), None) => Ok(key),
            (_, Err(error), None) => Err(error),
            (None, Ok(()), None) => Err(WriteError::ClosedStream),
        }
    }

    /// The stream's key, and how many bytes the stream's buffer and the send window have room for.
    /// If none, the stream waits for room.
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

    /// There is no room for a chunk. A stream that holds bytes is woken when they are sent, and one
    /// without credit when it gets some. Any other has to wait in the queue of the send window.
    fn wait_for_budget(&mut self, key: Key, len: usize) {
        let streams = &mut *self.streams;
        let stream = &mut streams.table[key];
        let Some(send) = stream.send.as_mut().filter(|send| send.buffered() == 0) else { return };
        if send.credit.left() == 0 {
            // Without a frame, a peer that grants nothing to streams that it does not know would
            // never learn of this one.
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

    /// Copies as many bytes as there is room for, and returns how many. With 0,
    /// [`Event::Writable`](crate::Event::Writable) follows when there is room.
    ///
    /// # Errors
    /// [`WriteError`], with nothing taken.
    pub fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        let (key, room) = self.room_for(Piece::Bytes)?;
        let taken = room.min(data.len());
        self.add(key, taken, |send| send.push_slice(&data[..taken]));
        Ok(taken)
    }

    /// Takes all of `data`, without a copy, if there is any room. So the buffer may exceed its
    /// limit by less than one chunk. If there is no room, takes nothing and returns 0, and
    /// [`Event::Writable`](crate::Event::Writable) follows when there is room.
    ///
    /// # Errors
    /// [`WriteError`], with nothing taken.
    pub fn write_chunk(&mut self, data: &mut Bytes) -> Result<usize, WriteError> {
        if !self.poll_room_for(data.len())? {
            return Ok(0);
        }
        let taken = data.len();
        self.append_chunk(std::mem::take(data))?;
        Ok(taken)
    }

    /// Takes all of `data`, without a copy, even if there is no room. This is for a caller that has
    /// waited for room before.
    ///
    /// # Errors
    /// [`WriteError`]; then `data` is dropped.
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
    /// [`WriteError`] when the half has ended already. The error says how.
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
    /// [`ClosedStream`] when the FIN has been sent already, or the stream was reset before.
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

    /// Resets the stream after its first `reliable_size` bytes, which are still sent and delivered.
    /// If fewer were written, all of them are (RESET_STREAM_AT,
    /// draft-ietf-quic-reliable-stream-reset).
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

    /// How the half has ended. With [`SendEnd::Open`], [`Event::Ended`](crate::Event::Ended)
    /// follows when it ends.
    pub fn poll_end(&mut self) -> SendEnd {
        // Unless the peer stopped it, a half is freed only after its end was sent.
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
        // No event follows the connection's end, so there is none to wait for.
        send.end_watch = match end == SendEnd::Open && self.streams.phase != Phase::Ended {
            true => EndWatch::Waiting,
            false => EndWatch::Nobody,
        };
        if end != SendEnd::Open || self.streams.phase == Phase::Ended {
            self.streams.maybe_free(key);
        }
        end
    }

    /// Sends an empty STREAM frame, so that the peer learns of the stream before anything is
    /// written. Does nothing on a wire on which opening a stream already tells the peer.
    pub fn announce(&mut self) {
        if self.streams.caps.opens_with_grant() || self.end.is_some() {
            return;
        }
        if let Some(key) = self.streams.table.key(self.id) {
            self.streams.queue_control(key, ControlFrame::Announce);
        }
    }

    /// Sets the priority, which is 0 at the start. Streams of a higher priority send first, and
    /// streams of the same priority take turns.
    ///
    /// # Errors
    /// [`ClosedStream`] when the stream has ended.
    pub fn set_priority(&mut self, priority: i32) -> Result<(), ClosedStream> {
        let key = self.streams.table.key(self.id).ok_or(ClosedStream)?;
        let Streams { scheduler, table, .. } = &mut *self.streams;
        table[key].send.as_ref().ok_or(ClosedStream)?;
        scheduler.set_priority(table, key, priority);
        Ok(())
    }

    /// The priority.
    ///
    /// # Errors
    /// [`ClosedStream`] when the stream has ended.
    pub fn priority(&self) -> Result<i32, ClosedStream> {
        let send = self.streams.table.find(self.id).and_then(|stream| stream.send.as_ref());
        Ok(send.ok_or(ClosedStream)?.scheduling.priority())
    }

    /// Statistics of this half.
    ///
    /// # Errors
    /// [`ClosedStream`] when the stream has ended and was freed.
    pub fn stats(&self) -> Result<SendStreamStats, ClosedStream> {
        let send = self.streams.table.find(self.id).and_then(|stream| stream.send.as_ref());
        Ok(send.ok_or(ClosedStream)?.stats(self.now))
    }

    /// Releases the half: the application does not use it any more. If it was neither finished nor
    /// reset, it is reset with code 0.
    pub fn release(&mut self) {
        let Some(key) = self.streams.table.key(self.id) else { return };
        let stream = &mut self.streams.table[key];
        match stream.send.as_ref().map(|send| send.state()) {
            // C-10
            Some(SendState::Ready) => {
                let _ = self.reset(VarInt::default());
            }
            // A finished half is kept until its FIN has been sent. It is marked as released now,
            // because no later call would do that if the peer stopped it before.
            _ => {
                stream.send_released = true;
                self.streams.maybe_free(key);
            }
        }
    }
}
