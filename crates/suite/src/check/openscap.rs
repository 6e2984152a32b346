//! OpenSCAP: an XCCDF profile evaluated against a shadow's root by `oscap`.
//!
//! `oscap` of this machine runs in its offline mode, with the environment `oscap-chroot`
//! gives it; or, when asked, `oscap` runs inside the shadow. Either way the XCCDF results
//! are what is read.

use std::time::Instant;

use umbra_state::escape::escape;
use umbra_state::{Command, Evidence, Exit, Verdict};

use super::host_tool::{self, Scratch, Tool};
use super::security::{Raw, Severity, judge, outcome, settle};
use super::xml::{Item, Walk, XmlError};
use super::{Outcome, remaining};
use crate::report::{Metric, excerpt};
use crate::runner::Context;
use crate::target::{ProbeError, Target, root};

/// A profile of an XCCDF data stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenScapCheck {
    /// The data stream's path: of this machine, or of the shadow with `inside`.
    pub datastream: String,
    /// The profile's id; `None` is the default profile.
    pub profile: Option<String>,
    /// The least severity of a failed rule that fails, if the rule is new.
    pub fail_on: Severity,
    /// Whether to run `oscap` inside the shadow instead.
    pub inside: bool,
}

const TOOL: Tool = Tool { name: "oscap", package: "openscap-scanner" };
const RESULT_BYTES_MAX: u64 = 64 << 20;
const RULES_MAX: usize = 20_000;
/// Ids are compared for every piece of a title, so their length is bounded.
const RULE_ID_BYTES_MAX: usize = 1_000;

/// Where results go inside a shadow.
const INSIDE_RESULTS: &str = "/tmp/umbra-oscap-results.xml";

pub(super) fn look(
    check: &OpenScapCheck,
    target: &dyn Target,
    context: &Context<'_>,
    deadline: Instant,
) -> Result<Outcome, ProbeError> {
    let (xml, output) = match check.inside {
        true => inside(check, target, deadline)?,
        false => outside(check, target, deadline)?,
    };
    let results = parse(&xml).map_err(|error| ProbeError::Malformed {
        what: "the XCCDF results".to_owned(),
        detail: error.to_string(),
    })?;
    let mut outcome = report(check, context, &results);
    outcome.output = excerpt(&output);
    Ok(outcome)
}

fn arguments(check: &OpenScapCheck, results: &str) -> Vec<String> {
    let mut arguments = vec!["xccdf".to_owned(), "eval".to_owned()];
    if let Some(profile) = &check.profile {
        arguments.extend(["--profile".to_owned(), profile.clone()]);
    }
    arguments.extend(["--results".to_owned(), results.to_owned(), check.datastream.clone()]);
    arguments
}

fn outside(
    check: &OpenScapCheck,
    target: &dyn Target,
    deadline: Instant,
) -> Result<(Vec<u8>, Vec<u8>), ProbeError> {
    let scratch = Scratch::new()?;
    let directory = host_tool::directory_path(target.root());
    let ended = host_tool::run(
        &TOOL,
        |command| {
            command
                .args(arguments(check, &scratch.path()))
                .env("OSCAP_PROBE_ROOT", &directory)
                .env("OSCAP_EVALUATION_TARGET", "chroot:///");
        },
        deadline,
    )?;
    accept(ended.status.code(), &ended.output)?;
    Ok((scratch.read(RESULT_BYTES_MAX)?, ended.output))
}

fn inside(
    check: &OpenScapCheck,
    target: &dyn Target,
    deadline: Instant,
) -> Result<(Vec<u8>, Vec<u8>), ProbeError> {
    let mut argv = vec![TOOL.name.to_owned()];
    argv.extend(arguments(check, INSIDE_RESULTS));
    let output = target.run(&Command::new(argv).with_timeout(remaining(deadline)))?;
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    match output.exit {
        Exit::Code(127) => return Err(host_tool::missing(&TOOL)),
        Exit::Code(code) => accept(Some(code), &said)?,
        Exit::Signal(_) | Exit::TimedOut => accept(None, &said)?,
    }
    let xml = root::read_file(target.root(), INSIDE_RESULTS.as_bytes(), RESULT_BYTES_MAX)?;
    Ok((xml.unwrap_or_default(), said))
}

