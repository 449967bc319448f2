//! What the socket takes: which frames and which of WebSocket's own go next.

use bytes::Bytes;

use super::{
    Connection, close_frames,
    state::{Closing, State},
};
use crate::{Frame, MessageBuf, Time, VarInt};

/// What the socket is to send.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transmit {
    /// A binary message: the contents of the buffer.
    Message,
    /// All that was sent so far has to leave the process before anything else is sent, and not in
    /// one piece with it. The buffer is empty.
    Flush,
    /// A WebSocket ping with this payload.
    Ping([u8; 8]),
    /// The WebSocket's Close. It is the last that is sent.
    Close {
        /// The close code (RFC 6455 §7.4).
        code: u16,
        /// The reason, at most 123 bytes.
        reason: String,
    },
}

/// A QX_PING frame's type and number.
const MAX_PING: usize = 8 + 8;

/// A DATAGRAM frame's type and length, at most, in a message of at most 64 KiB.
pub(super) const DATAGRAM_OVERHEAD: usize = 1 + 4;

/// An empty datagram, with its type and its length.
pub(super) const MIN_DATAGRAM_FRAME: u64 = 2;

impl Connection {
    /// What to send next, if anything: for a [`Transmit::Message`] the bytes are in `out`. To be
    /// called when the socket can take a message, and not before: which stream's bytes go next is
    /// decided here.
    pub fn poll_transmit(&mut self, now: Time, out: &mut MessageBuf) -> Option<Transmit> {
        self.now = now;
        self.blocked_by_socket.stop(now);
        self.write_stall.on_taken();
        self.timers.on_socket_takes(now);
        out.clear();
        if !self.parameters_sent && !matches!(self.state, State::Closed) {
            // They come first, whatever happens.
            self.parameters_sent = true;
            self.wire.encode_parameters(&self.config.parameters(), self.version, out);
            // Never again is the path as empty as now.
            if self.is_open() && self.streams.windows_may_grow() {
                self.timers.ping.request();
                self.write_ping(out);
            }
            return Some(self.message_leaves(out));
        }
        match &mut self.state {
            // Q-17 (QMux "QX_TRANSPORT_PARAMETERS Frames")
            State::Handshake | State::Closed | State::Closing(Closing::AwaitPeer) => None,
            State::Established => self.transmit_established(out),
            State::Closing(Closing::Frame(frames)) => {
                let (code, reason) = (frames.code, std::mem::take(&mut frames.reason));
                // J-35, Q-60 (QMux "Initiating a Connection Close")
                let frame = frames.frame.take().filter(|_| self.caps.close_frame);
                self.state = State::Closing(Closing::WebSocket { code, reason });
                match frame {
                    Some(frame) => {
                        self.wire.encode(&Frame::ConnectionClose(frame), out);
                        Some(self.message_leaves(out))
                    }
                    None => self.poll_transmit(now, out),
                }
            }
            State::Closing(Closing::WebSocket { code, reason }) => {
                let code = match self.socket.all_close_codes {
                    true => *code,
                    false => close_frames::code_of_page(*code),
                };
                let reason = std::mem::take(reason);
                // C-50 (QMux "Initiating a Connection Close"; RFC 6455 §7.1.1)
                self.state = State::Closing(Closing::AwaitPeer);
                Some(Transmit::Close { code, reason })
            }
        }
    }

    /// Whether there is nothing to send, and nothing to find out on the way to see that: every
    /// other look or so of a driver finds that.
    fn is_quiet(&self) -> bool {
        !self.timers.ping.due
            && self.timers.ping.answer.is_none()
            && !self.datagrams.has_something_to_send()
            && self.streams.are_quiet()
    }

