//! Load: simulated users who arrive at a given rate, whatever the shadow does.
//!
//! The model is open: a slow answer never delays the next arrival, and the latency of a
//! user's first request counts from the moment the user was meant to arrive, so a stalled
//! server cannot hide behind requests that were never sent. What cannot be started because
//! `in_flight_max` users are busy is dropped, and a dropped user is an error.

mod arrivals;
mod engine;
pub mod extract;
pub mod pacing;
pub mod stats;
mod threshold;

use std::time::{Duration, Instant};

use umbra_state::{Evidence, Verdict};

use super::http::{Endpoint, HttpRequest};
use super::{Outcome, remaining};
use crate::runner::Context;
use crate::target::{ProbeError, Target};

pub use extract::{Extract, Place};
pub use threshold::{Comparison, Quantity, Threshold, ThresholdError};

/// Users, what they do, and how well it must go.
#[derive(Debug, Clone)]
pub struct LoadCheck {
    /// Where and how to connect.
    pub endpoint: Endpoint,
    /// Users arriving per second; finite and above 0.
    pub rate: f64,
    /// How arrivals are spread.
    pub arrival: Arrival,
    /// For how long users arrive, the warm-up not included.
    pub duration: Duration,
    /// For how long users arrive beforehand without being counted.
    pub warm_up: Duration,
    /// How many users may be busy at once.
    pub in_flight_max: usize,
    /// What users do; one is chosen per user by weight. At least one.
    pub scenario: Vec<Journey>,
    /// How long a request may take before it counts as an error.
    pub request_timeout: Duration,
    /// How well it must go. Without one about errors, more than 1 % of them fails.
    pub thresholds: Vec<Threshold>,
}

/// How arrivals are spread over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// At equal distances.
    Constant,
    /// Independently of each other, as users of a public service do.
    Poisson,
}

/// What one kind of user does.
#[derive(Debug, Clone, PartialEq)]
pub struct Journey {
    /// What people call it.
    pub name: String,
    /// How often it is chosen, relative to the others; above 0.
    pub weight: u32,
    /// Its requests, one after the other.
    pub steps: Vec<LoadStep>,
}

/// One request of a journey.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadStep {
    /// What to ask.
    pub request: HttpRequest,
    /// How long the user thinks before asking.
    pub think: Duration,
    /// The statuses that are no error; none given means below 400.
    pub status: Vec<u16>,
    /// What is taken from the answer for later requests, which refer to it as `${name}`.
    pub extract: Vec<Extract>,
}

impl LoadStep {
    /// A request without thinking, whose answer must have a status below 400.
    pub fn new(request: HttpRequest) -> Self {
        Self { request, think: Duration::ZERO, status: Vec::new(), extract: Vec::new() }
    }
}

impl LoadCheck {
    /// `GET path` at a constant rate over plain HTTP.
    pub fn get(endpoint: Endpoint, path: &str, rate: f64, duration: Duration) -> Self {
        let steps = vec![LoadStep::new(HttpRequest::get(path))];
        Self {
            endpoint,
            rate,
            arrival: Arrival::Constant,
            duration,
            warm_up: Duration::ZERO,
            in_flight_max: 256,
            scenario: vec![Journey { name: path.to_owned(), weight: 1, steps }],
            request_timeout: Duration::from_secs(5),
            thresholds: Vec::new(),
        }
    }

    /// What keeps it from being run; each a sentence for the recipe's author.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut need = |good: bool, problem: &str| {
            if !good {
                problems.push(problem.to_owned());
            }
        };
        need(
            self.rate.is_finite() && self.rate > 0.0 && self.rate <= RATE_MAX,
            "rate must be above 0 and at most 100000 users per second",
        );
        need(!self.duration.is_zero(), "duration must be above 0");
        need(self.in_flight_max > 0, "in_flight_max must be above 0");
        need(!self.scenario.is_empty(), "a scenario needs at least one journey");
        need(
            self.scenario.iter().all(|journey| journey.weight > 0 && !journey.steps.is_empty()),
            "a journey needs a weight above 0 and at least one request",
        );
        problems
    }
}

const RATE_MAX: f64 = 100_000.0;

/// What happens to the error rate when no threshold speaks of it.
const ERRORS_DEFAULT: &str = "errors<=1%";

pub(super) fn look(
    check: &LoadCheck,
    target: &dyn Target,
    context: &Context<'_>,
    deadline: Instant,
) -> Result<Outcome, ProbeError> {
    if let Some(problem) = check.problems().into_iter().next() {
        return Err(ProbeError::Malformed { what: "the load test".to_owned(), detail: problem });
    }
    let address = target.address().ok_or(ProbeError::NoAddress)?;
    let stats = engine::run(check, target, address, context, remaining(deadline))?;
    let mut evidence = judge(&stats, &check.thresholds);
    evidence.extend(stats.cut_short.then(|| Evidence {
        subject: "time limit".to_owned(),
        seen: "the test's time was over before its load was".to_owned(),
        expected: None,
        verdict: Verdict::Fail,
    }));
    let (output, metrics) = (stats.table(), stats.metrics());
    Ok(Outcome { evidence, metrics, output, ..Outcome::default() })
}

/// Every threshold against what was measured.
pub fn judge(stats: &stats::Stats, thresholds: &[Threshold]) -> Vec<Evidence> {
    let mut evidence: Vec<_> = thresholds.iter().map(|wanted| stats.judge(wanted)).collect();
    let speaks_of_errors =
        thresholds.iter().any(|threshold| threshold.quantity == Quantity::Errors);
    if !speaks_of_errors && let Ok(default) = ERRORS_DEFAULT.parse() {
        evidence.push(stats.judge(&default));
    }
    evidence
}

#[cfg(test)]
mod tests;
