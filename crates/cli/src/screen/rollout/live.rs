//! The whole rollout on a screen, redrawn while somebody watches.

use umbra_api::rollout::{RolloutPhase, RolloutStatus, StepProgress, StepStatus};

use super::model::Model;
use super::{ending, evidence, words};
use crate::screen::live::{Tint, cut};
use crate::screen::safe;
use crate::ui::Paint;

/// Steps that are shown before and after the current one.
const STEPS_AROUND: usize = 2;

/// The screen now. `now_ms` is the time since 1970, `width` the terminal's; no line is longer.
pub fn lines(model: &Model, now_ms: i64, width: usize, paint: Paint) -> Vec<String> {
    let status = &model.status;
    let mut out = head(status, now_ms);
    if let Some(why) = &model.away {
        let line = format!("the daemon is away ({}); the gateway goes on without it", safe(why));
        out.push((line, Tint::Warn));
    }
    section(&mut out, steps(status, now_ms));
    section(&mut out, plain(evidence::arms(status)));
    section(&mut out, judged(status));
    section(&mut out, around(model));
    out.into_iter().map(|(text, tint)| tint.put(&cut(text.trim_end(), width), paint)).collect()
}

type Line = (String, Tint);

/// Adds lines that belong together, below an empty one.
fn section(out: &mut Vec<Line>, lines: Vec<Line>) {
    if !lines.is_empty() {
        out.push((String::new(), Tint::None));
        out.extend(lines.into_iter().map(|(text, tint)| (format!("  {text}"), tint)));
    }
}

fn plain(lines: Vec<String>) -> Vec<Line> {
    lines.into_iter().map(|line| (line, Tint::None)).collect()
}

fn head(status: &RolloutStatus, now_ms: i64) -> Vec<Line> {
    let until = status.ended_at_ms.unwrap_or(now_ms);
    let lasted = words::lasted((until - status.began_at_ms) / 100 * 100);
    let (id, service) = (status.id, safe(&status.service));
    let mut out = vec![(
        format!("rollout {id} of {service}: {}  {lasted}", words::from_to(status)),
        Tint::Bold,
    )];
    let why = if status.reason.is_empty() {
        String::new()
    } else {
        format!(": {}", safe(&status.reason))
    };
    let tint = match status.phase {
        RolloutPhase::Failed | RolloutPhase::RollingBack | RolloutPhase::Error => Tint::Bad,
        RolloutPhase::Paused | RolloutPhase::Inconclusive => Tint::Warn,
        _ => Tint::None,
    };
    out.push((format!("{}{why}", words::phase(status.phase)), tint));
    out.push((traffic(status), Tint::None));
    if !status.phase.is_over() && ending::is_worse(status) {
        out.extend(ending::cause(status).into_iter().map(|line| (line, Tint::Bad)));
    }
    out
}

/// Who gets the candidate's answers.
fn traffic(status: &RolloutStatus) -> String {
    let weight = words::percent(status.weight_percent);
    let mirrored = words::percent(status.mirror_percent);
    match (status.weight_percent > 0.0, status.mirror_percent > 0.0) {
        (false, false) => "nobody gets to the candidate".to_owned(),
        (false, true) => format!(
            "{mirrored} of requests are mirrored to the candidate, whose answers nobody gets"
        ),
        (true, false) => format!("{weight} of requests go to the candidate"),
        (true, true) => {
            format!("{weight} of requests go to the candidate, {mirrored} are mirrored to it")
        }
    }
}

/// The steps around the current one, and how many are left out on either side.
fn steps(status: &RolloutStatus, now_ms: i64) -> Vec<Line> {
    let steps = &status.steps;
    let current = steps.iter().position(|step| step.progress == StepProgress::Current);
    let over = || steps.iter().rposition(|step| step.progress == StepProgress::Done);
    let middle = current.or_else(over).unwrap_or(0);
    let first =
        middle.saturating_sub(STEPS_AROUND).min(steps.len().saturating_sub(2 * STEPS_AROUND + 1));
    let shown: Vec<_> = steps.iter().enumerate().skip(first).take(2 * STEPS_AROUND + 1).collect();
    let after = steps.len() - first - shown.len();
    let width = shown.iter().map(|(_, step)| safe(&step.words).chars().count()).max().unwrap_or(0);
    let mut out = Vec::new();
    if first > 0 {
        out.push((format!("         ({first} before)"), Tint::Dim));
    }
    for (place, step) in shown {
        let lasted = lasted(steps, place, status.ended_at_ms.unwrap_or(now_ms));
        let mark = if step.progress == StepProgress::Current { '>' } else { ' ' };
        let word = words::progress(step.progress);
        let line = format!("{mark} {word:<7}  {:<width$}  {lasted:>9}", safe(&step.words));
        let tint = match step.progress {
            StepProgress::Current => Tint::Bold,
            StepProgress::Ahead | StepProgress::Skipped => Tint::Dim,
            StepProgress::Done => Tint::None,
        };
        out.push((line, tint));
    }
    if after > 0 {
        out.push((format!("           ({after} more)"), Tint::Dim));
    }
    out
}

/// How long a step lasted: until the next that began, or until now.
fn lasted(steps: &[StepStatus], place: usize, now_ms: i64) -> String {
    let began = |step: &StepStatus| step.began_at_ms;
    let Some(began_at_ms) = steps.get(place).and_then(began) else { return String::new() };
    let until = steps.iter().skip(place + 1).find_map(began).unwrap_or(now_ms);
    words::lasted((until - began_at_ms) / 100 * 100)
}

fn judged(status: &RolloutStatus) -> Vec<Line> {
    let Some(judged) = &status.judged else { return Vec::new() };
    let mut lines = evidence::ratios(judged);
    lines.extend(evidence::bars(judged));
    lines.push(evidence::needed(judged));
    plain(lines)
}

/// Instances, gates and measurements.
fn around(model: &Model) -> Vec<Line> {
    let status = &model.status;
    let mut out = Vec::new();
    for (name, arm) in ["baseline", "candidate"].iter().zip(&status.arms) {
        let all: Vec<String> = arm.instances.iter().map(words::instance).collect();
        if !all.is_empty() {
            out.push((format!("{name:<9}  {}", all.join(", ")), Tint::None));
        }
    }
    out.extend(
        status
            .analyses
            .iter()
            .map(|one| (format!("analysis   {}", words::analysis(one)), Tint::None)),
    );
    if !status.held_by.is_empty() {
        let names: Vec<String> = status.held_by.iter().map(|name| safe(name)).collect();
        out.push((format!("held by    {}", names.join(", ")), Tint::Warn));
    }
    if let Some(warning) = &model.warning {
        out.push((format!("warning    {}", safe(warning)), Tint::Warn));
    }
    out
}
