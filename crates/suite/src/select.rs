//! Which tests a delta calls for, and which keep the verdict they have.
//!
//! A kept verdict is a claim about the present state, so it must rest on everything that
//! happened since it was reached: a delta that meets a test's globs while the test is not
//! due is remembered in [`History`] and makes the test run when it is due again.

use std::collections::BTreeMap;

use umbra_state::escape::escape;
use umbra_state::{Change, ChangeKind, Delta, Node, Verdict};

use crate::pattern::Globs;
use crate::spec::{After, Test};

/// What to do about one test, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The test, by its place in the list given to [`select()`].
    pub index: usize,
    /// Its name.
    pub name: String,
    /// What to do.
    pub action: Action,
    /// Why, in words a person understands.
    pub reason: String,
}

/// What to do about a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Run it now.
    Run,
    /// Its earlier verdict stands.
    Keep {
        /// That verdict.
        verdict: Verdict,
        /// The step after which it was reached.
        step: String,
    },
    /// It is not due after this step.
    NotDue {
        /// Whether this delta could change its verdict, so that it must run when due.
        touched: bool,
    },
}

/// What is known of earlier verdicts, by test name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    tests: BTreeMap<String, Known>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known {
    reached: Option<(Verdict, String)>,
    touched_by: Option<String>,
}

impl History {
    /// Remembers that a test reached a verdict after a step.
    pub fn record(&mut self, test: &str, verdict: Verdict, step: &str) {
        let reached = Some((verdict, step.to_owned()));
        self.tests.insert(test.to_owned(), Known { reached, touched_by: None });
    }

    /// Remembers which tests a step's delta touched without running them. Call it once per
    /// step with what [`select()`] returned.
    pub fn note(&mut self, selections: &[Selection], step: &str) {
        for selection in selections {
            if selection.action == (Action::NotDue { touched: true }) {
                let known = self.tests.entry(selection.name.clone()).or_default();
                known.touched_by.get_or_insert_with(|| step.to_owned());
            }
        }
    }
}

/// Decides about every test after one step.
///
/// `delta` is what this step changed; `None` when that is unknown (a first state, a state
/// from elsewhere), which runs everything that is due.
pub fn select(
    tests: &[Test],
    step: &str,
    is_final: bool,
    delta: Option<&Delta>,
    history: &History,
) -> Vec<Selection> {
    let decide = |(index, test): (usize, &Test)| {
        let (action, reason) = decide(test, step, is_final, delta, history);
        Selection { index, name: test.name.clone(), action, reason }
    };
    tests.iter().enumerate().map(decide).collect()
}

fn decide(
    test: &Test,
    step: &str,
    is_final: bool,
    delta: Option<&Delta>,
    history: &History,
) -> (Action, String) {
    let met = meets(test.when_changed.as_ref(), delta);
    if let Some(reason) = not_due(&test.after, step, is_final) {
        return (Action::NotDue { touched: met.is_ok() }, reason);
    }
    let unmet = match met {
        Ok(reason) => return (Action::Run, reason),
        Err(reason) => reason,
    };
    let known = history.tests.get(&test.name);
    if let Some(by) = known.and_then(|known| known.touched_by.as_ref()) {
        return (
            Action::Run,
            format!("step `{by}` changed what it looks at, and it has not run since"),
        );
    }
    match known.and_then(|known| known.reached.as_ref()) {
        None => (Action::Run, "it has no earlier verdict".to_owned()),
        Some((Verdict::Inconclusive, step)) => {
            (Action::Run, format!("it was inconclusive after step `{step}`"))
        }
        Some((verdict, earlier)) => {
            let action = Action::Keep { verdict: *verdict, step: earlier.clone() };
            (action, format!("{unmet}; its verdict from step `{earlier}` stands"))
        }
    }
}

fn not_due(after: &After, step: &str, is_final: bool) -> Option<String> {
    match after {
        After::Each => None,
        After::Final if is_final => None,
        After::Final => Some("it runs after the last step".to_owned()),
        After::Steps(steps) if steps.iter().any(|due| due == step) => None,
        After::Steps(steps) => Some(format!("it runs after {}", steps.join(", "))),
    }
}

/// `Ok` with the reason to run, `Err` with the reason not to.
fn meets(globs: Option<&Globs>, delta: Option<&Delta>) -> Result<String, String> {
    let Some(globs) = globs else { return Ok("it runs after every delta".to_owned()) };
    let Some(delta) = delta else { return Ok("what changed is not known".to_owned()) };
    let met = delta.changes.iter().filter(|change| matters(change)).find_map(|change| {
        globs.matching(&change.path).map(|pattern| (pattern, escape(&change.path).to_string()))
    });
    match met {
        Some((pattern, path)) => Ok(format!("/{path} changed, which `{pattern}` covers")),
        None => Err(format!("nothing under {} changed", globs.texts().join(", "))),
    }
}

