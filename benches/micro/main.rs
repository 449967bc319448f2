//! Measures what each part costs on its own. `cargo bench` takes four minutes.
//!
//! Absolute figures depend on the machine and the day. `cargo bench -- --save-baseline before`
//! stores the figures, and `cargo bench -- --baseline before` compares with them.

mod codec;
mod driver;
mod ends;
mod engine;
mod frame_layer;
mod framing;
mod scale;
mod scheduler;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use wsmux_testing::engines;

/// Makes each measurement long enough to distinguish a change of a tenth from noise, on an
/// otherwise idle machine.
fn config() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50)
}

criterion_group! {
    name = parts;
    config = config();
    targets = codec::benches, scheduler::benches, engine::benches, framing::benches, driver::benches,
        scale::benches
}
criterion_main!(parts);
