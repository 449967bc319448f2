//! Decides on which threads and cores client and server run.

use std::thread;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use core_affinity::CoreId;
use serde::Serialize;
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};

use crate::{
    backends::Rival,
    link,
    meter::{Meter, serve_readings},
    path::{self, Path},
};

/// How the two ends are placed. By default each end has a runtime, a thread and a core of its own,
/// as if the ends were two machines.
#[derive(Debug, Clone, Copy, Default, Args, Serialize)]
pub struct Form {
    /// Both ends on one runtime with two workers, instead of a core for each
    #[arg(long)]
    pub shared: bool,
    /// Only some workloads, on a long path instead of loopback; needs Linux and root
    #[arg(long, value_enum, conflicts_with = "shared")]
    pub path: Option<Path>,
}

impl Form {
    /// Returns the arguments that select this placement.
    pub fn args(self) -> Vec<String> {
        let shared = self.shared.then(|| "--shared".to_owned());
        let path = self.path.and_then(|path| path.to_possible_value());
        let path = path.map(|path| format!("--path={}", path.get_name()));
        shared.into_iter().chain(path).collect()
    }
}

/// Starts the server on the server's end, and runs the clients' work on the clients' end.
pub fn run<R, S, W, T>(
    form: Form,
    start: S,
    work: impl FnOnce(R, Meter) -> W + Send + 'static,
) -> Result<T>
where
    R: Rival,
    S: Future<Output = Result<R>> + Send + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    if !form.shared {
        return split(form.path, start, work);
    }
    let runtime = leaked(Builder::new_multi_thread().worker_threads(2))?;
    on_a_task(runtime, async move { work(start.await?, Meter::Process).await })
}

fn split<R, S, W, T>(
    path: Option<Path>,
    start: S,
    work: impl FnOnce(R, Meter) -> W + Send + 'static,
) -> Result<T>
where
    R: Rival,
    S: Future<Output = Result<R>> + Send + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    // The ends get the first and the last core, because neighbours may be two hardware threads of
    // one core.
    let (client, server) = (cores.first().copied(), cores.last().copied());
    let (meter, requests) = Meter::threads();
    let (started, starts) = oneshot::channel();
    let serve = move || {
        pin(server);
        let end = path.map(|_| link::enter(path::SERVER)).transpose();
        let runtime = leaked(&mut Builder::new_current_thread());
        let serve = async {
            let start = async { anyhow::Ok((end?, start.await?)) };
            let _ = started.send(start.await);
            serve_readings(requests).await;
        };
        // If the runtime cannot be built, `started` is dropped, and the client reports the failure.
        if let Ok(runtime) = runtime {
            runtime.block_on(serve);
        }
    };
    if path.is_some() {
        path::use_long_path();
    }
    thread::Builder::new().name("server".to_owned()).spawn(serve)?;
    let (end, rival) = starts.blocking_recv().context("the server's thread has ended")??;
    // The link is started before the client's thread is bound to a core. Otherwise the threads of
    // the link would inherit the binding, although they should run on any core.
    if let (Some(path), Some(end)) = (path, end) {
        link::connect([link::enter(path::CLIENT)?, end], path.shape());
    }
    pin(client);
    let runtime = leaked(&mut Builder::new_current_thread())?;
    on_a_task(runtime, async move { work(rival, meter).await })
}

/// Binds the calling thread to a core. If the system does not support that, the thread may run on
/// any core.
pub fn pin(core: Option<CoreId>) {
    if let Some(core) = core {
        core_affinity::set_for_current(core);
    }
}

/// Builds a runtime that is never dropped. Dropping the runtime would close all connections and
/// streams that it serves, which takes time and is not measured.
pub fn leaked(builder: &mut Builder) -> Result<&'static Runtime> {
    Ok(Box::leak(Box::new(builder.enable_all().build()?)))
}

/// Runs the work in a task, as an application does.
fn on_a_task<T: Send + 'static>(
    runtime: &Runtime,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    runtime.block_on(runtime.spawn(work))?
}
