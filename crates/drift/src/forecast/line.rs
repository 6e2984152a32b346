//! A line through readings that outliers do not turn, and how sure it is.
//!
//! The slope is the median of the slopes between all pairs of readings: Theil, "A rank-invariant
//! method of linear and polynomial regression analysis", Proc. Kon. Ned. Akad. v. Wetensch. A 53,
//! 1950. Its interval is that of Sen, "Estimates of the regression coefficient based on Kendall's
//! tau", J. Am. Stat. Assoc. 63, 1968: of the `N = n (n - 1) / 2` sorted slopes those at
//! `(N -+ z s) / 2`, where `s^2 = n (n - 1) (2 n + 5) / 18`. Readings that follow one another are
//! worth less than as many that do not: `s^2` grows by `n / n'`, with `n' = n (1 - r) / (1 + r)`
//! readings' worth at an autocorrelation of `r` between residuals (Bayley and Hammersley, "The
//! effective number of independent observations in an autocorrelated time series", Suppl. J. R.
//! Stat. Soc. 8, 1946; used for this test by Hamed and Rao, J. Hydrol. 204, 1998).
//!
//! The height of the line is the median of what the slope leaves, and its interval that of a
//! median: the residuals at the parts `1/2 -+ z / (2 sqrt n')` (Conover, "Practical Nonparametric
//! Statistics", section 3.2). In the middle of the times errors of slope and height have nothing
//! to do with one another, so that their shares in the error of a crossing add up by squares.

use super::Point;

/// Readings that are looked at in pairs; of more, evenly many are left out.
const POINTS_MAX: usize = 400;

/// The normal distribution's quantile for intervals: 95 % of both sides.
const Z_INTERVAL: f64 = 1.96;

/// Its quantile for saying at all that something rises: 99.95 % of one side. The question is
/// asked again with every reading, and each yes may wake somebody.
const Z_RISES: f64 = 3.29;

/// A residual is rarely greater than this part of all.
const USUAL: f64 = 0.99;

/// Independent readings that all others must be worth.
const WORTH_MIN: f64 = 5.0;

/// Parts of the whole extent below which residuals are rounding.
const ROUNDING: f64 = 1e-9;

/// A line, in milliseconds and the readings' unit.
#[derive(Debug)]
pub(super) struct Line {
    slope: f64,
    /// The likely slopes.
    slopes: (f64, f64),
    /// A slope that is less than the true one almost surely.
    least: f64,
    /// The middle of the times, and the line there.
    middle: (f64, f64),
    /// How far below and above the line the true one is likely to be there.
    heights: (f64, f64),
    /// How far above the line readings rarely are.
    usual: f64,
}

/// When a line is at a height.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meets {
    pub(super) expected: f64,
    pub(super) earliest: f64,
    pub(super) latest: f64,
    /// When a single reading may be.
    pub(super) first: f64,
}

impl Line {
    /// Through at least three readings in the order of time, at different times; `None` if they
    /// are worth too few independent ones.
    pub(super) fn through(series: &[Point]) -> Option<Self> {
        let points = thinned(series);
        let (origin, count) = (points.first()?.at_ms, points.len());
        let at = |point: &Point| point.at_ms.saturating_sub(origin) as f64;
        let mut slopes = Vec::with_capacity(count * (count - 1) / 2);
        for (index, from) in points.iter().enumerate() {
            for to in &points[index + 1..] {
                slopes.push((to.value - from.value) / (at(to) - at(from)));
            }
        }
        slopes.sort_unstable_by(f64::total_cmp);
        let slope = quantile(&slopes, 0.5)?;
        let mut offsets: Vec<f64> = points.iter().map(|p| p.value - slope * at(p)).collect();
        let in_order = offsets.clone();
        offsets.sort_unstable_by(f64::total_cmp);
        let offset = quantile(&offsets, 0.5)?;
        let extent = points.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), p| {
            (low.min(p.value), high.max(p.value))
        });
        let rounding = ROUNDING * (extent.1 - extent.0).abs();
        let worth = worth(in_order.iter().map(|one| one - offset), rounding);
        if worth < WORTH_MIN {
            return None;
        }
        let n = count as f64;
        let spread = (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0 * n / worth).sqrt();
        let between = |z: f64| limits(&slopes, z * spread);
        let middle = quantile(&points.iter().map(at).collect::<Vec<_>>(), 0.5)?;
        let part = (Z_INTERVAL / (2.0 * worth.sqrt())).min(0.5);
        let residual = |part: f64| quantile(&offsets, part).map(|one| one - offset);
        Some(Self {
            slope,
            slopes: between(Z_INTERVAL),
            least: between(Z_RISES).0,
            middle: (origin as f64 + middle, offset + slope * middle),
            heights: (residual(0.5 - part)?, residual(0.5 + part)?),
            usual: residual(USUAL)?,
        })
    }

    /// Whether it surely does.
    pub(super) fn rises(&self) -> bool {
        self.least > 0.0
    }

    pub(super) fn slope(&self) -> f64 {
        self.slope
    }

    /// When a line that rises is at a height.
    pub(super) fn meets(&self, height: f64) -> Meets {
        let (time, level) = self.middle;
        let when = |slope: f64, above: f64| time + (height - level - above) / slope;
        let expected = when(self.slope, 0.0);
        let away = |slope: f64, above: f64| {
            (when(slope, 0.0) - expected).hypot(when(self.slope, above) - expected)
        };
        let earliest = expected - away(self.slopes.1, self.heights.1);
        let latest = match self.slopes.0 > 0.0 {
            true => expected + away(self.slopes.0, self.heights.0),
            false => f64::INFINITY,
        };
        let first = earliest.min(when(self.slope, self.usual));
        Meets { expected, earliest, latest, first }
    }
}

/// The last one always stays.
fn thinned(series: &[Point]) -> Vec<Point> {
    let every = series.len().div_ceil(POINTS_MAX).max(1);
    let mut points: Vec<Point> = series.iter().rev().step_by(every).copied().collect();
    points.reverse();
    points
}

/// The slopes at so many ranks around the middle.
fn limits(sorted: &[f64], ranks: f64) -> (f64, f64) {
    let count = sorted.len() as f64;
    let low = ((count - ranks) / 2.0).floor() - 1.0;
    let high = ((count + ranks) / 2.0).ceil();
    let at = |rank: f64| (rank >= 0.0).then(|| sorted.get(rank as usize)).flatten().copied();
    (at(low).unwrap_or(f64::NEG_INFINITY), at(high).unwrap_or(f64::INFINITY))
}

/// How many independent readings these residuals are worth.
fn worth(residuals: impl Iterator<Item = f64> + Clone, rounding: f64) -> f64 {
    let count = residuals.clone().count() as f64;
    let mean = residuals.clone().sum::<f64>() / count;
    let square: f64 = residuals.clone().map(|one| (one - mean).powi(2)).sum();
    if square <= rounding.powi(2) * count {
        return count;
    }
    let pairs = residuals.clone().zip(residuals.skip(1));
    let product: f64 = pairs.map(|(one, next)| (one - mean) * (next - mean)).sum();
    // A line takes about this much from the correlation of what it leaves (Kendall, "Note on
    // bias in the estimation of autocorrelation", Biometrika 41, 1954).
    let correlation = product / square + (1.0 + 4.0 * product / square) / count;
    let correlation = correlation.clamp(0.0, 0.999);
    count * (1.0 - correlation) / (1.0 + correlation)
}

/// Between the nearest two of sorted values.
pub(super) fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let place = part * (sorted.len().checked_sub(1)? as f64);
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(if low == high { low } else { low + (high - low) * place.fract() })
}
