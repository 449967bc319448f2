//! What the application does with a stream, through short borrows of the connection.

use std::time::Duration;

use bytes::{BufMut, Bytes};

use super::{
    Streams,
    held::{Held, Piece},
    send::{EndWatch, ResetBy},
};
use crate::{
    ClosedStream, ConnectionError, Dir, OpenError, ReadError, RecvStreamStats, ResetAtError,
    SendStreamStats, StreamId, VarInt, WriteError,
};

impl Streams {
    /// Opens a stream; `Ok(None)` at the peer's limit, which STREAMS_BLOCKED then reports, or at this end's own.
    pub(crate) fn open(&mut self, dir: Dir) -> Result<Option<StreamId>, OpenError> {
        if self.openable(dir)? == 0 {
            return Ok(None);
        }
        let side = self.side;
        let count = self.counts.get_mut(side, dir);
        let id = StreamId::new(side, dir, count.opened);
        count.opened += 1;
        self.insert(id);
        Ok(Some(id))
    }

    /// How many more streams the peer, and this end's own limit, let this end open.
    pub(crate) fn openable(&mut self, dir: Dir) -> Result<u64, OpenError> {
        if dir == Dir::Uni && !self.caps.unidirectional {
            return Err(OpenError::Unsupported);
        }
        if self.draining {
            return Err(OpenError::ShuttingDown);
        }
        let (side, max_local) = (self.side, self.max_local);
        let count = self.counts.get_mut(side, dir);
        let local_left = max_local.saturating_sub(count.live);
        count.capped |= local_left == 0;
        Ok(local_left.min(count.limit - count.opened))
    }

    /// Own streams have ended, after this end's own limit had kept others from being opened.
    pub(crate) fn has_available(&self) -> bool {
        self.available != [false; 2]
    }

    /// The next kind for which that is so, once.
    pub(crate) fn take_available(&mut self) -> Option<Dir> {
        if !self.has_available() {
            return None;
        }
        let dir = Dir::ALL.into_iter().find(|&dir| self.available[dir as usize])?;
        self.available[dir as usize] = false;
        Some(dir)
    }

    /// An application waits at the limit: the peer is told, once for each limit (RFC 9000 §4.6).
    pub(crate) fn report_streams_blocked(&mut self, dir: Dir) -> bool {
        let side = self.side;
        let count = self.counts.get_mut(side, dir);
        let (limit, news) = (count.limit, count.reported != Some(count.limit));
        // If the peer allows more, the caller waits at this end's own limit, which the peer cannot raise (C-77).
        if !self.caps.blocked_frames || !news || count.opened < limit {
            return false;
        }
        count.reported = Some(limit);
        self.streams_blocked[dir as usize] = Some(limit);
        true
    }

    /// The oldest stream of the peer's that the application has not taken.
    pub(crate) fn accept(&mut self, dir: Dir) -> Option<StreamId> {
        self.unaccepted[dir as usize].pop_front()
    }

    pub(crate) fn acceptable(&self, dir: Dir) -> u64 {
        self.unaccepted[dir as usize].len() as u64
    }

    pub(crate) fn send_stream<'a>(
        &'a mut self,
        id: StreamId,
        end: Option<&'a ConnectionError>,
    ) -> SendStream<'a> {
        SendStream { streams: self, id, end }
    }

    pub(crate) fn recv_stream<'a>(
        &'a mut self,
        id: StreamId,
        end: Option<&'a ConnectionError>,
    ) -> RecvStream<'a> {
        RecvStream { streams: self, id, end }
    }
}

/// What became of a sending half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendEnd {
    /// Not yet at its end.
    Open,
    /// The end, and every byte before it, has been handed to the socket.
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
    id: StreamId,
    end: Option<&'a ConnectionError>,
}

