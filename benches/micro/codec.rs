//! Measures the encoding and decoding of frames and integers.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use wsmux::{
    Config, VarInt, Wire,
    proto::{Connection, Dir, Incoming, MessageBuf, Side, StreamId},
};

use crate::engines::{NOW, shared};

const WIRES: [Wire; 2] = [Wire::QMux, Wire::JsWs];
const SIZES: [usize; 3] = [32, 1024, 16 * 1024];

/// The unused credit after each grant: the largest number that fits into the 32 bits of a js-ws
/// grant.
const GRANT: u64 = u32::MAX as u64;

/// An engine that sends on one stream, and gets new credit whenever it needs some.
struct Sender {
    engine: Connection,
    wire: Wire,
    id: StreamId,
    granted: u64,
    left: u64,
    out: MessageBuf,
}

impl Sender {
    fn new(wire: Wire) -> Self {
        let mut config = Config::default();
        config.stream_receive_window(GRANT);
        let mut engine = Connection::new(config.clone(), Side::Client, wire, NOW);
        let mut out = MessageBuf::new();
        if wire.capabilities().parameters() {
            let mut peer = Connection::new(config, Side::Server, wire, NOW);
            peer.poll_transmit(NOW, &mut out).expect("its parameters");
            engine.handle(NOW, Incoming::Message(out.to_bytes()));
        }
        let id = engine.open(Dir::Bi).expect("it lives").expect("the limit permits");
        while engine.poll_transmit(NOW, &mut out).is_some() {}
        let mut sender = Self { engine, wire, id, granted: 0, left: 0, out };
        sender.grant();
        sender
    }

    fn grant(&mut self) {
        // Raises the unused credit to GRANT, and not further, because js-ws counts unused credit in
        // 32 bits.
        let more = GRANT - self.left;
        self.granted += more;
        let mut message = Vec::new();
        let varint = |value, out: &mut Vec<u8>| VarInt::from_u64(value).expect("small").encode(out);
        match self.wire {
            Wire::QMux => {
                for field in [0x11, self.id.into_inner(), self.granted] {
                    varint(field, &mut message);
                }
            }
            _ => {
                varint(self.id.index() << 1, &mut message);
                message.extend([0, 1]);
                message.extend((more as u32).to_be_bytes());
            }
        }
        self.engine.handle(NOW, Incoming::Message(message.into()));
        self.left = GRANT;
    }

    /// Sends the chunk in one message.
    fn send(&mut self, chunk: Bytes) -> &MessageBuf {
        if self.left < chunk.len() as u64 {
            self.grant();
        }
        self.left -= chunk.len() as u64;
        self.engine.send_stream(NOW, self.id).append_chunk(chunk).expect("it is open");
        self.engine.poll_transmit(NOW, &mut self.out).expect("a message");
        &self.out
    }
}

pub(crate) fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    for wire in WIRES {
        for size in SIZES {
            group.throughput(Throughput::Bytes(size as u64));
            let (mut sender, chunk) = (Sender::new(wire), shared(size));
            // Encoding has no public entry point, so this measures the whole path from
            // `append_chunk` through the scheduler.
            group.bench_function(BenchmarkId::new(format!("send STREAM, {wire:?}"), size), |b| {
                b.iter(|| sender.send(chunk.clone()).len());
            });
            let message = Bytes::from_owner(sender.send(chunk.clone()).to_bytes());
            group.bench_function(BenchmarkId::new(format!("decode STREAM, {wire:?}"), size), |b| {
                b.iter(|| wire.decode(&mut black_box(message.clone())));
            });
        }
    }
    group.throughput(Throughput::Elements(4));
    let values = [37, 15_293, 494_878_333, 151_288_809_941_952_652]
        .map(|value| VarInt::from_u64(value).expect("of the range"));
    let mut encoded = Vec::new();
    group.bench_function("encode varints of 1, 2, 4 and 8 bytes", |b| {
        b.iter(|| {
            encoded.clear();
            black_box(values).iter().for_each(|value| value.encode(&mut encoded));
            encoded.len()
        });
    });
    group.bench_function("decode varints of 1, 2, 4 and 8 bytes", |b| {
        b.iter(|| {
            let mut input = black_box(&encoded[..]);
            let mut sum = 0;
            while let Some(value) = VarInt::decode(&mut input) {
                sum += value.into_inner();
            }
            sum
        });
    });
    group.finish();
}
