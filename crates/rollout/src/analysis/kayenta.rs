//! A canary configuration: its metrics fetched for both scopes, and given to the classic judge.
//!
//! The judge takes each point for independent of the one before it, which those of a live system
//! are not, and calls many a harmless candidate bad: so what it finds pauses, unless its document
//! says otherwise.

use std::collections::BTreeMap;

use umbra_document::check::shorten;
use umbra_judge::classic::series::Series;
use umbra_judge::classic::{Classification, Grade, Judgement, judge};

use super::measure::{About, error, failed};
use super::placeholder::{self, Names};
use super::prometheus::{Answer, Data, RANGE_POINTS_MAX, When};
use super::trial::Works;
use crate::controller::{Measurement, Outcome};
use crate::fetch::Fetch;
use crate::spec::{Kayenta, Scope};

/// Asks for all metrics of both arms, and judges them. Blocks.
pub(super) fn measure(kayenta: &Kayenta, fetch: &dyn Fetch, about: About<'_>) -> Measurement {
    let Some(window) = Window::of(kayenta, about) else {
        let message = "there is no whole step to look at yet".to_owned();
        return Measurement { outcome: Outcome::Inconclusive, value: None, message };
    };
    match points(kayenta, fetch, about.names, window) {
        Ok(points) => concluded(kayenta, &points),
        Err(why) => error(why),
    }
}

/// Whether its metrics are answered, over the last steps; and whether any has a point.
pub(super) fn works(kayenta: &Kayenta, fetch: &dyn Fetch, about: About<'_>) -> Works {
    let steps = i64::try_from(kayenta.step_ms.saturating_mul(TRIED_STEPS)).unwrap_or(i64::MAX);
    let begin_after = i64::try_from(kayenta.begin_after_ms).unwrap_or(i64::MAX);
    let began_ms = about.now_ms.saturating_sub(steps).saturating_sub(begin_after);
    let Some(window) = Window::of(kayenta, About { began_ms, ..about }) else {
        return Works::No { why: "no time lies between its steps".to_owned() };
    };
    match points(kayenta, fetch, about.names, window) {
        Err(why) => Works::No { why },
        Ok(points) => {
            let known = |points: &[Vec<f64>; 2]| points.iter().flatten().any(|p| !p.is_nan());
            match points.by_metric.values().filter(|points| known(points)).count() {
                0 => Works::NotYet,
                count => Works::Yes { value: format!("{count} metrics have points") },
            }
        }
    }
}

const TRIED_STEPS: u64 = 5;

/// The time that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    start_ms: i64,
    step_ms: u64,
    /// At least 2: a step has two ends.
    points: usize,
}

impl Window {
    fn of(kayenta: &Kayenta, about: About<'_>) -> Option<Self> {
        let step_ms = kayenta.step_ms.max(1);
        let begin = about.began_ms.saturating_add_unsigned(kayenta.begin_after_ms);
        let most_ms = step_ms.saturating_mul(RANGE_POINTS_MAX - 1);
        let back = kayenta.lookback_ms.unwrap_or(u64::MAX).min(most_ms);
        let start_ms = begin.max(about.now_ms.saturating_sub_unsigned(back));
        let long = u64::try_from(about.now_ms.checked_sub(start_ms)?).ok()?;
        let steps = usize::try_from(long / step_ms).ok().filter(|steps| *steps > 0)?;
        Some(Self { start_ms, step_ms, points: steps + 1 })
    }

    fn when(self) -> When {
        let steps = u64::try_from(self.points).unwrap_or(u64::MAX) - 1;
        let end_ms = self.start_ms.saturating_add_unsigned(self.step_ms.saturating_mul(steps));
        When::Range { start_ms: self.start_ms, end_ms, step_ms: self.step_ms }
    }

