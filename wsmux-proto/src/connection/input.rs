//! The input of a connection: what arrives from its socket, the end of the socket, and the time.

use bytes::Bytes;

use super::{
    Connection,
    close_frames::{self, CloseFrames},
    state::{Closing, State},
};
use crate::{
    ConnectionError, Event, Frame, Incoming, SocketError, Time, Timeout, TransportError, VarInt,
    budget::UselessWork, streams::StreamData, timers::Due, transport_error::violation,
};

/// The reason of the close that is sent at the deadline of [`Connection::drain`].
const DRAIN_DEADLINE: Bytes = Bytes::from_static(b"shutdown deadline");

impl Connection {
    /// Handles what has arrived from the socket.
    pub fn handle(&mut self, now: Time, incoming: Incoming) {
        match incoming {
            Incoming::Message(message) => self.handle_rest(now, message, 0),
            Incoming::Text => self.fail(now, ConnectionError::TextMessage),
            Incoming::TooLarge => self.on_too_large(now),
            Incoming::ProtocolError(reason) => {
                self.fail(now, ConnectionError::WebSocketProtocol(reason.into()));
            }
            Incoming::Ping => self.on_websocket_ping(now),
            Incoming::Pong(payload) => self.on_websocket_pong(now, &payload),
            Incoming::Close { code, reason } => self.on_websocket_close(now, code, &reason),
        }
    }

    /// Records that bytes of an incomplete message have arrived. These bytes prove that the peer is
    /// alive, even if its pongs can arrive only after the rest of a long message.
    pub fn handle_progress(&mut self, now: Time) {
        self.heard_control(now);
    }

    /// Ends the connection because the socket has ended. Nothing more arrives, and nothing more can
    /// be sent.
    pub fn handle_socket_end(&mut self, now: Time, error: SocketError) {
        self.fail(now, ConnectionError::SocketLost(error));
        self.state.close();
    }

    /// Handles the deadlines that have passed. Call this at the time that
    /// [`poll_timeout`](Self::poll_timeout) returns. First handle everything that the socket has
    /// received, because a peer whose message is still unread is not silent.
    pub fn handle_timeout(&mut self, now: Time) {
        if let Some(timeout) = self.check_timeouts(now, false) {
            self.fail(now, ConnectionError::TimedOut(timeout));
        }
    }

    /// Handles the deadlines that have passed. Returns the timeout that has expired, if the
    /// connection has to end or to be suspended because of it. `session_wants` says whether the
    /// session has something to send that the engine does not know of.
    pub(crate) fn check_timeouts(&mut self, now: Time, session_wants: bool) -> Option<Timeout> {
        let is_over = |deadline: Option<Time>| deadline.is_some_and(|deadline| deadline <= now);
        if let State::Ended(end) = &mut self.state {
            // C-79
            if is_over(end.deadline) {
                end.step = Closing::Closed;
            }
            return None;
        }
        if is_over(self.drain_deadline()) {
            self.end_drain(now);
            return None;
        }
        self.check_going_away(now);
        if let Due::TimedOut(timeout) = self.timers.on_timeout(now) {
            return Some(timeout);
        }
        // C-78. When the socket became full, there was something to send, which may not be needed
        // any longer. If there is nothing left to send, the stall is over.
        if self.write_stall.is_over(now) {
            match session_wants || self.wants_transmit() {
                true => return Some(Timeout::WriteStall),
                false => self.write_stall.stop(),
            }
        }
        None
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout); `None` means never. Any call
    /// can change this time, usually to a later time. A timer that fires early does no harm.
    pub fn poll_timeout(&self) -> Option<Time> {
        match &self.state {
            State::Handshake | State::Established { .. } => {
                let stall = self.write_stall.deadline();
                let drain = [self.drain_deadline(), self.going_away.deadline()];
                [self.timers.next(), stall].into_iter().chain(drain).flatten().min()
            }
            State::Ended(end) => end.deadline.filter(|_| !matches!(end.step, Closing::Closed)),
        }
    }

