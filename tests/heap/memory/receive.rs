//! Data that is received and not read, or only read in part.

use bytes::BytesMut;
use wsmux::{
    Config, MemoryUse,
    proto::{Connection, Credit, Dir, Frame, Incoming, MessageBuf, StreamId, Time, Wire},
};

use super::{
    PATTERNS, Pattern, Sizes,
    support::{Heap, SERVER, WIRES, bidi, encode, scripted_peer::generous},
};

const WINDOW: u64 = 128 * 1024;
const STREAMS: u64 = 3;
/// The number of rounds of a test. More rounds would show nothing new.
const ROUNDS: usize = 300;

/// How the application reads.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reads {
    Nothing,
    /// The application reads a random part.
    Some,
    /// The application reads all bytes except one.
    AllButOne,
}

/// How much a message holds in addition to the stream's bytes.
#[derive(Debug, Clone, Copy)]
enum Spare {
    None,
    /// Slightly fewer bytes than the stream's, so that the stream's bytes are at least half of the
    /// message.
    Half,
    /// Four times as many bytes as the stream's, so that most of the message is not stream data.
    Most,
}

struct Receiver {
    conn: Connection,
    heap: Heap,
    wire: Wire,
    out: MessageBuf,
    offsets: [u64; STREAMS as usize],
}

impl Receiver {
    fn new(wire: Wire, config: &Config) -> Self {
        let mut heap = Heap::default();
        let conn = heap.of(|| Connection::new(config.clone(), SERVER, wire, Time::EPOCH));
        let out = MessageBuf::new();
        let mut this = Self { conn, heap, wire, out, offsets: Default::default() };
        if wire == Wire::QMux {
            this.message(&[Frame::TransportParameters(generous())], 0);
        } else {
            for id in ids() {
                this.message(&[Frame::MaxStreamData { id, credit: Credit::More(1 << 20) }], 0);
            }
        }
        this.transmit();
        this
    }

    /// Delivers a message as a socket does, in a block that may be twice as large as the message.
    /// The block counts as held.
    fn message(&mut self, frames: &[Frame], padding: usize) {
        let mut message: Vec<u8> =
            frames.iter().flat_map(|frame| encode(self.wire, frame, false)).collect();
        if self.wire == Wire::QMux {
            message.resize(message.len() + padding, 0);
        }
        self.heap.of(|| {
            let mut block = BytesMut::with_capacity(2 * message.len());
            block.extend_from_slice(&message);
            self.conn.handle(Time::EPOCH, Incoming::Message(block.split().freeze()));
            while self.conn.poll().is_some() {}
        });
        assert!(self.conn.close_reason().is_none(), "{:?}", self.conn.close_reason());
    }

    fn transmit(&mut self) {
        self.heap.of(|| {
            while self.conn.poll_transmit(Time::EPOCH, &mut self.out).is_some() {}
            self.out.clear();
            while self.conn.poll().is_some() {}
        });
    }

    /// Returns how much credit the peer has left on a stream.
    fn credit(&mut self, nth: usize) -> u64 {
        let id = bidi(!SERVER, nth as u64);
        self.conn.recv_stream(Time::EPOCH, id).stats().map_or(WINDOW, |stats| stats.credit)
    }

    fn send(&mut self, nth: usize, len: usize, spare: Spare) {
        let id = bidi(!SERVER, nth as u64);
        let offset = (self.wire == Wire::QMux).then_some(self.offsets[nth]);
        self.offsets[nth] += len as u64;
        let padding = match spare {
            Spare::None => 0,
            Spare::Half => len.saturating_sub(16),
            Spare::Most => (4 * len).min(16_000),
        };
        let data = vec![7; len].into();
        self.message(&[Frame::Stream { id, offset, data, fin: false }], padding);
    }

    fn read(&mut self, nth: usize, max: usize) {
        let id = bidi(!SERVER, nth as u64);
        self.heap.of(|| drop(self.conn.recv_stream(Time::EPOCH, id).read(max)));
    }

