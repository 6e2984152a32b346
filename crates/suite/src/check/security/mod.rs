//! The built-in scan: what a delta adds to what an attacker could use.
//!
//! Metadata comes from the state's tree, so nothing walks a disk; contents are read for
//! changed files only. Every finding has a [`Standing`]: only a `New` one at or above
//! `fail_on` fails the test. In a first state, which nothing stands before, every file counts
//! as changed and everything found is the baseline. Trees tell what permissions were before; for the rest (secrets, accounts,
//! ports) the caller keeps a [`Baseline`] and adds the findings of every state it accepts.

mod accounts;
mod certificates;
mod files;
mod finding;
mod ports;
mod secrets;

use std::time::Instant;

use umbra_state::escape::escape;
use umbra_state::{Delta, Evidence, Node, Tree};

use super::{Outcome, seen};
use crate::pattern::Globs;
use crate::report::Metric;
use crate::runner::Context;
use crate::target::{ProbeError, Target, chain};

pub use finding::{Baseline, Finding, Severity, Standing};
pub(crate) use finding::{Raw, settle};

/// What to scan for and what is acceptable.
#[derive(Debug, Clone)]
pub struct SecurityCheck {
    /// The least severity of a new finding that fails.
    pub fail_on: Severity,
    /// Ports that may listen; `None` does not look at ports at all.
    pub ports: Option<Vec<u16>>,
    /// What is known and accepted.
    pub allow: Vec<Allow>,
    /// A certificate that ends within so many days is a finding.
    pub certificate_days_min: u32,
    /// Files larger than this are counted, not read.
    pub file_bytes_max: u64,
}

impl Default for SecurityCheck {
    fn default() -> Self {
        Self {
            fail_on: Severity::High,
            ports: None,
            allow: Vec::new(),
            certificate_days_min: 30,
            file_bytes_max: 1 << 20,
        }
    }
}

/// Findings that are accepted, and why. What is not given matches everything.
#[derive(Debug, Clone)]
pub struct Allow {
    /// The rule's id.
    pub rule: Option<String>,
    /// Where.
    pub paths: Option<Globs>,
    /// Why, for the report; never empty.
    pub reason: String,
}

impl Allow {
    fn covers(&self, raw: &Raw) -> bool {
        let rule = self.rule.as_ref().is_none_or(|rule| rule == raw.rule.as_ref());
        let path = self
            .paths
            .as_ref()
            .is_none_or(|paths| raw.path.as_ref().is_some_and(|path| paths.is_match(path)));
        rule && path
    }
}

/// No report lists more findings; what is beyond is counted.
const FINDINGS_MAX: usize = 2_000;

/// So many failing findings become observations of their own.
const FAILING_MAX: usize = 100;

pub(super) fn look(
    check: &SecurityCheck,
    target: &dyn Target,
    context: &Context<'_>,
    deadline: Instant,
) -> Result<Outcome, ProbeError> {
    let after = context.after.ok_or(ProbeError::Missing { what: "the tree of the state" })?;
    let mut scan = Scan { raws: Vec::new(), errors: Vec::new(), seen: Vec::new() };
    let changed = changed(context.before, after, context.delta);
    files::scan(&changed, &mut scan);
    secrets::scan(check, &changed, target, context, deadline, &mut scan);
    certificates::scan(check, &changed, target, context, &mut scan);
    accounts::scan(&changed, target, &mut scan);
    if let Some(allowed) = &check.ports {
        ports::scan(allowed, target, deadline, &mut scan);
    }
    let (raws, errors) = (scan.raws, scan.errors);
    let first = context.before.is_none();
    let findings = settle(raws, first, context.baseline, |raw| {
        check.allow.iter().find(|allow| allow.covers(raw)).map(|allow| allow.reason.clone())
    });
    let mut evidence = scan.seen;
    evidence.extend(judge(&findings, check.fail_on));
    Ok(outcome(findings, evidence, errors))
}

