//! Findings, how bad they are, and whether they are new.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use umbra_state::escape::escape;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Worth fixing.
    Medium,
    /// Helps an attacker who has a foothold.
    High,
    /// Is a foothold.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

/// A text that names no severity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected low, medium, high or critical, got {0:?}")]
pub struct UnknownSeverity(String);

impl FromStr for Severity {
    type Err = UnknownSeverity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Low, Self::Medium, Self::High, Self::Critical]
            .into_iter()
            .find(|severity| severity.to_string() == text)
            .ok_or_else(|| UnknownSeverity(text.chars().take(40).collect()))
    }
}

/// Something an attacker could use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule that found it, for instance `setuid-file`.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// Where, escaped, with a leading slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Which line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What was found, never the secret itself.
    pub message: String,
    /// What to do about it.
    pub advice: String,
    /// The same for the same finding in every state.
    pub fingerprint: String,
    /// Whether it counts.
    pub standing: Standing,
}

/// Whether a finding counts against a delta.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The delta added it.
    New,
    /// It was there before.
    Baseline,
    /// Somebody accepted it.
    Allowed {
        /// Why.
        reason: String,
    },
}

/// The findings known from earlier states, by fingerprint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    fingerprints: BTreeSet<String>,
}

impl Baseline {
    /// Takes up everything a scan found, so that the next one does not call it new.
    pub fn add(&mut self, findings: &[Finding]) {
        self.fingerprints.extend(findings.iter().map(|finding| finding.fingerprint.clone()));
    }

    /// Takes up what another one knows.
    pub fn join(&mut self, other: &Self) {
        self.fingerprints.extend(other.fingerprints.iter().cloned());
    }

    fn knows(&self, fingerprint: &str) -> bool {
        self.fingerprints.contains(fingerprint)
    }
}

/// A finding before anybody asked whether it is new.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub(crate) rule: Cow<'static, str>,
    pub(crate) severity: Severity,
    /// Raw, without a leading slash.
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) line: Option<u64>,
    pub(crate) message: String,
    pub(crate) advice: Cow<'static, str>,
    /// What tells it from others of its rule at its path, beyond the line; it is hashed, so
    /// it may be a secret.
    pub(crate) key: Vec<u8>,
    /// Whether the state before had it, as far as the trees tell.
    pub(crate) was_there: bool,
}

/// Gives every finding its standing; a finding that is there twice is kept once.
pub(crate) fn settle(
    raws: Vec<Raw>,
    first: bool,
    baseline: Option<&Baseline>,
    allowed: impl Fn(&Raw) -> Option<String>,
) -> Vec<Finding> {
    let mut known = BTreeSet::new();
    let mut findings = Vec::new();
    for raw in raws {
        let fingerprint = fingerprint(&raw);
        if !known.insert(fingerprint.clone()) {
            continue;
        }
        let old =
            first || raw.was_there || baseline.is_some_and(|baseline| baseline.knows(&fingerprint));
        let standing = match allowed(&raw) {
            Some(reason) => Standing::Allowed { reason },
            None if old => Standing::Baseline,
            None => Standing::New,
        };
        findings.push(Finding {
            path: raw.path.map(|path| format!("/{}", escape(&path))),
            rule: raw.rule.into_owned(),
            severity: raw.severity,
            line: raw.line,
            message: raw.message,
            advice: raw.advice.into_owned(),
            fingerprint,
            standing,
        });
    }
    findings
}

fn fingerprint(raw: &Raw) -> String {
    let mut hasher = Sha256::new();
    let path = raw.path.as_deref().unwrap_or_default();
    for part in [raw.rule.as_bytes(), path, &raw.key] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
