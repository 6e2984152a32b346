//! Counters of drift that survive a restart, as Prometheus reads them.
//!
//! They are kept as one JSON value for each primary, so that a counter never goes back: a
//! registry that begins at zero with each process is what other monitors' restarts lose. Written
//! by hand, since a registry's counters cannot be set to what was kept; the text form is a few
//! lines.
//!
//! Labels are bounded: of a primary the first [`NAMES_MAX`] names of parameters and sinks have
//! their own, all others are counted together as `other`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use umbra_api::exposition::Page;

use crate::alert::{Alert, Book, News};
use crate::config::Severity;
use crate::sink::outbox::{Cause, Change, Outbox};
use crate::watch::{Lost, Mode, Receipt};

/// Names with a label of their own.
pub const NAMES_MAX: usize = 200;
/// What all others are called.
const OTHER: &str = "other";

/// Everything that is counted of one primary.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// Tellings, by severity and why.
    told: BTreeMap<Severity, BTreeMap<News, u64>>,
    /// Alerts opened, by parameter.
    opened: BTreeMap<String, u64>,
    receipts: Receipts,
    /// Deliveries, by sink.
    deliveries: BTreeMap<String, Deliveries>,
    last_check: Option<LastCheck>,
    checks_made: u64,
}

/// When all of a primary was last compared with its shadow, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LastCheck {
    /// In milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Facts that were compared.
    pub items: u64,
    /// Those that differed.
    pub drifted: u64,
    /// Those of which nothing is known.
    pub unread: u64,
}

