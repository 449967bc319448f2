//! Where client and server run.

use std::thread;

use anyhow::{Context, Result};
use clap::ValueEnum;
use core_affinity::CoreId;
use serde::Serialize;
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};

use crate::{
    backends::Rival,
    meter::{Meter, serve_readings},
    outcome::Metrics,
};

/// The two forms of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Each end has a runtime, a thread and a core of its own, like two machines
    Split,
    /// Both ends share a runtime with two workers
    Shared,
}

/// Starts the server on its end, and runs the clients' work on theirs.
pub fn run<R, S, W>(
    form: Form,
    start: S,
    work: impl FnOnce(R, Meter) -> W + Send + 'static,
) -> Result<Metrics>
where
    R: Rival,
    S: Future<Output = Result<R>> + Send + 'static,
    W: Future<Output = Result<Metrics>> + Send + 'static,
{
    match form {
        Form::Split => split(start, work),
        Form::Shared => {
            let mut builder = Builder::new_multi_thread();
            let runtime = leaked(builder.worker_threads(2))?;
            on_a_task(runtime, async move { work(start.await?, Meter::Process).await })
        }
    }
}

fn split<R, S, W>(start: S, work: impl FnOnce(R, Meter) -> W + Send + 'static) -> Result<Metrics>
where
    R: Rival,
    S: Future<Output = Result<R>> + Send + 'static,
    W: Future<Output = Result<Metrics>> + Send + 'static,
{
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    // The first and the last: neighbours may be two halves of one core.
    let (client, server) = (cores.first().copied(), cores.last().copied());
    let (meter, requests) = Meter::threads();
    let (started, starts) = oneshot::channel();
    let serve = move || {
        pin(server);
        let runtime = leaked(&mut Builder::new_current_thread());
        let serve = async {
            let _ = started.send(start.await);
            serve_readings(requests).await;
        };
        // Without a runtime, `started` is dropped, and the client reports that.
        if let Ok(runtime) = runtime {
            runtime.block_on(serve);
        }
    };
    thread::Builder::new().name("server".to_owned()).spawn(serve)?;
    let rival = starts.blocking_recv().context("the server's thread has ended")??;
    pin(client);
    let runtime = leaked(&mut Builder::new_current_thread())?;
    on_a_task(runtime, async move { work(rival, meter).await })
}

/// Keeps the calling thread on a core. Where the system cannot do that, the thread stays free.
fn pin(core: Option<CoreId>) {
    if let Some(core) = core {
        core_affinity::set_for_current(core);
    }
}

/// Dropping a runtime would close everything that it serves, which takes time and is not measured.
fn leaked(builder: &mut Builder) -> Result<&'static Runtime> {
    Ok(Box::leak(Box::new(builder.enable_all().build()?)))
}

/// Runs the work in a task, like any application's work.
fn on_a_task(
    runtime: &Runtime,
    work: impl Future<Output = Result<Metrics>> + Send + 'static,
) -> Result<Metrics> {
    runtime.block_on(runtime.spawn(work))?
}
