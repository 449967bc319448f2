//! The engine: frames in, frames out, and all rules between them.

mod app;

use std::time::Duration;

use bytes::Bytes;

use super::{
    ConnectionError, ConnectionStats, DriverLost, Event, Frame, MessageBuf, QMuxVersion, Side,
    SocketCapabilities, SocketError, Timeout, TransportError, VarInt, Wire,
    budget::UselessWork,
    close::{self, CloseFrames},
    datagrams::Datagrams,
    event::Events,
    stats::Stopwatch,
    streams::Streams,
    timers::{Due, Timers},
    transport_error::violation,
    wire::Capabilities,
    write_stall::WriteStall,
};
use crate::Config;

/// Where a connection is in its life.
#[derive(Debug)]
enum State {
    /// The peer's parameters are awaited; nothing that depends on them is sent.
    Handshake,
    /// Streams flow.
    Established,
    /// It has ended, and the peer is being told.
    Closing(Closing),
    /// All has been said; the socket can go.
    Closed,
}

/// Which of the frames that end the connection comes next.
#[derive(Debug)]
enum Closing {
    /// The frame.
    Frame(CloseFrames),
    /// The WebSocket's Close.
    WebSocket { code: u16, reason: String },
    /// The peer's Close, or until the deadline: what comes is not looked at.
    AwaitPeer,
}

/// What the socket is to send.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transmit {
    /// A binary message: the contents of the buffer.
    Message,
    /// All that was sent so far has to leave the process before anything else is sent, and not in one piece
    /// with it. The buffer is empty.
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

/// A connection's state machine: no socket, no clock, no task.
///
/// Times are distances from any moment that the caller chooses, and must not go back. After each call of a
/// `handle_` method, and after each call on behalf of the application, the caller
///
/// - calls [`poll_transmit`](Self::poll_transmit) while the socket takes messages and it returns something,
/// - calls [`poll`](Self::poll) until it returns `None`, and passes the events on,
/// - arms its timer for [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Connection {
    side: Side,
    wire: Wire,
    version: QMuxVersion,
    caps: Capabilities,
    socket: SocketCapabilities,
    config: Config,
    state: State,
    /// Why the connection has ended, once it has.
    end: Option<ConnectionError>,
    /// When a close stops waiting for the peer; `None` also for a time that no clock reaches (C-81).
    close_deadline: Option<Duration>,
    /// When a shutdown stops waiting for the streams.
    drain_deadline: Option<Duration>,
    /// Nothing has been sent since the flush that precedes the close of a shutdown.
    drain_flushed: bool,
    parameters_sent: bool,
    /// The peer's parameters have come, where the wire has them.
    established: bool,
    /// The largest message that the peer takes, and that this end makes.
    max_message: usize,
    max_datagram_frame: u64,
    streams: Streams,
    datagrams: Datagrams,
    timers: Timers,
    events: Events,
    stats: ConnectionStats,
    /// There is something to send and the socket does not take it.
    blocked_by_socket: Stopwatch,
    write_stall: WriteStall,
    now: Duration,
}

impl Connection {
    /// A connection over a WebSocket that has just been opened.
    pub fn new(config: Config, side: Side, wire: Wire, now: Duration) -> Self {
        let caps = wire.capabilities();
        let handshake = caps.parameters.then_some(config.handshake_timeout);
        let mut events = Events::default();
        if !caps.parameters {
            events.push(Event::Established);
        }
        Self {
            side,
            wire,
            version: QMuxVersion::NEWEST,
            caps,
            socket: SocketCapabilities::default(),
            state: if caps.parameters { State::Handshake } else { State::Established },
            end: None,
            close_deadline: None,
            drain_deadline: None,
            drain_flushed: false,
            parameters_sent: !caps.parameters,
            established: !caps.parameters,
            max_message: match caps.parameters {
                true => config.max_message_sent.min(super::MIN_MAX_RECORD_SIZE as usize),
                false => config.max_message_sent,
            },
            max_datagram_frame: 0,
            streams: Streams::new(&config, side, wire, now),
            datagrams: Datagrams::new(
                config.datagram_receive_buffer_size,
                config.datagram_send_buffer_size,
            ),
            timers: Timers::new(
                now,
                handshake,
                config.max_idle_timeout,
                config.keep_alive_interval,
            ),
            events,
            stats: ConnectionStats::default(),
            blocked_by_socket: Stopwatch::default(),
            write_stall: WriteStall::new(config.write_stall_timeout),
            config,
            now,
        }
    }

