//! Draws the chart of the results. The chart has a panel for each workload, with a bar for each
//! rival in its best configuration. A line through a bar shows a wide spread.

use std::path::Path;

use anyhow::Result;
use plotters::{
    coord::Shift,
    prelude::{
        DrawingArea, FontFamily, IntoDrawingArea, PathElement, RGBColor, Rectangle, SVGBackend,
        Text,
    },
    style::{
        Color, RGBAColor, ShapeStyle, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::{
    backends::{
        Backend::{self, *},
        Kind,
    },
    outcome::{Metric, Outcome},
    report::number,
    results::{Results, Spread},
    workloads::Workload,
};

/// The bars of each panel. Each bar has a name, and shows the result of the best of its backends.
const BARS: [(&str, &[Backend]); 8] = [
    ("wsmux", &[Wsmux]),
    ("qmux", &[Qmux, Qmux1m]),
    ("yamux", &[Yamux, YamuxTuned]),
    ("penguin-mux", &[Penguin, Penguin1m]),
    ("zmux", &[Zmux]),
    ("quinn", &[Quinn]),
    ("no mux, tungstenite", &[WsRaw]),
    ("no mux, by hand", &[WsFloor]),
];

/// The workloads in the chart. They represent most uses. All other workloads are only in the
/// tables.
const PANELS: [(Workload, Metric, &str); 12] = [
    (Workload::Bulk1, Metric::MibPerS, "one stream, MiB/s"),
    (Workload::Bulk100, Metric::MibPerS, "100 streams, MiB/s"),
    (Workload::Small, Metric::MibPerS, "writes of 32 bytes, MiB/s"),
    (Workload::Rpc64, Metric::OpsPerS, "64 requests at once, per second"),
    (Workload::Rpc4k, Metric::OpsPerS, "4 KiB up and 64 KiB down, per second"),
    (Workload::Pingpong, Metric::OpsPerS, "ping-pong, rounds per second"),
    (Workload::Loaded, Metric::P99Us, "ping-pong beside bulk, p99 µs"),
    (Workload::Stalled8, Metric::MibPerS, "beside 8 stalled streams, MiB/s"),
    (Workload::Conns, Metric::OpsPerS, "1,000 connections, messages per second"),
    (Workload::Churn, Metric::OpsPerS, "connections of one call, per second"),
    (Workload::Idle10k, Metric::BytesEach, "an idle stream, bytes"),
    (Workload::Idleconns, Metric::BytesEach, "an idle connection, bytes"),
];
const COLUMNS: usize = 3;

const BAR: i32 = 14;
const STEP: i32 = 20;
const TITLE: i32 = 44;
/// The widths of a panel's columns, which are for the names, for the bars, and for the figures.
const NAMES: i32 = 128;
const LONGEST: i32 = 120;
const FIGURE: i32 = 62;
const PANEL: (i32, i32) = (NAMES + LONGEST + FIGURE, TITLE + BARS.len() as i32 * STEP + 16);

/// The colours are medium greys, and there is no background, because the page that shows the chart
/// may be light or dark.
const TEXT: RGBColor = RGBColor(125, 133, 144);
const OURS: RGBColor = RGBColor(47, 129, 247);
const THEIRS: RGBColor = RGBColor(139, 148, 158);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub fn draw(results: &Results, path: &Path) -> Result<()> {
    let rows = PANELS.len().div_ceil(COLUMNS);
    let size = (PANEL.0 as u32 * COLUMNS as u32, PANEL.1 as u32 * rows as u32);
    let root = SVGBackend::new(path, size).into_drawing_area();
    for (area, (workload, metric, title)) in root.split_evenly((rows, COLUMNS)).iter().zip(PANELS) {
        panel(area, results, workload, metric, title)?;
    }
    root.present()?;
    Ok(())
}

fn panel(
    area: &Area<'_>,
    results: &Results,
    workload: Workload,
    metric: Metric,
    title: &str,
) -> Result<()> {
    let better = if metric.more_is_better() { "more is better" } else { "less is better" };
    area.draw(&Text::new(title, (0, 4), text(15)))?;
    area.draw(&Text::new(better, (0, 22), text(12)))?;
    let values = BARS.map(|(_, backends)| best(results, workload, metric, backends));
    // The longest bar of a mux determines the scale, because backends without a mux may be many
    // times better or worse. A bar that would be longer is cut off.
    let muxes =
        BARS.iter().zip(&values).filter(|((_, backends), _)| backends[0].kind() != Kind::NoMux);
    let longest = muxes.filter_map(|(_, value)| Some((*value)?.median)).fold(0.0, f64::max);
    let length = |value: f64| ((value / longest).min(1.0) * f64::from(LONGEST)) as i32;
    for (at, ((name, backends), value)) in BARS.iter().zip(values).enumerate() {
        let y = TITLE + at as i32 * STEP;
        let middle = y + BAR / 2;
        area.draw(&Text::new(*name, (NAMES - 6, middle), beside(HPos::Right)))?;
        let mut end = NAMES;
        if let Some(value) = value {
            let bar = [(NAMES, y), (NAMES + length(value.median).max(1), y + BAR)];
            area.draw(&Rectangle::new(bar, fill(backends[0])))?;
            end = bar[1].0;
            if value.is_wide() {
                let ends = [value.min, value.max].map(|value| (NAMES + length(value), middle));
                area.draw(&PathElement::new(ends, TEXT))?;
                end = end.max(ends[1].0);
            }
        }
        let figure = match value {
            Some(value) if value.median > longest => format!("» {}", number(value.median)),
            Some(value) => number(value.median),
            None => absent(results, workload, backends).to_owned(),
        };
        area.draw(&Text::new(figure, (end + 5, middle), beside(HPos::Left)))?;
    }
    Ok(())
}

/// Returns the best result of these backends, which are configurations of one rival. A
/// configuration that has hung has no result.
fn best(
    results: &Results,
    workload: Workload,
    metric: Metric,
    backends: &[Backend],
) -> Option<Spread> {
    let spreads = backends.iter().filter_map(|&backend| results.spread(workload, backend, metric));
    let order = |a: &Spread, b: &Spread| a.median.total_cmp(&b.median);
    if metric.more_is_better() { spreads.max_by(order) } else { spreads.min_by(order) }
}

/// Returns the text that is shown if there is no figure.
fn absent(results: &Results, workload: Workload, backends: &[Backend]) -> &'static str {
    let mut troubles = backends.iter().filter_map(|&backend| results.trouble(workload, backend));
    match troubles.next_back() {
        Some(Outcome::Hangs) => "hangs",
        Some(_) => "failed",
        None => "–",
    }
}

fn text(size: i32) -> TextStyle<'static> {
    TextStyle::from((FontFamily::SansSerif, size)).color(&TEXT)
}

fn beside(side: HPos) -> TextStyle<'static> {
    text(13).pos(Pos::new(side, VPos::Center))
}

fn fill(backend: Backend) -> ShapeStyle {
    let color: RGBAColor = match backend.kind() {
        Kind::Ours => OURS.to_rgba(),
        Kind::Mux | Kind::Quic => THEIRS.to_rgba(),
        Kind::NoMux => THEIRS.mix(0.5),
    };
    color.filled()
}
