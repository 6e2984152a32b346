//! What people and programs ask a daemon about drift, and what they are answered.
//!
//! Plain data for its API; a field once published keeps its meaning.

use serde::{Deserialize, Serialize};
use umbra_api::blob::Blob;
use umbra_state::{Cause, Verdict};

use crate::alert::Alert;
use crate::config::{Config, Severity};
use crate::discrepancy::Discrepancy;
use crate::forecast::{Bound, Outlook};
use crate::history::Change;
use crate::policy::Refusal;
use crate::reading::Item;
use crate::remote::Remote;
use crate::rollback::{Outcome, Plan, Report};
use crate::watch::Receipt;
use crate::wire::Covered;

/// A machine to be taken under care.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddPrimary {
    /// Its name.
    pub name: String,
    /// Its root directory; `None` for a whole machine.
    #[serde(default)]
    pub root: Option<String>,
    /// How it is reached; `None` for the daemon's own machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,
    /// The image it runs from, for rehearsals.
    #[serde(default)]
    pub image: Option<String>,
    /// What is watched; what is worth watching on this machine if not given.
    #[serde(default)]
    pub config: Option<ConfigText>,
}

/// A configuration as a client read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigText {
    /// Where.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// How a primary is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Its agent reads everything for the first time.
    Starting,
    /// It is watched.
    Watched,
    /// Its agent is gone and will be started again.
    Unwatched,
}

/// A primary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrimaryInfo {
    /// Its name.
    pub name: String,
    /// Its root directory; `None` for a whole machine.
    pub root: Option<String>,
    /// How it is reached; `None` for the daemon's own machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,
    /// The agent that watches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentInfo>,
    /// The image it runs from.
    pub image: Option<String>,
    /// Where its configuration was read; `None` if it was made for it.
    pub config_path: Option<String>,
    /// How it is doing.
    pub phase: Phase,
    /// Why, where that is not well.
    pub why: Option<String>,
    /// How many parameters are watched.
    pub parameters: u64,
    /// How many facts they have.
    pub items: u64,
    /// How many historical shadows there are.
    pub shadows: u64,
    /// The known good one.
    pub good: u64,
    /// How many facts differ now, by severity.
    pub open: Vec<(Severity, u64)>,
    /// How many facts cannot be compared.
    pub unknown: u64,
    /// When all of it was last known, in milliseconds since 1970 UTC.
    pub looked_at_ms: Option<i64>,
    /// How its filesystems are watched.
    pub coverage: Vec<Covered>,
    /// When it was added, in milliseconds since 1970 UTC.
    pub added_at_ms: i64,
}

/// The agent of a primary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Which program it says it is.
    pub program: String,
    /// Where it is, on another machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How many bytes were copied there for it to start, if it was not there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_bytes: Option<u64>,
}

/// Which facts are meant: all where nothing is said, else those that fit all that is said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Those of these parameters.
    #[serde(default)]
    pub parameters: Vec<String>,
    /// Those at these paths and below them.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Only this key of the file at the one path.
    #[serde(default)]
    pub key: Option<String>,
}

impl Selection {
    /// Whether a fact of a primary with this configuration is meant.
    pub fn chooses(&self, config: &Config, item: &Item) -> bool {
        self.holds(item, config.path_of(item).as_ref())
    }

    /// Whether a fact is meant, which is about this path if it is about one.
    pub fn holds(&self, item: &Item, path: Option<&Blob>) -> bool {
        let below = |top: &String| {
            let top = top.trim_end_matches('/').as_bytes();
            path.and_then(|path| path.0.strip_prefix(top))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        let named = self.parameters.is_empty() || self.parameters.contains(&item.parameter);
        named && (self.paths.is_empty() || self.paths.iter().any(below))
    }
}

/// What differs now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftReply {
    /// Every open alert of what differs or soon will, the gravest first.
    pub alerts: Vec<Alert>,
    /// What cannot be compared, and why; the primary itself where nobody watches it.
    pub unknown: Vec<(Item, String)>,
    /// How many facts were compared.
    pub items: u64,
    /// When all of it was last known, in milliseconds since 1970 UTC.
    pub looked_at_ms: Option<i64>,
    /// What the last rehearsal said, where the drift is still the one that was rehearsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<Rehearsal>,
}

/// What came of a rehearsal, without the details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// Of what: `drift`, `rollback`, `both` or `reboot`.
    pub of: String,
    /// Who wanted it.
    pub by: By,
    /// The parameters whose drift was tried.
    pub parameters: Vec<String>,
    /// What it says.
    pub verdict: Verdict,
    /// How real the machine was that it was tried on: `validators`, `sandbox` or `machine`.
    pub level: String,
    /// The same in lines, the verdict first.
    pub summary: Vec<String>,
    /// When it was over, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// What is to be expected of a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Which.
    pub item: Item,
    /// What it is now.
    pub value: f64,
    /// Where it must not be.
    pub bound: Bound,
    /// When it will be there, or why nobody can say.
    pub outlook: Outlook,
    /// How many readings of it are kept.
    pub points: u64,
}

/// A historical shadow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowEntry {
    /// Its place in the timeline.
    pub sequence: u64,
    /// Its content's name: equal shadows have equal ones.
    pub id: String,
    /// When it was taken, in milliseconds since 1970 UTC.
    pub taken_at_ms: i64,
    /// Why.
    pub cause: Cause,
    /// Its labels.
    pub labels: Vec<String>,
    /// Whether it is never thinned out.
    pub kept: bool,
    /// How many facts it has.
    pub items: u64,
    /// Whether it is the known good one.
    pub good: bool,
}

