//! Writes the report: tables for people, JSON for programs.

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde_json::json;

use crate::{
    backends::Backend,
    outcome::{Metric, Outcome},
    results::{Results, Spread},
    targets::{Target, Wanted, targets},
    workloads::Workload,
};

pub fn print(results: &Results) {
    for &workload in &results.workloads {
        println!("{}: {}", workload.name(), workload.about());
        println!("{}", table(results, workload));
    }
    let targets: Vec<_> =
        targets(results).into_iter().filter(|target| target.measured.is_some()).collect();
    if !targets.is_empty() {
        println!("targets");
        println!("{}", target_table(&targets));
    }
}

fn target_table(targets: &[Target]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["what", "wanted", "measured", ""]);
    for target in targets {
        let wanted = match target.wanted {
            Wanted::AtLeast(value) => format!("≥ {}", number(value)),
            Wanted::AtMost(value) => format!("≤ {}", number(value)),
        };
        let measured = target.measured.map_or_else(String::new, number);
        let reached = if target.reached == Some(true) { "reached" } else { "missed" };
        table.add_row([target.what.clone(), wanted, measured, reached.to_owned()]);
    }
    for column in table.column_iter_mut().skip(1).take(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Makes the table of a workload, with a column for each metric. A metric that is compared has two
/// more columns. These columns contain the ratio to the best rival mux, and the ratio to the
/// backend that [`Results::floor`] chooses.
fn table(results: &Results, workload: Workload) -> Table {
    let metrics = results.metrics(workload);
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    let mut header = vec!["backend"];
    for &metric in &metrics {
        header.push(metric.unit());
        if workload.compares(metric) {
            header.extend(["× mux", "× floor"]);
        }
    }
    table.set_header(header);
    for &backend in &results.backends {
        let mut row = vec![backend.name()];
        match results.trouble(workload, backend) {
            Some(Outcome::Hangs) => row.push("hangs".to_owned()),
            Some(_) => row.push("failed".to_owned()),
            None => {
                for &metric in &metrics {
                    row.extend(cells(results, workload, backend, metric));
                }
            }
        }
        if row.len() > 1 {
            table.add_row(row);
        }
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn cells(results: &Results, workload: Workload, backend: Backend, metric: Metric) -> Vec<String> {
    let Some(spread) = results.spread(workload, backend, metric) else { return Vec::new() };
    let value = spread.median;
    let mut cells = vec![figure(spread)];
    if workload.compares(metric) {
        let mux = results.best_mux(workload, metric, backend.wss());
        let mux = mux.and_then(|mux| results.value(workload, mux, metric));
        let floor = results.floor(workload, metric, backend.wss());
        for other in [mux, floor] {
            cells.push(other.map_or_else(String::new, |other| number(value / other)));
        }
    }
    cells
}

/// Returns the results as JSON, with the spread of every value.
pub fn json(results: &Results) -> Result<String> {
    Ok(serde_json::to_string_pretty(&json!({
        "form": results.form,
        "size": results.size,
        "rounds": results.rounds,
        "processors": std::thread::available_parallelism()?,
        "results": results.entries(),
        "targets": targets(results),
    }))?)
}

/// Formats the median, and the spread if it is wide.
pub fn figure(spread: Spread) -> String {
    let median = number(spread.median);
    if spread.is_wide() {
        format!("{median} ({} to {})", number(spread.min), number(spread.max))
    } else {
        median
    }
}

/// Formats a number with as many digits as are significant.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}
