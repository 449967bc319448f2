//! What a connection sends: which frames, pings and Closes, and in which order.

use bytes::Bytes;

use super::{
    Connection, close_frames,
    state::{Closing, State},
};
use crate::{Frame, MessageBuf, Outgoing, Time, VarInt};

/// The longest QX_PING frame, in bytes: its type and its number.
const MAX_PING: usize = 8 + 8;

/// The longest type and length of a DATAGRAM frame, in bytes, in a message of at most 64 KiB.
pub(super) const DATAGRAM_OVERHEAD: usize = 1 + 4;

/// The size of the DATAGRAM frame of an empty datagram, in bytes: its type and its length.
pub(super) const MIN_DATAGRAM_FRAME: u64 = 2;

impl Connection {
    /// Returns what to send next; `None` if there is nothing to send. The call empties `out`,
    /// writes the next message to it, and returns an [`Outgoing::Message`] that borrows it.
    ///
    /// Call this only when the socket can take an item, because the call chooses the stream that
    /// sends next.
    pub fn poll_transmit<'a>(
        &mut self,
        now: Time,
        out: &'a mut MessageBuf,
    ) -> Option<Outgoing<'a>> {
        self.on_socket_room(now);
        out.clear();
        if !self.parameters_sent && !self.is_closed() {
            // The transport parameters are the first frame, even if the connection has ended (Q-13,
            //
            self.parameters_sent = true;
            let private = self.private_parameters.take();
            self.wire.encode_parameters(&self.config.parameters(), self.version, &private, out);
            // Now is the best time to measure the round-trip time, because nothing else is on the
            // path.
            if self.is_open() && self.streams.windows_may_grow() {
                self.timers.ping.request();
                self.write_ping(now, out);
            }
            return Some(self.finish_message(now, out));
        }
        match &mut self.state {
            // Q-17 (QMux "QX_TRANSPORT_PARAMETERS Frames")
            State::Handshake => None,
            State::Established { .. } => self.transmit_established(now, out),
            State::Ended(end) => {
                // J-35, Q-60 (QMux "Initiating a Connection Close")
                if let Some(frame) = end.take_frame().filter(|_| self.caps.close.is_frame()) {
                    self.wire.encode(&Frame::ConnectionClose(frame), out);
                    return Some(self.finish_message(now, out));
                }
                let Closing::WebSocket { code, reason } = &mut end.step else { return None };
                let code = match self.socket.all_close_codes {
                    true => *code,
                    false => close_frames::code_of_page(*code),
                };
                let reason = std::mem::take(reason);
                // C-50 (QMux "Initiating a Connection Close"; RFC 6455 §7.1.1)
                end.step = Closing::AwaitPeer;
                Some(Outgoing::Close { code, reason })
            }
        }
    }

    /// Returns `true` only if there is nothing to send. A driver often calls `poll_transmit` in
    /// this state, and this check costs less than an attempt to write each kind of frame.
    fn is_quiet(&self) -> bool {
        !self.timers.ping.due
            && self.timers.ping.answer.is_none()
            && !self.datagrams.has_something_to_send()
            && !self.going_away.is_due(&self.streams)
            && self.streams.are_quiet()
    }

    fn transmit_established<'a>(
        &mut self,
        now: Time,
        out: &'a mut MessageBuf,
    ) -> Option<Outgoing<'a>> {
        if self.is_quiet() {
            return None;
        }
        if !self.caps.pings().is_frame()
            && let Some(number) = self.next_ping(now)
        {
            return Some(Outgoing::Ping(number.into_inner().to_be_bytes()));
        }
        if let Err(error) = self.streams.admit(now, &mut self.events) {
            self.fail(now, error.into());
            return self.poll_transmit(now, out);
        }
        if let Some(number) = self.timers.ping.answer.take() {
            self.wire.encode(&Frame::Pong(number), out);
        }
        self.write_ping(now, out);
        // C-34
        let max = self.max_packet();
        self.streams.write_control(now, out, max, &mut self.events);
        self.write_going_away(now, out, max);
        if self.streams.take_sample_wanted() {
            self.timers.ping.request();
            self.write_ping(now, out);
        }
        self.write_datagrams(out);
        self.streams.write_data(now, out, max, &mut self.events);
        //
        if !out.is_empty() {
            return Some(self.finish_message(now, out));
        }
        if self.streams.take_flush() {
            return Some(Outgoing::Flush);
        }
        if self.streams.can_admit() {
            // The calls above have freed a stream without sending a frame, so a waiting stream can
            // be opened now.
            return self.transmit_established(now, out);
        }
        if self.is_drained() {
            // C-49: the socket is flushed before the close timeout begins.
            if let State::Established { drain: Some(drain) } = &mut self.state
                && !std::mem::replace(&mut drain.flushed, true)
            {
                return Some(Outgoing::Flush);
            }
            self.close(now, VarInt::default(), Bytes::new());
            return self.poll_transmit(now, out);
        }
        None
    }

    /// Returns the number of the ping to send now, if one is due.
    fn next_ping(&mut self, now: Time) -> Option<VarInt> {
        let number = self.timers.ping.send(now)?;
        self.streams.on_ping_sent(self.timers.silence(now));
        Some(number)
    }

    fn write_ping(&mut self, now: Time, out: &mut MessageBuf) {
        if self.caps.pings().is_frame()
            && out.len() + MAX_PING <= self.max_packet()
            && let Some(number) = self.next_ping(now)
        {
            self.wire.encode(&Frame::Ping(number), out);
        }
    }

    /// Returns the size of the largest message of stream data and control frames.
    fn max_packet(&self) -> usize {
        let socket = self.socket.max_message.min(self.send_quantum);
        self.max_message.min(socket.saturating_sub(self.reserved))
    }

    fn write_datagrams(&mut self, out: &mut MessageBuf) {
        while self.datagrams.has_something_to_send() {
            // A datagram that is too long for a packet is sent in a message of its own.
            let most = if out.is_empty() { self.max_message } else { self.max_packet() };
            let room = most.saturating_sub(out.len() + DATAGRAM_OVERHEAD);
            let Some(datagram) = self.datagrams.next(room, &mut self.events) else { return };
            self.wire.encode(&Frame::Datagram(datagram), out);
        }
    }

    /// Counts the message in `out` as sent, because the caller sends it immediately.
    fn finish_message<'a>(&mut self, now: Time, out: &'a MessageBuf) -> Outgoing<'a> {
        self.timers.on_sent(now);
        if let State::Established { drain: Some(drain) } = &mut self.state {
            drain.flushed = false;
        }
        self.counters.messages_sent += 1;
        self.counters.bytes_sent += out.len() as u64;
        self.counters.frames_sent += out.frames();
        Outgoing::Message(out)
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) would return something.
    pub fn wants_transmit(&self) -> bool {
        match &self.state {
            State::Handshake => !self.parameters_sent,
            State::Established { .. } => {
                !self.parameters_sent
                    || self.timers.ping.due
                    || self.timers.ping.answer.is_some()
                    || self.datagrams.has_something_to_send()
                    || self.streams.has_something_to_send()
                    || self.going_away.is_due(&self.streams)
                    || self.is_drained()
            }
            State::Ended(end) => {
                matches!(end.step, Closing::Frame(_) | Closing::WebSocket { .. })
            }
        }
    }

    /// Records that the socket is full. [`poll_transmit`](Self::poll_transmit) must not be called
    /// until the socket has room again. Call this method before
    /// [`poll_timeout`](Self::poll_timeout).
    ///
    /// The engine needs this call for the statistics, for the [write-stall
    /// timeout](crate::Config::write_stall_timeout) and for the idle timeout. If a full socket gets
    /// room, the path carries bytes, which restarts the idle timeout.
    pub fn handle_socket_full(&mut self, now: Time) {
        self.on_socket_full(now, self.wants_transmit());
    }

    /// Whether [`handle_socket_full`](Self::handle_socket_full) has to be called if the socket is
    /// full. The call is needed if there is something to send and the timer of the write-stall
    /// timeout is not running.
    pub fn wants_socket_full(&self) -> bool {
        self.may_report_socket_full() && self.wants_transmit()
    }
}
