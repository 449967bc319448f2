//! Bad networks as the layers above TCP see them: slow, delayed, dead in one direction or both, or
//! cut.

use std::{sync::OnceLock, time::Duration};

use bytes::Bytes;

use crate::support::*;
use wsmux_proto::{
    Config, ConnectionError, Side, SocketError, StreamId, Timeout, Wire, WriteError,
};

const KIB: usize = 1024;

/// One direction of a stream, from the end that writes to the end that reads.
struct Way {
    id: StreamId,
    from: Side,
    written: usize,
    read: usize,
    end: End,
}

/// Streams of equal length that carry data in both directions at once.
struct Exchange {
    pair: Pair,
    len: usize,
    ways: Vec<Way>,
}

/// The content of a stream repeats after this many bytes. The number is prime, so that the
/// repetitions do not line up with messages and windows.
const PERIOD: usize = 65_521;
const PIECE: usize = 16 * KIB;

/// Returns at most `PIECE` bytes of the data that `from` writes on the stream, from offset `at` on.
/// The bytes are a slice of one shared block, because generating them each time would be slow.
fn content(id: StreamId, from: Side, at: usize, len: usize) -> Bytes {
    static BLOCK: OnceLock<Bytes> = OnceLock::new();
    let block = BLOCK.get_or_init(|| {
        let block = pattern(7, 0, PERIOD);
        [&block[..], &block[..PIECE]].concat().into()
    });
    let seed = id.into_inner() as usize * 2 + from as usize;
    let start = (at + seed * 10_007) % PERIOD;
    block.slice(start..start + len.min(PIECE))
}

impl Exchange {
    fn new(wire: Wire, streams: usize, len: usize) -> Self {
        let mut pair = Pair::new(wire, &Config::default());
        for end in [&mut pair.client, &mut pair.server] {
            end.record = false;
        }
        let ids: Vec<_> = (0..streams).map(|_| pair.open_bi(CLIENT)).collect();
        let way = |id, from| Way { id, from, written: 0, read: 0, end: End::Open };
        let ways = ids.iter().flat_map(|&id| [way(id, CLIENT), way(id, SERVER)]).collect();
        Self { pair, len, ways }
    }

    /// Sets the link's round-trip time. Also sets the rate of each direction in bits per second and
    /// the length of its queue in bytes.
    fn over(mut self, rtt: Duration, rate: u64, queue: usize) -> Self {
        self.pair.latency = rtt / 2;
        for end in [&mut self.pair.client, &mut self.pair.server] {
            end.rate = Some(rate / 8);
            end.capacity = Some(queue);
        }
        self
    }

    fn done(&self) -> bool {
        self.ways.iter().all(|way| way.end != End::Open)
    }

    /// Both applications write as much as the send buffers accept, and finish each stream once all
    /// its bytes are written.
    fn write(&mut self) {
        for way in &mut self.ways {
            let now = self.pair.now;
            let mut send = self.pair.end(way.from).conn.send_stream(now, way.id);
            while way.written < self.len {
                let data = content(way.id, way.from, way.written, self.len - way.written);
                match send.write(&data) {
                    Ok(0) | Err(_) => break,
                    Ok(taken) => way.written += taken,
                }
                if way.written == self.len {
                    send.finish().expect("it is open");
                }
            }
        }
    }

    /// Both applications read what has arrived. Asserts that the bytes that were written arrive
    /// unchanged, and that no stream ends before its last byte.
    fn read(&mut self) {
        for way in self.ways.iter_mut().filter(|way| way.end == End::Open) {
            let (data, end) = self.pair.end(!way.from).read(way.id);
            for piece in data.chunks(PIECE) {
                let expected = content(way.id, way.from, way.read, piece.len());
                assert!(expected == piece, "{} from {:?}: other bytes", way.id, way.from);
                way.read += piece.len();
            }
            way.end = end;
            assert!(end != End::Fin || way.read == self.len, "a FIN after {} bytes", way.read);
        }
    }

