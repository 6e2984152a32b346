//! SARIF 2.1.0 for security findings, as code-scanning services read it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::TestReport;
use crate::check::security::{Finding, Severity, Standing};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The findings of all reports as one SARIF log. Findings that stand in the baseline or are
/// allowed are there too, as `baselineState: unchanged` and as suppressions.
pub fn sarif(reports: &[TestReport]) -> Result<String, serde_json::Error> {
    let findings: Vec<&Finding> = reports.iter().flat_map(|test| &test.findings).collect();
    let mut rules: BTreeMap<&str, Rule<'_>> = BTreeMap::new();
    for finding in &findings {
        rules.entry(&finding.rule).or_insert_with(|| Rule::new(finding));
    }
    let places: BTreeMap<&str, usize> =
        rules.keys().enumerate().map(|(index, rule)| (*rule, index)).collect();
    let results =
        findings.iter().map(|finding| Outcome::new(finding, places[&*finding.rule])).collect();
    let driver = Driver {
        name: "umbra",
        version: env!("CARGO_PKG_VERSION"),
        rules: rules.into_values().collect(),
    };
    let run = Run { tool: Tool { driver }, column_kind: "unicodeCodePoints", results };
    serde_json::to_string_pretty(&Log { schema: SCHEMA, version: "2.1.0", runs: [run] })
}

#[derive(Serialize)]
struct Log<'a> {
    #[serde(rename = "$schema")]
    schema: &'a str,
    version: &'a str,
    runs: [Run<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    tool: Tool<'a>,
    column_kind: &'a str,
    results: Vec<Outcome<'a>>,
}

#[derive(Serialize)]
struct Tool<'a> {
    driver: Driver<'a>,
}

#[derive(Serialize)]
struct Driver<'a> {
    name: &'a str,
    version: &'a str,
    rules: Vec<Rule<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule<'a> {
    id: &'a str,
    short_description: Text<'a>,
    help: Text<'a>,
    properties: RuleProperties<'a>,
}

#[derive(Serialize)]
struct RuleProperties<'a> {
    /// What code-scanning services sort by.
    #[serde(rename = "security-severity")]
    security_severity: &'a str,
    tags: [&'a str; 1],
}

impl<'a> Rule<'a> {
    fn new(finding: &'a Finding) -> Self {
        let security_severity = match finding.severity {
            Severity::Critical => "9.5",
            Severity::High => "8.0",
            Severity::Medium => "5.5",
            Severity::Low => "2.0",
        };
        Self {
            id: &finding.rule,
            short_description: Text { text: &finding.rule },
            help: Text { text: &finding.advice },
            properties: RuleProperties { security_severity, tags: ["security"] },
        }
    }
}

#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome<'a> {
    rule_id: &'a str,
    rule_index: usize,
    level: &'a str,
    message: Text<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    locations: Vec<Location>,
    partial_fingerprints: BTreeMap<&'a str, &'a str>,
    baseline_state: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    suppressions: Vec<Suppression<'a>>,
}

impl<'a> Outcome<'a> {
    fn new(finding: &'a Finding, rule_index: usize) -> Self {
        let level = match finding.severity {
            Severity::Critical | Severity::High => "error",
            Severity::Medium => "warning",
            Severity::Low => "note",
        };
        let suppressions = match &finding.standing {
            Standing::Allowed { reason } => {
                vec![Suppression { kind: "external", justification: reason }]
            }
            Standing::New | Standing::Baseline => Vec::new(),
        };
        let baseline_state =
            if finding.standing == Standing::Baseline { "unchanged" } else { "new" };
        Self {
            rule_id: &finding.rule,
            rule_index,
            level,
            message: Text { text: &finding.message },
            locations: finding.path.iter().map(|path| Location::new(path, finding.line)).collect(),
            partial_fingerprints: BTreeMap::from([("umbraFinding/v1", &*finding.fingerprint)]),
            baseline_state,
            suppressions,
        }
    }
}

#[derive(Serialize)]
struct Suppression<'a> {
    kind: &'a str,
    justification: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: PhysicalLocation,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: Artifact,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
}

#[derive(Serialize)]
struct Artifact {
    uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u64,
}

impl Location {
    fn new(path: &str, line: Option<u64>) -> Self {
        let region = line.map(|start_line| Region { start_line });
        let artifact_location = Artifact { uri: uri(path) };
        Self { physical_location: PhysicalLocation { artifact_location, region } }
    }
}

/// A relative URI reference: everything but unreserved characters and slashes is encoded.
fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.trim_start_matches('/').bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;
    use umbra_state::Verdict;

    fn finding(rule: &str, standing: Standing) -> Finding {
        Finding {
            rule: rule.into(),
            severity: Severity::High,
            path: Some("/usr/bin/näme x".into()),
            line: Some(3),
            message: "it is setuid".into(),
            advice: "chmod u-s".into(),
            fingerprint: format!("{rule}-1"),
            standing,
        }
    }

    #[test]
    fn a_log_has_rules_results_locations_and_fingerprints() {
        let mut test = report("scan", Verdict::Fail);
        test.findings = vec![
            finding("setuid-file", Standing::New),
            finding("private-key", Standing::Baseline),
            finding("setuid-file", Standing::Allowed { reason: "ping needs it".into() }),
        ];
        let log: serde_json::Value =
            serde_json::from_str(&sarif(&[test]).expect("sarif")).expect("json");
        let run = &log["runs"][0];
        assert_eq!(log["version"], "2.1.0");
        assert_eq!(run["tool"]["driver"]["rules"].as_array().map(Vec::len), Some(2));
        assert_eq!(run["tool"]["driver"]["rules"][1]["id"], "setuid-file");
        let first = &run["results"][0];
        assert_eq!(first["ruleIndex"], 1);
        assert_eq!(first["level"], "error");
        assert_eq!(first["partialFingerprints"]["umbraFinding/v1"], "setuid-file-1");
        let place = &first["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "usr/bin/n%C3%A4me%20x");
        assert_eq!(place["region"]["startLine"], 3);
        assert_eq!(run["results"][1]["baselineState"], "unchanged");
        assert_eq!(run["results"][2]["suppressions"][0]["justification"], "ping needs it");
    }

    #[test]
    fn nothing_found_is_still_a_log() {
        let log: serde_json::Value =
            serde_json::from_str(&sarif(&[]).expect("sarif")).expect("json");
        assert_eq!(log["runs"][0]["results"].as_array().map(Vec::len), Some(0));
    }
}
