//! One build from start to end: restores what the cache has, lets steps run on ahead of their
//! tests, and halts at the earliest failure.
//!
//! ```text
//!   begin ──▶ restore from the cache ──▶ attempt from step k ──▶ seal, export ──▶ done
//!                                            │      ▲
//!                                  failure ──┤      └── retry
//!                                            ├──▶ ask ──▶ continue (back into the attempt)
//!                                            └──▶ halt
//! ```

mod attempt;
mod control;
mod facts;
mod figures;

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use umbra_api::build::{Answer, BuildPhase, Event, Failure, Figures};
use umbra_recipe::Step;
use umbra_state::{Delta, StateId, Tree, Verdict, diff};
use umbra_store::{Lineage, Made};

use umbra_suite::check::security::Baseline;

use crate::baseline::Origin;
use crate::engine::{BuildDir, Engine, Order, Remains};
use crate::error::BuildError;
use crate::notify::Notice;
use crate::pool::{KeptShadow, Told};
use crate::ports::{EventSink, StepCache, StepKey};
use crate::steps::{Current, StepEnd};
use crate::{export, notify, origin};
use facts::{Known, Progress};
use figures::Measured;

/// What reaches a running build.
pub(crate) enum Input {
    Cancel,
    Answer(Answer),
    Told(Told),
    Stepped { step: usize, end: StepEnd },
    Captured { step: usize, tree: Tree, delta: Delta },
    Ingested { step: usize, state: StateId, took: Duration },
    Broken(BuildError),
}

/// See the module.
pub(crate) struct Session {
    engine: Engine,
    order: Order,
    sink: Arc<dyn EventSink>,
    cache: Arc<dyn StepCache>,
    current: Arc<Current>,
    inputs: Sender<Input>,
    began: Instant,
    figures: Arc<Mutex<Figures>>,
    /// What security tests found and the build went past.
    baseline: Arc<Mutex<Baseline>>,
    seen_in_origin: Arc<Origin>,
}

/// How a build ended.
struct Ending {
    phase: BuildPhase,
    verdict: Verdict,
    reason: Option<String>,
    failure: Option<Box<Failure>>,
    kept: Option<KeptShadow>,
}

/// How an attempt ended.
enum Attempt {
    Finished,
    Retry(usize),
    Ended(Ending),
}

impl Session {
    pub(crate) fn new(
        engine: Engine,
        order: Order,
        sink: Arc<dyn EventSink>,
        cache: Arc<dyn StepCache>,
        current: Arc<Current>,
        inputs: Sender<Input>,
    ) -> Self {
        let sink = Arc::new(Measured::new(sink, &order.tests));
        let figures = sink.figures();
        Self {
            engine,
            order,
            sink,
            cache,
            current,
            inputs,
            began: Instant::now(),
            figures,
            baseline: Arc::default(),
            seen_in_origin: Arc::default(),
        }
    }

    /// Runs the build to its end and reports it.
    pub(crate) fn run(self, received: &Receiver<Input>) -> Remains {
        let recipe = &self.order.recipe;
        self.sink.emit(Event::Started {
            build: self.order.id,
            name: recipe.name.clone(),
            steps: recipe.steps.iter().map(|step| step.name.clone()).collect(),
            tests: recipe.tests.iter().map(|test| test.name.clone()).collect(),
        });
        let (ending, dir) = match BuildDir::make(&self.engine.store, self.order.id) {
            Ok(dir) => (self.build(dir.path(), received), Some(dir)),
            Err(error) => (Err(error), None),
        };
        let ending = ending.unwrap_or_else(|error| {
            if self.current.is_cancelled() { Ending::cancelled() } else { Ending::broken(&error) }
        });
        self.notify(&ending);
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone();
        figures.total_us = micros(self.began.elapsed());
        self.sink.emit(Event::Ended {
            phase: ending.phase,
            verdict: ending.verdict,
            reason: ending.reason,
            figures,
        });
        let _dir = dir.filter(|_| ending.kept.is_some());
        Remains { phase: ending.phase, kept: ending.kept, _dir }
    }

    /// Tells whom the recipe names, before the end is reported: what does not arrive is said
    /// while somebody listens. Whoever cancelled a build knows.
    fn notify(&self, ending: &Ending) {
        if ending.phase == BuildPhase::Cancelled {
            return;
        }
        let recipe = &self.order.recipe;
        let notice = Notice {
            build: self.order.id,
            image: &recipe.name,
            phase: ending.phase,
            verdict: ending.verdict,
            reason: ending.reason.as_deref(),
            failure: ending.failure.as_deref(),
        };
        for message in notify::send(&notice, &recipe.notify) {
            self.sink.emit(Event::Warning { message });
        }
    }

    fn build(&self, dir: &Path, received: &Receiver<Input>) -> Result<Ending, BuildError> {
        // What is captured is reachable from no ref until the build names it.
        let _pin = self.engine.store.pin()?;
        let mut progress = self.begin(dir)?;
        let mut from = self.restore(&mut progress)?;
        loop {
            match self.attempt(from, dir, &mut progress, received)? {
                Attempt::Finished => return self.finish(&progress),
                Attempt::Ended(ending) => return Ok(ending),
                Attempt::Retry(step) => from = step,
            }
        }
    }

