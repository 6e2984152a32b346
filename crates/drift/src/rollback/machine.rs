//! What follows what: the controller of a rollback, pure. The performer does what it says.
//!
//! ```text
//! Preparing > Staging > Validating > Arming > Committing > Activating > Verifying > Confirming > Closing > Over(Done)
//!     |          |          |          |          |            |            | \         |           ^
//!     |          '----------+----------'          |            |            |  Waiting--+ confirmed |
//!     |                     |                     |            |            |     |                 |
//!     |              Closing(Refused)             '------------+---> Undoing <----' expired, aborted
//!     v                     v                                           |  \ failed
//! Over(Refused)       Over(Refused)          Reactivating <-------------'   '-> Over(Stuck)
//!                                                  '-> Closing(Reverted) > Over(Reverted)
//! ```
//!
//! What a journal holds says where to go on ([`resume`]): before `Committing` nothing has been
//! touched; from there to `Verified` it is undone; from `Confirmed` on it is finished.

use serde::{Deserialize, Serialize};

use super::report::Outcome;

/// Where a rollback is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    Preparing,
    Staging,
    Validating,
    Arming,
    Committing,
    Activating,
    Verifying,
    /// Somebody must say that it is good.
    Waiting,
    Confirming,
    /// The old versions are being undone; `active` if services may have seen the new ones.
    Undoing {
        why: String,
        active: bool,
    },
    Reactivating {
        why: String,
    },
    /// What is left over is removed.
    Closing(Outcome),
    Over(Outcome),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// The last thing to do is done.
    Done,
    /// The readings and probes are as they should be; somebody must agree besides.
    NeedsPerson,
    /// The last thing to do could not be done.
    Failed(String),
    /// Somebody says that it is good.
    Confirmed,
    /// Nobody said so in time, or somebody says that it is not.
    Expired(String),
}

/// What to do; a list of them ends with at most one that is not a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    Record(Stand),
    Do(Work),
}

/// What takes time and can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Prepare,
    Stage,
    Validate,
    Arm,
    Commit,
    Activate,
    Verify,
    /// Nothing: the records before it are what matters.
    Pass,
    Undo,
    Reactivate,
    Clear,
}

/// What the journal says of where a rollback is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stand {
    Committing,
    Committed,
    Verified,
    Confirmed,
    Reverting { why: String, active: bool },
    Undone { why: String, active: bool },
    Over { outcome: Outcome },
}

const INTERRUPTED: &str = "it was interrupted";

/// Where a new rollback begins.
pub(super) fn begin() -> (Phase, Vec<Effect>) {
    (Phase::Preparing, vec![Effect::Do(Work::Prepare)])
}

/// Where one goes on whose journal ends like this.
pub(super) fn resume(last: Option<&Stand>) -> (Phase, Vec<Effect>) {
    let interrupted = || INTERRUPTED.to_owned();
    match last {
        None => close(Outcome::Refused { why: interrupted() }),
        // After a power cut, services may have begun with new files that nobody told them of.
        Some(Stand::Committing | Stand::Committed) => undo(interrupted(), true),
        Some(Stand::Verified) => (Phase::Waiting, Vec::new()),
        Some(Stand::Confirmed) => close(Outcome::Done),
        Some(Stand::Reverting { why, active }) => {
            let phase = Phase::Undoing { why: why.clone(), active: *active };
            (phase, vec![Effect::Do(Work::Undo)])
        }
        Some(Stand::Undone { why, active }) => undone(why.clone(), *active),
        // Whatever stood in the way may be gone.
        Some(Stand::Over { outcome: Outcome::Stuck { why } }) => undo(why.clone(), true),
        Some(Stand::Over { outcome }) => (Phase::Over(outcome.clone()), Vec::new()),
    }
}

impl Phase {
    /// What follows an event. One that makes no sense here changes nothing.
    pub(super) fn on(self, event: Event) -> (Self, Vec<Effect>) {
        use Stand::{Committed, Committing, Confirmed, Verified};
        match (self, event) {
            (Self::Preparing, Event::Done) => (Self::Staging, work(Work::Stage)),
            (Self::Preparing, Event::Failed(why)) => over(Outcome::Refused { why }),
            (Self::Staging, Event::Done) => (Self::Validating, work(Work::Validate)),
            (Self::Validating, Event::Done) => (Self::Arming, work(Work::Arm)),
            (Self::Staging | Self::Validating | Self::Arming, Event::Failed(why)) => {
                close(Outcome::Refused { why })
            }
            (Self::Arming, Event::Done) => {
                (Self::Committing, vec![Effect::Record(Committing), Effect::Do(Work::Commit)])
            }
            (Self::Committing, Event::Done) => {
                (Self::Activating, vec![Effect::Record(Committed), Effect::Do(Work::Activate)])
            }
            (Self::Committing, Event::Failed(why)) => undo(why, false),
            (Self::Activating, Event::Done) => (Self::Verifying, work(Work::Verify)),
            (Self::Activating | Self::Verifying | Self::Confirming, Event::Failed(why)) => {
                undo(why, true)
            }
            (Self::Verifying, Event::Done) | (Self::Waiting, Event::Confirmed) => {
                (Self::Confirming, vec![Effect::Record(Confirmed), Effect::Do(Work::Pass)])
            }
            (Self::Verifying, Event::NeedsPerson) => {
                (Self::Waiting, vec![Effect::Record(Verified)])
            }
            (Self::Waiting, Event::Expired(why) | Event::Failed(why)) => undo(why, true),
            (Self::Confirming, Event::Done) => close(Outcome::Done),
            (Self::Undoing { why, active }, Event::Done) => undone(why, active),
            (Self::Undoing { why, .. }, Event::Failed(more)) => {
                over(Outcome::Stuck { why: format!("{why}; then: {more}") })
            }
            // What services said is in the report; the files are as they were.
            (Self::Reactivating { why }, Event::Done) => close(Outcome::Reverted { why }),
            (Self::Reactivating { why }, Event::Failed(more)) => {
                over(Outcome::Stuck { why: format!("{why}; then: {more}") })
            }
            (Self::Closing(outcome), Event::Done | Event::Failed(_)) => over(outcome),
            (same, _) => (same, Vec::new()),
        }
    }

