//! One engine, a peer that says anything, an application that asks for anything, and time that jumps.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use wsmux_proto::{
    Close, Config, Connection, Credit, Dir, DriverLost, Frame, MessageBuf, Side, SocketError,
    StreamId, Time, Transmit, TransportErrorCode, TransportParameters, VarInt, Wire,
};

use super::input::Input;
use crate::engine::{
    CLIENT, Heap, SERVER, WIRES, encode, ms,
    scripted_peer::{decode, generous},
};

/// More than come out of a few KiB of input add nothing but time.
const MAX_OPS: usize = 1_000;

/// Bounds of what one call may lead to; far above what any does.
const MAX_EVENTS: usize = 10_000;
const MAX_TRANSMITS: usize = 10_000;
const MAX_TIMERS: usize = 1_000;

/// SPEC.md §10, `c` and `k`: generous, for each of the two only has to be a constant.
const STREAM_STATE: u64 = 4 * 1024;
const CONNECTION_STATE: u64 = 32 * 1024;

/// What a peer can waste in refusals and answers that it does not read, beside its streams' own state.
const ANSWERS: u64 = 64 * 1024;

const DATAGRAMS: usize = 3_000;
const WINDOWS: [u64; 5] = [1, 20, 300, 5_000, 300_000];
/// Where a queue of bytes changes its mind.
const SIZES: [usize; 12] = [1, 2, 5, 300, 511, 512, 513, 2_047, 4_095, 4_096, 4_097, 16_000];
const MAX: u64 = VarInt::MAX.into_inner();
/// RFC 9000 §4.6.
const MAX_COUNT: u64 = 1 << 60;

/// Demands C-27, C-32, C-33, C-53, C-54, C-70, C-71, Q-3, Q-9, W-11.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut case = Case::new(&mut input);
    for _ in 0..MAX_OPS {
        if input.is_empty() {
            break;
        }
        case.step(&mut input);
        case.check();
    }
    case.end();
}

struct Case {
    conn: Connection,
    heap: Heap,
    wire: Wire,
    /// The engine's.
    side: Side,
    now: Time,
    /// Bytes of each stream that the peer has sent.
    sent: BTreeMap<StreamId, u64>,
    last_message: Vec<u8>,
    /// The next stream of a flood, above those that are mostly spoken of.
    flooded: u64,
    /// All streams that the application holds, and those whose end it waits for.
    held: Vec<StreamId>,
    watched: Vec<StreamId>,
    opened: u64,
    largest_window: u64,
    /// The same without growth.
    largest_initial_window: u64,
    largest_limit: u64,
    budget: u64,
    send_buffer: u64,
    largest_chunk: u64,
    has_closed: bool,
}

impl Case {
    fn new(input: &mut Input<'_>) -> Self {
        let (wire, side) = (input.pick(&WIRES), input.pick(&[CLIENT, SERVER]));
        let (window, max_window) = (input.pick(&WINDOWS), input.pick(&WINDOWS));
        let (budget, limit) = (input.pick(&[0, 100, 20_000]), input.between(0, 5));
        let send_buffer = input.pick(&[1, 100, 200_000]);
        let mut config = Config::default();
        config
            .stream_receive_window(window)
            .max_stream_receive_window(max_window)
            .window_growth_budget(budget)
            .send_buffer(send_buffer)
            .max_concurrent_bidi_streams(limit)
            .max_concurrent_uni_streams(limit)
            .max_record_size(0)
            .datagram_receive_buffer_size(DATAGRAMS)
            .datagram_send_buffer_size(DATAGRAMS);
        if input.flag() {
            config.max_idle_timeout(None).keep_alive_interval(None);
        }
        let mut heap = Heap::default();
        let conn = heap.of(|| Connection::new(config, side, wire, Time::EPOCH));
        let mut case = Self {
            conn,
            heap,
            wire,
            side,
            now: Time::EPOCH,
            sent: BTreeMap::new(),
            last_message: Vec::new(),
            flooded: 6,
            held: Vec::new(),
            watched: Vec::new(),
            opened: 0,
            largest_window: window.max(max_window),
            largest_initial_window: window,
            largest_limit: limit,
            budget,
            send_buffer: send_buffer as u64,
            largest_chunk: 0,
            has_closed: false,
        };
        // Most peers begin as they should.
        if wire == Wire::QMux && input.below(8) > 0 {
            case.say(&[Frame::TransportParameters(parameters(input))]);
        }
        case
    }

