//! One assigned request, from its assignment until its answer's end.
//!
//! It says three things at most, into a queue that nobody is ever waited for at: that it began,
//! that its answer began while the rest is to come, and what came of it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::{Response, StatusCode};

use super::gate::Assigned;
use super::{Split, grpc};
use crate::body::Passing;
use crate::listen::received::BrokenBody;
use crate::metrics::Cause;

/// What requests say to the judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// One began.
    Began {
        /// Its number.
        number: u64,
        assigned: Assigned,
        at_us: u64,
    },
    /// Its answer began.
    Answered { number: u64 },
    /// It is over.
    Ended(Ended),
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) number: u64,
    pub(super) assigned: Assigned,
    /// Until its answer began, or until it was given up.
    pub(super) latency_us: u32,
    pub(super) failed: bool,
    pub(super) at_us: u64,
}

/// A request under way. Dropped, it is over: given up by the client where nothing else was said.
#[derive(Debug)]
pub(crate) struct Watch {
    split: Arc<Split>,
    number: u64,
    assigned: Assigned,
    began: Instant,
    /// Until its answer began.
    answered_us: Option<u32>,
    failed: bool,
    is_grpc: bool,
    /// Nobody waited for the rest of its answer: it ended when that began, give or take some
    /// microseconds that need not be looked up.
    is_at_once: bool,
}

impl Watch {
    /// It begins.
    pub(crate) fn new(split: Arc<Split>, assigned: Assigned, began: Instant) -> Self {
        let number = split.number();
        split.count(assigned.arm).begun.fetch_add(1, Ordering::Relaxed);
        split.say(Said::Began { number, assigned, at_us: split.at_us(began) });
        Self {
            split,
            number,
            assigned,
            began,
            answered_us: None,
            failed: false,
            is_grpc: false,
            is_at_once: true,
        }
    }

    /// Its arm failed, even if somebody else answers instead.
    pub(crate) fn failed(&mut self) {
        self.failed = true;
    }

    /// It is answered, by whomever, or it is not.
    pub(crate) fn settled(
        mut self,
        answer: Result<Response<Passing>, (Cause, String)>,
    ) -> Result<Response<Passing>, (Cause, String)> {
        match answer {
            Ok(answer) => Ok(self.answered(answer)),
            Err((cause, why)) => {
                // Whoever does not finish what it asks gave up.
                self.failed |= cause != Cause::Unfinished;
                Err((cause, why))
            }
        }
    }

    /// Its answer began; its end is waited for by the answer's body.
    fn answered(mut self, answer: Response<Passing>) -> Response<Passing> {
        self.answered_us = Some(microseconds(self.began.elapsed().as_micros()));
        let headers = answer.headers();
        let said = grpc::has_failed(headers);
        self.failed |= answer.status().is_server_error() || said == Some(true);
        // Who said it in the head does not say it again.
        self.is_grpc =
            answer.status() == StatusCode::OK && said.is_none() && grpc::is_grpc(headers);
        answer.map(|body| Passing::watched(body, self))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let since_us =
            |now: Instant| microseconds(now.saturating_duration_since(self.began).as_micros());
        let (latency_us, ended_us) = match self.answered_us {
            Some(answered_us) if self.is_at_once => (answered_us, answered_us),
            Some(answered_us) => (answered_us, since_us(Instant::now())),
            None => {
                let age = since_us(Instant::now());
                (age, age)
            }
        };
        self.split.count(self.assigned.arm).ended.fetch_add(1, Ordering::Relaxed);
        self.split.say(Said::Ended(Ended {
            number: self.number,
            assigned: self.assigned,
            latency_us,
            failed: self.failed,
            at_us: self.split.at_us(self.began) + u64::from(ended_us),
        }));
    }
}

/// An answer's body whose end is waited for.
#[derive(Debug)]
pub struct Watched {
    pub(crate) body: Passing,
    watch: Option<Watch>,
}

impl Passing {
    fn watched(body: Self, watch: Watch) -> Self {
        let mut watched = Watched { body, watch: Some(watch) };
        watched.end_with_body();
        match watched.watch {
            Some(_) => Self::Watched(Box::new(watched)),
            None => watched.body,
        }
    }
}

impl Watched {
    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_pending() {
            self.is_to_come();
        }
        let frame = ready!(polled);
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(trailers), Some(watch)) = (frame.trailers_ref(), &mut self.watch) {
                    watch.failed |= grpc::has_failed(trailers) == Some(true);
                    watch.is_grpc &= !trailers.contains_key("grpc-status");
                }
                self.end_with_body();
                // Who takes it slowly does not ask for the rest at once.
                self.is_to_come();
            }
            Some(Err(broken)) => self.broken(broken),
            None => self.end(),
        }
        Poll::Ready(frame)
    }

    /// Where all of it is there at once, its end says all there is to say.
    fn is_to_come(&mut self) {
        if let Some(watch) = self.watch.as_mut().filter(|watch| watch.is_at_once) {
            watch.is_at_once = false;
            watch.split.say(Said::Answered { number: watch.number });
        }
    }

    /// Whoever reads a body stops where it says that it is at its end.
    fn end_with_body(&mut self) {
        if self.body.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(mut watch) = self.watch.take() {
            // A call without a status is one that broke off (gRPC over HTTP/2, "Responses").
            watch.failed |= watch.is_grpc;
        }
    }

    fn broken(&mut self, broken: &BrokenBody) {
        if let Some(mut watch) = self.watch.take() {
            // The rest of what the client asks may be what broke.
            watch.failed |= !matches!(broken, BrokenBody::Connection(error) if error.is_user());
        }
    }
}

pub(super) fn microseconds(micros: u128) -> u32 {
    u32::try_from(micros).unwrap_or(u32::MAX)
}
