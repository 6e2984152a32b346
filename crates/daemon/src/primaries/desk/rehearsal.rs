//! Rehearsals at a desk: one at a time, on a thread of their own, so that the desk goes on.
//!
//! ```text
//! somebody asks ─────────┐
//! `on_drift: rehearse` ──┼─> waits ──> read all ──> files of which keys are watched ──> edits ─┐
//! a policy wants a pass ─┘     ▲                                                               │
//!                              └── the next <── told, answered, decided with <── thread <──────┘
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread::JoinHandle;
use std::time::Duration;

use umbra_api::error::{ErrorCode, WireError};
use umbra_drift::config::OnDrift;
use umbra_drift::discrepancy::Discrepancy;
use umbra_drift::reading::Item;
use umbra_drift::rollback::plan::Change;
use umbra_drift::service::{By, Rehearsal, RollbackRequest, Selection, What as Told};
use umbra_drift::wire::Ask;
use umbra_rehearse::derive::{self, Derived, Known};
use umbra_rehearse::service::{RehearseReply, RehearseRequest};
use umbra_rehearse::{Kind, Report, What};
use umbra_state::Verdict;

use super::super::subject::{Job, Stages, all_validators, ground};
use super::rollback;
use super::{Answer, Desk, Input, Task};
use crate::clock::now_ms;
use crate::shadows::fresh_name;

/// Who asks for more than wait already is refused.
const WAITING_MAX: usize = 8;
/// How long a full inbox is left alone.
const FULL: Duration = Duration::from_millis(2);
/// How much of a report goes into an event.
const LINES_MAX: usize = 12;
const LINE_CHARS_MAX: usize = 300;

/// Somebody wants a rehearsal.
pub(in crate::primaries) struct Wanted {
    pub(in crate::primaries) request: RehearseRequest,
    pub(in crate::primaries) by: By,
    pub(in crate::primaries) answer: Option<Answer<RehearseReply>>,
    /// The rollback that is decided about with what it says.
    then: Option<Box<rollback::Wanted>>,
}

/// What a rehearsal of a rollback said of which changes.
pub(in crate::primaries) struct Rehearsed {
    pub(super) verdict: Option<Verdict>,
    pub(super) changes: Vec<Change>,
    /// How many there were, since what was rehearsed had changed by then.
    pub(super) times: u32,
}

/// A desk's rehearsals.
#[derive(Default)]
pub(super) struct Rehearsals {
    waiting: VecDeque<Wanted>,
    /// Parameters that drifted and want it.
    drifted: BTreeSet<String>,
    /// One whose edits need files, and the question for them.
    asked: Option<(u64, Wanted)>,
    running: Option<Running>,
    /// What the last one said, and of which drift.
    last: Option<(Rehearsal, Selection, Vec<Discrepancy>)>,
}

struct Running {
    wanted: Wanted,
    /// What it is about.
    drift: Vec<Discrepancy>,
    changes: Vec<Change>,
    stages: Arc<Stages>,
    /// The shadow's name.
    shadow: String,
    cancel: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Wanted {
    /// What a person asked for.
    pub(in crate::primaries) fn by_person(
        request: RehearseRequest,
        answer: Answer<RehearseReply>,
    ) -> Self {
        Self { request, by: By::Person, answer: Some(answer), then: None }
    }
}

impl Desk {
    /// Drifts that are to be tried by themselves.
    pub(super) fn rehearse_drift(&mut self, differs: &[Discrepancy]) -> Result<(), WireError> {
        let parameters = &self.given.config.parameters;
        let wants = |one: &&Discrepancy| {
            let mut named = parameters.iter().filter(|other| other.name == one.item.parameter);
            named.any(|parameter| parameter.on_drift == OnDrift::Rehearse)
        };
        let names = differs.iter().filter(wants).map(|one| one.item.parameter.clone());
        self.rehearsals.drifted.extend(names);
        self.next_rehearsal()
    }

    /// A rollback that nobody asked for waits until it was tried.
    pub(super) fn rehearse_first(&mut self, wanted: rollback::Wanted) -> Result<(), WireError> {
        let RollbackRequest { to, selection, overwrite, .. } = wanted.request.clone();
        let what = Kind::Rollback;
        let request =
            RehearseRequest { what, selection, to, overwrite, recipe: None, provider: None };
        let then = Some(Box::new(wanted));
        self.want_rehearsal(Wanted { request, by: By::Policy, answer: None, then })
    }

