//! The points of a metric, made ready to be compared.

use serde::{Deserialize, Serialize};

use super::config::{NanStrategy, OutlierStrategy, Outliers};

/// Beyond this the squares of differences are no numbers any more.
pub(super) const MOST: f64 = 1e150;

/// The points of both arms; a missing one is NaN.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Series<'a> {
    /// The baseline's.
    pub control: &'a [f64],
    /// The candidate's.
    pub experiment: &'a [f64],
}

/// One arm's points as they are compared, from the least to the most, and what was done to them.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    /// From the least to the most.
    pub values: Vec<f64>,
    /// How many were missing.
    pub missing: usize,
    /// How many were left out because they are far from the others.
    pub outliers: usize,
}

/// An arm's points in a few numbers; all 0 where there are none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// How many are compared.
    pub count: usize,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation.
    pub std: f64,
    /// How many were missing.
    pub missing: usize,
    /// How many were left out because they are far from the others.
    pub outliers: usize,
}

impl Points {
    /// Of what was measured.
    pub fn new(measured: &[f64], missing_is: NanStrategy, outliers: Outliers) -> Self {
        let missing = measured.iter().filter(|value| value.is_nan()).count();
        let mut values: Vec<f64> = match missing_is {
            NanStrategy::Remove => measured.iter().copied().filter(|v| !v.is_nan()).collect(),
            NanStrategy::Replace => {
                measured.iter().map(|v| if v.is_nan() { 0.0 } else { *v }).collect()
            }
        };
        // With -0 as 0 a comparison of numbers and one of bits agree.
        values.iter_mut().for_each(|value| *value += 0.0);
        values.sort_by(f64::total_cmp);
        let before = values.len();
        if outliers.strategy == OutlierStrategy::Remove && !values.is_empty() {
            let near = fences(&values, outliers.outlier_factor);
            values.retain(|value| near.contains(value));
        }
        Self { missing, outliers: before - values.len(), values }
    }

    /// In a few numbers. What is too large to reckon with counts, and is nowhere in the others.
    pub fn stats(&self) -> Stats {
        let Self { missing, outliers, .. } = *self;
        let count = self.values.len();
        let values: Vec<f64> =
            self.values.iter().copied().filter(|value| value.abs() <= MOST).collect();
        let (Some(&min), Some(&max)) = (values.first(), values.last()) else {
            return Stats { count, missing, outliers, ..Stats::default() };
        };
        let (mean, others) = (mean(&values), values.len().saturating_sub(1).max(1) as f64);
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let std = (squares / others).sqrt();
        Stats { count, min, max, mean, std, missing, outliers }
    }
}

/// Their mean; NaN where there are none.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Between which points are near: Tukey's fences, but never within the first and last per cent.
fn fences(sorted: &[f64], factor: f64) -> std::ops::RangeInclusive<f64> {
    let [p01, p25, p75, p99] = [0.01, 0.25, 0.75, 0.99].map(|part| quantile(sorted, part));
    let far = factor * (p75 - p25);
    p01.min(p25 - far)..=p99.max(p75 + far)
}

/// Between the two points it lies between, by the rule of R's type 7.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = part * (sorted.len() - 1) as f64;
    let below = sorted[place as usize];
    let above = sorted[(place.ceil() as usize).min(sorted.len() - 1)];
    below + place.fract() * (above - below)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Outliers = Outliers { strategy: OutlierStrategy::Remove, outlier_factor: 3.0 };

    #[track_caller]
    fn check(measured: &[f64], missing_is: NanStrategy, outliers: Outliers, values: &[f64]) {
        let points = Points::new(measured, missing_is, outliers);
        assert_eq!(points.values, values);
        let lost = if missing_is == NanStrategy::Remove { points.missing } else { 0 };
        assert_eq!(points.values.len() + lost + points.outliers, measured.len());
    }

    #[test]
    fn missing_points_are_nothing_or_zero() {
        let measured = [3.0, f64::NAN, 1.0, f64::NAN];
        check(&measured, NanStrategy::Remove, Outliers::default(), &[1.0, 3.0]);
        check(&measured, NanStrategy::Replace, Outliers::default(), &[0.0, 0.0, 1.0, 3.0]);
        check(&[f64::NAN], NanStrategy::Remove, FAR, &[]);
        check(&[], NanStrategy::Replace, FAR, &[]);
    }

    #[test]
    fn far_points_are_left_out() {
        // Quartiles of 1..=100 and one far point are 26 and 76: 226 is the fence, and the 99th of
        // a hundred steps is below it.
        let mut measured: Vec<f64> = (1..=100).map(f64::from).collect();
        measured.push(226.0);
        check(&measured, NanStrategy::Remove, FAR, &measured);
        measured[100] = 226.1;
        check(&measured, NanStrategy::Remove, FAR, &measured[..100]);
        check(&measured, NanStrategy::Remove, Outliers::default(), &measured);
        // Nothing is between the quartiles, so that anything else would be far; more than one per
        // cent of all points is not.
        check(
            &[vec![5.0; 20], vec![6.0; 2]].concat(),
            NanStrategy::Remove,
            FAR,
            &[vec![5.0; 20], vec![6.0; 2]].concat(),
        );
    }

    #[test]
    fn points_in_a_few_numbers() {
        let points = Points::new(&[4.0, 2.0, f64::NAN], NanStrategy::Remove, FAR);
        let known = Stats {
            count: 2,
            min: 2.0,
            max: 4.0,
            mean: 3.0,
            std: 2_f64.sqrt(),
            missing: 1,
            outliers: 0,
        };
        assert_eq!(points.stats(), known);
        assert_eq!(Points::new(&[], NanStrategy::Remove, FAR).stats(), Stats::default());
        assert_eq!(Points::new(&[7.0], NanStrategy::Remove, FAR).stats().std, 0.0);
    }
}
