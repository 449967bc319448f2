//! Measures the main workloads: throughput, latency, and how much a stopped reader slows down the
//! other streams.
//!
//! This example runs `wsmux perf`, a command of the package `wsmux-cli`, under its old name. The
//! same code runs with `cargo run --release -p wsmux-cli -- perf`, which builds none of the test
//! dependencies.

use std::error::Error;

use clap::Parser;
use wsmux_cli::perf;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // The workloads run on a worker thread, like an application's task. On the main thread they
    // would be slower, because another thread would have to wake them each time.
    tokio::spawn(perf::run(perf::Args::parse())).await?
}
