//! `analysis`: measurements beside the judge, in the words of Argo's `AnalysisTemplate`, and
//! canary configurations as Kayenta has them.

mod check;
mod extract;
mod kayenta;
mod shapes;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use umbra_drift::config::Token;

use crate::analysis::Expression;
pub(super) use check::check;
pub(super) use extract::{millis, section};
pub use kayenta::{Canary, Kayenta, Scope};
pub(super) use shapes::ANALYSIS;

/// All that the section says.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Section {
    /// No two have one name.
    pub(crate) analyses: Vec<Analysis>,
    /// Those that go on beside the steps.
    pub(crate) background: Option<Background>,
}

/// A measurement beside the judge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analysis {
    /// Its name.
    pub name: String,
    /// Time between measurements; only one is made if `None`.
    pub interval_ms: Option<u64>,
    /// So many; without end if `None` and there is an interval, which only one in the background
    /// may be.
    pub count: Option<u32>,
    /// Before the first.
    pub initial_delay_ms: u64,
    /// When a measurement is good.
    pub success_condition: Option<Expression>,
    /// When one is bad.
    pub failure_condition: Option<Expression>,
    /// More bad ones, and it failed; however many if `None`.
    pub failure_limit: Option<u32>,
    /// So many good ones in a row are enough.
    pub consecutive_success_limit: Option<u32>,
    /// More that are neither, and nobody can say.
    pub inconclusive_limit: u32,
    /// More in a row that could not be made, and it is an error.
    pub consecutive_error_limit: u32,
    /// It is shown, and counts for nothing.
    pub dry_run: bool,
    /// What becomes of the rollout if it failed.
    pub on_failure: OnFailure,
    /// Who measures.
    pub provider: Provider,
}

impl Analysis {
    /// How long a measurement may take.
    pub fn timeout_ms(&self) -> u64 {
        match &self.provider {
            Provider::Prometheus(of) => of.server.timeout_ms,
            Provider::Kayenta(of) => {
                let queries = of.canary.metrics().count().saturating_mul(2);
                let queries = u64::try_from(queries).unwrap_or(u64::MAX);
                of.server.timeout_ms.saturating_mul(queries)
            }
        }
    }

    /// Whether the last measurement must be good whatever those before were: each judgement of a
    /// canary configuration is of all there was until then.
    pub fn last_decides(&self) -> bool {
        matches!(self.provider, Provider::Kayenta(_))
    }
}

/// What becomes of a rollout whose analysis failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Everything to the baseline.
    Rollback,
    /// It waits for a person.
    Pause,
}

/// Who measures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// A query.
    Prometheus(Prometheus),
    /// A canary configuration, judged as Kayenta does.
    Kayenta(Kayenta),
}

/// A Prometheus, or what answers like one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Where it is; `/api/v1/query` and `/api/v1/query_range` are below.
    pub address: String,
    /// A secret sent along.
    pub token: Option<Token>,
    /// An answer may take this long.
    pub timeout_ms: u64,
}

/// A query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prometheus {
    /// Whom to ask.
    pub server: Server,
    /// PromQL, arguments filled in; `{{service}}`, `{{arm}}` and `{{rollout}}` are not yet.
    pub query: String,
    /// Over a time; at an instant if `None`.
    pub range: Option<Range>,
    /// What is answered may be this old.
    pub fresh_ms: u64,
}

/// A time, and the points in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// So far back from now.
    pub window_ms: u64,
    /// Time between two points.
    pub step_ms: u64,
}

/// Measurements that go on beside the steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Background {
    /// Which.
    pub templates: Vec<String>,
    /// From this step on, counted from 0.
    pub starting_step: usize,
}
