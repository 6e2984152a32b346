//! Rollbacks at a desk: planned here, carried out by the agent, remembered whatever happens.
//!
//! ```text
//! read all ──> files of which keys are watched ──> plan ──> (dry run, nothing to do, conflicts: answered)
//!                                                   │
//!                     shadow of what is displaced <─┤
//!                                                   └──> agent ──> done, refused, reverted, stuck
//!                                                            └───> waits ──> confirmed, aborted, too late
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use umbra_api::blob::Blob;
use umbra_api::error::{ErrorCode, WireError};
use umbra_drift::config::Source;
use umbra_drift::format::Key;
use umbra_drift::reading::{Item, Snapshot};
use umbra_drift::rollback::plan::{Confirmation, Conflicts, Request, Selection as Selected, plan};
use umbra_drift::rollback::{Outcome, Plan, Report};
use umbra_drift::service::{By, RollbackInfo, RollbackReply, RollbackRequest, TakeShadow, What};
use umbra_drift::wire::{Ask, RollBack};
use umbra_state::Cause;

use super::super::how_to_decide;
use super::rehearsal::Rehearsed;
use super::unasked::Allowed;
use super::{Answer, Desk, Task};
use crate::clock::now_ms;
use crate::db::drift::{DriftWrite, RollbackRow};

/// Rollbacks listed.
const LISTED: u32 = 50;
/// An agent is asked what became of a rollback this long after its time was over.
const LATE_MS: i64 = 2_000;
/// No rollback waits longer to be confirmed than a year, whatever its agent says.
const LEFT_MS_MAX: i64 = 366 * 24 * 3_600_000;

/// A rollback on its way.
pub(super) enum Undo {
    /// Its plan needs files.
    Asked {
        /// The question for them.
        number: u64,
        wanted: Wanted,
    },
    /// The agent carries it out, or it waits to be confirmed.
    Begun {
        info: Box<RollbackInfo>,
        /// The last question about it.
        question: u64,
        answer: Option<Answer<RollbackReply>>,
    },
}

/// Somebody wants a rollback.
pub(in crate::primaries) struct Wanted {
    pub(in crate::primaries) request: RollbackRequest,
    pub(in crate::primaries) by: By,
    pub(in crate::primaries) answer: Option<Answer<RollbackReply>>,
    /// What its rehearsal said.
    pub(in crate::primaries) rehearsed: Option<Rehearsed>,
}

impl Desk {
    /// Rollbacks, newest first.
    pub(super) fn rollbacks(&self) -> Result<Vec<RollbackInfo>, WireError> {
        let rows = self.given.runtime.block_on(self.given.db.rollbacks(self.name(), LISTED))?;
        Ok(rows.iter().filter_map(|row| serde_json::from_str(&row.record).ok()).collect())
    }

    /// Everything was read again: now it can be planned.
    pub(super) fn begin_rollback(&mut self, wanted: Wanted) -> Result<(), WireError> {
        if let Some(undo) = &self.undo {
            if wanted.by == By::Policy {
                return self.refuse_for_now(wanted);
            }
            let (what, hint) = match undo {
                Undo::Asked { .. } => {
                    ("another is being planned".to_owned(), "try again".to_owned())
                }
                Undo::Begun { info, .. } => {
                    (format!("rollback {} goes on", info.number), how_to_decide(self.name()))
                }
            };
            let message = format!("roll {} back: {what}", self.name());
            wanted.refuse(&WireError::new(ErrorCode::Conflict, message).with_hint(hint));
            return Ok(());
        }
        let paths = self.keyed_files();
        if paths.is_empty() {
            return self.on_files(wanted, &BTreeMap::new());
        }
        match self.line.as_mut().map(|line| line.ask(Ask::Files(paths))) {
            Some(Ok(number)) => self.undo = Some(Undo::Asked { number, wanted }),
            _ => wanted.refuse(&self.unread("its agent is gone")),
        }
        Ok(())
    }

    /// The agent sent files.
    pub(super) fn on_files_told(
        &mut self,
        answers: u64,
        files: Vec<(Blob, Blob)>,
    ) -> Result<(), WireError> {
        if let Some(wanted) = self.rehearsal_that_asked(answers) {
            let named = files.into_iter().map(|(path, bytes)| (path_of(&path), bytes.0));
            return self.on_rehearsal_files(wanted, &named.collect());
        }
        match self.undo.take() {
            Some(Undo::Asked { number, wanted }) if number == answers => {
                let named = files.into_iter().map(|(path, bytes)| (path_of(&path), bytes.0));
                self.on_files(wanted, &named.collect())
            }
            other => {
                self.undo = other;
                Ok(())
            }
        }
    }

