//! Shadows that follow a build and run its tests.
//!
//! Each shadow has a worker thread. A worker brings its shadow to the newest step as soon as
//! that ends, so that tests of that step find it ready, and takes tests from the queue one at a
//! time, each on a fresh view of the state it is about.

mod kept;
mod size;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use umbra_api::build::Event;
use umbra_recipe::Recipe;
use umbra_shadow::provider::Running;
use umbra_shadow::target::ShadowTarget;
use umbra_shadow::{Shadow, ShadowError};
use umbra_state::{Delta, Tree};
use umbra_store::overlay::Layers;
use umbra_suite::check::security::Baseline;
use umbra_suite::{Context, Test, TestReport, run_test};

use crate::baseline::{Origin, Seen};
use crate::error::BuildError;
use crate::look::{self, unready};
use crate::ports::{EventSink, Providers};
use crate::services::{self, Startup};
pub(crate) use kept::KeptShadow;

pub(crate) use size::wanted;

/// What a test may know about the step it runs after.
pub(crate) struct Facts {
    pub(crate) before: Tree,
    pub(crate) after: Tree,
    pub(crate) delta: Delta,
}

/// A test to run on the state after a step.
pub(crate) struct Job {
    pub(crate) step: usize,
    pub(crate) test: usize,
    pub(crate) root: Root,
    /// Known once the step is captured; tests that need it are queued after that.
    pub(crate) facts: Option<Arc<Facts>>,
    pub(crate) cancel: Arc<AtomicBool>,
}

/// A state as shadows see it.
#[derive(Clone)]
pub(crate) struct Root {
    /// How many steps led to it.
    pub(crate) done: usize,
    pub(crate) layers: Layers,
    /// When the step ended; of a state from the cache, when the build found it.
    pub(crate) ended_at: Instant,
}

/// What a worker tells the session.
pub(crate) enum Told {
    /// A test ended. A shadow that is kept comes along, frozen as it was.
    Tested {
        step: usize,
        test: usize,
        report: Box<TestReport>,
        shadow: String,
        ended_at: Instant,
        kept: Option<KeptShadow>,
    },
    /// A shadow could not be made or used.
    Broken(BuildError),
}

/// See the module. Dropping it ends the shadows.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    plan: Plan,
    queue: Mutex<Queue>,
    changed: Condvar,
    idle: AtomicUsize,
    living: AtomicUsize,
    /// The shadows of all workers, to end them in the middle of a test.
    shadows: Mutex<Vec<Arc<dyn Shadow>>>,
}

/// What all workers need to know.
pub(crate) struct Plan {
    pub(crate) recipe: Recipe,
    pub(crate) tests: Vec<Test>,
    pub(crate) providers: Arc<dyn Providers>,
    pub(crate) sink: Arc<dyn EventSink>,
    pub(crate) told: Box<dyn Fn(Told) + Send + Sync>,
    /// Names of shadows begin with this.
    pub(crate) name: String,
    /// Freeze and keep the shadow on which a test failed.
    pub(crate) keep_failed: bool,
    /// Called at once by the worker that saw a failing test, before anything else.
    pub(crate) on_failure: Box<dyn Fn() + Send + Sync>,
    pub(crate) seed: u64,
    /// Security findings of earlier steps that were accepted.
    pub(crate) baseline: Arc<Mutex<Baseline>>,
    /// The state the build began from.
    pub(crate) origin: Layers,
    /// What scanners found there.
    pub(crate) seen_in_origin: Arc<Origin>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    newest: Option<Root>,
    closed: bool,
    made: usize,
}

impl Pool {
    /// A pool without shadows yet; they will begin on `root`.
    pub(crate) fn new(plan: Plan, root: Root) -> Self {
        let shared = Shared {
            plan,
            queue: Mutex::new(Queue { newest: Some(root), ..Queue::default() }),
            changed: Condvar::new(),
            idle: AtomicUsize::new(0),
            living: AtomicUsize::new(0),
            shadows: Mutex::default(),
        };
        Self { shared: Arc::new(shared), workers: Vec::new() }
    }