    // ---- the peer ----

    fn message(&mut self, message: Vec<u8>) {
        // Of the engine's own memory, as a socket's message is: in a block that may be twice as large (C-72).
        self.heap.of(|| {
            let mut block = BytesMut::with_capacity(2 * message.len());
            block.extend_from_slice(&message);
            self.conn.handle_message(self.now, block.split().freeze());
        });
        self.last_message = message;
    }

    fn say(&mut self, frames: &[Frame]) {
        let encoded = frames.iter().map(|frame| encode::encode(self.wire, frame, false));
        if self.wire.capabilities().many_frames_per_message {
            self.message(encoded.flatten().collect());
        } else {
            encoded.collect::<Vec<_>>().into_iter().for_each(|message| self.message(message));
        }
    }

    /// Mostly one of a few.
    fn stream_id(&self, input: &mut Input<'_>) -> StreamId {
        let initiator = input.pick(&[!self.side, !self.side, self.side]);
        let uni = self.wire == Wire::QMux && input.below(4) == 0;
        let index = match input.below(12) {
            11 => input.between(0, MAX_COUNT - 1),
            few => few as u64 % 6,
        };
        StreamId::new(initiator, if uni { Dir::Uni } else { Dir::Bi }, index)
    }

    /// What the peer would say of its next byte, or something else.
    fn offset(&self, id: StreamId, input: &mut Input<'_>) -> u64 {
        let sent = self.sent.get(&id).copied().unwrap_or(0);
        let offset = match input.below(16) {
            13 => sent + 1,
            14 => sent.saturating_sub(1),
            15 => input.between(0, MAX),
            _ => sent,
        };
        // Past the largest integer there is nothing to write.
        offset.min(MAX)
    }

    fn frame(&mut self, input: &mut Input<'_>) -> Frame {
        let id = self.stream_id(input);
        let qmux = self.wire == Wire::QMux;
        match input.below(if qmux { 22 } else { 14 }) {
            0..6 => {
                let (offset, fin) = (self.offset(id, input), input.below(8) == 0);
                // On js-ws a message has either.
                let len = if fin && !qmux { 0 } else { data_len(input) };
                self.sent.insert(id, offset + len as u64);
                let data = Bytes::from(vec![7; len]);
                Frame::Stream { id, offset: qmux.then_some(offset), data, fin }
            }
            6 | 7 => Frame::MaxStreamData {
                id,
                credit: match qmux {
                    true => Credit::Total(number(input)),
                    false => Credit::More(number(input).min(u32::MAX.into())),
                },
            },
            8 | 9 => Frame::StopSending { id, code: varint(number(input)) },
            10 | 11 => {
                let final_size = self.offset(id, input);
                let at = qmux && input.flag();
                let reliable_size = if at { number(input).min(final_size) } else { 0 };
                let final_size = qmux.then_some(final_size);
                Frame::ResetStream { id, code: varint(number(input)), final_size, reliable_size }
            }
            12 if qmux => Frame::StreamDataBlocked { id, limit: number(input) },
            12 | 13 if !qmux => Frame::FinReceived { id },
            13 => Frame::Padding(1 + input.below(300)),
            14 => Frame::MaxData(number(input)),
            15 => Frame::MaxStreams { dir: id.dir(), count: count(input) },
            16 => Frame::StreamsBlocked { dir: id.dir(), limit: count(input) },
            17 => Frame::DataBlocked(number(input)),
            18 => Frame::Ping(varint(number(input))),
            19 => Frame::Pong(varint(number(input))),
            20 => Frame::Datagram(vec![1; data_len(input)].into()),
            _ if input.below(4) > 0 => Frame::Padding(1),
            _ if input.flag() => Frame::TransportParameters(parameters(input)),
            _ => Frame::ConnectionClose(Close::Transport {
                code: TransportErrorCode::NO_ERROR,
                frame: VarInt::default(),
                reason: Bytes::copy_from_slice(input.bytes(40)),
            }),
        }
    }

