//! One metric: is the candidate's higher or lower, and by so much that it matters?

use serde::{Deserialize, Serialize};

use super::config::{Analysis, Direction, EffectSize, Measure, Metric, NanStrategy};
use super::series::{MOST, Points, Series, Stats, mean};
use super::shift::{self, Shift, shift};

/// A difference matters where the whole interval is beyond this part of its estimate.
const TOLERATED: f64 = 0.25;

/// The standard deviation that a constant metric is given, in parts of what it is.
const NOISE: f64 = 1e-5;

/// What a metric is found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Classification {
    /// No difference that matters.
    Pass,
    /// The candidate's is higher than allowed.
    High,
    /// The candidate's is lower than allowed.
    Low,
    /// An arm has no points.
    Nodata,
    /// The same, of a metric that must have some.
    NodataFailMetric,
    /// The points cannot be compared.
    Error,
}

/// A metric, judged, with what that rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// The metric's name.
    pub name: String,
    /// Groups it counts in.
    pub groups: Vec<String>,
    /// Whether it counts nowhere.
    pub muted: bool,
    /// What it is found to be.
    pub classification: Classification,
    /// Whether all fails with it.
    pub critical: bool,
    /// Why, in words.
    pub reason: String,
    /// The baseline's points.
    pub control: Stats,
    /// The candidate's points.
    pub experiment: Stats,
    /// By how much the candidate is higher, where that was asked.
    pub difference: Option<Difference>,
}

/// By how much the candidate is higher.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// At least, with confidence 99 %.
    pub least: f64,
    /// Most likely.
    pub estimate: f64,
    /// At most, with confidence 99 %.
    pub most: f64,
    /// The effect in the metric's measure; none where it cannot be told, which is so of a ratio of
    /// means one of which is 0.
    pub effect: Option<f64>,
}

/// Judges one metric by its points.
pub(super) fn judge(metric: &Metric, series: Series<'_>) -> Judged {
    let analysis = &metric.analysis_configurations.canary;
    let points = |measured| Points::new(measured, analysis.nan_strategy, analysis.outliers);
    let (control, experiment) = (points(series.control), points(series.experiment));
    let found = find(analysis, &control.values, &experiment.values);
    Judged {
        name: metric.name.clone(),
        groups: metric.groups.clone(),
        muted: analysis.muted,
        classification: found.classification,
        critical: found.critical,
        reason: found.reason,
        control: control.stats(),
        experiment: experiment.stats(),
        difference: found.difference,
    }
}

struct Found {
    classification: Classification,
    critical: bool,
    reason: String,
    difference: Option<Difference>,
}

impl Found {
    fn new(classification: Classification, critical: bool, reason: impl Into<String>) -> Self {
        Self { classification, critical, reason: reason.into(), difference: None }
    }
}

fn find(analysis: &Analysis, control: &[f64], experiment: &[f64]) -> Found {
    if control.is_empty() || experiment.is_empty() {
        return without_data(analysis, control, experiment);
    }
    if control == experiment {
        return Found::new(Classification::Pass, false, "both arms have the same points");
    }
    let both = || control.iter().chain(experiment);
    if let Some(value) = both().find(|value| value.abs() > MOST) {
        let reason = format!("a point is {value}, which nothing can be compared with");
        return Found::new(Classification::Error, analysis.critical, reason);
    }
    if both().all(|value| *value == control[0]) {
        let reason = format!("all points of both arms are {}", short(control[0]));
        return Found::new(Classification::Pass, false, reason);
    }
    compared(analysis, control, experiment)
}

fn without_data(analysis: &Analysis, control: &[f64], experiment: &[f64]) -> Found {
    let whose = match (control.is_empty(), experiment.is_empty()) {
        (true, true) => "neither arm has",
        (true, false) => "the baseline does not have",
        (false, _) => "the candidate does not have",
    };
    match analysis.nan_strategy {
        // So it is in Kayenta: what is absent is 0, and is not asked further.
        NanStrategy::Replace => {
            let reason = format!(
                "{whose} a single point, which passes because nanStrategy is \"replace\": there is no evidence in this"
            );
            Found::new(Classification::Pass, false, reason)
        }
        NanStrategy::Remove => {
            let failed = analysis.must_have_data && !analysis.critical;
            let (classification, must) = match failed {
                true => (Classification::NodataFailMetric, ", and must have some (mustHaveData)"),
                false => (Classification::Nodata, ""),
            };
            let reason = format!("{whose} a single point{must}");
            Found::new(classification, analysis.critical, reason)
        }
    }
}

