//! Measures two connections with their drivers, locks and wakers, in memory and with the frame
//! layer over a pipe.

use criterion::{Criterion, Throughput};
use tokio::runtime::{Builder, Runtime};

use crate::{
    ends::{CHUNK, Ends, MIB},
    engines::shared,
};

pub(crate) fn benches(c: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    bench(c, &runtime, "in memory", runtime.block_on(Ends::in_memory()));
    bench(c, &runtime, "framed, over a pipe", runtime.block_on(Ends::framed()));
}

fn bench(c: &mut Criterion, runtime: &Runtime, name: &str, mut ends: Ends) {
    let mut group = c.benchmark_group("driver");
    group.throughput(Throughput::Elements(1));
    group.bench_function(format!("ping-pong of 64 bytes, {name}"), |b| {
        b.iter(|| runtime.block_on(ends.ping_pong()));
    });
    group.throughput(Throughput::Bytes(MIB as u64));
    let chunk = shared(CHUNK);
    group.bench_function(format!("1 MiB, {name}"), |b| {
        b.iter(|| runtime.block_on(ends.transfer(&chunk)));
    });
    group.finish();
}
