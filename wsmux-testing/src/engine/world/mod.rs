//! Two engines and a model of what their two applications did: what must hold after each step.

mod apply;
mod check;
mod ending;

use std::collections::BTreeMap;

use wsmux_proto::{Config, Dir, Side, StreamId, Wire};

use super::{CLIENT, End, Pair, SERVER, ms};

/// What happens next. Streams are chosen by number among those that the side holds.
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
    /// A reset after the first bytes, this many of which must still arrive.
    ResetAt(Side, usize, u64),
    Datagram(Side, usize),
    /// The stream window of one side.
    Window(Side, u64),
    /// How many streams of each kind one side lets the other have.
    Limit(Side, u64),
    /// The pipe's width in one direction; none is a socket that takes nothing.
    Pipe(Side, Option<usize>),
    /// This many steps of the pair.
    Steps(usize),
    /// Lets this many milliseconds pass.
    Pass(u64),
}

/// How a world ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All streams are finished and read.
    WindUp,
    /// Both lose the socket.
    Cut,
    /// One side closes at once.
    Close(Side),
    /// One side lets its streams end, and both finish theirs.
    Drain(Side),
}

/// One direction of one stream, as both applications know it.
#[derive(Debug, Default)]
pub struct Half {
    /// Bytes that the writer's engine took.
    written: usize,
    finished: bool,
    /// Reset, or dropped unfinished.
    given_up: bool,
    /// Reset after this many bytes, which the reader still receives.
    reliable: usize,
    /// Stopped, or dropped, by the reader.
    stopped: bool,
    /// Bytes that the reader got.
    read: usize,
    end: Option<End>,
    /// On the wire: bytes that left, and how many the reader's engine had allowed when it last
    /// spoke.
    sent: u64,
    granted: u64,
}

pub struct World {
    pair: Pair,
    /// The stream window that credit begins with, and the largest that either side ever set.
    config_window: u64,
    largest_window: u64,
    max_window: u64,
    budget: u64,
    send_buffer: usize,
    /// By the side that writes.
    halves: BTreeMap<(StreamId, Side), Half>,
    /// What each application holds.
    held: [Vec<StreamId>; 2],
    largest_chunk: usize,
    /// The most streams that each engine had at once.
    most_streams: [u64; 2],
    /// The most that lay unread and unsent in each stream that an application holds.
    peaks: [BTreeMap<StreamId, (u64, u64)>; 2],
    /// The connection has ended, as an [`Ending`] demanded.
    ended: bool,
    /// One side drains: it refuses streams that reach it now.
    refuses: bool,
}

const DATAGRAMS: usize = 5_000;

/// Far above what any world needs: two engines that go on for longer will go on for ever.
const MAX_STEPS: usize = 1_000_000;

fn writes(id: StreamId, side: Side) -> bool {
    id.dir() == Dir::Bi || id.initiator() == side
}

fn seed(id: StreamId, side: Side) -> u64 {
    id.into_inner() * 2 + side as u64
}

impl World {
    /// Windows that begin with the first size and may grow to the second, out of a budget.
    pub fn new(
        wire: Wire,
        (window, max_window, budget): (u64, u64, u64),
        send_buffer: usize,
        latency: u64,
    ) -> Self {
        let mut config = Config::default();
        // Half of them find the connection's window full before their own buffers are.
        let send_window = if send_buffer.is_multiple_of(2) { 0 } else { 64 << 20 };
        // As with Op::Limit.
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
            .keep_alive_interval(None);
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
        // The newest are where something happens.
        held.len().checked_sub(1 + nth % held.len().max(1)).map(|at| held[at])
    }
}
