//! Results of tests as files that CI systems read.

use std::path::Path;
use std::time::Duration;

use umbra_api::build::{Finding, TestResult};
use umbra_suite::check::security;
use umbra_suite::report::{self, TestReport};

use crate::args::Reports;
use crate::error::{CliError, Finish};
use crate::screen::model::Model;

/// Refuses reports that could not be written, before a build spends its time.
pub(super) fn check_places(args: &Reports) -> Result<(), CliError> {
    for path in [&args.junit, &args.sarif].into_iter().flatten() {
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        if parent.is_some_and(|parent| !parent.is_dir()) || path.is_dir() {
            let message = format!("write a report to {}", path.display());
            return Err(CliError::new(Finish::Usage, message)
                .with_hint("name a file in a directory that exists"));
        }
    }
    Ok(())
}

/// Writes what was asked for.
pub(super) fn write(model: &Model, args: &Reports) -> Result<(), CliError> {
    let reports: Vec<TestReport> = model
        .results
        .iter()
        .map(|(step, result)| report_of(&model.step_name(*step), result))
        .collect();
    if let Some(path) = &args.junit {
        write_file(path, &junit(&model.name, &reports)?)?;
    }
    if let Some(path) = &args.sarif {
        write_file(path, &sarif(&reports)?)?;
    }
    Ok(())
}

/// JUnit XML.
pub(super) fn junit(name: &str, reports: &[TestReport]) -> Result<String, CliError> {
    report::junit(name, reports)
        .map_err(|error| CliError::because(Finish::Bug, "write JUnit XML", &error))
}

/// SARIF.
pub(super) fn sarif(reports: &[TestReport]) -> Result<String, CliError> {
    report::sarif(reports).map_err(|error| CliError::because(Finish::Bug, "write SARIF", &error))
}

fn write_file(path: &Path, text: &str) -> Result<(), CliError> {
    std::fs::write(path, text).map_err(|error| {
        CliError::because(Finish::Environment, format!("write {}", path.display()), &error)
    })
}

/// A result from the wire as the reports' own type.
pub(super) fn report_of(step: &str, result: &TestResult) -> TestReport {
    let metrics = result.metrics.iter().map(|metric| report::Metric {
        name: metric.name.clone(),
        value: metric.value,
        unit: metric.unit.clone(),
    });
    TestReport {
        name: result.name.clone(),
        kind: result.kind,
        step: step.to_owned(),
        verdict: result.verdict,
        evidence: result.evidence.clone(),
        error: result.error.clone(),
        output: result.output.clone().unwrap_or_default(),
        duration: Duration::from_micros(result.took_us),
        attempts: result.attempts,
        metrics: metrics.collect(),
        findings: result.findings.iter().map(finding).collect(),
        allow_failure: false,
    }
}

fn finding(finding: &Finding) -> security::Finding {
    let path = finding.path.as_deref().unwrap_or_default();
    security::Finding {
        rule: finding.rule.clone(),
        severity: severity(&finding.severity),
        path: finding.path.clone(),
        line: finding.line,
        message: finding.message.clone(),
        advice: finding.advice.clone(),
        fingerprint: match finding.fingerprint.as_str() {
            "" => format!("{}:{path}", finding.rule),
            known => known.to_owned(),
        },
        standing: match (&finding.allowed, finding.baseline) {
            (Some(reason), _) => security::Standing::Allowed { reason: reason.clone() },
            (None, true) => security::Standing::Baseline,
            (None, false) => security::Standing::New,
        },
    }
}

/// A severity this client does not know is taken for the worst.
fn severity(text: &str) -> security::Severity {
    serde_json::from_value(text.into()).unwrap_or(security::Severity::Critical)
}
