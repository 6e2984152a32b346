//! Order, waits, losses, restarts.

use proptest::prelude::*;
use umbra_api::blob::Blob;

use super::*;
use crate::config::Severity;

fn document(about: &str, body: &str, severity: Severity) -> Document {
    let (id, title) = (body.to_owned(), String::new());
    Document { id, about: about.to_owned(), severity, title, body: Blob(body.into()) }
}

fn add(about: &str, body: &str, severity: Severity) -> Event {
    Event::Add { sink: "s".into(), document: Box::new(document(about, body, severity)) }
}

fn later(id: u64) -> Event {
    Event::Failed { id, retry: Retry::Later, jitter: 1.0 }
}

fn bodies(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| String::from_utf8_lossy(&row.document.body.0).into_owned()).collect()
}

#[test]
fn what_is_about_the_same_goes_in_order_and_others_pass() {
    let mut outbox = Outbox::default();
    for (about, body) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
        outbox.on(add(about, body, Severity::Low), 0);
    }
    let taken = outbox.take(10, 0);
    assert_eq!(bodies(&taken), ["a1", "b1"]);
    assert_eq!(outbox.take(10, 0), []);
    assert_eq!(outbox.on(Event::Delivered { id: 0 }, 0), [Change::Delete { id: 0 }]);
    assert_eq!(bodies(&outbox.take(10, 0)), ["a2"]);
    assert_eq!(outbox.on(Event::Delivered { id: 0 }, 0), [], "only once");
}

#[test]
fn a_sink_that_fails_is_left_alone_for_longer_each_time() {
    let mut outbox = Outbox::default();
    for about in ["a", "b", "c"] {
        outbox.on(add(about, about, Severity::Low), 0);
    }
    let (mut now_ms, mut waits) = (0, Vec::new());
    let first = outbox.take(10, 0);
    for row in first {
        outbox.on(later(row.id), 0);
    }
    for _ in 0..12 {
        let next = outbox.next_at_ms().expect("something waits");
        assert_eq!(outbox.take(10, next - 1), []);
        waits.push(next - now_ms);
        now_ms = next;
        let tried = outbox.take(10, now_ms);
        assert_eq!(tried.len(), 1, "one is enough to find out");
        outbox.on(later(tried[0].id), now_ms);
    }
    assert!(waits.is_sorted() && waits.last() == Some(&WAIT_MAX_MS), "{waits:?}");
    // Once it is there again nothing else waits longer than its own turn.
    now_ms = outbox.next_at_ms().expect("something waits");
    let tried = outbox.take(10, now_ms);
    outbox.on(Event::Delivered { id: tried[0].id }, now_ms);
    assert_eq!(outbox.take(10, now_ms + WAIT_MAX_MS).len(), 2);
}

#[test]
fn what_is_refused_for_ever_is_counted_and_does_not_block() {
    let mut outbox = Outbox::default();
    outbox.on(add("a", "a1", Severity::Low), 0);
    outbox.on(add("a", "a2", Severity::Low), 0);
    outbox.take(1, 0);
    let changes = outbox.on(Event::Failed { id: 0, retry: Retry::Never, jitter: 0.0 }, 0);
    let lost = Change::Lost { sink: "s".into(), cause: Cause::Refused, count: 1 };
    assert_eq!(changes, [Change::Delete { id: 0 }, lost]);
    assert_eq!(bodies(&outbox.take(1, 0)), ["a2"]);
}

#[test]
fn where_there_is_no_space_the_least_grave_goes_first() {
    let mut outbox = Outbox::with_limits(Limits { rows_max: 2, bytes_max: 1000 });
    outbox.on(add("a", "grave", Severity::Critical), 0);
    outbox.on(add("b", "light", Severity::Low), 0);
    let changes = outbox.on(add("c", "middle", Severity::High), 0);
    assert!(changes.contains(&Change::Delete { id: 1 }), "{changes:?}");
    let changes = outbox.on(add("d", &"x".repeat(2000), Severity::Critical), 0);
    assert_eq!(changes.iter().filter(|c| matches!(c, Change::Delete { .. })).count(), 3);
    assert_eq!(outbox.losses()[&("s".to_owned(), Cause::Full)], 4);
}

