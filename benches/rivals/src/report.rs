//! Tables for people, JSON for programs.

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde_json::json;

use crate::{
    backends::Backend,
    outcome::{Metric, Outcome},
    results::Results,
    workloads::Workload,
};

pub fn print(results: &Results) {
    for &workload in &results.workloads {
        println!("{}: {}", workload.name(), workload.about());
        println!("{}", table(results, workload));
    }
}

/// Each metric beside what it is to the best rival's and to the floor's.
fn table(results: &Results, workload: Workload) -> Table {
    let metrics = results.metrics(workload);
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    let titles = metrics.iter().flat_map(|metric| [metric.unit(), "× mux", "× floor"]);
    table.set_header(["backend"].into_iter().chain(titles));
    for &backend in &results.backends {
        let row: Vec<_> = match results.trouble(workload, backend) {
            Some(Outcome::Hangs) => vec!["hangs".to_owned()],
            Some(_) => vec!["failed".to_owned()],
            None => metrics
                .iter()
                .filter_map(|&metric| cells(results, workload, backend, metric))
                .flatten()
                .collect(),
        };
        if !row.is_empty() {
            table.add_row([backend.name()].into_iter().chain(row));
        }
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn cells(
    results: &Results,
    workload: Workload,
    backend: Backend,
    metric: Metric,
) -> Option<[String; 3]> {
    let value = results.value(workload, backend, metric)?;
    let ratio = |other: Option<f64>| other.map_or_else(String::new, |other| number(value / other));
    let mux = results.best_mux(workload, metric, backend.wss()).map(|(_, value)| value);
    let floor = results.floor(workload, metric, backend.wss());
    Some([number(value), ratio(mux), ratio(floor)])
}

/// The same, and the spread, for programs.
pub fn json(results: &Results) -> Result<String> {
    Ok(serde_json::to_string_pretty(&json!({
        "size": results.size,
        "rounds": results.rounds,
        "processors": std::thread::available_parallelism()?,
        "results": results.entries(),
    }))?)
}

/// With as many digits as mean something.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}
