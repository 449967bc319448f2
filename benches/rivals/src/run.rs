//! Runs the rounds, with each measurement in a process of its own.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde::de::DeserializeOwned;
use tokio::process::Command;

use crate::{
    backends::Backend,
    ends::Form,
    outcome::Outcome,
    results::Results,
    watchdog,
    workloads::{Size, Workload},
};

/// What the run has to measure.
pub struct Plan {
    pub backends: Vec<Backend>,
    pub workloads: Vec<Workload>,
    pub form: Form,
    pub rounds: usize,
    pub size: Size,
}

impl Plan {
    /// Returns the time after which a measurement counts as hanging. The slowest backend needs only
    /// a small part of this time.
    fn deadline(&self) -> Duration {
        let long = self.size == Size::Full || self.form.path.is_some();
        Duration::from_secs(if long { 180 } else { 30 })
    }

    fn measurements(&self) -> usize {
        let each = |workload: &Workload| {
            self.backends.iter().filter(|backend| backend.takes_part(*workload)).count()
        };
        self.rounds * self.workloads.iter().map(each).sum::<usize>()
    }
}

pub fn run(plan: &Plan) -> Result<Results> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut results = Results::new(plan);
        let progress = progress_of(plan.measurements())?;
        for round in 0..plan.rounds {
            for &workload in &plan.workloads {
                let mut backends = plan.backends.clone();
                // The order is rotated by one backend in each round, so that no backend is always
                // the first or the last.
                let turn = round % backends.len().max(1);
                backends.rotate_left(turn);
                for backend in backends {
                    if !backend.takes_part(workload) {
                        continue;
                    }
                    progress.set_message(format!(
                        "round {}: {} {}",
                        round + 1,
                        workload.name(),
                        backend.name()
                    ));
                    // A backend that has hung or failed once is not measured again.
                    if results.trouble(workload, backend).is_none() {
                        let start = Instant::now();
                        let outcome = measure(plan, backend, workload).await?;
                        let seconds = start.elapsed().as_secs_f64();
                        results.add(workload, backend, outcome, seconds);
                    }
                    progress.inc(1);
                }
            }
        }
        progress.finish_and_clear();
        Ok(results)
    })
}

/// Shows how many measurements are done and how long the remaining measurements will take.
pub fn progress_of(measurements: usize) -> Result<ProgressBar> {
    let progress = ProgressBar::new(measurements as u64);
    progress.set_style(ProgressStyle::with_template(
        "{spinner} {pos}/{len} {msg} {elapsed} (left: {eta})",
    )?);
    progress.enable_steady_tick(Duration::from_millis(200));
    Ok(progress)
}

async fn measure(plan: &Plan, backend: Backend, workload: Workload) -> Result<Outcome> {
    let size = plan.size.to_possible_value().context("a size without a name")?;
    let mut arguments =
        vec!["measure".into(), backend.name(), workload.name(), size.get_name().into()];
    arguments.extend(plan.form.args());
    in_child(&arguments, plan.deadline(), Outcome::Hangs, Outcome::Failed).await
}

/// Runs this program again with these arguments, and returns the line of JSON that the new process
/// prints. If the process reaches the deadline, it is killed, and this returns `hangs`. If the
/// process prints no such line, this passes its error output to `failed` and returns the result.
pub async fn in_child<T: DeserializeOwned>(
    arguments: &[String],
    deadline: Duration,
    hangs: T,
    failed: impl FnOnce(String) -> T,
) -> Result<T> {
    let child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = tokio::select! {
        output = child.wait_with_output() => output?,
        () = watchdog::running(deadline) => return Ok(hangs),
    };
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        failed(format!("{}: {}", output.status, said.trim()))
    }))
}
