//! What comes in: messages, WebSocket's own control frames, the socket's end, and time.

use bytes::Bytes;

use super::{
    Connection,
    close_frames::{self, CloseFrames},
    state::{Closing, State},
};
use crate::{
    ConnectionError, Event, Frame, SocketError, Time, Timeout, TransportError, VarInt,
    budget::UselessWork, streams::StreamData, timers::Due, transport_error::violation,
};

/// The reason in the close when the streams took longer than a shutdown had time for.
const SHUTDOWN_TOO_LONG: Bytes = Bytes::from_static(b"shutdown deadline");

impl Connection {
    /// A binary message has come.
    pub fn handle_message(&mut self, now: Time, mut message: Bytes) {
        self.now = now;
        self.timers.on_received(now);
        self.stats.messages_received += 1;
        self.stats.bytes_received += message.len() as u64;
        if !self.is_open() {
            return;
        }
        let message_len = message.len();
        if message_len as u64 > self.max_inbound_message() {
            return self.handle_oversized(now);
        }
        if message.is_empty() {
            let handled = match self.caps.empty_messages {
                // Q-70 (Binding "Record Framing")
                true => self.consume(UselessWork::Empty, 1),
                // J-3
                false => Err(violation::protocol("message without a frame")),
            };
            return handled.unwrap_or_else(|error| self.fail(error.into()));
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
                    self.stats.frames_received += 1;
                    //
                    self.handle_frame(frame, before - message.len(), message_len)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = handled {
                // The close names the frame that showed the error (RFC 9000 §19.19, Q-61).
                let frame = error.frame.or(kind);
                self.fail(TransportError { frame, ..error }.into());
            }
        }
    }

    /// Bytes of a message have come that is not complete: the peer lives, and what it says next may
    /// have to wait for the rest of a long message.
    pub fn handle_progress(&mut self, now: Time) {
        self.heard_control(now);
    }

    /// Whether this is the type of the transport parameters.
    fn is_of_version(&self, kind: Option<VarInt>) -> bool {
        kind.is_some_and(|kind| kind.into_inner() == self.version.parameters)
    }

    /// A text message has come, which neither wire has.
    pub fn handle_text(&mut self, now: Time) {
        self.now = now;
        self.fail(ConnectionError::TextMessage);
    }

    /// A message larger than [`max_inbound_message`](Self::max_inbound_message) is coming.
    pub fn handle_oversized(&mut self, now: Time) {
        self.now = now;
        self.fail(ConnectionError::MessageTooLarge { limit: self.max_inbound_message() });
    }

    /// What came is not WebSocket.
    pub fn handle_garbage(&mut self, now: Time, reason: &str) {
        self.now = now;
        self.fail(ConnectionError::WebSocketProtocol(reason.into()));
    }

    /// A WebSocket ping has come. The socket answers it.
    pub fn handle_ping(&mut self, now: Time) {
        self.heard_control(now);
        self.count_useless_ping();
    }

    /// A WebSocket pong has come.
    pub fn handle_pong(&mut self, now: Time, payload: &[u8]) {
        self.heard_control(now);
        // An unasked pong is a heartbeat and no answer (RFC 6455 §5.5.3, W-10): any, where our
        // pings are frames.
        if !self.caps.ping_frames
            && let Ok(number) = payload.try_into()
            && let Ok(number) = VarInt::from_u64(u64::from_be_bytes(number))
            && self.on_pong(number).is_ok_and(|news| news)
        {
            return;
        }
        self.count_useless_ping();
    }

    /// A ping came, or a pong that answers nothing.
    fn count_useless_ping(&mut self) {
        if self.is_open()
            && let Err(error) = self.streams.budgets.consume(UselessWork::Ping, 1, self.now)
        {
            self.fail(error.into());
        }
    }

    /// On a wire whose pings are frames, the WebSocket's own prove life but are no activity
    /// (C-43, draft-ietf-quic-qmux-02 §Idle Timeout).
    fn heard_control(&mut self, now: Time) {
        self.now = now;
        match self.caps.ping_frames {
            true => self.timers.on_heard(now),
            false => self.timers.on_received(now),
        }
    }

