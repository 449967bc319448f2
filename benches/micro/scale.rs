//! Measures what an event costs when there are a hundred, ten thousand or a hundred thousand
//! streams. Except for cache misses, the cost should not depend on the number of streams.

use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use tokio::runtime::Builder;
use wsmux::{
    Config, ConnectionInfo, Dir, Side, WebSocketConnection, Wire,
    proto::{Connection, Incoming, MessageBuf, StreamId, Time, VarInt},
    socket::memory_pair,
};

use crate::engines::{Engines, NOW, shared};

const STREAMS: [u64; 3] = [100, 10_000, 100_000];

const QX_PARAMETERS: u64 = 0x3f51_5330_0d0a_0d0a;

/// The largest message that an end accepts.
const RECORD: usize = 65_536;

fn varints(values: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    for &value in values {
        VarInt::from_u64(value).expect("a value of 62 bits").encode(&mut out);
    }
    out
}

/// An engine whose peer is the benchmark, which encodes each message by hand.
struct Hand {
    engine: Connection,
    out: MessageBuf,
    now: Time,
}

impl Hand {
    /// Makes an engine. On QMux, its peer permits `streams` streams of each kind, grants
    /// much credit to each stream, and grants no connection credit.
    fn new(wire: Wire, side: Side, streams: u64) -> Self {
        let mut config = Config::default();
        config.max_concurrent_bidi_streams(2 * streams).max_local_streams(2 * streams);
        let engine = Connection::new(config, side, wire, NOW);
        let mut hand = Self { engine, out: MessageBuf::new(), now: NOW };
        if wire == Wire::QMux {
            let parameters = [(0x05, 1 << 30), (0x06, 1 << 30), (0x07, 1 << 30), (0x08, streams)];
            let parameters = parameters.into_iter().chain([(0x09, streams)]);
            let body: Vec<_> = parameters
                .flat_map(|(id, value)| {
                    let value = varints(&[value]);
                    [varints(&[id, value.len() as u64]), value].concat()
                })
                .collect();
            hand.send([varints(&[QX_PARAMETERS, body.len() as u64]), body].concat());
        }
        hand.transmit();
        assert!(hand.engine.is_established());
        hand
    }

    fn send(&mut self, message: Vec<u8>) {
        self.engine.handle(self.now, Incoming::Message(message.into()));
    }

    fn transmit(&mut self) {
        while self.engine.poll_transmit(self.now, &mut self.out).is_some() {}
    }

    fn events(&mut self) -> usize {
        std::iter::from_fn(|| self.engine.poll()).count()
    }
}

/// Returns messages with a STREAM frame for each of these client streams. Each frame carries one
/// byte, at `offset`. A message has at most [`RECORD`] bytes.
fn bytes_of(streams: std::ops::Range<u64>, offset: u64) -> Vec<Vec<u8>> {
    let mut messages = vec![Vec::new()];
    for index in streams {
        let id = StreamId::new(Side::Client, Dir::Bi, index).into_inner();
        let frame = [varints(&[0x0e, id, offset, 1]), vec![7]].concat();
        if messages.last().is_none_or(|message| message.len() + frame.len() > RECORD) {
            messages.push(Vec::new());
        }
        messages.last_mut().expect("there is one").extend(frame);
    }
    messages
}

