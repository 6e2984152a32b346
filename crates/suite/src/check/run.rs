//! A command inside the shadow: its exit, its output, and the subtests it reports.

use std::time::Instant;

use umbra_state::escape::escape;
use umbra_state::{Command, Evidence, Exit, Output, Verdict};

use super::{Outcome, junit_in, remaining, seen, tap};
use crate::pattern::TextMatch;
use crate::report::excerpt;
use crate::target::{ProbeError, Target, root};

const JUNIT_BYTES_MAX: u64 = 16 << 20;

/// A command and what it should do.
#[derive(Debug, Clone)]
pub struct RunCheck {
    /// What to run; its own timeout is shortened to the test's.
    pub command: Command,
    /// The exit code that is good.
    pub exit: i32,
    /// What its standard output means.
    pub format: RunFormat,
    /// What standard output must look like.
    pub stdout: Vec<TextMatch>,
    /// What standard error must look like.
    pub stderr: Vec<TextMatch>,
}

/// What a command's output means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunFormat {
    /// TAP if it begins like TAP, else nothing.
    Auto,
    /// Nothing: the exit code alone counts.
    Plain,
    /// TAP 13 or 14.
    Tap,
    /// JUnit XML on standard output, or in this file of the shadow.
    Junit {
        /// The file, if it is not standard output.
        path: Option<String>,
    },
}

impl RunCheck {
    /// A command that should exit with 0.
    pub fn new(command: Command) -> Self {
        let (stdout, stderr) = (Vec::new(), Vec::new());
        Self { command, exit: 0, format: RunFormat::Auto, stdout, stderr }
    }
}

pub(super) fn look(
    check: &RunCheck,
    target: &dyn Target,
    deadline: Instant,
) -> Result<Outcome, ProbeError> {
    let left = remaining(deadline);
    let timeout = check.command.timeout.map_or(left, |own| own.min(left));
    let output = target.run(&check.command.clone().with_timeout(timeout))?;
    let subject = subject(&check.command);
    let mut outcome = Outcome { output: excerpt(&both(&output)), ..Outcome::default() };
    outcome.evidence.push(exit_evidence(&subject, check.exit, &output));
    for (name, bytes, expected) in [
        ("standard output", &output.stdout, &check.stdout),
        ("standard error", &output.stderr, &check.stderr),
    ] {
        let texts = expected.iter().map(|text| text_evidence(name, bytes, text));
        outcome.evidence.extend(texts);
    }
    match subtests(&check.format, &output, target) {
        Ok(subtests) => outcome.evidence.extend(subtests.into_iter().flatten()),
        Err(error) => outcome.errors.push(crate::target::chain(&error)),
    }
    Ok(outcome)
}

fn exit_evidence(subject: &str, expected: i32, output: &Output) -> Evidence {
    let good = output.exit == Exit::Code(expected);
    let said = match (good, last_line(&output.stderr).or_else(|| last_line(&output.stdout))) {
        (false, Some(line)) => format!("{}: {line}", output.exit),
        _ => output.exit.to_string(),
    };
    seen(good, subject, said, (!good).then(|| Exit::Code(expected).to_string()))
}

fn text_evidence(name: &str, bytes: &[u8], expected: &TextMatch) -> Evidence {
    let good = expected.is_met_by(bytes);
    let start = escape(&bytes[..bytes.len().min(200)]).to_string();
    let said = if good { "as expected".to_owned() } else { format!("`{start}`") };
    seen(good, name, said, Some(expected.to_string()))
}

