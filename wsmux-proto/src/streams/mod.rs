//! All streams of a connection: which exist, and what each may do.
//!
//! - `table`: which streams there are; `limits`: how many there may be; `lifecycle`: how one
//!   begins, and when it is freed
//! - `send`, `recv`: the states of the two halves; `send_handle`, `recv_handle`: the application's
//!   calls on each, `app`: its calls on all streams together
//! - `flow_control`: how much may be sent, and how much that is on a long path; `declared`: how
//!   much a new stream may send; `flush`: what has left the process
//! - `waiting`: streams of the peer for which there is no place yet, on a wire without stream
//!   limits
//! - `buffer`: bytes that wait; `held`: how many of them all streams together may hold to be sent
//! - `ingress`: frames from the peer; `control`, `egress`: control frames and data to the peer
//! - `control_queue`: which control frames are due, in which order; `refusals`: those that refuse
//! - `scheduler`: which stream sends next; `priority_queue`: its queues

mod app;
mod buffer;
mod control;
mod control_queue;
mod declared;
mod egress;
mod flow_control;
mod flush;
mod held;
mod ingress;
mod lifecycle;
mod limits;
mod priority_queue;
mod recv;
mod recv_handle;
mod refusals;
mod scheduler;
mod send;
mod send_handle;
mod table;
mod waiting;

use std::{
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

pub(super) use self::ingress::StreamData;
use self::{
    control_queue::{ControlFrame, ControlQueue},
    declared::Declared,
    flow_control::{AutoTune, SendCredit},
    flush::Flush,
    held::SendBudget,
    limits::Limits,
    recv::Recv,
    scheduler::{SPARE_TICKETS, Scheduler},
    send::Send,
    table::{Stream, Table},
    waiting::WaitingRoom,
};
pub use self::{
    recv_handle::{Read, RecvStream},
    send_handle::{SendEnd, SendStream},
};
use super::{
    Capabilities, Dir, Side, StreamId, Wire,
    budget::Budgets,
    event::Events,
    stats::{InFlight, Stopwatch, StopwatchSum},
    transport_parameters::TransportParameters,
    tree,
};
use crate::{Config, Event, Time};

/// All streams of a connection.
///
/// It conducts: each part keeps its own invariant, which the top of the part's file states, and the
/// methods here and in the files of calls (`app`, `send_handle`, `recv_handle`, `ingress`,
/// `control`, `egress`, `lifecycle`) say which part does what, and when.
#[derive(Debug)]
pub(super) struct Streams {
    side: Side,
    wire: Wire,
    caps: Capabilities,
    phase: Phase,
    declared: Declared,
    table: Table,
    limits: Limits,
    /// Streams of the peer for which there is no place yet.
    waiting: WaitingRoom,
    /// Streams of the peer that the application has not accepted; at most the stream limit.
    unaccepted: [VecDeque<StreamId>; 2],
    /// How many bytes the peer may be ahead of the reader on a new stream.
    stream_receive_window: u64,
    auto_tune: AutoTune,
    /// What the peer lets all streams send together.
    connection: SendCredit,
    pub(super) send_budget: SendBudget,
    scheduler: Scheduler,
    control: ControlQueue,
    flush: Flush,
    pub(super) budgets: Budgets,
    pub(super) stats: Stats,
}

/// Whether streams may begin and send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Neither end opens streams. The connection ends when the streams that there are have ended.
    Draining,
    /// The connection has ended. Nothing is sent, but received bytes can still be read.
    Ended,
}

/// What the statistics of the connection say of its streams.
#[derive(Debug, Default)]
pub(super) struct Stats {
    /// Streams of the peer that were refused.
    pub(super) refused: u64,
    /// How long streams have waited for credit of their own, all together.
    pub(super) blocked_by_stream: StopwatchSum,
    /// Runs while a stream waits for credit of the connection.
    pub(super) blocked_by_connection: Stopwatch,
    /// What the end of the connection cut off.
    pub(super) in_flight: InFlight,
}

impl Streams {
    pub(super) fn new(config: &Config, side: Side, wire: Wire, now: Time) -> Self {
        let caps = wire.capabilities();
        let mut budgets =
            Budgets::new(config.cancelled_streams_per_second, caps.grants.are_relative(), now);
        budgets.allow_waiting(config.max_waiting_streams);
        budgets.allow_streams(config.max_concurrent_bidi_streams);
        budgets.allow_streams(config.max_concurrent_uni_streams);
        Self {
            side,
            wire,
            caps,
            phase: Phase::Open,
            declared: Declared::new(config, side, &caps),
            table: Table::default(),
            limits: Limits::new(config, side, caps),
            waiting: WaitingRoom::new(config.max_waiting_streams),
            unaccepted: Default::default(),
            stream_receive_window: config.stream_receive_window,
            auto_tune: AutoTune::new(config, &caps),
            connection: SendCredit::new(if caps.connection_credit() { 0 } else { u64::MAX }),
            send_budget: SendBudget::new(config.send_window, config.send_buffer),
            scheduler: Scheduler::default(),
            control: ControlQueue::default(),
            flush: Flush::default(),
            budgets,
            stats: Stats::default(),
        }
    }

