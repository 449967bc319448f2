//! Measures how the cost of wsmux grows: with connections, streams, sizes and cores. One factor
//! changes at a time, and each point has a process of its own.

mod chart;
#[cfg_attr(not(target_os = "linux"), path = "no_cores.rs")]
mod cores;
mod factor;
mod law;
mod load;
mod report;
mod results;

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::{Args, ValueEnum};

use self::{
    factor::Factor,
    results::{Key, Results},
};
use crate::{
    backends::wsmux::Wsmux,
    ends::{self, Form},
    outcome::{Metrics, Outcome},
    run,
    workloads::crowd,
};

/// How long the timed part of a point runs. This time is long enough for tens of thousands of
/// calls.
const TIME: Duration = Duration::from_millis(600);
const QUICK_TIME: Duration = Duration::from_millis(20);

/// After this time a point counts as hanging. The slowest point opens ten thousand connections or a
/// hundred thousand streams, and needs only a part of this time.
const DEADLINE: Duration = Duration::from_secs(30);

/// What `scale` measures.
#[derive(Debug, Args)]
pub struct Options {
    /// Only these factors; may be repeated
    #[arg(long = "factor", value_enum)]
    factors: Vec<Factor>,
    /// How many times each point is measured; the tables show medians
    #[arg(long)]
    rounds: Option<usize>,
    /// Measures a few small points once, only to see that everything runs
    #[arg(long)]
    quick: bool,
    /// Writes the results to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draws the curves into this file, an SVG
    #[arg(long)]
    chart: Option<PathBuf>,
}

impl Options {
    fn keys(&self) -> Vec<Key> {
        let factors = match self.factors.as_slice() {
            [] => Factor::value_variants(),
            chosen => chosen,
        };
        let points = |&factor: &Factor| {
            let points = factor.points(self.quick).into_iter();
            points.map(move |at| Key { factor, at })
        };
        factors.iter().flat_map(points).collect()
    }
}

/// One point of the curves of one factor.
#[derive(Debug, Args)]
pub struct Point {
    factor: Factor,
    /// The number or size that the factor has at this point
    at: u64,
    #[arg(long)]
    quick: bool,
}

impl Point {
    fn args(&self) -> Vec<String> {
        let mut args = vec!["scale-point".into(), self.factor.name(), self.at.to_string()];
        args.extend(self.quick.then(|| "--quick".to_owned()));
        args
    }

    /// Measures the point. The process cannot be used for anything else afterwards.
    pub fn measure(self) -> Result<Metrics> {
        let time = if self.quick { QUICK_TIME } else { TIME };
        if let Some(servers) = self.factor.servers() {
            return cores::measure(servers, self.at as usize, time);
        }
        // The limit permits twice the number of streams, because streams that have ended may still
        // count for a while.
        let streams = (self.factor == Factor::IdleStreams).then_some(2 * (self.at + load::AT_ONCE));
        let start = Wsmux::start(wsmux::Wire::QMux, false, streams);
        let form = Form { shared: false, path: None };
        ends::run(form, start, async move |rival, meter| {
            load::run(rival, &meter, self.factor, self.at, time).await
        })
    }
}

/// Measures all points and reports them.
///
/// # Errors
/// If a point fails or hangs.
pub fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let results = runtime.block_on(measure(options))?;
    report::print(&results);
    if let Some(path) = &options.json {
        std::fs::write(path, report::json(&results)?)?;
    }
    if let Some(path) = &options.chart {
        chart::draw(&results, path)?;
    }
    results.check()
}

async fn measure(options: &Options) -> Result<Results> {
    let rounds = options.rounds.unwrap_or(if options.quick { 1 } else { 3 });
    let mut keys = options.keys();
    for key in &mut keys {
        if let Some(sockets) = key.factor.sockets(key.at) {
            // If a point needs more file descriptors than the system permits, a smaller point is
            // measured instead.
            key.at = crowd::reserve(sockets)?;
        }
    }
    keys.dedup();
    let mut results = Results::new(rounds, options.quick);
    let progress = run::progress_of(rounds * keys.len())?;
    // A round measures every point once. So a machine that becomes slower does not bend a curve.
    for round in 0..rounds {
        for &key in &keys {
            progress.set_message(format!("round {}: {key}", round + 1));
            let point = Point { factor: key.factor, at: key.at, quick: options.quick };
            if results.trouble(key).is_none() {
                let outcome =
                    run::in_child(&point.args(), DEADLINE, Outcome::Hangs, Outcome::Failed).await?;
                results.add(key, outcome);
            }
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(results)
}