    /// Handles a message whose first `skipped` bytes have been handled already.
    pub(crate) fn handle_rest(&mut self, now: Time, mut message: Bytes, skipped: usize) {
        let message_len = message.len() + skipped;
        self.on_message(now, message_len);
        if !self.is_open() {
            return;
        }
        if message_len as u64 > self.max_inbound_message() {
            return self.on_too_large(now);
        }
        if message.is_empty() {
            let handled = match self.caps.messages.are_records() {
                // Q-70 (Binding "Record Framing")
                true => self.consume(now, UselessWork::Empty, 1),
                // J-3
                false => Err(violation::protocol("message without a frame")),
            };
            return handled.unwrap_or_else(|error| self.fail(now, error.into()));
        }
        // Q-64 (QMux "Initiating a Connection Close"; RFC 9000 §10.2.2)
        while self.is_open() {
            let (kind, before) = (self.wire.frame_type(&message), message.len());
            // Q-1 (Binding "Record Framing"; QMux "QMux Records")
            let handled = match self.wire.decode(&mut message) {
                Ok(None) => return,
                //
                Ok(Some(Frame::TransportParameters(_))) if !self.is_of_version(kind) => {
                    let reason = "transport parameters of another version of QMux";
                    Err(violation::protocol(reason))
                }
                Ok(Some(frame)) => {
                    self.counters.frames_received += 1;
                    //
                    self.on_frame(now, frame, before - message.len(), message_len)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = handled {
                // The close contains the type of the frame that caused the error (RFC 9000 §19.19,
                //
                let frame = error.frame.or(kind);
                self.fail(now, TransportError { frame, ..error }.into());
            }
        }
    }

    /// Records that a message has arrived.
    pub(super) fn on_message(&mut self, now: Time, message_len: usize) {
        self.timers.on_received(now);
        self.counters.messages_received += 1;
        self.counters.bytes_received += message_len as u64;
    }

    /// Whether this is the frame type of the transport parameters in this end's version of QMux.
    fn is_of_version(&self, kind: Option<VarInt>) -> bool {
        kind.is_none_or(|kind| kind.into_inner() == self.version.parameters)
    }

    /// Returns the time at which the connection closes even if it still drains.
    pub(super) fn drain_deadline(&self) -> Option<Time> {
        self.state.drain().and_then(|drain| drain.deadline)
    }

    /// Closes the connection because it still drains at the deadline.
    pub(super) fn end_drain(&mut self, now: Time) {
        let frames = CloseFrames::application(VarInt::default(), DRAIN_DEADLINE);
        self.end(now, ConnectionError::LocallyClosed, Some(frames));
    }

    fn on_too_large(&mut self, now: Time) {
        self.fail(now, ConnectionError::MessageTooLarge { limit: self.max_inbound_message() });
    }

    fn on_websocket_ping(&mut self, now: Time) {
        self.heard_control(now);
        self.count_useless_ping(now);
    }

    fn on_websocket_pong(&mut self, now: Time, payload: &[u8]) {
        self.heard_control(now);
        // An unsolicited pong answers nothing (RFC 6455 §5.5.3, W-10). If this end's pings are
        // frames, every pong of the WebSocket is unsolicited.
        if !self.caps.pings().is_frame()
            && let Ok(number) = payload.try_into()
            && let Ok(number) = VarInt::from_u64(u64::from_be_bytes(number))
            && self.on_pong(now, number).is_ok_and(|answers| answers)
        {
            return;
        }
        self.count_useless_ping(now);
    }

    /// Charges the budget for a ping, or for a pong that answers nothing.
    fn count_useless_ping(&mut self, now: Time) {
        if self.is_open()
            && let Err(error) = self.consume(now, UselessWork::Ping, 1)
        {
            self.fail(now, error.into());
        }
    }

    /// Records that something other than a complete message has arrived. This proves that the peer
    /// is alive. It counts as activity only on a wire whose pings are not frames (C-43,
    /// draft-ietf-quic-qmux-02 §Idle Timeout).
    fn heard_control(&mut self, now: Time) {
        match self.caps.pings().is_frame() {
            true => self.timers.on_heard(now),
            false => self.timers.on_received(now),
        }
    }

    fn on_websocket_close(&mut self, now: Time, code: Option<u16>, reason: &str) {
        if self.is_open() {
            let is_frame = self.caps.close.is_frame();
            self.fail(now, close_frames::error_of_websocket(code, reason, is_frame));
        }
        let State::Ended(end) = &mut self.state else { return };
        match end.step {
            // This end has not sent its Close yet. The Close that it sends now answers the peer's
            // Close, and no frame is sent before this Close.
            Closing::Frame(_) => drop(end.take_frame()),
            // The peer's Close answers the Close of this end.
            Closing::AwaitPeer => end.step = Closing::Closed,
            Closing::WebSocket { .. } | Closing::Closed => {}
        }
    }

    /// Handles a frame of `size` bytes in a message of `message_len` bytes.
    fn on_frame(
        &mut self,
        now: Time,
        frame: Frame,
        size: usize,
        message_len: usize,
    ) -> Result<(), TransportError> {
        let events = &mut self.events;
        // Q-15, Q-16 (QMux "QX_TRANSPORT_PARAMETERS Frames")
        if matches!(self.state, State::Handshake) != matches!(frame, Frame::TransportParameters(_))
        {
            return Err(violation::protocol("transport parameters come first, and once"));
        }
        match frame {
            Frame::TransportParameters(peer) => {
                self.timers.established(peer.max_idle_timeout);
                let max_record = usize::try_from(peer.max_record_size).unwrap_or(usize::MAX);
                // Q-3 (QMux "max_record_size Transport Parameter"), W-31
                self.max_message = self.config.max_message_sent.min(max_record);
                self.max_datagram_frame = peer.max_datagram_frame_size;
                self.going_away.set_supported(peer.going_away);
                self.streams.set_peer_parameters(peer, events);
                self.state = State::Established { drain: None };
                events.push(Event::Established);
                Ok(())
            }
            Frame::Padding(bytes) => self.consume(now, UselessWork::Padding, bytes as u64),
            Frame::Ping(number) => {
                self.timers.ping.on_ping(number, self.version.equal_pings)?;
                self.consume(now, UselessWork::Ping, 1)
            }
            Frame::Pong(number) => match self.on_pong(now, number)? {
                true => Ok(()),
                false => self.consume(now, UselessWork::Ping, 1),
            },
            Frame::Stream { id, offset, data, fin } => {
                let received = StreamData { offset, data, fin, message_len };
                self.streams.on_stream_frame(now, id, received, events)
            }
            Frame::ResetStream { id, code, final_size, reliable_size } => {
                self.streams.on_reset(now, id, code, final_size, reliable_size, events)
            }
            Frame::StopSending { id, code } => self.streams.on_stop_sending(now, id, code, events),
            Frame::FinReceived { id } => self.streams.on_fin_received(now, id, events),
            Frame::MaxData(total) => self.streams.on_max_data(now, total),
            Frame::MaxStreamData { id, credit } => {
                self.streams.on_max_stream_data(now, id, credit, events)
            }
            Frame::MaxStreams { dir, count } => {
                self.streams.on_max_streams(now, dir, count, events)
            }
            Frame::StreamDataBlocked { id, .. } => {
                self.streams.on_stream_data_blocked(now, id, events)
            }
            Frame::StreamsBlocked { dir, limit } => {
                self.streams.on_streams_blocked(now, dir, limit)
            }
            Frame::DataBlocked(_) => self.streams.on_data_blocked(now),
            Frame::Datagram(data) => self.on_datagram(now, &data, size),
            Frame::GoingAway => self.going_away.on_frame(now, &mut self.streams, events),
            Frame::ConnectionClose(close) => {
                self.fail(now, close_frames::error_of_frame(close));
                Ok(())
            }
        }
    }

    fn consume(&mut self, now: Time, kind: UselessWork, amount: u64) -> Result<(), TransportError> {
        self.streams.budgets.consume(kind, amount, now)
    }

    /// Handles a pong. Returns whether it answers the outstanding ping.
    fn on_pong(&mut self, now: Time, number: VarInt) -> Result<bool, TransportError> {
        let sample = self.timers.on_pong(now, number)?;
        if let Some(sample) = sample {
            self.streams.on_ping_answered(sample);
        }
        Ok(sample.is_some())
    }

    fn on_datagram(&mut self, now: Time, data: &[u8], size: usize) -> Result<(), TransportError> {
        // The limit applies to the whole frame, with its type and length (RFC 9221 §3, Q-53).
        if size as u64 > self.config.parameters().max_datagram_frame_size {
            return Err(violation::protocol("a datagram larger than was allowed"));
        }
        // A datagram is useful work only if it is not empty and no older datagram was dropped to
        // make room for it. Otherwise datagrams that the application never reads would let the peer
        // do more useless work.
        let has_contents = !data.is_empty();
        if self.datagrams.receive(data, &mut self.events) && has_contents {
            self.streams.budgets.useful_frame();
        }
        match has_contents {
            true => Ok(()),
            false => self.consume(now, UselessWork::Empty, 1),
        }
    }
}