/// A directory whose time alone differs says nothing: what changed in it has its own entry.
fn matters(change: &Change) -> bool {
    match change.kind {
        ChangeKind::Modified(aspects) => {
            !(aspects.only_mtime() && matches!(change.after, Some(Node::Dir(_))))
        }
        ChangeKind::Added | ChangeKind::Removed => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::run::RunCheck;
    use crate::spec::Check;
    use std::sync::Arc;
    use umbra_state::diff::Aspects;
    use umbra_state::tree::Dir;
    use umbra_state::{Command, TestKind};

    fn test(after: After, changed: Option<&[&str]>) -> Test {
        let check = Check::Run(RunCheck::new(Command::shell("true")));
        let when_changed = changed.map(|globs| Globs::new(globs).expect("globs"));
        Test { after, when_changed, ..Test::new("t", TestKind::Unit, check) }
    }

    fn delta(paths: &[&str]) -> Delta {
        let change = |path: &&str| Change {
            path: path.as_bytes().to_vec(),
            kind: ChangeKind::Removed,
            before: None,
            after: None,
        };
        Delta { changes: paths.iter().map(change).collect() }
    }

    #[track_caller]
    fn check(test: &Test, step: &str, delta: Option<&Delta>, history: &History, action: Action) {
        let selected = select(std::slice::from_ref(test), step, false, delta, history);
        assert_eq!(selected.len(), 1);
        assert_eq!(selected[0].action, action, "{}", selected[0].reason);
        assert!(!selected[0].reason.is_empty());
    }

    #[test]
    fn due_after_its_steps_only() {
        let none = History::default();
        check(&test(After::Each, None), "a", None, &none, Action::Run);
        check(&test(After::Final, None), "a", None, &none, Action::NotDue { touched: true });
        let steps = test(After::Steps(vec!["b".into()]), None);
        check(&steps, "b", None, &none, Action::Run);
        check(&steps, "a", None, &none, Action::NotDue { touched: true });
        let at_end = select(&[test(After::Final, None)], "z", true, None, &none);
        assert_eq!(at_end[0].action, Action::Run);
    }

    #[test]
    fn a_delta_that_misses_keeps_the_verdict() {
        let test = test(After::Each, Some(&["etc/nginx/**"]));
        let mut history = History::default();
        let (hit, miss) = (delta(&["etc/nginx/a"]), delta(&["etc/hosts"]));
        check(&test, "s2", Some(&miss), &history, Action::Run);
        history.record("t", Verdict::Pass, "s1");
        let kept = Action::Keep { verdict: Verdict::Pass, step: "s1".into() };
        check(&test, "s2", Some(&miss), &history, kept);
        check(&test, "s2", Some(&hit), &history, Action::Run);
        check(&test, "s2", None, &history, Action::Run);
    }

    #[test]
    fn inconclusive_is_never_kept_but_a_fail_is() {
        let test = test(After::Each, Some(&["etc/**"]));
        let mut history = History::default();
        history.record("t", Verdict::Inconclusive, "s1");
        check(&test, "s2", Some(&delta(&[])), &history, Action::Run);
        history.record("t", Verdict::Fail, "s2");
        let kept = Action::Keep { verdict: Verdict::Fail, step: "s2".into() };
        check(&test, "s3", Some(&delta(&[])), &history, kept);
    }

    #[test]
    fn a_change_while_not_due_is_not_forgotten() {
        let test = test(After::Steps(vec!["s1".into(), "s3".into()]), Some(&["etc/**"]));
        let mut history = History::default();
        history.record("t", Verdict::Pass, "s1");
        let between =
            select(std::slice::from_ref(&test), "s2", false, Some(&delta(&["etc/x"])), &history);
        assert_eq!(between[0].action, Action::NotDue { touched: true });
        history.note(&between, "s2");
        check(&test, "s3", Some(&delta(&["var/y"])), &history, Action::Run);
        history.record("t", Verdict::Pass, "s3");
        let kept = Action::Keep { verdict: Verdict::Pass, step: "s3".into() };
        check(&test, "s3", Some(&delta(&["var/y"])), &history, kept);
    }

    #[test]
    fn the_time_of_a_directory_alone_says_nothing() {
        let test = test(After::Each, Some(&["etc/**"]));
        let mut history = History::default();
        history.record("t", Verdict::Pass, "s1");
        let mut touched = delta(&["etc/nginx"]);
        touched.changes[0].kind =
            ChangeKind::Modified(Aspects { mtime: true, ..Aspects::default() });
        touched.changes[0].after = Some(Node::Dir(Arc::new(Dir::default())));
        let kept = Action::Keep { verdict: Verdict::Pass, step: "s1".into() };
        check(&test, "s2", Some(&touched), &history, kept);
        touched.changes[0].kind =
            ChangeKind::Modified(Aspects { mode: true, ..Aspects::default() });
        check(&test, "s2", Some(&touched), &history, Action::Run);
    }
}
