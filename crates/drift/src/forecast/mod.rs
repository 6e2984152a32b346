//! When a number that moves will be where it must not be.
//!
//! A forecast is a line through the readings (`line`) and the span of time in which it meets
//! the bound. Where a line says nothing there is no forecast, and the reason instead:
//!
//! | the readings | what is said |
//! |---|---|
//! | too few, over too short a time, or following one another too closely | nothing, and why |
//! | jumped once (`jumps`) | what follows from those since |
//! | fall back again and again, as a log that is rotated | how their peaks move; with few peaks nothing, until they are well beyond all before |
//! | do not clearly move towards the bound | that they are steady |
//! | would need longer than [`Rules::reach`] times what was seen | that it is far |

mod jumps;
mod line;
#[cfg(test)]
mod simulations;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Expect, Tolerance};
use crate::render::time::moment;
use jumps::{Jump, jumps};
use line::Line;

/// A number at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// In milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The number.
    pub value: f64,
}

/// Where a number must not be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Above this.
    Above(f64),
    /// Below this.
    Below(f64),
}

/// How much is needed for a forecast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Readings at least.
    pub points_min: usize,
    /// The time between the first and the last at least.
    pub span_min: Duration,
    /// A forecast goes so many times further than the readings it is made from.
    pub reach: f64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { points_min: 12, span_min: Duration::from_secs(600), reach: 3.0 }
    }
}

/// What is to be expected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outlook {
    /// It is there already.
    Breached,
    /// It will be there.
    Breach(Breach),
    /// It moves there, and further than the readings can say.
    Far {
        /// Not before this time, in milliseconds since 1970 UTC.
        not_before_ms: i64,
        /// What that rests on.
        basis: Basis,
    },
    /// It does not move there, or not clearly.
    Steady(Basis),
    /// Nobody can say.
    Unknown(Refusal),
}

/// When a number will be where it must not be. Times are in milliseconds since 1970 UTC and
/// not before the last reading.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Breach {
    /// When the line is there.
    pub expected_ms: i64,
    /// It is there between this time, with a probability of 95 %,
    pub earliest_ms: i64,
    /// and this one; `None` if that is further than a forecast goes.
    pub latest_ms: Option<i64>,
    /// When the first single reading may be there, ahead of the line.
    pub first_ms: i64,
    /// How fast it moves, in its own unit.
    pub per_day: f64,
    /// What that rests on.
    pub basis: Basis,
}

/// The readings a forecast rests on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Basis {
    /// How many.
    pub points: u64,
    /// The time of the first.
    pub from_ms: i64,
    /// The time of the last.
    pub to_ms: i64,
    /// Which of those given.
    pub of: Of,
}

/// Which of the readings a forecast rests on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// All.
    All,
    /// Those since a jump.
    AfterJump {
        /// When it was.
        at_ms: i64,
        /// How far it went.
        by: f64,
    },
    /// The last ones before each time it fell back.
    Peaks,
}

/// Why there is no forecast.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// There are too few readings.
    Few {
        /// So many.
        have: u64,
        /// So many are needed.
        need: u64,
    },
    /// They were taken in too short a time.
    Short {
        /// So long.
        have_ms: i64,
        /// So long is needed.
        need_ms: i64,
    },
    /// It jumped, and there are too few readings since.
    Jumped {
        /// When.
        at_ms: i64,
    },
    /// It falls back again and again, and was not seen to do so often enough.
    FallsBack {
        /// So often.
        times: u64,
    },
    /// The readings lie on no line: each is where the last one was.
    NoLine,
    /// The bound is no number.
    NoBound,
}

/// How often a number must have fallen back before its peaks are a series of their own.
const PEAKS_MIN: usize = 6;

/// How far above all its peaks, in parts of its greatest fall, a number must be to be taken for
/// one that falls back no more.
const BEYOND_PEAKS: f64 = 0.25;

