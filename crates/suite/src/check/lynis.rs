//! lynis: an audit made inside a shadow, and its report read.
//!
//! lynis runs in the shadow itself: its `--rootdir` (tried with 3.0.8) leaves most tests
//! looking at the machine it runs on, which would be evidence about the wrong one. A shadow
//! without lynis gets this machine's copy for the time of the test, which is harmless since
//! every test has a view of its own.

use std::path::Path;
use std::process::Command as Program;
use std::time::Instant;

use umbra_state::escape::escape;
use umbra_state::{Command, Evidence, Exit, Output, Verdict};

use super::carry::carry_in;
use super::host_tool::{self, Tool};
use super::security::{Raw, Severity, judge, outcome, settle};
use super::{Outcome, remaining, seen};
use crate::report::{Metric, excerpt};
use crate::runner::Context;
use crate::target::{ProbeError, Target, root};

/// What an audit must reach. An audit takes a minute or two: give the test that time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LynisCheck {
    /// The least hardening index, of 100.
    pub hardening_index_min: Option<u8>,
    /// The least severity of a new finding that fails; warnings are `Medium`, suggestions
    /// `Low`.
    pub fail_on: Severity,
    /// Tests of lynis whose findings do not count, by id (`KRNL-6000`).
    pub skip: Vec<String>,
    /// The groups of tests to make, as `lynis show groups` has them; all if empty.
    pub groups: Vec<String>,
}

const TOOL: Tool = Tool { name: "lynis", package: "lynis" };
const REPORT_BYTES_MAX: u64 = 8 << 20;
const LINES_MAX: usize = 100_000;

/// What lynis says about a group it does not have.
const NO_SUCH_GROUP: &str = "Can't find file (category:";

/// Where the report goes inside the shadow.
const REPORT: &str = "/tmp/umbra-lynis-report.dat";

pub(super) fn look(
    check: &LynisCheck,
    target: &dyn Target,
    context: &Context<'_>,
    deadline: Instant,
) -> Result<Outcome, ProbeError> {
    look_with(check, target, context, deadline, Path::new("/"))
}

/// Looks, taking lynis from below `machine` where the shadow has none.
fn look_with(
    check: &LynisCheck,
    target: &dyn Target,
    context: &Context<'_>,
    deadline: Instant,
    machine: &Path,
) -> Result<Outcome, ProbeError> {
    let mut output = audit(check, target, deadline)?;
    if output.exit == Exit::Code(127) {
        carry_lynis(machine, target, deadline)?;
        output = audit(check, target, deadline)?;
    }
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    accept(output.exit, &said)?;
    let text = root::read_file(target.root(), REPORT.as_bytes(), REPORT_BYTES_MAX)?;
    let report = parse(&text.unwrap_or_default())?;
    let mut outcome = judge_report(check, context, &report);
    outcome.output = excerpt(&said);
    Ok(outcome)
}

fn audit(check: &LynisCheck, target: &dyn Target, deadline: Instant) -> Result<Output, ProbeError> {
    let words = ["lynis", "audit", "system", "--quick", "--quiet", "--no-colors", "--no-log"];
    let mut command = Command::new(words.into_iter().chain(["--report-file", REPORT]));
    if !check.groups.is_empty() {
        command.argv.extend(["--tests-from-group".to_owned(), check.groups.join(" ")]);
    }
    target.run(&command.with_timeout(remaining(deadline)))
}

/// Copies this machine's lynis, which is a set of shell scripts, into the shadow.
fn carry_lynis(machine: &Path, target: &dyn Target, deadline: Instant) -> Result<(), ProbeError> {
    let parts = ["usr/sbin/lynis", "usr/share/lynis", "etc/lynis"];
    if !parts.iter().all(|part| machine.join(part).exists()) {
        return Err(host_tool::missing(&TOOL));
    }
    let choose = |tar: &mut Program| {
        tar.arg("-C").arg(machine).args(parts);
    };
    carry_in(choose, "/", target, deadline)
}

/// 0: done; 78: done, with warnings, where its configuration asks for that code.
fn accept(exit: Exit, said: &[u8]) -> Result<(), ProbeError> {
    let broke = |what: String| {
        let said: String = escape(said.trim_ascii()).to_string().chars().take(500).collect();
        Err(ProbeError::Tool { tool: TOOL.name.to_owned(), detail: format!("{what}: {said}") })
    };
    match exit {
        // An unknown group is worth a line to lynis, and nothing of it is looked at.
        Exit::Code(0 | 78) if contains(said, NO_SUCH_GROUP) => broke("an unknown group".to_owned()),
        Exit::Code(0 | 78) => Ok(()),
        exit => broke(exit.to_string()),
    }
}

fn contains(text: &[u8], words: &str) -> bool {
    text.windows(words.len()).any(|window| window == words.as_bytes())
}

