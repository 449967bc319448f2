//! Draws the curves with logarithmic axes, on which a power law is a straight line. The thin line
//! is the law of all points. A vertical line through a point shows its spread.

use std::path::Path;

use anyhow::Result;
use plotters::{
    coord::Shift,
    prelude::{
        Circle, DrawingArea, FontFamily, IntoDrawingArea, PathElement, RGBColor, SVGBackend, Text,
    },
    style::{
        Color, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{
    factor::Factor,
    results::{Curve, Results},
};
use crate::{outcome::Metric, report::number};

/// The panels. Each has a title and one or two curves of the same metric.
const PANELS: [(&str, Metric, &[Factor]); 12] = [
    ("calls per second", Metric::OpsPerS, &[Factor::IdleConnections, Factor::BusyConnections]),
    (
        "CPU, s per 100,000 calls",
        Metric::CpuSPer100k,
        &[Factor::IdleConnections, Factor::BusyConnections],
    ),
    ("memory of a connection, bytes", Metric::BytesEach, &[Factor::IdleConnections]),
    ("calls per second", Metric::OpsPerS, &[Factor::IdleStreams]),
    ("CPU, s per 100,000 calls", Metric::CpuSPer100k, &[Factor::IdleStreams]),
    ("memory of a stream, bytes", Metric::BytesEach, &[Factor::IdleStreams]),
    ("one stream, MiB/s", Metric::MibPerS, &[Factor::Writes]),
    ("CPU, s per GiB", Metric::CpuSPerGib, &[Factor::Writes]),
    ("round trip, p50 µs", Metric::P50Us, &[Factor::Messages]),
    ("calls per second", Metric::OpsPerS, &[Factor::PerCore, Factor::MultiThread]),
    ("connections per second", Metric::ConnectionsPerS, &[Factor::PerCore, Factor::MultiThread]),
    ("CPU, s per 100,000 calls", Metric::CpuSPer100k, &[Factor::PerCore, Factor::MultiThread]),
];
const COLUMNS: usize = 3;

const PANEL: (i32, i32) = (310, 250);
/// The edges of the plot, in pixels from the panel's left and top edge.
const LEFT: i32 = 56;
const RIGHT: i32 = 296;
const TOP: i32 = 66;
const BOTTOM: i32 = 210;

/// These colours can be read on light and on dark pages, like the colours of the chart of rivals.
const TEXT: RGBColor = RGBColor(125, 133, 144);
const CURVES: [RGBColor; 2] = [RGBColor(47, 129, 247), RGBColor(219, 109, 40)];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws all panels whose curves were measured.
pub fn draw(results: &Results, path: &Path) -> Result<()> {
    let panels: Vec<_> = PANELS
        .iter()
        .map(|&(title, metric, factors)| {
            let curves = factors.iter().map(|&factor| results.curve(factor, metric));
            (title, curves.filter(|curve| !curve.points.is_empty()).collect::<Vec<_>>())
        })
        .filter(|(_, curves)| !curves.is_empty())
        .collect();
    let rows = panels.len().div_ceil(COLUMNS).max(1);
    let size = (PANEL.0 as u32 * COLUMNS as u32, PANEL.1 as u32 * rows as u32);
    let root = SVGBackend::new(path, size).into_drawing_area();
    for (area, (title, curves)) in root.split_evenly((rows, COLUMNS)).iter().zip(&panels) {
        panel(area, title, curves)?;
    }
    root.present()?;
    Ok(())
}

fn panel(area: &Area<'_>, title: &str, curves: &[Curve]) -> Result<()> {
    area.draw(&Text::new(title, (0, 4), text(15)))?;
    let xs = curves.iter().flat_map(|curve| curve.points.iter().map(|(at, _)| *at as f64));
    let ys = curves
        .iter()
        .flat_map(|curve| curve.points.iter().flat_map(|(_, spread)| [spread.min, spread.max]));
    let x = Axis::new(xs, (LEFT, RIGHT), 0.0);
    // The axis spans at least one power of ten. Otherwise small differences between equal
    // measurements would look large.
    let y = Axis::new(ys, (BOTTOM, TOP), 1.0);
    for value in y.marks() {
        let line = [(LEFT, y.at(value)), (RIGHT, y.at(value))];
        area.draw(&PathElement::new(line, TEXT.mix(0.3)))?;
        let place = Pos::new(HPos::Right, VPos::Center);
        area.draw(&Text::new(number(value), (LEFT - 5, y.at(value)), text(12).pos(place)))?;
    }
    for value in x.marks() {
        let line = [(x.at(value), TOP), (x.at(value), BOTTOM)];
        area.draw(&PathElement::new(line, TEXT.mix(0.3)))?;
        let place = Pos::new(HPos::Center, VPos::Top);
        area.draw(&Text::new(short(value), (x.at(value), BOTTOM + 6), text(12).pos(place)))?;
    }
    for (index, (curve, color)) in curves.iter().zip(CURVES).enumerate() {
        let law = curve.law.map_or_else(String::new, |law| format!("^{:.2}", law.exponent));
        let name = match curve.factor {
            Factor::PerCore => "cores, a runtime each",
            Factor::MultiThread => "cores, one runtime",
            factor => factor.axis(),
        };
        let style = TextStyle::from((FontFamily::SansSerif, 13)).color(&color);
        area.draw(&Text::new(format!("~ {name}{law}"), (0, 24 + index as i32 * 17), style))?;
        draw_curve(area, curve, color, &x, &y)?;
    }
    Ok(())
}

fn draw_curve(area: &Area<'_>, curve: &Curve, color: RGBColor, x: &Axis, y: &Axis) -> Result<()> {
    let points: Vec<_> =
        curve.points.iter().map(|(at, spread)| (x.at(*at as f64), y.at(spread.median))).collect();
    if let Some((from, to)) = fitted(curve) {
        let line = [from, to].map(|(at, value)| (x.at(at), y.at(value)));
        area.draw(&PathElement::new(line, color.mix(0.4)))?;
    }
    area.draw(&PathElement::new(points.clone(), color.stroke_width(2)))?;
    for (&point, (_, spread)) in points.iter().zip(&curve.points) {
        let ends = [spread.min, spread.max].map(|value| (point.0, y.at(value)));
        area.draw(&PathElement::new(ends, color))?;
        area.draw(&Circle::new(point, 3, color.filled()))?;
    }
    Ok(())
}

/// Returns the two ends of the line that shows a curve's power law.
fn fitted(curve: &Curve) -> Option<((f64, f64), (f64, f64))> {
    let exponent = curve.law?.exponent;
    // The line goes through the mean of the points, as every least-squares line does.
    let count = curve.points.len() as f64;
    let mean = |of: fn(&(u64, crate::results::Spread)) -> f64| {
        curve.points.iter().map(|point| of(point).ln()).sum::<f64>() / count
    };
    let (x, y) = (mean(|point| point.0 as f64), mean(|point| point.1.median));
    let at = |value: u64| {
        let value = value as f64;
        (value, (y + exponent * (value.ln() - x)).exp())
    };
    Some((at(curve.points.first()?.0), at(curve.points.last()?.0)))
}

/// A logarithmic axis.
struct Axis {
    /// The logarithms to base 10 of the first and the last value.
    from: f64,
    to: f64,
    pixels: (i32, i32),
}

impl Axis {
    /// Makes an axis for these values. It covers at least `least` powers of ten.
    fn new(values: impl Iterator<Item = f64>, pixels: (i32, i32), least: f64) -> Self {
        let logs: Vec<_> = values.map(|value| value.max(f64::MIN_POSITIVE).log10()).collect();
        let from = logs.iter().copied().fold(f64::INFINITY, f64::min);
        let to = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let more = (least - (to - from)).max(0.0) / 2.0;
        Self { from: from - more, to: to + more, pixels }
    }

    fn at(&self, value: f64) -> i32 {
        let part = (value.log10() - self.from) / (self.to - self.from).max(f64::MIN_POSITIVE);
        let (start, end) = (f64::from(self.pixels.0), f64::from(self.pixels.1));
        (start + part.clamp(0.0, 1.0) * (end - start)).round() as i32
    }

    /// Returns the values at which the axis is labelled: powers of ten, or also 2 and 5 times these
    /// if the axis is short.
    fn marks(&self) -> Vec<f64> {
        let factors: &[f64] = if self.to - self.from < 2.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let powers = (self.from.floor() as i32)..=(self.to.ceil() as i32);
        powers
            .flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)))
            .filter(|value| (self.from - 1e-9..=self.to + 1e-9).contains(&value.log10()))
            .collect()
    }
}

fn text(size: i32) -> TextStyle<'static> {
    TextStyle::from((FontFamily::SansSerif, size)).color(&TEXT)
}

/// Formats a label of the horizontal axis.
fn short(value: f64) -> String {
    if value < 1_000.0 {
        format!("{value:.0}")
    } else if value < 1e6 {
        format!("{:.0}k", value / 1e3)
    } else {
        format!("{:.0}M", value / 1e6)
    }
}