    // ---- everything that can happen ----

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(48) {
            0 => {
                let message = input.bytes(100).to_vec();
                self.message(message);
            }
            1..16 => {
                let frames: Vec<_> = (0..=input.below(3)).map(|_| self.frame(input)).collect();
                self.say(&frames);
            }
            // What costs nothing once may cost something each time.
            16 => {
                for _ in 0..input.below(250) {
                    let message = self.last_message.clone();
                    self.message(message);
                }
            }
            17 => self.flood(input),
            18..20 => self.peer_socket(input),
            20..26 => {
                for _ in 0..=input.below(4) {
                    self.transmit();
                }
            }
            26..28 => self.time(input),
            28..31 => self.accept(),
            31 | 32 => {
                let dir = if input.below(4) == 0 { Dir::Uni } else { Dir::Bi };
                self.open(dir);
            }
            _ => match self.held.len() {
                0 => self.connection_call(input),
                held => {
                    let id = self.held[input.below(held)];
                    self.stream_call(id, input);
                }
            },
        }
    }

    /// Streams that are opened and given up, as many as the peer likes.
    fn flood(&mut self, input: &mut Input<'_>) {
        for _ in 0..input.pick(&[1, 100, 50_000]) {
            if self.conn.close_reason().is_some() {
                return;
            }
            let id = StreamId::new(!self.side, Dir::Bi, self.flooded);
            self.flooded += 1;
            let (code, qmux) = (VarInt::default(), self.wire == Wire::QMux);
            let open = match qmux {
                true => Frame::Stream { id, offset: Some(0), data: Bytes::new(), fin: false },
                false => Frame::MaxStreamData { id, credit: Credit::More(9) },
            };
            let final_size = qmux.then_some(0);
            let reset = Frame::ResetStream { id, code, final_size, reliable_size: 0 };
            self.say(&[open, reset, Frame::StopSending { id, code }]);
        }
    }

    /// Two sizes over and over on one stream, as far as there is credit; some of them read.
    fn pieces(&mut self, input: &mut Input<'_>) {
        let id = StreamId::new(!self.side, Dir::Bi, input.below(3) as u64);
        let sizes = [input.pick(&SIZES), input.pick(&SIZES)];
        let (rounds, padding) = (input.below(80), input.pick(&[0, 1, 5_000]));
        let (read_every, read) = (1 + input.below(40), input.pick(&SIZES));
        let qmux = self.wire == Wire::QMux;
        for round in 0..rounds {
            let (len, offset) = (sizes[round % 2], self.sent.get(&id).copied().unwrap_or(0));
            let Ok(stats) = self.conn.recv_stream(self.now, id).stats() else { return };
            if stats.credit < len as u64 || stats.received != offset {
                return;
            }
            self.sent.insert(id, offset + len as u64);
            let data = Bytes::from(vec![7; len]);
            let frame = Frame::Stream { id, offset: qmux.then_some(offset), data, fin: false };
            match qmux && padding > 0 {
                true => self.say(&[frame, Frame::Padding(padding.min(2 * len))]),
                false => self.say(&[frame]),
            }
            if round % read_every == read_every - 1 {
                self.heap.of(|| drop(self.conn.recv_stream(self.now, id).read(read)));
            }
            self.check();
        }
    }

    /// Two sizes over and over, written by both methods, to a peer that grants what it did.
    fn written(&mut self, input: &mut Input<'_>) {
        let Some(&id) = self.held.first() else { return };
        let sizes = [input.pick(&SIZES), input.pick(&SIZES)];
        let (rounds, chunks) = (input.below(80), input.below(4));
        for round in 0..rounds {
            let len = sizes[round % 2];
            let chunk = chunks & (1 << (round % 2)) != 0;
            if chunk {
                self.largest_chunk = self.largest_chunk.max(len as u64);
            }
            let mut send = self.conn.send_stream(self.now, id);
            self.heap.of(|| match chunk {
                true => drop(send.write_chunk(&mut vec![7; len].into())),
                false => drop(send.write(&vec![7; len])),
            });
            self.check();
        }
    }

    fn peer_socket(&mut self, input: &mut Input<'_>) {
        let what = input.below(60);
        let (conn, now) = (&mut self.conn, self.now);
        self.heap.of(|| match what {
            0..20 => conn.handle_ping(now),
            20..40 => conn.handle_pong(now, &(what as u64 - 20).to_be_bytes()),
            40..45 => conn.handle_pong(now, b"unasked"),
            45..50 => conn.handle_socket_full(now),
            50 => conn.handle_text(now),
            51 => conn.handle_oversized(now),
            52 => conn.handle_garbage(now, "what is this"),
            53 => conn.handle_close(now, Some(4_005), "enough"),
            54 => conn.handle_close(now, None, ""),
            55 => conn.handle_socket_end(now, SocketError::Eof),
            _ => {}
        });
    }

    fn time(&mut self, input: &mut Input<'_>) {
        self.now += ms(match input.below(4) {
            0 => 0,
            1 => input.between(0, 100),
            2 => input.between(0, 10_000),
            _ => input.between(0, 1_000_000),
        });
        self.fire();
    }

    fn fire(&mut self) {
        let mut fired = 0;
        while self.conn.poll_timeout().is_some_and(|at| at <= self.now) {
            self.heap.of(|| self.conn.handle_timeout(self.now));
            fired += 1;
            assert!(fired < MAX_TIMERS, "a timer that is due again as soon as it was handled");
        }
    }

    fn accept(&mut self) {
        for dir in [Dir::Bi, Dir::Uni] {
            while let Some(id) = self.heap.of(|| self.conn.accept(dir)) {
                assert_eq!((id.initiator(), id.dir()), (!self.side, dir));
                self.held.push(id);
            }
        }
    }

    fn open(&mut self, dir: Dir) {
        if let Some(id) = self.heap.of(|| self.conn.open(dir).ok().flatten()) {
            assert_eq!((id.initiator(), id.dir()), (self.side, dir));
            self.held.push(id);
            self.opened += 1;
        }
    }

    fn connection_call(&mut self, input: &mut Input<'_>) {
        let (what, dir) = (input.below(40), input.pick(&[Dir::Bi, Dir::Uni]));
        let (number, window, len) = (input.between(0, 8), input.pick(&WINDOWS), input.below(3_000));
        let (conn, now) = (&mut self.conn, self.now);
        match what {
            10..15 => self.largest_limit = self.largest_limit.max(number),
            15..20 => {
                self.largest_window = self.largest_window.max(window);
                self.largest_initial_window = self.largest_initial_window.max(window);
            }
            30..34 => return self.pieces(input),
            34..37 => return self.written(input),
            _ => {}
        }
        self.heap.of(|| match what {
            0..5 => drop(conn.send_datagram(vec![1; len].into())),
            5..10 => drop(conn.read_datagram()),
            10..15 => conn.set_max_concurrent(dir, number),
            15..20 => conn.set_stream_receive_window(window),
            20..25 => {
                conn.report_streams_blocked(dir);
            }
            25 => conn.close(now, varint(number), "enough".into()),
            26 => conn.shutdown(now, Some(now + ms(number))),
            27 => conn.shutdown(now, None),
            28 => conn.abandon(now, DriverLost::Dropped),
            _ => {}
        });
    }

    fn stream_call(&mut self, id: StreamId, input: &mut Input<'_>) {
        let (what, len) = (input.below(44), input.below(3_000));
        let code = varint(input.between(0, 10));
        let (conn, now) = (&mut self.conn, self.now);
        let chunk = (12..16).contains(&what);
        self.largest_chunk = self.largest_chunk.max(if chunk { len as u64 } else { 0 });
        self.heap.of(|| match what {
            0..4 => drop(conn.send_stream(now, id).write(&vec![5; len])),
            12..14 => drop(conn.send_stream(now, id).write_chunk(&mut vec![5; len].into())),
            // Of what has no room, as the documentation asks, nothing.
            14..16 if conn.send_stream(now, id).poll_room().is_ok_and(|room| room > 0) => {
                let _ = conn.send_stream(now, id).append_chunk(vec![5; len].into());
            }
            4..12 => drop(conn.recv_stream(now, id).read(1 + len)),
            16..20 => {
                let mut out = Vec::with_capacity(len);
                let _ = conn.recv_stream(now, id).read_into(&mut out);
            }
            20..23 => drop(conn.send_stream(now, id).finish()),
            23 => drop(conn.send_stream(now, id).reset(code)),
            24 => drop(conn.send_stream(now, id).reset_at(code, len as u64)),
            25 | 26 => drop(conn.recv_stream(now, id).stop(code)),
            27 => drop(conn.recv_stream(now, id).poll_reset()),
            28 => conn.send_stream(now, id).announce(),
            29 => drop(conn.send_stream(now, id).set_priority(len as i32 % 3)),
            30 => {
                conn.send_stream(now, id).poll_end();
            }
            31 => drop((conn.send_stream(now, id).stats(), conn.recv_stream(now, id).stats())),
            32 | 33 => conn.send_stream(now, id).release(),
            34 | 35 => conn.recv_stream(now, id).release(),
            _ => {}
        });
        match what {
            30 => self.watched.push(id),
            36..38 => self.release(id),
            38.. => self.connection_call(input),
            _ => {}
        }
    }

    fn release(&mut self, id: StreamId) {
        self.held.retain(|held| *held != id);
        let (conn, now) = (&mut self.conn, self.now);
        self.heap.of(|| {
            conn.send_stream(now, id).release();
            conn.recv_stream(now, id).release();
        });
    }

    /// Lets out one item. Says whether there was one.
    fn transmit(&mut self) -> bool {
        let wanted = self.conn.wants_transmit();
        let (transmit, out) = self.heap.of(|| {
            let mut out = MessageBuf::new();
            (self.conn.poll_transmit(self.now, &mut out), out)
        });
        assert!(wanted || transmit.is_none(), "wants_transmit hid {transmit:?}");
        assert!(!self.has_closed || transmit.is_none(), "{transmit:?} behind the Close");
        match &transmit {
            Some(Transmit::Message) => {
                assert!((1..=65_536).contains(&out.len()), "{} bytes", out.len());
                // What was not the engine's language would panic here.
                decode(self.wire, out.slices().collect::<Vec<_>>().concat().into());
            }
            Some(Transmit::Close { reason, .. }) => {
                assert!(reason.len() <= 123, "a Close has no more room (RFC 6455 §5.5)");
                self.has_closed = true;
            }
            _ => {}
        }
        let more = transmit.is_some();
        self.heap.give_back((transmit, out));
        more
    }

    fn drain(&mut self) {
        for sent in 0.. {
            assert!(sent < MAX_TRANSMITS, "it never has said all");
            if !self.transmit() {
                return;
            }
        }
    }

    // ---- what must hold ----

    fn check(&mut self) {
        for told in 0.. {
            assert!(told < MAX_EVENTS, "it never has told all");
            if self.heap.of(|| self.conn.poll()).is_none() {
                break;
            }
        }
        let stats = self.conn.stats(self.now);
        let streams = self.opened + 2 * self.largest_limit;
        assert!(stats.live_streams <= streams, "{stats:?}");
        assert!(stats.window_growth <= self.budget, "{stats:?}");
        let sending = self.opened + self.largest_limit;
        assert!(stats.send_buffered <= sending * (self.send_buffer + self.largest_chunk));
        for &id in &self.held {
            if let Ok(recv) = self.conn.recv_stream(self.now, id).stats() {
                assert!(recv.buffered <= self.largest_window, "{id}: {recv:?}");
            }
        }
        let most = self.formula(sending, streams);
        assert!(self.heap.held() <= most as i64, "{} of {most}: {:?}", self.heap.held(), self.conn);
    }

    /// SPEC.md §10, without what the socket holds.
    fn formula(&self, sending: u64, streams: u64) -> u64 {
        // Windows that were made smaller have been larger.
        let receiving = self.opened + 2 * self.largest_limit;
        let windows = receiving * self.largest_initial_window;
        let receive = (windows + self.budget) * 4 + DATAGRAMS as u64;
        let send = sending * (self.send_buffer + self.largest_chunk) * 3 / 2 + DATAGRAMS as u64;
        let message = self.conn.max_inbound_message();
        receive + send + message + streams * STREAM_STATE + CONNECTION_STATE + ANSWERS
    }

    /// All handles go, and the connection with the last; the peer may be as it is.
    fn end(mut self) {
        self.drain();
        self.check();
        for id in std::mem::take(&mut self.held) {
            self.release(id);
        }
        self.accept();
        for id in std::mem::take(&mut self.held) {
            self.release(id);
        }
        while self.heap.of(|| self.conn.read_datagram()).is_some() {}
        self.conn.close(self.now, VarInt::default(), Bytes::new());
        // Whoever waits for an end hears of the connection's.
        for id in std::mem::take(&mut self.watched) {
            self.heap.of(|| self.conn.send_stream(self.now, id).poll_end());
        }
        self.drain();
        self.now += ms(100_000);
        self.fire();
        self.check();
        let stats = self.conn.stats(self.now);
        let left = (stats.live_streams, stats.send_buffered, stats.window_growth);
        assert_eq!(left, (0, 0, 0), "{:?}", self.conn);
        assert!(self.conn.is_closed(), "{:?}", self.conn);
    }
}

