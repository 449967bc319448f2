//! Fits a power law to a curve.

use serde::Serialize;

/// If the exponent is less than this, the measurements cannot distinguish the curve from a
/// constant. Over three powers of ten the curve then changes by less than a factor of 1.42.
const FLAT: f64 = 0.05;

/// The power law `y ~ x^exponent` that fits a curve best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Law {
    pub exponent: f64,
    /// The largest factor by which a point differs from the law. It is 1 if the curve is exactly a
    /// power law.
    pub off: f64,
}

impl Law {
    /// Fits a law by least squares of the logarithms. Returns `None` if there are fewer than two
    /// different values of `x`, or if a value is not positive.
    pub fn fit(points: &[(f64, f64)]) -> Option<Self> {
        if points.iter().any(|&(x, y)| x <= 0.0 || y <= 0.0) {
            return None;
        }
        let logs: Vec<_> = points.iter().map(|&(x, y)| (x.ln(), y.ln())).collect();
        let mean =
            |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / logs.len() as f64;
        let (x, y) = (mean(|log| log.0), mean(|log| log.1));
        let variance: f64 = logs.iter().map(|log| (log.0 - x).powi(2)).sum();
        if logs.len() < 2 || variance == 0.0 {
            return None;
        }
        let covariance: f64 = logs.iter().map(|log| (log.0 - x) * (log.1 - y)).sum();
        let exponent = covariance / variance;
        let off = |log: &(f64, f64)| (log.1 - y - exponent * (log.0 - x)).abs();
        Some(Self { exponent, off: logs.iter().map(off).fold(0.0, f64::max).exp() })
    }

    /// Fits two laws to a curve that bends at one of its points. The first law is for the points up
    /// to the bend. The second law is for the bend and the points after it. Chooses the bend for
    /// which the sum of the squares is least, and returns its index and both laws. Returns `None`
    /// for fewer than five points, because each law needs three points and the bend belongs to both.
    pub fn fit_two(points: &[(f64, f64)]) -> Option<(usize, Self, Self)> {
        let meetings = 2..points.len().saturating_sub(2);
        let fits = meetings.filter_map(|at| {
            let (small, large) = (&points[..=at], &points[at..]);
            let laws = (Self::fit(small)?, Self::fit(large)?);
            Some((laws.0.squares(small) + laws.1.squares(large), (at, laws.0, laws.1)))
        });
        fits.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, fit)| fit)
    }

    /// Returns the sum of the squared differences between the points and the law, in logarithms.
    fn squares(self, points: &[(f64, f64)]) -> f64 {
        let rests: Vec<_> = points.iter().map(|(x, y)| y.ln() - self.exponent * x.ln()).collect();
        let mean = rests.iter().sum::<f64>() / rests.len() as f64;
        rests.iter().map(|rest| (rest - mean).powi(2)).sum()
    }

    /// Returns the usual name of a growth with this exponent, if it has one.
    pub fn name(self) -> Option<&'static str> {
        let is = |exponent: f64| (self.exponent - exponent).abs() < FLAT;
        let names = [(0.0, "constant"), (0.5, "square root"), (1.0, "linear"), (-1.0, "inverse")];
        names.into_iter().find_map(|(exponent, name)| is(exponent).then_some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(law: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        [10.0, 100.0, 1_000.0, 10_000.0].map(|x| (x, law(x))).to_vec()
    }

    #[test]
    fn the_exponent_of_an_exact_power_law_is_found() {
        for exponent in [-1.0, -0.3, 0.0, 0.5, 1.0, 2.0] {
            let law = Law::fit(&curve(|x| 7.0 * x.powf(exponent))).expect("a law");
            assert!((law.exponent - exponent).abs() < 1e-9, "{law:?}");
            assert!((law.off - 1.0).abs() < 1e-9, "{law:?}");
        }
    }

    #[test]
    fn a_point_beside_the_law_is_reported_as_its_ratio() {
        // The two outer points have the same value, and the third is midway between them, so the
        // exponent is 0.
        let points = [(1.0, 1.0), (10.0, 8.0), (100.0, 1.0)];
        let law = Law::fit(&points).expect("a law");
        assert!(law.exponent.abs() < 1e-9, "{law:?}");
        // The mean of the logarithms of 1, 8 and 1 is the logarithm of 2, so the law has the value
        // 2 everywhere. The point with the value 8 differs by a factor of four.
        assert!((law.off - 4.0).abs() < 1e-9, "{law:?}");
    }

    #[test]
    fn two_laws_meet_at_the_bend_of_a_curve() {
        let points: Vec<_> =
            (0..8).map(|power| 10_f64.powi(power)).map(|x| (x, x.max(1_000.0))).collect();
        let (at, small, large) = Law::fit_two(&points).expect("two laws");
        assert_eq!(points[at].0, 1_000.0);
        assert!(small.exponent.abs() < 1e-9, "{small:?}");
        assert!((large.exponent - 1.0).abs() < 1e-9, "{large:?}");
        assert_eq!(Law::fit_two(&points[..4]), None);
    }

    #[test]
    fn points_without_a_logarithm_or_a_slope_have_no_law() {
        assert_eq!(Law::fit(&[]), None);
        assert_eq!(Law::fit(&[(10.0, 1.0)]), None);
        assert_eq!(Law::fit(&[(10.0, 1.0), (10.0, 2.0)]), None);
        assert_eq!(Law::fit(&[(10.0, 1.0), (100.0, 0.0)]), None);
    }

    #[test]
    fn only_exponents_close_to_a_named_one_have_a_name() {
        let name = |exponent| Law { exponent, off: 1.0 }.name();
        assert_eq!(name(-0.03), Some("constant"));
        assert_eq!(name(0.97), Some("linear"));
        assert_eq!(name(-1.02), Some("inverse"));
        assert_eq!(name(0.2), None);
    }
}
