//! Puts a wsmux server under attack, under a long random load, and under a crowd of clients.
//!
//! The server, its clients and the attacker are separate processes of this program, so that the
//! memory of each can be read from /proc. This works only on Linux.

mod attacks;
mod comeback;
mod crowd;
mod honest;
mod pattern;
mod process;
mod soak;
mod victim;

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Result;
use clap::{Parser, Subcommand};

use attacks::Attack;
use peak_alloc::PeakAlloc;

/// Counts the bytes that a process has allocated. The victim reports its own count.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Attacks, soaks and crowds a wsmux server
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Attacks a server, one attack after the other, beside a client that behaves well
    Attacks {
        /// Run only these attacks; may be repeated
        #[arg(long = "attack", value_enum)]
        attacks: Vec<Attack>,
        /// Duration of each attack
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Write the results to this file
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Runs everything at once, at random, for a long time; at the end nothing may be left over
    Soak(soak::Plan),
    /// Many connections, and many streams of one connection
    Crowd {
        /// Connections, with one stream each
        #[arg(long, default_value_t = 10_000)]
        connections: u64,
        /// Streams, on one connection
        #[arg(long, default_value_t = 100_000)]
        streams: u64,
        /// Write the results to this file
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Many connections that lose their sockets at once, as when a proxy restarts, and come back
    Comeback {
        #[arg(long, default_value_t = 10_000)]
        connections: u64,
        /// Over TLS
        #[arg(long)]
        tls: bool,
    },
    /// A server that echoes
    #[command(hide = true)]
    Victim {
        #[arg(long)]
        tls: bool,
        /// Streams that a client may have open
        #[arg(long)]
        streams: Option<u64>,
        /// Connections outlive their sockets
        #[arg(long)]
        resume: bool,
    },
    /// A client that behaves well
    #[command(hide = true)]
    Honest { url: String },
    /// A client that attacks
    #[command(hide = true)]
    Attacker { attack: Attack, address: SocketAddr, seconds: u64 },
    /// A proxy that restarts
    #[command(hide = true)]
    Proxy { server: SocketAddr, connections: u64 },
    /// The clients of a proxy that restarts
    #[command(hide = true)]
    ComebackClients { url: String, connections: u64 },
    /// The clients of a crowd
    #[command(hide = true)]
    CrowdClients {
        url: String,
        #[arg(long)]
        connections: u64,
        #[arg(long)]
        streams: u64,
    },
}

fn main() -> Result<()> {
    let args = Args::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let runtime: &'static _ = Box::leak(Box::new(runtime));
    // This runs on a worker thread, like the tasks of an application. On the main thread, every
    // wake-up would come from another thread.
    runtime.block_on(runtime.spawn(run(args.command)))?
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Attacks { attacks, seconds, json } => {
            attacks::run(&attacks, seconds, json.as_deref()).await
        }
        Command::Soak(plan) => soak::run(plan).await,
        Command::Crowd { connections, streams, json } => {
            crowd::run(connections, streams, json.as_deref()).await
        }
        Command::Comeback { connections, tls } => comeback::run(connections, tls).await,
        Command::Proxy { server, connections } => comeback::proxy(server, connections).await,
        Command::ComebackClients { url, connections } => comeback::clients(&url, connections).await,
        Command::Victim { tls, streams, resume } => victim::run(tls, streams, resume).await,
        Command::Honest { url } => honest::run(url).await,
        Command::Attacker { attack, address, seconds } => {
            attacks::attacker(attack, address, seconds).await
        }
        Command::CrowdClients { url, connections, streams } => {
            crowd::clients(&url, connections, streams).await
        }
    }
}
