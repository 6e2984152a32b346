//! One measurement: a query, its answer, and what the conditions say of it.

use umbra_state::chain;

use super::expression::Expression;
use super::expression::Value;
use super::kayenta;
use super::placeholder::{self, Names};
use super::prometheus::{When, is_of};
use crate::controller::{Measurement, Outcome};
use crate::fetch::Fetch;
use crate::spec::{Analysis, Prometheus, Provider};

/// What a measurement is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About<'a> {
    /// What queries may name.
    pub names: Names<'a>,
    /// When the analysis began: nothing before is looked at by a canary configuration.
    pub began_ms: i64,
    /// Now.
    pub now_ms: i64,
}

/// Measures once. Blocks until it is answered, or its time is over.
pub fn measure(analysis: &Analysis, fetch: &dyn Fetch, about: About<'_>) -> Measurement {
    match &analysis.provider {
        Provider::Prometheus(query) => match ask(query, fetch, about) {
            Ok((value, warnings)) => {
                let (success, failure) = (&analysis.success_condition, &analysis.failure_condition);
                conclude(&value, &warnings, success.as_ref(), failure.as_ref())
            }
            Err(why) => error(why),
        },
        Provider::Kayenta(canary) => kayenta::measure(canary, fetch, about),
    }
}

/// The value, and what the server warns of.
pub(super) fn ask(
    query: &Prometheus,
    fetch: &dyn Fetch,
    about: About<'_>,
) -> Result<(Value, Vec<String>), String> {
    let text = placeholder::fill(&query.query, |name| about.names.of(name));
    let when = When::back_from(about.now_ms, query.range);
    let answer = query.server.ask(fetch, &text, when).map_err(|error| failed(&error))?;
    // Of a range the last point may lie a step back.
    let fresh_ms = query.fresh_ms.max(query.range.map_or(0, |range| range.step_ms));
    is_of(&answer, about.now_ms, fresh_ms).map_err(|error| failed(&error))?;
    Ok((answer.value(), answer.warnings))
}

pub(super) fn failed(error: &dyn std::error::Error) -> String {
    format!("cannot {}", chain(error))
}

pub(super) fn error(message: String) -> Measurement {
    Measurement { outcome: Outcome::Error, value: None, message }
}

/// What the conditions say of a value.
pub fn conclude(
    value: &Value,
    warnings: &[String],
    success: Option<&Expression>,
    failure: Option<&Expression>,
) -> Measurement {
    let (outcome, message) = match decide(value, success, failure) {
        // What may be incomplete proves nothing good.
        (Outcome::Successful, _) if !warnings.is_empty() => {
            let why = format!("good, but Prometheus warns: {}", warnings.join("; "));
            (Outcome::Inconclusive, why)
        }
        (Outcome::Successful | Outcome::Inconclusive, _) if value.is_absent() => {
            let hint = "where none means 0, let the query say `or vector(0)`";
            (Outcome::Inconclusive, format!("there is no value, and none is no pass; {hint}"))
        }
        decided => decided,
    };
    Measurement { outcome, value: Some(value.to_string()), message }
}

fn decide(
    value: &Value,
    success: Option<&Expression>,
    failure: Option<&Expression>,
) -> (Outcome, String) {
    let (success, failure) = match (asked(success, value), asked(failure, value)) {
        (Ok(success), Ok(failure)) => (success, failure),
        (Err(why), _) | (_, Err(why)) => return (Outcome::Error, why),
    };
    match (success, failure) {
        (_, Some((failure, true))) => (Outcome::Failed, format!("{failure} holds")),
        (Some((success, true)), _) => (Outcome::Successful, format!("{success} holds")),
        // With one condition alone what is not good is bad, but what is not there is neither.
        (Some((success, false)), None) if value.is_absent() => {
            (Outcome::Inconclusive, format!("{success} does not hold"))
        }
        (Some((success, false)), None) => (Outcome::Failed, format!("{success} does not hold")),
        (None, Some((failure, false))) => (Outcome::Successful, format!("{failure} does not hold")),
        (Some((success, false)), Some((failure, false))) => {
            (Outcome::Inconclusive, format!("neither {success} nor {failure} holds"))
        }
        (None, None) => (Outcome::Inconclusive, "there is no condition".to_owned()),
    }
}

/// Whether a condition holds, and which it is.
fn asked<'c>(
    condition: Option<&'c Expression>,
    value: &Value,
) -> Result<Option<(&'c str, bool)>, String> {
    let Some(condition) = condition else { return Ok(None) };
    match condition.holds(value) {
        Ok(holds) => Ok(Some((condition.text(), holds))),
        // A question about what is not there is not answered, and nobody is to blame.
        Err(error) if error.absent && value.is_absent() => Ok(Some((condition.text(), false))),
        Err(error) => Err(format!("cannot decide `{}`: {error}", condition.text())),
    }
}

#[cfg(test)]
mod tests;