    /// Lets both applications write. Then advances the pair to its next event, by at most a
    /// millisecond, and handles the timers that are due. Then lets both applications read.
    fn step(&mut self) {
        self.write();
        self.pair.tick(ms(1));
        self.read();
        self.pair.client.take_events();
        self.pair.server.take_events();
    }

    fn run(&mut self, time: Duration) {
        let until = self.pair.now + time;
        while self.pair.now < until {
            self.step();
        }
    }

    /// Runs until all streams have ended. Asserts that each stream has a clean end after its last
    /// byte. Returns the time that passed.
    fn complete(&mut self) -> Duration {
        let start = self.pair.now;
        while !self.done() {
            assert!(self.pair.now < start + secs(3_600), "an hour is enough");
            self.step();
        }
        for way in &self.ways {
            assert_eq!((way.end, way.read), (End::Fin, self.len), "{} from {:?}", way.id, way.from);
        }
        for end in [&self.pair.client, &self.pair.server] {
            assert!(end.conn.close_reason().is_none(), "{:?}", end.conn.close_reason());
        }
        self.pair.now - start
    }

    fn reason(&mut self, side: Side) -> Option<ConnectionError> {
        self.pair.end(side).conn.close_reason().cloned()
    }
}

#[test]
fn every_byte_arrives_over_200_ms_with_one_segment_of_a_hundred_lost() {
    for wire in WIRES {
        let rtt = ms(200);
        let mut exchange = Exchange::new(wire, 4, 2048 * KIB).over(rtt, 50_000_000, 256 * KIB);
        for (end, seed) in [(&mut exchange.pair.client, 1), (&mut exchange.pair.server, 2)] {
            end.loss = Some(Loss { per_mille: 10, rtt, seed, lost: 0 });
        }
        exchange.complete();
        for end in [&exchange.pair.client, &exchange.pair.server] {
            let lost = end.loss.as_ref().map(|loss| loss.lost);
            // Each direction carries 8 MiB in about 5,800 segments, so about 58 of them should be
            // lost.
            assert!(lost > Some(20), "{wire:?}: {lost:?} were lost: that is no lossy path");
        }
    }
}

#[test]
fn a_stall_shorter_than_the_idle_timeout_costs_time_and_nothing_else() {
    for wire in WIRES {
        let mut exchange = Exchange::new(wire, 2, 4096 * KIB).over(ms(50), 20_000_000, 256 * KIB);
        exchange.run(ms(500));
        // TCP doubles its retransmission timeout after each failed attempt. So when a network is
        // gone for some seconds, data can be delayed by 25 seconds.
        exchange.pair.latency = secs(25);
        exchange.run(ms(100));
        exchange.pair.latency = ms(25);
        let took = exchange.complete();
        assert!(took > secs(24), "{wire:?}: {took:?}, and nothing stood still");
    }
}

#[test]
fn a_narrow_link_with_a_deep_queue_is_slow_and_not_dead() {
    for wire in WIRES {
        // A full queue delays the data by 16 seconds, which is longer than the keep-alive interval.
        let mut exchange = Exchange::new(wire, 3, 500 * KIB).over(ms(100), 128_000, 256 * KIB);
        let took = exchange.complete();
        assert!(took > secs(90), "{wire:?}: {took:?} is more than the link carries");
    }
}

