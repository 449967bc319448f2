//! The main job, measured: throughput, latency, and what a reader that has stopped costs the others.
//!
//! It is `wsmux perf` of the package `wsmux-cli`, under its old name: `cargo run --release -p wsmux-cli -- perf` runs
//! the same and builds none of the tests' dependencies.

use std::error::Error;

use clap::Parser;
use wsmux_cli::perf;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // On a worker like any application's task: the main thread would be woken from outside each time.
    tokio::spawn(perf::run(perf::Args::parse())).await?
}
