//! The answers to one request, until all are there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::State;
use super::report::Cause;
use crate::room::Room;
use bytes::Bytes;
use hyper::{HeaderMap, StatusCode};

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Production = 0,
    Candidate = 1,
    Baseline = 2,
}

/// An answer, whole.
#[derive(Debug, Default)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, but those of its connection.
    pub headers: HeaderMap,
    /// Its body, in pieces.
    pub body: Vec<Bytes>,
    /// What came behind the body.
    pub trailers: HeaderMap,
    /// How long it took until it began.
    pub after: Duration,
    /// The memory it takes.
    pub(crate) room: Room,
}

/// What became of a request on one side.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was answered.
    Answer(Box<Answer>),
    /// It was not, and that is to be held against who did not.
    Failed(&'static str),
    /// Nobody can say.
    LeftOut(Cause),
}

/// What a shadow did with a request: its answer, or how it failed.
pub type Answered = Result<Box<Answer>, &'static str>;

/// All there is to compare of one request.
#[derive(Debug)]
pub struct Gathered {
    /// Its method and path.
    pub request: String,
    /// Production's answer.
    pub production: Box<Answer>,
    /// What the candidate did.
    pub candidate: Answered,
    /// What the baseline did, if there is one.
    pub baseline: Option<Answered>,
}

/// A request under way. It is over when whoever keeps one of its answers is gone.
#[derive(Debug)]
pub(crate) struct Gathering {
    state: Arc<State>,
    request: String,
    outcomes: Mutex<[Option<Outcome>; 3]>,
}

impl Gathering {
    pub(crate) fn new(state: Arc<State>, request: String) -> Self {
        Self { state, request, outcomes: Mutex::default() }
    }

    /// What became of it on this side, as far as is known.
    pub(crate) fn tell(&self, side: Side, outcome: Outcome) {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes[side as usize] = Some(outcome);
    }

    fn gathered(&mut self) -> Result<Gathered, Cause> {
        let outcomes = self.outcomes.get_mut().unwrap_or_else(PoisonError::into_inner);
        let [production, candidate, baseline] = std::mem::take(outcomes);
        let production = match production {
            Some(Outcome::Answer(answer)) => answer,
            Some(Outcome::LeftOut(cause)) => return Err(cause),
            Some(Outcome::Failed(_)) | None => return Err(Cause::Primary),
        };
        let shadow = |outcome| match outcome {
            Some(Outcome::Answer(answer)) => Ok(Ok(answer)),
            Some(Outcome::Failed(how)) => Ok(Err(how)),
            Some(Outcome::LeftOut(cause)) => Err(cause),
            None => Err(Cause::Dropped),
        };
        let baseline = self.state.has_baseline().then(|| shadow(baseline)).transpose()?;
        let request = std::mem::take(&mut self.request);
        Ok(Gathered { request, production, candidate: shadow(candidate)?, baseline })
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        let gathered = self.gathered();
        self.state.gathered(gathered);
    }
}
