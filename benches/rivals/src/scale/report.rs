//! Writes the report in two forms. The text, for people, has a table for each factor and the power
//! laws that fit the factor's curves. The JSON, for programs, has all curves.

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde_json::json;

use super::{
    factor::{Factor, quantity},
    law::Law,
    results::{Curve, Key, Results},
};
use crate::report::figure;

pub fn print(results: &Results) {
    for factor in results.factors() {
        println!("{}: {}", factor.name(), factor.about());
        println!("{}", table(results, factor));
        for &metric in factor.metrics() {
            if let Some(line) = laws(&results.curve(factor, metric)) {
                println!("  {line}");
            }
        }
        println!();
    }
}

fn table(results: &Results, factor: Factor) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    let units = factor.metrics().iter().map(|metric| metric.unit());
    table.set_header([factor.axis()].into_iter().chain(units));
    for at in results.points(factor) {
        let key = Key { factor, at };
        let absent = if results.trouble(key).is_some() { "failed" } else { "" };
        let figures = factor
            .metrics()
            .iter()
            .map(|&metric| results.spread(key, metric).map_or_else(|| absent.to_owned(), figure));
        table.add_row([at.to_string()].into_iter().chain(figures));
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Returns the power law of a curve and the power laws of its parts, as a line of text.
fn laws(curve: &Curve) -> Option<String> {
    let (quantity, axis) = (quantity(curve.metric), curve.factor.axis());
    let named = |law: Law| law.name().map_or_else(String::new, |name| format!(" ({name})"));
    let law = curve.law?;
    let mut line = format!("{quantity} ~ {axis}^{:.2}{}", law.exponent, named(law));
    if curve.points.len() > 2 {
        line += &format!(", each point within a factor of {:.2}", law.off);
    }
    if let Some((at, small, large)) = curve.bend {
        line += &format!(
            "; ^{:.2}{} up to {at}, ^{:.2}{} from there",
            small.exponent,
            named(small),
            large.exponent,
            named(large)
        );
    }
    Some(line)
}

/// Returns the curves as JSON, with the spread of every point.
pub fn json(results: &Results) -> Result<String> {
    Ok(serde_json::to_string_pretty(&json!({
        "rounds": results.rounds,
        "quick": results.quick,
        "processors": std::thread::available_parallelism()?,
        "curves": results.curves(),
    }))?)
}