    /// The files of which keys are watched.
    pub(super) fn keyed_files(&self) -> Vec<Blob> {
        let sources = self.given.config.parameters.iter().map(|parameter| &parameter.source);
        let paths: BTreeSet<&str> = sources
            .filter_map(|source| match source {
                Source::File { path, key: Some(_), .. } => Some(path.as_str()),
                _ => None,
            })
            .collect();
        paths.into_iter().map(|path| Blob(path.as_bytes().to_vec())).collect()
    }

    fn on_files(
        &mut self,
        wanted: Wanted,
        files: &BTreeMap<PathBuf, Vec<u8>>,
    ) -> Result<(), WireError> {
        let to = wanted.request.to.unwrap_or(self.given.row.good);
        let (plan, target) = match self.planned(&wanted.request, to, files) {
            Ok(planned) => planned,
            Err(error) => {
                wanted.refuse(&error);
                return Ok(());
            }
        };
        let wanted = match wanted.by {
            By::Person => wanted,
            By::Policy => match self.let_by_policy(wanted, &plan)? {
                Allowed::All(wanted) => wanted,
                Allowed::Rest(wanted) => return self.on_files(wanted, files),
                Allowed::Nothing => return Ok(()),
            },
        };
        if wanted.request.dry_run || plan.is_empty() || !plan.conflicts.is_empty() {
            if let Some(answer) = wanted.answer {
                // Who asked may be gone; so it is below.
                let _ = answer.send(Ok(RollbackReply { plan, rollback: None }));
            }
            return Ok(());
        }
        self.carry_out(wanted, plan, to, &target)
    }

    /// A plan, and the shadow it leads to.
    pub(super) fn planned(
        &self,
        request: &RollbackRequest,
        to: u64,
        files: &BTreeMap<PathBuf, Vec<u8>>,
    ) -> Result<(Plan, Snapshot), WireError> {
        let Some(primary) = &self.primary else { return Err(self.unread("it is not read yet")) };
        let target = match to == self.given.row.good {
            true => primary.good().clone(),
            false => self.timeline.snapshot(to)?,
        };
        let selection = &request.selection;
        let of_key = match (&selection.key, &selection.paths[..]) {
            (None, _) => Selected::Everything,
            (Some(key), [path]) => {
                if let Err(error) = key.parse::<Key>() {
                    let message = "plan a rollback of a key: it is none";
                    let refused = WireError::new(ErrorCode::BadRequest, message);
                    return Err(refused.caused_by(error));
                }
                Selected::Key { path: path.into(), key: key.clone() }
            }
            (Some(_), _) => {
                let message = "plan a rollback of a key: name the one file it is in";
                return Err(WireError::new(ErrorCode::BadRequest, message));
            }
        };
        let mut plan = plan(Request {
            config: &self.given.config,
            target: &target,
            base: primary.good(),
            current: primary.current(),
            files,
            selection: &of_key,
            conflicts: if request.overwrite { Conflicts::Target } else { Conflicts::Stop },
        });
        if selection.key.is_none() {
            let chosen = |item: &Item| selection.chooses(&self.given.config, item);
            plan.changes.retain(|change| change.items.iter().any(|one| chosen(&one.item)));
            plan.left.retain(|left| chosen(&left.item));
            plan.conflicts.retain(|conflict| chosen(&conflict.item));
        }
        Ok((plan, target))
    }

    fn carry_out(
        &mut self,
        wanted: Wanted,
        plan: Plan,
        to: u64,
        target: &Snapshot,
    ) -> Result<(), WireError> {
        let Wanted { request, by, answer, .. } = wanted;
        let begun_at_ms = now_ms();
        let number = self.given.next_rollback();
        let kept =
            self.keep_current(Cause::Displaced { rollback: number }, TakeShadow::default())?;
        let confirm = request.confirm_ms.map(|timeout_ms| Confirmation {
            timeout_ms,
            probes: plan.confirm.iter().flat_map(|confirm| confirm.probes.clone()).collect(),
            by_person: true,
        });
        let ask = Ask::RollBack(Box::new(RollBack {
            id: name_of(number),
            plan: plan.clone(),
            confirm,
            ignore_packages: request.ignore_packages,
        }));
        let info = RollbackInfo {
            number,
            primary: self.name().to_owned(),
            begun_at_ms,
            by,
            to,
            displaced: kept.entry.sequence,
            plan,
            outcome: None,
            confirm_until_ms: None,
            report: Report::default(),
        };
        if by == By::Policy {
            self.unasked.begins(begun_at_ms, &info.plan);
        }
        let places = info.plan.changes.len() as u64;
        let events = vec![kept.taken, What::RollbackBegun { number, by, to, places }];
        let mut writes = kept.writes;
        writes.push(self.rollback_row(&info));
        self.commit(writes, Vec::new(), events)?;
        // What is displaced is kept before anything is.
        self.given.feed.flush()?;
        self.target = (to != self.given.row.good).then(|| target.clone());
        let asked = self.line.as_mut().map(|line| line.ask(ask));
        let question = asked.as_ref().and_then(|asked| asked.as_ref().ok().copied());
        self.undo =
            Some(Undo::Begun { info: Box::new(info), question: question.unwrap_or(0), answer });
        match question {
            Some(_) => Ok(()),
            None => self.on_rolled_back(
                &name_of(number),
                Outcome::Refused { why: "its agent is gone".to_owned() },
                None,
                Report::default(),
            ),
        }
    }

