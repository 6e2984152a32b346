//! One answer, kept while it passes. Never waits.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::body::Frame;
use hyper::http::response::Parts;
use hyper::{HeaderMap, Response};
use tokio::sync::Semaphore;

use super::gather::{Answer, Gathering, Outcome, Side};
use super::report::Cause;
use crate::body::{Hears, Passing};
use crate::headers::strip;
use crate::mirror::{Ended, bytes_of};
use crate::upstream;

/// Bytes of a body that is compared.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;
/// What a piece of a body, and a head, cost beside their bytes.
const PIECE_BYTES: usize = 128;
const HEAD_BYTES: usize = 512;

/// Keeps the answer of one side to one request. What is dropped before the answer's end was not
/// answered to its end.
#[derive(Debug)]
pub struct Keep {
    gathering: Arc<Gathering>,
    side: Side,
    memory: Arc<Semaphore>,
    began: Instant,
    answer: Box<Answer>,
    left: usize,
    /// Why it is not kept any more.
    cut: Option<Cause>,
}

impl Keep {
    pub(crate) fn new(
        gathering: Arc<Gathering>,
        side: Side,
        memory: Arc<Semaphore>,
        began: Instant,
    ) -> Self {
        let answer = Box::default();
        Self { gathering, side, memory, began, answer, left: BODY_BYTES_MAX, cut: None }
    }

    /// It begins to be answered.
    pub(crate) fn head(&mut self, head: &Parts) {
        self.answer.after = self.began.elapsed();
        self.answer.status = head.status;
        self.gathering.tell(self.side, Outcome::LeftOut(Cause::Unfinished));
        if self.take(bytes_of(&head.headers) + HEAD_BYTES) {
            self.answer.headers = head.headers.clone();
            strip(&mut self.answer.headers);
        }
    }

    /// Production's answer on its way to the client.
    pub(crate) fn watch(
        mut self,
        answer: Response<upstream::Answer<Passing>>,
    ) -> Response<Passing> {
        let (head, body) = answer.into_parts();
        self.head(&head);
        Response::from_parts(head, Passing::kept(body, self))
    }

    /// More of a shadow's answer.
    pub(crate) fn frame(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            self.data(data);
        } else if let Some(trailers) = frame.trailers_ref() {
            self.trailers(trailers);
        }
    }

    /// How a shadow's request ended.
    pub(crate) fn ended(self, how: Ended) {
        let failed = match how {
            Ended::Answered => return self.end(),
            Ended::Truncated => Outcome::LeftOut(Cause::Truncated),
            Ended::Unfinished => Outcome::LeftOut(Cause::Unfinished),
            Ended::Unreachable => Outcome::Failed("unreachable"),
            Ended::Broken => Outcome::Failed("broken"),
            Ended::TimedOut => Outcome::Failed("timed out"),
            Ended::TooLong => Outcome::Failed(TOO_LONG),
        };
        self.gathering.tell(self.side, failed);
    }

    /// Whether there is room for so much more; if not, nothing is kept any more.
    fn take(&mut self, bytes: usize) -> bool {
        if self.cut.is_some() {
            return false;
        }
        if !self.answer.room.take(&self.memory, bytes) {
            self.cut(Cause::Memory);
        }
        self.cut.is_none()
    }

    fn cut(&mut self, cause: Cause) {
        self.cut = Some(cause);
        *self.answer = Answer::default();
    }
}

/// A shadow's answer that is longer than is compared where production's is not.
const TOO_LONG: &str = "too long";

impl Hears for Keep {
    fn data(&mut self, data: &Bytes) {
        if self.cut.is_some() || data.is_empty() {
            return;
        }
        match self.left.checked_sub(data.len()) {
            Some(left) => self.left = left,
            None => return self.cut(Cause::TooLong),
        }
        if self.take(data.len() + PIECE_BYTES) {
            // Not a part of a buffer that would be kept as a whole.
            self.answer.body.push(Bytes::copy_from_slice(data));
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if self.take(bytes_of(trailers) + PIECE_BYTES) {
            self.answer.trailers = trailers.clone();
        }
    }

    fn end(self) {
        let outcome = match (self.cut, self.side) {
            (None, _) => Outcome::Answer(self.answer),
            (Some(Cause::TooLong), Side::Candidate | Side::Baseline) => Outcome::Failed(TOO_LONG),
            (Some(cause), _) => Outcome::LeftOut(cause),
        };
        self.gathering.tell(self.side, outcome);
    }
}

/// An answer on its way to the client, kept if it is to be compared.
pub(crate) fn watched(
    answer: Response<upstream::Answer<Passing>>,
    keep: Option<Keep>,
) -> Response<Passing> {
    match keep {
        Some(keep) => keep.watch(answer),
        None => answer.map(Passing::Answered),
    }
}
