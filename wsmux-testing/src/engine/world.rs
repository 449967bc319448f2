//! Two engines and a model of what their two applications did: what must hold after each step.

use std::collections::BTreeMap;

use bytes::Bytes;
use wsmux_proto::{Config, Connection, Credit, Dir, Frame, Side, StreamId, Time, Wire};

use super::{CLIENT, End, Item, Pair, SERVER, code, encode, ms, pattern, scripted_peer};

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
    /// A reset behind so many bytes.
    ResetAt(Side, usize, u64),
    Datagram(Side, usize),
    /// The stream window of one side.
    Window(Side, u64),
    /// How many streams of each kind one side lets the other have.
    Limit(Side, u64),
    /// The pipe's width in one direction; none is a socket that takes nothing.
    Pipe(Side, Option<usize>),
    /// Lets this much happen.
    Steps(usize),
    /// Lets so many milliseconds pass.
    Pass(u64),
}

/// What comes in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything that was begun is finished and read.
    WindUp,
    /// The socket goes away under both.
    Cut,
    /// One side closes at once.
    Close(Side),
    /// One side lets its streams end, and both finish theirs.
    Shutdown(Side),
}

/// One direction of one stream, as both applications know it.
#[derive(Debug, Default)]
pub struct Half {
    /// Bytes that the writer's engine took.
    written: usize,
    finished: bool,
    /// Reset, or dropped unfinished.
    given_up: bool,
    /// Given up behind so many bytes, which are to be read all the same.
    reliable: usize,
    /// Stopped, or dropped, by the reader.
    stopped: bool,
    /// Bytes that the reader got.
    read: usize,
    end: Option<End>,
    /// On the wire: bytes that left, and how many the reader's engine had allowed when it last spoke.
    sent: u64,
    granted: u64,
}

pub struct World {
    pair: Pair,
    /// The stream window that credit begins with, and the largest that either side was ever told.
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
    /// The connection has ended, as it was told to.
    ended: bool,
    /// One side shuts down: it refuses streams that reach it now.
    refuses: bool,
}

const DATAGRAMS: usize = 5_000;

/// Of each stream and of the connection, where no message is handled; SPEC.md §10 has more room for both.
const STREAM_STATE: u64 = 1024;
const CONNECTION_STATE: u64 = 8 * 1024;

/// Far above what anything here takes: two that go on for so long will go on for ever.
const MAX_STEPS: usize = 1_000_000;