/// What will become of a number by its readings, in any order; those that are no numbers do
/// not count.
pub fn forecast(points: &[Point], bound: Bound, rules: &Rules) -> Outlook {
    // From here on the bound is above.
    let (limit, sign) = match bound {
        Bound::Above(limit) => (limit, 1.0),
        Bound::Below(limit) => (-limit, -1.0),
    };
    if !limit.is_finite() {
        return Outlook::Unknown(Refusal::NoBound);
    }
    let series = cleaned(points, sign);
    let Some(last) = series.last() else { return few(0, rules) };
    if last.value > limit {
        return Outlook::Breached;
    }
    if let Some(refusal) = too_little(&series, rules) {
        return Outlook::Unknown(refusal);
    }
    let found = jumps(&series);
    let falls: Vec<&Jump> = found.iter().filter(|jump| jump.by < 0.0).collect();
    let outlook = match (falls.is_empty(), found.last()) {
        (_, None) => by_line(&series, Of::All, limit, rules),
        (true, Some(jump)) => after(&series, jump, limit, rules),
        (false, Some(jump)) if is_beyond_peaks(&series, &falls) => {
            after(&series, jump, limit, rules)
        }
        _ => by_peaks(&series, &falls, limit, rules),
    };
    turned(outlook, sign)
}

/// The numbers among them in the order of time, one for each time.
fn cleaned(points: &[Point], sign: f64) -> Vec<Point> {
    let numbers = points.iter().filter(|point| point.value.is_finite());
    let mut series: Vec<Point> =
        numbers.map(|point| Point { value: sign * point.value, ..*point }).collect();
    series.sort_by_key(|point| point.at_ms);
    series.dedup_by(|later, earlier| {
        let same = later.at_ms == earlier.at_ms;
        if same {
            earlier.value = later.value;
        }
        same
    });
    series
}

fn few(have: usize, rules: &Rules) -> Outlook {
    Outlook::Unknown(Refusal::Few { have: have as u64, need: rules.points_min.max(3) as u64 })
}

fn too_little(series: &[Point], rules: &Rules) -> Option<Refusal> {
    let need = rules.points_min.max(3);
    if series.len() < need {
        return Some(Refusal::Few { have: series.len() as u64, need: need as u64 });
    }
    let have_ms = span_ms(series);
    let need_ms = i64::try_from(rules.span_min.as_millis()).unwrap_or(i64::MAX);
    (have_ms < need_ms).then_some(Refusal::Short { have_ms, need_ms })
}

fn span_ms(series: &[Point]) -> i64 {
    match series {
        [first, .., last] => last.at_ms.saturating_sub(first.at_ms),
        _ => 0,
    }
}

fn is_beyond_peaks(series: &[Point], falls: &[&Jump]) -> bool {
    let peaks = falls.iter().map(|fall| series[fall.index].value);
    let peak = peaks.fold(f64::NEG_INFINITY, f64::max);
    let greatest = falls.iter().map(|fall| -fall.by).fold(0.0, f64::max);
    series.last().is_some_and(|last| last.value > peak + BEYOND_PEAKS * greatest)
}

fn after(series: &[Point], jump: &Jump, limit: f64, rules: &Rules) -> Outlook {
    let since = &series[jump.index + 1..];
    let at_ms = since.first().map_or(0, |point| point.at_ms);
    if too_little(since, rules).is_some() {
        return Outlook::Unknown(Refusal::Jumped { at_ms });
    }
    by_line(since, Of::AfterJump { at_ms, by: jump.by }, limit, rules)
}

fn by_peaks(series: &[Point], falls: &[&Jump], limit: f64, rules: &Rules) -> Outlook {
    if falls.len() < PEAKS_MIN {
        return Outlook::Unknown(Refusal::FallsBack { times: falls.len() as u64 });
    }
    let peaks: Vec<Point> = falls.iter().map(|fall| series[fall.index]).collect();
    by_line(&peaks, Of::Peaks, limit, rules)
}

fn by_line(series: &[Point], of: Of, limit: f64, rules: &Rules) -> Outlook {
    let (Some(first), Some(last)) = (series.first(), series.last()) else { return few(0, rules) };
    let (from_ms, to_ms) = (first.at_ms, last.at_ms);
    let basis = Basis { points: series.len() as u64, from_ms, to_ms, of };
    let Some(line) = Line::through(series) else { return Outlook::Unknown(Refusal::NoLine) };
    if !line.rises() {
        return Outlook::Steady(basis);
    }
    let meets = line.meets(limit);
    let reach = rules.reach * span_ms(series) as f64;
    let furthest = to_ms as f64 + reach;
    let time = |at: f64| at.max(to_ms as f64) as i64;
    if meets.expected > furthest {
        return Outlook::Far { not_before_ms: time(meets.earliest.min(furthest)), basis };
    }
    Outlook::Breach(Breach {
        expected_ms: time(meets.expected),
        earliest_ms: time(meets.earliest),
        first_ms: time(meets.first),
        latest_ms: (meets.latest <= furthest).then(|| time(meets.latest)),
        per_day: line.slope() * DAY_MS,
        basis,
    })
}

