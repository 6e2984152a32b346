//! Forecasts at a desk: numbers that may move within bounds, kept over time, and when they
//! will be beyond.
//!
//! An agent tells what becomes another; that a number stays is seen here, by looking at all of
//! them every minute while the primary is watched. Old ones are thinned out by halves, so that
//! they are few and reach far back.
//!
//! A number that is near has an alert like any drift, which ends when it is near no more and
//! goes on as the drift's when it is beyond.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use umbra_api::error::WireError;
use umbra_drift::alert::{self, Book};
use umbra_drift::config::{Attribute, Config, Parameter, Provenance, Tolerance};
use umbra_drift::discrepancy::{Discrepancy, Finding};
use umbra_drift::forecast::{Bound, Outlook, Point, Rules, bounds, counted_down, forecast};
use umbra_drift::primary::Primary;
use umbra_drift::reading::{Item, Reading, Snapshot};
use umbra_drift::service::Forecast;

use super::{Desk, Pace};
use crate::clock::now_ms;
use crate::db::drift::DriftWrite;

/// How many of each.
const POINTS_MAX: usize = 720;
/// How far back they reach.
const AGE_MAX_MS: i64 = 30 * 24 * 3_600_000;
/// How many items have them; a tree of files with numbers may have any number.
const ITEMS_MAX: usize = 256;
/// Who will be beyond its bound within this time is told of.
const NEAR: Duration = Duration::from_secs(24 * 3600);
/// Who was told of is near until it is further away than this: an expected time moves.
const NEAR_STILL: Duration = Duration::from_secs(36 * 3600);

/// Numbers over time.
#[derive(Debug, Default)]
pub(super) struct Series {
    points: BTreeMap<Item, Vec<Point>>,
    kept_at_ms: i64,
    /// When those that are kept were read last and were others than before. A number that moves
    /// steadily would not lie on a line if it stood at the time of the next look.
    read_at_ms: BTreeMap<Item, i64>,
    /// Those that are near, which was told.
    near: BTreeSet<Item>,
}

/// A number that is bounded.
struct Bounded<'a> {
    parameter: &'a Parameter,
    item: &'a Item,
    value: f64,
    bounds: Vec<Bound>,
}

impl Series {
    /// As the database has them; `book` has what was told.
    pub(super) fn new(points: impl IntoIterator<Item = (Item, Point)>, book: &Book) -> Self {
        let told = book.open().map(|alert| &alert.discrepancy).filter(|one| one.is_ahead());
        let near = told.map(|one| one.item.clone()).collect();
        let mut series = Self { near, ..Self::default() };
        for (item, point) in points {
            series.points.entry(item).or_default().push(point);
        }
        series
    }

