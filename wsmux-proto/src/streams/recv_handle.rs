//! A stream's receiving half, as the application sees it.

use bytes::{BufMut, Bytes};

use super::{Phase, Streams, control_queue::ControlFrame, recv::RecvState};
use crate::{ClosedStream, ConnectionError, ReadError, RecvStreamStats, StreamId, Time, VarInt};

impl Streams {
    pub(crate) fn recv_stream<'a>(
        &'a mut self,
        now: Time,
        id: StreamId,
        end: Option<&'a ConnectionError>,
    ) -> RecvStream<'a> {
        RecvStream { streams: self, now, id, end }
    }
}

/// What a read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read<T> {
    /// The data that was read, or the number of bytes that were copied.
    Data(T),
    /// The stream has ended, and everything has been read.
    Finished,
    /// Everything that was received so far has been read.
    /// [`Event::Readable`](crate::Event::Readable) reports when there is more.
    Blocked,
}

impl<T> Read<T> {
    /// Returns the data, if there is any.
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
    now: Time,
    id: StreamId,
    end: Option<&'a ConnectionError>,
}

impl RecvStream<'_> {
    /// Reads up to `max` bytes, in one piece and without copying them.
    ///
    /// # Errors
    /// [`ReadError`]. If the connection has ended, bytes that were received before its end are
    /// returned before the error.
    pub fn read(&mut self, max: usize) -> Result<Read<Bytes>, ReadError> {
        let Some(key) = self.streams.table.key(self.id) else {
            return Err(ReadError::ClosedStream);
        };
        let stream = &mut self.streams.table[key];
        let Some(recv) = &mut stream.recv else { return Err(ReadError::ClosedStream) };
        let result = recv.read(max);
        let auto_tune = &self.streams.auto_tune;
        // A peer may ignore a grant that arrives before the first STREAM frame (SPEC.md Q-34). So
        // on a stream that this end opened, a grant has to wait until the peer has seen a STREAM
        // frame.
        let is_seen = self.id.initiator() != self.streams.side
            || recv.credit.received() > 0
            || self.streams.caps.opens_with_grant()
            || stream.send.as_ref().is_none_or(|send| !send.is_unseen());
        let due = recv.wants_credit()
            && is_seen
            && (recv.credit.grant_is_due()
                || auto_tune.growth_due(&recv.credit, self.now).is_some());
        if recv.is_done() {
            stream.recv_released = true;
            self.streams.maybe_free(key);
        } else if due && self.streams.phase != Phase::Ended {
            self.streams.queue_control(key, ControlFrame::Credit);
        }
        match (result, self.end) {
            // C-18, C-19
            (Ok(Read::Blocked), Some(end)) => Err(ReadError::ConnectionLost(end.clone())),
            (result, _) => result,
        }
    }

    /// Copies as many received bytes into `out` as there is room for. Returns how many bytes were
    /// copied.
    ///
    /// # Errors
    /// The errors of [`read`](Self::read). If there is an error, nothing was copied.
    pub fn read_into(&mut self, out: &mut impl BufMut) -> Result<Read<usize>, ReadError> {
        let mut filled = 0;
        loop {
            match self.read(out.remaining_mut())? {
                Read::Data(data) => {
                    filled += data.len();
                    out.put(data);
                }
                // Only the first iteration can have this result, because the next iteration begins
                // only if there is data.
                Read::Finished => return Ok(Read::Finished),
                Read::Blocked => return Ok(Read::Blocked),
            }
            if !out.has_remaining_mut() || !self.has_data() {
                return Ok(Read::Data(filled));
            }
        }
    }

    fn has_data(&self) -> bool {
        let recv = self.streams.table.find(self.id).and_then(|stream| stream.recv.as_ref());
        recv.is_some_and(|recv| recv.buffered() > 0)
    }

    /// Stops reading: drops received bytes that were not read, and sends STOP_SENDING with this
    /// code (RFC 9000 §3.5).
    ///
    /// # Errors
    /// [`ClosedStream`] if the end of the stream has been read, or the stream was stopped before.
    pub fn stop(&mut self, code: VarInt) -> Result<(), ClosedStream> {
        let Some(key) = self.streams.table.key(self.id) else { return Err(ClosedStream) };
        let stream = &mut self.streams.table[key];
        let recv = stream.recv.as_mut().ok_or(ClosedStream)?;
        if stream.recv_released {
            return Err(ClosedStream);
        }
        stream.recv_released = true;
        if recv.stop(code) && self.streams.phase != Phase::Ended {
            // Some peers ignore a STOP_SENDING for a stream that they do not know yet, so an empty
            // STREAM frame is sent before the STOP_SENDING.
            let announce =
                !self.streams.caps.opens_with_grant() && self.id.initiator() == self.streams.side;
            if announce {
                self.streams.queue_control(key, ControlFrame::Announce);
            }
            self.streams.queue_control(key, ControlFrame::Stop);
        }
        self.streams.maybe_free(key);
        Ok(())
    }

    /// Returns the code with which the peer reset the stream. `Ok(None)` means that the peer has
    /// not reset it so far. In that case [`Event::Readable`](crate::Event::Readable) reports when
    /// the peer resets the stream.
    ///
    /// # Errors
    /// [`ReadError::ClosedStream`] if the stream has ended without a reset, if it was stopped, or
    /// if its reset has been read. [`ReadError::ConnectionLost`] if the connection has ended.
    pub fn poll_reset(&mut self) -> Result<Option<VarInt>, ReadError> {
        let end = self.end;
        let Some(recv) =
            self.streams.table.find_mut(self.id).and_then(|stream| stream.recv.as_mut())
        else {
            return Err(ReadError::ClosedStream);
        };
        match (recv.poll_reset(), recv.state(), end) {
            (Some(code), ..) => Ok(Some(code)),
            (None, RecvState::Recv, None) => Ok(None),
            (None, RecvState::Recv, Some(end)) => Err(ReadError::ConnectionLost(end.clone())),
            _ => Err(ReadError::ClosedStream),
        }
    }

    /// Returns statistics of this half.
    ///
    /// # Errors
    /// [`ClosedStream`] if the stream has ended and was freed.
    pub fn stats(&self) -> Result<RecvStreamStats, ClosedStream> {
        let recv = self.streams.table.find(self.id).and_then(|stream| stream.recv.as_ref());
        Ok(recv.ok_or(ClosedStream)?.stats())
    }

    /// Releases the half, because the application no longer uses it. A half that has not ended is
    /// stopped with code 0.
    pub fn release(&mut self) {
        // C-11 (RFC 9000 §3.5)
        let _ = self.stop(VarInt::default());
    }
}
