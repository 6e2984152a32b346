//! OpenSCAP: an XCCDF profile evaluated by `oscap` inside a shadow.
//!
//! `oscap` can also look at a directory from outside, but then follows the links it finds
//! there as links of this machine and reads hostile files with the rights of the daemon. So a
//! shadow without `oscap` gets this machine's copy, and the content to evaluate, for the time
//! of the test. The XCCDF results are what is read.

mod content;
mod machine;
mod results;

use std::path::Path;
use std::time::Instant;

use umbra_state::escape::escape;
use umbra_state::{Command, Evidence, Exit, Verdict};

use super::host_tool::Tool;
use super::security::{Raw, Severity, judge, outcome, settle};
use super::{Outcome, remaining};
use crate::report::{Metric, excerpt};
use crate::runner::Context;
use crate::target::{ProbeError, Target, root};

pub use results::{RuleResult, parse};

/// A profile of an XCCDF benchmark or data stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenScapCheck {
    /// The benchmark's path: of this machine, or of the shadow with `inside`.
    pub datastream: String,
    /// The profile's id; `None` is the default profile.
    pub profile: Option<String>,
    /// The least severity of a failed rule that fails, if the rule is new.
    pub fail_on: Severity,
    /// Whether the benchmark is a file of the shadow.
    pub inside: bool,
}

const TOOL: Tool = Tool { name: "oscap", package: "openscap-scanner" };
const RESULT_BYTES_MAX: u64 = 64 << 20;

/// Where this machine's `oscap` goes in a shadow that has none.
const CARRIED: &str = "/tmp/umbra-oscap";
/// Where a benchmark of this machine goes.
const CONTENT: &str = "/tmp/umbra-xccdf";
const RESULTS: &str = "/tmp/umbra-oscap-results.xml";

pub(super) fn look(
    check: &OpenScapCheck,
    target: &dyn Target,
    context: &Context<'_>,
    deadline: Instant,
) -> Result<Outcome, ProbeError> {
    look_with(check, target, context, deadline, Path::new("/"))
}

/// Looks, taking `oscap` from below `machine` where the shadow has none.
fn look_with(
    check: &OpenScapCheck,
    target: &dyn Target,
    context: &Context<'_>,
    deadline: Instant,
    machine: &Path,
) -> Result<Outcome, ProbeError> {
    let benchmark = match check.inside {
        true => check.datastream.clone(),
        false => content::carry(Path::new(&check.datastream), target, deadline)?,
    };
    let eval = |program: Command| {
        let command = Command { argv: arguments(check, program.argv, &benchmark), ..program };
        target.run(&command.with_timeout(remaining(deadline)))
    };
    let mut output = eval(Command::new([TOOL.name]))?;
    if output.exit == Exit::Code(127) {
        output = eval(machine::carry(machine, target, deadline)?)?;
    }
    let mut said = [output.stdout.as_slice(), &output.stderr].concat();
    // It puts one before each tab, for the sake of a terminal.
    said.retain(|byte| *byte != b'\r');
    accept(output.exit, &said)?;
    let xml = root::read_file(target.root(), RESULTS.as_bytes(), RESULT_BYTES_MAX)?;
    let results = parse(&xml.unwrap_or_default()).map_err(|error| ProbeError::Malformed {
        what: "the XCCDF results".to_owned(),
        detail: error.to_string(),
    })?;
    let mut outcome = report(check, context, &results);
    outcome.output = excerpt(&said);
    Ok(outcome)
}

/// The benchmark is the recipe's and no better for being validated each time, which takes
/// schemas that are as large as everything else together.
fn arguments(check: &OpenScapCheck, program: Vec<String>, benchmark: &str) -> Vec<String> {
    let mut arguments = program;
    arguments.extend(["xccdf", "eval", "--skip-validation"].map(str::to_owned));
    if let Some(profile) = &check.profile {
        arguments.extend(["--profile".to_owned(), profile.clone()]);
    }
    arguments.extend(["--results".to_owned(), RESULTS.to_owned(), benchmark.to_owned()]);
    arguments
}

/// 0: every rule passed; 2: some rule did not; anything else: oscap itself failed.
fn accept(exit: Exit, said: &[u8]) -> Result<(), ProbeError> {
    if matches!(exit, Exit::Code(0 | 2)) {
        return Ok(());
    }
    let said: String = escape(said.trim_ascii()).to_string().chars().take(500).collect();
    Err(ProbeError::Tool { tool: TOOL.name.to_owned(), detail: format!("{exit}: {said}") })
}

