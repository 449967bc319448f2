//! The receiving half of a stream (RFC 9000 §3.2).

use bytes::Bytes;

use super::{buffer::Buffer, flow_control::RecvCredit};
use crate::{ReadError, RecvStreamStats, TransportError, VarInt, transport_error::violation};

/// Where a receiving half is. What is on the wire comes in order, so "Size Known" and "Data Recvd" are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecvState {
    /// More may come.
    Receiving,
    /// All has come; the buffer holds what the application has not read.
    Complete,
    /// The peer reset the stream. The buffer holds what it asked to be delivered all the same: the first
    /// `reliable_size` bytes of the stream, less those that were read.
    Reset { code: VarInt, reliable_size: u64 },
    /// This end wants no more, the peer has not ended the stream yet.
    Stopped { code: VarInt },
    /// The end is known to both the peer and the application.
    Done,
    /// This end stopped it, and the peer reset it in answer. Whatever else is said of it is not looked at, as
    /// if the whole stream were forgotten (C-55).
    GivenUp,
}

#[derive(Debug)]
pub(super) struct Recv {
    state: RecvState,
    buffer: Buffer,
    pub(super) credit: RecvCredit,
    /// The application found nothing to read and waits to be told.
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
            state: RecvState::Receiving,
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
        matches!(self.state, RecvState::Done | RecvState::GivenUp)
    }

    /// Whether the peer has not ended it.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, RecvState::Receiving | RecvState::Stopped { .. })
    }

    /// Whether more credit would be of use to the peer. Never after the end or a stop: on the js-ws wire such
    /// a grant would bring a dead stream back.
    pub(super) fn wants_credit(&self) -> bool {
        self.state == RecvState::Receiving
    }

    /// What an ended half no longer needs of its window's growth.
    pub(super) fn release_growth(&mut self) -> u64 {
        match self.state {
            RecvState::Receiving => 0,
            RecvState::Complete | RecvState::Reset { .. } => {
                self.credit.end(self.buffer.charged() as u64)
            }
            RecvState::Stopped { .. } | RecvState::Done | RecvState::GivenUp => self.credit.end(0),
        }
    }

    /// Whether the application is to be told, because it waits.
    pub(super) fn take_waiting(&mut self) -> bool {
        std::mem::take(&mut self.waiting)
    }

    fn fits_final_size(&self, end: u64) -> Result<(), TransportError> {
        if matches!(self.state, RecvState::Receiving | RecvState::Stopped { .. })
            || end <= self.credit.received()
        {
            return Ok(());
        }
        Err(violation::final_size("data after the end of a stream"))
    }

    /// Bytes from the peer, cut from a message of `message_len` bytes. Says whether a reader has news.
    #[inline]
    pub(super) fn on_data(
        &mut self,
        offset: Option<u64>,
        data: Bytes,
        fin: bool,
        message_len: usize,
    ) -> Result<Ended, TransportError> {
        if self.state == RecvState::GivenUp {
            return Ok(Ended::Before);
        }
        let offset = offset.unwrap_or(self.credit.received());
        let len = data.len() as u64;
        self.fits_final_size(offset + len)?;
        if fin && offset + len < self.credit.received() {
            return Err(violation::final_size("a final size below what was sent"));
        }
        self.credit.check(offset + len)?;
        if offset != self.credit.received() {
            return Err(violation::protocol("stream data with a gap or an overlap"));
        }
        self.credit.receive_to(offset + len);
        match self.state {
            RecvState::Receiving => {
                self.buffer.push_chunk(data, message_len);
                if fin {
                    self.state = RecvState::Complete;
                    return Ok(Ended::Now);
                }
            }
            RecvState::Stopped { .. } => {
                self.credit.consume(len);
                if fin {
                    self.state = RecvState::Done;
                    return Ok(Ended::Now);
                }
            }
            // The size is known and holds, so this is an empty frame, which says nothing new.
            _ => {}
        }
        Ok(Ended::Before)
    }

    /// The peer gives up; of what it sent, the first `reliable_size` bytes are still good.
    pub(super) fn on_reset(
        &mut self,
        code: VarInt,
        final_size: Option<u64>,
        reliable_size: u64,
    ) -> Result<Ended, TransportError> {
        if self.state == RecvState::GivenUp {
            return Ok(Ended::Before);
        }
        let received = self.credit.received();
        let final_size = final_size.unwrap_or(received);
        self.fits_final_size(final_size)?;
        if final_size < received {
            return Err(violation::final_size("a final size below what was sent"));
        }
        self.credit.check(final_size)?;
        match self.state {
            RecvState::Receiving => {
                if reliable_size > received {
                    // On an ordered transport all that is to be delivered has come before
                    // (draft-ietf-quic-qmux-02 §Stream Resets with Partial Delivery Extension).
                    return Err(violation::protocol("a reliable size past what was sent"));
                }
                self.credit.receive_to(final_size);
                self.keep(reliable_size);
                self.state = RecvState::Reset { code, reliable_size };
                Ok(Ended::Now)
            }
            RecvState::Reset { code: first, reliable_size: kept } => {
                if code != first && kept.max(reliable_size) > 0 {
                    // draft-ietf-quic-reliable-stream-reset §Multiple RESET_STREAM_AT / RESET_STREAM frames;
                    // of plain resets alone the first holds (RFC 9000 §3.2).
                    return Err(violation::stream_state("a reset with another code than before"));
                }
                if reliable_size < kept {
                    self.keep(reliable_size);
                    self.state = RecvState::Reset { code, reliable_size };
                }
                Ok(Ended::Before)
            }
            RecvState::Stopped { .. } => {
                self.credit.receive_to(final_size);
                self.state = RecvState::GivenUp;
                Ok(Ended::Now)
            }
            // All had come, and the first end holds (RFC 9000 §3.2).
            RecvState::Complete | RecvState::Done | RecvState::GivenUp => Ok(Ended::Before),
        }
    }

    /// Forgets what is unread, but for the stream's first `reliable_size` bytes.
    fn keep(&mut self, reliable_size: u64) {
        let unread = reliable_size.saturating_sub(self.credit.consumed());
        self.buffer.truncate(usize::try_from(unread).unwrap_or(usize::MAX));
    }

    /// Up to `max` bytes; `Ok(None)` at the end; `Err(None)` when there is nothing yet.
    #[inline]
    pub(super) fn read(&mut self, max: usize) -> Result<Option<Bytes>, Option<ReadError>> {
        if matches!(self.state, RecvState::Stopped { .. }) || self.is_done() {
            return Err(Some(ReadError::ClosedStream));
        }
        if max == 0 {
            return Ok(Some(Bytes::new()));
        }
        if !self.buffer.is_empty() {
            let data = self.buffer.pop(max);
            self.buffer.settle();
            self.credit.consume(data.len() as u64);
            self.was_read = match self.state == RecvState::Complete && self.buffer.is_empty() {
                true => WasRead::Whole,
                false => WasRead::Some,
            };
            return Ok(Some(data));
        }
        match self.state {
            RecvState::Complete => {
                // The end may have come behind the last byte, by itself.
                self.was_read = match self.was_read {
                    WasRead::Nothing => WasRead::Some,
                    WasRead::Some | WasRead::Whole => WasRead::Whole,
                };
                self.state = RecvState::Done;
                Ok(None)
            }
            RecvState::Reset { code, .. } => {
                self.state = RecvState::Done;
                Err(Some(ReadError::Reset(code)))
            }
            _ => {
                self.waiting = true;
                Err(None)
            }
        }
    }

    /// The code of a reset that has come, without taking notice of it.
    pub(super) fn peek_reset(&mut self) -> Option<VarInt> {
        match self.state {
            RecvState::Reset { code, .. } => Some(code),
            _ => {
                self.waiting = true;
                None
            }
        }
    }

    /// The application wants no more. Says whether the peer has to be told.
    pub(super) fn stop(&mut self, code: VarInt) -> bool {
        let unread = self.buffer.len() as u64;
        self.buffer.clear();
        self.credit.consume(unread);
        match self.state {
            RecvState::Receiving => {
                self.state = RecvState::Stopped { code };
                true
            }
            RecvState::Stopped { .. } | RecvState::GivenUp => false,
            _ => {
                self.state = RecvState::Done;
                false
            }
        }
    }
}