/// A shadow to be taken.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeShadow {
    /// Its labels.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Whether it is never thinned out.
    #[serde(default)]
    pub keep: bool,
}

/// A drift that is to be the new known good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptRequest {
    /// Which.
    #[serde(default)]
    pub selection: Selection,
    /// Why; kept in the timeline.
    pub reason: String,
}

/// What was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptReply {
    /// What differed and does no more.
    pub items: Vec<Item>,
    /// The new known good shadow.
    pub good: u64,
}

/// What differs between two shadows of a timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShadowDiff {
    /// The earlier one.
    pub from: u64,
    /// The later one; `None` for the primary as it is.
    pub to: Option<u64>,
    /// What differs, `shadow` being the earlier reading.
    pub differs: Vec<Discrepancy>,
}

/// A change, and what changed with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Blame {
    /// The change.
    pub change: Change,
    /// Others that one deed made at the same time.
    pub with: Vec<Change>,
}

/// A rollback to be planned, or made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// To which shadow; the known good one if not given.
    #[serde(default)]
    pub to: Option<u64>,
    /// Of what.
    #[serde(default)]
    pub selection: Selection,
    /// Only plan it.
    #[serde(default)]
    pub dry_run: bool,
    /// Where primary, known good and target are three different things, the target counts.
    #[serde(default)]
    pub overwrite: bool,
    /// Undo it unless a person confirms it within this time, in milliseconds.
    #[serde(default)]
    pub confirm_ms: Option<u64>,
    /// Begin although a package manager is at work.
    #[serde(default)]
    pub ignore_packages: bool,
}

/// A plan, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RollbackReply {
    /// What changes, what stays and why.
    pub plan: Plan,
    /// The rollback; `None` if none was begun, since none was asked for, nothing has to change
    /// or something must be decided first.
    pub rollback: Option<RollbackInfo>,
}

/// Who wanted a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Somebody asked for it.
    Person,
    /// The configuration's policy.
    Policy,
}

/// A rollback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RollbackInfo {
    /// Its number.
    pub number: u64,
    /// Of which primary.
    pub primary: String,
    /// When it was begun, in milliseconds since 1970 UTC.
    pub begun_at_ms: i64,
    /// Who wanted it.
    pub by: By,
    /// To which shadow.
    pub to: u64,
    /// The shadow of what it displaced.
    pub displaced: u64,
    /// What changes.
    pub plan: Plan,
    /// What became of it; `None` while it goes on.
    pub outcome: Option<Outcome>,
    /// Until when it waits to be confirmed, in milliseconds since 1970 UTC.
    pub confirm_until_ms: Option<i64>,
    /// What was done.
    pub report: Report,
}

/// Something that happened to a primary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its place among all events.
    pub sequence: u64,
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// To which primary.
    pub primary: String,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum What {
    /// It is under care.
    Added {
        /// How many facts are watched.
        items: u64,
    },
    /// Its agent was copied to the machine where it is.
    AgentCopied {
        /// To where there.
        path: String,
        /// How long it is.
        bytes: u64,
    },
    /// Its agent watches it.
    Watched,
    /// Nobody watches it.
    Unwatched {
        /// Why.
        why: String,
    },
    /// A shadow was taken.
    Taken {
        /// Its place in the timeline.
        sequence: u64,
        /// Why.
        cause: Cause,
        /// Whether it is the known good one now.
        good: bool,
    },
    /// Somebody is told of a drift.
    Alert(Box<Alert>),
    /// A rollback was begun.
    RollbackBegun {
        /// Its number.
        number: u64,
        /// Who wanted it.
        by: By,
        /// To which shadow.
        to: u64,
        /// How many places change.
        places: u64,
    },
    /// A rollback has come to something.
    RollbackEnded {
        /// Its number.
        number: u64,
        /// What.
        outcome: Outcome,
        /// Until when it waits to be confirmed, in milliseconds since 1970 UTC.
        confirm_until_ms: Option<i64>,
    },
    /// A drift that its parameter wants to be rolled back is not.
    NotRolledBack {
        /// Which.
        item: Item,
        /// What speaks against it.
        refusal: Refusal,
    },
    /// Something was tried on a shadow.
    Rehearsed(Rehearsal),
    /// Something that was to be tried on a shadow by itself could not be.
    NotRehearsed {
        /// Why, as a sentence after "because".
        why: String,
    },
    /// A span of time is covered.
    Receipt(Receipt),
    /// How a filesystem is watched.
    Coverage(Covered),
    /// Something is not as it should be, and goes on.
    Warning {
        /// A sentence.
        sentence: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_by_name_or_by_place() {
        #[track_caller]
        fn check(parameters: &[&str], paths: &[&str], path: Option<&str>, holds: bool) {
            let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
            let (parameters, paths) = (owned(parameters), owned(paths));
            let selection = Selection { parameters, paths, key: None };
            let path = path.map(|path| Blob(path.as_bytes().to_vec()));
            assert_eq!(selection.holds(&Item::whole("dns"), path.as_ref()), holds);
        }
        check(&[], &[], None, true);
        check(&["dns"], &[], None, true);
        check(&["other"], &[], Some("/etc/x"), false);
        check(&["other"], &["/etc"], Some("/etc/x"), false);
        check(&["dns"], &["/etc"], Some("/etc/x"), true);
        check(&[], &["/etc/"], Some("/etc"), true);
        check(&[], &["/"], Some("/etc/x"), true);
        check(&[], &["/et"], Some("/etc/x"), false);
        check(&[], &["/etc"], None, false);
    }
}