    /// Which version of QMux is spoken, where that is not the newest; without effect on another wire. To be called
    /// before anything else.
    pub fn set_qmux_version(&mut self, version: QMuxVersion) {
        self.version = version;
    }

    /// What the socket can do, where that is not everything. To be told before anything else.
    ///
    /// On a wire whose pings are WebSocket's own, a socket without them leaves nothing to tell a silent peer from one
    /// that is gone: then neither keep-alive nor the idle timeout runs, and only the socket's end ends the connection.
    pub fn set_socket_capabilities(&mut self, socket: SocketCapabilities) {
        self.socket = socket;
        if !socket.pings && !self.caps.ping_frames {
            // C-47.
            self.timers.disable_liveness();
        }
    }

    /// The largest message that the peer may send: the socket need not take more.
    pub fn max_inbound_message(&self) -> u64 {
        self.wire
            .max_inbound_message(self.config.max_record_size, self.config.stream_receive_window)
    }

    // ---- what the socket brings ----

    /// A binary message has come.
    pub fn handle_message(&mut self, now: Duration, mut message: Bytes) {
        self.now = now;
        self.timers.on_received(now);
        self.stats.messages_received += 1;
        self.stats.bytes_received += message.len() as u64;
        if !self.is_open() {
            return;
        }
        self.streams.now = now;
        let message_len = message.len();
        if message_len as u64 > self.max_inbound_message() {
            return self.handle_oversized(now);
        }
        if message.is_empty() {
            let handled = match self.caps.empty_messages {
                true => self.consume(UselessWork::Empty, 1),
                false => Err(violation::protocol("message without a frame")),
            };
            return handled.unwrap_or_else(|error| self.fail(error.into()));
        }
        while self.is_open() {
            let (kind, before) = (self.wire.frame_type(&message), message.len());
            let handled = match self.wire.decode(&mut message) {
                Ok(None) => return,
                Ok(Some(Frame::TransportParameters(_))) if !self.is_of_version(kind) => {
                    let reason = "transport parameters of another version of QMux";
                    Err(violation::protocol(reason))
                }
                Ok(Some(frame)) => {
                    self.stats.frames_received += 1;
                    self.handle_frame(frame, before - message.len(), message_len)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = handled {
                // The close names the frame that showed the error (RFC 9000 §19.19).
                let frame = error.frame.or(kind);
                self.fail(TransportError { frame, ..error }.into());
            }
        }
    }

    /// Bytes of a message have come that is not complete: the peer lives, and what it says next may have to wait for the
    /// rest of a long message.
    pub fn handle_progress(&mut self, now: Duration) {
        self.heard_control(now);
    }

    /// Whether this is the type of the transport parameters.
    fn is_of_version(&self, kind: Option<VarInt>) -> bool {
        kind.is_some_and(|kind| kind.into_inner() == self.version.parameters)
    }

    /// A text message has come, which neither wire has.
    pub fn handle_text(&mut self, now: Duration) {
        self.now = now;
        self.fail(ConnectionError::TextMessage);
    }

    /// A message larger than [`max_inbound_message`](Self::max_inbound_message) is coming.
    pub fn handle_oversized(&mut self, now: Duration) {
        self.now = now;
        self.fail(ConnectionError::MessageTooLarge { limit: self.max_inbound_message() });
    }

    /// What came is not WebSocket.
    pub fn handle_garbage(&mut self, now: Duration, reason: &str) {
        self.now = now;
        self.fail(ConnectionError::WebSocketProtocol(reason.into()));
    }

    /// A WebSocket ping has come. The socket answers it.
    pub fn handle_ping(&mut self, now: Duration) {
        self.heard_control(now);
        self.count_useless_ping();
    }

    /// A WebSocket pong has come.
    pub fn handle_pong(&mut self, now: Duration, payload: &[u8]) {
        self.heard_control(now);
        // An unasked pong is a heartbeat and no answer (RFC 6455 §5.5.3): any, where our pings are frames.
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
    /// (draft-ietf-quic-qmux-02 §Idle Timeout).
    fn heard_control(&mut self, now: Duration) {
        self.now = now;
        match self.caps.ping_frames {
            true => self.timers.on_heard(now),
            false => self.timers.on_received(now),
        }
    }

    /// The peer's WebSocket Close has come. The socket answers it.
    pub fn handle_close(&mut self, now: Duration, code: Option<u16>, reason: &str) {
        self.now = now;
        if self.end.is_none() {
            self.finish(close::error_of_websocket(code, reason, self.caps.close_frame));
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
    pub fn handle_socket_end(&mut self, now: Duration, error: SocketError) {
        self.now = now;
        self.finish(ConnectionError::SocketLost(error));
        self.state = State::Closed;
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come. Everything that the socket holds should be
    /// handled first: a peer is not silent while its message waits.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.now = now;
        if !self.is_open() {
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
        // C-78. There may be nothing left to send: a stream was reset, and its reset has left already.
        if self.write_stall.is_over(now) && self.is_open() {
            match self.wants_transmit() {
                true => self.fail(ConnectionError::TimedOut(Timeout::WriteStall)),
                false => self.write_stall.on_taken(),
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called; `None` for never. It changes with
    /// every call, mostly to later: a timer that fires early does no harm.
    pub fn poll_timeout(&self) -> Option<Duration> {
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
        let events = &mut self.events;
        if matches!(self.state, State::Handshake) != matches!(frame, Frame::TransportParameters(_))
        {
            return Err(violation::protocol("transport parameters come first, and once"));
        }
        match frame {
            Frame::TransportParameters(peer) => {
                self.timers.established(peer.max_idle_timeout);
                let max_record = usize::try_from(peer.max_record_size).unwrap_or(usize::MAX);
                self.max_message = self.config.max_message_sent.min(max_record);
                self.max_datagram_frame = peer.max_datagram_frame_size;
                self.streams.set_peer_parameters(peer, events);
                self.state = State::Established;
                self.established = true;
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
                self.streams.on_stream_frame(id, offset, data, fin, message_len, events)
            }
            Frame::ResetStream { id, code, final_size, reliable_size } => {
                self.streams.on_reset(id, code, final_size, reliable_size, events)
            }
            Frame::StopSending { id, code } => self.streams.on_stop_sending(id, code, events),
            Frame::FinReceived { id } => self.streams.on_fin_received(id, events),
            Frame::MaxData(total) => self.streams.on_max_data(total),
            Frame::MaxStreamData { id, credit } => {
                self.streams.on_max_stream_data(id, credit, events)
            }
            Frame::MaxStreams { dir, count } => self.streams.on_max_streams(dir, count, events),
            Frame::StreamDataBlocked { id, .. } => self.streams.on_stream_data_blocked(id, events),
            Frame::StreamsBlocked { dir, limit } => self.streams.on_streams_blocked(dir, limit),
            Frame::DataBlocked(_) => self.streams.on_data_blocked(),
            Frame::Datagram(data) => self.handle_datagram(&data, size),
            Frame::ConnectionClose(close) => {
                self.fail(close::error_of_frame(close));
                Ok(())
            }
        }
    }

    fn consume(&mut self, kind: UselessWork, amount: u64) -> Result<(), TransportError> {
        self.streams.budgets.consume(kind, amount, self.now)
    }

    /// Says whether it answers a ping that waits for it.
    fn on_pong(&mut self, number: VarInt) -> Result<bool, TransportError> {
        let sample = self.timers.ping.on_pong(number, self.now)?;
        if let Some(sample) = sample {
            self.streams.on_ping_answered(sample);
        }
        Ok(sample.is_some())
    }

    fn handle_datagram(&mut self, data: &[u8], size: usize) -> Result<(), TransportError> {
        // The limit is on the frame, its type and length included (RFC 9221 §3).
        if size as u64 > self.config.parameters().max_datagram_frame_size {
            return Err(violation::protocol("a datagram larger than was allowed"));
        }
        // One that pushes out another, or says nothing, may be the application's affair, but makes good for nothing.
        let says_something = !data.is_empty();
        if self.datagrams.receive(data, &mut self.events) && says_something {
            self.streams.budgets.useful_frame();
        }
        match says_something {
            true => Ok(()),
            false => self.consume(UselessWork::Empty, 1),
        }
    }

    // ---- what the socket takes ----

    /// What to send next, if anything: for a [`Transmit::Message`] the bytes are in `out`. To be called when
    /// the socket can take a message, and not before: which stream's bytes go next is decided here.
    pub fn poll_transmit(&mut self, now: Duration, out: &mut MessageBuf) -> Option<Transmit> {
        self.now = now;
        self.streams.now = now;
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
            State::Handshake | State::Closed | State::Closing(Closing::AwaitPeer) => None,
            State::Established => self.transmit_established(out),
            State::Closing(Closing::Frame(frames)) => {
                let (code, reason) = (frames.code, std::mem::take(&mut frames.reason));
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
                    false => close::code_of_page(*code),
                };
                let reason = std::mem::take(reason);
                self.state = State::Closing(Closing::AwaitPeer);
                Some(Transmit::Close { code, reason })
            }
        }
    }

    /// Whether there is nothing to send, and nothing to find out on the way to see that: every other look or so of a
    /// driver finds that.
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
        if let Err(error) = self.streams.admit(&mut self.events) {
            self.fail(error.into());
            return self.poll_transmit(self.now, out);
        }
        if let Some(number) = self.timers.ping.answer.take() {
            self.wire.encode(&Frame::Pong(number), out);
        }
        self.write_ping(out);
        self.streams.write_control(out, self.max_message, &mut self.events);
        if self.streams.take_sample_wanted() {
            self.timers.ping.request();
            self.write_ping(out);
        }
        self.write_datagrams(out);
        self.streams.write_data(out, self.max_message, &mut self.events);
        if !out.is_empty() {
            return Some(self.message_leaves(out));
        }
        if self.streams.take_flush() {
            return Some(Transmit::Flush);
        }
        if self.streams.can_admit() {
            // A stream was freed above without a frame of its own, and one that waits can take its place.
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

    /// The socket takes nothing, so that [`poll_transmit`](Self::poll_transmit) is not called until it does: for
    /// the statistics, for the [write-stall timeout](crate::Config::write_stall_timeout), and because a socket that
    /// takes something after it was full shows that the path still carries bytes. To be called before
    /// [`poll_timeout`](Self::poll_timeout) is asked.
    pub fn handle_socket_full(&mut self, now: Duration) {
        self.timers.on_socket_full();
        if self.wants_transmit() {
            self.blocked_by_socket.start(now);
            self.write_stall.on_full(now);
        }
    }

    /// Whether [`handle_socket_full`](Self::handle_socket_full) is to be called, if the socket takes nothing:
    /// there has come to be something to send since it was called last.
    pub fn wants_socket_full(&self) -> bool {
        self.write_stall.stands() && self.is_open() && self.wants_transmit()
    }

    // ---- the end ----

    fn is_open(&self) -> bool {
        matches!(self.state, State::Handshake | State::Established)
    }

    /// The connection ends for `error`, and the peer is told what concerns it.
    fn fail(&mut self, error: ConnectionError) {
        if self.end.is_none() {
            self.finish(error);
        }
    }

    fn finish(&mut self, error: ConnectionError) {
        let frames = CloseFrames::of(&error);
        self.finish_with(error, frames);
    }

    fn finish_with(&mut self, error: ConnectionError, frames: Option<CloseFrames>) {
        if self.end.is_some() {
            return;
        }
        self.state = match frames {
            Some(frames) => State::Closing(Closing::Frame(frames)),
            None => State::Closed,
        };
        self.close_deadline = self.now.checked_add(self.config.close_timeout);
        self.blocked_by_socket.stop(self.now);
        self.streams.now = self.now;
        self.end = Some(error);
        self.streams.on_connection_end();
        self.events.push(Event::Closed);
    }

    /// Ends the connection now, with the application's code and reason (RFC 9000 §10.2). What has not been
    /// sent is lost; what has come stays readable.
    pub fn close(&mut self, now: Duration, code: VarInt, reason: Bytes) {
        self.now = now;
        let frames = CloseFrames::application(code, reason);
        self.finish_with(ConnectionError::LocallyClosed, Some(frames));
    }

    /// Ends the connection without a word, if it has not ended: its driver is gone.
    pub fn abandon(&mut self, now: Duration, lost: DriverLost) {
        self.now = now;
        self.finish(ConnectionError::DriverLost(lost));
        self.state = State::Closed;
    }

    /// Ends the connection once its streams have ended, by then with code 0. Until then neither end opens
    /// streams: here [`open`](Self::open) fails, and those of the peer that come all the same are refused with
    /// code 0. Streams that came before can be accepted, and data flows as before.
    ///
    /// Past `deadline` the connection is closed whatever its streams do.
    pub fn shutdown(&mut self, now: Duration, deadline: Option<Duration>) {
        self.now = now;
        match self.state {
            State::Handshake => self.close(now, VarInt::default(), Bytes::new()),
            State::Established => {
                self.streams.drain();
                let earlier = [self.drain_deadline, deadline].into_iter().flatten().min();
                self.drain_deadline = earlier;
            }
            State::Closing(_) | State::Closed => {}
        }
    }

    /// Whether [`shutdown`](Self::shutdown) waits for the streams: this end opens none any more.
    pub fn is_draining(&self) -> bool {
        self.end.is_none() && self.streams.is_draining()
    }

    /// Whether a shutdown has nothing left to wait for.
    fn is_drained(&self) -> bool {
        self.streams.is_drained() && !self.datagrams.has_something_to_send()
    }

    /// Why the connection has ended; `None` while it has not.
    pub fn close_reason(&self) -> Option<&ConnectionError> {
        self.end.as_ref()
    }

    /// When a close stops waiting for the peer; `None` while there is none.
    pub fn close_deadline(&self) -> Option<Duration> {
        self.close_deadline
    }

    /// Whether all has been said on both sides, or the wait for the peer is over: the socket can go.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether the peer's limits have become known, though the connection may have ended since.
    pub fn was_established(&self) -> bool {
        self.established
    }

    /// Whether the peer's limits are known and the connection has not ended.
    pub fn is_established(&self) -> bool {
        matches!(self.state, State::Established)
    }
}

/// What the peer is told when the streams took longer than a shutdown had time for.
const SHUTDOWN_TOO_LONG: Bytes = Bytes::from_static(b"shutdown deadline");

/// A QX_PING frame's type and number.
const MAX_PING: usize = 8 + 8;

/// A DATAGRAM frame's type and length, at most, in a message of at most 64 KiB.
const DATAGRAM_OVERHEAD: usize = 1 + 4;

/// An empty datagram, with its type and its length.
const MIN_DATAGRAM_FRAME: u64 = 2;