    fn transmit_established(&mut self, out: &mut MessageBuf) -> Option<Transmit> {
        if self.is_quiet() {
            return None;
        }
        if !self.caps.ping_frames
            && let Some(number) = self.next_ping()
        {
            return Some(Transmit::Ping(number.into_inner().to_be_bytes()));
        }
        if let Err(error) = self.streams.admit(self.now, &mut self.events) {
            self.fail(error.into());
            return self.poll_transmit(self.now, out);
        }
        if let Some(number) = self.timers.ping.answer.take() {
            self.wire.encode(&Frame::Pong(number), out);
        }
        self.write_ping(out);
        // C-34
        self.streams.write_control(self.now, out, self.max_message, &mut self.events);
        if self.streams.take_sample_wanted() {
            self.timers.ping.request();
            self.write_ping(out);
        }
        self.write_datagrams(out);
        self.streams.write_data(self.now, out, self.max_message, &mut self.events);
        //
        if !out.is_empty() {
            return Some(self.message_leaves(out));
        }
        if self.streams.take_flush() {
            return Some(Transmit::Flush);
        }
        if self.streams.can_admit() {
            // A stream was freed above without a frame of its own, and one that waits can take its
            // place.
            return self.transmit_established(out);
        }
        if self.is_drained() {
            // C-49: what the socket still holds leaves before the close wait begins.
            if !std::mem::replace(&mut self.drain_flushed, true) {
                return Some(Transmit::Flush);
            }
            self.close(self.now, VarInt::default(), Bytes::new());
            return self.poll_transmit(self.now, out);
        }
        None
    }

    /// The number of a ping that is due, which leaves now.
    fn next_ping(&mut self) -> Option<VarInt> {
        let number = self.timers.ping.send(self.now)?;
        self.streams.on_ping_sent(self.timers.silence(self.now));
        Some(number)
    }

    fn write_ping(&mut self, out: &mut MessageBuf) {
        if self.caps.ping_frames
            && out.len() + MAX_PING <= self.max_message
            && let Some(number) = self.next_ping()
        {
            self.wire.encode(&Frame::Ping(number), out);
        }
    }

    fn write_datagrams(&mut self, out: &mut MessageBuf) {
        while self.datagrams.has_something_to_send() {
            let room = self.max_message.saturating_sub(out.len() + DATAGRAM_OVERHEAD);
            let Some(datagram) = self.datagrams.next(room, &mut self.events) else { return };
            self.wire.encode(&Frame::Datagram(datagram), out);
        }
    }

    fn message_leaves(&mut self, out: &MessageBuf) -> Transmit {
        self.timers.on_sent(self.now);
        self.drain_flushed = false;
        self.stats.messages_sent += 1;
        self.stats.bytes_sent += out.len() as u64;
        self.stats.frames_sent += out.frames();
        Transmit::Message
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) would return something.
    pub fn wants_transmit(&self) -> bool {
        match &self.state {
            State::Handshake => !self.parameters_sent,
            State::Established => {
                !self.parameters_sent
                    || self.timers.ping.due
                    || self.timers.ping.answer.is_some()
                    || self.datagrams.has_something_to_send()
                    || self.streams.has_something_to_send()
                    || self.is_drained()
            }
            State::Closing(Closing::AwaitPeer) | State::Closed => false,
            State::Closing(_) => true,
        }
    }

    /// The socket takes nothing, so that [`poll_transmit`](Self::poll_transmit) is not called until
    /// it does: for the statistics, for the [write-stall
    /// timeout](crate::Config::write_stall_timeout), and because a socket that takes something
    /// after it was full shows that the path still carries bytes. To be called before
    /// [`poll_timeout`](Self::poll_timeout) is asked.
    pub fn handle_socket_full(&mut self, now: Time) {
        self.timers.on_socket_full();
        if self.wants_transmit() {
            self.blocked_by_socket.start(now);
            self.write_stall.on_full(now);
        }
    }

    /// Whether [`handle_socket_full`](Self::handle_socket_full) is to be called, if the socket
    /// takes nothing: there has come to be something to send since it was called last.
    pub fn wants_socket_full(&self) -> bool {
        self.write_stall.stands() && self.is_open() && self.wants_transmit()
    }
}
