//! Listens to the parts of an attempt and decides: hands out tests, keeps the ledger, settles
//! failures.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use umbra_api::build::{Answer, BuildPhase, Event, Failure, OnError, TestResult};
use umbra_state::{ChangeKind, Delta, Digest, StateId, Tree, Verdict};
use umbra_suite::{Action, Check, TestReport, select};

use super::facts::Progress;
use super::{Attempt, Ending, Input, Session, micros};
use crate::error::BuildError;
use crate::ingest;
use crate::ledger::{Cause, Ledger, Standing};
use crate::look::result_of;
use crate::pool::{Facts, Job, KeptShadow, Pool, Root, Told};
use crate::ports::TestKey;
use crate::services::Startup;
use crate::steps::StepEnd;

/// One attempt's moving parts.
pub(super) struct Control<'a> {
    session: &'a Session,
    progress: &'a mut Progress,
    ledger: Ledger,
    pool: Pool,
    roots: BTreeMap<usize, Root>,
    /// How steps failed by themselves.
    failures: BTreeMap<usize, String>,
    /// Results of failed tests, by step.
    results: BTreeMap<usize, TestResult>,
    /// Tests taken back from the queue while a failure is settled.
    held: Vec<Job>,
    cancels: BTreeMap<usize, Arc<AtomicBool>>,
    /// Tests that passed on states that had no id yet, by step.
    passed: BTreeMap<usize, Vec<usize>>,
    kept: Option<KeptShadow>,
    /// How long freezing the build took, in microseconds; 0 while it is not frozen.
    frozen: Arc<AtomicU64>,
    /// How many tests are out, for the stepper to tell.
    waiting: &'a AtomicUsize,
}

impl<'a> Control<'a> {
    pub(super) fn new(
        session: &'a Session,
        progress: &'a mut Progress,
        from: usize,
        pool: Pool,
        frozen: Arc<AtomicU64>,
        waiting: &'a AtomicUsize,
    ) -> Self {
        Self {
            session,
            progress,
            ledger: Ledger::new(from, session.order.end),
            pool,
            roots: BTreeMap::new(),
            failures: BTreeMap::new(),
            results: BTreeMap::new(),
            held: Vec::new(),
            cancels: BTreeMap::new(),
            passed: BTreeMap::new(),
            kept: None,
            frozen,
            waiting,
        }
    }

    /// Hands out tests of restored steps that have not passed on these states yet.
    pub(super) fn deal_restored(&mut self, from: usize) -> Result<(), BuildError> {
        for step in 0..from {
            let Some(known) = self.progress.before(step + 1) else { continue };
            let layers = ingest::layers(&self.session.engine.store, known.state)?;
            let root = Root { done: step + 1, layers, ended_at: Instant::now() };
            self.roots.insert(step, root);
            self.ledger.reopen(step);
            self.deal(step, true);
            self.deal(step, false);
            self.ledger.dealt(step);
        }
        Ok(())
    }

    /// Handles inputs until the attempt is over.
    pub(super) fn until_over(&mut self, received: &Receiver<Input>) -> Result<Attempt, BuildError> {
        loop {
            match self.ledger.standing() {
                Standing::Finished => return Ok(Attempt::Finished),
                Standing::Failed(step, cause) => {
                    if let Some(attempt) = self.failed(step, cause, received)? {
                        return Ok(attempt);
                    }
                    continue;
                }
                Standing::Running | Standing::Failing => {}
            }
            let input = received.recv().map_err(|_| BuildError::PartEnded("every part"))?;
            if let Some(ending) = self.on(input)? {
                return Ok(Attempt::Ended(ending));
            }
        }
    }

    fn on(&mut self, input: Input) -> Result<Option<Ending>, BuildError> {
        match input {
            Input::Cancel => return Ok(Some(Ending::cancelled())),
            Input::Answer(_) => {}
            Input::Broken(_) if self.session.current.is_cancelled() => {
                return Ok(Some(Ending::cancelled()));
            }
            Input::Broken(error) | Input::Told(Told::Broken(error)) => return Err(error),
            Input::Stepped { step, end } => self.stepped(step, end),
            Input::Captured { step, tree, delta } => self.captured(step, tree, delta),
            Input::Ingested { step, state, took } => self.ingested(step, state, took)?,
            Input::Told(Told::Tested { step, test, report, shadow, ended_at, kept }) => {
                self.tested(step, test, &report, shadow, ended_at, kept);
            }
        }
        Ok(None)
    }