/// What matters of `lynis-report.dat`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LynisReport {
    /// Of 100.
    pub hardening_index: Option<u8>,
    /// How many tests lynis made.
    pub tests: Option<u64>,
    /// `warning[]` lines.
    pub warnings: Vec<LynisItem>,
    /// `suggestion[]` lines.
    pub suggestions: Vec<LynisItem>,
}

/// One warning or suggestion: `TEST|message|details|solution|`, each escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LynisItem {
    /// The test, for instance `AUTH-9283`.
    pub test: String,
    /// What lynis says.
    pub message: String,
    /// About what; empty for none.
    pub details: String,
    /// What to do; empty for none.
    pub solution: String,
}

/// Reads a report: `key=value` and `key[]=value` lines, comments with `#`.
pub fn parse(bytes: &[u8]) -> Result<LynisReport, ProbeError> {
    let malformed = |line: usize, detail: &str| ProbeError::Malformed {
        what: "the lynis report".to_owned(),
        detail: format!("line {line}: {detail}"),
    };
    let mut report = LynisReport::default();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        if index >= LINES_MAX {
            return Err(malformed(index, "there are too many lines"));
        }
        let line = String::from_utf8_lossy(line);
        let Some((key, value)) = line.trim().split_once('=') else { continue };
        let refuse = || malformed(index + 1, "expected a number");
        match key {
            "hardening_index" => {
                let number: u8 = value.trim().parse().map_err(|_| refuse())?;
                report.hardening_index = Some(number).filter(|number| *number <= 100);
            }
            "lynis_tests_done" => report.tests = Some(value.trim().parse().map_err(|_| refuse())?),
            "warning[]" => report.warnings.push(item(value)),
            "suggestion[]" => report.suggestions.push(item(value)),
            _ => {}
        }
    }
    Ok(report)
}

fn item(value: &str) -> LynisItem {
    let mut fields = value.split('|').map(|field| {
        let field = field.trim();
        // A dash stands for nothing.
        let field = if field == "-" { "" } else { field };
        escape(field.as_bytes()).to_string().chars().take(500).collect::<String>()
    });
    let mut next = || fields.next().unwrap_or_default();
    LynisItem { test: next(), message: next(), details: next(), solution: next() }
}

fn judge_report(check: &LynisCheck, context: &Context<'_>, report: &LynisReport) -> Outcome {
    let warnings = report.warnings.iter().map(|item| raw(item, Severity::Medium));
    let suggestions = report.suggestions.iter().map(|item| raw(item, Severity::Low));
    let raws = warnings.chain(suggestions).collect();
    let skipped = |raw: &Raw| {
        let test = raw.rule.strip_prefix("lynis:").unwrap_or_default();
        check.skip.iter().any(|skip| skip == test).then(|| "the recipe leaves it out".to_owned())
    };
    let findings = settle(raws, context.baseline.is_none(), context.baseline, skipped);
    let mut evidence = judge(&findings, check.fail_on);
    // A report without an index is one that lynis did not finish.
    evidence.push(match (report.hardening_index, check.hardening_index_min) {
        (Some(index), Some(min)) => seen(
            index >= min,
            "hardening index",
            index.to_string(),
            Some(format!("at least {min}")),
        ),
        (Some(index), None) => seen(true, "hardening index", index.to_string(), None),
        (None, _) => Evidence {
            subject: "hardening index".to_owned(),
            seen: "not in the report, so the audit did not end".to_owned(),
            expected: None,
            verdict: Verdict::Inconclusive,
        },
    });
    let mut outcome = outcome(findings, evidence, Vec::new());
    let index = report
        .hardening_index
        .map(|index| Metric::new("hardening_index", f64::from(index), "count"));
    outcome.metrics.extend(index);
    outcome.metrics.extend(report.tests.map(|tests| Metric::new("tests", tests as f64, "count")));
    outcome
}

