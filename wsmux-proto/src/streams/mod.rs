//! All streams of a connection: which exist, and what each may do.
//!
//! - `table`: which streams there are; `limits`: how many there may be; `lifecycle`: how one begins,
//!   and when it is freed
//! - `send`, `recv`: the states of the two halves; `send_handle`, `recv_handle`: the application's
//!   calls on each, `app`: its calls on all streams together
//! - `flow_control`: how much may be sent, and how much that is on a long path
//! - `waiting`: streams of the peer for which there is no place yet, on a wire without stream limits
//! - `buffer`: bytes that wait; `held`: how many of them all streams together may hold to be sent
//! - `ingress`: frames from the peer; `control`, `egress`: control frames and data to the peer
//! - `control_queue`: which control frames are due, in which order; `refusals`: those that refuse
//! - `scheduler`: which stream sends next; `priority_queue`: its queues

mod app;
mod buffer;
mod control;
mod control_queue;
mod egress;
mod flow_control;
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

use self::{
    control_queue::{ControlFrame, ControlQueue},
    flow_control::{AutoTune, SendCredit},
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

#[derive(Debug)]
pub(super) struct Streams {
    side: Side,
    wire: Wire,
    caps: Capabilities,
    /// What this end declared.
    local: TransportParameters,
    /// What the peer declared; nothing until it has.
    peer: TransportParameters,
    stream_receive_window: u64,
    table: Table,
    limits: Limits,
    auto_tune: AutoTune,
    /// Streams that the peer opened and the application has not taken; at most the stream limit.
    unaccepted: [VecDeque<StreamId>; 2],
    control: ControlQueue,
    scheduler: Scheduler,
    /// What the peer lets all streams send together.
    connection: SendCredit,
    /// The connection has ended; what has come can still be read.
    ended: bool,
    /// No new streams: the connection ends when those that there are have.
    draining: bool,
    /// Streams of the peer's for which there is no place yet.
    waiting: WaitingRoom,
    pub(super) refused: u64,
    pub(super) budgets: Budgets,
    /// One more than the number of flushes that were asked for: data that left since the last one
    /// is not flushed.
    flushes: u64,
    /// The end of a stream waits for a flush.
    flush_wanted: bool,
    /// The time of the call that is being served, or of the last one that came with a time.
    pub(super) now: Time,
    /// What streams have been kept waiting by their own credit, all together.
    pub(super) blocked_by_stream: StopwatchSum,
    /// Streams wait for credit of the connection.
    pub(super) blocked_by_connection: Stopwatch,
    /// Bytes that wait in send buffers, of all streams.
    pub(super) send_budget: SendBudget,
    /// What the end of the connection cut off.
    pub(super) in_flight: InFlight,
}

impl Streams {
    pub(super) fn new(config: &Config, side: Side, wire: Wire, now: Time) -> Self {
        let caps = wire.capabilities();
        let local = config.parameters();
        let mut streams = Self {
            side,
            wire,
            caps,
            local,
            peer: TransportParameters::default(),
            stream_receive_window: config.stream_receive_window,
            table: Table::default(),
            limits: Limits::new(config, side, caps),
            auto_tune: AutoTune::new(config, &caps),
            unaccepted: Default::default(),
            control: ControlQueue::default(),
            scheduler: Scheduler::default(),
            connection: SendCredit::new(if caps.connection_credit { 0 } else { u64::MAX }),
            ended: false,
            draining: false,
            waiting: WaitingRoom::new(config.max_waiting_streams),
            refused: 0,
            budgets: Budgets::new(config.cancelled_streams_per_second, caps.relative_credit, now),
            flushes: 1,
            flush_wanted: false,
            now,
            blocked_by_stream: StopwatchSum::default(),
            blocked_by_connection: Stopwatch::default(),
            send_budget: SendBudget::new(config.send_window, config.send_buffer),
            in_flight: InFlight::default(),
        };
        streams.budgets.allow_waiting(config.max_waiting_streams);
        streams.budgets.allow_streams(config.max_concurrent_bidi_streams);
        streams.budgets.allow_streams(config.max_concurrent_uni_streams);
        streams
    }

    /// The peer's declaration has come.
    pub(super) fn set_peer_parameters(&mut self, peer: TransportParameters, events: &mut Events) {
        self.peer = peer;
        self.connection = SendCredit::new(peer.initial_max_data);
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

    /// Whether windows may grow.
    pub(super) fn windows_may_grow(&self) -> bool {
        self.auto_tune.is_on()
    }

    /// A ping leaves, after nothing has come for so long.
    pub(super) fn on_ping_sent(&mut self, silence: Duration) {
        self.auto_tune.on_ping_sent(silence);
    }

    /// The last ping was answered after `sample`.
    pub(super) fn on_ping_answered(&mut self, sample: Duration) {
        self.auto_tune.on_ping_answered(sample);
    }

    /// Whether a ping is to leave with what was just written.
    pub(super) fn take_sample_wanted(&mut self) -> bool {
        self.auto_tune.take_sample_wanted()
    }

    /// What the windows have grown by, all together.
    pub(super) fn window_growth(&self) -> u64 {
        self.auto_tune.used()
    }

    /// How many streams are open; those that nobody has let go of yet included.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// How many of the peer's wait for a place.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The peer may be this many bytes ahead of the reader, on every stream, and further where its
    /// window has grown. Less than before takes effect as data is read: what was granted is not
    /// taken back.
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

    /// The credit that the peer's parameters give to a new stream.
    fn initial_send_limit(&self, id: StreamId) -> u64 {
        match (id.dir(), id.initiator() == self.side) {
            (Dir::Uni, _) => self.peer.initial_max_stream_data_uni,
            (Dir::Bi, true) => self.peer.initial_max_stream_data_bidi_remote,
            (Dir::Bi, false) => self.peer.initial_max_stream_data_bidi_local,
        }
    }

    /// The window that the peer's parameters declare for a stream, or for all if that is smaller; 0
    /// where it declares none, as one that begins with grants.
    fn declared_window(&self, id: StreamId) -> u64 {
        match (self.initial_send_limit(id), self.peer.initial_max_data) {
            (stream, 0) => stream,
            (stream, all) => stream.min(all),
        }
    }

    /// The credit that our parameters gave to a new stream.
    fn initial_recv_limit(&self, id: StreamId) -> u64 {
        match (id.dir(), id.initiator() == self.side) {
            (Dir::Uni, _) => self.local.initial_max_stream_data_uni,
            (Dir::Bi, true) => self.local.initial_max_stream_data_bidi_local,
            (Dir::Bi, false) => self.local.initial_max_stream_data_bidi_remote,
        }
    }

    /// From now on neither end opens streams; the peer's streams that wait, or that still arrive,
    /// are refused.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        self.refuse_waiting();
    }

    /// Whether neither end opens streams any more.
    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether every stream has ended, or was stopped and lacks only the peer's answer, and all our
    /// frames about streams have left.
    pub(super) fn is_drained(&self) -> bool {
        self.draining && self.table.all_linger() && self.control.is_empty()
    }

    /// What ends with the connection and not by itself.
    fn count_in_flight(&self) -> InFlight {
        let is_in_flight = |stream: &Stream| {
            stream.send.as_ref().is_some_and(Send::is_in_flight)
                || stream.recv.as_ref().is_some_and(Recv::is_open)
        };
        let streams = self.table.iter().filter(|&stream| is_in_flight(stream));
        // A slice's own sort is 4 kB of a page's download.
        let streams: BinaryHeap<_> = streams.map(|stream| stream.id).collect();
        InFlight {
            streams: streams.into_sorted_vec(),
            unsent_bytes: self.send_budget.bytes() as u64,
        }
    }

    /// The connection has ended: nothing more is sent, and what had come stays to be read.
    pub(super) fn on_connection_end(&mut self) {
        self.ended = true;
        self.in_flight = self.count_in_flight();
        self.blocked_by_connection.stop(self.now);
        for key in self.table.keys() {
            self.cancel_turn(key);
            self.unblock(key);
            if let Some(send) = &mut self.table[key].send {
                send.forget_unsent();
            }
        }
        self.send_budget.clear();
        self.control.clear();
        self.waiting.clear();
        // Those that only waited for frames to be sent wait no longer.
        self.table.keys().into_iter().for_each(|key| self.maybe_free(key));
    }
}

#[cfg(test)]
mod work;
