//! Jumps in readings: what happened at once and will not go on, such as a large file that was
//! written, or a log that was rotated.

use super::Point;
use super::line::quantile;

/// A jump is so many usual deviations from the usual step.
const DEVIATIONS: f64 = 8.0;

/// And such a part of the readings' whole extent.
const EXTENT: f64 = 0.25;

/// From the median of absolute deviations to the standard deviation of a normal distribution.
const MAD_TO_SD: f64 = 1.4826;

/// Where jumps make up all but this part of the way, they are how the number counts.
const REST: f64 = 0.1;

/// A jump.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Jump {
    /// After which reading.
    pub(super) index: usize,
    /// How far.
    pub(super) by: f64,
}

/// The jumps in a series in the order of time.
pub(super) fn jumps(series: &[Point]) -> Vec<Jump> {
    let steps: Vec<f64> = series.windows(2).map(|two| two[1].value - two[0].value).collect();
    let values = || series.iter().map(|point| point.value);
    let extent =
        values().fold(f64::NEG_INFINITY, f64::max) - values().fold(f64::INFINITY, f64::min);
    let Some((usual, deviation)) = centre(&steps) else { return Vec::new() };
    let least = EXTENT * extent;
    let is_jump = |by: f64| (by - usual).abs() > DEVIATIONS * deviation && by.abs() > least;
    let found = steps.iter().enumerate().filter(|(_, by)| is_jump(**by));
    let found: Vec<Jump> = found.map(|(index, by)| Jump { index, by: *by }).collect();
    if is_staircase(&steps, &found) { Vec::new() } else { found }
}

/// Whether the number only ever moves in leaps of one size and direction, as whole days do.
fn is_staircase(steps: &[f64], jumps: &[Jump]) -> bool {
    let by = |jump: &Jump| jump.by.abs();
    let greatest = jumps.iter().map(by).fold(0.0, f64::max);
    let all: f64 = steps.iter().map(|step| step.abs()).sum();
    let leaps: f64 = jumps.iter().map(by).sum();
    let one_way = jumps.windows(2).all(|two| two[0].by.signum() == two[1].by.signum());
    jumps.len() >= 3
        && one_way
        && jumps.iter().all(|jump| by(jump) * 2.0 >= greatest)
        && all - leaps <= REST * leaps
}

/// The median, and the usual deviation from it.
fn centre(steps: &[f64]) -> Option<(f64, f64)> {
    let mut sorted = steps.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let median = quantile(&sorted, 0.5)?;
    let mut away: Vec<f64> = sorted.iter().map(|step| (step - median).abs()).collect();
    away.sort_unstable_by(f64::total_cmp);
    Some((median, quantile(&away, 0.5)? * MAD_TO_SD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[f64], expected: &[(usize, f64)]) {
        let points = values.iter().enumerate();
        let series: Vec<Point> =
            points.map(|(at, value)| Point { at_ms: at as i64 * 1000, value: *value }).collect();
        let found: Vec<_> = jumps(&series).iter().map(|jump| (jump.index, jump.by)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_happens_at_once_is_a_jump() {
        check(&[1.0, 1.0, 1.0, 1.0, 9.0, 9.0, 9.0], &[(3, 8.0)]);
        check(&[1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 1.0], &[(3, -3.0), (7, -3.0)]);
        check(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[]);
        check(&[5.0, 5.0, 5.0, 5.0], &[]);
        check(&[], &[]);
    }

    #[test]
    fn whole_numbers_are_no_jumps() {
        check(&[4.0, 4.0, 4.0, 3.0, 3.0, 3.0, 2.0, 2.0, 2.0, 1.0, 1.0], &[]);
    }
}
