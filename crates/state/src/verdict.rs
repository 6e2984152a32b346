//! Judgements and what they rest on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The outcome of judging something.
///
/// The order is the order of combination: `Fail > Inconclusive > Pass`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Looked, and it is good.
    Pass,
    /// Could not look, or saw too little to say.
    Inconclusive,
    /// Looked, and it is bad.
    Fail,
}

impl Verdict {
    /// The worst of several verdicts; of none, `Inconclusive`: no evidence is never a pass.
    pub fn combine(verdicts: impl IntoIterator<Item = Self>) -> Self {
        verdicts.into_iter().max().unwrap_or(Self::Inconclusive)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
        })
    }
}

/// One thing that was seen and speaks for a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was looked at: a command line, a URL, a path, a metric.
    pub subject: String,
    /// What was seen there, in words a person understands.
    pub seen: String,
    /// What would have been good, if that adds anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What this one observation says.
    pub verdict: Verdict,
}

/// What a test is about; it decides when it runs and how its result is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TestKind {
    /// One part by itself.
    Unit,
    /// Parts together.
    Integration,
    /// Speed and capacity under load.
    Performance,
    /// Exposure: permissions, secrets, ports, accounts.
    Security,
}

impl TestKind {
    /// All kinds, in the order in which reports list them.
    pub const ALL: [Self; 4] = [Self::Unit, Self::Integration, Self::Performance, Self::Security];
}

impl fmt::Display for TestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unit => "unit",
            Self::Integration => "integration",
            Self::Performance => "performance",
            Self::Security => "security",
        })
    }
}

impl FromStr for TestKind {
    type Err = UnknownTestKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.to_string() == text)
            .ok_or_else(|| UnknownTestKind(text.chars().take(40).collect()))
    }
}

/// A text that names no kind of test.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected unit, integration, performance or security, got {0:?}")]
pub struct UnknownTestKind(String);

#[cfg(test)]
mod tests {
    use super::Verdict::{self, Fail, Inconclusive, Pass};

    #[track_caller]
    fn check(verdicts: &[Verdict], combined: Verdict) {
        assert_eq!(Verdict::combine(verdicts.iter().copied()), combined);
    }

    #[test]
    fn the_worst_decides_and_nothing_is_no_pass() {
        check(&[], Inconclusive);
        check(&[Pass, Pass], Pass);
        check(&[Pass, Inconclusive], Inconclusive);
        check(&[Inconclusive, Fail, Pass], Fail);
    }
}
