//! The main job, measured: throughput, latency, and what a reader that has stopped costs the others.
//!
//! With no arguments it starts a wss server and a client on loopback in one process and runs everything.

mod peer;
mod report;
mod workloads;

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};
use wsmux::Config;

use crate::{Failure, wire::WireArg};
use report::Report;
use workloads::Workload;

/// Measures wsmux: throughput, latency, and what readers that have stopped cost the others
///
/// With no arguments it starts a wss server and a client on loopback in one process and runs everything.
#[derive(Debug, Parser)]
pub struct Args {
    /// Only these workloads; may be repeated
    #[arg(long = "workload", value_enum)]
    workloads: Vec<Workload>,
    /// Only serve, on this address, for a --client elsewhere
    #[arg(long, conflicts_with = "client")]
    server: Option<SocketAddr>,
    /// Only run the client, against a --server elsewhere
    #[arg(long)]
    client: Option<String>,
    /// What is spoken over the WebSocket
    #[arg(long, value_enum, default_value_t = WireArg::Qmux)]
    wire: WireArg,
    /// ws instead of wss
    #[arg(long)]
    plain: bool,
    /// Bytes that a peer may send on a stream before it is read
    #[arg(long)]
    window: Option<u64>,
    /// A line of JSON per workload instead of the table
    #[arg(long)]
    json: bool,
    /// A tenth of the work: to see it run, not to quote it
    #[arg(long)]
    quick: bool,
}

impl Args {
    /// The default configuration, except for the number of streams, which some workloads are about.
    fn config(&self) -> Config {
        let mut config = Config::default();
        config.max_concurrent_bidi_streams(20_000);
        if let Some(window) = self.window {
            config.stream_receive_window(window);
        }
        config
    }
}

/// Runs the workloads, or serves a client elsewhere.
///
/// # Errors
/// Whatever failed, a byte that is missing included.
pub async fn run(args: Args) -> Result<(), Failure> {
    if let Some(address) = args.server {
        let server = peer::Server::start(&args, address).await?;
        println!("listening on {}", server.url);
        return Ok(server.task.await?);
    }
    let server = match &args.client {
        Some(_) => None,
        None => Some(peer::Server::start(&args, ([127, 0, 0, 1], 0).into()).await?),
    };
    let url = args.client.clone().or(server.map(|server| server.url)).unwrap_or_default();
    let all = Workload::value_variants();
    let chosen = if args.workloads.is_empty() { all } else { &args.workloads };

    let mut report = Report::new(args.json, chosen.len());
    for &workload in chosen {
        report.begin(workload);
        // Connections of its own, so that no workload finds what another has left.
        let connection = peer::connect(&args, &url).await?;
        let other = peer::connect(&args, &url).await?;
        let metrics = workloads::run(workload, &connection, &other, args.quick).await?;
        report.end(workload, metrics);
        for connection in [connection, other] {
            connection.close(0u8.into(), b"done");
            connection.closed().await;
        }
    }
    report.finish();
    Ok(())
}