/// [C-42] The idle timer MUST restart with each message received and each message handed completely
/// to the transport.
/// [C-44] When nothing has been received for the keep-alive interval, or for a third of the
/// effective idle timeout if that is shorter, a ping MUST be sent: QX_PING on QMux, WebSocket ping
/// on js-ws.
/// [C-45] If a ping is unanswered, and nothing at all has arrived for as long as the effective idle
/// timeout, the connection MUST time out. This also holds if this end has sent messages in that
/// time, which restart the idle timer (C-42). If there is no effective idle timeout, three
/// keep-alive intervals take its place.
#[test]
fn both_ends_notice_a_black_hole_of_either_direction_by_the_idle_timeout() {
    let directions = [[true, false], [false, true], [true, true]];
    // No acknowledgement arrives through a black hole, so `Endpoint` frees no room in a full
    // buffer. This matters because new room would count as a sign of life (C-90). In one case, the
    // socket's buffer is already full when the network fails. In the other case, the buffer accepts
    // bytes after the failure until it is full.
    for (wire, holes, fills) in WIRES
        .into_iter()
        .flat_map(|w| directions.map(|d| (w, d)))
        .flat_map(|(w, d)| [(w, d, true), (w, d, false)])
    {
        let story = format!("{wire:?}, black {holes:?}, full {fills}");
        let mut exchange = Exchange::new(wire, 2, 8192 * KIB).over(ms(50), 20_000_000, 256 * KIB);
        exchange.run(secs(1));
        for (end, hole) in
            [&mut exchange.pair.client, &mut exchange.pair.server].into_iter().zip(holes)
        {
            end.black_hole = hole;
            end.stalled = hole && fills;
        }
        let start = exchange.pair.now;
        while [CLIENT, SERVER].iter().any(|&side| exchange.reason(side).is_none()) {
            // Data that was on its way when the network failed still arrives: on this link 256 KiB
            // take 105 ms. So an end may notice the failure up to 200 ms later.
            assert!(exchange.pair.now <= start + secs(30) + ms(200), "{story}: not noticed");
            exchange.step();
        }
        let reasons = [CLIENT, SERVER].map(|side| exchange.reason(side));
        for (reason, hears_nothing) in reasons.into_iter().flatten().zip([holes[1], holes[0]]) {
            let timed_out =
                matches!(reason, ConnectionError::TimedOut(Timeout::Idle | Timeout::KeepAlive));
            // If an end still receives, the other end's close may arrive before this end's own
            // timeout.
            let told = !hears_nothing && matches!(reason, ConnectionError::ConnectionClosed(_));
            assert!(timed_out || told, "{story}: {reason:?}");
        }
        exchange.run(ms(100));
        assert!(exchange.ways.iter().all(|way| way.end == End::Lost), "{story}");
    }
}

/// [C-18] Bytes that arrived before the connection ended MUST stay readable after it has ended. The
/// reader gets the error only after these bytes.
/// [C-19] A receiving half whose FIN has not arrived when the connection ends MUST end in an error,
/// never in a clean end.
#[test]
fn an_rst_at_any_moment_is_an_error_and_never_a_clean_end() {
    for wire in WIRES {
        let (mut cut_off, mut complete) = (0, 0);
        for moment in 0..150 {
            let mut exchange =
                Exchange::new(wire, 3, 100 * KIB).over(ms(20), 100_000_000, 64 * KIB);
            for _ in 0..moment {
                exchange.step();
            }
            exchange.pair.reset();
            let lost = |error: &ConnectionError| {
                matches!(error, ConnectionError::SocketLost(SocketError::Io(error))
                    if error.kind() == std::io::ErrorKind::ConnectionReset)
            };
            for side in [CLIENT, SERVER] {
                let reason = exchange.reason(side);
                assert!(reason.as_ref().is_some_and(lost), "{reason:?}");
            }
            exchange.read();
            assert!(exchange.done(), "{wire:?}, {moment}: no end is in sight");
            for way in &mut exchange.ways {
                match way.end {
                    End::Fin => complete += 1,
                    End::Lost => cut_off += 1,
                    other => panic!("{wire:?}, {moment}: {other:?}"),
                }
                // The writer gets an error too.
                if way.written < exchange.len {
                    let now = exchange.pair.now;
                    let mut send = exchange.pair.end(way.from).conn.send_stream(now, way.id);
                    let written = send.write(b"more");
                    assert!(
                        matches!(&written, Err(WriteError::ConnectionLost(error)) if lost(error)),
                        "{written:?}"
                    );
                }
            }
        }
        assert!(cut_off > 50 && complete > 50, "{wire:?}: {cut_off} were cut off, {complete} not");
    }
}
