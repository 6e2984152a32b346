//! Why a rollout ended, and what to do next, in words for those who never saw one.

use umbra_api::rollout::{JudgedStatus, Quantiles, Range, RolloutPhase, RolloutStatus};

use super::words;
use crate::screen::failure::shell_word;
use crate::screen::{safe, units};
use crate::ui::Paint;

/// What stays on the screen once it is over.
pub fn lines(status: &RolloutStatus, paint: Paint) -> Vec<String> {
    let phase = words::painted_phase(status.phase, paint);
    let mut out = vec![format!(
        "{phase} rollout {} of {}: {}",
        status.id,
        safe(&status.service),
        outcome(status)
    )];
    out.extend(cause(status).into_iter().map(|line| format!("  {line}")));
    out.extend(now(status).into_iter().map(|line| format!("  {line}")));
    out.push("next:".to_owned());
    let next = next(status);
    let width = next.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
    out.extend(next.iter().map(|(command, what)| format!("  {command:<width$}  {what}")));
    out
}

fn outcome(status: &RolloutStatus) -> String {
    let (from, to) = (safe(&status.baseline), words::candidate(status));
    match status.phase {
        RolloutPhase::Successful => format!("{to} is in production, in place of {from}"),
        RolloutPhase::Failed if is_worse(status) => format!("{to} is worse than {from}"),
        RolloutPhase::Failed => format!("{to} was not taken"),
        RolloutPhase::Inconclusive => format!("nobody can say whether {to} is worse than {from}"),
        RolloutPhase::Error => format!("{to} was not tried to the end"),
        _ => words::from_to(status),
    }
}

/// Whether the judge found the candidate worse.
pub fn is_worse(status: &RolloutStatus) -> bool {
    status.judged.as_ref().is_some_and(|judged| judged.worse_by.is_some())
}

/// Why it is where it is: the judge's evidence in words where that decided, and what the
/// controller says.
pub fn cause(status: &RolloutStatus) -> Vec<String> {
    let judged = status.judged.as_ref();
    let mut out = Vec::new();
    if let Some((judged, by)) = judged.and_then(|one| Some((one, one.worse_by.as_deref()?))) {
        out.push(worse(status, judged, by));
        let once_in = units::count(judged.log_limit.exp().round() as u64);
        out.push(format!(
            "by chance this happens at most once in {once_in} rollouts of images that are no worse"
        ));
    } else if !status.reason.is_empty() {
        out.push(safe(&status.reason));
    }
    out
}

/// What the metric shows by which it is worse.
fn worse(status: &RolloutStatus, judged: &JudgedStatus, by: &str) -> String {
    let metric = judged.metrics.iter().find(|metric| metric.metric == by);
    let evidence = metric.map_or(String::new(), |metric| safe(&metric.evidence));
    match by {
        "errors" => fails(status, judged),
        "latency" => {
            slower(status, judged).unwrap_or_else(|| format!("the candidate is slower: {evidence}"))
        }
        "differences" => format!(
            "the candidate's answers differ from production's more than those of the same image \
             do: {evidence}"
        ),
        "weight" => {
            format!("the candidate does not get the part of requests that it should: {evidence}")
        }
        other => format!("the candidate is worse in {}: {evidence}", safe(other)),
    }
}

fn fails(status: &RolloutStatus, judged: &JudgedStatus) -> String {
    let [baseline, candidate] = &status.arms;
    let counts = format!(
        "{} of {} requests against {} of {}",
        units::count(candidate.errors),
        units::count(candidate.requests),
        units::count(baseline.errors),
        units::count(baseline.requests)
    );
    let least = judged.error_ratio.as_ref().map_or(String::new(), at_least);
    match judged.error_ratio.and_then(|ratio| ratio.seen) {
        Some(seen) => {
            format!("the candidate fails {} times as often{least}: {counts}", words::times(seen))
        }
        None => format!("the candidate fails more often{least}: {counts}"),
    }
}

/// Nothing where the range does not say that it is worse.
fn at_least(range: &Range) -> String {
    match range.least > 1.0 {
        true => format!(" (at least {} times)", words::times(range.least)),
        false => String::new(),
    }
}

/// The quantile that differs most, as a sentence about requests.
fn slower(status: &RolloutStatus, judged: &JudgedStatus) -> Option<String> {
    let [baseline, candidate] = &status.arms;
    let pairs = quantiles(&candidate.latency?).into_iter().zip(quantiles(&baseline.latency?));
    let ratio = |(own, other): &((&str, &str, u64), (&str, &str, u64))| {
        own.2 as f64 / other.2.max(1) as f64
    };
    let worst = pairs.max_by(|a, b| ratio(a).total_cmp(&ratio(b)))?;
    let ((name, who, own), (_, _, other)) = worst;
    let known = judged
        .slower
        .iter()
        .find(|(which, _)| which == name || (which == "median" && name == "p50"));
    let least = known.map_or(String::new(), |(_, range)| at_least(range));
    Some(format!(
        "the candidate is slower: {who} longer than {}, against {} at the baseline, {} times as \
         long{least}",
        units::micros(own),
        units::micros(other),
        words::times(ratio(&worst))
    ))
}

fn quantiles(of: &Quantiles) -> [(&'static str, &'static str, u64); 4] {
    [
        ("p50", "half of its requests take", of.p50_us),
        ("p90", "one of 10 requests takes", of.p90_us),
        ("p99", "one of 100 requests takes", of.p99_us),
        ("p99.9", "one of 1,000 requests takes", of.p999_us),
    ]
}

/// What clients get now, and since when.
fn now(status: &RolloutStatus) -> Vec<String> {
    let baseline = safe(&status.baseline);
    let mut out = Vec::new();
    if let Some(back) = &status.rolled_back {
        let (from, took) = (words::percent(back.from_percent), units::micros(back.took_us));
        out.push(format!(
            "from {from} to 0 % within {took} of the decision: no new request got to the \
             candidate after that"
        ));
    }
    match (status.phase, &status.judged) {
        (RolloutPhase::Successful, _) if is_worse(status) => {
            out.push("it went on although it is worse".to_owned());
        }
        (RolloutPhase::Successful, Some(judged)) if judged.proved => {
            out.push("proved: it is not worse than is tolerated".to_owned());
        }
        (RolloutPhase::Successful, _) => {
            out.push("nothing spoke against it; that it is no worse is not proved".to_owned());
        }
        (phase, _) if phase.is_over() => {
            out.push(format!("nobody gets the candidate any more; {baseline} serves everything"));
        }
        _ => {}
    }
    out
}

fn next(status: &RolloutStatus) -> Vec<(String, String)> {
    let id = status.id;
    let mut out = vec![(
        format!("umbra rollout explain {id}"),
        "the evidence, and what happened when".to_owned(),
    )];
    if let Some(journal) = &status.journal {
        let journal = shell_word(&journal.display().to_string());
        out.push((
            format!("umbra rollout replay {journal}"),
            "judge it again from what was kept".to_owned(),
        ));
    }
    out.push(match status.phase {
        RolloutPhase::Successful => {
            (format!("umbra rollout undo {id}"), format!("return to {}", safe(&status.baseline)))
        }
        _ => (format!("umbra rollout retry {id}"), "the same again".to_owned()),
    });
    out
}
