//! The sending half of a stream (RFC 9000 §3.1).

use bytes::Bytes;

use super::{
    buffer::Buffer, flow_control::SendCredit, flush::Mark, held::Held, scheduler::Scheduling,
};
use crate::{ClosedStream, SendStreamStats, Time, VarInt, WriteError, stats::LazyStopwatch};

/// The states of a sending half: the states of RFC 9000 §3.1, and three states that wsmux adds.
///
/// ```text
///         open
///           |
///           v
///     +------------+        reset_at        +---------------+
///     |   Ready    |------------+---------->| ResetAtQueued |
///     +------------+            |           +---------------+
///           |                   |                   |
///           | finish            |                   | the last reliable byte is sent
///           v                   |                   v
///     +------------+            |           +---------------+   reset, or STOP_SENDING received:
///     | DataQueued |------------+           |  ResetQueued  |<- from Ready, DataQueued and
///     +------------+                        +---------------+   ResetAtQueued
///           |                                       |
///           | STREAM with FIN is sent               | RESET_STREAM is sent
///           v                                       v
///     +------------+                        +---------------+
///     |  DataSent  |                        |   ResetSent   |
///     +------------+                        +---------------+
/// ```
///
/// Data counts as acknowledged when the socket has taken it (draft-ietf-quic-qmux-02 §QUIC Frames).
/// So `DataSent` is also the RFC's state "Data Recvd", and `ResetSent` is also the RFC's state
/// "Reset Recvd". `Ready` stands for the RFC's states "Ready" and "Send", because it makes no
/// difference here whether a byte was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendState {
    /// The application may write.
    Ready,
    /// Added by wsmux: the application has finished the stream, but the FIN has not been sent.
    DataQueued,
    /// The FIN has been sent.
    DataSent,
    /// Added by wsmux: when the bytes in the buffer have been sent, a reset is sent. The bytes end
    /// at `reliable_size` (draft-ietf-quic-reliable-stream-reset).
    ResetAtQueued { code: VarInt, reliable_size: u64 },
    /// Added by wsmux: the reset is sent with the next message. A reset that waits to be sent is a
    /// state rather than a queued frame, so resets need no memory of their own (C-32).
    ResetQueued { code: VarInt, by: ResetBy, reliable_size: u64 },
    /// The reset has been sent.
    ResetSent { code: VarInt, by: ResetBy },
}

/// Which end asked for the reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResetBy {
    /// The application at this end has reset the stream.
    Application,
    /// The peer has asked for the reset by STOP_SENDING.
    Peer,
}

/// Whether a caller waits for the end of the half.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndWatch {
    #[default]
    Nobody,
    Waiting,
    /// [`Event::Ended`](crate::Event::Ended) was queued. The half is kept until the caller has
    /// asked how the half ended.
    Notified,
}

