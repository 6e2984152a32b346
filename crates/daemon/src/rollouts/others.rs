//! What else is done for a rollout, at once: measurements, webhooks, requests of our own.

use std::time::{Duration, Instant};

use umbra_api::rollout::{RolloutStatus, StepProgress};
use umbra_rollout::analysis::measure::{self, About};
use umbra_rollout::analysis::placeholder::Names;
use umbra_rollout::controller::{Event, Measurement, Outcome};
use umbra_rollout::fetch::Outside;
use umbra_rollout::hooks::{self, Evidence, Told};

use super::inbox::News;
use super::probe::Probe;
use super::tools::Tools;
use crate::clock::now_ms;

/// A request of our own may take this long.
const TOP_UP_TIME: Duration = Duration::from_secs(10);

/// Measures once.
pub(super) fn measure(
    tools: &Tools,
    status: &RolloutStatus,
    analysis: &str,
    number: u32,
) -> Vec<News> {
    let spec = &tools.plan.spec;
    let measurement = match spec.analyses.iter().find(|one| one.name == analysis) {
        Some(analysis) => {
            let names = Names { service: &spec.service, arm: "candidate", rollout: tools.id };
            let began_ms = status.began_at_ms;
            measure::measure(analysis, &Outside, About { names, began_ms, now_ms: now_ms() })
        }
        None => {
            let message = "there is no such analysis".to_owned();
            Measurement { outcome: Outcome::Error, value: None, message }
        }
    };
    vec![Event::Measured { analysis: analysis.to_owned(), number, measurement }.into()]
}

/// Calls a webhook.
pub(super) fn call(tools: &Tools, status: &RolloutStatus, hook: &str, number: u32) -> Vec<News> {
    let Some(webhook) = tools.plan.spec.webhooks.iter().find(|one| one.name == hook) else {
        return Vec::new();
    };
    let step = status.steps.iter().position(|step| step.progress == StepProgress::Current);
    let [baseline, candidate] = &status.arms;
    let evidence = status.judged.as_ref().map(|judged| Evidence {
        log_e: judged.log_e,
        log_limit: judged.log_limit,
        proved: judged.proved,
        requests: [baseline.requests, candidate.requests],
        errors: [baseline.errors, candidate.errors],
    });
    let told = Told {
        rollout: tools.id,
        service: &status.service,
        candidate: &status.candidate,
        baseline: &status.baseline,
        phase: status.phase,
        reason: &status.reason,
        step: step.and_then(|step| status.steps.get(step)).map(|step| step.words.as_str()),
        weight_percent: status.weight_percent,
        next_weight_percent: next_weight(tools, step),
        evidence,
        call: number,
    };
    let mut pause = |wait| {
        if !tools.is_ended() {
            std::thread::sleep(wait);
        }
    };
    let answer = hooks::call(webhook, &told, &Outside, &mut pause);
    vec![Event::Hook { name: hook.to_owned(), number, answer }.into()]
}

/// The weight after this step, in percent.
fn next_weight(tools: &Tools, step: Option<usize>) -> Option<f64> {
    let steps = tools.plan.spec.steps.get(step?..)?;
    steps.iter().find_map(|step| match step {
        umbra_rollout::spec::Step::SetWeight(percent) => Some(*percent),
        _ => None,
    })
}

/// Sends requests of our own through the gateway, as many and as fast as is wanted.
pub(super) fn top_up(tools: &Tools, requests: u64) -> Vec<News> {
    let sent = send(tools, requests).unwrap_or_else(|why| {
        tracing::warn!(rollout = tools.id, why, "no requests of our own are sent");
        0
    });
    vec![Event::ToppedUp { requests: sent }.into()]
}

fn send(tools: &Tools, requests: u64) -> Result<u64, String> {
    let spec = &tools.plan.spec;
    let Some(top_up) = &spec.top_up else { return Ok(0) };
    let route = tools.gate.route().map_err(|error| error.to_string())?;
    let host = route.and_then(|route| route.hosts.into_iter().next());
    let gateway = tools.gate.gateway().map_err(|error| error.to_string())?;
    // All addresses are this machine's as well.
    let at = gateway.listen.replace("[::]", "127.0.0.1").replace("0.0.0.0", "127.0.0.1");
    let probe = Probe::new(&at)?.of_host(host);
    let began = Instant::now();
    let mut sent = 0;
    for number in 0..requests {
        let due = began + Duration::from_secs_f64(number as f64 / top_up.rate.max(0.001));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if tools.is_ended() {
            break;
        }
        // Whatever it is answered, the judge has seen it.
        sent += u64::from(probe.ask(&top_up.path, TOP_UP_TIME).is_ok());
    }
    Ok(sent)
}