/// `None` where the output is no report; a report in which nothing ran is no evidence.
fn subtests(
    format: &RunFormat,
    output: &Output,
    target: &dyn Target,
) -> Result<Option<Vec<Evidence>>, ProbeError> {
    let is_tap = match format {
        RunFormat::Auto => tap::looks_like_tap(&output.stdout),
        RunFormat::Tap => true,
        RunFormat::Plain | RunFormat::Junit { .. } => false,
    };
    let evidence = match format {
        _ if is_tap => {
            whole(output)?;
            let tap = tap::parse(&output.stdout).map_err(|e| malformed("TAP output", &e))?;
            tap.evidence()
        }
        RunFormat::Junit { path: None } => {
            whole(output)?;
            junit_evidence(&output.stdout)?
        }
        RunFormat::Junit { path: Some(path) } => {
            let bytes = root::read_file(target.root(), path.as_bytes(), JUNIT_BYTES_MAX)?
                .ok_or_else(|| ProbeError::Malformed {
                    what: "the JUnit report".to_owned(),
                    detail: format!("no file /{}", escape(path.trim_start_matches('/').as_bytes())),
                })?;
            junit_evidence(&bytes)?
        }
        RunFormat::Auto | RunFormat::Plain | RunFormat::Tap => return Ok(None),
    };
    if evidence.is_empty() {
        let nothing = Evidence {
            subject: "subtests".to_owned(),
            seen: "none of them ran".to_owned(),
            expected: None,
            verdict: Verdict::Inconclusive,
        };
        return Ok(Some(vec![nothing]));
    }
    Ok(Some(evidence))
}

fn junit_evidence(bytes: &[u8]) -> Result<Vec<Evidence>, ProbeError> {
    let cases = junit_in::parse(bytes).map_err(|e| malformed("the JUnit report", &e))?;
    Ok(cases.iter().filter_map(junit_in::Case::evidence).collect())
}

/// A report whose end was dropped says nothing about the tests in it.
fn whole(output: &Output) -> Result<(), ProbeError> {
    match output.dropped_bytes {
        0 => Ok(()),
        dropped => Err(ProbeError::Malformed {
            what: "the report on standard output".to_owned(),
            detail: format!("{dropped} bytes of output were not kept"),
        }),
    }
}

fn malformed(what: &str, error: &dyn std::error::Error) -> ProbeError {
    ProbeError::Malformed { what: what.to_owned(), detail: crate::target::chain(error) }
}

fn both(output: &Output) -> Vec<u8> {
    let mut bytes = output.stdout.clone();
    if !bytes.is_empty() && !output.stderr.is_empty() && !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(&output.stderr);
    if output.dropped_bytes > 0 {
        bytes.extend_from_slice(
            format!("\n... {} bytes were not kept ...\n", output.dropped_bytes).as_bytes(),
        );
    }
    bytes
}

fn last_line(bytes: &[u8]) -> Option<String> {
    let line =
        bytes.split(|&byte| byte == b'\n').rev().find(|line| !line.trim_ascii().is_empty())?;
    Some(escape(&line[..line.len().min(300)]).to_string())
}