/// A primary's counters, and how it stands now.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Its name.
    pub primary: String,
    /// What was counted.
    pub metrics: Metrics,
    /// Facts that differ now, by severity.
    open: BTreeMap<Severity, u64>,
    /// Documents that are not delivered yet, by sink.
    waiting: Vec<(String, u64)>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Receipts {
    by_events: u64,
    by_scan: u64,
    /// Gaps of which nobody knows how many events they cost.
    lost_unknown: u64,
    lost_events: u64,
    entries_verified: u64,
    entries_unread: u64,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Deliveries {
    delivered: u64,
    failed: u64,
    lost: BTreeMap<Cause, u64>,
}

impl Metrics {
    /// An alert was told.
    pub fn on_alert(&mut self, alert: &Alert) {
        let severity = alert.discrepancy.severity;
        count(self.told.entry(severity).or_default().entry(alert.news).or_default());
        if alert.told == 1 {
            count(of(&mut self.opened, &alert.discrepancy.item.parameter));
        }
    }

    /// A span of time is covered.
    pub fn on_receipt(&mut self, receipt: &Receipt) {
        let counts = &mut self.receipts;
        match receipt.mode {
            Mode::Events => count(&mut counts.by_events),
            Mode::Scan => count(&mut counts.by_scan),
        }
        match receipt.lost_events {
            Lost::Exactly(number) => add(&mut counts.lost_events, number),
            Lost::Unknown => count(&mut counts.lost_unknown),
        }
        add(&mut counts.entries_verified, receipt.entries_verified);
        add(&mut counts.entries_unread, receipt.entries_unread);
    }

    /// A delivery was tried.
    pub fn on_delivery(&mut self, sink: &str, arrived: bool) {
        let counts = of(&mut self.deliveries, sink);
        count(if arrived { &mut counts.delivered } else { &mut counts.failed });
    }

    /// The outbox wants something kept.
    pub fn on_change(&mut self, change: &Change) {
        if let Change::Lost { sink, cause, .. } = change {
            count(of(&mut self.deliveries, sink).lost.entry(*cause).or_default());
        }
    }

    /// All of the primary was compared with its shadow.
    pub fn on_check(&mut self, check: LastCheck) {
        count(&mut self.checks_made);
        self.last_check = Some(check);
    }
}

impl Standing {
    /// As book and outbox say.
    pub fn of(primary: &str, metrics: Metrics, book: &Book, outbox: &Outbox) -> Self {
        let severities = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
        let mut open: BTreeMap<_, _> = severities.map(|severity| (severity, 0)).into();
        for alert in book.open() {
            count(open.entry(alert.discrepancy.severity).or_default());
        }
        let depths = outbox.depth().take(NAMES_MAX);
        let waiting = depths.map(|(sink, depth)| (sink.to_owned(), depth as u64)).collect();
        Self { primary: primary.to_owned(), metrics, open, waiting }
    }
}

/// Writes what is known of all primaries.
pub fn write(page: &mut Page, primaries: &[Standing]) {
    alerts(page, primaries);
    receipts(page, primaries);
    sinks(page, primaries);
    checks(page, primaries);
}

fn alerts(page: &mut Page, primaries: &[Standing]) {
    page.family("umbra_drift_alerts_told_total", "counter", "Tellings of alerts.");
    for one in primaries {
        for (severity, news) in &one.metrics.told {
            for (news, count) in news {
                let (severity, news) = (severity.as_str(), news.as_str());
                page.sample(
                    &[("primary", one.primary.as_str()), ("severity", severity), ("news", news)],
                    *count,
                );
            }
        }
    }
    page.family("umbra_drift_alerts_opened_total", "counter", "Alerts opened.");
    for one in primaries {
        for (parameter, count) in &one.metrics.opened {
            page.sample(&[("primary", one.primary.as_str()), ("parameter", parameter)], *count);
        }
    }
    page.family("umbra_drift_alerts_open", "gauge", "Items that differ now.");
    for one in primaries {
        for (severity, count) in &one.open {
            page.sample(
                &[("primary", one.primary.as_str()), ("severity", severity.as_str())],
                *count,
            );
        }
    }
}

fn receipts(page: &mut Page, primaries: &[Standing]) {
    page.family("umbra_drift_receipts_total", "counter", "Spans of time that are covered.");
    for Standing { primary, metrics: Metrics { receipts, .. }, .. } in primaries {
        page.sample(&[("primary", primary), ("mode", "events")], receipts.by_events);
        page.sample(&[("primary", primary), ("mode", "scan")], receipts.by_scan);
    }
    let plain: [Plain<Receipts>; 4] = [
        ("umbra_drift_lost_events_total", "Events not followed up singly.", |r| r.lost_events),
        (
            "umbra_drift_lost_unknown_total",
            "Gaps of unknown length that a scan has covered.",
            |receipts| receipts.lost_unknown,
        ),
        ("umbra_drift_entries_verified_total", "Entries compared by scans.", |receipts| {
            receipts.entries_verified
        }),
        ("umbra_drift_entries_unread_total", "Entries scans could not look at.", |receipts| {
            receipts.entries_unread
        }),
    ];
    for (name, help, of) in plain {
        page.family(name, "counter", help);
        for one in primaries {
            page.sample(&[("primary", one.primary.as_str())], of(&one.metrics.receipts));
        }
    }
}

fn sinks(page: &mut Page, primaries: &[Standing]) {
    page.family("umbra_drift_deliveries_total", "counter", "Deliveries tried.");
    for Standing { primary, metrics, .. } in primaries {
        for (sink, counts) in &metrics.deliveries {
            let results = [("delivered", counts.delivered), ("failed", counts.failed)];
            for (result, count) in results {
                let labels = [("primary", primary.as_str()), ("sink", sink), ("result", result)];
                page.sample(&labels, count);
            }
        }
    }
    page.family("umbra_drift_deliveries_lost_total", "counter", "Documents given up.");
    for Standing { primary, metrics, .. } in primaries {
        for (sink, counts) in &metrics.deliveries {
            for (cause, count) in &counts.lost {
                let cause = ("cause", cause.as_str());
                page.sample(&[("primary", primary), ("sink", sink), cause], *count);
            }
        }
    }
    page.family("umbra_drift_outbox_waiting", "gauge", "Documents not delivered yet.");
    for Standing { primary, waiting, .. } in primaries {
        for (sink, depth) in waiting {
            page.sample(&[("primary", primary), ("sink", sink)], *depth);
        }
    }
}

fn checks(page: &mut Page, primaries: &[Standing]) {
    page.family("umbra_drift_checks_total", "counter", "Comparisons of whole machines.");
    for one in primaries {
        page.sample(&[("primary", one.primary.as_str())], one.metrics.checks_made);
    }
    let gauges: [Plain<LastCheck>; 4] = [
        (
            "umbra_drift_last_check_timestamp_seconds",
            "When the last comparison was made.",
            |last| u64::try_from(last.at_ms / 1000).unwrap_or(0),
        ),
        ("umbra_drift_last_check_items", "Items it compared.", |last| last.items),
        ("umbra_drift_last_check_drifted", "Items that differed.", |last| last.drifted),
        ("umbra_drift_last_check_unread", "Items it could not read.", |last| last.unread),
    ];
    for (name, help, of) in gauges {
        page.family(name, "gauge", help);
        for one in primaries {
            if let Some(last) = &one.metrics.last_check {
                page.sample(&[("primary", one.primary.as_str())], of(last));
            }
        }
    }
}

/// Name, help, and what of the counters it is.
type Plain<T> = (&'static str, &'static str, fn(&T) -> u64);

fn count(counter: &mut u64) {
    add(counter, 1);
}

fn add(counter: &mut u64, number: u64) {
    *counter = counter.saturating_add(number);
}

/// The entry of a name, or of all names for which there is no room.
fn of<'a, T: Default>(names: &'a mut BTreeMap<String, T>, name: &str) -> &'a mut T {
    let known = names.contains_key(name) || names.len() < NAMES_MAX;
    let name = if known { name } else { OTHER };
    names.entry(name.to_owned()).or_default()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::alert::{Differs, Effect, Event};
    use crate::render::samples::{AT_MS, texts};
    use crate::watch::Occasion;

    fn differs(book: &mut Book, metrics: &mut Metrics, parameter: &str) {
        let discrepancy = texts(parameter, "a", "b");
        let differs = Differs { primary: "web".into(), discrepancy, attribution: None, path: None };
        for effect in book.on(Event::Differs(Box::new(differs)), AT_MS) {
            if let Effect::Tell(alert) = effect {
                metrics.on_alert(&alert);
            }
        }
    }

    fn receipt(mode: Mode, lost_events: Lost) -> Receipt {
        let (entries_verified, entries_unread) = (10, 1);
        let to = SystemTime::UNIX_EPOCH;
        Receipt {
            occasion: Occasion::Loss,
            chain_hash: umbra_state::Digest::new([0; 32]),
            filesystem: None,
            from: None,
            to,
            mode,
            lost_events,
            entries_verified,
            entries_unread,
        }
    }

    fn page(primaries: &[Standing]) -> String {
        let mut page = Page::default();
        write(&mut page, primaries);
        page.into_text()
    }

    #[test]
    fn what_is_counted_is_shown_and_survives_a_restart() {
        let (mut book, mut metrics) = (Book::default(), Metrics::default());
        differs(&mut book, &mut metrics, "dns");
        differs(&mut book, &mut metrics, "a \"quoted\" \\ name\n");
        metrics.on_receipt(&receipt(Mode::Scan, Lost::Unknown));
        metrics.on_receipt(&receipt(Mode::Events, Lost::Exactly(7)));
        metrics.on_delivery("log", true);
        metrics.on_delivery("slack-1", false);
        let lost = Change::Lost { sink: "slack-1".into(), cause: Cause::Full, count: 1 };
        metrics.on_change(&lost);
        metrics.on_check(LastCheck { at_ms: AT_MS, items: 12, drifted: 2, unread: 1 });
        let kept = serde_json::to_string(&metrics).expect("serialisable");
        let metrics: Metrics = serde_json::from_str(&kept).expect("readable");
        let web = Standing::of("web", metrics, &book, &Outbox::default());
        let new = Standing::of("new", Metrics::default(), &Book::default(), &Outbox::default());
        insta::assert_snapshot!(page(&[new, web]));
    }

    #[test]
    fn labels_are_bounded() {
        let (mut book, mut metrics) = (Book::default(), Metrics::default());
        for number in 0..1000 {
            differs(&mut book, &mut metrics, &format!("p{number}"));
            metrics.on_delivery(&format!("s{number}"), true);
        }
        let text = page(&[Standing::of("web", metrics, &book, &Outbox::default())]);
        assert!(text.lines().count() < 4 * NAMES_MAX, "{}", text.lines().count());
        let others = r#"umbra_drift_alerts_opened_total{primary="web",parameter="other"} 800"#;
        assert!(text.contains(others), "{text}");
    }

    #[test]
    fn what_an_older_daemon_kept_is_read() {
        let metrics: Metrics = serde_json::from_str(r#"{"checks_made":3}"#).expect("readable");
        assert_eq!(metrics.checks_made, 3);
    }
}
