//! What a test saw, and how that is written for people and machines.

mod annotations;
mod junit;
mod sarif;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use umbra_state::escape::escape_output;
use umbra_state::{Evidence, TestKind, Verdict};

use crate::check::security::Finding;

pub use annotations::annotations;
pub use junit::{JunitError, junit};
pub use sarif::sarif;

/// How much of a program's output a report keeps.
pub const OUTPUT_CHARS_MAX: usize = 16 * 1024;

/// How many observations a report lists; what is beyond is counted in a last one.
pub const EVIDENCE_MAX: usize = 1000;

/// What one test saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestReport {
    /// The test's name.
    pub name: String,
    /// What it is about.
    pub kind: TestKind,
    /// The step after which it ran.
    pub step: String,
    /// What it says. `Inconclusive` when somebody could not look.
    pub verdict: Verdict,
    /// What was seen.
    pub evidence: Vec<Evidence>,
    /// Why somebody could not look, if that happened; reads on after "failed to".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The beginning and end of what was printed, escaped.
    pub output: String,
    /// All attempts together.
    pub duration: Duration,
    /// How often it was tried.
    pub attempts: u32,
    /// What was measured in the last attempt.
    pub metrics: Vec<Metric>,
    /// What a security scan found in the last attempt.
    pub findings: Vec<Finding>,
    /// Whether a `Fail` halts the build.
    pub allow_failure: bool,
}

impl TestReport {
    /// Whether this verdict must halt a build: everything but a `Pass`, unless the test may
    /// fail.
    pub fn halts(&self) -> bool {
        self.verdict != Verdict::Pass && !self.allow_failure
    }

    /// The observations that speak against the shadow, worst first.
    pub fn against(&self) -> impl Iterator<Item = &Evidence> {
        let of = |verdict| self.evidence.iter().filter(move |seen| seen.verdict == verdict);
        of(Verdict::Fail).chain(of(Verdict::Inconclusive))
    }

    /// One line saying why the verdict is what it is.
    pub fn summary(&self) -> String {
        if self.verdict == Verdict::Fail
            && let Some(seen) = self.against().next()
        {
            return sentence(seen);
        }
        match (&self.error, self.against().next()) {
            (Some(error), _) => format!("failed to {error}"),
            (None, Some(seen)) => sentence(seen),
            (None, None) => format!("{} observations are good", self.evidence.len()),
        }
    }
}

/// One observation as a sentence.
pub fn sentence(evidence: &Evidence) -> String {
    match &evidence.expected {
        Some(expected) => {
            format!("{}: {}, expected {expected}", evidence.subject, evidence.seen)
        }
        None => format!("{}: {}", evidence.subject, evidence.seen),
    }
}

/// One measured number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name, for instance `p99`.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Its unit: `ms`, `1/s`, `%`, `count`.
    pub unit: String,
}

impl Metric {
    /// A number with its unit.
    pub fn new(name: impl Into<String>, value: f64, unit: &str) -> Self {
        Self { name: name.into(), value, unit: unit.to_owned() }
    }
}

/// Outside output made safe and short: escaped, and when it is long its middle is replaced
/// by a line saying how much is missing.
pub fn excerpt(bytes: &[u8]) -> String {
    let text = escape_output(bytes).to_string();
    if text.len() <= OUTPUT_CHARS_MAX {
        return text;
    }
    let head = floor_boundary(&text, OUTPUT_CHARS_MAX / 2);
    let tail = floor_boundary(&text, text.len() - OUTPUT_CHARS_MAX / 2);
    format!("{}\n... {} bytes left out ...\n{}", &text[..head], tail - head, &text[tail..])
}

fn floor_boundary(text: &str, mut index: usize) -> usize {
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// The reports as a JSON array.
pub fn json(reports: &[TestReport]) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(reports)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn report(name: &str, verdict: Verdict) -> TestReport {
        let evidence = Evidence {
            subject: "GET /".into(),
            seen: "status 502".into(),
            expected: Some("status 200".into()),
            verdict,
        };
        TestReport {
            name: name.into(),
            kind: TestKind::Integration,
            step: "config".into(),
            verdict,
            evidence: vec![evidence],
            error: None,
            output: "out".into(),
            duration: Duration::from_millis(1500),
            attempts: 1,
            metrics: vec![Metric::new("p99", 12.5, "ms")],
            findings: Vec::new(),
            allow_failure: false,
        }
    }

    #[test]
    fn json_round_trips() {
        let reports = [report("a", Verdict::Pass), report("b", Verdict::Fail)];
        let text = json(&reports).expect("json");
        let back: Vec<TestReport> = serde_json::from_str(&text).expect("parse");
        assert_eq!(back, reports);
    }

    #[test]
    fn only_a_pass_lets_the_build_run_on() {
        assert!(!report("a", Verdict::Pass).halts());
        assert!(report("a", Verdict::Fail).halts());
        assert!(report("a", Verdict::Inconclusive).halts());
        let allowed = TestReport { allow_failure: true, ..report("a", Verdict::Fail) };
        assert!(!allowed.halts());
    }

    #[test]
    fn summaries_name_the_reason() {
        let fail = report("a", Verdict::Fail);
        assert_eq!(fail.summary(), "GET /: status 502, expected status 200");
        let mut error = report("a", Verdict::Inconclusive);
        error.error = Some("connect".into());
        assert_eq!(error.summary(), "failed to connect");
    }

    #[test]
    fn long_output_keeps_both_ends() {
        let mut bytes = vec![b'a'; 100_000];
        bytes.extend_from_slice("ä\x1b[2Jend".as_bytes());
        let text = excerpt(&bytes);
        assert!(text.len() < OUTPUT_CHARS_MAX + 100);
        assert!(text.starts_with("aaa") && text.ends_with("\\u{1b}[2Jend"), "{}", &text[16_000..]);
        assert!(text.contains("bytes left out"));
        assert_eq!(excerpt(b"short"), "short");
    }
}
