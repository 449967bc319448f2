//! Measures a server on one or more cores. The clients run on the same cores as the server, because
//! a machine may have no further cores. So each figure includes the work of both the clients and
//! the server.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use core_affinity::CoreId;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::Builder,
    sync::oneshot::{self, Receiver, Sender},
};
use wsmux::WebSocketServer;

use crate::{
    backends::{
        Connection, Rival,
        wsmux::{Wsmux, serve},
    },
    ends::{leaked, pin},
    meter::Meter,
    outcome::{Metric, Metrics},
    path,
    workloads::{crowd, rpc::Call},
};

/// How many calls are in progress on each core, each on a connection of its own. The kernel chooses
/// the listener of a connection at random, so there are enough connections for an even spread.
const CALLERS: usize = 64;
/// How many connections the clients of each core open at the same time.
const OPENERS: usize = 32;
/// The length of the accept queue, which exceeds the number of all clients together.
const BACKLOG: u32 = 4096;
/// How many pairs of sockets may be open on each core. A closed connection does not free its
/// sockets at once.
const SOCKETS: u64 = 4_000;

/// How the servers are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Servers {
    /// A current-thread runtime on each core, with a listener of its own
    PerCore,
    /// One runtime with a worker for each core, and one listener
    MultiThread,
}

/// What the clients do.
#[derive(Debug, Clone, Copy)]
enum Load {
    Calls,
    Connections,
}

/// Returns the number of cores.
pub fn available() -> u64 {
    core_affinity::get_core_ids().map_or(1, |cores| cores.len() as u64)
}

pub fn measure(servers: Servers, cores: usize, time: Duration) -> Result<Metrics> {
    crowd::reserve(cores as u64 * SOCKETS)?;
    let all = core_affinity::get_core_ids().context("the system does not list its cores")?;
    let cores: Vec<_> = all.into_iter().take(cores).collect();
    keep_to(&cores)?;
    let client = Arc::new(start(servers, &cores)?);
    let runtime = leaked(&mut Builder::new_current_thread())?;
    let mut metrics = runtime.block_on(run(Load::Calls, &client, &cores, time))?;
    let connections = runtime.block_on(run(Load::Connections, &client, &cores, time))?;
    metrics.insert(Metric::ConnectionsPerS, connections[&Metric::OpsPerS]);
    Ok(metrics)
}

/// Makes this thread, and all threads that are started after this call, run on these cores only.
fn keep_to(cores: &[CoreId]) -> Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(core.id)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Starts the servers, and returns their client.
fn start(servers: Servers, cores: &[CoreId]) -> Result<Wsmux> {
    let acceptor = WebSocketServer::builder().build()?;
    let mut port = 0;
    match servers {
        Servers::MultiThread => {
            let runtime = leaked(Builder::new_multi_thread().worker_threads(cores.len()))?;
            let _entered = runtime.enter();
            let server = WebSocketServer::new(listen(port)?, acceptor);
            port = server.local_addr()?.port();
            runtime.spawn(serve(server));
        }
        Servers::PerCore => {
            for &core in cores {
                let runtime = leaked(&mut Builder::new_current_thread())?;
                let _entered = runtime.enter();
                let server = WebSocketServer::new(listen(port)?, acceptor.clone());
                port = server.local_addr()?.port();
                thread::spawn(move || {
                    pin(Some(core));
                    runtime.block_on(serve(server));
                });
            }
        }
    }
    Wsmux::client((path::server(), port).into())
}

/// Listens on a port that other listeners may share.
fn listen(port: u16) -> Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind((path::server(), port).into())?;
    Ok(socket.listen(BACKLOG)?)
}

/// Runs the clients of all cores, and measures them together.
async fn run(load: Load, client: &Arc<Wsmux>, cores: &[CoreId], time: Duration) -> Result<Metrics> {
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for &core in cores {
        let (ready, is_ready) = oneshot::channel();
        let (go, goes) = oneshot::channel();
        let (done, is_done) = oneshot::channel();
        let client = client.clone();
        thread::spawn(move || {
            pin(Some(core));
            let runtime = leaked(&mut Builder::new_current_thread());
            let count = runtime.and_then(|runtime| {
                runtime.block_on(clients(load, client, Turn { ready, goes }, time))
            });
            let _ = done.send(count);
        });
        starts.push((is_ready, go));
        ends.push(is_done);
    }
    let mut gos = Vec::new();
    for (is_ready, go) in starts {
        // A client that cannot start is skipped here. The reason is in its result, which is read
        // later.
        if is_ready.await.is_ok() {
            gos.push(go);
        }
    }
    let watch = Meter::Process.start().await?;
    for go in gos {
        let _ = go.send(());
    }
    let mut count = 0;
    for is_done in ends {
        count += is_done.await.context("a client's thread has ended")??;
    }
    Ok(watch.stop().await?.of_calls(count))
}

/// Makes the clients of one core wait for the start of the timed part.
struct Turn {
    /// Reports that the connections are open.
    ready: Sender<()>,
    /// Resolves when all clients are ready.
    goes: Receiver<()>,
}

/// Runs the clients of one core, and returns how many calls or connections they have made.
async fn clients(load: Load, client: Arc<Wsmux>, turn: Turn, time: Duration) -> Result<u64> {
    let mut connections = Vec::new();
    if matches!(load, Load::Calls) {
        for _ in 0..CALLERS {
            let connection = client.connect().await?;
            Call::Small.make(&connection).await?;
            connections.push(connection);
        }
    }
    let _ = turn.ready.send(());
    turn.goes.await?;
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for connection in connections {
        tasks.spawn(async move {
            let mut count = 0;
            while start.elapsed() < time {
                Call::Small.make(&connection).await?;
                count += 1;
            }
            anyhow::Ok(count)
        });
    }
    if matches!(load, Load::Connections) {
        for _ in 0..OPENERS {
            let client = client.clone();
            tasks.spawn(async move {
                let mut count = 0;
                while start.elapsed() < time {
                    let connection = client.connect().await?;
                    Call::Small.make(&connection).await?;
                    Connection::close(connection);
                    count += 1;
                }
                anyhow::Ok(count)
            });
        }
    }
    let mut count = 0;
    while let Some(done) = tasks.join_next().await {
        count += done??;
    }
    Ok(count)
}