    fn stepped(&mut self, step: usize, end: StepEnd) {
        let session = self.session;
        session.sink.emit(Event::StepEnded { step, exit: end.exit, took_us: micros(end.took) });
        let root = self.root_of(step, &end);
        self.roots.insert(step, root.clone());
        let fails = !end.exit.success() && !session.order.recipe.steps[step].continue_on_error;
        if fails {
            self.failures.insert(step, end.output);
            self.ledger.fail(step, Cause::Step);
            self.ledger.dealt(step);
            self.withdraw(step);
            return;
        }
        self.pool.follow(root);
        self.deal(step, true);
    }

    /// The step's own state: its upper directory over what it ran on.
    fn root_of(&self, step: usize, end: &StepEnd) -> Root {
        let below = match step.checked_sub(1).and_then(|before| self.roots.get(&before)) {
            Some(before) => before.layers.clone(),
            None => self.base_layers(step),
        };
        Root { done: step + 1, layers: below.with_upper(end.upper.clone()), ended_at: end.ended_at }
    }

    fn base_layers(&self, step: usize) -> umbra_store::overlay::Layers {
        let known = self.progress.before(step);
        let layers = known.map(|known| ingest::layers(&self.session.engine.store, known.state));
        layers.and_then(Result::ok).unwrap_or_default()
    }

    fn captured(&mut self, step: usize, tree: Tree, delta: Delta) {
        self.progress.captured(step, tree, delta);
        if !self.failures.contains_key(&step) {
            self.deal(step, false);
            self.ledger.dealt(step);
        }
    }

    fn ingested(&mut self, step: usize, state: StateId, took: Duration) -> Result<(), BuildError> {
        let session = self.session;
        self.progress.ingested(step, state);
        let delta = self.progress.reached(step).map(|reached| reached.delta.counts());
        let (delta, took_us) = (delta.unwrap_or_default(), micros(took));
        session.sink.emit(Event::StepIngested { step, state, delta, took_us });
        // A deeper stack makes every lookup slower: later steps stand on the ingested state.
        if let Some(root) = self.roots.get_mut(&step) {
            root.layers = ingest::layers(&session.engine.store, state)?;
        }
        if let (false, Some(before)) =
            (self.failures.contains_key(&step), self.progress.before(step))
        {
            let key = session.step_key(&session.order.recipe.steps[step], before.state)?;
            session.cache.put(&key, state);
        }
        for test in self.passed.remove(&step).unwrap_or_default() {
            self.remember_passed(step, test);
        }
        self.ledger.ingested(step);
        Ok(())
    }

    fn tested(
        &mut self,
        step: usize,
        test: usize,
        report: &TestReport,
        shadow: String,
        ended_at: Instant,
        kept: Option<KeptShadow>,
    ) {
        self.returned(step);
        let cancelled = self.cancels.get(&step).is_some_and(|flag| flag.load(Ordering::Relaxed));
        if cancelled {
            return;
        }
        let session = self.session;
        let result = result_of(report, shadow);
        session.sink.emit(Event::TestEnded { step, result: result.clone() });
        let name = &session.order.recipe.steps[step].name;
        self.progress.history.record(&report.name, report.verdict, name);
        if !report.halts() {
            let baseline = session.baseline.lock();
            baseline.unwrap_or_else(PoisonError::into_inner).add(&report.findings);
        }
        if report.verdict == Verdict::Pass {
            self.remember_passed(step, test);
            return;
        }
        if !report.halts() {
            return;
        }
        if session.order.on_error == OnError::Continue {
            self.progress.excuse(report.verdict);
            return;
        }
        tracing::debug!(after = ?ended_at.elapsed(), "a test failed");
        self.results.entry(step).or_insert(result);
        // Of several failures the first is kept to look at.
        self.kept = self.kept.take().or(kept);
        self.ledger.fail(step, Cause::Test(test));
        self.withdraw(step);
    }

    /// Remembers a passed test, as soon as the state it passed on has an id.
    fn remember_passed(&mut self, step: usize, test: usize) {
        match self.test_key(test, step) {
            Some(key) => self.session.cache.put_passed(&key),
            None => self.passed.entry(step).or_default().push(test),
        }
    }

