//! Whether metrics work, before anything begins: a rollout with analyses none of which can say
//! anything is not started.

use serde::{Deserialize, Serialize};

use super::kayenta;
use super::measure::{About, ask, conclude};
use super::placeholder::{self, Names};
use crate::controller::Outcome;
use crate::fetch::Fetch;
use crate::spec::{Analysis, Provider};

/// What came of trying one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Its name.
    pub name: String,
    /// Whether it works.
    pub works: Works,
}

/// Whether a metric works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Works {
    /// It has a value, and its conditions can be decided.
    Yes {
        /// The value, in words.
        value: String,
    },
    /// It is answered, and there is no value: which may change once there is a candidate.
    NotYet,
    /// It does not.
    No {
        /// Why.
        why: String,
    },
}

/// Tries each once, of the baseline: of the candidate there is nothing yet. Blocks.
pub fn try_all(analyses: &[Analysis], fetch: &dyn Fetch, about: About<'_>) -> Vec<Tried> {
    let about = About { names: Names { arm: "baseline", ..about.names }, ..about };
    let tried = |analysis: &Analysis| Tried {
        name: analysis.name.clone(),
        works: works(analysis, fetch, about),
    };
    analyses.iter().map(tried).collect()
}

/// Why not to start: `None` if one works, or may, or there is none to try.
pub fn refusal(tried: &[Tried]) -> Option<String> {
    let why = |tried: &Tried| match &tried.works {
        Works::No { why } => Some(format!("{}: {why}", tried.name)),
        Works::Yes { .. } | Works::NotYet => None,
    };
    let reasons: Option<Vec<String>> = tried.iter().map(why).collect();
    let reasons = reasons.filter(|reasons| !reasons.is_empty())?;
    Some(format!("no metric works: {}", reasons.join("; ")))
}

fn works(analysis: &Analysis, fetch: &dyn Fetch, about: About<'_>) -> Works {
    let query = match &analysis.provider {
        Provider::Kayenta(canary) => return kayenta::works(canary, fetch, about),
        Provider::Prometheus(query) => query,
    };
    let (value, warnings) = match ask(query, fetch, about) {
        Ok(answered) => answered,
        Err(why) => return Works::No { why },
    };
    let (success, failure) = (&analysis.success_condition, &analysis.failure_condition);
    let measured = conclude(&value, &warnings, success.as_ref(), failure.as_ref());
    if measured.outcome == Outcome::Error {
        return Works::No { why: measured.message };
    }
    if !value.is_absent() {
        return Works::Yes { value: value.to_string() };
    }
    // What is in production has values of everything that is asked of an arm.
    match placeholder::names(&query.query).any(|(_, name)| name == "arm") {
        true => Works::No { why: "there is no value of what is in production".to_owned() },
        false => Works::NotYet,
    }
}

#[cfg(test)]
mod tests;
