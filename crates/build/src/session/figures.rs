//! What a build measures about itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use umbra_api::build::{Event, Figures};
use umbra_suite::Test;

use super::control::needs_delta;
use crate::ports::EventSink;

/// Passes events on and keeps count.
pub(super) struct Measured {
    sink: Arc<dyn EventSink>,
    /// Tests that wait neither for a service nor for their step to be captured.
    prompt: BTreeSet<String>,
    first_tests: Mutex<BTreeMap<usize, u64>>,
    first_applied: Mutex<BTreeMap<usize, u64>>,
    figures: Arc<Mutex<Figures>>,
}

impl Measured {
    pub(super) fn new(sink: Arc<dyn EventSink>, tests: &[Test]) -> Self {
        let prompt = tests.iter().filter(|test| !test.services && !needs_delta(test));
        let prompt = prompt.map(|test| test.name.clone()).collect();
        Self {
            sink,
            prompt,
            first_tests: Mutex::default(),
            first_applied: Mutex::default(),
            figures: Arc::default(),
        }
    }

    /// The figures so far.
    pub(super) fn figures(&self) -> Arc<Mutex<Figures>> {
        Arc::clone(&self.figures)
    }

    fn count(&self, event: &Event) {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::StepCached { .. } => figures.steps_cached += 1,
            Event::StepEnded { .. } => figures.steps_run += 1,
            Event::DeltaApplied { step, took_us, .. } => {
                let mut first = self.first_applied.lock().unwrap_or_else(PoisonError::into_inner);
                first.entry(*step).or_insert(*took_us);
                figures.delta_applied_us = first.values().copied().collect();
            }
            Event::StepIngested { took_us, .. } => figures.ingested_us.push(*took_us),
            Event::TestKept { .. } => figures.tests_kept += 1,
            Event::TestEnded { .. } => figures.tests_run += 1,
            Event::TestStarted { step, test, since_step_us, .. } if self.prompt.contains(test) => {
                let mut first = self.first_tests.lock().unwrap_or_else(PoisonError::into_inner);
                first.entry(*step).or_insert(*since_step_us);
                figures.first_test_us = first.values().copied().collect();
            }
            _ => {}
        }
    }
}

impl EventSink for Measured {
    fn emit(&self, event: Event) {
        self.count(&event);
        self.sink.emit(event);
    }
}
