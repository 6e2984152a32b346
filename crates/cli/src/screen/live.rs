//! The whole build on a screen, redrawn while somebody watches.

use umbra_state::Verdict;

use super::model::{Model, Step, StepPhase};
use super::{painted_verdict, safe, safe_lines, units};
use crate::ui::Paint;

/// The screen now. `now_us` is the time since the build began, `width` the terminal's; no
/// line is longer.
pub fn lines(model: &Model, now_us: u64, width: usize, paint: Paint) -> Vec<String> {
    let mut out = vec![(head(model, now_us), Tint::Bold)];
    if model.base.is_none() && model.ended.is_none() {
        out.push(("  preparing the base".to_owned(), Tint::None));
    }
    let names = model.steps.iter().map(|step| safe(&step.name).chars().count()).max().unwrap_or(0);
    for step in &model.steps {
        out.push((step_line(model, step, names.min(30), now_us), tint(step)));
    }
    for (step, test, shadow) in &model.running {
        let after = safe(&model.step_name(*step));
        out.push((format!("  > {} on {} (after {after})", safe(test), safe(shadow)), Tint::None));
    }
    if model.steps.iter().any(|step| step.phase == StepPhase::Running)
        && !model.last_output.is_empty()
    {
        out.push((format!("  | {}", safe(&model.last_output)), Tint::Dim));
    }
    out.into_iter().map(|(text, tint)| tint.put(&cut(text.trim_end(), width), paint)).collect()
}

fn head(model: &Model, now_us: u64) -> String {
    let build = model.build.map_or(String::new(), |build| format!(" {build}"));
    let shadows = model.shadows.len();
    format!(
        "build{build} {}  {}  {shadows} shadow{}",
        safe(&model.name),
        units::micros(now_us / 100_000 * 100_000),
        if shadows == 1 { "" } else { "s" }
    )
}

fn step_line(model: &Model, step: &Step, names: usize, now_us: u64) -> String {
    let took = match step.phase {
        StepPhase::Running => {
            units::micros(now_us.saturating_sub(step.began_us) / 100_000 * 100_000)
        }
        _ => step.took_us.map_or(String::new(), units::micros),
    };
    let mut line =
        format!("  {:<names$}  {:<9}  {took:>9}", cut(&safe(&step.name), names), step.phase.word());
    let running = model
        .running
        .iter()
        .filter(|(at, ..)| model.steps.get(*at).is_some_and(|other| std::ptr::eq(other, step)));
    let (running, passed) = (running.count(), passed(step));
    if running > 0 || !step.verdicts.is_empty() {
        line.push_str(&format!("  tests {passed}/{}", step.verdicts.len() + running));
        if step.verdicts.len() > passed {
            line.push_str(&format!(", {} not passed", step.verdicts.len() - passed));
        }
    }
    line
}

fn passed(step: &Step) -> usize {
    step.verdicts.iter().filter(|verdict| **verdict == Verdict::Pass).count()
}

fn tint(step: &Step) -> Tint {
    match (step.phase, step.verdict()) {
        (StepPhase::Failed, _) | (_, Some(Verdict::Fail)) => Tint::Bad,
        (_, Some(Verdict::Inconclusive)) => Tint::Warn,
        (StepPhase::Waiting | StepPhase::Discarded, _) => Tint::Dim,
        _ => Tint::None,
    }
}

/// Colour of a line, put on after it was cut.
pub(super) enum Tint {
    None,
    Bold,
    Dim,
    Warn,
    Bad,
}

impl Tint {
    pub(super) fn put(self, text: &str, paint: Paint) -> String {
        match self {
            Self::None => text.to_owned(),
            Self::Bold => paint.bold(text),
            Self::Dim => paint.dim(text),
            Self::Warn => paint.warn(text),
            Self::Bad => paint.bad(text),
        }
    }
}

/// At most `width` characters; a longer text ends in dots.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(2)).collect();
    format!("{kept}..")
}

/// The line that stays where the live screen was.
pub fn verdict_line(model: &Model, paint: Paint) -> Option<String> {
    let ended = model.ended.as_ref()?;
    let phase = format!("{:?}", ended.phase).to_lowercase();
    let why = ended.reason.as_ref().map_or(String::new(), |why| format!(": {}", safe_lines(why)));
    Some(format!("{} {phase}{why}", painted_verdict(ended.verdict, paint)))
}
