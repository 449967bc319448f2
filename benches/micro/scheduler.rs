//! Measures how long the scheduler takes to choose the next stream, among few streams and among
//! many.

use criterion::{BenchmarkId, Criterion, Throughput};

/// The scheduler's queue, which is not part of the API.
#[path = "../../wsmux-proto/src/streams/priority_queue.rs"]
#[allow(dead_code, reason = "what only the engine needs")]
mod priority_queue;

/// The tree in which the queue keeps its priorities.
#[path = "../../wsmux-proto/src/tree.rs"]
#[allow(dead_code, unused_imports, reason = "what only the engine needs, and the tests of it")]
mod tree;

use priority_queue::PriorityQueue;

const STREAMS: [usize; 3] = [1, 100, 10_000];
const PRIORITIES: i32 = 8;

pub(crate) fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("scheduler");
    for streams in STREAMS {
        let filled = |priority: fn(usize) -> i32| {
            let mut queue = PriorityQueue::default();
            for key in 0..streams {
                queue.push(key, priority(key));
            }
            queue
        };
        // In the next two benchmarks, the chosen stream has more to send, so it is queued again.
        group.throughput(Throughput::Elements(1));
        let mut queue = filled(|_| 0);
        let mut each = filled(|key| key as i32);
        let mut eight = filled(|key| key as i32 % PRIORITIES);
        group.bench_function(BenchmarkId::new("pop and push", streams), |b| {
            b.iter(|| {
                let key = queue.pop().expect("a stream");
                queue.push(key, 0);
            });
        });
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("pop and push, 8 priorities", streams), |b| {
            b.iter(|| {
                let key = eight.pop().expect("a stream");
                turn = (turn + 1) % PRIORITIES;
                eight.push(key, turn);
            });
        });
        // Here each stream has a priority of its own. The chosen stream is queued again with a
        // priority below that of all other streams. A scheduler that orders streams by deadline
        // would do the same.
        let mut last = 0;
        group.bench_function(BenchmarkId::new("pop and push, a priority for each", streams), |b| {
            b.iter(|| {
                let key = each.pop().expect("a stream");
                last -= 1;
                each.push(key, last);
            });
        });
        // Here every stream has one message of data, so the queue is filled and then emptied.
        group.throughput(Throughput::Elements(streams as u64));
        let mut queue = PriorityQueue::default();
        group.bench_function(BenchmarkId::new("push all, pop all", streams), |b| {
            b.iter(|| {
                for key in 0..streams {
                    queue.push(key, 0);
                }
                while queue.pop().is_some() {}
            });
        });
    }
    group.finish();
}