fn varint(value: u64) -> VarInt {
    VarInt::from_u64(value).expect("a value of 62 bits")
}

fn number(input: &mut Input<'_>) -> u64 {
    match input.below(8) {
        0 => 0,
        1 => 1,
        2 => MAX,
        3 => 1 << 32,
        4 => input.between(0, MAX),
        _ => input.between(0, 50_000),
    }
}

/// What RFC 9000 §19.11 permits, so that what is behind it is met as well.
fn count(input: &mut Input<'_>) -> u64 {
    number(input).min(MAX_COUNT)
}

fn data_len(input: &mut Input<'_>) -> usize {
    match input.below(4) {
        0 => input.below(3),
        1 => input.below(16_000),
        _ => input.below(600),
    }
}

fn parameters(input: &mut Input<'_>) -> TransportParameters {
    if input.flag() {
        return generous();
    }
    let mut limits = TransportParameters::default();
    limits.max_idle_timeout = ms(number(input));
    limits.initial_max_data = number(input);
    limits.initial_max_stream_data_bidi_local = number(input);
    limits.initial_max_stream_data_bidi_remote = number(input);
    limits.initial_max_stream_data_uni = number(input);
    limits.initial_max_streams_bidi = count(input);
    limits.initial_max_streams_uni = count(input);
    limits.max_datagram_frame_size = number(input);
    limits.max_record_size = number(input).max(16_382);
    limits.reset_stream_at = input.flag();
    limits
}
