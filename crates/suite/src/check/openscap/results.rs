//! XCCDF results, as `oscap xccdf eval` writes them.

use umbra_state::escape::escape;

use crate::check::security::Severity;
use crate::check::xml::{Item, Walk, XmlError};

const RULES_MAX: usize = 20_000;
/// Ids are compared for every piece of a title, so their length is bounded.
const RULE_ID_BYTES_MAX: usize = 1_000;

/// What became of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleResult {
    /// The rule's id.
    pub rule: String,
    /// Its title, if the results hold the benchmark.
    pub title: Option<String>,
    /// `pass`, `fail`, `error`, `unknown`, `notapplicable`, `notchecked`, `notselected`,
    /// `informational` or `fixed`.
    pub result: String,
    /// As the rule says; `Medium` where it does not.
    pub severity: Severity,
}

/// Reads XCCDF results: every `rule-result` of the document, in its order.
pub fn parse(bytes: &[u8]) -> Result<Vec<RuleResult>, XmlError> {
    let mut walk = Walk::new(bytes)?;
    let mut titles = std::collections::BTreeMap::new();
    let mut results: Vec<RuleResult> = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut rule = None;
    while let Some(item) = walk.next()? {
        match &item {
            Item::Open { name, .. } => {
                match name.as_str() {
                    "Rule" => rule = item.attribute("id").map(str::to_owned),
                    "rule-result" => results.push(started(&item)),
                    _ => {}
                }
                let newest = [rule.as_ref(), results.last().map(|result| &result.rule)];
                if newest.into_iter().flatten().any(|id| id.len() > RULE_ID_BYTES_MAX) {
                    let limit = format!("a rule's id has more than {RULE_ID_BYTES_MAX} bytes");
                    return Err(walk.unexpected(limit));
                }
                path.push(name.clone());
                if results.len() > RULES_MAX {
                    return Err(walk.unexpected(format!("more than {RULES_MAX} rules")));
                }
            }
            Item::Close { .. } => drop(path.pop()),
            Item::Text(text) => {
                let place = path.as_slice();
                if let ([.., parent, own], Some(rule)) = (place, &rule)
                    && parent == "Rule"
                    && own == "title"
                {
                    titles.entry(rule.clone()).or_insert_with(String::new).push_str(text);
                }
                if let ([.., parent, own], Some(last)) = (place, results.last_mut())
                    && parent == "rule-result"
                    && own == "result"
                {
                    last.result.push_str(text.trim());
                }
            }
        }
    }
    for result in &mut results {
        let title =
            titles.get(&result.rule).map(|title| escape(title.trim().as_bytes()).to_string());
        result.title = title.map(|title| title.chars().take(300).collect());
    }
    Ok(results)
}

fn started(item: &Item) -> RuleResult {
    let severity = match item.attribute("severity") {
        Some("high") => Severity::High,
        Some("low" | "info") => Severity::Low,
        _ => Severity::Medium,
    };
    let rule = item.attribute("idref").unwrap_or_default().to_owned();
    RuleResult { rule, title: None, result: String::new(), severity }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::check::openscap) const RESULTS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<Benchmark xmlns="http://checklists.nist.gov/xccdf/1.2" id="xccdf_org.test_benchmark_B">
  <Group id="g"><Rule id="xccdf_org.test_rule_no_empty_passwords" severity="high">
    <title>No account has an empty password</title></Rule>
  <Rule id="xccdf_org.test_rule_motd" severity="low"><title>A banner is there</title></Rule></Group>
  <TestResult id="t" end-time="2026-01-01T00:00:00">
    <title>OSCAP Scan Result</title>
    <rule-result idref="xccdf_org.test_rule_no_empty_passwords" severity="high" weight="1.0">
      <result>fail</result><check system="s"><check-content-ref href="x" name="y"/></check>
    </rule-result>
    <rule-result idref="xccdf_org.test_rule_motd" severity="low"><result>pass</result></rule-result>
    <rule-result idref="xccdf_org.test_rule_other"><result>notapplicable</result></rule-result>
    <score system="urn:xccdf:scoring:default" maximum="100.0">50.0</score>
  </TestResult>
</Benchmark>"#;

    #[test]
    fn long_ids_are_refused() {
        let id = "r".repeat(1 << 20);
        for (open, close) in [("<Rule id", "</Rule>"), ("<rule-result idref", "</rule-result>")] {
            let title = "&amp;".repeat(10);
            let xml = format!("<a>{open}='{id}'><title>{title}</title>{close}</a>");
            let error = parse(xml.as_bytes()).expect_err(open).to_string();
            assert!(error.ends_with("a rule's id has more than 1000 bytes"), "{error}");
        }
    }

    #[test]
    fn results_are_read() {
        let results = parse(RESULTS.as_bytes()).expect("parse");
        let shown: Vec<_> = results
            .iter()
            .map(|one| (one.result.as_str(), one.severity, one.title.as_deref()))
            .collect();
        assert_eq!(
            shown,
            [
                ("fail", Severity::High, Some("No account has an empty password")),
                ("pass", Severity::Low, Some("A banner is there")),
                ("notapplicable", Severity::Medium, None),
            ]
        );
    }
}
