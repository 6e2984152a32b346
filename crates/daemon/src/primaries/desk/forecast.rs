//! Forecasts at a desk: numbers that may move within bounds, kept over time, and when they
//! will be beyond.
//!
//! An agent tells what becomes another; that a number stays is seen here, by looking at all of
//! them every minute while the primary is watched. Old ones are thinned out by halves, so that
//! they are few and reach far back.

use std::collections::BTreeMap;
use std::time::Duration;

use umbra_api::error::WireError;
use umbra_drift::config::{Config, Parameter, Tolerance};
use umbra_drift::forecast::{Bound, Outlook, Point, Rules, bounds, forecast};
use umbra_drift::primary::Primary;
use umbra_drift::reading::{Item, Snapshot};
use umbra_drift::service::{Forecast, What};

use super::Desk;
use crate::clock::now_ms;
use crate::db::drift::DriftWrite;

/// How often numbers are kept.
const EVERY_MS: i64 = 60_000;
/// How many of each.
const POINTS_MAX: usize = 720;
/// How far back they reach.
const AGE_MAX_MS: i64 = 30 * 24 * 3_600_000;
/// How many items have them; a tree of files with numbers may have any number.
const ITEMS_MAX: usize = 256;
/// Who will be beyond its bound within this time is told of.
const NEAR: Duration = Duration::from_secs(24 * 3600);
/// Nobody is told of one item more often.
const AGAIN_MS: i64 = 24 * 3_600_000;

/// Numbers over time.
#[derive(Debug, Default)]
pub(super) struct Series {
    points: BTreeMap<Item, Vec<Point>>,
    kept_at_ms: i64,
    told: BTreeMap<Item, i64>,
}

/// A number that is bounded.
struct Bounded<'a> {
    item: &'a Item,
    value: f64,
    bounds: Vec<Bound>,
}

impl Series {
    /// As the database has them.
    pub(super) fn new(points: impl IntoIterator<Item = (Item, Point)>) -> Self {
        let mut series = Self::default();
        for (item, point) in points {
            series.points.entry(item).or_default().push(point);
        }
        series
    }

    /// One more; returns the times of those that go for it, or `None` if it is not kept.
    fn add(&mut self, item: &Item, point: Point) -> Option<Vec<i64>> {
        if !self.points.contains_key(item) && self.points.len() >= ITEMS_MAX {
            return None;
        }
        let points = self.points.entry(item.clone()).or_default();
        points.push(point);
        let oldest_ms = point.at_ms.saturating_sub(AGE_MAX_MS);
        let half = if points.len() > POINTS_MAX { points.len() / 2 } else { 0 };
        let (mut gone, mut index) = (Vec::new(), 0);
        points.retain(|point| {
            let stays = point.at_ms >= oldest_ms && (index >= half || index % 2 == 0);
            index += 1;
            if !stays {
                gone.push(point.at_ms);
            }
            stays
        });
        Some(gone)
    }

    fn forecast(&self, bounded: &Bounded<'_>) -> Option<Forecast> {
        let none = Vec::new();
        let points = self.points.get(bounded.item).unwrap_or(&none);
        let outlooks = bounded.bounds.iter().map(|bound| {
            let outlook = forecast(points, *bound, &Rules::default());
            let (item, points) = (bounded.item.clone(), points.len() as u64);
            Forecast { item, value: bounded.value, bound: *bound, outlook, points }
        });
        outlooks.min_by_key(|one| urgency(&one.outlook))
    }
}

/// The most urgent first.
fn urgency(outlook: &Outlook) -> (u8, i64) {
    match outlook {
        Outlook::Breached => (0, 0),
        Outlook::Breach(breach) => (1, breach.expected_ms),
        Outlook::Far { not_before_ms, .. } => (2, *not_before_ms),
        Outlook::Steady(_) => (3, 0),
        Outlook::Unknown(_) => (4, 0),
    }
}

/// All numbers that are bounded.
fn bounded<'a>(config: &Config, good: &Snapshot, current: &'a Snapshot) -> Vec<Bounded<'a>> {
    let parameters: BTreeMap<&str, &Parameter> =
        config.parameters.iter().map(|one| (one.name.as_str(), one)).collect();
    let number = |side: &Snapshot, item: &Item| {
        config.numbers.value(side.readings.get(item)?.bytes()?).filter(|value| value.is_finite())
    };
    let all = current.readings.keys().filter_map(|item| {
        let parameter = parameters.get(item.parameter.as_str())?;
        // What may not move at all has drifted as soon as it does.
        let moves = matches!(parameter.tolerance,
            Tolerance::Distance { abs, rel, .. } if abs > 0.0 || rel > 0.0);
        let shadow = if moves { number(good, item) } else { None };
        let bounds = bounds(&parameter.tolerance, &parameter.expect, shadow);
        let value = number(current, item)?;
        (!bounds.is_empty()).then_some(Bounded { item, value, bounds })
    });
    all.collect()
}

