//! The ways to look at a shadow.
//!
//! Every check has the same shape: `(specification, target, context, deadline)` in,
//! an outcome or a [`ProbeError`] out. An error that concerns only a part of a check is kept
//! in the outcome beside what was seen elsewhere.

mod carry;
pub mod goss;
mod host_tool;
pub mod http;
pub mod junit_in;
pub mod load;
pub mod lynis;
pub mod openscap;
pub mod run;
pub mod security;
pub mod tap;
mod xml;

use std::time::{Duration, Instant};

use umbra_state::{Evidence, Verdict};

use crate::report::Metric;
use crate::runner::Context;
use crate::spec::Check;
use crate::target::{ProbeError, Target};
use security::Finding;

/// What one attempt saw.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) evidence: Vec<Evidence>,
    /// Why parts could not be looked at; each reads on after "failed to".
    pub(crate) errors: Vec<String>,
    pub(crate) output: String,
    pub(crate) metrics: Vec<Metric>,
    pub(crate) findings: Vec<Finding>,
}

/// Looks once.
pub(crate) fn look(
    check: &Check,
    target: &dyn Target,
    context: &Context<'_>,
    deadline: Instant,
) -> Result<Outcome, ProbeError> {
    match check {
        Check::Run(check) => run::look(check, target, deadline),
        Check::Http(check) => http::look(check, target, deadline),
        Check::Goss(file) => Ok(goss::look(file, target, context, deadline)),
        Check::Load(check) => load::look(check, target, context, deadline),
        Check::Security(check) => security::look(check, target, context, deadline),
        Check::OpenScap(check) => openscap::look(check, target, context, deadline),
        Check::Lynis(check) => lynis::look(check, target, context, deadline),
    }
}

/// An observation that is good or bad.
pub(crate) fn seen(
    good: bool,
    subject: impl Into<String>,
    seen: impl Into<String>,
    expected: Option<String>,
) -> Evidence {
    let verdict = if good { Verdict::Pass } else { Verdict::Fail };
    Evidence { subject: subject.into(), seen: seen.into(), expected, verdict }
}

/// How long is left, and never nothing: a limit of zero would mean none to some callers.
pub(crate) fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}