impl SendStream<'_> {
    /// How many bytes the send buffer takes now. With 0,
    /// [`Event::Writable`](crate::Event::Writable) follows once there is room.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    pub fn room(&mut self) -> Result<usize, WriteError> {
        let (_, room) = self.room_for(Piece::Bytes)?;
        Ok(room)
    }

    /// Whether [`write_chunk`](Self::write_chunk) would take a chunk of `len` bytes now. If not,
    /// [`Event::Writable`](crate::Event::Writable) follows once there is room.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    pub fn takes_chunk(&mut self, len: usize) -> Result<bool, WriteError> {
        let (key, room) = self.room_for(Piece::Whole(len))?;
        if room == 0 {
            self.wait_for_budget(key, len);
        }
        Ok(room > 0)
    }

    /// The half's key, if it can be written to.
    #[inline]
    fn writable(&mut self) -> Result<usize, WriteError> {
        let key = self.streams.keys.get(self.id);
        let send = key.and_then(|key| self.streams.slab[key].send.as_ref());
        match (key, send, self.end) {
            (Some(key), Some(send), None) if send.is_writable() => Ok(key),
            _ => self.why_not_writable(key),
        }
    }

    #[cold]
    fn why_not_writable(&self, key: Option<usize>) -> Result<usize, WriteError> {
        let send = key.and_then(|key| self.streams.slab[key].send.as_ref());
        let writable = send.map_or(Err(WriteError::ClosedStream), super::Send::check_writable);
        match (key, writable, self.end) {
            // A stop that arrived before the connection's end takes precedence.
            (_, Err(WriteError::Stopped(code)), _) => Err(WriteError::Stopped(code)),
            (_, _, Some(end)) => Err(WriteError::ConnectionLost(end.clone())),
            (Some(key), Ok(()), None) => Ok(key),
            (_, Err(error), None) => Err(error),
            (None, Ok(()), None) => Err(WriteError::ClosedStream),
        }
    }

    /// How many of these bytes fit, by the stream's own buffer and by the connection's budget.
    fn room_for(&mut self, piece: Piece) -> Result<(usize, usize), WriteError> {
        let key = self.writable()?;
        let Streams { slab, send_budget, .. } = &mut *self.streams;
        let send = slab[key].send.as_mut().ok_or(WriteError::ClosedStream)?;
        let held = send.held();
        let limit = send_budget.limit(held, send.credit.left(), piece);
        let room = limit.saturating_sub(held.bytes);
        send.waiting_for_room = room == 0;
        Ok((key, room))
    }

    /// There is no room for a chunk. A stream that holds bytes looks again when they leave, and one without
    /// credit when it gets some: the others have to be let in as there is room.
    fn wait_for_budget(&mut self, key: usize, len: usize) {
        let streams = &mut *self.streams;
        let stream = &mut streams.slab[key];
        let Some(send) = stream.send.as_mut().filter(|send| send.buffered() == 0) else { return };
        if send.credit.left() == 0 {
            // A peer that grants nothing before it has seen the stream would never see it.
            let unseen = send.is_unseen() && self.id.initiator() == streams.side;
            if unseen && !streams.caps.opens_with_credit {
                streams.queue_control(key, |pending| pending.announce = true);
            }
        } else if !std::mem::replace(&mut send.queued_for_room, true)
            && streams.send_budget.wait(self.id, len, streams.slab.len())
        {
            let Streams { keys, send_budget, .. } = streams;
            send_budget.forget_waiting(|id| keys.get(id).is_some());
        }
    }

    /// Takes a copy of as many bytes as there is room for; 0 when there is none.
    ///
    /// # Errors
    /// [`WriteError`], with nothing taken.
    pub fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        let (key, room) = self.room_for(Piece::Bytes)?;
        let taken = room.min(data.len());
        self.add(key, taken, |send| send.push_slice(&data[..taken]));
        Ok(taken)
    }

    /// Takes all of `data`, without a copy, if there is any room; else nothing, and returns 0, and
    /// [`Event::Writable`](crate::Event::Writable) follows once there is. The buffer may so hold more than
    /// its limit, by less than one chunk.
    ///
    /// # Errors
    /// [`WriteError`], with nothing taken.
    pub fn write_chunk(&mut self, data: &mut Bytes) -> Result<usize, WriteError> {
        if !self.takes_chunk(data.len())? {
            return Ok(0);
        }
        let taken = data.len();
        self.append_chunk(std::mem::take(data))?;
        Ok(taken)
    }

    /// Takes all of `data`, without a copy, whether there is room or not: for a caller that has waited for
    /// some before.
    ///
    /// # Errors
    /// [`WriteError`], and `data` is dropped.
    pub fn append_chunk(&mut self, data: Bytes) -> Result<(), WriteError> {
        let key = self.writable()?;
        self.add(key, data.len(), |send| send.push_chunk(data));
        Ok(())
    }

    fn add(&mut self, key: usize, len: usize, push: impl FnOnce(&mut super::Send)) {
        if len == 0 {
            return;
        }
        let Some(send) = self.streams.slab[key].send.as_mut() else { return };
        let before = send.held().uncovered;
        push(send);
        let uncovered = send.held().uncovered - before;
        self.streams.send_budget.taken(len, uncovered);
        self.streams.schedule(key);
    }

    /// Nothing follows what was written.
    ///
    /// # Errors
    /// [`WriteError`] when the stream had ended already, and how.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        let key = self.writable()?;
        let send = self.streams.slab[key].send.as_mut().ok_or(WriteError::ClosedStream)?;
        send.finish()?;
        self.streams.schedule(key);
        Ok(())
    }

    /// Gives the stream up: what has not been sent is dropped, and the peer is told the code.
    ///
    /// # Errors
    /// [`ClosedStream`] when the end has left already, or the stream was given up before.
    pub fn reset(&mut self, code: VarInt) -> Result<(), ClosedStream> {
        let Some(key) = self.streams.keys.get(self.id) else { return Err(ClosedStream) };
        let stream = &mut self.streams.slab[key];
        let Some(send) = &mut stream.send else { return Err(ClosedStream) };
        let before = send.held();
        send.reset(code, ResetBy::Application)?;
        (send.end_watch, send.waiting_for_room) = (EndWatch::Nobody, false);
        stream.ticket = None;
        stream.send_released = true;
        self.streams.send_budget.change(before, Held::default());
        self.streams.unblock(key);
        if !self.streams.ended {
            self.streams.queue_control(key, |pending| pending.reset = true);
        }
        self.streams.maybe_free(key);
        Ok(())
    }

    /// Gives the stream up behind its first `reliable_size` bytes, which are still sent and delivered, or behind
    /// all that were written if they are fewer (RESET_STREAM_AT, draft-ietf-quic-reliable-stream-reset).
    ///
    /// # Errors
    /// [`ResetAtError`].
    pub fn reset_at(&mut self, code: VarInt, reliable_size: u64) -> Result<(), ResetAtError> {
        if !self.streams.peer.reset_stream_at {
            return Err(ResetAtError::UnsupportedByPeer);
        }
        if self.end.is_some() {
            return Err(ResetAtError::ClosedStream);
        }
        let Some(key) = self.streams.keys.get(self.id) else {
            return Err(ResetAtError::ClosedStream);
        };
        let stream = &mut self.streams.slab[key];
        let send = stream.send.as_mut().ok_or(ResetAtError::ClosedStream)?;
        let before = send.held();
        send.reset_at(code, reliable_size).map_err(|_| ResetAtError::ClosedStream)?;
        (send.end_watch, send.waiting_for_room) = (EndWatch::Nobody, false);
        stream.send_released = true;
        let reset_is_due = send.queue_reset_if_sent();
        let after = send.held();
        self.streams.send_budget.change(before, after);
        if reset_is_due {
            stream.ticket = None;
            self.streams.unblock(key);
            self.streams.queue_control(key, |pending| pending.reset = true);
        }
        Ok(())
    }

    /// What became of the half. With [`SendEnd::Open`],
    /// [`Event::Ended`](crate::Event::Ended) follows once it is something else.
    pub fn poll_end(&mut self) -> SendEnd {
        use super::send::SendState;
        // A half that nobody stopped is forgotten only after its end has left.
        let Some(key) = self.streams.keys.get(self.id) else { return SendEnd::Finished };
        let Some(send) = self.streams.slab[key].send.as_mut() else { return SendEnd::Finished };
        let end = match send.state() {
            SendState::Ready | SendState::DataQueued => SendEnd::Open,
            SendState::DataSent => SendEnd::Finished,
            SendState::ResetAtQueued { .. }
            | SendState::ResetQueued { .. }
            | SendState::ResetSent { .. } => {
                send.stopped_with().map_or(SendEnd::Reset, SendEnd::Stopped)
            }
        };
        // Nothing follows the connection's end: whoever asks now has heard of it.
        send.end_watch = match end == SendEnd::Open && !self.streams.ended {
            true => EndWatch::Waiting,
            false => EndWatch::Nobody,
        };
        if end != SendEnd::Open || self.streams.ended {
            self.streams.maybe_free(key);
        }
        end
    }

    /// Shows the stream to the peer although nothing has been written: an empty STREAM frame. Where the wire
    /// shows a stream when it is opened, nothing.
    pub fn announce(&mut self) {
        if self.streams.caps.opens_with_credit || self.end.is_some() {
            return;
        }
        if let Some(key) = self.streams.keys.get(self.id) {
            self.streams.queue_control(key, |pending| pending.announce = true);
        }
    }

    /// Streams of a higher priority send first; equal ones take turns. At the start 0.
    ///
    /// # Errors
    /// [`ClosedStream`] when the stream has ended.
    pub fn set_priority(&mut self, priority: i32) -> Result<(), ClosedStream> {
        let key = self.streams.keys.get(self.id).ok_or(ClosedStream)?;
        let stream = &mut self.streams.slab[key];
        let send = stream.send.as_mut().ok_or(ClosedStream)?;
        if send.priority != priority {
            send.priority = priority;
            if stream.ticket.take().is_some() {
                self.streams.schedule(key);
            }
        }
        Ok(())
    }

    /// The priority.
    ///
    /// # Errors
    /// [`ClosedStream`] when the stream has ended.
    pub fn priority(&mut self) -> Result<i32, ClosedStream> {
        let send = self.streams.get(self.id).and_then(|stream| stream.send.as_ref());
        Ok(send.ok_or(ClosedStream)?.priority)
    }

    /// What the half has done.
    ///
    /// # Errors
    /// [`ClosedStream`] when the stream has ended and is forgotten.
    pub fn stats(&mut self, now: Duration) -> Result<SendStreamStats, ClosedStream> {
        let send = self.streams.get(self.id).and_then(|stream| stream.send.as_ref());
        Ok(send.ok_or(ClosedStream)?.stats(now))
    }

    /// The application lets go of the half. A finished one ends by itself; any other that has not ended is
    /// reset with code 0, and never finished.
    pub fn release(&mut self) {
        use super::send::SendState;
        let Some(key) = self.streams.keys.get(self.id) else { return };
        let stream = &mut self.streams.slab[key];
        match stream.send.as_ref().map(|send| send.state()) {
            Some(SendState::Ready) => {
                let _ = self.reset(VarInt::default());
            }
            // A finished one stays until its end has left; but if the peer stops it first, nobody else comes
            // to let go of it.
            _ => {
                stream.send_released = true;
                self.streams.maybe_free(key);
            }
        }
    }
}