    /// Somebody wants a rehearsal.
    pub(super) fn want_rehearsal(&mut self, wanted: Wanted) -> Result<(), WireError> {
        if self.rehearsals.waiting.len() >= WAITING_MAX {
            let message = format!("rehearse on {}: {WAITING_MAX} rehearsals wait", self.name());
            return self.no_rehearsal(wanted, WireError::new(ErrorCode::Conflict, message));
        }
        self.rehearsals.waiting.push_back(wanted);
        self.next_rehearsal()
    }

    /// Begins the next one unless one is on its way.
    pub(super) fn next_rehearsal(&mut self) -> Result<(), WireError> {
        let looks = self.waiting.iter().any(|(_, task)| matches!(task, Task::Rehearse(_)));
        let rehearsals = &mut self.rehearsals;
        if looks || rehearsals.asked.is_some() || rehearsals.running.is_some() {
            return Ok(());
        }
        let wanted = match rehearsals.waiting.pop_front() {
            Some(wanted) => wanted,
            None if rehearsals.drifted.is_empty() || self.line.is_none() => return Ok(()),
            None => {
                let parameters = std::mem::take(&mut rehearsals.drifted).into_iter().collect();
                let selection = Selection { parameters, ..Selection::default() };
                let what = Kind::Drift;
                let request = RehearseRequest {
                    what,
                    selection,
                    to: None,
                    overwrite: false,
                    recipe: None,
                    provider: None,
                };
                Wanted { request, by: By::Policy, answer: None, then: None }
            }
        };
        self.after_a_look(Task::Rehearse(Box::new(wanted)))
    }

    /// Everything was read again.
    pub(super) fn begin_rehearsal(&mut self, wanted: Wanted) -> Result<(), WireError> {
        let paths = self.keyed_files();
        if paths.is_empty() {
            return self.on_rehearsal_files(wanted, &BTreeMap::new());
        }
        match self.line.as_mut().map(|line| line.ask(Ask::Files(paths))) {
            Some(Ok(number)) => {
                self.rehearsals.asked = Some((number, wanted));
                Ok(())
            }
            _ => {
                let error = self.unread("its agent is gone");
                self.no_rehearsal(wanted, error)
            }
        }
    }

    /// The rehearsal that asked this question, if one did.
    pub(super) fn rehearsal_that_asked(&mut self, number: u64) -> Option<Wanted> {
        let asked = self.rehearsals.asked.take_if(|(asked, _)| *asked == number);
        asked.map(|(_, wanted)| wanted)
    }

    /// The question it asked is not answered any more.
    pub(super) fn rehearsal_unanswered(&mut self, error: &WireError) -> Result<(), WireError> {
        match self.rehearsals.asked.take() {
            Some((_, wanted)) => self.no_rehearsal(wanted, error.clone()),
            None => Ok(()),
        }
    }

    /// Everything it needs is known.
    pub(super) fn on_rehearsal_files(
        &mut self,
        wanted: Wanted,
        files: &BTreeMap<PathBuf, Vec<u8>>,
    ) -> Result<(), WireError> {
        if wanted.by == By::Policy && self.chosen(&wanted.request.selection).is_empty() {
            // It is gone by now: there is nothing to try, and nothing to put back.
            return Ok(());
        }
        match self.job(&wanted.request, files) {
            Ok((job, drift, changes)) => self.start_rehearsal(wanted, job, drift, changes),
            Err(error) => self.no_rehearsal(wanted, error),
        }
    }

