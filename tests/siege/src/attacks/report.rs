//! Prints the results as a table.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};

use super::{MIB, Outcome};

pub fn print(outcomes: &[Outcome]) {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "attack",
        "MiB before",
        "peak",
        "after",
        "growth",
        "allocated",
        "limit",
        "bulk MiB/s",
        "beside",
        "ratio",
        "calls/s",
        "beside",
        "ratio",
        "connects",
        "slowest ms",
        "sent",
        "came",
        "told",
    ]);
    for outcome in outcomes {
        table.add_row(row(outcome));
    }
    for column in table.column_iter_mut().skip(1).take(16) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
}

fn row(outcome: &Outcome) -> Vec<String> {
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / MIB as f64);
    let (alone, beside, told) = (&outcome.alone, &outcome.beside, &outcome.told);
    let rates = |count: fn(&crate::honest::Done) -> f64| {
        let [alone, beside] = [alone, beside].map(|done| count(done) / done.seconds.max(1e-9));
        let ratio = format!("{:.2}", beside / alone.max(1e-9));
        [format!("{alone:.0}"), format!("{beside:.0}"), ratio]
    };
    let mut row = vec![outcome.attack.name()];
    row.extend(
        [
            outcome.before,
            outcome.peak,
            outcome.after,
            outcome.growth(),
            outcome.allocated(),
            outcome.limit,
        ]
        .map(mib),
    );
    row.extend(rates(|done| done.bytes as f64 / MIB as f64));
    row.extend(rates(|done| done.calls as f64));
    row.push(beside.connects.to_string());
    row.push(format!("{:.0}", beside.slowest_connect));
    row.push(format!("{} in {} messages", mib(told.bytes), told.messages));
    row.push(told.connections.to_string());
    let ends = told.ends.iter().map(|(how, count)| format!("{count} × {how}"));
    row.push(ends.collect::<Vec<_>>().join("\n"));
    row
}