#[test]
fn what_is_too_old_or_has_no_sink_is_given_up_and_counted() {
    let mut outbox = Outbox::default();
    outbox.on(add("a", "old", Severity::Low), 0);
    outbox.on(add("b", "new", Severity::Low), 10);
    assert_eq!(outbox.on(Event::Tick, AGE_MAX_MS), []);
    assert_eq!(outbox.on(Event::Tick, AGE_MAX_MS + 5).len(), 2);
    assert_eq!(outbox.on(Event::Sinks { names: vec!["s".into()] }, 20), []);
    assert_eq!(outbox.on(Event::Sinks { names: vec![] }, 20).len(), 2);
    let causes: Vec<Cause> = outbox.losses().keys().map(|(_, cause)| *cause).collect();
    assert_eq!(causes, [Cause::Expired, Cause::Removed]);
}

#[derive(Debug, Clone)]
enum Step {
    Add { about: u8, grave: bool },
    Take(usize),
    Deliver(usize),
    Fail { which: usize, never: bool },
    Restart,
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..4, any::<bool>()).prop_map(|(about, grave)| Step::Add { about, grave }),
        4 => (0usize..4).prop_map(Step::Take),
        3 => (0usize..4).prop_map(Step::Deliver),
        2 => (0usize..4, prop::bool::weighted(0.2))
            .prop_map(|(which, never)| Step::Fail { which, never }),
        1 => Just(Step::Restart),
        2 => (0i64..20_000).prop_map(Step::Pass),
    ]
}

/// What the daemon keeps.
#[derive(Default)]
struct Kept {
    rows: BTreeMap<u64, Row>,
    losses: Losses,
}

impl Kept {
    fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Insert(row) => {
                    self.rows.insert(row.id, (**row).clone());
                }
                Change::Update { id, attempts, next_at_ms } => {
                    let row = self.rows.get_mut(id).expect("a row that is kept");
                    (row.attempts, row.next_at_ms) = (*attempts, *next_at_ms);
                }
                Change::Delete { id } => {
                    self.rows.remove(id).expect("a row that is kept");
                }
                Change::Lost { sink, cause, count } => {
                    self.losses.insert((sink.clone(), *cause), *count);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn everything_is_delivered_in_order_or_counted(steps in prop::collection::vec(step(), 0..120)) {
        let limits = Limits { rows_max: 6, bytes_max: 1 << 20 };
        let (mut outbox, mut kept) = (Outbox::with_limits(limits), Kept::default());
        let (mut now_ms, mut added, mut delivered) = (0i64, 0u64, 0u64);
        let mut under_way: Vec<Row> = Vec::new();
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        let mut steps = steps;
        // Then the sink is there, and all of it goes.
        for _ in 0..20 {
            steps.extend([Step::Pass(WAIT_MAX_MS), Step::Take(8)]);
            steps.extend((0..8).map(|_| Step::Deliver(0)));
        }
        for step in steps {
            let changes = match step {
                Step::Add { about, grave } => {
                    added += 1;
                    let severity = if grave { Severity::Critical } else { Severity::Low };
                    outbox.on(add(&about.to_string(), &added.to_string(), severity), now_ms)
                }
                Step::Take(count) => {
                    for row in outbox.take(count, now_ms) {
                        let about = &row.document.about;
                        prop_assert!(!under_way.iter().any(|other| other.document.about == *about));
                        let number: u64 = row.document.id.parse().expect("a number");
                        let before = last.insert(about.clone(), number);
                        prop_assert!(before.is_none_or(|before| before <= number), "out of order");
                        under_way.push(row);
                    }
                    Vec::new()
                }
                Step::Deliver(which) if which < under_way.len() => {
                    delivered += 1;
                    outbox.on(Event::Delivered { id: under_way.swap_remove(which).id }, now_ms)
                }
                Step::Fail { which, never } if which < under_way.len() => {
                    let id = under_way.swap_remove(which).id;
                    let retry = if never { Retry::Never } else { Retry::Later };
                    outbox.on(Event::Failed { id, retry, jitter: 0.5 }, now_ms)
                }
                Step::Deliver(_) | Step::Fail { .. } => Vec::new(),
                Step::Restart => {
                    under_way.clear();
                    let rows = kept.rows.values().cloned().rev();
                    outbox = Outbox::restore(rows, kept.losses.clone(), limits);
                    Vec::new()
                }
                Step::Pass(ms) => {
                    now_ms += ms;
                    Vec::new()
                }
            };
            kept.apply(&changes);
            prop_assert_eq!(outbox.depth().map(|(_, depth)| depth).sum::<usize>(), kept.rows.len());
            prop_assert_eq!(outbox.losses(), &kept.losses);
            prop_assert!(kept.rows.len() <= limits.rows_max);
        }
        let lost: u64 = kept.losses.values().sum();
        prop_assert_eq!(delivered + lost, added, "nothing is lost uncounted");
        prop_assert!(kept.rows.is_empty());
    }
}