    /// The peer's WebSocket Close has come. The socket answers it.
    pub fn handle_close(&mut self, now: Time, code: Option<u16>, reason: &str) {
        self.now = now;
        if self.end.is_none() {
            self.finish(close_frames::error_of_websocket(code, reason, self.caps.close_frame));
        }
        match &mut self.state {
            // Ours is the answer.
            State::Closing(Closing::Frame(frames)) => {
                let (code, reason) = (frames.code, std::mem::take(&mut frames.reason));
                self.state = State::Closing(Closing::WebSocket { code, reason });
            }
            // It is the answer to ours: all has been said.
            State::Closing(Closing::AwaitPeer) => self.state = State::Closed,
            _ => {}
        }
    }

    /// The socket has ended: nothing more will come.
    pub fn handle_socket_end(&mut self, now: Time, error: SocketError) {
        self.now = now;
        self.finish(ConnectionError::SocketLost(error));
        self.state = State::Closed;
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come. Everything that the socket holds
    /// should be handled first: a peer is not silent while its message waits.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        if !self.is_open() {
            // C-79
            if self.close_deadline.is_some_and(|deadline| deadline <= now) {
                self.state = State::Closed;
            }
            return;
        }
        if self.drain_deadline.is_some_and(|deadline| deadline <= now) {
            let frames = CloseFrames::application(VarInt::default(), SHUTDOWN_TOO_LONG);
            return self.finish_with(ConnectionError::LocallyClosed, Some(frames));
        }
        if let Due::TimedOut(timeout) = self.timers.on_timeout(now) {
            self.fail(ConnectionError::TimedOut(timeout));
        }
        // C-78. There may be nothing left to send: a stream was reset, and its reset has left
        // already.
        if self.write_stall.is_over(now) && self.is_open() {
            match self.wants_transmit() {
                true => self.fail(ConnectionError::TimedOut(Timeout::WriteStall)),
                false => self.write_stall.on_taken(),
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called; `None` for never. It changes
    /// with every call, mostly to later: a timer that fires early does no harm.
    pub fn poll_timeout(&self) -> Option<Time> {
        match &self.state {
            State::Handshake | State::Established => {
                let stall = self.write_stall.deadline();
                [self.timers.next(), self.drain_deadline, stall].into_iter().flatten().min()
            }
            State::Closing(_) => self.close_deadline,
            State::Closed => None,
        }
    }

    /// A frame of `size` bytes, cut from a message of `message_len` bytes.
    fn handle_frame(
        &mut self,
        frame: Frame,
        size: usize,
        message_len: usize,
    ) -> Result<(), TransportError> {
        let (now, events) = (self.now, &mut self.events);
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
                self.streams.set_peer_parameters(peer, events);
                self.state = State::Established;
                self.parameters_received = true;
                events.push(Event::Established);
                Ok(())
            }
            Frame::Padding(bytes) => self.consume(UselessWork::Padding, bytes as u64),
            Frame::Ping(number) => {
                self.timers.ping.on_ping(number, self.version.equal_pings)?;
                self.consume(UselessWork::Ping, 1)
            }
            Frame::Pong(number) => match self.on_pong(number)? {
                true => Ok(()),
                false => self.consume(UselessWork::Ping, 1),
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
            Frame::Datagram(data) => self.handle_datagram(&data, size),
            Frame::ConnectionClose(close) => {
                self.fail(close_frames::error_of_frame(close));
                Ok(())
            }
        }
    }

    fn consume(&mut self, kind: UselessWork, amount: u64) -> Result<(), TransportError> {
        self.streams.budgets.consume(kind, amount, self.now)
    }

    /// Says whether it answers a ping that waits for it.
    fn on_pong(&mut self, number: VarInt) -> Result<bool, TransportError> {
        let sample = self.timers.on_pong(number, self.now)?;
        if let Some(sample) = sample {
            self.streams.on_ping_answered(sample);
        }
        Ok(sample.is_some())
    }

    fn handle_datagram(&mut self, data: &[u8], size: usize) -> Result<(), TransportError> {
        // The limit is on the frame, its type and length included (RFC 9221 §3, Q-53).
        if size as u64 > self.config.parameters().max_datagram_frame_size {
            return Err(violation::protocol("a datagram larger than was allowed"));
        }
        // One that pushes out another, or says nothing, may be the application's affair, but makes
        // good for nothing.
        let says_something = !data.is_empty();
        if self.datagrams.receive(data, &mut self.events) && says_something {
            self.streams.budgets.useful_frame();
        }
        match says_something {
            true => Ok(()),
            false => self.consume(UselessWork::Empty, 1),
        }
    }
}