    /// The agent says what became of a rollback.
    pub(super) fn on_rolled_back(
        &mut self,
        id: &str,
        outcome: Outcome,
        left_ms: Option<u64>,
        report: Report,
    ) -> Result<(), WireError> {
        let (mut info, answer) = match self.undo.take() {
            Some(Undo::Begun { info, answer, .. }) if name_of(info.number) == id => (info, answer),
            other => {
                // One of before a restart.
                self.undo = other;
                let known = self.rollbacks()?.into_iter().find(|info| name_of(info.number) == id);
                let Some(info) = known else { return Ok(()) };
                (Box::new(info), None)
            }
        };
        let same = info.outcome.as_ref() == Some(&outcome);
        info.report = report;
        info.confirm_until_ms = left_ms.map(|left| now_ms().saturating_add(waits_ms(left)));
        info.outcome = Some(outcome.clone());
        let number = info.number;
        let mut writes = vec![self.rollback_row(&info)];
        let confirm_until_ms = info.confirm_until_ms;
        let ended = What::RollbackEnded { number, outcome: outcome.clone(), confirm_until_ms };
        let mut events = if same { Vec::new() } else { vec![ended] };
        if outcome.is_success()
            && let Some(target) = self.target.take()
        {
            self.good_is(&info, &target, &mut writes, &mut events)?;
        }
        self.commit(writes, Vec::new(), events)?;
        self.given.feed.flush()?;
        if let Some(answer) = answer {
            let reply =
                RollbackReply { plan: info.plan.clone(), rollback: Some(info.as_ref().clone()) };
            let _ = answer.send(Ok(reply));
        }
        if outcome.is_final() {
            if outcome.is_success() {
                self.lately = items_of(&info.plan);
            }
            return self.after_a_look(Task::Settled(info));
        }
        self.undo = Some(Undo::Begun { info, question: 0, answer: None });
        Ok(())
    }

    /// The agent could not do what it was asked for.
    pub(super) fn on_rollback_failed(&mut self, failed: u64, why: &str) -> Result<(), WireError> {
        match self.undo.take() {
            Some(Undo::Asked { number, wanted }) if number == failed => {
                wanted.refuse(&self.unread(why));
                Ok(())
            }
            Some(Undo::Begun { info, question, answer }) if question == failed => {
                if info.confirm_until_ms.is_some() {
                    // What it could not do is to confirm or to undo; the rollback still waits.
                    if let Some(answer) = answer {
                        let _ = answer.send(Err(self.unread(why)));
                    }
                    self.undo = Some(Undo::Begun { info, question: 0, answer: None });
                    return Ok(());
                }
                let id = name_of(info.number);
                self.undo = Some(Undo::Begun { info, question: 0, answer });
                let outcome = Outcome::Refused { why: why.to_owned() };
                self.on_rolled_back(&id, outcome, None, Report::default())
            }
            other => {
                self.undo = other;
                Ok(())
            }
        }
    }

    /// The agent is gone. What it had begun, its timer undoes or the next agent settles.
    pub(super) fn on_rollback_lost(&mut self, why: &str) {
        let error = self.unread(why);
        match self.undo.take() {
            Some(Undo::Asked { wanted, .. }) => wanted.refuse(&error),
            Some(Undo::Begun { info, answer, .. }) => {
                if let Some(answer) = answer {
                    let hint = "`umbra drift rollbacks` says what became of it";
                    let _ = answer.send(Err(error.with_hint(hint)));
                }
                self.undo = Some(Undo::Begun { info, question: 0, answer: None });
            }
            None => {}
        }
    }

    /// Everything was read after a rollback had ended: the timeline gets what it led to.
    pub(super) fn on_settled(&mut self, info: &RollbackInfo) -> Result<(), WireError> {
        self.lately.clear();
        let success = info.outcome.as_ref().is_some_and(Outcome::is_success);
        if !success {
            return Ok(());
        }
        let cause = Cause::Rollback { rollback: info.number, to: info.to };
        let kept = self.keep_current(cause, TakeShadow::default())?;
        self.commit(kept.writes, Vec::new(), vec![kept.taken])
    }