fn report(check: &OpenScapCheck, context: &Context<'_>, results: &[RuleResult]) -> Outcome {
    let count = |wanted: &[&str]| {
        results.iter().filter(|result| wanted.contains(&result.result.as_str())).count()
    };
    let (passed, failed) = (count(&["pass", "fixed"]), count(&["fail"]));
    let unclear = count(&["error", "unknown"]);
    let raws = results.iter().filter(|result| result.result == "fail").map(raw).collect();
    let findings = settle(raws, context.baseline.is_none(), context.baseline, |_| None);
    let mut evidence = judge(&findings, check.fail_on);
    let (elsewhere, unchecked) = (count(&["notapplicable"]), count(&["notchecked"]));
    let said = format!(
        "{passed} rules passed, {failed} failed, {unclear} could not be evaluated, \
         {elsewhere} do not apply to this system, {unchecked} have no check"
    );
    let verdict = match (passed + failed, unclear) {
        (1.., 0) => Verdict::Pass,
        _ => Verdict::Inconclusive,
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
    use super::results::tests::RESULTS as SAMPLE;
    use super::*;
    use crate::check::security::Baseline;
    use crate::target::DirTarget;
    use std::time::Duration;

    fn check() -> OpenScapCheck {
        OpenScapCheck {
            datastream: "/ds.xml".into(),
            profile: Some("standard".into()),
            fail_on: Severity::High,
            inside: true,
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn a_scan_inside_the_shadow() {
        let dir = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir(dir.path().join("tmp")).expect("mkdir");
        std::fs::write(dir.path().join("tmp/umbra-oscap-results.xml"), SAMPLE).expect("write");
        let target =
            DirTarget::new(dir.path()).expect("target").with_answer("oscap xccdf eval", 2, "", "");
        let baseline = Baseline::default();
        let context = Context { baseline: Some(&baseline), ..Context::default() };
        let outcome = look(&check(), &target, &context, soon()).expect("looked");
        let verdicts: Vec<_> = outcome.evidence.iter().map(|seen| seen.verdict).collect();
        assert_eq!(verdicts, [Verdict::Fail, Verdict::Fail, Verdict::Pass]);
        assert_eq!(outcome.findings[0].rule, "xccdf:no_empty_passwords");
        let words = target.asked()[0].argv.join(" ");
        assert_eq!(
            words,
            "oscap xccdf eval --skip-validation --profile standard --results \
             /tmp/umbra-oscap-results.xml /ds.xml"
        );
    }

    #[test]
    fn no_results_and_no_tool_are_not_a_pass() {
        let (dir, machine) =
            (tempfile::tempdir().expect("tempdir"), tempfile::tempdir().expect("tempdir"));
        let target = DirTarget::new(dir.path()).expect("target").with_answer("oscap", 127, "", "");
        let look = |target: &DirTarget| {
            look_with(&check(), target, &Context::default(), soon(), machine.path())
        };
        let error = look(&target).expect_err("missing");
        assert!(error.to_string().contains("openscap-scanner"), "{error}");
        let target = DirTarget::new(dir.path()).expect("target");
        let target = target.with_answer("oscap", 1, "", "no such profile");
        let error = look(&target).expect_err("broke");
        assert_eq!(error.to_string(), "use `oscap`: exit code 1: no such profile");
    }

    #[test]
    fn rules_that_said_nothing_are_no_pass() {
        let result = |result: &str| RuleResult {
            rule: "r".into(),
            title: None,
            result: result.into(),
            severity: Severity::Low,
        };
        for (words, verdict) in [
            (&["pass"][..], Verdict::Pass),
            (&[], Verdict::Inconclusive),
            (&["notapplicable", "notselected"], Verdict::Inconclusive),
            (&["pass", "error"], Verdict::Inconclusive),
        ] {
            let results: Vec<_> = words.iter().map(|word| result(word)).collect();
            let outcome = report(&check(), &Context::default(), &results);
            let seen = outcome.evidence.iter().map(|seen| seen.verdict);
            assert_eq!(Verdict::combine(seen), verdict, "{words:?}");
        }
    }
}
