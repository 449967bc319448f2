//! All streams of a connection: which exist, and what each may do.
//!
//! - `send`, `recv`: the two halves' states
//! - `flow_control`: how much may be sent, and how much that is on a long path
//! - `limits`: how many may be open
//! - `waiting`: streams of the peer's for which there is no place yet, on a wire without stream limits
//! - `buffer`: what waits; `held`: how much of it all streams together may hold to be sent
//! - `scheduler`: whose turn it is
//! - `ingress`: frames from the peer; `egress`: frames to the peer; `app`: calls of the application

mod app;
mod buffer;
mod egress;
mod flow_control;
mod held;
mod ingress;
mod limits;
mod recv;
mod scheduler;
mod send;
mod waiting;

use std::{
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use slab::Slab;

pub use app::{Read, RecvStream, SendEnd, SendStream};

use self::{
    flow_control::{AutoTune, RecvCredit, SendCredit},
    held::{Held, SendBudget},
    limits::Counts,
    recv::{Recv, WasRead},
    scheduler::{Schedule, Ticket, Tickets},
    send::{EndWatch, Send},
    waiting::{Refusal, WaitingRoom},
};
use super::{
    Capabilities, Dir, Side, StreamId, VarInt, Wire,
    budget::Budgets,
    event::Events,
    stats::{InFlight, Stopwatch, StopwatchSum},
    stream_map::StreamKeys,
    transport_parameters::TransportParameters,
    tree,
};
use crate::Config;

/// What a stream's halves have to tell the peer, besides data.
#[derive(Debug, Default)]
struct PendingControl {
    /// The stream stands in `Streams::control_queue`.
    queued: bool,
    reset: bool,
    stop: bool,
    credit: bool,
    fin_received: bool,
    blocked: bool,
    /// The STOP_SENDING that answers a reset, where the wire wants one.
    reset_answer: Option<VarInt>,
    /// An empty STREAM frame that shows the stream to the peer.
    announce: bool,
}

impl PendingControl {
    /// Whether all has been said.
    fn is_empty(&self) -> bool {
        let Self { queued: _, reset, stop, credit, fin_received, blocked, reset_answer, announce } =
            self;
        let flags = [reset, stop, credit, fin_received, blocked, announce];
        reset_answer.is_none() && !flags.into_iter().any(|&flag| flag)
    }
}

#[derive(Debug)]
struct Stream {
    id: StreamId,
    send: Option<Send>,
    recv: Option<Recv>,
    ticket: Option<Ticket>,
    pending: PendingControl,
    /// The application has no further use for the half: it let go of it, or has learnt of its end.
    send_released: bool,
    recv_released: bool,
    /// The peer reset its half, or stopped ours, before it got anything by it (C-62).
    abandoned_by_peer: bool,
    /// The application has let go of it, all our frames for it have left, and the peer has not ended its half.
    lingers: bool,
}

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
    max_concurrent: [u64; 2],
    /// Streams of each kind that this end may have open, whatever the peer allows.
    max_local: u64,
    slab: Slab<Stream>,
    keys: StreamKeys,
    counts: Counts,
    auto_tune: AutoTune,
    /// Streams that the peer opened and the application has not taken; at most the stream limit.
    unaccepted: [VecDeque<StreamId>; 2],
    /// Streams with something in `pending`; each at most once.
    control_queue: VecDeque<usize>,
    tickets: Tickets,
    /// Streams that have something to send and may, as far as they know.
    ready: Schedule,
    /// Streams with data and credit of their own that were found to need credit of the connection when there was
    /// none. They stay until it is their turn and there is some.
    connection_blocked: Schedule,
    /// What the peer lets all streams send together.
    connection: SendCredit,
    /// The connection has ended; what has come can still be read.
    ended: bool,
    /// No new streams: the connection ends when those that there are have.
    draining: bool,
    /// The limits that the peer is to be told of as too low.
    streams_blocked: [Option<u64>; 2],
    /// Where the connection's credit keeps streams waiting, if the peer is to be told.
    data_blocked: Option<u64>,
    /// Streams of the peer's for which there is no place yet.
    waiting: WaitingRoom,
    /// Streams of the peer whose refusal has not left; at most `MAX_REFUSALS`, besides those
    /// that waited before, which keep their place in the waiting room until then.
    refusals: VecDeque<Refusal>,
    pub(super) refused: u64,
    pub(super) budgets: Budgets,
    /// One more than the number of flushes that were asked for: data that left since the last one is not flushed.
    flushes: u64,
    /// How many streams linger.
    lingering: usize,
    /// The end of a stream waits for a flush.
    flush_wanted: bool,
    /// The time of the call that is being served, or the last one that told it.
    pub(super) now: Duration,
    /// What streams have been kept waiting by their own credit, all together.
    pub(super) blocked_by_stream: StopwatchSum,
    /// Streams wait for credit of the connection.
    pub(super) blocked_by_connection: Stopwatch,
    /// Bytes that wait in send buffers, of all streams.
    pub(super) send_budget: SendBudget,
    /// An own stream has ended, of each kind, and this end's own limit had kept others from being opened.
    available: [bool; 2],
    /// What the end of the connection cut off.
    pub(super) in_flight: InFlight,
}