    /// Items were read, and are others than before.
    pub(super) fn read<'i>(&mut self, items: impl Iterator<Item = &'i Item>, at_ms: i64) {
        for item in items.filter(|item| self.points.contains_key(*item)) {
            self.read_at_ms.insert(item.clone(), at_ms);
        }
    }

    /// The time for which an item's value stands: that of its reading, if that is news.
    fn stands_at_ms(&mut self, item: &Item, now_ms: i64) -> i64 {
        let read_at_ms = self.read_at_ms.remove(item);
        let last = self.points.get(item).and_then(|points| points.last());
        let is_news = |at_ms: &i64| last.is_none_or(|last| last.at_ms < *at_ms);
        read_at_ms.filter(is_news).unwrap_or(now_ms)
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

    fn forecast(&self, bounded: &Bounded<'_>, rules: &Rules, now_ms: i64) -> Option<Forecast> {
        let none = Vec::new();
        let points = self.points.get(bounded.item).unwrap_or(&none);
        let outlooks = bounded.bounds.iter().map(|bound| {
            let now = Point { at_ms: now_ms, value: bounded.value };
            let outlook = match bounded.parameter.source.counts_days_down() {
                true => counted_down(now, *bound),
                false => forecast(points, *bound, rules),
            };
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
fn bounded<'a>(config: &'a Config, good: &Snapshot, current: &'a Snapshot) -> Vec<Bounded<'a>> {
    let parameters: BTreeMap<&str, &Parameter> =
        config.parameters.iter().map(|one| (one.name.as_str(), one)).collect();
    let number = |side: &Snapshot, item: &Item| {
        config.numbers.value(side.readings.get(item)?.bytes()?).filter(|value| value.is_finite())
    };
    let all = current.readings.keys().filter_map(|item| {
        let parameter = *parameters.get(item.parameter.as_str())?;
        // What may not move at all has drifted as soon as it does.
        let moves = matches!(parameter.tolerance,
            Tolerance::Distance { abs, rel, .. } if abs > 0.0 || rel > 0.0);
        let shadow = if moves { number(good, item) } else { None };
        let bounds = bounds(&parameter.tolerance, &parameter.expect, shadow);
        let value = number(current, item)?;
        (!bounds.is_empty()).then_some(Bounded { parameter, item, value, bounds })
    });
    all.collect()
}

impl Desk {
    /// What is to be expected of all numbers that are bounded.
    pub(super) fn forecasts(&self) -> Vec<Forecast> {
        let Some(primary) = &self.primary else { return Vec::new() };
        let (rules, now_ms) = (&self.given.pace.rules, now_ms());
        let all = bounded(&self.given.config, primary.good(), primary.current());
        let mut all: Vec<Forecast> =
            all.iter().filter_map(|one| self.series.forecast(one, rules, now_ms)).collect();
        all.sort_by_key(|one| urgency(&one.outlook));
        all
    }

    /// Time passed: numbers are kept, and who is near is told of.
    pub(super) fn on_forecast_tick(&mut self) -> Result<(), WireError> {
        let now_ms = now_ms();
        let Pace { every, rules, .. } = self.given.pace;
        let is_watched = self.line.is_some() && self.lost.is_none();
        let passed_ms = now_ms.saturating_sub(self.series.kept_at_ms).unsigned_abs();
        if !is_watched || u128::from(passed_ms) < every.as_millis() {
            return Ok(());
        }
        let read = |primary: &&Primary| !primary.current().readings.is_empty();
        let Some(primary) = self.primary.as_ref().filter(read) else { return Ok(()) };
        self.series.kept_at_ms = now_ms;
        let (mut writes, mut near) = (Vec::new(), BTreeMap::new());
        for one in bounded(&self.given.config, primary.good(), primary.current()) {
            let at_ms = self.series.stands_at_ms(one.item, now_ms);
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
            // What is beyond already is a drift, of which an alert tells.
            if primary.is_drifted(one.item) {
                continue;
            }
            let within = if self.series.near.contains(one.item) { NEAR_STILL } else { NEAR };
            let forecast = self.series.forecast(&one, &rules, now_ms);
            if let Some(Forecast { bound, outlook, .. }) = forecast
                && outlook.is_near(now_ms, within)
                && let Outlook::Breach(breach) = outlook
            {
                let ahead = ahead(&one, primary, Finding::Nears { bound, breach });
                near.insert(one.item.clone(), ahead);
            }
        }
        let before = std::mem::replace(&mut self.series.near, near.keys().cloned().collect());
        let over = before.into_iter().filter(|item| !near.contains_key(item));
        let over: Vec<Item> = over.filter(|item| !primary.is_drifted(item)).collect();
        let mut effects = Vec::new();
        for discrepancy in near.into_values() {
            effects.extend(self.differing(discrepancy, None, now_ms));
        }
        for item in over {
            effects.extend(self.resolved(item, alert::Ended::Agrees, now_ms));
        }
        self.commit(writes, effects, Vec::new())
    }
}

/// That a number is near, as grave as it will be.
fn ahead(one: &Bounded<'_>, primary: &Primary, finding: Finding) -> Discrepancy {
    let of = |side: &Snapshot| side.readings.get(one.item).cloned().unwrap_or(Reading::Absent);
    let provenance = Provenance::Unexplained;
    Discrepancy {
        item: one.item.clone(),
        severity: one.parameter.severity.of(provenance, &[Attribute::Content]),
        provenance,
        shadow: of(primary.good()),
        primary: of(primary.current()),
        findings: vec![finding],
        tolerance: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY_MS: i64 = 60_000;

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
        let config = umbra_drift::config::parse("test", CONFIG).expect("a configuration");
        let parameter = &config.parameters[0];
        let mut series = Series::default();
        let mut forecast = |points: std::ops::Range<i64>| {
            for minute in points {
                let value = 50.0 + minute as f64;
                series.add(&item, Point { at_ms: minute * EVERY_MS, value });
            }
            let bounds = vec![Bound::Above(95.0)];
            let one = Bounded { parameter, item: &item, value: 0.0, bounds };
            series.forecast(&one, &Rules::default(), 0).expect("one").outlook
        };
        assert!(matches!(forecast(0..5), Outlook::Unknown(_)));
        let Outlook::Breach(breach) = forecast(5..30) else { panic!("no breach") };
        assert_eq!(breach.expected_ms / EVERY_MS, 45);
    }

    #[test]
    fn the_days_of_a_certificate_are_counted() {
        let config = "[{name: c, source: certificate, path: /c, key: days_left, expect: {ge: 14}}]";
        let config = umbra_drift::config::parse("test", config).expect("a configuration");
        let current = snapshot(&[("c", "15.5\n")]);
        let all = bounded(&config, &Snapshot::default(), &current);
        let forecast = Series::default().forecast(&all[0], &Rules::default(), 1000).expect("one");
        let Outlook::Breach(breach) = forecast.outlook else { panic!("{forecast:?}") };
        assert_eq!(breach.expected_ms, 1000 + 36 * 3_600_000, "known at once");
    }

    #[test]
    fn a_number_stands_where_it_was_read() {
        let (item, mut series) = (Item::whole("disk"), Series::default());
        series.read([&item].into_iter(), 5);
        assert_eq!(series.stands_at_ms(&item, 10), 10, "of what is not kept nothing is remembered");
        series.add(&item, Point { at_ms: 10, value: 1.0 });
        series.read([&item].into_iter(), 15);
        assert_eq!(series.stands_at_ms(&item, 20), 15);
        series.add(&item, Point { at_ms: 15, value: 2.0 });
        assert_eq!(series.stands_at_ms(&item, 30), 30, "it is as it was");
        series.read([&item].into_iter(), 14);
        assert_eq!(series.stands_at_ms(&item, 30), 30, "a clock was put back");
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