const DAY_MS: f64 = 86_400_000.0;

/// With the bound where it was.
fn turned(outlook: Outlook, sign: f64) -> Outlook {
    let basis = |basis: Basis| match basis.of {
        Of::AfterJump { at_ms, by } => {
            Basis { of: Of::AfterJump { at_ms, by: sign * by }, ..basis }
        }
        Of::All | Of::Peaks => basis,
    };
    match outlook {
        Outlook::Breach(breach) => Outlook::Breach(Breach {
            per_day: sign * breach.per_day,
            basis: basis(breach.basis),
            ..breach
        }),
        Outlook::Far { not_before_ms, basis: of } => {
            Outlook::Far { not_before_ms, basis: basis(of) }
        }
        Outlook::Steady(of) => Outlook::Steady(basis(of)),
        other => other,
    }
}

impl Outlook {
    /// Whether somebody should be told: it is there, or is expected to be within this time.
    pub fn is_near(&self, now_ms: i64, within: Duration) -> bool {
        let within = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
        match self {
            Self::Breached => true,
            Self::Breach(breach) => breach.expected_ms.saturating_sub(now_ms) <= within,
            Self::Far { .. } | Self::Steady(_) | Self::Unknown(_) => false,
        }
    }
}

/// Where a parameter's number must not be: where it would be beyond tolerance of the shadow's,
/// if that is a number, and where it is not as expected.
pub fn bounds(tolerance: &Tolerance, expect: &Expect, shadow: Option<f64>) -> Vec<Bound> {
    let mut bounds = Vec::new();
    if let (Tolerance::Distance { abs, rel, .. }, Some(shadow)) = (tolerance, shadow) {
        let allowed = abs.max(rel * shadow.abs());
        bounds.extend([Bound::Above(shadow + allowed), Bound::Below(shadow - allowed)]);
    }
    bounds.extend(expect.le.map(Bound::Above));
    bounds.extend(expect.ge.map(Bound::Below));
    bounds
}

/// What will become of a number that falls by one a day, whatever happens: when it will be where
/// it must not be is known, and not estimated.
pub fn counted_down(now: Point, bound: Bound) -> Outlook {
    let basis = Basis { points: 1, from_ms: now.at_ms, to_ms: now.at_ms, of: Of::All };
    let limit = match bound {
        Bound::Above(limit) if now.value > limit => return Outlook::Breached,
        Bound::Above(_) => return Outlook::Steady(basis),
        Bound::Below(limit) => limit,
    };
    if !limit.is_finite() || !now.value.is_finite() {
        return Outlook::Unknown(Refusal::NoBound);
    }
    if now.value < limit {
        return Outlook::Breached;
    }
    let at_ms = now.at_ms.saturating_add(((now.value - limit) * DAY_MS) as i64);
    Outlook::Breach(Breach {
        expected_ms: at_ms,
        earliest_ms: at_ms,
        latest_ms: Some(at_ms),
        first_ms: at_ms,
        per_day: -1.0,
        basis,
    })
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Above(limit) => write!(f, "above {limit}"),
            Self::Below(limit) => write!(f, "below {limit}"),
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, earliest) = (moment(self.expected_ms), moment(self.earliest_ms));
        let latest = self.latest_ms.map_or("later".to_owned(), moment);
        write!(f, "{expected} (95 %: {earliest} to {latest}), {:.3} a day", self.per_day)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ms: i64| ms / 1000;
        match self {
            Self::Few { have, need } => {
                write!(f, "there are {have} readings and {need} are needed")
            }
            Self::Short { have_ms, need_ms } => write!(
                f,
                "the readings span {} s and {} s are needed",
                seconds(*have_ms),
                seconds(*need_ms)
            ),
            Self::Jumped { .. } => f.write_str("it jumped, and there are too few readings since"),
            Self::FallsBack { times } => {
                write!(f, "it falls back again and again, {times} times so far")
            }
            Self::NoLine => f.write_str("the readings lie on no line"),
            Self::NoBound => f.write_str("the bound is no number"),
        }
    }
}