/// Room for so many streams is kept when there are none.
const SPARE_STREAMS: usize = 64;

/// Whether an entry of a queue is still its stream's.
fn is_live(slab: &Slab<Stream>, key: usize, ticket: Ticket) -> bool {
    slab.get(key).is_some_and(|stream| stream.ticket == Some(ticket))
}

/// So many void entries are not worth a look through the queues.
const SPARE_TICKETS: usize = 64;

impl Streams {
    pub(super) fn new(config: &Config, side: Side, wire: Wire, now: Duration) -> Self {
        let caps = wire.capabilities();
        let local = config.parameters();
        let max_concurrent =
            [config.max_concurrent_bidi_streams, config.max_concurrent_uni_streams];
        let mut streams = Self {
            side,
            wire,
            caps,
            local,
            peer: TransportParameters::default(),
            stream_receive_window: config.stream_receive_window,
            max_concurrent,
            max_local: config.max_local_streams,
            slab: Slab::new(),
            keys: StreamKeys::default(),
            counts: Counts::default(),
            auto_tune: AutoTune::new(config, &caps),
            unaccepted: Default::default(),
            control_queue: VecDeque::new(),
            tickets: Tickets::default(),
            ready: Schedule::default(),
            connection_blocked: Schedule::default(),
            connection: SendCredit::new(if caps.connection_credit { 0 } else { u64::MAX }),
            ended: false,
            draining: false,
            streams_blocked: [None; 2],
            data_blocked: None,
            waiting: WaitingRoom::new(config.max_waiting_streams),
            refusals: VecDeque::new(),
            refused: 0,
            budgets: Budgets::new(config.cancelled_streams_per_second, caps.relative_credit, now),
            flushes: 1,
            lingering: 0,
            flush_wanted: false,
            now,
            blocked_by_stream: StopwatchSum::default(),
            blocked_by_connection: Stopwatch::default(),
            send_budget: SendBudget::new(config.send_window, config.send_buffer),
            available: [false; 2],
            in_flight: InFlight::default(),
        };
        streams.budgets.allow_waiting(config.max_waiting_streams);
        for dir in Dir::ALL {
            streams.budgets.allow_streams(max_concurrent[dir as usize]);
            let count = streams.counts.get_mut(!side, dir);
            (count.limit, count.advertised) =
                (max_concurrent[dir as usize], max_concurrent[dir as usize]);
        }
        if !caps.stream_limits {
            streams.counts.get_mut(side, Dir::Bi).limit = StreamId::MAX_COUNT;
        }
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
        self.slab.len()
    }

