//! The measured points, and the curves through them.

use std::{collections::BTreeMap, fmt};

use anyhow::{Result, bail};
use serde::Serialize;

use super::{factor::Factor, law::Law};
use crate::{
    outcome::{Metric, Metrics, Outcome},
    results::Spread,
};

/// If a point differs from its curve's power law by more than this factor, the report also fits two
/// laws to the curve.
const ONE_LAW: f64 = 1.15;

/// Names a point: a factor, and the number or size that it has there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub factor: Factor,
    pub at: u64,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.factor.name(), self.at)
    }
}

/// The outcomes of a point in all rounds.
#[derive(Debug, Default)]
struct Cell {
    rounds: Vec<Metrics>,
    trouble: Option<Outcome>,
}

pub struct Results {
    pub rounds: usize,
    pub quick: bool,
    cells: BTreeMap<Key, Cell>,
}

/// How one metric depends on one factor.
#[derive(Debug, Serialize)]
pub struct Curve {
    pub factor: Factor,
    pub metric: Metric,
    pub points: Vec<(u64, Spread)>,
    /// The power law that best fits all points together.
    pub law: Option<Law>,
    /// This is set if a single law does not describe the curve. It contains the point at which the
    /// curve bends, the law up to this point, and the law from this point on.
    pub bend: Option<(u64, Law, Law)>,
}

impl Results {
    pub fn new(rounds: usize, quick: bool) -> Self {
        Self { rounds, quick, cells: BTreeMap::new() }
    }

    pub fn add(&mut self, key: Key, outcome: Outcome) {
        let cell = self.cells.entry(key).or_default();
        match outcome {
            Outcome::Measured(metrics) => cell.rounds.push(metrics),
            trouble => cell.trouble = Some(trouble),
        }
    }

    /// Returns why there are no figures, if there are none.
    pub fn trouble(&self, key: Key) -> Option<&Outcome> {
        self.cells.get(&key)?.trouble.as_ref()
    }

    pub fn factors(&self) -> Vec<Factor> {
        let mut factors: Vec<_> = self.cells.keys().map(|key| key.factor).collect();
        factors.dedup();
        factors
    }

    /// Returns the points of a factor, including the points that have failed.
    pub fn points(&self, factor: Factor) -> Vec<u64> {
        let keys = self.cells.keys().filter(|key| key.factor == factor);
        keys.map(|key| key.at).collect()
    }

    pub fn spread(&self, key: Key, metric: Metric) -> Option<Spread> {
        let cell = self.cells.get(&key)?;
        if cell.trouble.is_some() {
            return None;
        }
        Spread::of(cell.rounds.iter().filter_map(|metrics| metrics.get(&metric).copied()).collect())
    }

    pub fn curve(&self, factor: Factor, metric: Metric) -> Curve {
        let points = self.points(factor).into_iter();
        let points: Vec<_> =
            points.filter_map(|at| Some((at, self.spread(Key { factor, at }, metric)?))).collect();
        let medians: Vec<_> =
            points.iter().map(|(at, spread)| (*at as f64, spread.median)).collect();
        let law = Law::fit(&medians);
        let bend = law.filter(|law| law.off > ONE_LAW).and_then(|_| Law::fit_two(&medians));
        let bend = bend.map(|(index, small, large)| (points[index].0, small, large));
        Curve { factor, metric, points, law, bend }
    }

    pub fn curves(&self) -> Vec<Curve> {
        let curves =
            |factor: Factor| factor.metrics().iter().map(move |&metric| self.curve(factor, metric));
        self.factors().into_iter().flat_map(curves).collect()
    }

    /// Fails if a point has failed or hung.
    pub fn check(&self) -> Result<()> {
        let failed: Vec<_> = self
            .cells
            .iter()
            .filter_map(|(key, cell)| match cell.trouble.as_ref()? {
                Outcome::Failed(why) => Some(format!("{key}: {why}")),
                _ => Some(format!("{key}: hangs")),
            })
            .collect();
        if !failed.is_empty() {
            bail!("{}", failed.join("\n"));
        }
        Ok(())
    }
}
