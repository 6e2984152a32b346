//! Replays.

use std::sync::atomic::Ordering;

use umbra_gateway::replay::report::Spread;
use umbra_gateway::replay::rewrite::Skipped;
use umbra_gateway::replay::{Progress, Report};
use umbra_state::{Evidence, Verdict};

use super::{painted_verdict, safe, units};
use crate::ui::Paint;

/// Differing statuses and errors that are shown.
const SHOWN_MAX: usize = 10;

/// How far it is.
pub fn progress(progress: &Progress) -> String {
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    format!(
        "{} sent, {} answered, {} failed",
        read(&progress.sent),
        read(&progress.answered),
        read(&progress.failed)
    )
}

/// What it showed.
pub fn report(report: &Report, paint: Paint) -> String {
    let mut text = format!(
        "{} of {} captured requests sent in {}, {} answered, {:.0} good answers/s\n",
        report.sent,
        report.read,
        units::micros(report.elapsed_us),
        report.answered,
        report.per_second
    );
    for (name, spread) in [
        ("latency from the intended start", &report.corrected),
        ("latency from the real start", &report.raw),
        ("lag of the replay", &report.lag),
        ("waited for their session", &report.waited),
    ] {
        text.push_str(&line(name, spread));
    }
    text.push_str(&format!(
        "statuses: {} of {} differ from the captured ones\n",
        report.statuses.differing, report.statuses.compared
    ));
    text.push_str(&most(report.statuses.pairs.iter()));
    text.push_str(&most(report.errors.iter()));
    for (why, count) in &report.skipped {
        text.push_str(&format!("  {count} not sent: {}\n", skipped(*why)));
    }
    let counts = [
        (report.dropped, "dropped: too many were under way"),
        (report.redacted, "sent with something redacted in them"),
        (report.late, "out of order in the capture"),
    ];
    for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!("  {count} {what}\n"));
    }
    if let Some(why) = &report.broken {
        text.push_str(&format!("the capture could not be read to its end: {}\n", safe(why)));
    }
    if !report.on_time() {
        text.push_str("the schedule was not kept: what is measured is about this machine, too\n");
    }
    for one in report.evidence.iter().filter(|one| one.verdict != Verdict::Pass) {
        text.push_str(&evidence(one));
    }
    text.push_str(&format!("{}\n", painted_verdict(report.verdict, paint)));
    text
}

/// What was seen, and what was wanted.
pub fn evidence(evidence: &Evidence) -> String {
    let wanted = evidence.expected.as_deref().unwrap_or_default();
    format!("{}: {} ({})\n", safe(&evidence.subject), safe(&evidence.seen), safe(wanted))
}

fn line(name: &str, spread: &Spread) -> String {
    if spread.count == 0 {
        return String::new();
    }
    let times = [spread.p50_us, spread.p90_us, spread.p99_us, spread.p999_us, spread.max_us];
    let [p50, p90, p99, p999, max] = times.map(units::micros);
    format!(
        "{name:<32} p50 {p50:>8}  p90 {p90:>8}  p99 {p99:>8}  p99.9 {p999:>8}  max {max:>8}  n {}\n",
        spread.count
    )
}

fn most<'a>(counted: impl Iterator<Item = (&'a String, &'a u64)>) -> String {
    let mut all: Vec<_> = counted.collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let shown = all.iter().take(SHOWN_MAX);
    shown.map(|(what, count)| format!("  {count} x {}\n", safe(what))).collect()
}

fn skipped(why: Skipped) -> &'static str {
    match why {
        Skipped::Write => "it may change something (--allow-writes)",
        Skipped::Method => "of another method",
        Skipped::Cut => "not all of its body was kept",
        Skipped::Unfit => "it cannot be sent",
    }
}
