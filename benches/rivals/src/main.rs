//! Measures wsmux and its rivals on one machine, in turn, with the same work.
//!
//! Each measurement has a process of its own, in which this program runs again. By default the
//! client and the server talk over loopback, and each has a runtime, a thread and a core of its
//! own.

mod allocations;
mod backends;
mod behaviours;
mod chart;
mod ends;
#[cfg_attr(not(target_os = "linux"), path = "no_link.rs")]
mod link;
mod meter;
mod outcome;
mod path;
mod peer;
mod report;
mod results;
mod run;
mod scale;
mod targets;
mod watchdog;
mod workloads;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

use backends::Backend;
use behaviours::Behaviour;
use ends::Form;
use outcome::{Metric, Outcome};
use workloads::{Size, Workload, resident};

/// Compares wsmux with its rivals
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    /// Only these backends; may be repeated
    #[arg(long = "backend", value_enum)]
    backends: Vec<Backend>,
    /// Only these workloads; may be repeated
    #[arg(long = "workload", value_enum)]
    workloads: Vec<Workload>,
    /// How many times each workload is measured; the tables show medians
    #[arg(long)]
    rounds: Option<usize>,
    /// More work, for figures to quote
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// A little work, once, only to see that everything runs
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    form: Form,
    /// Writes the results to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draws some of the results into this file, an SVG
    #[arg(long)]
    chart: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures how the cost of wsmux grows with connections, streams, sizes and cores
    Scale(scale::Options),
    /// Measures one point of one curve and prints it as a line of JSON
    #[command(hide = true)]
    ScalePoint(scale::Point),
    /// Makes one measurement and prints it as a line of JSON
    #[command(hide = true)]
    Measure {
        backend: Backend,
        workload: Workload,
        size: Size,
        #[command(flatten)]
        form: Form,
    },
    /// Shows how each mux behaves when readers stop, streams are dropped and connections end
    Behaviours {
        /// Only these backends; may be repeated
        #[arg(long = "backend", value_enum)]
        backends: Vec<Backend>,
        /// Only these behaviours; may be repeated
        #[arg(long = "behaviour", value_enum)]
        behaviours: Vec<Behaviour>,
    },
    /// Shows one behaviour and prints what was seen as a line of JSON
    #[command(hide = true)]
    Show { backend: Backend, behaviour: Behaviour },
}

impl Args {
    fn plan(&self) -> run::Plan {
        let all = |chosen: &[Backend]| match chosen {
            [] => Backend::usual(),
            _ => chosen.to_vec(),
        };
        let workloads = match self.workloads.as_slice() {
            [] if self.form.path.is_some() => vec![Workload::Sustained, Workload::Loaded],
            [] if self.quick => Workload::quick(),
            [] => Workload::loopback(),
            chosen => chosen.to_vec(),
        };
        let size = match (self.quick, self.full) {
            (true, _) => Size::Quick,
            (_, true) => Size::Full,
            _ => Size::Default,
        };
        let rounds = self.rounds.unwrap_or(if self.quick { 1 } else { 5 });
        run::Plan { backends: all(&self.backends), workloads, form: self.form, rounds, size }
    }
}

fn main() -> Result<()> {
    let mut args = Args::parse();
    let line = match args.command.take() {
        None => None,
        Some(Command::Measure { backend, workload, size, form }) => {
            Some(serde_json::to_string(&measure(backend, workload, size, form)?)?)
        }
        Some(Command::Show { backend, behaviour }) => {
            Some(serde_json::to_string(&backends::show(backend, behaviour)?)?)
        }
        Some(Command::ScalePoint(point)) => {
            Some(serde_json::to_string(&Outcome::from(point.measure()))?)
        }
        Some(Command::Behaviours { backends, behaviours }) => {
            return behaviours::run(&backends, &behaviours);
        }
        Some(Command::Scale(options)) => return scale::run(&options),
    };
    if let Some(line) = line {
        println!("{line}");
        // The process exits without closing anything, because closing thousands of streams takes
        // time and is not measured.
        std::process::exit(0);
    }
    let results = run::run(&args.plan())?;
    report::print(&results);
    if let Some(path) = args.json {
        std::fs::write(path, report::json(&results)?)?;
    }
    if let Some(path) = args.chart {
        chart::draw(&results, &path)?;
    }
    results.check()
}

fn measure(backend: Backend, workload: Workload, size: Size, form: Form) -> Result<Outcome> {
    let before = resident()?;
    let mut outcome = backends::measure(backend, workload, size.sizes(form.path), form).into();
    if let Outcome::Measured(metrics) = &mut outcome {
        metrics.insert(Metric::PeakMib, (meter::peak()? - before) / (1024.0 * 1024.0));
    }
    Ok(outcome)
}