fn compared(analysis: &Analysis, control: &[f64], experiment: &[f64]) -> Found {
    let constant = |points: &[f64]| points.iter().all(|point| *point == points[0]);
    let noisy = constant(control) && constant(experiment);
    let as_compared = |points: &[f64]| if noisy { spread(points) } else { points.to_vec() };
    let (control, experiment) = (as_compared(control), as_compared(experiment));
    let Some(shift) = shift(&experiment, &control) else {
        let reason = "one point of each arm says nothing: there must be more of one of them";
        return Found::new(Classification::Error, analysis.critical, reason);
    };
    let effect = effect(analysis.effect_size.measure, &control, &experiment);
    let asked = Asked { analysis, shift, effect };
    let mut found = asked.answer();
    found.reason += &format!(
        ": {} and {} points, medians {} and {}",
        experiment.len(),
        control.len(),
        short(experiment[experiment.len() / 2]),
        short(control[control.len() / 2])
    );
    let Shift { least, estimate, most } = shift;
    found.difference = Some(Difference { least, estimate, most, effect });
    found
}

/// Points that are all the same, moved apart as if by normal noise.
fn spread(points: &[f64]) -> Vec<f64> {
    let (count, deviation) = (points.len() as f64, points[0].abs() * NOISE);
    let moved = |(place, point): (usize, &f64)| {
        point + deviation * normal_quantile((place as f64 + 0.5) / count)
    };
    points.iter().enumerate().map(moved).collect()
}

/// To three digits (Abramowitz & Stegun 26.2.23), of which noise needs none.
fn normal_quantile(part: f64) -> f64 {
    if part > 0.5 {
        return -normal_quantile(1.0 - part);
    }
    let t = (-2.0 * part.ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    above / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308))) - t
}

fn effect(measure: Measure, control: &[f64], experiment: &[f64]) -> Option<f64> {
    match measure {
        Measure::Cles => Some(shift::above(experiment, control)),
        Measure::MeanRatio => {
            let (control, experiment) = (mean(control), mean(experiment));
            let ratio = (control != 0.0 && experiment != 0.0).then(|| experiment / control);
            ratio.filter(|ratio| ratio.is_finite())
        }
    }
}

struct Asked<'a> {
    analysis: &'a Analysis,
    shift: Shift,
    effect: Option<f64>,
}

impl Asked<'_> {
    fn answer(&self) -> Found {
        let Shift { least, estimate, most } = self.shift;
        let (direction, bound) = (self.analysis.direction, TOLERATED * estimate.abs());
        let EffectSize {
            allowed_increase,
            allowed_decrease,
            critical_increase,
            critical_decrease,
            measure,
        } = self.analysis.effect_size;
        let neutral = |limit: Option<f64>| limit.unwrap_or(measure.neutral());
        if least > bound && direction != Direction::Decrease {
            let limits = [allowed_increase, critical_increase].map(neutral);
            return self.significant(Classification::High, "higher", limits);
        }
        if most < -bound && direction != Direction::Increase {
            let limits = [allowed_decrease, critical_decrease].map(neutral);
            return self.significant(Classification::Low, "lower", limits);
        }
        let reason = match (least > bound, most < -bound) {
            (true, _) => format!("higher by {}, which is not asked about", self.by()),
            (_, true) => format!("lower by {}, which is not asked about", self.by()),
            (false, false) => format!("no difference that chance does not make: {}", self.by()),
        };
        Found::new(Classification::Pass, false, reason)
    }

    /// A difference that chance does not make: does it matter, and so much that all fails?
    fn significant(&self, is: Classification, how: &str, limits: [f64; 2]) -> Found {
        let reaches = |limit: f64| match (self.effect, is) {
            // So it is in Kayenta: what has no size may be of any.
            (None, _) => true,
            (Some(effect), Classification::High) => effect >= limit,
            (Some(effect), _) => effect <= limit,
        };
        let [allowed, critical] = limits;
        let (by, effect) = (self.by(), self.effect_words());
        if !reaches(allowed) {
            let reason = format!("{how} by {by}; {effect}, and {} is allowed", short(allowed));
            return Found::new(Classification::Pass, false, reason);
        }
        let critical_too = self.analysis.critical && reaches(critical);
        let limit = match (self.analysis.critical, critical_too) {
            (true, true) => format!("limit {}, critical from {}", short(allowed), short(critical)),
            (true, false) => {
                format!("limit {}, not critical before {}", short(allowed), short(critical))
            }
            (false, _) => format!("limit {}", short(allowed)),
        };
        Found::new(is, critical_too, format!("{how} by {by}; {effect}, {limit}"))
    }

    fn by(&self) -> String {
        let Shift { least, estimate, most } = self.shift;
        format!("{} (98 %: {} to {})", short(estimate), short(least), short(most))
    }

    fn effect_words(&self) -> String {
        match (self.effect, self.analysis.effect_size.measure) {
            (None, _) => "no ratio, for a mean is 0".to_owned(),
            (Some(effect), Measure::MeanRatio) => format!("{} times the mean", short(effect)),
            (Some(effect), Measure::Cles) => {
                format!("above the baseline with probability {}", short(effect))
            }
        }
    }
}

/// Four digits of a number.
pub(super) fn short(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || !number.is_finite() {
        return format!("{number}");
    }
    if !(1e-4..1e9).contains(&size) {
        return format!("{number:.3e}");
    }
    let digits = (3 - size.log10().floor() as i32).max(0) as usize;
    let written = format!("{number:.digits$}");
    match written.contains('.') {
        true => written.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => written,
    }
}
