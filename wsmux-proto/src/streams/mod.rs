//! All streams of a connection: which streams there are, and what each of them may do.
//!
//! - `table`: which streams there are; `limits`: how many there may be; `lifecycle`: how a stream
//!   begins, and when it is freed
//! - `send`, `recv`: the states of the two halves; `send_handle`, `recv_handle`: the application's
//!   calls on each half; `app`: the application's calls that concern all streams
//! - `flow_control`: how much each end may send, and how windows grow on a long path; `declared`:
//!   how much may be sent on a new stream; `flush`: which data has left the process
//! - `waiting`: streams that the peer opened above the stream limit, on a wire that cannot
//!   advertise this limit; each of them waits until another stream has ended
//! - `buffer`: bytes that wait to be sent or read; `held`: how many unsent bytes all streams
//!   together may hold
//! - `ingress`: frames from the peer; `control`, `egress`: control frames and data to the peer
//! - `control_queue`: which control frames are due, and in which order; `refusals`: the frames that
//!   refuse streams
//! - `scheduler`: which stream sends next; `priority_queue`: the scheduler's queues

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
    table::{Key, Stream, Table},
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
/// This type coordinates its parts. Each part keeps its own invariant, which is stated at the top
/// of the part's file. The methods here and in `app`, `send_handle`, `recv_handle`, `ingress`,
/// `control`, `egress` and `lifecycle` call the parts in the right order.
#[derive(Debug)]
pub(super) struct Streams {
    side: Side,
    wire: Wire,
    caps: Capabilities,
    phase: Phase,
    declared: Declared,
    table: Table,
    limits: Limits,
    /// Streams of the peer that wait because the stream limit is reached.
    waiting: WaitingRoom,
    /// Streams of the peer that the application has not accepted, by direction. The stream limit
    /// bounds their number.
    unaccepted: [VecDeque<StreamId>; 2],
    /// The initial window of a new stream. A window bounds the bytes that the peer has sent and the
    /// application has not read.
    stream_receive_window: u64,
    auto_tune: AutoTune,
    /// The credit that the peer gives to all streams together.
    connection: SendCredit,
    pub(super) send_budget: SendBudget,
    scheduler: Scheduler,
    control: ControlQueue,
    flush: Flush,
    pub(super) budgets: Budgets,
    pub(super) stats: Stats,
}

/// Whether streams may be opened and may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// This end opens no more streams. It accepts the streams that the peer opens, because the peer
    /// may not know that this end drains.
    Leaving,
    /// This end opens no more streams, and refuses the streams that the peer opens. The connection
    /// ends when the existing streams have ended.
    Draining,
    /// The connection has ended. Nothing is sent, but received bytes can still be read.
    Ended,
}

/// The statistics of the connection that concern its streams.
#[derive(Debug, Default)]
pub(super) struct Stats {
    /// Streams of the peer that were refused.
    pub(super) refused: u64,
    /// How long streams have waited for credit of their own, summed over all streams.
    pub(super) blocked_by_stream: StopwatchSum,
    /// Runs while at least one stream waits for credit of the connection.
    pub(super) blocked_by_connection: Stopwatch,
    /// The streams and the bytes that were in flight when the connection ended.
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

    /// Applies the transport parameters that the peer has sent.
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

    /// Applies the peer's limit on the total number of streams of a kind that this end may open. If
    /// the limit has risen, queues [`Event::Available`].
    fn raise_local_limit(&mut self, dir: Dir, limit: u64, events: &mut Events) {
        if self.limits.raise_local(dir, limit) {
            events.push(Event::Available { dir });
        }
    }

    /// Whether windows may ever grow.
    pub(super) fn windows_may_grow(&self) -> bool {
        self.auto_tune.is_on()
    }

    /// Records that a ping is sent now. Before the ping, nothing was received for the time
    /// `silence`.
    pub(super) fn on_ping_sent(&mut self, silence: Duration) {
        self.auto_tune.on_ping_sent(silence);
    }

