//! All results, and which backend was best.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::{
    backends::{Backend, Kind},
    ends::Form,
    outcome::{Metric, Metrics, Outcome},
    run::Plan,
    workloads::{Size, Workload, median},
};

/// The outcomes of a backend on a workload in all rounds.
#[derive(Debug, Default)]
struct Cell {
    rounds: Vec<Metrics>,
    trouble: Option<Outcome>,
    seconds: f64,
}

pub struct Results {
    pub workloads: Vec<Workload>,
    pub backends: Vec<Backend>,
    pub form: Form,
    pub size: Size,
    pub rounds: usize,
    cells: BTreeMap<(Workload, Backend), Cell>,
}

/// The values of one metric over the rounds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// Returns the spread of these values, or `None` if there are none.
    pub fn of(values: Vec<f64>) -> Option<Self> {
        Some(Self {
            min: values.iter().copied().reduce(f64::min)?,
            max: values.iter().copied().reduce(f64::max)?,
            median: median(values),
        })
    }

    /// Whether the rounds differ by more than a tenth. If they do, the median alone says too
    /// little.
    pub fn is_wide(self) -> bool {
        self.max - self.min > 0.1 * self.median.abs()
    }
}

/// A cell as the JSON file contains it.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    workload: Workload,
    backend: Backend,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<&'a Outcome>,
    metrics: BTreeMap<Metric, Spread>,
    /// The sum of the times of all rounds. The time of a round is measured from the start to the
    /// end of its process.
    seconds: f64,
}

impl Results {
    pub fn new(plan: &Plan) -> Self {
        Self {
            workloads: plan.workloads.clone(),
            backends: plan.backends.clone(),
            form: plan.form,
            size: plan.size,
            rounds: plan.rounds,
            cells: BTreeMap::new(),
        }
    }

    /// Adds an outcome. `seconds` is the time that the whole measurement took.
    pub fn add(&mut self, workload: Workload, backend: Backend, outcome: Outcome, seconds: f64) {
        let cell = self.cells.entry((workload, backend)).or_default();
        cell.seconds += seconds;
        match outcome {
            Outcome::Measured(metrics) => cell.rounds.push(metrics),
            trouble => cell.trouble = Some(trouble),
        }
    }

    /// Returns why there are no figures, if there are none.
    pub fn trouble(&self, workload: Workload, backend: Backend) -> Option<&Outcome> {
        self.cells.get(&(workload, backend))?.trouble.as_ref()
    }

    pub fn metrics(&self, workload: Workload) -> Vec<Metric> {
        let cells =
            self.backends.iter().filter_map(|&backend| self.cells.get(&(workload, backend)));
        let mut metrics: Vec<_> = cells
            .flat_map(|cell| &cell.rounds)
            .flat_map(|metrics| metrics.keys().copied())
            .collect();
        metrics.sort();
        metrics.dedup();
        metrics
    }

    /// Returns the spread of a metric. Returns `None` for a backend that hung or failed in any
    /// round, because such a backend was only lucky in the other rounds.
    pub fn spread(&self, workload: Workload, backend: Backend, metric: Metric) -> Option<Spread> {
        let cell = self.cells.get(&(workload, backend))?;
        if cell.trouble.is_some() {
            return None;
        }
        Spread::of(cell.rounds.iter().filter_map(|metrics| metrics.get(&metric).copied()).collect())
    }

    pub fn value(&self, workload: Workload, backend: Backend, metric: Metric) -> Option<f64> {
        Some(self.spread(workload, backend, metric)?.median)
    }

    /// Returns the rival that is the best mux over a WebSocket. Each rival is taken in its best
    /// configuration. If `wss` is set, only backends with TLS take part. Otherwise only backends
    /// without TLS take part.
    pub fn best_mux(&self, workload: Workload, metric: Metric, wss: bool) -> Option<Backend> {
        // If a workload makes calls beside a bulk transfer, the best backend is the backend that
        // answers soonest or most often. Our bulk rate is then compared with the bulk rate of this
        // backend.
        let beside_bulk = matches!(workload, Workload::Loaded | Workload::Mixed);
        let metric = if beside_bulk { workload.headline() } else { metric };
        let muxes = self.backends.iter().copied();
        let muxes = muxes.filter(|backend| backend.kind() == Kind::Mux && backend.wss() == wss);
        let values = muxes.filter_map(|mux| Some((mux, self.value(workload, mux, metric)?)));
        let best = if metric.more_is_better() {
            values.max_by(|(_, a), (_, b)| a.total_cmp(b))
        } else {
            values.min_by(|(_, a), (_, b)| a.total_cmp(b))
        };
        best.map(|(mux, _)| mux)
    }

    /// Returns the figure of the backend that shows what is possible without a mux. With TLS this
    /// backend is `wss-raw`, and without TLS it is `ws-floor`.
    pub fn floor(&self, workload: Workload, metric: Metric, wss: bool) -> Option<f64> {
        self.value(workload, if wss { Backend::WssRaw } else { Backend::WsFloor }, metric)
    }

    /// Returns one entry for each backend on each workload.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        let mut entries = Vec::new();
        for (&(workload, backend), cell) in &self.cells {
            let metrics = self.metrics(workload).into_iter();
            let metrics = metrics
                .filter_map(|metric| Some((metric, self.spread(workload, backend, metric)?)))
                .collect();
            let (trouble, seconds) = (cell.trouble.as_ref(), cell.seconds);
            entries.push(Entry { workload, backend, trouble, metrics, seconds });
        }
        entries
    }

    /// Fails if a measurement has failed. If a rival hangs, that is not a failure but a result.
    pub fn check(&self) -> Result<()> {
        let failed: Vec<_> = self
            .cells
            .iter()
            .filter_map(|(&(workload, backend), cell)| match &cell.trouble {
                Some(Outcome::Failed(why)) => {
                    Some(format!("{} {}: {why}", workload.name(), backend.name()))
                }
                Some(Outcome::Hangs) if backend.kind() == Kind::Ours => {
                    Some(format!("{} {}: hangs", workload.name(), backend.name()))
                }
                _ => None,
            })
            .collect();
        if !failed.is_empty() {
            bail!("{}", failed.join("\n"));
        }
        Ok(())
    }
}
