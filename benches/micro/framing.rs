//! Measures the frame layer of a WebSocket: headers, masks, and copies of the payload.

use criterion::{BenchmarkId, Criterion, Throughput};
use wsmux::Side;

use crate::frame_layer::{Decoder, Encoder};

pub(crate) fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("framing");
    for (from, masked) in [(Side::Client, "masked"), (Side::Server, "plain")] {
        for size in [64, 16 * 1024, 64 * 1024] {
            group.throughput(Throughput::Bytes(size as u64));
            let (payload, mut encoder) = (vec![7; size], Encoder::new(from));
            group.bench_function(BenchmarkId::new(format!("encode, {masked}"), size), |b| {
                b.iter(|| encoder.write(&payload));
            });
            let mut decoder = Decoder::new(from, size);
            group.bench_function(
                BenchmarkId::new(format!("read and decode, {masked}"), size),
                |b| b.iter(|| decoder.read()),
            );
        }
    }
    group.finish();
}
