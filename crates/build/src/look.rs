//! One test on one shadow: the shadow it wants, and what was seen as clients get it.

use std::time::Duration;

use umbra_api::build::{Finding, Metric, TestResult};
use umbra_recipe::Recipe;
use umbra_shadow::ShadowSpec;
use umbra_shadow::provider::{Egress, Init, Limits, Network};
use umbra_state::Verdict;
use umbra_suite::check::security::Standing;
use umbra_suite::{Test, TestReport};

use crate::error::BuildError;

/// A shadow as a recipe wants them.
pub fn spec(name: String, recipe: &Recipe) -> ShadowSpec {
    let wanted = &recipe.shadows;
    let egress: Vec<Egress> =
        wanted.egress.iter().map(|to| Egress { address: to.ip(), port: to.port() }).collect();
    let limits = Limits {
        memory_bytes: wanted.memory,
        cpu_millis: wanted.cpus.map(|cpus| (cpus * 1000.0) as u32),
        pids: wanted.pids,
    };
    let network = if egress.is_empty() { Network::Fenced } else { Network::Egress(egress) };
    ShadowSpec {
        init: first_process(recipe.shadows.init),
        ..ShadowSpec::new(name, limits, network)
    }
}

/// A recipe's word for the first process in a provider's.
pub fn first_process(init: umbra_recipe::Init) -> Init {
    match init {
        umbra_recipe::Init::Services => Init::Small,
        umbra_recipe::Init::Systemd => Init::Systemd,
    }
}

/// A report for a test that could not begin: nobody looked.
pub fn unready(test: &Test, step: &str, error: &BuildError) -> TestReport {
    let output = match error {
        BuildError::Service { log, .. } => log.clone(),
        _ => String::new(),
    };
    TestReport {
        name: test.name.clone(),
        kind: test.kind,
        step: step.to_owned(),
        verdict: Verdict::Inconclusive,
        evidence: Vec::new(),
        error: Some(umbra_state::chain(error)),
        output,
        duration: Duration::ZERO,
        attempts: 0,
        metrics: Vec::new(),
        findings: Vec::new(),
        allow_failure: test.allow_failure,
    }
}

/// A report in the form clients get.
pub fn result_of(report: &TestReport, shadow: String) -> TestResult {
    TestResult {
        name: report.name.clone(),
        kind: report.kind,
        verdict: report.verdict,
        evidence: report.evidence.clone(),
        error: report.error.clone(),
        output: (!report.output.is_empty()).then(|| report.output.clone()),
        shadow,
        attempts: report.attempts,
        took_us: report.duration.as_micros() as u64,
        metrics: report
            .metrics
            .iter()
            .map(|metric| Metric {
                name: metric.name.clone(),
                value: metric.value,
                unit: metric.unit.clone(),
            })
            .collect(),
        findings: report
            .findings
            .iter()
            .map(|finding| Finding {
                rule: finding.rule.clone(),
                severity: finding.severity.to_string(),
                path: finding.path.clone(),
                line: finding.line,
                message: finding.message.clone(),
                advice: finding.advice.clone(),
                fingerprint: finding.fingerprint.clone(),
                baseline: finding.standing != Standing::New,
                allowed: match &finding.standing {
                    Standing::Allowed { reason } => Some(reason.clone()),
                    Standing::New | Standing::Baseline => None,
                },
            })
            .collect(),
    }
}
