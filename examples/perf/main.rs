//! Measures the main workloads: throughput, latency, and the cost of a stopped reader to the other
//! streams.
//!
//! It runs `wsmux perf` of the package `wsmux-cli` under its old name.
//! `cargo run --release -p wsmux-cli -- perf` runs the same code and builds none of the test
//! dependencies.

use std::error::Error;

use clap::Parser;
use wsmux_cli::perf;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // The workloads run on a worker thread, like an application's task. On the main thread, each of
    // their wakeups would have to come from another thread.
    tokio::spawn(perf::run(perf::Args::parse())).await?
}