/// What findings say: the new ones that are severe enough, one by one, and a summary.
pub(crate) fn judge(findings: &[Finding], fail_on: Severity) -> Vec<Evidence> {
    let fails =
        |finding: &&Finding| finding.standing == Standing::New && finding.severity >= fail_on;
    let failing: Vec<_> = findings.iter().filter(fails).collect();
    let one = |finding: &&Finding| {
        let place = match (&finding.path, finding.line) {
            (Some(path), Some(line)) => format!("{path}:{line}"),
            (Some(path), None) => path.clone(),
            (None, _) => finding.rule.clone(),
        };
        let said = format!("{} ({}, {})", finding.message, finding.rule, finding.severity);
        seen(false, place, said, None)
    };
    let mut evidence: Vec<_> = failing.iter().take(FAILING_MAX).map(one).collect();
    let count = |standing: fn(&Standing) -> bool| {
        findings.iter().filter(|finding| standing(&finding.standing)).count()
    };
    let said = format!(
        "{} new, of which {} are {fail_on} or worse; {} in the baseline, {} allowed",
        count(|standing| *standing == Standing::New),
        failing.len(),
        count(|standing| *standing == Standing::Baseline),
        count(|standing| matches!(standing, Standing::Allowed { .. })),
    );
    let expected = format!("no new finding that is {fail_on} or worse");
    evidence.push(seen(failing.is_empty(), "findings", said, Some(expected)));
    evidence
}

/// The outcome of a scan, its findings bounded.
pub(crate) fn outcome(
    mut findings: Vec<Finding>,
    evidence: Vec<Evidence>,
    mut errors: Vec<String>,
) -> Outcome {
    let new = findings.iter().filter(|finding| finding.standing == Standing::New).count();
    let metrics = vec![
        Metric::new("findings", findings.len() as f64, "count"),
        Metric::new("findings_new", new as f64, "count"),
    ];
    if findings.len() > FINDINGS_MAX {
        // The worst new ones first, so that what is cut off matters least.
        findings.sort_by_key(|finding| {
            (finding.standing != Standing::New, std::cmp::Reverse(finding.severity))
        });
        let rest = findings.split_off(FINDINGS_MAX);
        errors.push(format!("list all findings: {} are left out", rest.len()));
    }
    Outcome { evidence, errors, metrics, findings, ..Outcome::default() }
}

/// What a scan collects.
struct Scan {
    raws: Vec<Raw>,
    errors: Vec<String>,
    seen: Vec<Evidence>,
}

impl Scan {
    /// What was looked at, and how much of it: the scan's own coverage.
    fn note(&mut self, subject: &str, what: String) {
        self.seen.push(seen(true, subject, what, None));
    }

    fn blind(&mut self, error: &ProbeError) {
        self.errors.push(chain(error));
    }
}

/// A path that differs, with what stood and what stands there.
struct Changed {
    path: Vec<u8>,
    before: Option<Node>,
    after: Node,
    /// Whether a file's bytes, and not only its metadata, are new.
    content: bool,
}

impl Changed {
    fn shown(&self) -> String {
        format!("/{}", escape(&self.path))
    }
}

/// Everything that is there and differs from before; without a before, everything.
fn changed(before: Option<&Tree>, after: &Tree, delta: Option<&Delta>) -> Vec<Changed> {
    let own;
    let delta = match (before, delta) {
        (None, _) => {
            let mut all = Vec::new();
            after.walk(&mut |path, node| {
                let (path, after) = (path.to_vec(), node.clone());
                all.push(Changed { path, before: None, after, content: true });
            });
            return all;
        }
        (Some(_), Some(delta)) => delta,
        (Some(before), None) => {
            own = umbra_state::diff(before, after);
            &own
        }
    };
    let one = |change: &umbra_state::Change| {
        let content = match change.kind {
            umbra_state::ChangeKind::Modified(aspects) => aspects.content || aspects.r#type,
            umbra_state::ChangeKind::Added | umbra_state::ChangeKind::Removed => true,
        };
        let (path, before) = (change.path.clone(), change.before.clone());
        change.after.clone().map(|after| Changed { path, before, after, content })
    };
    delta.changes.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests;
