//! Runs one test: attempts, time limits, and the report of what came of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use umbra_state::{Delta, Evidence, Tree, Verdict};

use crate::check::security::Baseline;
use crate::check::{self, Outcome};
use crate::report::{EVIDENCE_MAX, TestReport};
use crate::spec::Test;
use crate::target::{ProbeError, Target, chain};

/// The longest a wait goes without looking whether it is still wanted.
const NAP_MAX: Duration = Duration::from_millis(50);

/// What a test may know besides the shadow itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// The step after which it runs.
    pub step: &'a str,
    /// What that step changed, if known.
    pub delta: Option<&'a Delta>,
    /// The files before it; `None` for a first state, where everything is the baseline.
    pub before: Option<&'a Tree>,
    /// The files after it.
    pub after: Option<&'a Tree>,
    /// Security findings known from earlier states. Without any, what a scanner of the whole
    /// machine finds is the baseline.
    pub baseline: Option<&'a Baseline>,
    /// Where all randomness comes from.
    pub seed: u64,
    /// The time certificates are judged at, in seconds since 1970 UTC; without it they cannot
    /// be judged.
    pub now_unix_s: Option<i64>,
    /// Set by someone who no longer wants to know; the test ends soon after.
    pub cancel: Option<&'a AtomicBool>,
}

impl Context<'_> {
    /// Whether somebody cancelled the test.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed))
    }
}

/// Looks at a shadow as the test says, as often as it says, and never panics.
pub fn run_test(test: &Test, target: &dyn Target, context: &Context<'_>) -> TestReport {
    let start = Instant::now();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let outcome = attempt(test, target, context);
        let verdict = verdict_of(&outcome);
        let more = attempts <= test.retries && !context.is_cancelled();
        if verdict == Verdict::Pass || !more {
            return report(test, context, outcome, verdict, attempts, start.elapsed());
        }
        wait(test.retry_delay, context);
    }
}

/// Waits before another attempt, unless somebody cancels.
fn wait(delay: Duration, context: &Context<'_>) {
    let until = Instant::now() + delay;
    while !context.is_cancelled() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(NAP_MAX));
    }
}

/// One attempt, whose own panics are a bug of ours and nobody's verdict.
fn attempt(test: &Test, target: &dyn Target, context: &Context<'_>) -> Outcome {
    if context.is_cancelled() {
        return Outcome::blind(&ProbeError::Cancelled);
    }
    let deadline = Instant::now() + test.timeout;
    let looked =
        catch_unwind(AssertUnwindSafe(|| check::look(&test.check, target, context, deadline)));
    match looked {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => Outcome::blind(&error),
        Err(panic) => {
            let words = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
            Outcome::blind(&ProbeError::Bug(words.unwrap_or_default()))
        }
    }
}

/// Evidence decides; where somebody could not look at a part, a pass is out of reach.
fn verdict_of(outcome: &Outcome) -> Verdict {
    let blind = outcome.errors.iter().map(|_| Verdict::Inconclusive);
    Verdict::combine(outcome.evidence.iter().map(|seen| seen.verdict).chain(blind))
}

fn report(
    test: &Test,
    context: &Context<'_>,
    outcome: Outcome,
    verdict: Verdict,
    attempts: u32,
    duration: Duration,
) -> TestReport {
    TestReport {
        name: test.name.clone(),
        kind: test.kind,
        step: context.step.to_owned(),
        verdict,
        evidence: bounded(outcome.evidence),
        error: (!outcome.errors.is_empty()).then(|| outcome.errors.join("; ")),
        output: outcome.output,
        duration,
        attempts,
        metrics: outcome.metrics,
        findings: outcome.findings,
        allow_failure: test.allow_failure,
    }
}

/// At most [`EVIDENCE_MAX`] observations, the worst kept, the rest counted.
fn bounded(mut evidence: Vec<Evidence>) -> Vec<Evidence> {
    if evidence.len() > EVIDENCE_MAX {
        evidence.sort_by_key(|seen| std::cmp::Reverse(seen.verdict));
        let rest = evidence.split_off(EVIDENCE_MAX - 1);
        evidence.push(Evidence {
            subject: "further observations".to_owned(),
            seen: format!("{} more are not listed", rest.len()),
            expected: None,
            verdict: Verdict::combine(rest.iter().map(|seen| seen.verdict)),
        });
    }
    evidence
}

