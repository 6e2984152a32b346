//! One line per event that matters: for CI, pipes and those who read later.
//!
//! ```text
//!    0.412s step 2/4 site: runs (its files changed)
//! ^^^^^^^^^ since the build began; then a fixed word, a place, and what happened
//! ```
//!
//! The words at the beginning are stable: `build`, `base`, `pool`, `step`, `test`, `halt`,
//! `ask`, `answer`, `seal`, `export`, `warning`, `end`.

use umbra_api::build::{BuildEvent, Event, Failure, TestResult};
use umbra_state::{TestKind, Verdict};

use super::model::Model;
use super::{safe, safe_lines, units, verdict_word};

/// Lines of one event; `model` already knows it. `verbose` adds what the steps print.
pub fn lines(model: &Model, event: &BuildEvent, verbose: bool) -> Vec<String> {
    let at = format!("{:>9.3}s", event.at_us as f64 / 1e6);
    let texts = match &event.event {
        Event::StepOutput { text, .. } if verbose => {
            return text.lines().map(|line| format!("          | {}", super::safe(line))).collect();
        }
        Event::TestEnded { step, result } => test_ended(model, *step, result),
        Event::Asked { failure } => vec![format!("ask {}", what_failed(failure))],
        Event::Halted { failure } => vec![format!("halt {}", what_failed(failure))],
        other => one_line(model, other).into_iter().collect(),
    };
    let continued = " ".repeat(at.len());
    texts
        .into_iter()
        .enumerate()
        .map(|(index, text)| format!("{} {text}", if index == 0 { &at } else { &continued }))
        .collect()
}

fn one_line(model: &Model, event: &Event) -> Option<String> {
    let place = |step: usize| place(model, step);
    Some(match event {
        Event::Started { build, name, steps, tests } => {
            format!("build {build} {}: {} steps, {} tests", safe(name), steps.len(), tests.len())
        }
        Event::BaseReady { state, source, cached, entries, took_us } => format!(
            "base {}: state {}, {entries} entries, {} in {}",
            safe(source),
            state.short(),
            if *cached { "cached, ready" } else { "made" },
            units::micros(*took_us)
        ),
        Event::Pool { shadows, reason } => {
            let names: Vec<String> = shadows.iter().map(|name| safe(name)).collect();
            format!("pool {} shadows [{}]: {}", names.len(), names.join(" "), safe(reason))
        }
        Event::StepCached { step, state, delta } => {
            format!("{}: cached, state {}, {}", place(*step), state.short(), units::delta(delta))
        }
        Event::StepStarted { step, why, speculative } => {
            let ahead = if *speculative { ", ahead of tests" } else { "" };
            format!("{}: runs ({}){ahead}", place(*step), safe(why))
        }
        Event::StepEnded { step, exit, took_us } => {
            format!("{}: {exit} after {}", place(*step), units::micros(*took_us))
        }
        Event::DeltaApplied { step, shadow, took_us } => {
            let (shadow, took) = (safe(shadow), units::micros(*took_us));
            format!("{}: on shadow {shadow} after {took}", place(*step))
        }
        Event::StepIngested { step, state, delta, took_us } => format!(
            "{}: state {}, {}, ingested in {}",
            place(*step),
            state.short(),
            units::delta(delta),
            units::micros(*took_us)
        ),
        Event::TestStarted { step, test, kind, shadow, since_step_us } => format!(
            "{}: starts on {}, {} after the step",
            test_place(model, *step, test, *kind),
            safe(shadow),
            units::micros(*since_step_us)
        ),
        Event::TestKept { step, test, verdict, reason } => format!(
            "test {} after {}: {} kept ({})",
            safe(test),
            safe(&model.step_name(*step)),
            verdict_word(*verdict),
            safe(reason)
        ),
        Event::Answered { answer } => format!("answer {answer:?}").to_lowercase(),
        Event::Sealed { image, state } => format!("seal {}: state {state}", safe(image)),
        Event::Exported { format, path, bytes, took_us } => format!(
            "export {} to {}: {} in {}",
            safe(format),
            safe(path),
            units::bytes(*bytes),
            units::micros(*took_us)
        ),
        Event::Warning { message } => format!("warning {}", safe(message)),
        Event::Ended { phase, verdict, reason, .. } => {
            let why =
                reason.as_ref().map_or(String::new(), |why| format!(" ({})", safe_lines(why)));
            format!("end {}: {}{why}", format!("{phase:?}").to_lowercase(), verdict_word(*verdict))
        }
        Event::StepOutput { .. }
        | Event::TestEnded { .. }
        | Event::Asked { .. }
        | Event::Halted { .. } => return None,
    })
}

fn place(model: &Model, step: usize) -> String {
    format!("step {}/{} {}", step + 1, model.steps.len(), safe(&model.step_name(step)))
}

fn test_place(model: &Model, step: usize, test: &str, kind: TestKind) -> String {
    format!("test {} ({kind}) after {}", safe(test), safe(&model.step_name(step)))
}

/// The verdict, and below it what speaks against a pass and the measured numbers.
fn test_ended(model: &Model, step: usize, result: &TestResult) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {} in {}{}",
        test_place(model, step, &result.name, result.kind),
        verdict_word(result.verdict),
        units::micros(result.took_us),
        if result.attempts > 1 { format!(", {} attempts", result.attempts) } else { String::new() }
    )];
    if !result.metrics.is_empty() {
        let numbers: Vec<String> = result
            .metrics
            .iter()
            .map(|metric| {
                format!("{}={:.3} {}", safe(&metric.name), metric.value, safe(&metric.unit))
            })
            .collect();
        lines.push(format!("  {}", numbers.join(", ")));
    }
    if result.verdict != Verdict::Pass {
        lines.extend(super::failure::evidence(result).into_iter().map(|line| format!("  {line}")));
    }
    lines
}

/// The failure in a line.
pub fn what_failed(failure: &Failure) -> String {
    let step = safe(&failure.step_name);
    match &failure.test {
        Some(test) => format!("after step {step}: test {} ({})", safe(&test.name), test.kind),
        None => format!("in step {step}: the step failed"),
    }
}
