//! A connection as a whole. The connection's streams are implemented in
//! [`streams`](super::streams).
//!
//! - `state`: the states of a connection; `close`: how a connection ends; `close_frames`: what is
//!   sent at its end
//! - `input`: what arrives, and the time; `transmit`: what is sent; `app`: the application's calls
//! - `going_away`: how the ends tell each other that the connection is about to end
//! - `suspension`: what a [`Session`](crate::Session) needs to outlive a socket

mod app;
mod close;
mod close_frames;
mod going_away;
mod input;
mod state;
mod suspension;
mod transmit;

use self::{going_away::GoingAway, state::State, suspension::PrivateParameters};
use super::{
    Event, QMuxVersion, Side, SocketCapabilities, Wire,
    datagrams::Datagrams,
    event::Events,
    stats::{Counters, Stopwatch},
    streams::Streams,
    timers::Timers,
    wire::Capabilities,
    write_stall::WriteStall,
};
use crate::{Config, Time};

/// The state machine of a connection. This type has no socket, no clock and no task.
///
/// The caller chooses one epoch for all [`Time`]s, and never passes a time that is earlier than the
/// time passed before. After each call of [`handle`](Self::handle) or of a `handle_` method, and
/// after each call on behalf of the application, the caller
///
/// - calls [`poll_transmit`](Self::poll_transmit) for as long as the socket can take an item and
///   the call returns one,
/// - calls [`poll`](Self::poll) until it returns `None`, and passes the events on,
/// - sets its timer to [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Connection {
    side: Side,
    wire: Wire,
    version: QMuxVersion,
    caps: Capabilities,
    socket: SocketCapabilities,
    config: Config,
    state: State,
    /// Whether this end's transport parameters have been sent. Also true if the wire has no
    /// transport parameters. In each state the parameters may still be unsent, because they are
    /// sent only when the socket can take them.
    parameters_sent: bool,
    /// Transport parameters that the engine does not know, encoded. They are sent after the
    /// parameters that the engine knows, and then dropped.
    private_parameters: PrivateParameters,
    /// The size of the largest message that this end may send. Both this end's settings and the
    /// peer's parameters limit this size.
    max_message: usize,
    /// The largest message in which stream data is sent at present. The socket sets it.
    send_quantum: usize,
    /// How many bytes of each message are left free for the bytes that the session puts in front of
    /// the message.
    reserved: usize,
    /// Whether a session can continue the connection on a new socket.
    is_resumable: bool,
    max_datagram_frame: u64,
    going_away: GoingAway,
    streams: Streams,
    datagrams: Datagrams,
    timers: Timers,
    events: Events,
    counters: Counters,
    /// Measures how long the socket is full while there is something to send.
    blocked_by_socket: Stopwatch,
    write_stall: WriteStall,
}

impl Connection {
    /// Creates a connection over a WebSocket whose opening handshake has just ended.
    pub fn new(config: Config, side: Side, wire: Wire, now: Time) -> Self {
        let caps = wire.capabilities();
        let handshake = caps.parameters().then_some(config.handshake_timeout);
        let mut events = Events::default();
        if !caps.parameters() {
            events.push(Event::Established);
        }
        Self {
            side,
            wire,
            version: QMuxVersion::NEWEST,
            caps,
            socket: SocketCapabilities::default(),
            state: match caps.parameters() {
                true => State::Handshake,
                false => State::Established { drain: None },
            },
            parameters_sent: !caps.parameters(),
            private_parameters: PrivateParameters::default(),
            max_message: match caps.parameters() {
                true => config.max_message_sent.min(super::MIN_MAX_RECORD_SIZE as usize),
                false => config.max_message_sent,
            },
            send_quantum: usize::MAX,
            reserved: 0,
            is_resumable: false,
            max_datagram_frame: 0,
            going_away: GoingAway::default(),
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
            counters: Counters::default(),
            blocked_by_socket: Stopwatch::default(),
            write_stall: WriteStall::new(config.write_stall_timeout),
            config,
        }
    }

    /// Sets the version of QMux. The default is the newest version. On other wires this has no
    /// effect. Call this method before any other.
    pub fn set_qmux_version(&mut self, version: QMuxVersion) {
        self.version = version;
    }

    /// Sets what the socket can do. By default it can do everything. Call this method before any
    /// other.
    ///
    /// On js-ws, pings are the WebSocket's own pings. If the socket cannot send pings, this end
    /// cannot distinguish a silent peer from a peer that is gone. Therefore neither keep-alive nor
    /// the idle timeout runs on js-ws, and a lost peer is noticed only when the socket ends.
    pub fn set_socket_capabilities(&mut self, mut socket: SocketCapabilities) {
        socket.max_message = socket.max_message.max(crate::config::MIN_MESSAGE_SENT);
        self.socket = socket;
        self.send_quantum = usize::MAX;
        if !socket.pings && !self.caps.pings().is_frame() {
            // C-47.
            self.timers.disable_liveness();
        }
    }

    /// Sets the size of the largest message of stream data, in bytes, for the present rate of the
    /// socket's path. An urgent frame waits until a message has been sent, so the messages on a slow
    /// path should be short. Sizes below 1,200 bytes have the effect of 1,200 bytes. A datagram may
    /// be larger. The next call of [`set_socket_capabilities`](Self::set_socket_capabilities) ends
    /// this limit. By default there is no such limit.
    pub fn set_send_quantum(&mut self, bytes: usize) {
        self.send_quantum = bytes.max(crate::config::MIN_MESSAGE_SENT);
    }

    /// Returns the size of the largest message that the peer may send, in bytes. The socket does
    /// not have to accept a larger one.
    pub fn max_inbound_message(&self) -> u64 {
        self.wire
            .max_inbound_message(self.config.max_record_size, self.config.stream_receive_window)
    }
}