    fn unread(&mut self, nth: usize) -> usize {
        let id = bidi(!SERVER, nth as u64);
        self.conn.recv_stream(Time::EPOCH, id).stats().map_or(0, |stats| stats.buffered as usize)
    }
}

fn ids() -> impl Iterator<Item = StreamId> {
    (0..STREAMS).map(|nth| bidi(!SERVER, nth))
}

fn config() -> Config {
    let mut config = Config::default();
    config
        .stream_receive_window(WINDOW)
        .window_growth_budget(0)
        .max_concurrent_bidi_streams(STREAMS)
        .max_concurrent_uni_streams(0)
        .datagram_receive_buffer_size(0);
    config
}

/// Sends until there is no credit left, or for [`ROUNDS`] rounds. Returns the largest ratio of the
/// memory held to the unread bytes.
fn attack(wire: Wire, pattern: Pattern, reads: Reads, spare: Spare) -> f64 {
    let config = config();
    let bound = config.memory_bound(wire, &MemoryUse::default());
    let most = (bound.receive + bound.state) as i64;
    let mut receiver = Receiver::new(wire, &config);
    let idle = receiver.heap.held();
    let (mut sizes, mut ratio) = (Sizes::new(pattern), 0.0_f64);
    for round in 0..ROUNDS {
        let nth = round % STREAMS as usize;
        let len = sizes.next();
        if receiver.credit(nth) < len as u64 {
            break;
        }
        receiver.send(nth, len, spare);
        while receiver.conn.accept(Dir::Bi).is_some() {}
        match reads {
            Reads::Nothing => {}
            Reads::Some => {
                let max = sizes.below(receiver.unread(nth) + 1);
                receiver.read(nth, max);
                receiver.transmit();
            }
            Reads::AllButOne => {
                while let unread @ 2.. = receiver.unread(nth) {
                    receiver.read(nth, unread - 1);
                }
                receiver.transmit();
            }
        }
        let held = receiver.heap.held();
        assert!(held <= most, "{wire:?} {pattern:?} {reads:?} {spare:?}: {held} of {most}");
        let unread: usize = (0..STREAMS as usize).map(|nth| receiver.unread(nth)).sum();
        if unread > 100_000 {
            ratio = ratio.max((held - idle) as f64 / unread as f64);
        }
    }
    ratio
}

/// [C-53] The memory that is allocated for a connection MUST NOT exceed the formula of §10 at any
/// time.
/// [C-70] Two bounds hold right after bytes were added to a stream, whatever the sizes and the
/// order of the pieces. The stream's unread bytes MUST NOT keep more than four times their length
/// allocated. The stream's unsent bytes MUST NOT keep more than one and a half times their length
/// allocated. The stream's state does not count.
#[test]
fn whatever_is_not_read_holds_no_more_memory_than_the_formula() {
    for wire in WIRES {
        for pattern in PATTERNS {
            for reads in [Reads::Nothing, Reads::Some, Reads::AllButOne] {
                for spare in [Spare::None, Spare::Half, Spare::Most] {
                    let ratio = attack(wire, pattern, reads, spare);
                    assert!(ratio <= 4.1, "{wire:?} {pattern:?} {reads:?} {spare:?}: {ratio:.2}");
                }
            }
        }
    }
}

/// `cargo test --test heap one_byte -- --nocapture` prints the figures that this test measures.
#[test]
fn one_byte_and_a_chunk_over_and_over_cost_little_more_than_they_are() {
    for wire in WIRES {
        let ratio = attack(wire, Pattern::Behind32KiB(&[1, 4096]), Reads::Nothing, Spare::None);
        println!("{wire:?}, one byte and 4 KiB, unread: {ratio:.2} bytes held for each");
        assert!(ratio <= 2.1, "{wire:?}: {ratio:.2}");
    }
}
