//! The receiving half of a stream (RFC 9000 §3.2).

use bytes::Bytes;

use super::{Read, buffer::Buffer, flow_control::RecvCredit};
use crate::{ReadError, RecvStreamStats, TransportError, VarInt, transport_error::violation};

/// Where a receiving half is: the states of RFC 9000 §3.2, and two of ours.
///
/// ```text
///     open, or the peer's first frame
///           |
///           v
///     +-----------+   RESET_STREAM    +------------+
///     |   Recv    |------------------>| ResetRecvd |
///     +-----------+                   +------------+
///      |    |                               |
///      |    | STREAM with FIN               | the code is read, or the half is stopped
///      |    v                               v
///      |  +-----------+               +------------+
///      |  | DataRecvd |               | ResetRead  |
///      |  +-----------+               +------------+
///      |    |
///      |    | all is read, or the half is stopped
///      |    v
///      |  +-----------+  STREAM with FIN
///      |  | DataRead  |<----------+
///      |  +-----------+           |
///      |                          |
///      | stop               +-----------+   RESET_STREAM    +--------------+
///      +------------------->|  Stopped  |------------------>| StopAnswered |
///                           +-----------+                   +--------------+
/// ```
///
/// Bytes come in order, so all of them have come when the FIN has: the RFC's "Size Known" and "Data
/// Recvd" are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecvState {
    /// More may come.
    Recv,
    /// All has come; the buffer holds what the application has not read.
    DataRecvd,
    /// The application has read all, or wants no more of what had all come.
    DataRead,
    /// The peer reset the stream. The buffer holds what has to be delivered all the same: the first
    /// `reliable_size` bytes of the stream, less those that were read.
    ResetRecvd { code: VarInt, reliable_size: u64 },
    /// The application knows of the reset, or wants no more.
    ResetRead,
    /// Ours: this end wants no more, and the peer has not ended the stream yet. In the RFC a stop
    /// is no state, because there STOP_SENDING changes nothing for the receiver. Here what comes is
    /// dropped, and no credit is granted.
    Stopped { code: VarInt },
    /// Ours: this end stopped the stream, and the peer reset it in answer. Further frames for it
    /// are ignored without a check, as if the whole stream were forgotten (C-55).
    StopAnswered,
}

#[derive(Debug)]
pub(super) struct Recv {
    state: RecvState,
    buffer: Buffer,
    pub(super) credit: RecvCredit,
    /// The application found nothing to read and waits for
    /// [`Event::Readable`](crate::Event::Readable).
    waiting: bool,
    was_read: WasRead,
}

/// How much of what the peer sent the application has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum WasRead {
    #[default]
    Nothing,
    /// Some bytes, or the end of a stream without any.
    Some,
    /// At least one byte, and all of them, up to the end.
    Whole,
}

/// What became of an end that the peer announced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It is news.
    Now,
    /// The half had ended before.
    Before,
}

impl Recv {
    pub(super) fn new(credit: RecvCredit) -> Self {
        Self {
            state: RecvState::Recv,
            buffer: Buffer::default(),
            credit,
            waiting: false,
            was_read: WasRead::Nothing,
        }
    }

    pub(super) fn state(&self) -> RecvState {
        self.state
    }

    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn stats(&self) -> RecvStreamStats {
        RecvStreamStats {
            received: self.credit.received(),
            buffered: self.buffer.len() as u64,
            credit: self.credit.left(),
            window: self.credit.window(),
        }
    }

    pub(super) fn was_read(&self) -> WasRead {
        self.was_read
    }

    /// Whether nothing remains to happen.
    pub(super) fn is_done(&self) -> bool {
        // C-17 (RFC 9000 §3.5, §4.5)
        matches!(self.state, RecvState::DataRead | RecvState::ResetRead | RecvState::StopAnswered)
    }

