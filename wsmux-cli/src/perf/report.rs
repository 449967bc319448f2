//! Writes the report, as a table for people or as a line of JSON for programs.

use std::time::Duration;

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use super::workloads::{Metrics, Workload};

pub(super) struct Report {
    json: bool,
    table: Table,
    progress: ProgressBar,
}

fn name(workload: Workload) -> String {
    workload.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn about(workload: Workload) -> String {
    let value = workload.to_possible_value();
    value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
}

impl Report {
    pub(super) fn new(json: bool, workloads: usize) -> Self {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(["workload", "what", "result", ""]);
        if let Some(column) = table.column_mut(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let progress =
            if json { ProgressBar::hidden() } else { ProgressBar::new(workloads as u64) };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {msg} {elapsed}") {
            progress.set_style(style);
        }
        progress.enable_steady_tick(Duration::from_millis(200));
        Self { json, table, progress }
    }

    pub(super) fn begin(&self, workload: Workload) {
        self.progress.set_message(format!("{}: {}", name(workload), about(workload)));
    }

    pub(super) fn end(&mut self, workload: Workload, metrics: Metrics) {
        self.progress.inc(1);
        if self.json {
            let metrics: Map<String, Value> =
                metrics.into_iter().map(|(name, value)| (key(name), value.into())).collect();
            let line =
                json!({ "workload": name(workload), "backend": "wsmux", "metrics": metrics });
            println!("{line}");
            return;
        }
        let mut title = (name(workload), about(workload));
        for (unit, value) in metrics {
            let digits = if value < 10.0 { 2 } else { 0 };
            let (first, second) = std::mem::take(&mut title);
            self.table.add_row([first, second, format!("{value:.digits$}"), unit.to_owned()]);
        }
    }

    pub(super) fn finish(self) {
        self.progress.finish_and_clear();
        if !self.json {
            println!("{}", self.table);
        }
    }
}

/// Converts a unit such as `MiB/s` to a key for programs: `mib_s`.
fn key(unit: &str) -> String {
    unit.to_lowercase().replace([' ', '/'], "_")
}