    /// Records that the last ping was answered after the time `sample`.
    pub(super) fn on_ping_answered(&mut self, sample: Duration) {
        self.auto_tune.on_ping_answered(sample);
    }

    /// Whether a ping has to be sent together with the frames that were just written. For each ping
    /// that is wanted, only one call returns `true`.
    pub(super) fn take_sample_wanted(&mut self) -> bool {
        self.auto_tune.take_sample_wanted()
    }

    /// Returns by how many bytes all windows together have grown.
    pub(super) fn window_growth(&self) -> u64 {
        self.auto_tune.used()
    }

    /// Returns how many streams there are. A stream that has ended still counts until the
    /// application has released it.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns how many streams of the peer wait because the stream limit is reached.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Sets the initial window of new and existing streams. If the window of a stream has grown and
    /// the initial window becomes larger, the larger initial window replaces bytes of this growth.
    /// The replaced bytes are returned to the growth budget. A smaller window takes effect as data
    /// is read, because credit that was granted cannot be revoked.
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

    /// Stops opening streams at this end, and announces to the peer the streams that this end has
    /// opened.
    pub(super) fn leave(&mut self) {
        if self.phase != Phase::Open {
            return;
        }
        self.phase = Phase::Leaving;
        for dir in Dir::ALL {
            // G-3. A frame of this stream also opens all earlier streams (RFC 9000 §3.2).
            if let Some(key) = self.newest_unseen(dir) {
                self.queue_control(key, ControlFrame::Announce);
            }
        }
    }

    /// Whether the frames that were sent announce every stream of this end to the peer.
    pub(super) fn all_announced(&self) -> bool {
        Dir::ALL.into_iter().all(|dir| self.newest_unseen(dir).is_none())
    }

    /// Returns the newest stream that this end has opened, if no frame of this stream has been
    /// sent.
    fn newest_unseen(&self, dir: Dir) -> Option<Key> {
        let key = self.table.key(self.limits.newest_local(dir)?)?;
        let send = self.table.get(key)?.send.as_ref()?;
        send.is_unseen().then_some(key)
    }

    /// Refuses the waiting streams of the peer, and every stream that the peer opens from now on.
    /// Also stops opening streams at this end.
    pub(super) fn drain(&mut self) {
        if matches!(self.phase, Phase::Open | Phase::Leaving) {
            self.phase = Phase::Draining;
            self.refuse_waiting();
        }
    }

    /// Whether both ends have stopped opening streams.
    pub(super) fn is_draining(&self) -> bool {
        self.phase == Phase::Draining
    }

    /// Whether the drain is complete. It is complete if neither end opens streams and all streams
    /// have ended.
    pub(super) fn is_drained(&self) -> bool {
        self.is_draining() && self.have_ended()
    }

    /// Whether this end has no control frame of a stream left to send, and each stream either has
    /// ended or waits only for the peer to answer a stop.
    pub(super) fn have_ended(&self) -> bool {
        self.table.all_linger() && self.control.is_empty()
    }

    /// Returns the streams that have not ended and the number of bytes that have not been sent.
    fn count_in_flight(&self) -> InFlight {
        let is_in_flight = |stream: &Stream| {
            stream.send.as_ref().is_some_and(Send::is_in_flight)
                || stream.recv.as_ref().is_some_and(Recv::is_open)
        };
        let streams = self.table.iter().filter(|&stream| is_in_flight(stream));
        // A heap sorts the ids, because `sort` would add 4 kB to the WebAssembly module.
        let streams: BinaryHeap<_> = streams.map(|stream| stream.id).collect();
        InFlight {
            streams: streams.into_sorted_vec(),
            unsent_bytes: self.send_budget.bytes() as u64,
        }
    }

    /// Handles the end of the connection. Nothing more is sent, but received bytes can still be
    /// read.
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
        // Some streams were kept only because they had frames to send. From now on no frames are
        // sent, so these streams can be freed.
        self.table.keys().into_iter().for_each(|key| self.maybe_free(key));
    }
}

#[cfg(test)]
mod work;
