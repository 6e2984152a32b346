//! What holds of any sequence of events.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::config::{Difference, Severity};
use crate::discrepancy::{Discrepancy, Finding};
use crate::reading::{Item, Reading};
use crate::render::samples::{AT_MS, texts, vim};

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

fn found(item: &str, value: &str, severity: Severity) -> Discrepancy {
    Discrepancy { severity, ..texts(item, "good\n", value) }
}

fn differs(discrepancy: Discrepancy) -> Event {
    let primary = "web".to_owned();
    Event::Differs(Box::new(Differs { primary, discrepancy, attribution: None, path: None }))
}

fn agrees(item: &str) -> Event {
    Event::Agrees { primary: "web".into(), item: Item::whole(item), ended: Ended::Agrees }
}

fn told(effects: &[Effect]) -> Vec<Alert> {
    let told = effects.iter().filter_map(|effect| match effect {
        Effect::Tell(alert) => Some((**alert).clone()),
        Effect::Save(_) | Effect::Forget(_) => None,
    });
    told.collect()
}

/// A book whose clock the test moves, and whose tellings it reads.
struct Desk {
    book: Book,
    now_ms: i64,
}

impl Desk {
    fn new() -> Self {
        Self { book: Book::default(), now_ms: AT_MS }
    }

    fn on(&mut self, event: Event) -> Vec<Alert> {
        told(&self.book.on(event, self.now_ms))
    }

    #[track_caller]
    fn tells(&mut self, event: Event, expected: &[News]) -> Vec<Alert> {
        let told = self.on(event);
        assert_eq!(told.iter().map(|alert| alert.news).collect::<Vec<_>>(), expected);
        told
    }

    fn pass(&mut self, ms: i64) -> &mut Self {
        self.now_ms += ms;
        self
    }
}

#[test]
fn a_drift_is_told_once_then_its_changes_then_its_end() {
    let mut desk = Desk::new();
    let opened = desk.tells(differs(found("a", "x", Severity::Medium)), &[News::Opened]);
    desk.tells(differs(found("a", "x", Severity::Medium)), &[]);
    desk.pass(HOUR).tells(Event::Tick, &[]);
    let changed = desk.tells(differs(found("a", "y", Severity::Medium)), &[News::Changed]);
    let graver = desk.tells(differs(found("a", "y", Severity::Critical)), &[News::Escalated]);
    assert_eq!(graver[0].severities, [Severity::Medium, Severity::Critical]);
    let ended = desk.pass(1).tells(agrees("a"), &[News::Resolved]);
    desk.tells(agrees("a"), &[]);
    let ids: BTreeSet<_> = [&opened, &changed, &graver, &ended].map(|a| a[0].id.clone()).into();
    assert_eq!(ids.len(), 1, "one alert from opening to end");
    assert_eq!((ended[0].told, ended[0].seen), (4, 3));
    assert_eq!(ended[0].standing, Standing::Resolved);
    let again = desk.pass(HOUR).tells(differs(found("a", "x", Severity::Low)), &[News::Opened]);
    assert_ne!(again[0].id, opened[0].id);
}

#[test]
fn flapping_is_told_once_until_it_settles() {
    let mut desk = Desk::new();
    let bad = || differs(found("a", "x", Severity::High));
    desk.tells(bad(), &[News::Opened]);
    desk.pass(SECOND).tells(agrees("a"), &[News::Resolved]);
    desk.pass(SECOND).tells(bad(), &[News::Opened]);
    desk.pass(SECOND).tells(agrees("a"), &[News::Resolved]);
    let flapping = desk.pass(SECOND).tells(bad(), &[News::Flapping]);
    assert_eq!(flapping[0].standing, Standing::Flapping);
    for _ in 0..3 {
        desk.pass(MINUTE).tells(agrees("a"), &[]);
        assert_eq!(desk.book.open().count(), 0);
        desk.pass(MINUTE).tells(bad(), &[]);
        assert_eq!(desk.book.open().count(), 1);
    }
    // Graver is news, however much there was.
    desk.tells(differs(found("a", "x", Severity::Critical)), &[News::Escalated]);
    desk.pass(SETTLE_MS - 1).tells(Event::Tick, &[]);
    let settled = desk.pass(1).tells(Event::Tick, &[News::Settled]);
    assert_eq!(settled[0].standing, Standing::Open);
    assert_eq!(settled[0].id, flapping[0].id);
    desk.tells(agrees("a"), &[News::Resolved]);
}

#[test]
fn flapping_that_settles_in_agreement_is_over() {
    let mut desk = Desk::new();
    for value in ["1", "2", "3", "4"] {
        desk.pass(SECOND).on(differs(found("a", value, Severity::High)));
    }
    desk.tells(agrees("a"), &[News::Flapping]);
    desk.pass(SETTLE_MS).tells(Event::Tick, &[News::Resolved]);
    // What a person put right is over at once.
    for value in ["1", "2", "3", "4", "5"] {
        desk.pass(HOUR / 10).on(agrees("b"));
        desk.on(differs(found("b", value, Severity::High)));
    }
    let (primary, item) = ("web".to_owned(), Item::whole("b"));
    desk.tells(Event::Agrees { primary, item, ended: Ended::RolledBack }, &[News::Resolved]);
}