impl EndWatch {
    /// Records that the half has ended. Returns whether an event has to be queued, because a caller
    /// waits for the end.
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
    /// Whether the application has found no room and waits for
    /// [`Event::Writable`](crate::Event::Writable).
    pub(super) waiting_for_room: bool,
    /// Whether the stream is in the queue of the send window.
    pub(super) queued_for_room: bool,
    /// Whether the application waits for [`Event::Ended`](crate::Event::Ended).
    pub(super) end_watch: EndWatch,
    /// The flush that must be complete before the end of the stream is sent. This is used only on a
    /// wire that requires a flush after the last data of a stream.
    pub(super) data_flush: Mark,
    /// Whether an empty STREAM frame has announced the stream to the peer.
    pub(super) announced: bool,
    pub(super) scheduling: Scheduling,
    /// Measures how long the stream has data to send but no stream credit.
    pub(super) blocked: LazyStopwatch,
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
            data_flush: Mark::default(),
            announced: false,
            scheduling: Scheduling::default(),
            blocked: LazyStopwatch::default(),
        }
    }

    pub(super) fn state(&self) -> SendState {
        self.state
    }

    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Returns how many bytes of this half count against the send window.
    pub(super) fn held(&self) -> Held {
        let bytes = self.buffer.len();
        let credit = usize::try_from(self.credit.left()).unwrap_or(usize::MAX);
        Held { bytes, uncovered: bytes.saturating_sub(credit) }
    }

    pub(super) fn stats(&self, now: Time) -> SendStreamStats {
        SendStreamStats {
            sent: self.credit.used(),
            buffered: self.buffer.len() as u64,
            credit: self.credit.left(),
            blocked: self.blocked.total(now),
        }
    }

    /// Whether the application may write: whether [`check_writable`](Self::check_writable) is `Ok`.
    pub(super) fn is_writable(&self) -> bool {
        // C-21 (RFC 9000 §3.3)
        matches!(self.state, SendState::Ready)
    }

    /// Whether the FIN or the reset has been sent. If so, nothing is left to be sent.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, SendState::DataSent | SendState::ResetSent { .. })
    }

    /// Whether neither the FIN nor a reset has been sent.
    pub(super) fn is_in_flight(&self) -> bool {
        !self.is_done()
    }

    /// Whether something useful was sent: bytes, or the FIN.
    pub(super) fn was_of_use(&self) -> bool {
        self.credit.used() > 0 || self.state == SendState::DataSent
    }

    /// Whether no frame of this half has been sent.
    pub(super) fn is_unseen(&self) -> bool {
        !self.announced && self.credit.used() == 0 && !self.is_done()
    }

    /// If a STOP_SENDING of the peer has ended the half, returns its code.
    pub(super) fn stopped_with(&self) -> Option<VarInt> {
        match self.state {
            SendState::ResetQueued { code, by: ResetBy::Peer, .. }
            | SendState::ResetSent { code, by: ResetBy::Peer } => Some(code),
            _ => None,
        }
    }

    /// Checks that the application may write.
    pub(super) fn check_writable(&self) -> Result<(), WriteError> {
        match (self.state, self.stopped_with()) {
            (SendState::Ready, _) => Ok(()),
            (_, Some(code)) => Err(WriteError::Stopped(code)),
            (_, None) => Err(WriteError::ClosedStream),
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

    /// Whether the FIN has to be sent and no bytes are left to be sent before the FIN.
    pub(super) fn only_fin_left(&self) -> bool {
        self.state == SendState::DataQueued && self.buffer.is_empty()
    }

    pub(super) fn finish(&mut self) -> Result<(), WriteError> {
        self.check_writable()?;
        self.state = SendState::DataQueued;
        Ok(())
    }

    /// Records that the FIN has been sent.
    pub(super) fn fin_sent(&mut self) {
        debug_assert_eq!(self.state, SendState::DataQueued);
        self.state = SendState::DataSent;
    }

    /// Drops the bytes that have not been sent.
    pub(super) fn forget_unsent(&mut self) {
        self.buffer.clear();
    }

    /// Resets the half, and drops the bytes that have not been sent.
    pub(super) fn reset(&mut self, code: VarInt, by: ResetBy) -> Result<(), ClosedStream> {
        match self.state {
            SendState::Ready | SendState::DataQueued | SendState::ResetAtQueued { .. } => {
                self.buffer.clear();
                self.state = SendState::ResetQueued { code, by, reliable_size: 0 };
                Ok(())
            }
            _ => Err(ClosedStream),
        }
    }

    /// Resets the half after its first `reliable_size` bytes. If fewer bytes were written, the
    /// reset is sent after all written bytes.
    pub(super) fn reset_at(
        &mut self,
        code: VarInt,
        reliable_size: u64,
    ) -> Result<(), ClosedStream> {
        if !matches!(self.state, SendState::Ready | SendState::DataQueued) {
            return Err(ClosedStream);
        }
        let sent = self.credit.used();
        let keep = reliable_size.saturating_sub(sent);
        self.buffer.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        let reliable_size = reliable_size.min(sent + self.buffer.len() as u64);
        self.state = SendState::ResetAtQueued { code, reliable_size };
        self.queue_reset_if_sent();
        Ok(())
    }

    /// Queues a reset that waits for reliable bytes, once all reliable bytes have been sent.
    /// Returns whether a reset is queued.
    pub(super) fn queue_reset_if_sent(&mut self) -> bool {
        // Q-47 (QMux "Stream Resets with Partial Delivery Extension")
        if let SendState::ResetAtQueued { code, reliable_size } = self.state
            && self.buffer.is_empty()
        {
            let by = ResetBy::Application;
            self.state = SendState::ResetQueued { code, by, reliable_size };
        }
        matches!(self.state, SendState::ResetQueued { .. })
    }

    /// Returns the code and the reliable size of a queued reset. The caller must then send the
    /// reset, because it counts as sent.
    pub(super) fn take_reset(&mut self) -> Option<(VarInt, u64)> {
        let SendState::ResetQueued { code, by, reliable_size } = self.state else { return None };
        self.state = SendState::ResetSent { code, by };
        Some((code, reliable_size))
    }
}
