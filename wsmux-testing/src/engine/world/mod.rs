//! Two engines, a model of what their two applications did, and the checks of what must hold after
//! each step.

mod apply;
mod check;
mod ending;

use std::collections::BTreeMap;

use wsmux_proto::{Config, Dir, Side, StreamId, Wire};

use super::{CLIENT, End, Pair, SERVER, ms};

/// One step in a world. If a step is about a stream, the `usize` after the side selects a stream
/// that this side holds.
#[derive(Debug, Clone)]
pub enum Op {
    Open(Side, Dir),
    Accept(Side),
    Write(Side, usize, usize),
    WriteChunk(Side, usize, usize),
    Read(Side, usize, usize),
    Finish(Side, usize),
    Reset(Side, usize),
    Stop(Side, usize),
    Priority(Side, usize, i32),
    DropSender(Side, usize),
    DropReceiver(Side, usize),
    Announce(Side, usize),
    /// Resets a stream with this reliable size.
    ResetAt(Side, usize, u64),
    Datagram(Side, usize),
    /// Sets the stream window of one side.
    Window(Side, u64),
    /// Sets how many streams of each kind one side lets the other open.
    Limit(Side, u64),
    /// Sets the capacity of the pipe in one direction. With `None`, the socket accepts nothing.
    Pipe(Side, Option<usize>),
    /// Runs this many steps of the pair.
    Steps(usize),
    /// Lets this many milliseconds pass.
    Pass(u64),
}

/// How a world ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All streams are finished and read.
    WindUp,
    /// Both ends lose the socket.
    Cut,
    /// One side closes the connection at once.
    Close(Side),
    /// One side drains, and both sides finish their streams.
    Drain(Side),
}

/// One direction of one stream, as the two applications know it.
#[derive(Debug, Default)]
pub struct Half {
    /// Bytes that the writer's engine accepted.
    written: usize,
    finished: bool,
    /// Whether the writer reset this half, or dropped it unfinished.
    given_up: bool,
    /// The number of bytes that the reader still receives if the half was reset.
    reliable: usize,
    /// Whether the reader stopped or dropped this half.
    stopped: bool,
    /// Bytes that the reader has read.
    read: usize,
    end: Option<End>,
    /// How many bytes were seen on the wire.
    sent: u64,
    /// How many bytes the reader's engine has granted in total, as seen on the wire.
    granted: u64,
}

pub struct World {
    pair: Pair,
    /// The stream window in the configuration. This is also the first credit of a stream.
    config_window: u64,
    /// The largest stream window that either side has had without growth.
    largest_window: u64,
    /// The size to which windows may grow.
    max_window: u64,
    budget: u64,
    send_buffer: usize,
    /// The halves of all streams, each with the side that writes to it.
    halves: BTreeMap<(StreamId, Side), Half>,
    /// The streams that each application holds.
    held: [Vec<StreamId>; 2],
    largest_chunk: usize,
    /// The most streams that each engine has had at once.
    most_streams: [u64; 2],
    /// The largest numbers of unread bytes and of unsent bytes so far, for each stream that an
    /// application holds.
    peaks: [BTreeMap<StreamId, (u64, u64)>; 2],
    /// Whether the test has ended the connection, as its [`Ending`] says.
    ended: bool,
    /// Whether one side drains and refuses the streams that the other side opens from now on.
    refuses: bool,
}

const DATAGRAMS: usize = 5_000;

/// A limit on steps that is far above the number that any world needs. Two engines that take more
/// steps are assumed never to stop.
const MAX_STEPS: usize = 1_000_000;

fn writes(id: StreamId, side: Side) -> bool {
    id.dir() == Dir::Bi || id.initiator() == side
}

fn seed(id: StreamId, side: Side) -> u64 {
    id.into_inner() * 2 + side as u64
}

impl World {
    /// Creates a world in which windows begin with `window` bytes and may grow to `max_window`
    /// bytes, within a budget.
    pub fn new(
        wire: Wire,
        (window, max_window, budget): (u64, u64, u64),
        send_buffer: usize,
        latency: u64,
    ) -> Self {
        let mut config = Config::default();
        // In half of the worlds, the connection's send window is full before the send buffers of
        // the streams are full.
        let send_window = if send_buffer.is_multiple_of(2) { 0 } else { 64 << 20 };
        // On js-ws the limit is so high that no test reaches it, because this model does not cover
        // streams above the limit.
        let streams = if wire == Wire::QMux { 3 } else { 1_000 };
        config
            .stream_receive_window(window)
            .max_stream_receive_window(max_window)
            .window_growth_budget(budget)
            .send_buffer(send_buffer)
            .send_window(send_window)
            .max_concurrent_bidi_streams(streams)
            .max_concurrent_uni_streams(streams)
            .datagram_receive_buffer_size(DATAGRAMS)
            .datagram_send_buffer_size(DATAGRAMS)
            .max_idle_timeout(None)
            .keep_alive_interval(None)
            // A test may stop the pipes for a long time. That must not end the connection.
            .write_stall_timeout(None);
        let mut pair = Pair::unconnected(wire, config.clone(), config);
        pair.latency = ms(latency);
        pair.drive();
        pair.client.take_sent();
        pair.server.take_sent();
        let (halves, held) = (BTreeMap::new(), Default::default());
        let max_window = max_window.max(window);
        Self {
            pair,
            config_window: window,
            largest_window: window,
            max_window,
            budget,
            send_buffer,
            halves,
            held,
            largest_chunk: 0,
            most_streams: [0; 2],
            peaks: Default::default(),
            ended: false,
            refuses: false,
        }
    }

    fn hold(&mut self, side: Side, id: StreamId) {
        self.held[side as usize].push(id);
        for writer in [CLIENT, SERVER].into_iter().filter(|&writer| writes(id, writer)) {
            self.half(id, writer);
        }
    }

    fn half(&mut self, id: StreamId, writer: Side) -> &mut Half {
        let granted = if self.pair.wire == Wire::QMux { self.config_window } else { 0 };
        let fresh = || Half { granted, ..Half::default() };
        self.halves.entry((id, writer)).or_insert_with(fresh)
    }

    fn pick(&self, side: Side, nth: usize) -> Option<StreamId> {
        let held = &self.held[side as usize];
        // `nth` counts back from the newest stream, because most operations should concern the
        // newest streams.
        held.len().checked_sub(1 + nth % held.len().max(1)).map(|at| held[at])
    }
}