    /// The points of an answer, one at each step; NaN where there is none.
    fn points_of(self, answer: &Answer) -> Result<Vec<f64>, String> {
        let Data::Matrix(series) = &answer.data else {
            return Err("it is no series".to_owned());
        };
        let mut points = vec![f64::NAN; self.points];
        let [one] = series.as_slice() else {
            return match series.len() {
                0 => Ok(points),
                many => Err(format!("there are {many} series of it; aggregate them to one")),
            };
        };
        for sample in &one.samples {
            let off = u64::try_from(sample.at_ms.saturating_sub(self.start_ms)).ok();
            let step = off.filter(|off| off.is_multiple_of(self.step_ms));
            let place = step.and_then(|off| usize::try_from(off / self.step_ms).ok());
            let point = place.and_then(|place| points.get_mut(place));
            *point.ok_or("it has points of another time than was asked for")? = sample.value;
        }
        Ok(points)
    }
}

/// The points of all metrics.
#[derive(Default)]
struct Points {
    /// Control's, experiment's.
    by_metric: BTreeMap<String, [Vec<f64>; 2]>,
    warnings: Vec<String>,
}

fn points(
    kayenta: &Kayenta,
    fetch: &dyn Fetch,
    names: Names<'_>,
    window: Window,
) -> Result<Points, String> {
    let mut all = Points::default();
    for metric in kayenta.canary.metrics() {
        let mut of = |scope: &Scope, arm: &'static str| {
            let query = kayenta.canary.query(metric, scope)?;
            let names = Names { arm, ..names };
            let query = placeholder::fill(&query, |name| names.of(name));
            let asked = kayenta.server.ask(fetch, &query, window.when());
            let answer = asked.map_err(|error| failed(&error))?;
            let points = window.points_of(&answer);
            all.warnings.extend(answer.warnings);
            points
        };
        let both = of(&kayenta.control, "baseline")
            .and_then(|control| Ok([control, of(&kayenta.experiment, "candidate")?]));
        let both = both.map_err(|why| format!("metric {}: {why}", shorten(metric)))?;
        all.by_metric.insert(metric.to_owned(), both);
    }
    Ok(all)
}

fn concluded(kayenta: &Kayenta, points: &Points) -> Measurement {
    let series = |name: &str| {
        let [control, experiment] = points.by_metric.get(name)?;
        Some(Series { control, experiment })
    };
    let judgement = judge(&kayenta.canary.judged, kayenta.thresholds, series);
    let (outcome, message) = outcome(&judgement, &points.warnings);
    let value = Some(format!("{:.1}", judgement.score));
    Measurement { outcome, value, message: shorten_reason(&message) }
}

/// Kayenta fails a candidate of which there is no data at all; here nobody can say.
fn outcome(judgement: &Judgement, warnings: &[String]) -> (Outcome, String) {
    let none = |of: Classification| {
        matches!(of, Classification::Nodata | Classification::NodataFailMetric)
    };
    let reason = judgement.reason.clone();
    let mut counted = judgement.metrics.iter().filter(|metric| !metric.muted);
    if counted.all(|metric| none(metric.classification)) {
        return (Outcome::Inconclusive, format!("there are no points of any metric; {reason}"));
    }
    match judgement.classification {
        Grade::Pass if !warnings.is_empty() => {
            let why = format!("{reason}; but Prometheus warns: {}", warnings.join("; "));
            (Outcome::Inconclusive, why)
        }
        Grade::Pass => (Outcome::Successful, reason),
        Grade::Marginal => (Outcome::Inconclusive, reason),
        Grade::Fail => (Outcome::Failed, reason),
    }
}

/// Names of metrics in it came from outside.
fn shorten_reason(reason: &str) -> String {
    const CHARS_MAX: usize = 500;
    let kept: String = reason.chars().take(CHARS_MAX).collect();
    let dots = if kept.len() < reason.len() { "..." } else { "" };
    format!("{}{dots}", umbra_state::escape::escape(kept.as_bytes()))
}

#[cfg(test)]
mod tests;