    /// The peer's transport parameters were received.
    pub(super) fn set_peer_parameters(&mut self, peer: TransportParameters, events: &mut Events) {
        self.declared.set_peer(peer);
        if self.caps.connection_credit() {
            self.connection = SendCredit::new(peer.initial_max_data);
        }
        for (dir, count) in
            [(Dir::Bi, peer.initial_max_streams_bidi), (Dir::Uni, peer.initial_max_streams_uni)]
        {
            self.raise_local_limit(dir, count, events);
        }
    }

    /// The peer allows this many streams in all.
    fn raise_local_limit(&mut self, dir: Dir, limit: u64, events: &mut Events) {
        if self.limits.raise_local(dir, limit) {
            events.push(Event::Available { dir });
        }
    }

    /// Whether windows may ever grow.
    pub(super) fn windows_may_grow(&self) -> bool {
        self.auto_tune.is_on()
    }

    /// A ping is sent, after nothing was received for `silence`.
    pub(super) fn on_ping_sent(&mut self, silence: Duration) {
        self.auto_tune.on_ping_sent(silence);
    }

    /// The last ping was answered after `sample`.
    pub(super) fn on_ping_answered(&mut self, sample: Duration) {
        self.auto_tune.on_ping_answered(sample);
    }

    /// Whether a ping is to be sent with what was just written.
    pub(super) fn take_sample_wanted(&mut self) -> bool {
        self.auto_tune.take_sample_wanted()
    }

    /// By how many bytes all windows together have grown.
    pub(super) fn window_growth(&self) -> u64 {
        self.auto_tune.used()
    }

    /// How many streams there are, including those that have ended and were not released.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// How many streams of the peer wait for a place.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Sets how many bytes the peer may be ahead of the reader, on every stream. Where a window has
    /// grown, the growth is added. A smaller window takes effect as data is read, because credit is
    /// not taken back.
    pub(super) fn set_stream_receive_window(&mut self, window: u64) {
        self.stream_receive_window = window;
        for key in self.table.keys() {
            let Some(recv) = self.table[key].recv.as_mut() else { continue };
            self.auto_tune.give_back(recv.credit.set_initial_window(window));
            if recv.wants_credit() && recv.credit.grant_is_due() && recv.credit.received() > 0 {
                self.queue_control(key, ControlFrame::Credit);
            }
        }
    }

    /// From now on neither end opens streams. Streams of the peer that wait, or that it opens
    /// nevertheless, are refused.
    pub(super) fn drain(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Draining;
            self.refuse_waiting();
        }
    }

    /// Whether neither end opens streams any more.
    pub(super) fn is_draining(&self) -> bool {
        self.phase == Phase::Draining
    }

    /// Whether every stream has ended, or waits only for the peer's answer to a stop, and all our
    /// frames about streams have been sent.
    pub(super) fn is_drained(&self) -> bool {
        self.is_draining() && self.table.all_linger() && self.control.is_empty()
    }

    /// What the end of the connection cuts off.
    fn count_in_flight(&self) -> InFlight {
        let is_in_flight = |stream: &Stream| {
            stream.send.as_ref().is_some_and(Send::is_in_flight)
                || stream.recv.as_ref().is_some_and(Recv::is_open)
        };
        let streams = self.table.iter().filter(|&stream| is_in_flight(stream));
        // A heap, because `sort` would add 4 kB to the WebAssembly module.
        let streams: BinaryHeap<_> = streams.map(|stream| stream.id).collect();
        InFlight {
            streams: streams.into_sorted_vec(),
            unsent_bytes: self.send_budget.bytes() as u64,
        }
    }

    /// The connection has ended. Nothing more is sent, but received bytes can still be read.
    pub(super) fn on_connection_end(&mut self, now: Time) {
        self.phase = Phase::Ended;
        self.stats.in_flight = self.count_in_flight();
        self.stats.blocked_by_connection.stop(now);
        for key in self.table.keys() {
            self.cancel_turn(key);
            self.unblock(now, key);
            if let Some(send) = &mut self.table[key].send {
                send.forget_unsent();
            }
        }
        self.send_budget.clear();
        self.control.clear();
        self.waiting.clear();
        // Some streams were kept only until their frames were sent, and none is sent any more.
        self.table.keys().into_iter().for_each(|key| self.maybe_free(key));
    }
}

#[cfg(test)]
mod work;