    /// Whether the way back has been taken: then nothing stops it, a full disk neither.
    pub(super) fn is_way_back(&self) -> bool {
        matches!(
            self,
            Self::Undoing { .. } | Self::Reactivating { .. } | Self::Closing(_) | Self::Over(_)
        )
    }
}

fn work(work: Work) -> Vec<Effect> {
    vec![Effect::Do(work)]
}

fn undo(why: String, active: bool) -> (Phase, Vec<Effect>) {
    let record = Effect::Record(Stand::Reverting { why: why.clone(), active });
    (Phase::Undoing { why, active }, vec![record, Effect::Do(Work::Undo)])
}

fn undone(why: String, active: bool) -> (Phase, Vec<Effect>) {
    let record = Effect::Record(Stand::Undone { why: why.clone(), active });
    if active {
        (Phase::Reactivating { why }, vec![record, Effect::Do(Work::Reactivate)])
    } else {
        let outcome = Outcome::Reverted { why };
        (Phase::Closing(outcome), vec![record, Effect::Do(Work::Clear)])
    }
}

fn close(outcome: Outcome) -> (Phase, Vec<Effect>) {
    (Phase::Closing(outcome), work(Work::Clear))
}

fn over(outcome: Outcome) -> (Phase, Vec<Effect>) {
    (Phase::Over(outcome.clone()), vec![Effect::Record(Stand::Over { outcome })])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs from `at`, failing where `fails` says so; the end and all that was done.
    fn run(at: (Phase, Vec<Effect>), fails: &[bool], person: bool) -> (Phase, Vec<Effect>) {
        let (mut phase, mut effects) = at;
        let mut all = Vec::new();
        let mut fails = fails.iter().copied().chain(std::iter::repeat(false));
        loop {
            let work = effects.iter().find_map(|effect| match effect {
                Effect::Do(work) => Some(*work),
                Effect::Record(_) => None,
            });
            all.append(&mut effects);
            let event = match work {
                _ if phase == Phase::Waiting => Event::Expired("late".to_owned()),
                None => return (phase, all),
                Some(_) if fails.next() == Some(true) => Event::Failed("no".to_owned()),
                Some(Work::Verify) if person => Event::NeedsPerson,
                Some(_) => Event::Done,
            };
            (phase, effects) = phase.on(event);
        }
    }

    fn stands(effects: &[Effect]) -> Vec<&Stand> {
        let stands = effects.iter().filter_map(|effect| match effect {
            Effect::Record(stand) => Some(stand),
            Effect::Do(_) => None,
        });
        stands.collect()
    }

    #[test]
    fn nothing_fails_and_it_is_done() {
        let (phase, effects) = run(begin(), &[], false);
        assert_eq!(phase, Phase::Over(Outcome::Done));
        assert!(!effects.contains(&Effect::Do(Work::Undo)));
    }

    #[test]
    fn nobody_confirms_and_it_is_reverted() {
        let (phase, effects) = run(begin(), &[], true);
        assert_eq!(phase, Phase::Over(Outcome::Reverted { why: "late".to_owned() }));
        assert!(effects.contains(&Effect::Do(Work::Reactivate)), "services see the old files");
    }

    proptest! {
        /// It always ends; what was committed and is not done was undone.
        #[test]
        fn every_way_ends(fails: [bool; 14], person: bool) {
            let (phase, effects) = run(begin(), &fails, person);
            let Phase::Over(outcome) = phase else { panic!("{phase:?}") };
            let at = |work| effects.iter().position(|effect| *effect == Effect::Do(work));
            let (commit, undo) = (at(Work::Commit), at(Work::Undo));
            match outcome {
                Outcome::Done => prop_assert!(commit.is_some() && undo.is_none()),
                Outcome::Refused { .. } => prop_assert!(commit.is_none() && undo.is_none()),
                Outcome::Reverted { .. } | Outcome::Stuck { .. } => prop_assert!(undo > commit),
                Outcome::Waiting { .. } => prop_assert!(false),
            }
        }

        /// Cut anywhere and resumed, it ends as old or as new.
        #[test]
        fn every_cut_is_resumed(fails: [bool; 14], person: bool, cut in 0usize..10) {
            let (_, effects) = run(begin(), &fails, person);
            let stands = stands(&effects);
            let cut = cut.min(stands.len());
            let (phase, after) = run(resume(stands[..cut].last().copied()), &[], person);
            let Phase::Over(outcome) = phase else { panic!("{phase:?}") };
            // That it was confirmed may stand there although the record of it failed.
            let last = |is: fn(&Stand) -> bool| stands[..cut].iter().rposition(|stand| is(stand));
            let was_confirmed = last(|stand| *stand == Stand::Confirmed)
                > last(|stand| matches!(stand, Stand::Reverting { .. }));
            let committed = stands[..cut].contains(&&Stand::Committing);
            let undoes = after.contains(&Effect::Do(Work::Undo));
            match outcome {
                Outcome::Done => prop_assert!(was_confirmed && !undoes),
                Outcome::Refused { .. } => prop_assert!(!committed),
                Outcome::Reverted { .. } => prop_assert!(committed && !was_confirmed),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