    fn test_key(&self, test: usize, step: usize) -> Option<TestKey> {
        let order = &self.session.order;
        let state = self.progress.before(step + 1)?.state;
        let before = Some(self.progress.before(step)?.state);
        let startup = serde_json::to_vec(&Startup::after(&order.recipe, step)).ok()?;
        let mut hash = Sha256::new();
        // The checked test holds everything that can alter its verdict, goss files included.
        hash.update(format!("umbra test 3\n{:?}\n", order.tests[test]));
        hash.update(format!("on {}\n", order.recipe.shadows.provider));
        hash.update(&startup);
        Some(TestKey { state, before, definition: Digest::new(hash.finalize().into()) })
    }

    fn returned(&mut self, step: usize) {
        self.ledger.returned(step);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes back tests of this step and later ones, and ends those of later steps.
    fn withdraw(&mut self, step: usize) {
        for job in self.pool.withdraw(step) {
            self.returned(job.step);
            self.held.push(job);
        }
        for (_, cancel) in self.cancels.range(step + 1..) {
            cancel.store(true, Ordering::Relaxed);
        }
    }

    /// Hands out the tests of a step: first those that need nothing but the files, then, once
    /// it is captured, those that depend on what the step changed.
    fn deal(&mut self, step: usize, first: bool) {
        let session = self.session;
        let order = &session.order;
        let name = &order.recipe.steps[step].name;
        let is_last = step + 1 == order.recipe.steps.len();
        let delta = self.progress.reached(step).map(|reached| &reached.delta);
        let selections = select(&order.tests, name, is_last, delta, &self.progress.history);
        let cancel = Arc::clone(self.cancels.entry(step).or_default());
        let facts = if first { None } else { self.facts(step) };
        let mut jobs = Vec::new();
        for selection in &selections {
            if needs_delta(&order.tests[selection.index]) == first {
                continue;
            }
            match &selection.action {
                Action::NotDue { .. } => {}
                Action::Keep { verdict, .. } => {
                    self.keep(step, selection.index, *verdict, &selection.reason);
                }
                Action::Run if self.passed_before(selection.index, step) => {
                    let reason = "it passed on this very state before".to_owned();
                    self.progress.history.record(&selection.name, Verdict::Pass, name);
                    self.keep(step, selection.index, Verdict::Pass, &reason);
                }
                Action::Run => {
                    let Some(root) = self.roots.get(&step).cloned() else { continue };
                    let (facts, cancel) = (facts.clone(), Arc::clone(&cancel));
                    jobs.push(Job { step, test: selection.index, root, facts, cancel });
                }
            }
        }
        if !first {
            self.progress.history.note(&selections, name);
        }
        self.queue(jobs);
    }

    fn queue(&mut self, jobs: Vec<Job>) {
        jobs.iter().for_each(|job| self.ledger.deal(job.step, 1));
        self.waiting.fetch_add(jobs.len(), Ordering::Relaxed);
        self.pool.queue(jobs);
    }

    fn passed_before(&self, test: usize, step: usize) -> bool {
        let key = self.test_key(test, step).filter(|_| !self.session.order.no_cache);
        key.is_some_and(|key| self.session.cache.passed(&key))
    }

    fn keep(&self, step: usize, test: usize, verdict: Verdict, reason: &str) {
        let (test, reason) = (self.session.order.tests[test].name.clone(), reason.to_owned());
        self.session.sink.emit(Event::TestKept { step, test, verdict, reason });
    }

    fn facts(&self, step: usize) -> Option<Arc<Facts>> {
        let before = self.progress.tree_before(step)?;
        let reached = self.progress.reached(step)?;
        let (after, delta) = (reached.tree.clone(), reached.delta.clone());
        Some(Arc::new(Facts { before, after, delta }))
    }

    /// The earliest failure is settled: halt, or ask what to do.
    fn failed(
        &mut self,
        step: usize,
        cause: Cause,
        received: &Receiver<Input>,
    ) -> Result<Option<Attempt>, BuildError> {
        let failure = self.describe(step, cause)?;
        let sink = &self.session.sink;
        if self.session.order.on_error == OnError::Ask {
            sink.emit(Event::Asked { failure: failure.clone() });
            let answer = match self.await_answer(received)? {
                Some(answer) => answer,
                None => return Ok(Some(Attempt::Ended(Ending::cancelled()))),
            };
            sink.emit(Event::Answered { answer });
            match answer {
                Answer::Halt => {}
                Answer::Continue if cause != Cause::Step => {
                    let verdict = failure.test.as_ref().map_or(Verdict::Fail, |test| test.verdict);
                    self.go_on(step, verdict)?;
                    return Ok(None);
                }
                // A failed step has no state to go on from: it can only run again.
                Answer::Continue | Answer::Retry => {
                    self.kept = None;
                    return Ok(Some(Attempt::Retry(step)));
                }
            }
        }
        let verdict = failure.test.as_ref().map_or(Verdict::Fail, |test| test.verdict);
        let reason = match &failure.test {
            Some(test) => format!("test {:?} failed after step {:?}", test.name, failure.step_name),
            None => format!("step {:?} failed", failure.step_name),
        };
        sink.emit(Event::Halted { failure: failure.clone() });
        let (reason, kept) = (Some(reason), self.kept.take());
        let failure = Some(Box::new(failure));
        let ending = Ending { phase: BuildPhase::Halted, verdict, reason, failure, kept };
        Ok(Some(Attempt::Ended(ending)))
    }

    fn await_answer(&mut self, received: &Receiver<Input>) -> Result<Option<Answer>, BuildError> {
        loop {
            match received.recv().map_err(|_| BuildError::PartEnded("every part"))? {
                Input::Answer(answer) => return Ok(Some(answer)),
                other => {
                    if self.on(other)?.is_some() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Somebody said to go on despite a failed test.
    fn go_on(&mut self, step: usize, verdict: Verdict) -> Result<(), BuildError> {
        self.progress.excuse(verdict);
        self.ledger.forgive(step);
        self.results.remove(&step);
        self.kept = None;
        let jobs = std::mem::take(&mut self.held);
        for job in &jobs {
            job.cancel.store(false, Ordering::Relaxed);
        }
        self.queue(jobs);
        self.frozen.store(0, Ordering::Relaxed);
        Ok(self.session.current.thaw()?)
    }

    fn describe(&mut self, step: usize, cause: Cause) -> Result<Failure, BuildError> {
        let recipe = &self.session.order.recipe;
        let lost = || BuildError::PartEnded("ingestion");
        let before = self.progress.before(step).ok_or_else(lost)?.state;
        let after = self.progress.before(step + 1).ok_or_else(lost)?.state;
        let store = &self.session.engine.store;
        let id = self.session.order.id;
        store.set_ref(&format!("build/{id}/before"), before)?;
        store.set_ref(&format!("build/{id}/after"), after)?;
        let delta = &self.progress.reached(step).ok_or_else(lost)?.delta;
        // Times alone change on every directory something was put into.
        let telling: Vec<_> = delta
            .changes
            .iter()
            .filter(|change| !matches!(change.kind, ChangeKind::Modified(aspects) if aspects.only_mtime()))
            .collect();
        let shown = telling.len().min(Failure::DELTA_LINES_MAX);
        let discarded = self.roots.range(step + 1..).map(|(step, _)| *step);
        Ok(Failure {
            step,
            step_name: recipe.steps[step].name.clone(),
            test: match cause {
                Cause::Step => None,
                Cause::Test(_) => self.results.get(&step).cloned(),
            },
            step_output: self.failures.get(&step).cloned(),
            before,
            after,
            shadow: self.kept.as_ref().map(|kept| kept.name().to_owned()),
            delta: telling[..shown].iter().map(ToString::to_string).collect(),
            delta_omitted: (telling.len() - shown) as u64,
            discarded: discarded.map(|step| recipe.steps[step].name.clone()).collect(),
            frozen_after_us: self.frozen.load(Ordering::Relaxed),
        })
    }
}

impl Drop for Control<'_> {
    /// Tests that still run end soon; the pool's end, right after, ends the rest.
    fn drop(&mut self) {
        for cancel in self.cancels.values() {
            cancel.store(true, Ordering::Relaxed);
        }
    }
}

/// Whether a test can only begin once its step is captured.
pub(super) fn needs_delta(test: &umbra_suite::Test) -> bool {
    test.when_changed.is_some() || matches!(test.check, Check::Security(_))
}
