//! What a build knows of its states. Pure.

use umbra_state::{Delta, StateId, Tree, Verdict};
use umbra_suite::History;

/// A step whose state is in the store.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) state: StateId,
    pub(super) tree: Tree,
}

/// A step's files, and its state once that has an id.
pub(super) struct Reached {
    pub(super) tree: Tree,
    pub(super) delta: Delta,
    pub(super) state: Option<StateId>,
}

/// The origin's state, then each step's as far as the build got.
pub(super) struct Progress {
    origin: Known,
    steps: Vec<Option<Reached>>,
    pub(super) history: History,
    /// Bad verdicts that somebody decided to live with.
    excused: Vec<Verdict>,
}

impl Progress {
    /// At the origin, with so many steps ahead.
    pub(super) fn new(origin: Known, steps: usize) -> Self {
        let steps = std::iter::repeat_with(|| None).take(steps).collect();
        Self { origin, steps, history: History::default(), excused: Vec::new() }
    }

    /// A step's state came from the cache.
    pub(super) fn restore(&mut self, step: usize, known: Known, delta: Delta) {
        let Known { state, tree } = known;
        self.steps[step] = Some(Reached { tree, delta, state: Some(state) });
    }

    /// A step's files are known.
    pub(super) fn captured(&mut self, step: usize, tree: Tree, delta: Delta) {
        self.steps[step] = Some(Reached { tree, delta, state: None });
    }

    /// A step's state has an id.
    pub(super) fn ingested(&mut self, step: usize, state: StateId) {
        if let Some(reached) = &mut self.steps[step] {
            reached.state = Some(state);
        }
    }

    /// Forgets this step and all later ones.
    pub(super) fn rewind(&mut self, step: usize) {
        self.steps[step..].iter_mut().for_each(|reached| *reached = None);
    }

    /// What a step left.
    pub(super) fn reached(&self, step: usize) -> Option<&Reached> {
        self.steps.get(step)?.as_ref()
    }

    /// The state before a step, once it is in the store; before the end: the last one.
    pub(super) fn before(&self, step: usize) -> Option<Known> {
        let Some(previous) = step.checked_sub(1) else { return Some(self.origin.clone()) };
        let reached = self.reached(previous)?;
        Some(Known { state: reached.state?, tree: reached.tree.clone() })
    }

    /// The files before a step.
    pub(super) fn tree_before(&self, step: usize) -> Option<Tree> {
        match step.checked_sub(1) {
            None => Some(self.origin.tree.clone()),
            Some(previous) => self.reached(previous).map(|reached| reached.tree.clone()),
        }
    }

    /// A bad verdict that does not stop the build.
    pub(super) fn excuse(&mut self, verdict: Verdict) {
        self.excused.push(verdict);
    }

    /// The verdict on the whole build, when nothing stopped it. A recipe without tests has
    /// made its image without being asked for more.
    pub(super) fn verdict(&self) -> Verdict {
        self.excused.iter().copied().max().unwrap_or(Verdict::Pass)
    }
}
