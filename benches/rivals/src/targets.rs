//! The project's targets for performance, and whether this run reaches them.

use serde::Serialize;

use crate::{
    backends::Backend,
    outcome::Metric,
    results::Results,
    workloads::Workload::{self, *},
};

/// One target for a figure of wsmux. Most targets are for the ratio of this figure to another
/// backend's figure.
#[derive(Debug, Serialize)]
pub struct Target {
    pub what: String,
    pub wanted: Wanted,
    /// The measured value; `None` if a backend that it depends on was not measured.
    pub measured: Option<f64>,
    pub reached: Option<bool>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}

impl Wanted {
    fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(wanted) => value >= wanted,
            Self::AtMost(wanted) => value <= wanted,
        }
    }
}

use Backend::{Quinn, WsFloor, Wsmux, WsmuxWss, WssRaw};
use Metric::{BytesEach, CpuSPer100k, CpuSPerGib, MibPerS, OpsPerS, P50Us, P99Us, Ratio};
use Wanted::{AtLeast, AtMost};

/// Returns all targets. The targets apply only to runs over loopback in which each end has a core
/// of its own. Any other run has no targets.
pub fn targets(results: &Results) -> Vec<Target> {
    if results.form.shared || results.form.path.is_some() {
        return Vec::new();
    }
    let mut list = List { results, targets: Vec::new() };
    for workload in [Bulk1, Bulk1down, Bulk100] {
        list.best_mux(workload, MibPerS, AtLeast(1.5));
    }
    for workload in [Bulk1, Bulk1down] {
        list.best_mux_wss(workload, MibPerS, AtLeast(2.2));
        list.rival(workload, MibPerS, WsmuxWss, WssRaw, AtLeast(1.0));
    }
    for workload in [Rpc64, Rpc1000, Rpc4k] {
        list.rival(workload, OpsPerS, Wsmux, Quinn, AtLeast(1.2));
        list.best_mux(workload, OpsPerS, AtLeast(2.0));
    }
    for workload in [Rpc1, Pingpong] {
        list.rival(workload, P50Us, Wsmux, WsFloor, AtMost(1.0));
    }
    list.best_mux(Loaded, P99Us, AtMost(0.5));
    list.best_mux(Loaded, MibPerS, AtLeast(1.0));
    list.best_mux(Small, MibPerS, AtLeast(15.0));
    for (workload, metric) in [
        (Conns, OpsPerS),
        (Churn, OpsPerS),
        (Fanout, OpsPerS),
        (Fanoutconns, OpsPerS),
        (Mixed, OpsPerS),
        (Mixed, MibPerS),
        (Duplex, MibPerS),
    ] {
        list.best_mux(workload, metric, AtLeast(1.0));
        list.rival(workload, metric, Wsmux, WsFloor, AtLeast(0.9));
    }
    list.best_mux_wss(Churn, OpsPerS, AtLeast(1.0));
    for workload in [Bulk1, Bulk1down, Bulk100, Duplex] {
        list.best_mux(workload, CpuSPerGib, AtMost(1.0));
    }
    for workload in [Rpc64, Rpc1000, Rpc4k, Conns] {
        list.best_mux(workload, CpuSPer100k, AtMost(1.0));
    }
    for workload in [Stalled1, Stalled8, Stalled32] {
        list.value(workload, Ratio, AtLeast(0.95));
    }
    list.value(Idle10k, BytesEach, AtMost(900.0));
    // This target permits 10 KiB of memory at each end.
    list.value(Idleconns, BytesEach, AtMost(20.0 * 1024.0));
    list.targets
}

struct List<'a> {
    results: &'a Results,
    targets: Vec<Target>,
}

impl List<'_> {
    /// Adds a target for a figure of wsmux that is compared with no other backend.
    fn value(&mut self, workload: Workload, metric: Metric, wanted: Wanted) {
        let measured = self.results.value(workload, Wsmux, metric);
        self.push(format!("{}, {}", workload.name(), metric.unit()), wanted, measured);
    }

    fn rival(
        &mut self,
        workload: Workload,
        metric: Metric,
        ours: Backend,
        theirs: Backend,
        wanted: Wanted,
    ) {
        let measured = self
            .results
            .value(workload, ours, metric)
            .and_then(|ours| Some(ours / self.results.value(workload, theirs, metric)?));
        let what =
            format!("{}, {}: {} / {}", workload.name(), metric.unit(), ours.name(), theirs.name());
        self.push(what, wanted, measured);
    }

    fn best_mux(&mut self, workload: Workload, metric: Metric, wanted: Wanted) {
        self.mux(workload, metric, Wsmux, wanted);
    }

    fn best_mux_wss(&mut self, workload: Workload, metric: Metric, wanted: Wanted) {
        self.mux(workload, metric, WsmuxWss, wanted);
    }

    fn mux(&mut self, workload: Workload, metric: Metric, ours: Backend, wanted: Wanted) {
        match self.results.best_mux(workload, metric, ours.wss()) {
            Some(best) => self.rival(workload, metric, ours, best, wanted),
            None => {
                let what =
                    format!("{}, {}: {} / best mux", workload.name(), metric.unit(), ours.name());
                self.push(what, wanted, None);
            }
        }
    }

    fn push(&mut self, what: String, wanted: Wanted, measured: Option<f64>) {
        let reached = measured.map(|value| wanted.is_met_by(value));
        self.targets.push(Target { what, wanted, measured, reached });
    }
}
