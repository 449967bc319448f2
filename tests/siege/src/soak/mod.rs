//! Runs everything at once, at random, for a long time. Streams run both ways, on both wires, with
//! and without TLS. Streams are read, stalled, reset, stopped and dropped. Their connections are
//! closed, drained, dropped and cut. Each byte is checked. After each interval everything ends, and
//! nothing may be left over.

mod link;
mod lives;
mod play;
mod script;
mod tally;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use procfs::process::Process;
use tokio::{runtime::Handle, task::JoinSet, time::sleep};

use crate::process;
use link::World;
use tally::Tally;

/// How long closing handshakes and drivers may take to finish after everything has ended.
const SETTLES: Duration = Duration::from_secs(20);
/// The number of intervals after which the allocator has reached its maximum.
const WARM_UP: usize = 3;
/// How much the allocator's memory varies by chance, because it depends on the sizes of the blocks
/// that were in use at the same time.
const SLACK: u64 = 48 << 20;

#[derive(Debug, Args)]
pub struct Plan {
    /// Seed of all random choices; the scheduling of the system also affects the course
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Seconds in each interval; at its end all connections end, and what is left is counted
    #[arg(long, default_value_t = 10)]
    interval: u64,
    /// Concurrent connections
    #[arg(long, default_value_t = 8)]
    connections: u64,
    /// Let connections outlive their sockets, and cut each socket after 50 to 500 ms
    #[arg(long)]
    kills: bool,
}

/// What the process holds while nothing is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    connections: usize,
    tasks: usize,
    files: usize,
}

pub async fn run(plan: Plan) -> Result<()> {
    println!("seed {}", plan.seed);
    let world = Arc::new(World::new(plan.kills.then_some(plan.seed)).await?);
    let me = Process::myself()?;
    let baseline = held(&world, &me)?;
    let start = Instant::now();
    let mut resident = Vec::new();
    for interval in 0.. {
        let left = Duration::from_secs(plan.seconds).saturating_sub(start.elapsed());
        if left.is_zero() {
            break;
        }
        let until = Instant::now() + left.min(Duration::from_secs(plan.interval));
        let seed = plan.seed.wrapping_mul(1_000_003).wrapping_add(interval);
        let done = all(&world, plan.connections, seed, until);
        let context = || format!("seed {}, interval {interval}", plan.seed);
        let tally = done.await.with_context(context)?;
        let now = settle(&world, &me, baseline).await.with_context(context)?;
        let memory = process::memory(&me)?.now;
        resident.push(memory);
        println!(
            "{:>4} s: {tally}; left: {} connections, {} tasks, {} files, {:.1} MiB",
            start.elapsed().as_secs(),
            now.connections,
            now.tasks,
            now.files,
            memory as f64 / f64::from(1 << 20),
        );
    }
    if resident.len() > WARM_UP {
        let warm = resident[..WARM_UP].iter().max().copied().unwrap_or_default();
        let last = resident[resident.len() - 1];
        ensure!(last <= warm + SLACK, "memory grew from {warm} to {last} bytes");
    }
    println!("nothing was left");
    Ok(())
}

async fn all(
    world: &Arc<World>,
    connections: u64,
    seed: u64,
    until: Instant,
) -> Result<Arc<Tally>> {
    let tally = Arc::new(Tally::default());
    let mut slots = JoinSet::new();
    for slot in 0..connections {
        let (world, tally) = (world.clone(), tally.clone());
        slots.spawn(async move {
            for nth in 0.. {
                if Instant::now() >= until {
                    break;
                }
                let seed = seed.wrapping_mul(1_000_003).wrapping_add(slot << 32 | nth);
                let life = lives::live(&world, seed, until, tally.clone());
                life.await.with_context(|| format!("connection {nth} of slot {slot}"))?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(slot) = slots.join_next().await {
        slot??;
    }
    Ok(tally)
}

fn held(world: &World, me: &Process) -> Result<Held> {
    let tasks = Handle::current().metrics().num_alive_tasks();
    Ok(Held { connections: world.connections(), tasks, files: me.fd_count()? })
}

/// Waits until the process holds exactly what it held at first.
async fn settle(world: &World, me: &Process, baseline: Held) -> Result<Held> {
    let start = Instant::now();
    loop {
        let now = held(world, me)?;
        if now == baseline {
            return Ok(now);
        }
        ensure!(start.elapsed() < SETTLES, "{now:?} is held where {baseline:?} was at first");
        sleep(Duration::from_millis(20)).await;
    }
}