fn raw(item: &LynisItem, severity: Severity) -> Raw {
    let details =
        if item.details.is_empty() { String::new() } else { format!(" ({})", item.details) };
    let advice = match item.solution.as_str() {
        "" => "see `lynis show details` for the test".to_owned(),
        solution => solution.strip_prefix("text:").unwrap_or(solution).to_owned(),
    };
    Raw {
        rule: format!("lynis:{}", item.test).into(),
        severity,
        path: None,
        line: None,
        message: format!("{}{details}", item.message),
        advice: advice.into(),
        key: format!("{}|{}", item.message, item.details).into_bytes(),
        was_there: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::security::Baseline;
    use crate::target::DirTarget;
    use proptest::prelude::*;
    use std::time::Duration;

    const SAMPLE: &str = "# Lynis Report\nreport_version_major=1\nlynis_version=3.0.8\n\
        warning[]=AUTH-9283|Found accounts without password|guest|-|\n\
        suggestion[]=BOOT-5122|Set a password on GRUB boot loader|-|text:grub-mkpasswd-pbkdf2|\n\
        installed_packages_array[]=base|1\nhardening_index=63\nlynis_tests_done=241\n";

    fn check() -> LynisCheck {
        let fail_on = Severity::Medium;
        LynisCheck { hardening_index_min: Some(60), fail_on, skip: Vec::new(), groups: Vec::new() }
    }

    fn judged(check: &LynisCheck, report: &str) -> Outcome {
        let baseline = Baseline::default();
        let context = Context { baseline: Some(&baseline), ..Context::default() };
        judge_report(check, &context, &parse(report.as_bytes()).expect("parse"))
    }

    #[test]
    fn warnings_and_the_index_decide() {
        let outcome = judged(&check(), SAMPLE);
        let verdicts: Vec<_> = outcome.evidence.iter().map(|seen| seen.verdict).collect();
        assert_eq!(verdicts, [Verdict::Fail, Verdict::Fail, Verdict::Pass]);
        assert_eq!(outcome.findings[0].rule, "lynis:AUTH-9283");
        assert_eq!(outcome.findings[0].message, "Found accounts without password (guest)");
        assert_eq!(outcome.findings[1].advice, "grub-mkpasswd-pbkdf2");
        let strict =
            LynisCheck { hardening_index_min: Some(70), fail_on: Severity::High, ..check() };
        let outcome = judged(&strict, SAMPLE);
        assert_eq!(outcome.evidence.last().map(|seen| seen.verdict), Some(Verdict::Fail));
    }

    #[test]
    fn an_unfinished_report_is_inconclusive() {
        let outcome = judged(&check(), "report_version_major=1\n");
        assert_eq!(outcome.evidence.last().map(|seen| seen.verdict), Some(Verdict::Inconclusive));
        assert!(parse(b"hardening_index=many\n").is_err());
    }

    #[test]
    fn it_runs_inside() {
        let dir = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir(dir.path().join("tmp")).expect("mkdir");
        std::fs::write(dir.path().join("tmp/umbra-lynis-report.dat"), SAMPLE).expect("write");
        let soon = Instant::now() + Duration::from_secs(20);
        let target = DirTarget::new(dir.path()).expect("target").with_answer(
            "lynis audit system",
            0,
            "",
            "",
        );
        let outcome = look(&check(), &target, &Context::default(), soon).expect("looked");
        assert!(outcome.evidence.iter().all(|seen| seen.verdict == Verdict::Pass), "a first state");
    }

    #[test]
    fn a_shadow_without_lynis_gets_this_machines_copy() {
        let (dir, machine) =
            (tempfile::tempdir().expect("tempdir"), tempfile::tempdir().expect("tempdir"));
        let target = DirTarget::new(dir.path())
            .expect("target")
            .with_answer("lynis audit", 127, "", "")
            .with_answer("tar -x", 0, "", "");
        let soon = Instant::now() + Duration::from_secs(20);
        let look = || look_with(&check(), &target, &Context::default(), soon, machine.path());
        let error = look().expect_err("nowhere");
        assert!(error.to_string().ends_with("in the package lynis"), "{error}");
        for part in ["usr/sbin/lynis", "usr/share/lynis", "etc/lynis"] {
            std::fs::create_dir_all(machine.path().join(part)).expect("mkdir");
        }
        assert!(matches!(look(), Err(ProbeError::Tool { .. })), "its own answer is still 127");
        let asked = target.asked();
        let unpack = asked.iter().find(|asked| asked.argv[0] == "/bin/sh").expect("asked");
        assert_eq!(unpack.argv.last().map(String::as_str), Some("/"));
        assert_eq!(&unpack.stdin[257..262], b"ustar");
    }

    #[test]
    fn only_groups_that_exist_are_a_look() {
        let dir = tempfile::tempdir().expect("tempdir");
        let said = "Error: Can't find file (category: authentification)";
        let target = DirTarget::new(dir.path()).expect("target").with_answer("lynis", 0, said, "");
        let groups = vec!["authentification".to_owned(), "shells".to_owned()];
        let check = LynisCheck { groups, ..check() };
        let soon = Instant::now() + Duration::from_secs(20);
        let error = look(&check, &target, &Context::default(), soon).expect_err("no such group");
        assert_eq!(error.to_string(), format!("use `lynis`: an unknown group: {said}"));
        let argv = &target.asked()[0].argv;
        assert_eq!(argv[argv.len() - 2..], ["--tests-from-group", "authentification shells"]);
    }

    proptest! {
        #[test]
        fn never_panics(text in "(warning\\[\\]=|suggestion\\[\\]=|hardening_index=|[0-9]|\\||a|\n|#|é){0,60}") {
            if let Ok(report) = parse(text.as_bytes()) {
                prop_assert!(report.warnings.len() + report.suggestions.len() <= text.len());
            }
        }
    }
}
