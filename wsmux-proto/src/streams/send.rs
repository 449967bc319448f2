//! The sending half of a stream (RFC 9000 §3.1).

use std::time::Duration;

use bytes::Bytes;

use super::{buffer::Buffer, flow_control::SendCredit, held::Held};
use crate::{ClosedStream, SendStreamStats, VarInt, WriteError, stats::Stopwatch};

/// Where a sending half is. What the socket has taken counts as acknowledged
/// (draft-ietf-quic-qmux-02 §QUIC Frames), so "Data Recvd" and "Reset Recvd" need no waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendState {
    /// The application may write.
    Ready,
    /// The application has finished; the end has not left.
    Finishing,
    /// The end has left.
    Finished,
    /// Given up by the application behind the bytes that are still in the buffer; `reliable_size` is where
    /// they end.
    ResettingAt { code: VarInt, reliable_size: u64 },
    /// Given up, and the peer is told so with its next message or has been.
    Reset { code: VarInt, by: ResetBy, reliable_size: u64, sent: bool },
}

/// Who gave the stream up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResetBy {
    /// The application here.
    Application,
    /// The peer, by STOP_SENDING; the application here has yet to learn it when it lets go.
    Peer,
}

/// Whether somebody waits for the end of the half.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndWatch {
    #[default]
    Nobody,
    Waiting,
    /// The event is out. The half stays until somebody has looked at how it ended.
    Notified,
}

impl EndWatch {
    /// The half has ended. Says whether a caller waits for that.
    pub(super) fn notify(&mut self) -> bool {
        let waits = *self == Self::Waiting;
        if waits {
            *self = Self::Notified;
        }
        waits
    }
}

#[derive(Debug)]
pub(super) struct Send {
    state: SendState,
    buffer: Buffer,
    pub(super) credit: SendCredit,
    /// The application found no room and waits to be told.
    pub(super) waiting_for_room: bool,
    /// The stream stands in the queue of the send budget.
    pub(super) queued_for_room: bool,
    /// The application waits to be told of the end.
    pub(super) end_watch: EndWatch,
    /// If the end must follow a flush: one more than the number asked for when data last left. 0 before that.
    pub(super) data_flush: u64,
    /// An empty STREAM frame has shown the stream to the peer.
    pub(super) announced: bool,
    pub(super) priority: i32,
    /// Data and no credit.
    pub(super) blocked: Stopwatch,
}

impl Send {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            state: SendState::Ready,
            buffer: Buffer::default(),
            credit: SendCredit::new(limit),
            waiting_for_room: false,
            queued_for_room: false,
            end_watch: EndWatch::Nobody,
            data_flush: 0,
            announced: false,
            priority: 0,
            blocked: Stopwatch::default(),
        }
    }

    pub(super) fn state(&self) -> SendState {
        self.state
    }

    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// What the connection's budget counts.
    pub(super) fn held(&self) -> Held {
        let bytes = self.buffer.len();
        let credit = usize::try_from(self.credit.left()).unwrap_or(usize::MAX);
        Held { bytes, uncovered: bytes.saturating_sub(credit) }
    }

    pub(super) fn stats(&self, now: Duration) -> SendStreamStats {
        SendStreamStats {
            sent: self.credit.used(),
            buffered: self.buffer.len() as u64,
            credit: self.credit.left(),
            blocked: self.blocked.total(now),
        }
    }

    /// Whether [`check_writable`](Self::check_writable) says so.
    pub(super) fn is_writable(&self) -> bool {
        matches!(self.state, SendState::Ready)
    }

    /// Whether nothing remains to be sent.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, SendState::Finished | SendState::Reset { sent: true, .. })
    }

    /// Whether there was more data to send, or a frame to the peer about it.
    pub(super) fn is_in_flight(&self) -> bool {
        !self.is_done()
    }

    /// Whether the peer got something by it: bytes, or an end that says that there are none.
    pub(super) fn was_of_use(&self) -> bool {
        self.credit.used() > 0 || self.state == SendState::Finished
    }

    /// Whether the peer has been told nothing of the half.
    pub(super) fn is_unseen(&self) -> bool {
        !self.announced && self.credit.used() == 0 && !self.is_done()
    }

    /// Whether the application may still write.
    pub(super) fn check_writable(&self) -> Result<(), WriteError> {
        match self.state {
            SendState::Ready => Ok(()),
            SendState::Reset { code, by: ResetBy::Peer, .. } => Err(WriteError::Stopped(code)),
            _ => Err(WriteError::ClosedStream),
        }
    }

    pub(super) fn push_slice(&mut self, data: &[u8]) {
        self.buffer.push_slice(data);
    }

    pub(super) fn push_chunk(&mut self, data: Bytes) {
        let message_len = data.len();
        self.buffer.push_chunk(data, message_len);
    }

    pub(super) fn pop(&mut self, max: usize) -> Bytes {
        self.buffer.pop(max)
    }

    /// Whether the end is due and nothing comes before it.
    pub(super) fn only_fin_left(&self) -> bool {
        self.state == SendState::Finishing && self.buffer.is_empty()
    }

    pub(super) fn finish(&mut self) -> Result<(), WriteError> {
        match self.state {
            SendState::Ready => {
                self.state = SendState::Finishing;
                Ok(())
            }
            SendState::Reset { code, by: ResetBy::Peer, .. } => Err(WriteError::Stopped(code)),
            _ => Err(WriteError::ClosedStream),
        }
    }

    /// The end has left.
    pub(super) fn fin_sent(&mut self) {
        debug_assert_eq!(self.state, SendState::Finishing);
        self.state = SendState::Finished;
    }

    /// What has not been sent will not be.
    pub(super) fn forget_unsent(&mut self) {
        self.buffer.clear();
    }

    /// Gives the stream up.
    pub(super) fn reset(&mut self, code: VarInt, by: ResetBy) -> Result<(), ClosedStream> {
        match self.state {
            SendState::Ready | SendState::Finishing | SendState::ResettingAt { .. } => {
                self.buffer.clear();
                self.state = SendState::Reset { code, by, reliable_size: 0, sent: false };
                Ok(())
            }
            _ => Err(ClosedStream),
        }
    }

    /// Gives the stream up behind its first `reliable_size` bytes, or behind all that were written if they are
    /// fewer.
    pub(super) fn reset_at(
        &mut self,
        code: VarInt,
        reliable_size: u64,
    ) -> Result<(), ClosedStream> {
        if !matches!(self.state, SendState::Ready | SendState::Finishing) {
            return Err(ClosedStream);
        }
        let sent = self.credit.used();
        let keep = reliable_size.saturating_sub(sent);
        self.buffer.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        let reliable_size = reliable_size.min(sent + self.buffer.len() as u64);
        self.state = SendState::ResettingAt { code, reliable_size };
        self.reset_if_sent();
        Ok(())
    }

    /// Whether all that was to be sent before a reset has been sent now, so that the peer is to be told.
    pub(super) fn reset_if_sent(&mut self) -> bool {
        if let SendState::ResettingAt { code, reliable_size } = self.state
            && self.buffer.is_empty()
        {
            let by = ResetBy::Application;
            self.state = SendState::Reset { code, by, reliable_size, sent: false };
        }
        matches!(self.state, SendState::Reset { sent: false, .. })
    }

    /// The code and the reliable size of a reset that the peer has not been told; from now on it has.
    pub(super) fn take_reset(&mut self) -> Option<(VarInt, u64)> {
        match &mut self.state {
            SendState::Reset { code, reliable_size, sent, .. } if !*sent => {
                *sent = true;
                Some((*code, *reliable_size))
            }
            _ => None,
        }
    }
}