    fn job(
        &self,
        request: &RehearseRequest,
        files: &BTreeMap<PathBuf, Vec<u8>>,
    ) -> Result<(Job, Vec<Discrepancy>, Vec<Change>), WireError> {
        let Some(primary) = &self.primary else { return Err(self.unread("it is not read yet")) };
        let (row, config) = (&self.given.row, &self.given.config);
        let differs = self.chosen(&request.selection);
        if differs.is_empty() && request.what != Kind::Reboot {
            let message = format!(
                "rehearse {} of {}: nothing that was named differs",
                request.what.noun(),
                row.name
            );
            return Err(WireError::new(ErrorCode::NotFound, message));
        }
        let whole = RollbackRequest {
            selection: Selection { key: None, ..request.selection.clone() },
            ..RollbackRequest::default()
        };
        let (home, _) = self.planned(&whole, row.good, files)?;
        let items: BTreeSet<Item> = differs.iter().map(|one| one.item.clone()).collect();
        let known = Known { config, good: primary.good(), current: primary.current(), home: &home };
        let Derived { good, drift, mut untried } =
            derive::drift(known, ground(row.image.as_deref()), &items);
        let (mut back, mut changes) = (Vec::new(), Vec::new());
        if matches!(request.what, Kind::Rollback | Kind::Both) {
            let wanted = RollbackRequest {
                to: request.to,
                selection: request.selection.clone(),
                overwrite: request.overwrite,
                ..RollbackRequest::default()
            };
            let (plan, _) = self.planned(&wanted, request.to.unwrap_or(row.good), files)?;
            let (edits, not) = derive::back(&plan);
            let known: BTreeSet<Vec<u8>> = untried.iter().map(|one| one.path.0.clone()).collect();
            untried.extend(not.into_iter().filter(|one| !known.contains(&one.path.0)));
            (back, changes) = (edits, plan.changes);
        }
        let what = match request.what {
            Kind::Drift => What::Drift(drift),
            Kind::Rollback => What::Rollback { drift, back },
            Kind::Both => What::Both { drift, back },
            Kind::Reboot => What::Reboot(drift),
        };
        let job = Job {
            name: fresh_name("rehearsal"),
            primary: row.name.clone(),
            root: row.root.clone(),
            remote: row.remote.is_some(),
            image: row.image.clone(),
            recipe: request.recipe.clone(),
            provider: request.provider.clone(),
            validators: all_validators(config),
            good,
            what,
            untried,
        };
        Ok((job, differs, changes))
    }

    /// What differs of what was chosen.
    fn chosen(&self, selection: &Selection) -> Vec<Discrepancy> {
        let chosen = |one: &&Discrepancy| selection.chooses(&self.given.config, &one.item);
        let primary = self.primary.iter();
        primary.flat_map(|primary| primary.discrepancies()).filter(chosen).cloned().collect()
    }

    fn start_rehearsal(
        &mut self,
        wanted: Wanted,
        job: Job,
        drift: Vec<Discrepancy>,
        changes: Vec<Change>,
    ) -> Result<(), WireError> {
        let cancel = Arc::new(AtomicBool::new(false));
        let (stages, inbox) = (Arc::clone(&self.given.stages), self.given.inbox.clone());
        let shadow = job.name.clone();
        let cancelled = Arc::clone(&cancel);
        let thread = std::thread::Builder::new().name("umbra-rehearsal".into()).spawn(move || {
            let report = stages.rehearse(job, &cancelled);
            deliver(Input::Rehearsed(Box::new(report)), &inbox, &cancelled);
        });
        match thread {
            Ok(thread) => {
                let (stages, thread) = (Arc::clone(&self.given.stages), Some(thread));
                self.rehearsals.running =
                    Some(Running { wanted, drift, changes, stages, shadow, cancel, thread });
                Ok(())
            }
            Err(error) => {
                let error =
                    WireError::new(ErrorCode::Environment, "start a thread").caused_by(error);
                self.no_rehearsal(wanted, error)
            }
        }
    }

