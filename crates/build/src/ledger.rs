//! What is still pending in a build, what failed first, and when that is settled. Pure.
//!
//! ```text
//!   running ──(a test or step fails)──▶ failing ──(nothing earlier pending)──▶ failed at step k
//!      │                                   ▲   │
//!      │                                   └───┘ an earlier step fails too: it takes over
//!      └──(all steps ingested, nothing pending)──▶ finished
//! ```

/// The state of a build's steps, by position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ledger {
    steps: Vec<Step>,
    /// The first step that must not be waited for: the build stops before it.
    end: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Step {
    ingested: bool,
    /// All its tests have been handed out.
    dealt: bool,
    pending: usize,
    failure: Option<Cause>,
}

/// Why a step counts as failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The step itself ended badly.
    Step,
    /// The test with this number has a bad verdict.
    Test(usize),
}

/// What the build is to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Go on.
    Running,
    /// Something failed, but an earlier step may yet turn out to be at fault.
    Failing,
    /// This step is the earliest at fault, and its state is in the store.
    Failed(usize, Cause),
    /// Every step is in the store and nothing is pending.
    Finished,
}

impl Ledger {
    /// For steps `from..end`; those before are done.
    pub(crate) fn new(from: usize, end: usize) -> Self {
        let done = Step { ingested: true, dealt: true, ..Step::default() };
        let mut steps = vec![done; from];
        steps.resize(end, Step::default());
        Self { steps, end }
    }

    /// A step's state is in the store.
    pub(crate) fn ingested(&mut self, step: usize) {
        self.steps[step].ingested = true;
    }

    /// So many tests of a step were handed out.
    pub(crate) fn deal(&mut self, step: usize, tests: usize) {
        self.steps[step].pending += tests;
    }

    /// No more tests of this step will be handed out.
    pub(crate) fn dealt(&mut self, step: usize) {
        self.steps[step].dealt = true;
    }

    /// A step that is done already needs tests again: it is dealt anew.
    pub(crate) fn reopen(&mut self, step: usize) {
        self.steps[step].dealt = false;
    }

    /// A test ended, or will not run any more.
    pub(crate) fn returned(&mut self, step: usize) {
        self.steps[step].pending = self.steps[step].pending.saturating_sub(1);
    }

    /// A step or one of its tests failed. The first cause of a step stays.
    pub(crate) fn fail(&mut self, step: usize, cause: Cause) {
        self.steps[step].failure.get_or_insert(cause);
    }

    /// Somebody decided to go on despite this step's failure.
    pub(crate) fn forgive(&mut self, step: usize) {
        self.steps[step].failure = None;
    }

    /// The earliest failed step.
    pub(crate) fn earliest_failure(&self) -> Option<(usize, Cause)> {
        self.steps.iter().enumerate().find_map(|(index, step)| Some((index, step.failure?)))
    }

    /// What is to be done now.
    pub(crate) fn standing(&self) -> Standing {
        let Some((failed, cause)) = self.earliest_failure() else {
            let done = |step: &Step| step.ingested && step.dealt && step.pending == 0;
            let finished = self.steps[..self.end].iter().all(done);
            return if finished { Standing::Finished } else { Standing::Running };
        };
        let earlier = &self.steps[..failed];
        let settled = earlier.iter().all(|step| step.ingested && step.dealt && step.pending == 0);
        // Tests of the same step that are running already may add their evidence.
        let own = &self.steps[failed];
        if settled && own.ingested && own.pending == 0 {
            Standing::Failed(failed, cause)
        } else {
            Standing::Failing
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ingested(steps: usize) -> Ledger {
        let mut ledger = Ledger::new(0, steps);
        for step in 0..steps {
            ledger.ingested(step);
            ledger.dealt(step);
        }
        ledger
    }

    #[test]
    fn a_build_without_tests_finishes_with_its_last_state() {
        let mut ledger = Ledger::new(0, 1);
        assert_eq!(ledger.standing(), Standing::Running);
        ledger.ingested(0);
        assert_eq!(ledger.standing(), Standing::Running);
        ledger.dealt(0);
        assert_eq!(ledger.standing(), Standing::Finished);
        assert_eq!(Ledger::new(3, 3).standing(), Standing::Finished);
    }

    #[test]
    fn an_earlier_failure_takes_over() {
        let mut ledger = ingested(3);
        ledger.deal(0, 1);
        ledger.fail(2, Cause::Test(5));
        assert_eq!(ledger.standing(), Standing::Failing);
        ledger.fail(0, Cause::Test(1));
        ledger.returned(0);
        assert_eq!(ledger.standing(), Standing::Failed(0, Cause::Test(1)));
    }

    #[test]
    fn a_failure_waits_for_its_state_but_not_for_later_steps() {
        let mut ledger = Ledger::new(0, 2);
        ledger.deal(1, 4);
        ledger.fail(0, Cause::Step);
        ledger.dealt(0);
        assert_eq!(ledger.standing(), Standing::Failing);
        ledger.ingested(0);
        assert_eq!(ledger.standing(), Standing::Failed(0, Cause::Step));
        ledger.forgive(0);
        assert_eq!(ledger.standing(), Standing::Running);
    }

    proptest! {
        /// Whatever order verdicts come in, the same step is blamed, and nothing finishes with
        /// a failure or with something pending.
        #[test]
        fn the_order_of_verdicts_does_not_matter(
            failing in proptest::collection::btree_set(0usize..6, 0..4),
            order in Just((0..6usize).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut ledger = ingested(6);
            (0..6).for_each(|step| ledger.deal(step, 1));
            for (done, step) in order.iter().enumerate() {
                prop_assert_ne!(ledger.standing(), Standing::Finished);
                if failing.contains(step) {
                    ledger.fail(*step, Cause::Test(0));
                }
                ledger.returned(*step);
                if done == 5 {
                    let expected = match failing.first() {
                        Some(first) => Standing::Failed(*first, Cause::Test(0)),
                        None => Standing::Finished,
                    };
                    prop_assert_eq!(ledger.standing(), expected);
                }
            }
        }
    }
}