    /// Whether the peer has not ended it.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, RecvState::Recv | RecvState::Stopped { .. })
    }

    /// Whether more credit would be of use to the peer. Never after the end or a stop: on the js-ws
    /// wire such a grant would bring a dead stream back (C-20, RFC 9000 §3.3).
    pub(super) fn wants_credit(&self) -> bool {
        self.state == RecvState::Recv
    }

    /// What an ended half no longer needs of its window's growth.
    pub(super) fn release_growth(&mut self) -> u64 {
        match self.state {
            RecvState::Recv => 0,
            RecvState::DataRecvd | RecvState::ResetRecvd { .. } => {
                self.credit.end(self.buffer.charged() as u64)
            }
            RecvState::Stopped { .. }
            | RecvState::DataRead
            | RecvState::ResetRead
            | RecvState::StopAnswered => self.credit.end(0),
        }
    }

    /// Whether the application waits for news; from now on it does not.
    pub(super) fn take_waiting(&mut self) -> bool {
        std::mem::take(&mut self.waiting)
    }

    fn fits_final_size(&self, end: u64) -> Result<(), TransportError> {
        if matches!(self.state, RecvState::Recv | RecvState::Stopped { .. })
            || end <= self.credit.received()
        {
            return Ok(());
        }
        // J-24, Q-31 (RFC 9000 §4.5)
        Err(violation::final_size("data after the end of a stream"))
    }

    /// Bytes from the peer, cut from a message of `message_len` bytes. Says whether a reader has
    /// news.
    #[inline]
    pub(super) fn on_data(
        &mut self,
        offset: Option<u64>,
        data: Bytes,
        fin: bool,
        message_len: usize,
    ) -> Result<Ended, TransportError> {
        if self.state == RecvState::StopAnswered {
            return Ok(Ended::Before);
        }
        let offset = offset.unwrap_or(self.credit.received());
        let len = data.len() as u64;
        // Q-32: in this order
        self.fits_final_size(offset + len)?;
        if fin && offset + len < self.credit.received() {
            return Err(violation::final_size("a final size below what was sent"));
        }
        self.credit.check(offset + len)?;
        // Q-27 (QMux "Ordering of STREAM Frames"), Q-28 (RFC 9000 §19.8)
        if offset != self.credit.received() {
            return Err(violation::protocol("stream data with a gap or an overlap"));
        }
        self.credit.receive_to(offset + len);
        match self.state {
            RecvState::Recv => {
                self.buffer.push_chunk(data, message_len);
                if fin {
                    self.state = RecvState::DataRecvd;
                    return Ok(Ended::Now);
                }
            }
            RecvState::Stopped { .. } => {
                // C-16 (RFC 9000 §3.5), J-23
                self.credit.consume(len);
                if fin {
                    self.state = RecvState::DataRead;
                    return Ok(Ended::Now);
                }
            }
            // The size is known and holds, so this empty frame says nothing new (Q-33).
            _ => {}
        }
        Ok(Ended::Before)
    }

    /// The peer resets the stream; the first `reliable_size` bytes are still to be delivered.
    pub(super) fn on_reset(
        &mut self,
        code: VarInt,
        final_size: Option<u64>,
        reliable_size: u64,
    ) -> Result<Ended, TransportError> {
        if self.state == RecvState::StopAnswered {
            return Ok(Ended::Before);
        }
        let received = self.credit.received();
        let final_size = final_size.unwrap_or(received);
        self.fits_final_size(final_size)?;
        if final_size < received {
            return Err(violation::final_size("a final size below what was sent"));
        }
        // Q-41 (RFC 9000 §4.5; RSA "RESET_STREAM_AT Frame")
        self.credit.check(final_size)?;
        match self.state {
            RecvState::Recv => {
                if reliable_size > received {
                    // On an ordered transport all that is to be delivered has come before (Q-44,
                    // draft-ietf-quic-qmux-02 §Stream Resets with Partial Delivery Extension).
                    return Err(violation::protocol("a reliable size past what was sent"));
                }
                self.credit.receive_to(final_size);
                // C-14 (RFC 9000 §3.2), Q-43 (RSA "Resetting Streams")
                self.keep(reliable_size);
                self.state = RecvState::ResetRecvd { code, reliable_size };
                Ok(Ended::Now)
            }
            RecvState::ResetRecvd { code: first, reliable_size: kept } => {
                if code != first && kept.max(reliable_size) > 0 {
                    // Q-46: draft-ietf-quic-reliable-stream-reset §Multiple RESET_STREAM_AT /
                    // RESET_STREAM frames; of plain resets alone the first holds (RFC 9000 §3.2).
                    return Err(violation::stream_state("a reset with another code than before"));
                }
                // Q-45 (RSA "Multiple RESET_STREAM_AT / RESET_STREAM frames")
                if reliable_size < kept {
                    self.keep(reliable_size);
                    self.state = RecvState::ResetRecvd { code, reliable_size };
                }
                Ok(Ended::Before)
            }
            RecvState::Stopped { .. } => {
                self.credit.receive_to(final_size);
                self.state = RecvState::StopAnswered;
                Ok(Ended::Now)
            }
            // All had come, and the first end holds (C-15, RFC 9000 §3.2, §4.5).
            RecvState::DataRecvd
            | RecvState::DataRead
            | RecvState::ResetRead
            | RecvState::StopAnswered => Ok(Ended::Before),
        }
    }

    /// Forgets what is unread, but for the stream's first `reliable_size` bytes.
    fn keep(&mut self, reliable_size: u64) {
        let unread = reliable_size.saturating_sub(self.credit.consumed());
        self.buffer.truncate(usize::try_from(unread).unwrap_or(usize::MAX));
    }

    /// Up to `max` bytes.
    #[inline]
    pub(super) fn read(&mut self, max: usize) -> Result<Read<Bytes>, ReadError> {
        if matches!(self.state, RecvState::Stopped { .. }) || self.is_done() {
            return Err(ReadError::ClosedStream);
        }
        if max == 0 {
            return Ok(Read::Data(Bytes::new()));
        }
        // C-13 (RFC 9000 §2.2)
        if !self.buffer.is_empty() {
            let data = self.buffer.pop(max);
            self.buffer.settle();
            self.credit.consume(data.len() as u64);
            self.was_read = match self.state == RecvState::DataRecvd && self.buffer.is_empty() {
                true => WasRead::Whole,
                false => WasRead::Some,
            };
            return Ok(Read::Data(data));
        }
        match self.state {
            RecvState::DataRecvd => {
                // The FIN may have come after the last byte, by itself.
                self.was_read = match self.was_read {
                    WasRead::Nothing => WasRead::Some,
                    WasRead::Some | WasRead::Whole => WasRead::Whole,
                };
                self.state = RecvState::DataRead;
                Ok(Read::Finished)
            }
            RecvState::ResetRecvd { code, .. } => {
                self.state = RecvState::ResetRead;
                Err(ReadError::Reset(code))
            }
            _ => {
                self.waiting = true;
                Ok(Read::Blocked)
            }
        }
    }

    /// The code of a reset that has come and was not read. It stays unread.
    pub(super) fn poll_reset(&mut self) -> Option<VarInt> {
        match self.state {
            RecvState::ResetRecvd { code, .. } => Some(code),
            _ => {
                self.waiting = true;
                None
            }
        }
    }

    /// The application wants no more. Says whether a STOP_SENDING is to be sent.
    pub(super) fn stop(&mut self, code: VarInt) -> bool {
        let unread = self.buffer.len() as u64;
        self.buffer.clear();
        self.credit.consume(unread);
        match self.state {
            RecvState::Recv => {
                self.state = RecvState::Stopped { code };
                true
            }
            RecvState::DataRecvd => {
                self.state = RecvState::DataRead;
                false
            }
            RecvState::ResetRecvd { .. } => {
                self.state = RecvState::ResetRead;
                false
            }
            RecvState::Stopped { .. }
            | RecvState::DataRead
            | RecvState::ResetRead
            | RecvState::StopAnswered => false,
        }
    }
}
