//! What the parts cost on their own: `cargo bench`, in four minutes.
//!
//! Absolute figures are of one machine and one day. `cargo bench -- --save-baseline before` keeps them, and
//! `cargo bench -- --baseline before` compares.

mod codec;
mod driver;
mod engine;
mod framing;
mod scale;
mod scheduler;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use wsmux_testing::engines;

// Where the files of the crate that are compiled in here look for it.
use wsmux::proto;

/// Enough to tell a tenth more from noise, on a machine that does nothing else.
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
