//! The receiving half of a stream (RFC 9000 §3.2).

use bytes::Bytes;

use super::{Read, buffer::Buffer, flow_control::RecvCredit};
use crate::{ReadError, RecvStreamStats, TransportError, VarInt, transport_error::violation};

/// The states of a receiving half: the states of RFC 9000 §3.2, and two states that wsmux adds.
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
/// Bytes are received in order, so when the FIN is received, all bytes have been received.
/// Therefore the RFC's "Size Known" and "Data Recvd" are one state here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecvState {
    /// The peer may send more.
    Recv,
    /// Everything was received. The buffer contains the bytes that the application has not read.
    DataRecvd,
    /// The application has read everything, or has stopped the half after the FIN.
    DataRead,
    /// The peer reset the stream. The buffer contains the bytes that are delivered in spite of the
    /// reset: the first `reliable_size` bytes of the stream, except those that were already read.
    ResetRecvd { code: VarInt, reliable_size: u64 },
    /// The application has read the code of the reset, or has stopped the half after the reset.
    ResetRead,
    /// Added by wsmux: this end has stopped the half, and the peer has not ended it. Received bytes
    /// are dropped, and no credit is granted. The RFC does not need this state, because in the RFC
    /// STOP_SENDING does not change the receiver's state.
    Stopped { code: VarInt },
    /// Added by wsmux: this end has stopped the half, and the peer has answered with a reset.
    /// Further frames for the half are ignored without a check, like frames for a freed stream
    /// (C-55).
    StopAnswered,
}

#[derive(Debug)]
pub(super) struct Recv {
    state: RecvState,
    buffer: Buffer,
    pub(super) credit: RecvCredit,
    /// Whether the application has found nothing to read and waits for
    /// [`Event::Readable`](crate::Event::Readable).
    waiting: bool,
    was_read: WasRead,
}

/// How much of the peer's data the application has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum WasRead {
    #[default]
    Nothing,
    /// The application has read some bytes, or the end of a stream that has no bytes.
    Some,
    /// The application has read at least one byte, and all bytes up to the end.
    Whole,
}

/// Whether a frame has ended the half.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The frame has ended the half.
    Now,
    /// The frame has not ended the half. The half is still open, or had ended before the frame
    /// arrived.
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

    /// Whether the half has reached its last state.
    pub(super) fn is_done(&self) -> bool {
        // C-17 (RFC 9000 §3.5, §4.5)
        matches!(self.state, RecvState::DataRead | RecvState::ResetRead | RecvState::StopAnswered)
    }

    /// Whether the half is open: the peer has neither finished nor reset it.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, RecvState::Recv | RecvState::Stopped { .. })
    }

    /// Whether the peer can use more credit. The peer can use no credit after the half has ended or
    /// was stopped. On the js-ws wire, a grant at that time could even open a new stream (C-20, RFC
    /// 9000 §3.3).
    pub(super) fn wants_credit(&self) -> bool {
        self.state == RecvState::Recv
    }

    /// If the half has ended, releases the part of its window's growth that is no longer needed.
    /// Returns how many bytes were released.
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

    /// Ends the application's wait for something to read. Returns whether the application was
    /// waiting.
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

    /// Handles received bytes. They are a slice of a message that has `message_len` bytes.
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
        // Q-32 prescribes the order of the following checks.
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
            // The final size is known and the frame agrees with it, so the frame changes nothing
            // (Q-33).
            _ => {}
        }
        Ok(Ended::Before)
    }

    /// Handles a reset by the peer. The first `reliable_size` bytes of the stream are still
    /// delivered.
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
                    // The transport is ordered, so the bytes that have to be delivered must arrive
                    // before the reset (Q-44, draft-ietf-quic-qmux-02 §Stream Resets with Partial
                    // Delivery Extension).
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
                    // RESET_STREAM frames. If no reset is a RESET_STREAM_AT, the first reset counts
                    // (RFC 9000 §3.2).
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
            // The half had already ended, so the first end counts (C-15, RFC 9000 §3.2, §4.5).
            RecvState::DataRecvd
            | RecvState::DataRead
            | RecvState::ResetRead
            | RecvState::StopAnswered => Ok(Ended::Before),
        }
    }

    /// Drops unread bytes, except the bytes that are among the first `reliable_size` bytes of the
    /// stream.
    fn keep(&mut self, reliable_size: u64) {
        let unread = reliable_size.saturating_sub(self.credit.consumed());
        self.buffer.truncate(usize::try_from(unread).unwrap_or(usize::MAX));
    }

    /// Reads up to `max` bytes.
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
                // If the FIN arrived after the application had read the last byte, everything
                // counts as read only now.
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

    /// Returns the code of the received reset. If no reset was received, records that the
    /// application waits for a reset.
    pub(super) fn poll_reset(&mut self) -> Option<VarInt> {
        match self.state {
            RecvState::ResetRecvd { code, .. } => Some(code),
            _ => {
                self.waiting = true;
                None
            }
        }
    }

    /// Stops the half for the application. Returns whether a STOP_SENDING has to be sent.
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