impl Desk {
    /// What is to be expected of all numbers that are bounded.
    pub(super) fn forecasts(&self) -> Vec<Forecast> {
        let Some(primary) = &self.primary else { return Vec::new() };
        let all = bounded(&self.given.config, primary.good(), primary.current());
        let mut all: Vec<Forecast> =
            all.iter().filter_map(|one| self.series.forecast(one)).collect();
        all.sort_by_key(|one| urgency(&one.outlook));
        all
    }

    /// Time passed: numbers are kept, and who is near is told of.
    pub(super) fn on_forecast_tick(&mut self) -> Result<(), WireError> {
        let at_ms = now_ms();
        let is_watched = self.line.is_some() && self.lost.is_none();
        if !is_watched || at_ms.saturating_sub(self.series.kept_at_ms) < EVERY_MS {
            return Ok(());
        }
        let read = |primary: &&Primary| !primary.current().readings.is_empty();
        let Some(primary) = self.primary.as_ref().filter(read) else { return Ok(()) };
        self.series.kept_at_ms = at_ms;
        let (mut writes, mut events) = (Vec::new(), Vec::new());
        for one in bounded(&self.given.config, primary.good(), primary.current()) {
            let Some(gone) = self.series.add(one.item, Point { at_ms, value: one.value }) else {
                continue;
            };
            writes.push(DriftWrite::Point {
                name: self.given.row.name.clone(),
                item: serde_json::to_string(one.item).unwrap_or_default(),
                at_ms,
                value: one.value,
                gone,
            });
            let told = self.series.told.get(one.item);
            if told.is_some_and(|told| at_ms.saturating_sub(*told) < AGAIN_MS) {
                continue;
            }
            let Some(forecast) = self.series.forecast(&one) else { continue };
            // What is beyond already is a drift, of which alerts tell.
            let is_near = forecast.outlook.is_near(at_ms, NEAR);
            if is_near && forecast.outlook != Outlook::Breached {
                self.series.told.insert(one.item.clone(), at_ms);
                events.push(What::Forecast(forecast));
            }
        }
        self.commit(writes, Vec::new(), events)
    }
}

#[cfg(test)]
mod tests {
    use umbra_drift::reading::Reading;

    use super::*;

    const CONFIG: &str = "
- {name: disk, path: /disk, expect: {le: 95}}
- {name: memory, path: /memory, tolerance: 10}
- {name: exact, path: /exact}
- {name: text, path: /text, expect: {le: 95}}
";

    fn snapshot(readings: &[(&str, &str)]) -> Snapshot {
        let one = |(name, text): &(&str, &str)| (Item::whole(name), Reading::text(*text));
        Snapshot { readings: readings.iter().map(one).collect() }
    }

    #[test]
    fn only_numbers_that_may_move_within_bounds_are_kept() {
        let config = umbra_drift::config::parse("test", CONFIG).expect("a configuration");
        let good = snapshot(&[("disk", "50"), ("memory", "60"), ("exact", "1"), ("text", "a")]);
        let all = bounded(&config, &good, &good);
        let found: Vec<_> =
            all.iter().map(|one| (one.item.parameter.as_str(), one.bounds.clone())).collect();
        let around = vec![Bound::Above(70.0), Bound::Below(50.0)];
        assert_eq!(found, [("disk", vec![Bound::Above(95.0)]), ("memory", around)]);
    }

    #[test]
    fn a_number_that_rises_is_forecast_once_there_are_enough() {
        let item = Item::whole("disk");
        let mut series = Series::default();
        let mut forecast = |points: std::ops::Range<i64>| {
            for minute in points {
                let value = 50.0 + minute as f64;
                series.add(&item, Point { at_ms: minute * EVERY_MS, value });
            }
            let bounds = vec![Bound::Above(95.0)];
            series.forecast(&Bounded { item: &item, value: 0.0, bounds }).expect("one").outlook
        };
        assert!(matches!(forecast(0..5), Outlook::Unknown(_)));
        let Outlook::Breach(breach) = forecast(5..30) else { panic!("no breach") };
        assert_eq!(breach.expected_ms / EVERY_MS, 45);
    }

    #[test]
    fn what_is_kept_is_bounded_and_reaches_far_back() {
        let mut series = Series::default();
        let item = Item::whole("disk");
        let mut rows = std::collections::BTreeSet::new();
        for at_ms in 0..10_000 {
            rows.insert(at_ms);
            let gone = series.add(&item, Point { at_ms, value: 1.0 }).expect("kept");
            assert!(gone.iter().all(|at| rows.remove(at)), "each goes once");
        }
        let kept: Vec<i64> = series.points[&item].iter().map(|point| point.at_ms).collect();
        assert!(kept.len() <= POINTS_MAX && kept[0] == 0, "{} from {}", kept.len(), kept[0]);
        assert_eq!(kept, rows.into_iter().collect::<Vec<_>>());
        let late = Point { at_ms: AGE_MAX_MS + 10_000, value: 1.0 };
        assert_eq!(series.add(&item, late), Some(kept));
        for number in 0..ITEMS_MAX {
            series.add(&Item::whole(&format!("p{number}")), Point { at_ms: 0, value: 1.0 });
        }
        assert_eq!(series.points.len(), ITEMS_MAX);
    }
}
