//! How a service is rolled out, checked.
//!
//! Times are in milliseconds, parts are fractions of 1 unless a name says percent.

use serde::{Deserialize, Serialize};
use umbra_drift::config::Notify;

use super::analysis::{Analysis, Background};
use super::webhooks::Webhook;

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What is rolled out.
    pub service: String,
    /// The gateway's route to it.
    pub route: String,
    /// Whom the candidate is held against.
    pub control: Control,
    /// How instances are run.
    pub instances: Instances,
    /// By what the candidate is judged.
    pub judge: Judge,
    /// What becomes of a candidate that was found worse, or of a guard that was passed.
    pub on_worse: OnWorse,
    /// In this order; at least one, and weights only rise.
    pub steps: Vec<Step>,
    /// What each weight needs before the next step.
    pub hold: Hold,
    /// What must hold for both arms together, whoever is to blame.
    pub guards: Vec<Guard>,
    /// Measurements beside the judge; no two have one name.
    pub analyses: Vec<Analysis>,
    /// Those that go on beside the steps.
    pub background: Option<Background>,
    /// Who is asked or told over HTTP; no two have one name.
    pub webhooks: Vec<Webhook>,
    /// Requests of our own where there are too few.
    pub top_up: Option<TopUp>,
    /// How long what machines do may take without progress.
    pub deadline_ms: u64,
    /// Who is told.
    pub notify: Vec<Notify>,
}

impl Spec {
    /// Whether something in it can tell a bad candidate from a good one.
    pub fn is_judged(&self) -> bool {
        let Judge { errors, latency, differences, .. } = &self.judge;
        let any = |is: fn(&Step) -> bool| self.steps.iter().any(is);
        // At 100 % there is nothing left to hold it against.
        let compared = any(|step| matches!(step, Step::SetWeight(percent) if *percent < 100.0));
        let mirrored = any(|step| matches!(step, Step::SetMirror(_)));
        let measured = self.analyses.iter().any(|one| !one.dry_run);
        compared && (errors.is_some() || latency.is_some()) || mirrored && *differences || measured
    }
}

/// Whom the candidate is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// What is in production: all other requests. Needs the fewest requests of the candidate.
    Production,
    /// A fresh instance of what is in production, with as many requests as the candidate: both
    /// began with cold caches.
    Fresh,
}

/// How instances are run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instances {
    /// So many of the candidate.
    pub count: u32,
    /// The port they listen on, each at an address of its own.
    pub port: u16,
    /// When one is healthy; when its port is open, if there is none.
    pub health: Option<Health>,
    /// What one is asked before it gets requests.
    pub warm_up: Option<WarmUp>,
    /// An instance may be healthy this late.
    pub within_ms: u64,
    /// How long an instance may end what it has.
    pub drain_ms: u64,
}

/// When an instance is healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// What is asked for; it must be answered below 400.
    pub path: String,
    /// How often.
    pub every_ms: u64,
    /// Within which time.
    pub timeout_ms: u64,
    /// Good answers in a row.
    pub healthy: u32,
}

/// What an instance is asked before it gets requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// How often.
    pub requests: u32,
    /// For what.
    pub path: String,
}

/// By what the candidate is judged. What is `None` or false does not count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judge {
    /// The probability that a candidate as good as its baseline is found worse, over everything.
    pub alpha: f64,
    /// The same for a candidate that is worse, and is proved not to be.
    pub beta: f64,
    /// Failed requests.
    pub errors: Option<Errors>,
    /// Time until an answer begins.
    pub latency: Option<Latency>,
    /// Answers to mirrored requests that differ.
    pub differences: bool,
    /// The fewest sessions evidence of errors is of.
    pub sessions_min: u32,
}

/// Failed requests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// How many times as often as the baseline the candidate may fail.
    pub tolerated_ratio: f64,
    /// It is not worse if it fails more often by less than this part of requests.
    pub excess_min: f64,
    /// A proof refutes that it fails this many times as often.
    pub refuted_ratio: f64,
}

/// Time until an answer begins.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// By which part the candidate may be slower.
    pub tolerated: f64,
    /// A proof refutes that it is slower by this part.
    pub refuted: f64,
}

/// What becomes of a candidate that was found worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnWorse {
    /// Everything to the baseline, at once.
    Rollback,
    /// It stays at its weight until a person ends it.
    Pause,
    /// People are told; its weight rises no more.
    Notify,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The candidate gets this part of requests, in percent, above 0.
    SetWeight(f64),
    /// The candidate gets copies of requests, and nobody its answers.
    SetMirror(Mirror),
    /// Nothing changes for so long; until a person says so, if `None`.
    Pause(Option<u64>),
    /// These measurements are made, and must be good.
    Analysis(Vec<String>),
}

/// Copies of requests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// This part of requests.
    pub percent: f64,
    /// The step ends with so many.
    pub requests: Option<u64>,
    /// Or after so long. Neither: it ends when copies are made.
    pub for_ms: Option<u64>,
}

/// What each weight needs before the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// At least so long.
    pub for_ms: u64,
    /// And so many requests of the candidate.
    pub requests: u64,
    /// Neither is needed once it is proved that the candidate is not worse.
    pub proved: bool,
    /// After so long with too few requests nobody can say: everything to the baseline.
    pub within_ms: Option<u64>,
}

/// What must hold for both arms together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// The limit.
    pub limit: Limit,
    /// It says nothing of fewer requests.
    pub requests_min: u64,
    /// Over this time.
    pub over_ms: u64,
}

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The part of failed requests of both arms.
    Errors(f64),
    /// 99 % of each arm's answers begin within this many microseconds.
    P99Us(u64),
}

/// Requests of our own where there are too few.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopUp {
    /// At most so many at each weight.
    pub requests: u64,
    /// So many a second.
    pub rate: f64,
    /// For what.
    pub path: String,
}
