//! The whole evidence of a rollout, and what happened when.

use serde::Serialize;
use umbra_api::rollout::{Happened, JudgedStatus, Quantiles, RolloutEvent, RolloutStatus};

use super::{ending, evidence, plain, words};
use crate::screen::failure::shell_word;
use crate::screen::{safe, units};
use crate::ui::Paint;

/// What is known of a rollout.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// How it stands, or ended.
    pub rollout: RolloutStatus,
    /// All that happened.
    pub events: Vec<RolloutEvent>,
}

/// All of it.
pub fn text(explained: &Explained, paint: Paint) -> String {
    let status = &explained.rollout;
    let mut out = head(status, paint);
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            out.push(String::new());
            out.push(paint.bold(title));
            out.extend(lines.into_iter().map(|line| format!("  {line}").trim_end().to_owned()));
        }
    };
    section("why", why(status));
    section("requests", evidence::arms(status));
    if let Some(judged) = &status.judged {
        section(&counted_title(judged), stages(judged));
        section("latency", latency(status));
        section("ratios, candidate to baseline", ratios(judged));
        section("evidence", metrics(judged));
        section("left out", left_out(judged));
    }
    section("analyses", status.analyses.iter().map(words::analysis).collect());
    section("gates and webhooks", hooks(&explained.events));
    section("instances", instances(status));
    section("what happened", timeline(status, &explained.events));
    section("next", next(status));
    out.push(String::new());
    out.join("\n")
}

fn head(status: &RolloutStatus, paint: Paint) -> Vec<String> {
    let began = units::moment(status.began_at_ms);
    let over = match status.ended_at_ms {
        Some(ended) => format!(
            "began {began}, ended {} after {}",
            units::moment(ended),
            words::lasted(ended - status.began_at_ms)
        ),
        None => format!("began {began}, not over"),
    };
    let phase = words::painted_phase(status.phase, paint);
    vec![
        format!(
            "{phase} rollout {} of {}: {}",
            status.id,
            safe(&status.service),
            words::from_to(status)
        ),
        format!("  {over}"),
    ]
}

fn why(status: &RolloutStatus) -> Vec<String> {
    let mut out = ending::cause(status);
    if let Some(back) = &status.rolled_back {
        let by = if back.judged {
            "the judge's evidence"
        } else {
            "another cause than the judge's evidence"
        };
        out.push(format!(
            "decided by {by} at {}; {} -> 0 % in force {} later",
            units::moment(back.at_ms),
            words::percent(back.from_percent),
            units::micros(back.took_us)
        ));
    }
    out
}

pub(super) fn counted_title(judged: &JudgedStatus) -> String {
    let [baseline, candidate] = judged.units.map(units::count);
    let [failed, failed_too] = judged.errors.map(units::count);
    format!("judged: {failed} of {baseline} failed, of the candidate {failed_too} of {candidate}")
}

/// What counted at each weight.
pub(super) fn stages(judged: &JudgedStatus) -> Vec<String> {
    if judged.stages.is_empty() {
        return Vec::new();
    }
    let head = ["weight", "baseline", "failed", "", "candidate", "failed", ""].map(str::to_owned);
    let rows = judged.stages.iter().map(|stage| {
        let ([baseline, candidate], [failed, failed_too]) = (stage.units, stage.errors);
        [
            words::percent(stage.weight_percent),
            units::count(baseline),
            units::count(failed),
            words::part(failed, baseline),
            units::count(candidate),
            units::count(failed_too),
            words::part(failed_too, candidate),
        ]
    });
    evidence::columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// Quantiles side by side.
fn latency(status: &RolloutStatus) -> Vec<String> {
    let [Some(baseline), Some(candidate)] = status.arms.each_ref().map(|arm| arm.latency) else {
        return Vec::new();
    };
    let all = |of: Quantiles| [of.p50_us, of.p90_us, of.p99_us, of.p999_us];
    let names = ["p50", "p90", "p99", "p99.9"];
    let head = ["", "baseline", "candidate", "times as long"].map(str::to_owned);
    let rows = names.iter().zip(all(baseline).into_iter().zip(all(candidate)));
    let rows = rows.map(|(name, (before, after))| {
        let ratio = after as f64 / before.max(1) as f64;
        [(*name).to_owned(), units::micros(before), units::micros(after), words::times(ratio)]
    });
    evidence::columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

pub(super) fn ratios(judged: &JudgedStatus) -> Vec<String> {
    let mut out = evidence::ratios(judged);
    if !out.is_empty() {
        out.push(
            "ranges hold with 95 % confidence at every moment at once, however often one looks"
                .to_owned(),
        );
    }
    out
}

/// The e-values, and what they count for.
pub(super) fn metrics(judged: &JudgedStatus) -> Vec<String> {
    let limit = words::e_value(judged.log_limit);
    let head = ["", "e-value", "share", "counts for"].map(str::to_owned);
    let rows = judged.metrics.iter().map(|metric| {
        [
            safe(&metric.metric),
            words::e_value(metric.log_e),
            words::percent(metric.share * 100.0),
            words::e_value(evidence::contribution(metric)),
        ]
    });
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let mut out = evidence::columns(&rows);
    for (line, metric) in out.iter_mut().skip(1).zip(&judged.metrics) {
        line.push_str(&format!("   {}", safe(&metric.evidence)));
    }
    out.push(format!(
        "the most that one ever counted for: {} of the {limit} at which the candidate is taken \
         away",
        words::e_value(judged.log_e_peak)
    ));
    out.push(format!(
        "an image that is no worse reaches {limit} in at most one of {limit} rollouts, however \
         often one looks"
    ));
    out.push(evidence::needed(judged));
    out
}

pub(super) fn left_out(judged: &JudgedStatus) -> Vec<String> {
    let told = judged.left_out.iter().filter(|(_, count)| *count > 0);
    told.map(|(cause, count)| format!("{:>9}  {}", units::count(*count), safe(cause))).collect()
}

fn hooks(events: &[RolloutEvent]) -> Vec<String> {
    let hook = |event: &RolloutEvent| match &event.what {
        Happened::Hook { name, outcome } => Some((name.clone(), outcome.clone())),
        _ => None,
    };
    let mut last: Vec<(String, String, u64)> = Vec::new();
    for (name, outcome) in events.iter().filter_map(hook) {
        match last.iter_mut().find(|(known, ..)| *known == name) {
            Some(known) => (known.1, known.2) = (outcome, known.2 + 1),
            None => last.push((name, outcome, 1)),
        }
    }
    let line = |(name, outcome, asked): (String, String, u64)| {
        format!("{}: {} (asked {} times)", safe(&name), safe(&outcome), units::count(asked))
    };
    last.into_iter().map(line).collect()
}

fn instances(status: &RolloutStatus) -> Vec<String> {
    let arms = ["baseline", "candidate"].into_iter().zip(&status.arms);
    arms.flat_map(|(name, arm)| {
        arm.instances.iter().map(move |one| format!("{name:<9}  {}", words::instance(one)))
    })
    .collect()
}

/// What was decided and done; how everything stood in between is said above.
fn timeline(status: &RolloutStatus, events: &[RolloutEvent]) -> Vec<String> {
    let told = events.iter().filter(|event| !matches!(event.what, Happened::Standing { .. }));
    told.map(|event| plain::line(event, status.began_at_ms)).collect()
}

fn next(status: &RolloutStatus) -> Vec<String> {
    let journal = status.journal.as_ref().map(|journal| {
        let journal = shell_word(&journal.display().to_string());
        format!("umbra rollout replay {journal}   judges it again from what was kept")
    });
    journal.into_iter().collect()
}
