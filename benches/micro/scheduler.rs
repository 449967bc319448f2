//! The scheduler's choice of the next stream, among few streams and many.

use criterion::{BenchmarkId, Criterion, Throughput};

/// The scheduler itself, which is not part of the API. It is included by its path, like the frame
/// layer in `framing.rs`.
#[path = "../../wsmux-proto/src/streams/scheduler.rs"]
#[allow(dead_code, reason = "what only the engine needs")]
mod ready_queue;

/// The tree in which the scheduler keeps its priorities.
#[path = "../../wsmux-proto/src/tree.rs"]
#[allow(dead_code, unused_imports, reason = "what only the engine needs, and the tests of it")]
mod tree;

use ready_queue::{Schedule, Tickets};

const STREAMS: [usize; 3] = [1, 100, 10_000];
const PRIORITIES: i32 = 8;

pub(crate) fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("scheduler");
    for streams in STREAMS {
        let mut tickets = Tickets::default();
        let mut filled = |priority: fn(usize) -> i32| {
            let mut schedule = Schedule::default();
            for key in 0..streams {
                schedule.push(key, tickets.next(), priority(key));
            }
            schedule
        };
        // A turn is over, and the stream has more to send.
        group.throughput(Throughput::Elements(1));
        let mut schedule = filled(|_| 0);
        let mut each = filled(|key| key as i32);
        let mut eight = filled(|key| key as i32 % PRIORITIES);
        group.bench_function(BenchmarkId::new("pop and push", streams), |b| {
            b.iter(|| {
                let (key, _) = schedule.pop().expect("a stream");
                schedule.push(key, tickets.next(), 0);
            });
        });
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("pop and push, 8 priorities", streams), |b| {
            b.iter(|| {
                let (key, _) = eight.pop().expect("a stream");
                turn = (turn + 1) % PRIORITIES;
                eight.push(key, tickets.next(), turn);
            });
        });
        // A turn is over, and the stream goes after all others, as with deadline order.
        let mut last = 0;
        group.bench_function(BenchmarkId::new("pop and push, a priority for each", streams), |b| {
            b.iter(|| {
                let (key, _) = each.pop().expect("a stream");
                last -= 1;
                each.push(key, tickets.next(), last);
            });
        });
        // From empty to empty: every stream has one message of data.
        group.throughput(Throughput::Elements(streams as u64));
        let mut schedule = Schedule::default();
        group.bench_function(BenchmarkId::new("push all, pop all", streams), |b| {
            b.iter(|| {
                for key in 0..streams {
                    schedule.push(key, tickets.next(), 0);
                }
                while schedule.pop().is_some() {}
            });
        });
    }
    group.finish();
}