    /// What was put back from an older shadow is the known good now.
    fn good_is(
        &mut self,
        info: &RollbackInfo,
        target: &Snapshot,
        writes: &mut Vec<DriftWrite>,
        events: &mut Vec<What>,
    ) -> Result<(), WireError> {
        let Some(primary) = &mut self.primary else { return Ok(()) };
        let good = primary.good_from(target, &items_of(&info.plan));
        // What differs from it is compared again when everything has been read.
        primary.on_good(good.clone(), &super::unwitnessed(now_ms()));
        let cause = Cause::Rollback { rollback: info.number, to: info.to };
        let kept = self.keep_good(&good, cause)?;
        writes.extend(kept.writes);
        events.push(kept.taken);
        Ok(())
    }

    /// Whether an item that agrees again does so because it was rolled back.
    pub(super) fn was_rolled_back(&self, item: &Item) -> bool {
        let Some(Undo::Begun { info, .. }) = &self.undo else {
            return self.lately.contains(item);
        };
        info.plan.changes.iter().flat_map(|change| &change.items).any(|one| one.item == *item)
    }

    /// Time passed: one that nobody confirmed was undone by its timer, which tells nobody.
    pub(super) fn on_rollback_tick(&mut self) {
        if let Some(Undo::Begun { info, .. }) = &mut self.undo
            && info.confirm_until_ms.is_some_and(|until| until.saturating_add(LATE_MS) < now_ms())
            && let Some(line) = &mut self.line
        {
            let id = name_of(info.number);
            info.confirm_until_ms = Some(now_ms());
            if let Err(error) = line.ask(Ask::Settle { id }) {
                tracing::warn!(primary = self.given.row.name, %error, "an agent cannot be asked");
            }
        }
    }

    /// Says that the rollback that waits is good, or undoes it.
    pub(super) fn decide_rollback(&mut self, confirm: bool, answer: Answer<RollbackReply>) {
        let Some(Undo::Begun { info, question, answer: waiting }) = &mut self.undo else {
            let message = format!("find a rollback of {} that waits", self.name());
            // Who asked may be gone.
            let _ = answer.send(Err(WireError::new(ErrorCode::NotFound, message)));
            return;
        };
        let id = name_of(info.number);
        let why = "somebody wanted it undone".to_owned();
        let ask = if confirm { Ask::Confirm { id } } else { Ask::Abort { id, why } };
        let asked = self.line.as_mut().map(|line| line.ask(ask));
        match asked {
            Some(Ok(number)) => (*question, *waiting) = (number, Some(answer)),
            _ => {
                let _ = answer.send(Err(self.unread("its agent is gone")));
            }
        }
    }

    /// Whether no rollback stands against letting go of the primary: its journal would go, too.
    /// Where there is no agent nobody can decide about it here, and what becomes of the journal
    /// is for the agent that is told to forget.
    pub(super) fn can_be_let_go(&self) -> Result<(), WireError> {
        match &self.undo {
            Some(Undo::Begun { info, .. }) if self.lost.is_none() => {
                let message =
                    format!("let go of {}: rollback {} goes on", self.name(), info.number);
                let refused = WireError::new(ErrorCode::Conflict, message);
                Err(refused.with_hint(how_to_decide(self.name())))
            }
            _ => Ok(()),
        }
    }

    fn rollback_row(&self, info: &RollbackInfo) -> DriftWrite {
        DriftWrite::Rollback(RollbackRow {
            id: info.number,
            name: self.name().to_owned(),
            begun_at_ms: info.begun_at_ms,
            record: serde_json::to_string(info).unwrap_or_default(),
        })
    }
}

impl Wanted {
    /// Answers that it cannot be done.
    pub(super) fn refuse(self, error: &WireError) {
        if let Some(answer) = self.answer {
            // Who asked may be gone.
            let _ = answer.send(Err(error.clone()));
        }
    }
}

pub(super) fn items_of(plan: &Plan) -> BTreeSet<Item> {
    plan.changes.iter().flat_map(|change| &change.items).map(|one| one.item.clone()).collect()
}

/// How long it waits still, as far as that can be believed.
fn waits_ms(left: u64) -> i64 {
    i64::try_from(left).unwrap_or(i64::MAX).min(LEFT_MS_MAX)
}

/// What the agent calls it.
fn name_of(number: u64) -> String {
    format!("r{number}")
}

fn path_of(path: &Blob) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(&path.0))
}