    /// How many of the peer's wait for a place.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn get(&mut self, id: StreamId) -> Option<&mut Stream> {
        let key = self.keys.get(id)?;
        self.slab.get_mut(key)
    }

    /// A stream with its halves as its kind and its opener give them.
    fn insert(&mut self, id: StreamId) -> usize {
        let local = id.initiator() == self.side;
        let (sends, receives) = match id.dir() {
            Dir::Bi => (true, true),
            Dir::Uni => (local, !local),
        };
        let window = self.stream_receive_window;
        let stream = Stream {
            id,
            send: sends.then(|| Send::new(self.initial_send_limit(id))),
            recv: receives.then(|| {
                let granted =
                    if self.caps.opens_with_credit { 0 } else { self.initial_recv_limit(id) };
                Recv::new(RecvCredit::new(window, granted))
            }),
            ticket: None,
            pending: PendingControl::default(),
            send_released: !sends,
            recv_released: !receives,
            abandoned_by_peer: false,
            lingers: false,
        };
        let key = self.slab.insert(stream);
        self.keys.insert(id, key);
        self.counts.get_mut(id.initiator(), id.dir()).live += 1;
        self.budgets.stream_opened(self.slab.len());
        // A larger window than was declared is told at once; of an own stream nothing can be told before its
        // first frame.
        let grown =
            !local && self.slab[key].recv.as_ref().is_some_and(|recv| recv.credit.grant_is_due());
        if self.caps.opens_with_credit || grown {
            self.queue_control(key, |pending| pending.credit = true);
        }
        key
    }

    /// The peer may be so many bytes ahead of the reader, on every stream, and further where its window has
    /// grown. Less than before takes effect as data is read: what was granted is not taken back.
    pub(super) fn set_stream_receive_window(&mut self, window: u64) {
        self.stream_receive_window = window;
        for key in self.slab.iter().map(|(key, _)| key).collect::<Vec<_>>() {
            let Some(recv) = self.slab[key].recv.as_mut() else { continue };
            self.auto_tune.give_back(recv.credit.set_initial_window(window));
            if recv.wants_credit() && recv.credit.grant_is_due() && recv.credit.received() > 0 {
                self.queue_control(key, |pending| pending.credit = true);
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

    /// The window that the peer's parameters declare for a stream, or for all if that is smaller; 0 where it declares
    /// none, as one that begins with grants.
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

    /// Notes something to tell the peer about a stream.
    fn queue_control(&mut self, key: usize, set: impl FnOnce(&mut PendingControl)) {
        let Some(stream) = self.slab.get_mut(key) else { return };
        set(&mut stream.pending);
        if !stream.pending.queued {
            stream.pending.queued = true;
            self.control_queue.push_back(key);
        }
    }

    /// Gives a stream a place in the schedule, if it has something to send and may.
    fn schedule(&mut self, key: usize) {
        let Some(stream) = self.slab.get_mut(key) else { return };
        let Some(send) = &mut stream.send else { return };
        if stream.ticket.is_some() {
            return;
        }
        if send.only_fin_left() || (send.buffered() > 0 && send.credit.left() > 0) {
            let ticket = self.tickets.next();
            stream.ticket = Some(ticket);
            self.ready.push(key, ticket, send.priority);
            self.forget_void_tickets();
        } else if send.buffered() > 0 && send.credit.is_blocked_unreported() {
            // A peer may forget what precedes the first STREAM frame (SPEC.md Q-34).
            let unseen =
                self.caps.blocked_frames && send.is_unseen() && stream.id.initiator() == self.side;
            self.queue_control(key, |pending| {
                pending.announce |= unseen;
                pending.blocked = true;
            });
        }
    }

    /// Streams that were reset, or got another priority, leave their old entries in the queues. Where those are
    /// not popped (a busy stream of a higher priority, no credit of the connection, a socket that takes
    /// nothing) they would add up for ever.
    fn forget_void_tickets(&mut self) {
        let most = 2 * self.slab.len() + SPARE_TICKETS;
        let slab = &self.slab;
        for queue in [&mut self.ready, &mut self.connection_blocked] {
            if queue.len() > most {
                queue.retain(|key, ticket| is_live(slab, key, ticket));
            }
        }
    }

    /// Takes the stream whose turn it is. One that waits for credit of the connection has waited longer than another of its priority.
    fn next_turn(&mut self) -> Option<(usize, Ticket)> {
        match !self.connection_blocked.is_empty()
            && self.connection.left() > 0
            && self.connection_blocked.next_priority() >= self.ready.next_priority()
        {
            true => self.connection_blocked.pop(),
            false => self.ready.pop(),
        }
    }

    /// The priority of the stream whose turn comes next; `None` when nothing can be sent.
    fn next_priority(&self) -> Option<i32> {
        match self.connection_blocked.is_empty() || self.connection.left() == 0 {
            true => self.ready.next_priority(),
            false => self.ready.next_priority().max(self.connection_blocked.next_priority()),
        }
    }

    /// Whether a stream cannot use its turn only for lack of the connection's credit. If so, DATA_BLOCKED is sent, once
    /// for each limit.
    fn note_connection_blocked(&mut self) {
        if self.connection.left() > 0 {
            return;
        }
        let slab = &self.slab;
        self.connection_blocked.forget_void_first(|key, ticket| is_live(slab, key, ticket));
        if self.connection_blocked.is_empty() {
            self.blocked_by_connection.stop(self.now);
            return;
        }
        self.blocked_by_connection.start(self.now);
        if self.caps.blocked_frames {
            self.data_blocked = self.connection.report_blocked().or(self.data_blocked);
        }
    }

    /// The stream has credit again, or nothing to send any more.
    fn unblock(&mut self, key: usize) {
        if let Some(send) = self.slab.get_mut(key).and_then(|stream| stream.send.as_mut())
            && let Some(since) = send.blocked.stop(self.now)
        {
            self.blocked_by_stream.stopped(since, self.now);
        }
    }

    /// Forgets a stream once its halves have ended, the application has let go of both, and the peer has
    /// been told all there is to tell.
    fn maybe_free(&mut self, key: usize) {
        let Some(stream) = self.slab.get_mut(key) else { return };
        if let Some(recv) = &mut stream.recv {
            self.auto_tune.give_back(recv.release_growth());
        }
        let all_sent = !stream.pending.queued
            && stream.send.as_ref().is_none_or(Send::is_done)
            && stream.recv.as_ref().is_none_or(Recv::is_done);
        // Of one whose end somebody waits for, how it ended has to be told first.
        let watch = stream.send.as_ref().map(|send| send.end_watch).unwrap_or_default();
        let over = match watch {
            EndWatch::Nobody => all_sent || self.ended,
            EndWatch::Waiting => all_sent,
            EndWatch::Notified => false,
        };
        let released = stream.send_released && stream.recv_released;
        if !(released && over) {
            // Only the peer's half is left.
            let is_ours_to_end = !released
                || stream.pending.queued
                || stream.send.as_ref().is_some_and(|send| !send.is_done());
            if !is_ours_to_end && !std::mem::replace(&mut stream.lingers, true) {
                self.lingering += 1;
            }
            return;
        }
        self.lingering -= usize::from(stream.lingers);
        let id = stream.id;
        if id.initiator() != self.side {
            let answered =
                !stream.abandoned_by_peer && stream.send.as_ref().is_some_and(Send::was_of_use);
            let read = stream.recv.as_ref().map(Recv::was_read).unwrap_or_default();
            if answered || read == WasRead::Whole {
                self.budgets.stream_served();
            } else if id.dir() == Dir::Bi && stream.abandoned_by_peer && read == WasRead::Nothing {
                self.budgets.stream_cancelled();
            }
        }
        let held = stream.send.as_ref().map(Send::held).unwrap_or_default();
        self.send_budget.change(held, Held::default());
        self.slab.remove(key);
        self.keys.remove(id);
        self.count_closed(id);
        if self.slab.is_empty() && self.slab.capacity() > SPARE_STREAMS {
            // After a burst of streams their memory goes back.
            self.slab.shrink_to_fit();
        }
    }

    /// From now on neither end opens streams; the peer's streams that wait, or that still arrive, are refused.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        self.refuse_waiting();
    }

    /// Whether neither end opens streams any more.
    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether every stream has ended, or was stopped and lacks only the peer's answer, and all our frames about streams
    /// have left.
    pub(super) fn is_drained(&self) -> bool {
        self.draining
            && self.slab.len() == self.lingering
            && self.control_queue.is_empty()
            && self.refusals.is_empty()
    }

    /// What ends with the connection and not by itself.
    fn count_in_flight(&self) -> InFlight {
        let is_in_flight = |stream: &Stream| {
            stream.send.as_ref().is_some_and(Send::is_in_flight)
                || stream.recv.as_ref().is_some_and(Recv::is_open)
        };
        let streams =
            self.slab.iter().map(|(_, stream)| stream).filter(|&stream| is_in_flight(stream));
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
        for key in self.slab.iter().map(|(key, _)| key).collect::<Vec<_>>() {
            self.unblock(key);
            if let Some(send) = &mut self.slab[key].send {
                send.forget_unsent();
            }
        }
        self.send_budget.clear();
        self.ready.clear();
        self.connection_blocked.clear();
        self.control_queue.clear();
        self.waiting.clear();
        self.refusals = VecDeque::new();
        // Those that only waited for the peer to be told wait no longer.
        let keys: Vec<_> = self.slab.iter().map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.maybe_free(key));
    }
}

#[cfg(test)]
mod work;
