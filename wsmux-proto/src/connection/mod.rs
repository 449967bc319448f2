//! A connection: its life, what comes in, what goes out, and the application's calls.
//!
//! - `state`: where it is in its life; `close`, `close_frames`: how it ends, and what is sent then
//! - `input`: messages and time; `transmit`: what is sent; `app`: the application's calls

mod app;
mod close;
mod close_frames;
mod input;
mod state;
mod transmit;

use self::state::State;
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

/// A connection's state machine: no socket, no clock, no task.
///
/// Times are distances from any moment that the caller chooses, and must not go back. After each
/// call of a `handle_` method, and after each call on behalf of the application, the caller
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
    /// This end's transport parameters have been sent, or the wire has none. In any state they may
    /// be still to be sent, because that waits for the socket alone.
    parameters_sent: bool,
    /// The largest message that the peer takes, and that this end makes.
    max_message: usize,
    max_datagram_frame: u64,
    streams: Streams,
    datagrams: Datagrams,
    timers: Timers,
    events: Events,
    counters: Counters,
    /// There is something to send and the socket does not take it.
    blocked_by_socket: Stopwatch,
    write_stall: WriteStall,
}

impl Connection {
    /// A connection over a WebSocket that has just been opened.
    pub fn new(config: Config, side: Side, wire: Wire, now: Time) -> Self {
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
            state: match caps.parameters {
                true => State::Handshake,
                false => State::Established { drain: None },
            },
            parameters_sent: !caps.parameters,
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
            counters: Counters::default(),
            blocked_by_socket: Stopwatch::default(),
            write_stall: WriteStall::new(config.write_stall_timeout),
            config,
        }
    }

    /// Which version of QMux is spoken, where that is not the newest; without effect on another
    /// wire. To be called before anything else.
    pub fn set_qmux_version(&mut self, version: QMuxVersion) {
        self.version = version;
    }

    /// Sets what the socket can do, where that is not everything. To be called before anything
    /// else.
    ///
    /// On a wire whose pings are WebSocket's own, a socket without them leaves nothing to tell a
    /// silent peer from one that is gone: then neither keep-alive nor the idle timeout runs, and
    /// only the socket's end ends the connection.
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
}
