//! One run over the steps that are not in the cache: stepper, ingester and pool side by side,
//! and the control that listens to them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Instant;

use umbra_api::build::{Event, OnError};
use umbra_state::StateId;
use umbra_store::overlay::Layers;

use super::control::Control;
use super::facts::{Known, Progress};
use super::{Attempt, Ending, Input, Session, micros};
use crate::error::BuildError;
use crate::frontier::Frontier;
use crate::ingest;
use crate::pool::{Plan, Pool, Root};
use crate::steps::Steps;

impl Session {
    /// Runs steps from `from` on and the tests of all steps that need them, until all is well or
    /// something ends it.
    pub(super) fn attempt(
        &self,
        from: usize,
        dir: &Path,
        progress: &mut Progress,
        received: &Receiver<Input>,
    ) -> Result<Attempt, BuildError> {
        if !self.current.restart() {
            return Ok(Attempt::Ended(Ending::cancelled()));
        }
        progress.rewind(from);
        let start = progress.before(from).ok_or(BuildError::PartEnded("the step before"))?;
        let base = ingest::base(&self.engine.store, start.state)?;
        let frontier = Frontier::new(base, start.tree.clone());
        let root = Root { done: from, layers: frontier.layers(), ended_at: Instant::now() };
        let frozen = Arc::new(AtomicU64::new(0));
        let origin = progress.before(0).ok_or(BuildError::PartEnded("the origin"))?;
        let origin = ingest::layers(&self.engine.store, origin.state)?;
        let mut pool = self.open_pool(root, origin, &frozen);
        if from < self.order.end {
            pool.fill("the build began");
        }
        let waiting = AtomicUsize::new(0);
        thread::scope(|scope| {
            let (uppers, finished) = channel();
            let parent = start.state;
            let mut run = Control::new(self, progress, from, pool, frozen, &waiting);
            let (frontier, waiting) = (&frontier, &waiting);
            scope.spawn(move || self.run_steps(from, parent, dir, frontier, waiting, &uppers));
            scope.spawn(move || self.ingest_steps(start, frontier, &finished));
            let ended = run.deal_restored(from).and_then(|()| run.until_over(received));
            if !matches!(ended, Ok(Attempt::Finished)) {
                self.current.stop();
            }
            frontier.close();
            ended
        })
    }

    fn open_pool(&self, root: Root, origin: Layers, frozen: &Arc<AtomicU64>) -> Pool {
        let halts = self.order.on_error != OnError::Continue;
        let inputs = self.inputs.clone();
        let plan = Plan {
            recipe: self.order.recipe.clone(),
            tests: self.order.tests.clone(),
            providers: Arc::clone(&self.engine.providers),
            sink: Arc::clone(&self.sink),
            told: Box::new(move |told| {
                // Nobody listens any more once the build is over.
                let _ = inputs.send(Input::Told(told));
            }),
            name: self.shadow_name(),
            keep_failed: halts,
            on_failure: if halts { self.freezer(frozen) } else { Box::new(|| {}) },
            seed: self.order.id,
            baseline: Arc::clone(&self.baseline),
            origin,
            seen_in_origin: Arc::clone(&self.seen_in_origin),
        };
        Pool::new(plan, root)
    }

    /// Freezes the build; notes how long that took, the first time.
    fn freezer(&self, frozen: &Arc<AtomicU64>) -> Box<dyn Fn() + Send + Sync> {
        let (current, frozen) = (Arc::clone(&self.current), Arc::clone(frozen));
        let figures = Arc::clone(&self.figures);
        Box::new(move || {
            let failed_at = Instant::now();
            if let Err(error) = current.freeze() {
                tracing::warn!(%error, "could not freeze the build");
            }
            let took = micros(failed_at.elapsed()).max(1);
            let first = frozen.compare_exchange(0, took, Ordering::Relaxed, Ordering::Relaxed);
            if first.is_ok() {
                let mut figures = figures.lock().unwrap_or_else(PoisonError::into_inner);
                figures.frozen_after_us = Some(took);
            }
        })
    }

    /// `IMAGE-BUILD`, in the letters a shadow's name may have.
    fn shadow_name(&self) -> String {
        format!("{}-{}", self.image_label(), self.order.id)
    }

    fn image_label(&self) -> String {
        let allowed =
            |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let label: String = self.order.recipe.name.chars().take(20).map(allowed).collect();
        match label.trim_matches('-') {
            "" => "image".to_owned(),
            label => label.to_owned(),
        }
    }

    /// The stepper: one step after the other, however far their tests are.
    fn run_steps(
        &self,
        from: usize,
        parent: StateId,
        dir: &Path,
        frontier: &Frontier,
        waiting: &AtomicUsize,
        uppers: &Sender<(usize, PathBuf)>,
    ) {
        let cache_dir = self.engine.store.layers_dir().join("cache").join(self.image_label());
        let name = format!("{}-step", self.shadow_name());
        let steps = Steps {
            sandbox: &self.engine.sandbox,
            base_dir: &self.order.base_dir,
            dir,
            cache_dir: &cache_dir,
            name: &name,
            current: &self.current,
        };
        for index in from..self.order.end {
            let step = &self.order.recipe.steps[index];
            let layers = frontier.layers();
            self.sink.emit(Event::StepStarted {
                step: index,
                why: self.why(step, (index == from).then_some(parent)),
                speculative: waiting.load(Ordering::Relaxed) > 0,
            });
            let on_output = |text| self.sink.emit(Event::StepOutput { step: index, text });
            let ran = steps.run(index, step, &layers, || frontier.tree(), &on_output);
            let end = match ran {
                Ok(end) => end,
                Err(error) => {
                    self.send(Input::Broken(error));
                    return;
                }
            };
            let goes_on = end.exit.success() || step.continue_on_error;
            frontier.push(index, end.upper.clone());
            // The session's tests begin before the ingester's work, whatever order they wake in.
            let upper = end.upper.clone();
            self.send(Input::Stepped { step: index, end });
            if uppers.send((index, upper)).is_err() || !goes_on || self.current.is_stopped() {
                return;
            }
        }
    }

    /// The ingester: finished upper directories become states, in order.
    fn ingest_steps(
        &self,
        start: Known,
        frontier: &Frontier,
        finished: &Receiver<(usize, PathBuf)>,
    ) {
        let mut before = start;
        while let Ok((step, upper)) = finished.recv() {
            match self.ingest_step(step, &before, &upper, frontier) {
                Ok(known) => before = known,
                Err(error) => {
                    self.send(Input::Broken(error));
                    frontier.close();
                    return;
                }
            }
        }
    }

    fn ingest_step(
        &self,
        step: usize,
        before: &Known,
        upper: &Path,
        frontier: &Frontier,
    ) -> Result<Known, BuildError> {
        let started = Instant::now();
        let store = &self.engine.store;
        let captured = ingest::capture(store, &before.tree, upper)?;
        let tree = captured.tree.clone();
        self.send(Input::Captured { step, tree: captured.tree, delta: captured.delta });
        let state = store.put(&tree)?;
        self.name_state(step, state)?;
        frontier.ingested(step, ingest::base(store, state)?, tree.clone());
        self.send(Input::Ingested { step, state, took: started.elapsed() });
        Ok(Known { state, tree })
    }

    fn send(&self, input: Input) {
        // Nobody listens any more once the attempt is over.
        let _ = self.inputs.send(input);
    }
}