pub(crate) fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("scale");
    group.sample_size(10);
    for streams in STREAMS {
        group.throughput(Throughput::Elements(1));
        let mut hand = starved(streams);
        let mut credit = 0;
        group.bench_function(
            BenchmarkId::new("MAX_DATA of a byte, streams starved", streams),
            |b| {
                b.iter(|| {
                    credit += 1;
                    // At this rate the budget for grants is never exhausted.
                    hand.now += Duration::from_micros(200);
                    hand.send(varints(&[0x10, credit]));
                    hand.transmit();
                });
            },
        );
        assert!(hand.engine.close_reason().is_none());

        let mut config = Config::default();
        config.max_concurrent_bidi_streams(streams + 100).max_local_streams(streams + 100);
        let mut engines = Engines::new(Wire::QMux, &config);
        for _ in 0..streams {
            engines.open();
        }
        group.bench_function(BenchmarkId::new("open, ask, answer and end beside", streams), |b| {
            b.iter(|| engines.ask());
        });

        group.throughput(Throughput::Elements(2 * streams));
        let (woken, opened) = (bytes_of(0..streams, 1), bytes_of(streams..2 * streams, 0));
        group.bench_function(BenchmarkId::new("readable, and as many opened", streams), |b| {
            let setup = || with_readers(streams);
            let events = |hand: &mut Hand| {
                woken.iter().chain(&opened).for_each(|message| hand.send(message.clone()));
                assert_eq!(hand.events() as u64, streams + 1);
            };
            b.iter_batched_ref(setup, events, BatchSize::PerIteration);
        });

        group.throughput(Throughput::Elements(streams));
        group.bench_function(BenchmarkId::new("openers that wait", streams), |b| {
            b.iter_custom(|rounds| (0..rounds).map(|_| openers(streams)).sum());
        });

        let ids = colliding(streams as usize);
        group.bench_function(BenchmarkId::new("js-ws ids that collide", streams), |b| {
            let setup = || Hand::new(Wire::JsWs, Side::Server, streams);
            let open = |hand: &mut Hand| {
                for id in &ids {
                    let index = id >> 2;
                    hand.send([varints(&[index << 1]), vec![0, 1, 0, 0, 0, 1]].concat());
                    hand.transmit();
                }
                assert!(hand.engine.close_reason().is_none());
            };
            b.iter_batched_ref(setup, open, BatchSize::PerIteration);
        });
    }
    group.finish();
}

/// Makes a client whose streams have much to send and have stream credit, but no connection credit.
fn starved(streams: u64) -> Hand {
    let mut hand = Hand::new(Wire::QMux, Side::Client, streams);
    let chunk = shared(RECORD);
    for _ in 0..streams {
        let id = hand.engine.open(Dir::Uni).expect("it lives").expect("the limit permits");
        hand.engine.send_stream(hand.now, id).append_chunk(chunk.clone()).expect("it is open");
    }
    hand.transmit();
    hand
}

/// Makes a server with streams whose readers wait for data.
fn with_readers(streams: u64) -> Hand {
    let mut hand = Hand::new(Wire::QMux, Side::Server, streams);
    bytes_of(0..streams, 0).into_iter().for_each(|message| hand.send(message));
    while let Some(id) = hand.engine.accept(Dir::Bi) {
        crate::engines::read(&mut hand.engine, id);
    }
    hand.transmit();
    hand.events();
    hand
}

/// Measures how long it takes until many tasks that wait for the stream limit have opened one
/// stream each. The time includes spawning the tasks and raising the limit.
fn openers(streams: u64) -> Duration {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let mut config = Config::default();
        config.max_concurrent_bidi_streams(0).max_local_streams(streams);
        let connection = |socket, side| {
            let info = ConnectionInfo::default();
            WebSocketConnection::from_socket(socket, side, Wire::QMux, config.clone(), info)
        };
        let (left, right) = memory_pair(256 * 1024);
        let (client, server) = (connection(left, Side::Client), connection(right, Side::Server));
        client.established().await.expect("it lives");
        let start = Instant::now();
        let tasks: Vec<_> = (0..streams)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.open_bi().await.expect("it lives") })
            })
            .collect();
        tokio::task::yield_now().await;
        server.set_max_concurrent_bi_streams(streams);
        let mut opened = Vec::new();
        for task in tasks {
            opened.push(task.await.expect("it does not panic"));
        }
        let took = start.elapsed();
        drop(opened);
        took
    })
}

/// Returns ids that collide in a hash table with rustc-hash 2 and up to 2^20 entries. All these ids
/// have the same bucket, and the same seven bits of the hash that the table compares. A peer that
/// attacks such a table would choose these ids.
fn colliding(count: usize) -> Vec<u64> {
    const K: u64 = 0xf135_7aea_2e62_a9c5;
    // Newton's iteration finds the number that is inverse to `K` modulo 2^64. Each step doubles the
    // number of correct bits.
    let inverse = (0..6).fold(K, |x, _| x.wrapping_mul(2_u64.wrapping_sub(K.wrapping_mul(x))));
    assert_eq!(inverse.wrapping_mul(K), 1);
    let ids = (1..1_u64 << 37).map(|c| (c << 20).rotate_right(26).wrapping_mul(inverse));
    // This function keeps only ids that are below 2^60 and belong to bidirectional streams of the
    // client.
    let mut ids: Vec<_> = ids.filter(|&id| id < 1 << 60 && id & 3 == 0).take(count).collect();
    ids.sort_unstable();
    ids
}