#[test]
fn a_primary_that_is_watched_now_and_then_flaps_and_no_rule_is_offered() {
    let mut desk = Desk::new();
    let lost = || differs(Discrepancy::unwatched("its agent has ended".into()));
    let (primary, item) = ("web".to_owned(), Item::primary());
    let watched = Event::Agrees { primary, item, ended: Ended::Watched };
    let opened = desk.tells(lost(), &[News::Opened]);
    assert_eq!(opened[0].next_steps, ["umbra primary show web"]);
    let over = desk.pass(SECOND).tells(watched.clone(), &[News::Resolved]);
    assert_eq!((&over[0].id, over[0].ended), (&opened[0].id, Some(Ended::Watched)));
    let mut told = Vec::new();
    for _ in 0..2 * REPEATS {
        told.extend(desk.pass(SECOND).on(lost()));
        told.extend(desk.pass(SECOND).on(watched.clone()));
    }
    let news: Vec<News> = told.iter().map(|alert| alert.news).collect();
    assert_eq!(news, [News::Opened, News::Resolved, News::Flapping]);
    assert!(told.iter().all(|alert| alert.suggestion.is_none()));
    desk.pass(SETTLE_MS).tells(Event::Tick, &[News::Resolved]);
}

#[test]
fn criticals_are_told_again_until_they_are_over() {
    let mut desk = Desk::new();
    desk.on(differs(found("a", "x", Severity::Critical)));
    desk.on(differs(found("b", "x", Severity::High)));
    desk.pass(REMIND_MS - 1).tells(Event::Tick, &[]);
    desk.pass(1).tells(Event::Tick, &[News::Reminder]);
    desk.pass(1).tells(Event::Tick, &[]);
    desk.pass(REMIND_MS).tells(Event::Tick, &[News::Reminder]);
}

#[test]
fn an_ignore_rule_is_offered_and_nothing_is_ignored() {
    let mut desk = Desk::new();
    let mut offered = Vec::new();
    for round in 0..30 {
        let told = desk.pass(2 * MINUTE).on(differs(found("a", "x", Severity::Low)));
        offered.extend(told.into_iter().filter_map(|alert| alert.suggestion.map(|s| (round, s))));
        assert_eq!(desk.book.open().count(), 1);
        desk.pass(2 * MINUTE).on(agrees("a"));
    }
    let suggestion = Suggestion { repeats: REPEATS as u64, within_ms: REPEAT_WINDOW_MS };
    assert_eq!(offered.first(), Some(&(REPEATS - 1, suggestion)));
}

#[test]
fn a_number_that_moves_where_it_must_not_be_is_told_once() {
    let mut desk = Desk::new();
    let used = |value: &str, limit: &str| {
        let findings = vec![Finding::Unexpected { expected: format!("at most {limit}") }];
        let shadow = Reading::Absent;
        differs(Discrepancy { shadow, findings, ..found("disk", value, Severity::High) })
    };
    desk.tells(used("91", "90"), &[News::Opened]);
    for value in ["92", "93", "94", "95", "96"] {
        desk.pass(MINUTE).tells(used(value, "90"), &[]);
    }
    let open: Vec<_> = desk.book.open().map(|alert| alert.discrepancy.primary.clone()).collect();
    assert_eq!(open, [Reading::text("96")], "what it is now is known");
    desk.tells(used("96", "95"), &[News::Changed]);
    desk.tells(agrees("disk"), &[News::Resolved]);
}

#[test]
fn who_is_learnt_late_and_told_with_the_next_news() {
    let mut desk = Desk::new();
    desk.on(differs(found("a", "x", Severity::Critical)));
    let event = Event::Differs(Box::new(Differs {
        primary: "web".into(),
        discrepancy: found("a", "x", Severity::Critical),
        attribution: Some(vim()),
        path: None,
    }));
    desk.tells(event, &[]);
    let reminder = desk.pass(REMIND_MS).tells(Event::Tick, &[News::Reminder]);
    assert_eq!(reminder[0].attribution, Some(vim()));
}

#[test]
fn what_is_no_number_is_no_news_twice() {
    let mut desk = Desk::new();
    let mut nan = found("a", "nan", Severity::Low);
    nan.findings = vec![Finding::Value {
        difference: Difference::Distance(f64::NAN),
        changes: Vec::new(),
        more_changes: 0,
    }];
    desk.tells(differs(nan.clone()), &[News::Opened]);
    desk.tells(differs(nan.clone()), &[]);
    let lives: Vec<Life> = desk.book.lives().cloned().collect();
    let json = serde_json::to_string(&lives).expect("serialisable");
    let lives: Vec<Life> = serde_json::from_str(&json).expect("readable");
    desk.book = Book::restore(lives);
    desk.tells(differs(nan), &[]);
}