    /// Makes the recipe's least number of shadows.
    pub(crate) fn fill(&mut self, reason: &str) {
        self.grow(self.shared.plan.recipe.shadows.min as usize, reason);
    }

    /// A step ended: shadows follow.
    pub(crate) fn follow(&self, root: Root) {
        self.shared.lock().newest = Some(root);
        self.shared.changed.notify_all();
    }

    /// Queues tests, and makes more shadows if the recipe allows and they would help.
    pub(crate) fn queue(&mut self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let waiting = {
            let mut queue = self.shared.lock();
            queue.jobs.extend(jobs);
            queue.jobs.len()
        };
        self.shared.changed.notify_all();
        let shadows = &self.shared.plan.recipe.shadows;
        let idle = self.shared.idle.load(Ordering::Relaxed);
        let living = self.shared.living.load(Ordering::Relaxed);
        let bounds = (shadows.min as usize, shadows.max as usize);
        let wanted = wanted(bounds, size::processors(), living, idle, waiting);
        if wanted > living {
            self.grow(wanted - living, &format!("{waiting} tests are waiting"));
        }
    }

    /// Takes back queued tests of this step and later ones.
    pub(crate) fn withdraw(&self, from: usize) -> Vec<Job> {
        let mut queue = self.shared.lock();
        let (withdrawn, kept): (Vec<_>, Vec<_>) =
            queue.jobs.drain(..).partition(|job| job.step >= from);
        queue.jobs = kept.into();
        withdrawn
    }