impl Outcome {
    /// Nobody could look.
    fn blind(error: &ProbeError) -> Self {
        Self { errors: vec![chain(error)], ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::run::RunCheck;
    use crate::spec::Check;
    use crate::target::DirTarget;
    use std::net::IpAddr;
    use std::os::fd::BorrowedFd;
    use std::sync::atomic::AtomicU32;
    use umbra_state::{Command, Exit, Output, TestKind};

    /// Fails so many times, then passes; `u32::MAX` panics.
    struct Flaky {
        inner: DirTarget,
        failures: u32,
        runs: AtomicU32,
    }

    impl Target for Flaky {
        fn run(&self, _command: &Command) -> Result<Output, ProbeError> {
            assert!(self.failures != u32::MAX, "the target broke");
            let run = self.runs.fetch_add(1, Ordering::SeqCst);
            let exit = Exit::Code(i32::from(run < self.failures));
            let (stdout, stderr, duration) = (Vec::new(), Vec::new(), Duration::ZERO);
            Ok(Output { exit, stdout, stderr, dropped_bytes: 0, duration })
        }

        fn address(&self) -> Option<IpAddr> {
            None
        }

        fn root(&self) -> BorrowedFd<'_> {
            self.inner.root()
        }
    }

    fn flaky(failures: u32) -> Flaky {
        let dir = tempfile::tempdir().expect("tempdir");
        let inner = DirTarget::new(dir.path()).expect("target");
        Flaky { inner, failures, runs: AtomicU32::new(0) }
    }

    fn test(retries: u32) -> Test {
        let check = Check::Run(RunCheck::new(Command::shell("x")));
        Test { retries, ..Test::new("t", TestKind::Unit, check) }
    }

    #[test]
    fn retries_stop_at_the_first_pass() {
        for (retries, failures, verdict, attempts) in [
            (0, 0, Verdict::Pass, 1),
            (0, 1, Verdict::Fail, 1),
            (3, 1, Verdict::Pass, 2),
            (2, 9, Verdict::Fail, 3),
        ] {
            let report = run_test(&test(retries), &flaky(failures), &Context::default());
            assert_eq!((report.verdict, report.attempts), (verdict, attempts));
        }
    }

    #[test]
    fn a_panic_is_a_bug_and_not_a_verdict() {
        let report = run_test(&test(0), &flaky(u32::MAX), &Context::default());
        assert_eq!(report.verdict, Verdict::Inconclusive);
        assert_eq!(report.error.as_deref(), Some("finish: the check broke: the target broke"));
    }

    #[test]
    fn not_being_able_to_look_is_inconclusive() {
        let dir = tempfile::tempdir().expect("tempdir");
        let target = DirTarget::new(dir.path()).expect("target");
        let report = run_test(&test(1), &target, &Context { step: "s", ..Context::default() });
        assert_eq!((report.verdict, report.attempts), (Verdict::Inconclusive, 2));
        let error = report.error.as_deref();
        assert_eq!(error, Some("run `/bin/sh` in the shadow: a directory runs nothing"));
        assert!(report.evidence.is_empty());
    }

    #[test]
    fn an_empty_goss_file_is_no_pass() {
        let goss = crate::spec::GossFile { resources: Vec::new() };
        let empty = Test::new("t", TestKind::Unit, Check::Goss(goss));
        let report = run_test(&empty, &flaky(0), &Context::default());
        assert_eq!(report.verdict, Verdict::Inconclusive);
    }

    #[test]
    fn a_cancelled_test_ends_at_once() {
        let cancel = AtomicBool::new(true);
        let context = Context { cancel: Some(&cancel), ..Context::default() };
        let target = flaky(0);
        let report = run_test(&test(5), &target, &context);
        assert_eq!((report.verdict, report.attempts), (Verdict::Inconclusive, 1));
        assert_eq!(target.runs.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn evidence_is_bounded_and_the_worst_is_kept() {
        let seen = |index: usize| Evidence {
            subject: index.to_string(),
            seen: String::new(),
            expected: None,
            verdict: if index == 4999 { Verdict::Fail } else { Verdict::Pass },
        };
        let kept = bounded((0..5000).map(seen).collect());
        assert_eq!(kept.len(), EVIDENCE_MAX);
        assert_eq!((kept[0].subject.as_str(), kept[0].verdict), ("4999", Verdict::Fail));
        assert_eq!(kept.last().map(|seen| seen.seen.as_str()), Some("4001 more are not listed"));
    }
}