    /// Makes or finds the origin's state.
    fn begin(&self, dir: &Path) -> Result<Progress, BuildError> {
        let started = Instant::now();
        let Order { recipe, base_dir, no_cache, .. } = &self.order;
        let begun = origin::begin(
            &self.engine.store,
            &*self.cache,
            &recipe.name,
            &recipe.from,
            &origin::Wish {
                base_dir,
                dir,
                fresh: *no_cache,
                is_cancelled: &|| self.current.is_cancelled(),
            },
        )?;
        let tree = self.engine.store.load(begun.state)?;
        self.sink.emit(Event::BaseReady {
            state: begun.state,
            source: begun.source,
            cached: begun.cached,
            entries: tree.entry_count() as u64,
            took_us: micros(started.elapsed()),
        });
        Ok(Progress::new(Known { state: begun.state, tree }, self.order.end))
    }

    /// Takes steps from the cache, in order, until one is not there; returns its position.
    fn restore(&self, progress: &mut Progress) -> Result<usize, BuildError> {
        for index in 0..self.order.end {
            let Some(before) = progress.before(index) else { return Ok(index) };
            let step = &self.order.recipe.steps[index];
            let key = self.step_key(step, before.state)?;
            let remembered = if self.order.no_cache { None } else { self.cache.get(&key) };
            let Some(state) = remembered.filter(|state| self.engine.store.contains(*state)) else {
                return Ok(index);
            };
            let tree = self.engine.store.load(state)?;
            let delta = diff(&before.tree, &tree);
            self.sink.emit(Event::StepCached { step: index, state, delta: delta.counts() });
            self.name_state(index, state)?;
            progress.restore(index, Known { state, tree }, delta);
        }
        Ok(self.order.end)
    }

    fn step_key(&self, step: &Step, parent: StateId) -> Result<StepKey, BuildError> {
        let inputs = step
            .inputs(&self.order.base_dir)
            .map_err(|source| BuildError::Inputs { step: step.name.clone(), source })?;
        Ok(StepKey {
            image: self.order.recipe.name.clone(),
            step: step.name.clone(),
            parent,
            definition: step.definition_digest(),
            inputs: inputs.digest,
        })
    }

    /// Why the cache could not serve a step; `parent` is the state before it, if known.
    fn why(&self, step: &Step, parent: Option<StateId>) -> String {
        if self.order.no_cache {
            return "the cache is off".to_owned();
        }
        let Some(last) = self.cache.last(&self.order.recipe.name, &step.name) else {
            return "it never ran before".to_owned();
        };
        if last.definition != step.definition_digest() {
            return "its definition changed".to_owned();
        }
        let inputs = step.inputs(&self.order.base_dir).map(|inputs| inputs.digest);
        if inputs.is_ok_and(|inputs| inputs != last.inputs) {
            return "a file it copies changed".to_owned();
        }
        match parent {
            Some(parent) if parent == last.parent => "its result is gone from the store".to_owned(),
            Some(_) => "the state before it is another".to_owned(),
            None => "a step before it ran again".to_owned(),
        }
    }

    fn name_state(&self, step: usize, state: StateId) -> Result<(), BuildError> {
        let name = format!("build/{}/step-{step}", self.order.id);
        Ok(self.engine.store.set_ref(&name, state)?)
    }

    /// The states that the build went through to its last one.
    fn lineage(&self, progress: &Progress, last: StateId) -> Lineage {
        let made = |position: usize| {
            let step = position.checked_sub(1).and_then(|at| self.order.recipe.steps.get(at));
            step.map_or(origin::ORIGIN_STEP, |step| &step.name).to_owned()
        };
        let earlier = (0..self.order.end).filter_map(|position| {
            let state = progress.before(position)?.state;
            Some(Made { state, by: made(position) })
        });
        let by = made(self.order.end);
        Lineage { earlier: earlier.collect(), last: Made { state: last, by } }
    }

    /// Everything passed: the last state becomes an image and leaves as the recipe asks.
    fn finish(&self, progress: &Progress) -> Result<Ending, BuildError> {
        let state =
            progress.before(self.order.end).ok_or(BuildError::PartEnded("ingestion"))?.state;
        let verdict = progress.verdict();
        if self.order.seal && verdict == Verdict::Pass {
            let image = &self.order.recipe.name;
            self.engine.store.set_ref(&format!("image/{image}"), state)?;
            self.sink.emit(Event::Sealed { image: image.clone(), state });
            let lineage = self.lineage(progress, state);
            for wanted in &self.order.recipe.export {
                let (store, dir) = (&self.engine.store, &self.order.base_dir);
                export::write(store, &lineage, wanted, dir, &*self.sink)?;
            }
        }
        let reason = (verdict != Verdict::Pass).then(|| "a test did not pass".to_owned());
        Ok(Ending { phase: BuildPhase::Done, verdict, reason, failure: None, kept: None })
    }
}

impl Ending {
    fn cancelled() -> Self {
        Self::unjudged(BuildPhase::Cancelled, "cancelled".to_owned())
    }

    fn broken(error: &BuildError) -> Self {
        Self::unjudged(BuildPhase::Broken, umbra_state::chain(error))
    }

    fn unjudged(phase: BuildPhase, reason: String) -> Self {
        let (verdict, reason) = (Verdict::Inconclusive, Some(reason));
        Self { phase, verdict, reason, failure: None, kept: None }
    }
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}