    /// A rehearsal is over.
    pub(super) fn on_rehearsed(
        &mut self,
        report: Result<Report, WireError>,
    ) -> Result<(), WireError> {
        let Some(mut running) = self.rehearsals.running.take() else { return Ok(()) };
        running.join();
        // What `Drop` cancels is over by now.
        let wanted = std::mem::replace(&mut running.wanted, Wanted::nobody());
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                self.no_rehearsal(wanted, error)?;
                return self.next_rehearsal();
            }
        };
        let told = told(&report, wanted.by, &running.drift);
        let drift = std::mem::take(&mut running.drift);
        self.rehearsals.last = Some((told.clone(), wanted.request.selection.clone(), drift));
        self.commit(Vec::new(), Vec::new(), vec![Told::Rehearsed(told)])?;
        self.given.feed.flush()?;
        let verdict = report.verdict;
        if let Some(answer) = wanted.answer {
            // Who asked may be gone.
            let _ = answer.send(Ok(RehearseReply { report }));
        }
        if let Some(then) = wanted.then {
            let changes = std::mem::take(&mut running.changes);
            self.decide_with(*then, Some(verdict), changes)?;
        }
        self.next_rehearsal()
    }

    /// It could not be made.
    fn no_rehearsal(&mut self, wanted: Wanted, error: WireError) -> Result<(), WireError> {
        if wanted.by == By::Policy {
            let why = std::iter::once(&error.message).chain(&error.causes);
            let why = why.map(|line| shortened(line)).collect::<Vec<_>>().join(": ");
            self.commit(Vec::new(), Vec::new(), vec![Told::NotRehearsed { why }])?;
        }
        if let Some(answer) = wanted.answer {
            // Who asked may be gone.
            let _ = answer.send(Err(error));
        }
        match wanted.then {
            Some(then) => self.decide_with(*then, None, Vec::new()),
            None => Ok(()),
        }
    }

    /// Takes up the rollback that waited for it.
    fn decide_with(
        &mut self,
        mut then: rollback::Wanted,
        verdict: Option<Verdict>,
        changes: Vec<Change>,
    ) -> Result<(), WireError> {
        let times = then.rehearsed.map_or(1, |before| before.times + 1);
        then.rehearsed = Some(Rehearsed { verdict, changes, times });
        self.after_a_look(Task::RollBack(Box::new(then)))
    }

    /// What the last one said, where that is still true.
    pub(super) fn last_rehearsal(&self) -> Option<Rehearsal> {
        let (told, selection, drift) = self.rehearsals.last.as_ref()?;
        (self.chosen(selection) == *drift).then(|| told.clone())
    }
}

impl Desk {
    /// Answers that a task cannot be done now. A drift that is tried by itself waits for the
    /// next agent instead.
    pub(super) fn turn_away(&mut self, task: Task, error: &WireError) {
        match task {
            Task::Rehearse(wanted) if wanted.by == By::Policy && wanted.then.is_none() => {
                self.rehearsals.drifted.extend(wanted.request.selection.parameters);
            }
            task => task.refuse(error),
        }
    }
}

impl Task {
    /// Answers that a rehearsal cannot be made.
    pub(super) fn refuse_rehearsal(wanted: Wanted, error: WireError) {
        if let Some(answer) = wanted.answer {
            // Who asked may be gone.
            let _ = answer.send(Err(error));
        }
    }
}

impl Wanted {
    fn nobody() -> Self {
        let request = RehearseRequest {
            what: Kind::Drift,
            selection: Selection::default(),
            to: None,
            overwrite: false,
            recipe: None,
            provider: None,
        };
        Self { request, by: By::Policy, answer: None, then: None }
    }
}

impl Running {
    fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a rehearsal panicked");
        }
    }
}

impl Drop for Running {
    /// A desk that is closed leaves no shadow behind.
    fn drop(&mut self) {
        self.cancel.store(true, Ordering::Relaxed);
        if self.thread.is_some() {
            // What runs in it would be waited for.
            self.stages.abandon(&self.shadow);
        }
        self.join();
    }
}

fn told(report: &Report, by: By, drift: &[Discrepancy]) -> Rehearsal {
    let parameters: BTreeSet<&str> = drift.iter().map(|one| one.item.parameter.as_str()).collect();
    let mut summary: Vec<String> = report.summary().iter().map(|line| shortened(line)).collect();
    let more = summary.len().saturating_sub(LINES_MAX);
    summary.truncate(LINES_MAX);
    if more > 0 {
        summary.push(format!("{more} more lines"));
    }
    Rehearsal {
        of: report.what.as_str().to_owned(),
        by,
        parameters: parameters.into_iter().map(str::to_owned).collect(),
        verdict: report.verdict,
        level: report.level.as_str().to_owned(),
        summary,
        at_ms: now_ms(),
        took_ms: report.took_us / 1000,
    }
}

fn shortened(line: &str) -> String {
    let mut short: String = line.chars().take(LINE_CHARS_MAX).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}

/// Waits for room unless the desk that would make it waits for this thread.
fn deliver(input: Input, inbox: &SyncSender<Input>, cancelled: &AtomicBool) {
    let mut waiting = input;
    while !cancelled.load(Ordering::Relaxed) {
        match inbox.try_send(waiting) {
            Err(TrySendError::Full(input)) => waiting = input,
            Ok(()) | Err(TrySendError::Disconnected(_)) => return,
        }
        std::thread::sleep(FULL);
    }
}