/// The command as a person would name it: the script of a shell, else its words.
fn subject(command: &Command) -> String {
    let words = match command.argv.as_slice() {
        [shell, flags, script] if shell.ends_with("sh") && flags.starts_with('-') => script.clone(),
        words => words.join(" "),
    };
    let line = words.trim().lines().next().unwrap_or_default();
    let more = if words.trim().lines().count() > 1 { " ..." } else { "" };
    format!("{}{more}", escape(line.as_bytes())).chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::DirTarget;
    use std::time::Duration;

    fn target(exit: i32, stdout: &str, stderr: &str) -> (tempfile::TempDir, DirTarget) {
        let dir = tempfile::tempdir().expect("tempdir");
        let target = DirTarget::new(dir.path()).expect("target");
        let target = target.with_answer("the-test", exit, stdout, stderr);
        (dir, target)
    }

    fn deadline() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    fn run(check: &RunCheck, target: &DirTarget) -> Outcome {
        look(check, target, deadline()).expect("looked")
    }

    fn verdicts(outcome: &Outcome) -> Vec<Verdict> {
        outcome.evidence.iter().map(|seen| seen.verdict).collect()
    }

    #[test]
    fn the_exit_code_decides() {
        let check = RunCheck::new(Command::shell("the-test"));
        let (_dir, good) = target(0, "fine\n", "");
        assert_eq!(verdicts(&run(&check, &good)), [Verdict::Pass]);
        let (_dir, bad) = target(3, "", "first\nnginx: [emerg] no such file\n");
        let outcome = run(&check, &bad);
        assert_eq!(verdicts(&outcome), [Verdict::Fail]);
        assert_eq!(outcome.evidence[0].seen, "exit code 3: nginx: [emerg] no such file");
        assert_eq!(outcome.evidence[0].expected.as_deref(), Some("exit code 0"));
        let three = RunCheck { exit: 3, ..check };
        assert_eq!(verdicts(&run(&three, &bad)), [Verdict::Pass]);
    }

    #[test]
    fn the_tests_time_limit_reaches_the_command() {
        let (_dir, target) = target(0, "", "");
        let check = RunCheck::new(Command::shell("the-test").with_timeout(Duration::from_secs(99)));
        run(&check, &target);
        let given = target.asked()[0].timeout.expect("a limit");
        assert!(given <= Duration::from_secs(5), "{given:?}");
    }

    #[test]
    fn tap_is_found_and_read() {
        let (_dir, target) = target(0, "1..2\nok 1 a\nnot ok 2 b\n", "");
        let check = RunCheck::new(Command::shell("the-test"));
        assert_eq!(verdicts(&run(&check, &target)), [Verdict::Pass, Verdict::Pass, Verdict::Fail]);
        let plain = RunCheck { format: RunFormat::Plain, ..check };
        assert_eq!(verdicts(&run(&plain, &target)), [Verdict::Pass]);
    }

    #[test]
    fn a_report_that_cannot_be_read_is_no_pass() {
        let (dir, target) = target(0, "1..1\n1..1\n", "");
        let tap = RunCheck { format: RunFormat::Tap, ..RunCheck::new(Command::shell("the-test")) };
        assert_eq!(run(&tap, &target).errors.len(), 1);
        let file = RunFormat::Junit { path: Some("/out.xml".into()) };
        let junit = RunCheck { format: file, ..tap };
        assert_eq!(run(&junit, &target).errors, ["understand the JUnit report: no file /out.xml"]);
        std::fs::write(dir.path().join("out.xml"), "<testsuite><testcase name='a'/></testsuite>")
            .expect("write");
        assert_eq!(verdicts(&run(&junit, &target)), [Verdict::Pass, Verdict::Pass]);
    }

    #[test]
    fn a_report_in_which_nothing_ran_is_inconclusive() {
        let (_dir, target) = target(0, "1..1\nok 1 # SKIP no disk\n", "");
        let check = RunCheck::new(Command::shell("the-test"));
        assert_eq!(verdicts(&run(&check, &target)), [Verdict::Pass, Verdict::Inconclusive]);
    }

    #[test]
    fn a_cut_report_is_not_trusted() {
        let dir = tempfile::tempdir().expect("tempdir");
        let output = Output {
            exit: Exit::Code(0),
            stdout: b"1..1\nok 1\n".to_vec(),
            stderr: Vec::new(),
            dropped_bytes: 7,
            duration: Duration::ZERO,
        };
        let target = DirTarget::new(dir.path()).expect("target").with_output("the-test", output);
        let outcome = run(&RunCheck::new(Command::shell("the-test")), &target);
        assert!(
            outcome.errors[0].contains("7 bytes of output were not kept"),
            "{:?}",
            outcome.errors
        );
    }

    #[test]
    fn texts_are_compared() {
        let (_dir, target) = target(0, "version 1.22\n", "");
        let texts = vec![TextMatch::Contains("1.22".into()), TextMatch::Contains("1.24".into())];
        let check = RunCheck { stdout: texts, ..RunCheck::new(Command::shell("the-test")) };
        assert_eq!(verdicts(&run(&check, &target)), [Verdict::Pass, Verdict::Pass, Verdict::Fail]);
    }

    #[test]
    fn nobody_could_look_is_an_error() {
        let dir = tempfile::tempdir().expect("tempdir");
        let target = DirTarget::new(dir.path()).expect("target");
        let check = RunCheck::new(Command::shell("unknown"));
        assert!(matches!(look(&check, &target, deadline()), Err(ProbeError::Run { .. })));
    }
}