/// What a read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read<T> {
    /// Data, or how much of it was copied.
    Data(T),
    /// The end of the stream: all has been read.
    Finished,
    /// Nothing has come that was not read;
    /// [`Event::Readable`](crate::Event::Readable) follows when there is something.
    Blocked,
}

impl<T> Read<T> {
    /// The data, if there is any.
    pub fn data(self) -> Option<T> {
        match self {
            Self::Data(data) => Some(data),
            Self::Finished | Self::Blocked => None,
        }
    }
}

/// A stream's receiving half, borrowed from its [`Connection`](crate::Connection).
#[derive(Debug)]
pub struct RecvStream<'a> {
    streams: &'a mut Streams,
    id: StreamId,
    end: Option<&'a ConnectionError>,
}

impl RecvStream<'_> {
    /// Up to `max` bytes in one piece, as they came.
    ///
    /// # Errors
    /// [`ReadError`]. What came before the connection's end is read first.
    pub fn read(&mut self, max: usize) -> Result<Read<Bytes>, ReadError> {
        let Some(key) = self.streams.keys.get(self.id) else {
            return Err(ReadError::ClosedStream);
        };
        let stream = &mut self.streams.slab[key];
        let Some(recv) = &mut stream.recv else { return Err(ReadError::ClosedStream) };
        let result = recv.read(max);
        let auto_tune = &self.streams.auto_tune;
        // A peer may forget a grant that precedes the first STREAM frame (SPEC.md Q-34).
        let is_seen = self.id.initiator() != self.streams.side
            || recv.credit.received() > 0
            || self.streams.caps.opens_with_credit
            || stream.send.as_ref().is_none_or(|send| !send.is_unseen());
        let due = recv.wants_credit()
            && is_seen
            && (recv.credit.grant_is_due()
                || auto_tune.growth_due(&recv.credit, self.streams.now).is_some());
        if recv.is_done() {
            stream.recv_released = true;
            self.streams.maybe_free(key);
        } else if due && !self.streams.ended {
            self.streams.queue_control(key, |pending| pending.credit = true);
        }
        match (result, self.end) {
            (Ok(Read::Blocked), Some(end)) => Err(ReadError::ConnectionLost(end.clone())),
            (result, _) => result,
        }
    }

    /// Copies into `out` as much as it holds or has come, and says how much that was.
    ///
    /// # Errors
    /// Those of [`read`](Self::read), and only when nothing was copied.
    pub fn read_into(&mut self, out: &mut impl BufMut) -> Result<Read<usize>, ReadError> {
        let mut filled = 0;
        loop {
            match self.read(out.remaining_mut())? {
                Read::Data(data) => {
                    filled += data.len();
                    out.put(data);
                }
                // Only the first round can find either: the others come after a look.
                Read::Finished => return Ok(Read::Finished),
                Read::Blocked => return Ok(Read::Blocked),
            }
            if !out.has_remaining_mut() || !self.has_data() {
                return Ok(Read::Data(filled));
            }
        }
    }

    fn has_data(&mut self) -> bool {
        let recv = self.streams.get(self.id).and_then(|stream| stream.recv.as_ref());
        recv.is_some_and(|recv| recv.buffered() > 0)
    }

    /// The application wants no more: what has come is dropped, and the peer is told the code.
    ///
    /// # Errors
    /// [`ClosedStream`] when the stream has ended, or was stopped before.
    pub fn stop(&mut self, code: VarInt) -> Result<(), ClosedStream> {
        let Some(key) = self.streams.keys.get(self.id) else { return Err(ClosedStream) };
        let stream = &mut self.streams.slab[key];
        let recv = stream.recv.as_mut().ok_or(ClosedStream)?;
        if stream.recv_released {
            return Err(ClosedStream);
        }
        stream.recv_released = true;
        if recv.stop(code) && !self.streams.ended {
            // A stream that the peer has not seen is shown to it first: there are peers that forget a
            // STOP_SENDING for a stream that they do not know yet.
            let announce =
                !self.streams.caps.opens_with_credit && self.id.initiator() == self.streams.side;
            self.streams.queue_control(key, |pending| {
                pending.stop = true;
                pending.announce |= announce;
            });
        }
        self.streams.maybe_free(key);
        Ok(())
    }

    /// The code with which the peer reset the stream; `Ok(None)` when it has not, and then
    /// [`Event::Readable`](crate::Event::Readable) follows.
    ///
    /// # Errors
    /// [`ReadError::ClosedStream`] when the stream has ended otherwise,
    /// [`ReadError::ConnectionLost`] when the connection has.
    pub fn received_reset(&mut self) -> Result<Option<VarInt>, ReadError> {
        use super::recv::RecvState;
        let end = self.end;
        let Some(recv) = self.streams.get(self.id).and_then(|stream| stream.recv.as_mut()) else {
            return Err(ReadError::ClosedStream);
        };
        match (recv.peek_reset(), recv.state(), end) {
            (Some(code), ..) => Ok(Some(code)),
            (None, RecvState::Recv, None) => Ok(None),
            (None, RecvState::Recv, Some(end)) => Err(ReadError::ConnectionLost(end.clone())),
            _ => Err(ReadError::ClosedStream),
        }
    }

    /// What the half has done.
    ///
    /// # Errors
    /// [`ClosedStream`] when the stream has ended and is forgotten.
    pub fn stats(&mut self) -> Result<RecvStreamStats, ClosedStream> {
        let recv = self.streams.get(self.id).and_then(|stream| stream.recv.as_ref());
        Ok(recv.ok_or(ClosedStream)?.stats())
    }

    /// The application lets go of the half: unless it has ended, it is stopped with code 0.
    pub fn release(&mut self) {
        let _ = self.stop(VarInt::default());
    }
}