#[test]
fn a_clock_put_back_makes_nothing_flap_for_ever() {
    let mut desk = Desk::new();
    for value in ["1", "2", "3", "4", "5", "6"] {
        desk.on(differs(found("a", value, Severity::High)));
    }
    desk.pass(-30 * 24 * HOUR).on(differs(found("a", "7", Severity::High)));
    desk.pass(SETTLE_MS).tells(Event::Tick, &[News::Settled]);
}

#[derive(Debug, Clone)]
enum Step {
    Differs { item: u8, value: u8, severity: u8 },
    Agrees { item: u8, ended: u8 },
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..3, 0u8..3, 0u8..4)
            .prop_map(|(item, value, severity)| Step::Differs { item, value, severity }),
        3 => (0u8..3, 0u8..8).prop_map(|(item, ended)| Step::Agrees { item, ended }),
        2 => prop_oneof![0..SECOND, 0..2 * MINUTE, 0..2 * HOUR].prop_map(Step::Pass),
    ]
}

fn severity(number: u8) -> Severity {
    [Severity::Low, Severity::Medium, Severity::High, Severity::Critical][usize::from(number)]
}

fn event(step: &Step, now_ms: &mut i64) -> Event {
    match step {
        Step::Differs { item, value, severity: number } => {
            let mut found = found(&item.to_string(), &value.to_string(), severity(*number));
            if *value == 2 {
                found.primary = Reading::Unreadable { why: "it is a pipe".into() };
            }
            differs(found)
        }
        Step::Agrees { item, ended } => {
            let ended = match ended {
                0 => Ended::Unwatched,
                1 => Ended::RolledBack,
                2 => Ended::Accepted,
                _ => Ended::Agrees,
            };
            Event::Agrees { primary: "web".into(), item: Item::whole(&item.to_string()), ended }
        }
        Step::Pass(ms) => {
            *now_ms += ms;
            Event::Tick
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn open_is_what_differed_last_and_nothing_is_lost(steps in prop::collection::vec(step(), 0..80)) {
        let (mut book, mut now_ms) = (Book::default(), AT_MS);
        let mut rows: BTreeMap<Key, String> = BTreeMap::new();
        let mut last: BTreeMap<Item, Discrepancy> = BTreeMap::new();
        // By alert: how often it was told, the gravest it was told with, whether it is over.
        let mut alerts: BTreeMap<String, (u64, Severity, bool)> = BTreeMap::new();
        for step in &steps {
            let event = event(step, &mut now_ms);
            let escalates = match &event {
                Event::Differs(found) => {
                    let discrepancy = &found.discrepancy;
                    last.insert(discrepancy.item.clone(), discrepancy.clone());
                    let key = Key { primary: "web".into(), item: discrepancy.item.clone() };
                    let alert = book.get(&key).and_then(Life::alert);
                    alert.is_some_and(|alert| alerts[&alert.id].1 < discrepancy.severity)
                }
                Event::Agrees { item, .. } => {
                    last.remove(item);
                    false
                }
                Event::Tick => false,
            };
            // As if it had been restarted before the event, from what it had asked to keep.
            let kept = rows.values().map(|row| serde_json::from_str(row).expect("readable"));
            prop_assert_eq!(&Book::restore(kept), &book);

            let effects = book.on(event.clone(), now_ms);
            for effect in &effects {
                match effect {
                    Effect::Save(life) => {
                        let row = serde_json::to_string(life).expect("serialisable");
                        rows.insert(life.key.clone(), row);
                    }
                    Effect::Forget(key) => {
                        rows.remove(key);
                    }
                    Effect::Tell(alert) => {
                        let severity = alert.discrepancy.severity;
                        let entry = alerts.entry(alert.id.clone()).or_insert((0, severity, false));
                        prop_assert!(!entry.2, "nothing is told after the end");
                        entry.0 += 1;
                        prop_assert_eq!(alert.told, entry.0, "every telling has its number");
                        entry.1 = entry.1.max(severity);
                        entry.2 = alert.standing == Standing::Resolved;
                        prop_assert_eq!(alert.severities.last(), Some(&entry.1));
                        prop_assert_eq!(entry.2, alert.news == News::Resolved);
                    }
                }
            }
            prop_assert!(!escalates || !told(&effects).is_empty(), "graver is told at once");
            if matches!(event, Event::Differs(_)) {
                prop_assert_eq!(book.on(event, now_ms), [], "the same again is no news");
            }
            let open: BTreeMap<Item, Discrepancy> =
                book.open().map(|a| (a.discrepancy.item.clone(), a.discrepancy.clone())).collect();
            prop_assert_eq!(&open, &last);
            let live: BTreeSet<_> = book.lives().filter_map(Life::alert).map(|a| a.id.clone()).collect();
            let not_over: BTreeSet<_> =
                alerts.iter().filter(|(_, (.., over))| !over).map(|(id, _)| id.clone()).collect();
            prop_assert_eq!(live, not_over, "an alert is resolved or there");
        }
        // After long quiet only what differs is remembered.
        for _ in 0..2 {
            now_ms += 2 * HOUR;
            book.on(Event::Tick, now_ms);
        }
        prop_assert_eq!(book.lives().count(), last.len());
    }
}
