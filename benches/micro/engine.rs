//! Measures what a message costs between two engines that are connected directly, without a socket,
//! a task or a lock.

use criterion::{BenchmarkId, Criterion, Throughput};
use wsmux::{Config, Wire};

use crate::engines::{Engines, NOW, read, shared};

const WIRES: [Wire; 2] = [Wire::QMux, Wire::JsWs];

pub(crate) fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine");
    for wire in WIRES {
        for size in [64, 64 * 1024] {
            let mut engines = Engines::new(wire, &Config::default());
            let (id, chunk) = (engines.open(), shared(size));
            group.throughput(Throughput::Bytes(size as u64));
            let name = format!("write, carry and read, {wire:?}");
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| {
                    engines
                        .client
                        .send_stream(NOW, id)
                        .append_chunk(chunk.clone())
                        .expect("it is open");
                    engines.carry();
                    assert_eq!(read(&mut engines.server, id), size);
                    // This carries the renewed credit back.
                    engines.carry();
                });
            });
        }
        group.throughput(Throughput::Elements(1));
        let mut engines = Engines::new(wire, &Config::default());
        group.bench_function(format!("open, ask, answer and end, {wire:?}"), |b| {
            b.iter(|| engines.ask());
        });
        assert_eq!(engines.client.stats(NOW).live_streams, 0);
        assert_eq!(engines.server.stats(NOW).live_streams, 0);
    }
    group.finish();
}