/// 0: every rule passed; 2: some rule did not; anything else: oscap itself failed.
fn accept(code: Option<i32>, said: &[u8]) -> Result<(), ProbeError> {
    match code {
        Some(0 | 2) => Ok(()),
        code => {
            let code = code.map_or("it was killed".to_owned(), |code| format!("exit code {code}"));
            let said: String = escape(said.trim_ascii()).to_string().chars().take(500).collect();
            Err(ProbeError::Tool { tool: TOOL.name.to_owned(), detail: format!("{code}: {said}") })
        }
    }
}

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

fn report(check: &OpenScapCheck, context: &Context<'_>, results: &[RuleResult]) -> Outcome {
    let count = |wanted: &[&str]| {
        results.iter().filter(|result| wanted.contains(&result.result.as_str())).count()
    };
    let (passed, failed) = (count(&["pass", "fixed"]), count(&["fail"]));
    let unclear = count(&["error", "unknown"]);
    let raws = results.iter().filter(|result| result.result == "fail").map(raw).collect();
    let findings = settle(raws, context.before.is_none(), context.baseline, |_| None);
    let mut evidence = judge(&findings, check.fail_on);
    let said = format!("{passed} rules passed, {failed} failed, {unclear} could not be evaluated");
    let verdict = match passed + failed {
        0 => Verdict::Inconclusive,
        _ => Verdict::Pass,
    };
    evidence.push(Evidence { subject: "rules".to_owned(), seen: said, expected: None, verdict });
    let mut outcome = outcome(findings, evidence, Vec::new());
    outcome.metrics.push(Metric::new("rules_passed", passed as f64, "count"));
    outcome.metrics.push(Metric::new("rules_failed", failed as f64, "count"));
    outcome
}

fn raw(result: &RuleResult) -> Raw {
    let id = escape(result.rule.as_bytes()).to_string();
    let short = id.rsplit("_rule_").next().unwrap_or(&id).to_owned();
    Raw {
        rule: format!("xccdf:{short}").into(),
        severity: result.severity,
        path: None,
        line: None,
        message: result.title.clone().unwrap_or_else(|| format!("the rule {short} failed")),
        advice: "see the rule's fix in the benchmark".into(),
        key: Vec::new(),
        was_there: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::DirTarget;
    use std::time::Duration;
    use umbra_state::Tree;

    const RESULTS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
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

    fn check(inside: bool) -> OpenScapCheck {
        OpenScapCheck {
            datastream: "/ds.xml".into(),
            profile: Some("standard".into()),
            fail_on: Severity::High,
            inside,
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

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

    #[test]
    fn a_scan_inside_the_shadow() {
        let dir = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir(dir.path().join("tmp")).expect("mkdir");
        std::fs::write(dir.path().join("tmp/umbra-oscap-results.xml"), RESULTS).expect("write");
        let target =
            DirTarget::new(dir.path()).expect("target").with_answer("oscap xccdf eval", 2, "", "");
        let before = Tree::empty();
        let context = Context { before: Some(&before), ..Context::default() };
        let outcome = look(&check(true), &target, &context, soon()).expect("looked");
        let verdicts: Vec<_> = outcome.evidence.iter().map(|seen| seen.verdict).collect();
        assert_eq!(verdicts, [Verdict::Fail, Verdict::Fail, Verdict::Pass]);
        assert_eq!(outcome.findings[0].rule, "xccdf:no_empty_passwords");
        let words = target.asked()[0].argv.join(" ");
        assert_eq!(
            words,
            "oscap xccdf eval --profile standard --results /tmp/umbra-oscap-results.xml /ds.xml"
        );
    }

    #[test]
    fn no_results_and_no_tool_are_not_a_pass() {
        let dir = tempfile::tempdir().expect("tempdir");
        let target = DirTarget::new(dir.path()).expect("target").with_answer("oscap", 127, "", "");
        let error = look(&check(true), &target, &Context::default(), soon()).expect_err("missing");
        assert!(error.to_string().contains("openscap-scanner"), "{error}");
        let target = DirTarget::new(dir.path()).expect("target").with_answer(
            "oscap",
            1,
            "",
            "no such profile",
        );
        let error = look(&check(true), &target, &Context::default(), soon()).expect_err("broke");
        assert_eq!(error.to_string(), "use `oscap`: exit code 1: no such profile");
        let nothing = report(&check(true), &Context::default(), &[]);
        assert!(nothing.evidence.iter().any(|seen| seen.verdict == Verdict::Inconclusive));
    }
}
