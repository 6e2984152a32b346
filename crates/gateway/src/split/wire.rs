//! What is said about splits at the control socket.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use umbra_judge::settings::Settings;
use umbra_judge::standing::Standing;

use crate::control::TargetStatus;
use crate::routes::setup::TargetSetup;

/// What `POST /v1/splits/{route}` takes: a split to begin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartSplit {
    /// The candidate's targets. At least one, of a weight above 0.
    pub candidate: Vec<TargetSetup>,
    /// Targets of a fresh baseline, which gets as many sessions as the candidate and is what that
    /// is compared with; all the rest of production is, if there are none.
    #[serde(default)]
    pub control: Vec<TargetSetup>,
    /// The candidate's part of all sessions, from 0 to 1; up to a half where there is a control.
    pub weight: f64,
    /// How it is judged. Whether its sessions stay, and what the candidate is compared with, the
    /// gateway knows itself.
    pub settings: Settings,
    /// Absolute path of the file that keeps every outcome. It must not be there.
    pub journal: PathBuf,
    /// What happens where the candidate is found to be worse.
    #[serde(default)]
    pub on_worse: OnWorse,
    /// The number of the rollout it is for.
    pub rollout: u64,
}

/// What happens where the candidate is found to be worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnWorse {
    /// Its weight becomes 0 at once, and stays so.
    #[default]
    Rollback,
    /// It is told, and nothing else happens.
    Tell,
}

/// What `POST /v1/splits/{route}/weight` takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetWeight {
    /// The candidate's part of all sessions from now on, from 0 to 1.
    pub weight: f64,
}

/// What `POST /v1/splits/{route}/targets` takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetTargets {
    /// Whose.
    pub arm: SplitArm,
    /// What they are from now on. At least one, of a weight above 0.
    pub targets: Vec<TargetSetup>,
}

/// Where a request of a split route goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitArm {
    /// To what is in production.
    Baseline,
    /// To what is to replace it.
    Candidate,
    /// To a fresh instance of what is in production, with which the candidate is compared.
    Control,
}

impl SplitArm {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Candidate => "candidate",
            Self::Control => "control",
        }
    }
}

/// What becomes of a route once its split ends: `DELETE /v1/splits/{route}?to=baseline`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndTo {
    /// It has the targets it had beside the candidate.
    Baseline,
    /// It has the candidate's, which routes that are read later do not change.
    Candidate,
}

/// What `POST /v1/routes/{route}/targets` takes: targets that are a route's from now on, whatever
/// the file of routes says, until `POST /v1/routes/{route}/release`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssignTargets {
    /// At least one, of a weight above 0.
    pub targets: Vec<TargetSetup>,
    /// The number of the rollout that says so.
    pub rollout: u64,
}

/// How a split stands: `GET /v1/splits/{route}?after=VERSION&wait_ms=N`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitStatus {
    /// Its route.
    pub route: String,
    /// The number of the rollout it is for.
    pub rollout: u64,
    /// Another one whenever its weight or targets change, or something is decided.
    pub version: u64,
    /// The candidate's part of all sessions.
    pub weight: f64,
    /// What happens where the candidate is found to be worse.
    pub on_worse: OnWorse,
    /// That the candidate was found to be worse.
    pub worse: Option<Worse>,
    /// Whether its weight was taken to 0 because of that.
    pub rolled_back: bool,
    /// Baseline, candidate and, if there is one, control.
    pub arms: Vec<SplitArmStatus>,
    /// What the judge says; `None` until what was kept before is read again.
    pub standing: Option<Standing>,
    /// Requests that did not count, by cause.
    pub left_out: Vec<SplitLeftOut>,
    /// How long the judge was behind requests lately, in microseconds.
    pub lag_us: u64,
    /// Where outcomes are kept.
    pub journal: JournalStatus,
}

/// That a candidate was found to be worse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Worse {
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The candidate's part of all sessions until then.
    pub weight: f64,
    /// From the end of the request that decided until no request went to the candidate any more,
    /// in microseconds.
    pub took_us: u64,
    /// Natural logarithm of the e-value.
    pub log_e: f64,
    /// What it rests on, in a sentence without a full stop.
    pub words: String,
}

/// How an arm stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitArmStatus {
    /// Which.
    pub arm: SplitArm,
    /// Requests it was assigned.
    pub requests: u64,
    /// Those that failed: no answer, one of 500 to 599, one that broke off, a bad gRPC status.
    pub errors: u64,
    /// Those under way.
    pub in_flight: u64,
    /// Quantiles of the time until an answer began; `None` where there was none.
    pub latency: Option<Latency>,
    /// Its targets.
    pub targets: Vec<TargetStatus>,
}

/// Quantiles, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50_us: u64,
    /// 90 % are not above it.
    pub p90_us: u64,
    /// 99 % are not.
    pub p99_us: u64,
    /// 99.9 % are not.
    pub p999_us: u64,
}

/// Requests that did not count, for one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitLeftOut {
    /// Why.
    pub cause: LeftOutCause,
    /// How many.
    pub count: u64,
}

/// Why a request did not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOutCause {
    /// The judge was too far behind.
    Queue,
    /// It went to production where only a control is compared with.
    NotCompared,
}

/// How the file that keeps outcomes stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalStatus {
    /// Where it is.
    pub path: PathBuf,
    /// How long it is.
    pub bytes: u64,
    /// Why it is not written any more, if it is not.
    #[serde(default)]
    pub problem: Option<String>,
}

/// Who says where a route leads, beside the file of routes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManagedStatus {
    /// The number of the rollout.
    pub rollout: u64,
    /// Whether its targets are those the rollout left or set, not those of the file.
    pub assigned: bool,
    /// The candidate's part of sessions, while there is a split.
    #[serde(default)]
    pub weight: Option<f64>,
    /// Whether the candidate was found to be worse and rolled back.
    #[serde(default)]
    pub rolled_back: bool,
}