/// Whether a message is what the documents' encoder makes of its frames: each in its shortest form, and only the
/// last without its length.
fn assert_is_canonical(wire: Wire, frames: &[Frame], message: &[u8]) {
    let (last, others) = frames.split_last().expect("no message is empty");
    let head: Vec<_> = others.iter().flat_map(|frame| encode::encode(wire, frame, false)).collect();
    let either = [true, false].map(|end| [&head[..], &encode::encode(wire, last, end)].concat());
    assert!(either.iter().any(|either| either == message), "{wire:?} {frames:?} in {message:x?}");
}

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

    fn write(&mut self, side: Side, id: StreamId, len: usize, chunk: bool) {
        if !writes(id, side) {
            return;
        }
        let (ended, now) = (self.ended, self.pair.now);
        let data = pattern(seed(id, side), self.half(id, side).written as u64, len);
        // A chunk is memory that the engine keeps.
        let taken = self.pair.end(side).of(|conn| match chunk {
            true => conn.send_stream(now, id).write_chunk(&mut Bytes::from(data.clone())),
            false => conn.send_stream(now, id).write(&data),
        });
        let half = self.half(id, side);
        match taken {
            Ok(taken) => {
                assert!(!half.finished && !half.given_up, "{id} takes bytes behind its end");
                half.written += taken;
            }
            Err(_) if ended => {}
            Err(_) => assert!(half.finished || half.given_up || half.stopped, "{id} refused bytes"),
        }
    }

    fn read(&mut self, side: Side, id: StreamId, max: usize) {
        if !writes(id, !side) {
            return;
        }
        let (ended, refuses) = (self.ended, self.refuses);
        let (data, end) = self.pair.end(side).read_up_to(id, max);
        let half = self.half(id, !side);
        assert!(
            data == pattern(seed(id, !side), half.read as u64, data.len()),
            "{id}: other bytes than were written, from {}",
            half.read
        );
        half.read += data.len();
        assert!(half.read <= half.written, "{id}: more than was written");
        match end {
            End::Open => {}
            End::Fin => {
                assert!(half.finished && !half.given_up, "{id}: an end that nobody made");
                assert_eq!(half.read, half.written, "{id}: a clean end before all bytes");
                half.end = Some(end);
            }
            End::Reset(_) => {
                assert!(half.given_up || refuses, "{id}: a reset that nobody made");
                let reliable = half.reliable.min(half.written);
                assert!(half.read >= reliable, "{id}: {} bytes before the reset", half.read);
                half.end = Some(end);
            }
            End::Closed => {
                assert!(half.stopped || half.end.is_some(), "{id}: no reason to be closed")
            }
            End::Lost if ended => half.end = Some(end),
            End::Lost => panic!("{id}: {:?}", self.pair.end(side).conn.close_reason()),
        }
    }

    pub fn apply(&mut self, op: &Op) {
        match *op {
            Op::Open(side, dir) => {
                if let Ok(Some(id)) = self.pair.end(side).of(|conn| conn.open(dir)) {
                    self.hold(side, id);
                }
            }
            Op::Accept(side) => self.accept(side),
            Op::Pipe(side, width) => {
                let end = self.pair.end(side);
                end.stalled = width.is_none();
                end.capacity = width;
            }
            Op::Steps(count) => {
                for _ in 0..count {
                    self.pair.step();
                    self.observe();
                }
            }
            Op::Pass(milliseconds) => {
                let until = self.pair.now + ms(milliseconds);
                let mut steps = 0;
                while self.pair.step_until(until) {
                    self.observe();
                    steps += 1;
                    assert!(steps < MAX_STEPS, "the two never come to rest");
                }
            }
            Op::Window(side, bytes) => {
                self.largest_window = self.largest_window.max(bytes);
                self.pair.end(side).of(|conn| conn.set_stream_receive_window(bytes));
            }
            // js-ws refuses what is above the limit, which is another story (tests/engine/limits.rs).
            Op::Limit(..) if self.pair.wire == Wire::JsWs => {}
            Op::Limit(side, count) => {
                for dir in [Dir::Bi, Dir::Uni] {
                    self.pair.end(side).of(|conn| conn.set_max_concurrent(dir, count));
                }
            }
            Op::Datagram(side, len) => {
                let sent = |conn: &mut Connection| conn.send_datagram(vec![1; len].into()).is_ok();
                self.pair.end(side).of(sent);
                while self.pair.end(!side).of(|conn| conn.read_datagram().is_some()) {}
            }
            Op::Write(side, nth, _)
            | Op::WriteChunk(side, nth, _)
            | Op::Read(side, nth, _)
            | Op::Finish(side, nth)
            | Op::Reset(side, nth)
            | Op::Stop(side, nth)
            | Op::Priority(side, nth, _)
            | Op::DropSender(side, nth)
            | Op::DropReceiver(side, nth)
            | Op::Announce(side, nth)
            | Op::ResetAt(side, nth, _) => {
                if let Some(id) = self.pick(side, nth) {
                    self.apply_to(op, side, id);
                }
            }
        }
        self.observe();
    }

    fn apply_to(&mut self, op: &Op, side: Side, id: StreamId) {
        let (sends, receives) = (writes(id, side), writes(id, !side));
        let now = self.pair.now;
        match *op {
            Op::Write(_, _, len) => self.write(side, id, len, false),
            Op::WriteChunk(_, _, len) => {
                self.largest_chunk = self.largest_chunk.max(len);
                self.write(side, id, len, true);
            }
            Op::Read(_, _, max) => self.read(side, id, max),
            Op::Finish(..) if sends => {
                let done =
                    self.pair.end(side).of(|conn| conn.send_stream(now, id).finish().is_ok());
                self.half(id, side).finished |= done;
            }
            Op::Reset(..) if sends => {
                let end = self.pair.end(side);
                let done = end.of(|conn| conn.send_stream(now, id).reset(code(1)).is_ok());
                let half = self.half(id, side);
                half.given_up |= done;
                half.reliable = if done { 0 } else { half.reliable };
            }
            Op::ResetAt(_, _, reliable) if sends => {
                let reset =
                    |conn: &mut Connection| conn.send_stream(now, id).reset_at(code(1), reliable);
                if self.pair.end(side).of(reset).is_ok() {
                    let half = self.half(id, side);
                    half.given_up = true;
                    half.reliable = reliable as usize;
                }
            }
            Op::DropSender(..) if sends => {
                self.pair.end(side).of(|conn| conn.send_stream(now, id).release());
                let half = self.half(id, side);
                half.given_up |= !half.finished;
            }
            Op::Stop(..) if receives => {
                let end = self.pair.end(side);
                let done = end.of(|conn| conn.recv_stream(now, id).stop(code(2)).is_ok());
                self.half(id, !side).stopped |= done;
            }
            Op::DropReceiver(..) if receives => {
                self.pair.end(side).of(|conn| conn.recv_stream(now, id).release());
                self.half(id, !side).stopped = true;
            }
            Op::Priority(_, _, priority) => {
                let end = self.pair.end(side);
                let _ = end.of(|conn| conn.send_stream(now, id).set_priority(priority));
            }
            Op::Announce(..) if sends => {
                self.pair.end(side).of(|conn| conn.send_stream(now, id).announce());
            }
            _ => {}
        }
    }

    fn accept(&mut self, side: Side) {
        for dir in [Dir::Bi, Dir::Uni] {
            while let Some(id) = self.pair.end(side).of(|conn| conn.accept(dir)) {
                assert_eq!(id.initiator(), !side);
                self.hold(side, id);
            }
        }
    }

    /// What left since the last look, against what was allowed; and what each engine holds.
    fn observe(&mut self) {
        for side in [CLIENT, SERVER] {
            for item in self.pair.end(side).take_sent() {
                let Item::Message(message) = item else { panic!("{item:?}") };
                let frames = scripted_peer::decode(self.pair.wire, message.clone());
                assert_is_canonical(self.pair.wire, &frames, &message);
                frames.iter().for_each(|frame| self.account(side, frame));
            }
            self.pair.end(side).take_events();
            let conn = &self.pair.end(side).conn;
            assert!(conn.close_reason().is_none(), "{:?}", conn.close_reason());
            let stats = conn.stats(Time::EPOCH);
            self.check_growth(side, stats.window_growth);
            self.check_memory(side);
            // A buffer may pass its limit by the rest of a chunk, where chunks are taken whole.
            let most = stats.live_streams * (self.send_buffer + self.largest_chunk) as u64;
            assert!(stats.send_buffered <= most, "{stats:?}");
            let mine = |(key, half): (&(StreamId, Side), &Half)| {
                (key.1 == side).then_some(half.written as u64 - half.sent)
            };
            let unsent: u64 = self.halves.iter().filter_map(mine).sum();
            assert!(
                stats.send_buffered <= unsent,
                "bytes that nobody wrote, or that left: {stats:?}"
            );
        }
    }

    /// What is allocated for a connection, against SPEC.md §10 without what a socket holds (C-53). Where the formula has
    /// windows and buffers, of the streams that can be looked at it is what was in them at most (C-70).
    fn check_memory(&mut self, side: Side) {
        let most_chunk = self.largest_chunk as u64;
        let now = self.pair.now;
        let conn = &mut self.pair.end(side).conn;
        let live = conn.stats(now).live_streams;
        let (mut receive, mut send, mut seen) = (0, 0, 0);
        let peaks = std::mem::take(&mut self.peaks[side as usize]);
        let mut still = BTreeMap::new();
        for &id in &self.held[side as usize] {
            let conn = &mut self.pair.end(side).conn;
            let unread = conn.recv_stream(now, id).stats().map(|stats| stats.buffered).ok();
            let unsent = conn.send_stream(now, id).stats().map(|stats| stats.buffered).ok();
            if unread.is_none() && unsent.is_none() {
                continue;
            }
            let (received, written) = peaks.get(&id).copied().unwrap_or_default();
            let peak = (received.max(unread.unwrap_or(0)), written.max(unsent.unwrap_or(0)));
            (receive, send, seen) = (receive + peak.0, send + peak.1, seen + 1);
            still.insert(id, peak);
        }
        self.peaks[side as usize] = still;
        let hidden = live.saturating_sub(seen);
        receive += hidden * self.largest_window.max(self.max_window);
        send += hidden * (self.send_buffer as u64 + most_chunk);
        let queues = receive * 4 + send * 3 / 2 + 2 * DATAGRAMS as u64;
        let state = self.most_streams(side, live) * STREAM_STATE + CONNECTION_STATE;
        let (most, held) = (queues + state, self.pair.end(side).heap.held());
        let conn = &self.pair.end(side).conn;
        assert!(held <= most as i64, "{side:?} holds {held} of {most}: {conn:?}");
    }

    /// Tables keep the places of as many streams as there were.
    fn most_streams(&mut self, side: Side, live: u64) -> u64 {
        let most = &mut self.most_streams[side as usize];
        *most = live.max(*most);
        *most
    }

    /// All that a reader's peers may be ahead of it, beyond the windows that each stream has in any case, comes
    /// out of one budget (C-57).
    fn check_growth(&self, reader: Side, growth: u64) {
        assert!(growth <= self.budget, "{growth} of {}", self.budget);
        let beyond = |(key, half): (&(StreamId, Side), &Half)| {
            let over = half.given_up || half.stopped || half.end.is_some() || key.1 == reader;
            // Credit behind the end of a stream is of no use.
            let most = if half.finished { half.written as u64 } else { u64::MAX };
            let limit = half.granted.min(most);
            (!over).then(|| limit.saturating_sub(half.read as u64 + self.largest_window))
        };
        let beyond: u64 = self.halves.iter().filter_map(beyond).sum();
        assert!(beyond <= growth, "{beyond} bytes of credit that come from nowhere");
    }

    fn account(&mut self, from: Side, frame: &Frame) {
        let grown = if self.budget > 0 { self.max_window } else { 0 };
        let window = self.largest_window.max(grown);
        match frame {
            Frame::Stream { id, data, offset, .. } => {
                let half = self.half(*id, from);
                assert!(
                    offset.is_none_or(|offset| offset == half.sent),
                    "{frame:?} after {}",
                    half.sent
                );
                half.sent += data.len() as u64;
                assert!(half.sent <= half.granted, "{id}: {} of {}", half.sent, half.granted);
                assert!(half.sent <= half.written as u64);
            }
            Frame::ResetStream { id, final_size: Some(size), .. } => {
                assert_eq!(
                    *size,
                    self.half(*id, from).sent,
                    "the final size is what was sent (C-24)"
                );
            }
            Frame::MaxStreamData { id, credit } => {
                let half = self.half(*id, !from);
                match credit {
                    Credit::Total(total) => {
                        assert!(*total > half.granted, "{id}: a grant that grants nothing");
                        half.granted = *total;
                    }
                    Credit::More(more) => half.granted += more,
                    _ => panic!("a credit of an unknown kind"),
                }
                // So what lies unread never exceeds a window for each stream (C-53, C-56).
                assert!(
                    half.granted <= half.read as u64 + window,
                    "{id}: more than a window ahead"
                );
            }
            _ => {}
        }
    }

    /// Until nothing moves any more.
    fn drive(&mut self) {
        let mut steps = 0;
        while self.pair.step() {
            // After each step: what one end sends in the next may rest on what the other sent in this.
            self.observe();
            steps += 1;
            assert!(steps < MAX_STEPS, "the two never come to rest");
        }
        self.observe();
    }

    fn open_pipes(&mut self) {
        for side in [CLIENT, SERVER] {
            let end = self.pair.end(side);
            (end.stalled, end.capacity) = (false, None);
        }
    }

    /// Whatever ends it, nothing may be left.
    pub fn end(mut self, ending: Ending) {
        let now = self.pair.now;
        match ending {
            Ending::WindUp => return self.wind_up(),
            Ending::Cut => {
                self.ended = true;
                self.pair.cut();
            }
            Ending::Close(side) => {
                self.ended = true;
                self.pair.end(side).of(|conn| conn.close(now, code(5), "enough".into()));
                self.open_pipes();
                self.pair.drive();
            }
            Ending::Shutdown(side) => {
                self.open_pipes();
                self.drive();
                [CLIENT, SERVER].into_iter().for_each(|side| self.accept(side));
                (self.ended, self.refuses) = (true, true);
                let now = self.pair.now;
                self.pair.end(side).of(|conn| conn.shutdown(now, Some(now + ms(1_000))));
                for side in [CLIENT, SERVER] {
                    for id in self.held[side as usize].clone() {
                        self.apply_to(&Op::Finish(side, 0), side, id);
                    }
                }
                self.pair.pass(ms(10_000));
            }
        }
        self.read_out();
    }

    /// The connection is over: what came is readable, in order and never with an end that nobody made.
    fn read_out(mut self) {
        for side in [CLIENT, SERVER] {
            assert!(self.pair.end(side).conn.close_reason().is_some(), "{side:?} has not heard");
            self.accept(side);
            for id in self.held[side as usize].clone() {
                self.read(side, id, usize::MAX);
            }
            for id in std::mem::take(&mut self.held[side as usize]) {
                self.pair.end(side).release(id);
            }
        }
        self.pair.pass(ms(10_000));
        for side in [CLIENT, SERVER] {
            let conn = &self.pair.end(side).conn;
            assert!(
                conn.is_closed() && !conn.wants_transmit(),
                "{side:?} has more to say: {conn:?}"
            );
            let stats = conn.stats(Time::EPOCH);
            let left = (stats.live_streams, stats.send_buffered, stats.window_growth);
            assert_eq!(left, (0, 0, 0), "{side:?}: {conn:?}");
        }
    }

    /// Both applications finish what they began and read all there is; then nothing may be left.
    fn wind_up(mut self) {
        self.open_pipes();
        for round in 0.. {
            assert!(round < 100_000, "it never ends: {:?}", self.halves);
            self.drive();
            for side in [CLIENT, SERVER] {
                self.accept(side);
                for id in self.held[side as usize].clone() {
                    if writes(id, side) {
                        self.apply_to(&Op::Finish(side, 0), side, id);
                    }
                    let half = self.halves.get(&(id, !side));
                    if half.is_some_and(|half| half.end.is_none() && !half.stopped) {
                        self.read(side, id, usize::MAX);
                    }
                }
            }
            if self.halves.values().all(|half| half.end.is_some() || half.stopped) {
                break;
            }
        }
        for (&(id, writer), half) in &self.halves {
            let clean = half.finished && !half.given_up && !half.stopped;
            assert!(!clean || half.end == Some(End::Fin), "{id} from {writer:?}: {half:?}");
            assert!(
                half.end.is_some() || half.stopped,
                "{id} from {writer:?} has no end: {half:?}"
            );
        }
        for side in [CLIENT, SERVER] {
            for id in std::mem::take(&mut self.held[side as usize]) {
                self.pair.end(side).release(id);
            }
        }
        self.pair.drive();
        for side in [CLIENT, SERVER] {
            self.accept(side);
            assert!(self.held[side as usize].is_empty(), "all had been accepted");
            let conn = &self.pair.end(side).conn;
            assert_eq!(conn.stats(Time::EPOCH).live_streams, 0, "{side:?}: {conn:?}");
            assert_eq!(conn.stats(Time::EPOCH).send_buffered, 0);
            assert_eq!(conn.stats(Time::EPOCH).window_growth, 0);
            assert!(!conn.wants_transmit(), "all has been said");
        }
    }
}
