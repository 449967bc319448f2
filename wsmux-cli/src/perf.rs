//! Measures the main workloads: throughput, latency, and how much a stopped reader slows down the
//! other streams.
//!
//! Without arguments it starts a wss server and a client on loopback in one process and runs all
//! workloads.

mod peer;
mod report;
mod workloads;

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};
use wsmux::Config;

use crate::{Failure, wire::WireArg};
use report::Report;
use workloads::Workload;

/// Measures wsmux: throughput, latency, and how much stopped readers slow down other streams
///
/// Without arguments it starts a wss server and a client on loopback in one process and runs all
/// workloads.
#[derive(Debug, Parser)]
pub struct Args {
    /// Run only these workloads; may be repeated
    #[arg(long = "workload", value_enum)]
    workloads: Vec<Workload>,
    /// Only serve on this address, for a program elsewhere that runs with --client
    #[arg(long, conflicts_with = "client")]
    server: Option<SocketAddr>,
    /// Only run the client, against a --server elsewhere
    #[arg(long)]
    client: Option<String>,
    /// Wire protocol to use over the WebSocket
    #[arg(long, value_enum, default_value_t = WireArg::Qmux)]
    wire: WireArg,
    /// Use ws instead of wss
    #[arg(long)]
    plain: bool,
    /// Bytes that a peer may send on a stream before they are read
    #[arg(long)]
    window: Option<u64>,
    /// Print a line of JSON per workload instead of the table
    #[arg(long)]
    json: bool,
    /// Do a tenth of the work, for a first try; the results are not precise
    #[arg(long)]
    quick: bool,
}

impl Args {
    /// Returns the default configuration with a higher limit on streams, which some workloads need.
    fn config(&self) -> Config {
        let mut config = Config::default();
        config.max_concurrent_bidi_streams(20_000);
        if let Some(window) = self.window {
            config.stream_receive_window(window);
        }
        config
    }
}

/// Runs the workloads, or serves a client in another process.
///
/// # Errors
/// The first failure. A missing byte counts as a failure, too.
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
        // Each workload has connections of its own, so that its result does not depend on earlier
        // workloads.
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