    fn grow(&mut self, count: usize, reason: &str) {
        for _ in 0..count {
            let shared = Arc::clone(&self.shared);
            let number = {
                let mut queue = self.shared.lock();
                queue.made += 1;
                queue.made
            };
            self.shared.living.fetch_add(1, Ordering::Relaxed);
            let reason = reason.to_owned();
            self.workers.push(std::thread::spawn(move || Worker::live(&shared, number, &reason)));
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        {
            let mut queue = self.shared.lock();
            queue.closed = true;
            for job in queue.jobs.drain(..) {
                job.cancel.store(true, Ordering::Relaxed);
            }
        }
        self.shared.changed.notify_all();
        // Whatever still runs in one ends with it.
        for shadow in self.shared.shadows().drain(..) {
            if let Err(error) = shadow.destroy() {
                tracing::error!(%error, "could not end a shadow");
            }
        }
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a pool worker panicked");
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shadows(&self) -> MutexGuard<'_, Vec<Arc<dyn Shadow>>> {
        self.shadows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A shadow and what is known about its view.
struct Worker<'a> {
    shared: &'a Shared,
    shadow: Arc<dyn Shadow>,
    /// How many steps led to what it shows.
    shows: usize,
    /// The most steps that led to anything it showed.
    reached: usize,
    /// Nothing has run on the view yet.
    pristine: bool,
    services: Vec<Box<dyn Running>>,
}

enum Next {
    Follow(Root),
    Test(Job),
    End,
}

/// What a worker does after a test.
enum After {
    Next,
    /// The shadow is gone with the failure it showed.
    Replace,
}

impl Worker<'_> {
    /// Makes shadows and works until the pool closes: a shadow kept for a look is replaced.
    fn live(shared: &Shared, number: usize, reason: &str) {
        let mut name = format!("{}-{number}", shared.plan.name);
        let mut reason = reason.to_owned();
        let mut generation = 1;
        loop {
            let Some(root) = shared.lock().newest.clone() else { break };
            match shared.make(&name, &root) {
                Ok(shadow) => {
                    let shadow: Arc<dyn Shadow> = Arc::from(shadow);
                    shared.shadows().push(Arc::clone(&shadow));
                    shared.report_pool(&reason);
                    let mut worker = Worker {
                        shared,
                        shadow,
                        shows: root.done,
                        reached: root.done,
                        pristine: true,
                        services: Vec::new(),
                    };
                    match worker.work() {
                        Ok(After::Replace) => {
                            generation += 1;
                            name = format!("{}-{number}-{generation}", shared.plan.name);
                            reason = "another is kept as it failed".to_owned();
                        }
                        Ok(After::Next) => break,
                        Err(error) => {
                            shared.broken(error);
                            break;
                        }
                    }
                }
                Err(error) => {
                    shared.broken(error);
                    break;
                }
            }
        }
        shared.living.fetch_sub(1, Ordering::Relaxed);
    }

    fn work(&mut self) -> Result<After, BuildError> {
        loop {
            match self.next() {
                Next::End => return Ok(After::Next),
                Next::Follow(root) => self.show(&root)?,
                Next::Test(job) => {
                    if let After::Replace = self.test(job)? {
                        return Ok(After::Replace);
                    }
                }
            }
        }
    }

    /// A waiting test comes first: it brings its own root. An idle shadow follows the newest
    /// step, so that the next test finds it ready.
    fn next(&self) -> Next {
        let mut queue = self.shared.lock();
        loop {
            if queue.closed {
                return Next::End;
            }
            if let Some(job) = queue.jobs.pop_front() {
                return Next::Test(job);
            }
            if let Some(newest) = queue.newest.as_ref().filter(|newest| newest.done > self.reached)
            {
                return Next::Follow(newest.clone());
            }
            self.shared.idle.fetch_add(1, Ordering::Relaxed);
            queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            self.shared.idle.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Shows a root afresh. The first time a shadow shows a step is when it has its delta.
    fn show(&mut self, root: &Root) -> Result<(), BuildError> {
        self.services.clear();
        match self.shadow.apply(&root.layers) {
            // Something that ran in it took it along, by eating all its memory for instance:
            // that was the business of the test before, and of no other.
            // A closing pool ends its shadows itself, and wants no others.
            Err(ShadowError::Gone(_)) if !self.shared.lock().closed => self.replace(root)?,
            applied => applied?,
        }
        self.shows = root.done;
        self.pristine = true;
        if root.done > self.reached {
            self.reached = root.done;
            self.shared.plan.sink.emit(Event::DeltaApplied {
                step: root.done - 1,
                shadow: self.shadow.name().to_owned(),
                took_us: root.ended_at.elapsed().as_micros() as u64,
            });
        }
        Ok(())
    }

    fn replace(&mut self, root: &Root) -> Result<(), BuildError> {
        let name = self.shadow.name().to_owned();
        self.shared.shadows().retain(|shadow| !Arc::ptr_eq(shadow, &self.shadow));
        // Its name is free once it is gone altogether.
        self.shadow.destroy()?;
        self.shadow = Arc::from(self.shared.make(&name, root)?);
        self.shared.shadows().push(Arc::clone(&self.shadow));
        self.shared.report_pool(&format!("{name} was gone and was made anew"));
        Ok(())
    }

    fn test(&mut self, job: Job) -> Result<After, BuildError> {
        if job.cancel.load(Ordering::Relaxed) {
            return Ok(After::Next);
        }
        let shared = self.shared;
        let plan = &shared.plan;
        let test = &plan.tests[job.test];
        let needs_baseline = test.check.needs_baseline();
        let seen = needs_baseline.then(|| self.look_at_origin(&job, test)).transpose()?;
        if !self.pristine || self.shows != job.root.done {
            self.show(&job.root)?;
        }
        self.pristine = false;
        let started = if test.services { self.start_services(job.step) } else { Ok(()) };
        plan.sink.emit(Event::TestStarted {
            step: job.step,
            test: test.name.clone(),
            kind: test.kind,
            shadow: self.shadow.name().to_owned(),
            since_step_us: job.root.ended_at.elapsed().as_micros() as u64,
        });
        let report = match started {
            Ok(()) => self.run(&job, test, seen.as_ref()),
            Err(error) => unready(test, &plan.recipe.steps[job.step].name, &error),
        };
        Ok(self.report(job, report))
    }

    fn start_services(&mut self, step: usize) -> Result<(), BuildError> {
        let wanted = Startup::after(&self.shared.plan.recipe, step);
        self.services = services::start(&*self.shadow, &wanted)?;
        Ok(())
    }

    fn look_at_origin(&mut self, job: &Job, test: &Test) -> Result<Seen, BuildError> {
        let plan = &self.shared.plan;
        plan.seen_in_origin.seen(test, &job.cancel, |context| {
            self.show(&Root { done: 0, layers: plan.origin.clone(), ended_at: Instant::now() })?;
            self.pristine = false;
            Ok(self.look(test, context))
        })
    }

    fn run(&self, job: &Job, test: &Test, seen: Option<&Seen>) -> TestReport {
        let plan = &self.shared.plan;
        let facts = job.facts.as_deref();
        let mut baseline = plan.baseline.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(seen) = seen {
            baseline.join(&seen.baseline);
        }
        let context = Context {
            step: &plan.recipe.steps[job.step].name,
            delta: facts.map(|facts| &facts.delta),
            before: facts.map(|facts| &facts.before),
            after: facts.map(|facts| &facts.after),
            baseline: Some(&baseline),
            seed: plan.seed,
            now_unix_s: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .ok()
                .and_then(|now| i64::try_from(now.as_secs()).ok()),
            cancel: Some(&job.cancel),
        };
        let mut report = self.look(test, &context);
        if let Some(seen) = seen {
            seen.note("the state this build began from", &mut report);
        }
        report
    }

    fn look(&self, test: &Test, context: &Context<'_>) -> TestReport {
        match ShadowTarget::new(&*self.shadow) {
            Ok(target) => run_test(test, &target, context),
            Err(error) => unready(test, context.step, &BuildError::Shadow(error)),
        }
    }

    /// Hands the report over. On a failure that stops the build, the build is frozen first and
    /// this shadow as it stands.
    fn report(&mut self, job: Job, report: TestReport) -> After {
        let ended_at = Instant::now();
        let plan = &self.shared.plan;
        let cancelled = job.cancel.load(Ordering::Relaxed);
        let fails = report.halts() && !cancelled;
        let name = self.shadow.name().to_owned();
        let mut kept = None;
        if fails {
            (plan.on_failure)();
        }
        if fails && plan.keep_failed {
            if let Err(error) = self.shadow.freeze() {
                tracing::warn!(%error, "could not freeze the failed shadow");
            }
            let services = std::mem::take(&mut self.services);
            self.shared.shadows().retain(|shadow| !Arc::ptr_eq(shadow, &self.shadow));
            kept = Some(KeptShadow { shadow: Arc::clone(&self.shadow), _services: services });
        }
        let replaced = kept.is_some();
        let report = Box::new(report);
        self.shared.tell(Told::Tested {
            step: job.step,
            test: job.test,
            report,
            shadow: name,
            ended_at,
            kept,
        });
        if replaced { After::Replace } else { After::Next }
    }
}

impl Shared {
    fn make(&self, name: &str, root: &Root) -> Result<Box<dyn Shadow>, BuildError> {
        let spec = look::spec(name.to_owned(), &self.plan.recipe);
        // Here, beside the first steps: the first of its kind takes its time.
        let provider = self.plan.providers.provider(&self.plan.recipe.shadows.provider)?;
        Ok(provider.spawn(&root.layers, &spec)?)
    }

    fn report_pool(&self, reason: &str) {
        let shadows = self.shadows().iter().map(|shadow| shadow.name().to_owned()).collect();
        self.plan.sink.emit(Event::Pool { shadows, reason: reason.to_owned() });
    }

    /// An error after the pool closed is the closing's own doing.
    fn broken(&self, error: BuildError) {
        if !self.lock().closed {
            self.tell(Told::Broken(error));
        }
    }

    fn tell(&self, told: Told) {
        (self.plan.told)(told);
    }
}
