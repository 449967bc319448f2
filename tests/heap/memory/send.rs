//! Data that is written to a peer that grants nothing, or only little.

use bytes::Bytes;
use wsmux::{
    Config, MemoryUse,
    proto::{Connection, Credit, Dir, Frame, Incoming, MessageBuf, StreamId, Time, Wire},
};

use super::{
    PATTERNS, Pattern, Sizes,
    support::{CLIENT, Heap, WIRES, encode, scripted_peer::generous_but},
};

const STREAMS: u64 = 3;
/// The number of rounds of a test. More rounds would show nothing new.
const ROUNDS: usize = 3_000;
const LARGEST_CHUNK: usize = 16 * 1024;

struct Sender {
    conn: Connection,
    heap: Heap,
    wire: Wire,
    out: MessageBuf,
    ids: Vec<StreamId>,
    granted: u64,
}

impl Sender {
    fn new(wire: Wire, config: &Config) -> Self {
        let mut heap = Heap::default();
        let mut conn = heap.of(|| Connection::new(config.clone(), CLIENT, wire, Time::EPOCH));
        if wire == Wire::QMux {
            let parameters = Frame::TransportParameters(generous_but(|limits| {
                limits.initial_max_stream_data_bidi_remote = 0
            }));
            let message = encode(wire, &parameters, false);
            heap.of(|| {
                conn.handle(Time::EPOCH, Incoming::Message(Bytes::copy_from_slice(&message)))
            });
        }
        let ids = (0..STREAMS).map(|_| heap.of(|| conn.open(Dir::Bi)).unwrap().unwrap()).collect();
        Self { conn, heap, wire, out: MessageBuf::new(), ids, granted: 0 }
    }

    /// Writes to a stream. Returns `true` if some of the data was accepted. If there is any room,
    /// some data is accepted.
    fn write(&mut self, nth: usize, len: usize, chunk: bool) -> bool {
        let data = vec![7; len];
        self.heap.of(|| {
            let mut send = self.conn.send_stream(Time::EPOCH, self.ids[nth]);
            match chunk {
                true => send.write_chunk(&mut Bytes::copy_from_slice(&data)).unwrap() > 0,
                false => send.write(&data).unwrap() > 0,
            }
        })
    }

    /// The peer grants this many bytes on each stream, and the socket accepts them.
    fn grant(&mut self, more: u64) {
        self.granted += more;
        for &id in &self.ids {
            let credit = match self.wire {
                Wire::QMux => Credit::Total(self.granted),
                _ => Credit::More(more),
            };
            let message = encode(self.wire, &Frame::MaxStreamData { id, credit }, false);
            self.heap.of(|| {
                self.conn.handle(Time::EPOCH, Incoming::Message(Bytes::copy_from_slice(&message)));
            });
        }
        self.heap.of(|| {
            while self.conn.poll_transmit(Time::EPOCH, &mut self.out).is_some() {}
            self.out.clear();
            while self.conn.poll().is_some() {}
        });
    }
}

/// Writes with `write` and `write_chunk` until all buffers are full, or for `ROUNDS` rounds.
/// Returns the largest ratio of the memory held to the unsent bytes.
fn fill(wire: Wire, pattern: Pattern, grants: bool) -> f64 {
    let mut config = Config::default();
    config
        .max_concurrent_bidi_streams(0)
        .max_concurrent_uni_streams(0)
        .datagram_send_buffer_size(0);
    let application = MemoryUse {
        open_bidi: STREAMS,
        largest_chunk: LARGEST_CHUNK as u64,
        ..MemoryUse::default()
    };
    let bound = config.memory_bound(wire, &application);
    let most = (bound.send + bound.state) as i64;
    let mut sender = Sender::new(wire, &config);
    sender.grant(1);
    let idle = sender.heap.held();
    let (mut sizes, mut ratio, mut full) = (Sizes::new(pattern), 0.0_f64, 0);
    for round in 0..ROUNDS {
        // Large pieces, and a quarter of the small pieces, are handed over as chunks. `write`
        // copies the other pieces.
        let len = sizes.next().min(LARGEST_CHUNK);
        let chunk = len >= 4096 || sizes.below(4) == 0;
        full = match sender.write(round % STREAMS as usize, len, chunk) {
            true => 0,
            false => full + 1,
        };
        if grants && sizes.below(4) == 0 {
            sender.grant(sizes.below(20_000) as u64);
        }
        let (held, unsent) =
            (sender.heap.held(), sender.conn.stats(wsmux_proto::Time::EPOCH).send_buffered);
        assert!(held <= most, "{wire:?} {pattern:?} {grants}: {held} of {most}");
        if unsent > 100_000 {
            ratio = ratio.max((held - idle) as f64 / unsent as f64);
        }
        if full == STREAMS as usize && !grants {
            break;
        }
    }
    ratio
}

/// [C-53] The memory that is allocated for a connection MUST NOT exceed the formula of §10 at any
/// time.
#[test]
fn whatever_is_not_sent_holds_no_more_memory_than_the_formula() {
    for wire in WIRES {
        for pattern in PATTERNS {
            for grants in [false, true] {
                let ratio = fill(wire, pattern, grants);
                assert!(ratio <= 1.6, "{wire:?} {pattern:?} {grants}: {ratio:.2}");
            }
        }
    }
}

#[test]
fn a_header_and_a_chunk_over_and_over_cost_little_more_than_they_are() {
    for wire in WIRES {
        let ratio = fill(wire, Pattern::Cycle(&[5, 4096]), false);
        println!("{wire:?}, 5 bytes and 4 KiB, unsent: {ratio:.2} bytes held for each");
        assert!(ratio <= 1.1, "{wire:?}: {ratio:.2}");
    }
}
