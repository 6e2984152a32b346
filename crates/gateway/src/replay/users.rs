//! All users of a replay, on one thread: sessions, connections, latencies.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use umbra_state::escape::line;
use umbra_suite::check::http::client::{self, Failure, Response};
use umbra_suite::check::load::stats::Stats;

use super::Plan;
use super::report::{Statuses, Times};
use super::rewrite::{Prepared, only_reads};

/// How much of an answer is read; the rest ends the connection.
const BODY_BYTES_MAX: u64 = 16 << 20;
/// How soon it is noticed that nobody wants the rest.
const CANCEL_TIME: Duration = Duration::from_millis(50);

/// How far a replay is, for whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    /// Requests sent.
    pub sent: AtomicU64,
    /// Requests answered.
    pub answered: AtomicU64,
    /// Requests that were not sent, or not answered well.
    pub failed: AtomicU64,
    /// Set by who wants it to end.
    pub cancel: AtomicBool,
}

impl Progress {
    /// Whether somebody wants it to end.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

/// A request whose time has come.
#[derive(Debug)]
pub(super) struct Due {
    intended: Instant,
    prepared: Prepared,
}

impl Due {
    pub(super) fn new(intended: Instant, prepared: Prepared) -> Self {
        Self { intended, prepared }
    }
}

/// Everything that users share.
pub(super) struct Users {
    plan: Plan,
    progress: Arc<Progress>,
    idle: RefCell<Vec<SendRequest<Full<Bytes>>>>,
    /// Sessions with a request under way, and what waits for its answer.
    sessions: RefCell<HashMap<u64, VecDeque<Due>>>,
    /// Requests under way, and those that wait.
    under_way: Cell<usize>,
    seen: RefCell<Seen>,
}

/// What users measured.
pub(super) struct Seen {
    /// From the intended start, and how it ended: what thresholds judge.
    pub(super) stats: Stats,
    pub(super) corrected: Times,
    pub(super) raw: Times,
    pub(super) lag: Times,
    pub(super) waited: Times,
    pub(super) statuses: Statuses,
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) dropped: u64,
    pub(super) redacted: u64,
    pub(super) last: Option<Instant>,
    /// An error of this machine: what was measured is not about the target.
    pub(super) ours: Option<String>,
}

impl Users {
    pub(super) fn new(plan: &Plan, progress: &Arc<Progress>) -> Option<Rc<Self>> {
        Some(Rc::new(Self {
            plan: plan.clone(),
            progress: Arc::clone(progress),
            idle: RefCell::default(),
            sessions: RefCell::default(),
            under_way: Cell::new(0),
            seen: RefCell::new(Seen {
                stats: Stats::new()?,
                corrected: Times::new(),
                raw: Times::new(),
                lag: Times::new(),
                waited: Times::new(),
                statuses: Statuses::default(),
                sent: 0,
                answered: 0,
                dropped: 0,
                redacted: 0,
                last: None,
                ours: None,
            }),
        }))
    }

    pub(super) fn seen(&self) -> RefMut<'_, Seen> {
        self.seen.borrow_mut()
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.progress.is_cancelled()
    }

    /// Sends what comes, and waits for its answers.
    pub(super) async fn play(self: Rc<Self>, mut due: mpsc::Receiver<Due>) {
        let mut tasks = JoinSet::new();
        while let Some(due) = due.recv().await {
            while tasks.try_join_next().is_some() {}
            if self.under_way.get() >= self.plan.in_flight_max {
                self.seen().dropped += 1;
                self.progress.failed.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.under_way.set(self.under_way.get() + 1);
            if let Some(due) = self.in_turn(due) {
                tasks.spawn_local(Rc::clone(&self).session(due));
            }
        }
        while !tasks.is_empty() && !self.is_cancelled() {
            // Nobody is told when it is cancelled.
            let _ = tokio::time::timeout(CANCEL_TIME, tasks.join_next()).await;
        }
    }

    /// The request, if nothing of its session is under way; else it waits.
    fn in_turn(&self, due: Due) -> Option<Due> {
        if !self.plan.ordered {
            return Some(due);
        }
        let mut sessions = self.sessions.borrow_mut();
        match sessions.get_mut(&due.prepared.session) {
            Some(waiting) => {
                waiting.push_back(due);
                None
            }
            None => {
                sessions.insert(due.prepared.session, VecDeque::new());
                Some(due)
            }
        }
    }

    /// A request, and then those of its session that waited for its answer.
    async fn session(self: Rc<Self>, due: Due) {
        let session = due.prepared.session;
        let mut next = Some((due, None));
        while let Some((due, waited)) = next {
            self.request(due, waited).await;
            self.under_way.set(self.under_way.get() - 1);
            let now = Instant::now();
            next = self.next_of(session).map(|due| {
                let waited = now.saturating_duration_since(due.intended);
                (due, Some((now, waited)))
            });
        }
    }

    fn next_of(&self, session: u64) -> Option<Due> {
        if !self.plan.ordered {
            return None;
        }
        let mut sessions = self.sessions.borrow_mut();
        let next = sessions.get_mut(&session).and_then(VecDeque::pop_front);
        if next.is_none() {
            sessions.remove(&session);
        }
        next
    }

    /// `waited`: since when it could be sent, and how long it could not.
    async fn request(&self, due: Due, waited: Option<(Instant, Duration)>) {
        let Due { intended, prepared } = due;
        let Prepared { request, status, redacted, .. } = prepared;
        let told = (request.method().clone(), request.uri().path().to_owned());
        let began = Instant::now();
        {
            let mut seen = self.seen();
            seen.lag.add(match waited {
                Some((since, _)) => began.saturating_duration_since(since),
                None => began.saturating_duration_since(intended),
            });
            if let Some((_, waited)) = waited {
                seen.waited.add(waited);
            }
            seen.sent += 1;
            seen.redacted += u64::from(redacted);
        }
        self.progress.sent.fetch_add(1, Ordering::Relaxed);
        let answer = tokio::time::timeout(self.plan.timeout, self.send(request)).await;
        self.count(answer.ok(), &told, status, intended, began);
    }

    /// Takes an answer (`None`: none in time) into account.
    fn count(
        &self,
        answer: Option<Result<Response, Failure>>,
        (method, path): &(Method, String),
        captured: Option<u16>,
        intended: Instant,
        began: Instant,
    ) {
        let (corrected, raw) = (intended.elapsed(), began.elapsed());
        let told = |why: String| format!("{method} {}: {why}", line(path.as_bytes(), 80));
        let mut seen = self.seen();
        seen.last = Some(Instant::now());
        let failure = match answer {
            Some(Ok(response)) => {
                seen.answered += 1;
                self.progress.answered.fetch_add(1, Ordering::Relaxed);
                if let Some(captured) = captured {
                    seen.statuses.add(captured, response.status);
                }
                // What was an error when it was captured may be one.
                let worse = response.status >= 500 && captured.is_none_or(|status| status < 500);
                worse.then(|| told(format!("status {}", response.status)))
            }
            Some(Err(failure)) if failure.is_ours() => {
                seen.ours.get_or_insert(failure.in_words());
                return;
            }
            Some(Err(failure)) => {
                self.progress.failed.fetch_add(1, Ordering::Relaxed);
                return seen.stats.failed(told(failure.in_words()));
            }
            // It took at least this long, so leaving it out would flatter the rest.
            None => Some(told(format!("no answer within {:?}", self.plan.timeout))),
        };
        if failure.is_some() {
            self.progress.failed.fetch_add(1, Ordering::Relaxed);
        }
        seen.corrected.add(corrected);
        seen.raw.add(raw);
        seen.stats.answered(corrected, failure);
    }

    /// On an idle or a fresh connection; again on a fresh one, if the idle one was closed before
    /// anything was sent, or nothing changes by sending it twice.
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response, Failure> {
        if let Some(mut sender) = self.idle_connection() {
            let safe = only_reads(request.method().as_str());
            let answer = client::send(&mut sender, request.clone(), BODY_BYTES_MAX).await;
            match answer {
                Err(Failure::Http(error)) if error.is_canceled() => {}
                Err(failure) if safe && failure.is_stale_connection() => {}
                answer => return self.kept(sender, answer),
            }
        }
        let stream = TcpStream::connect(self.plan.to).await.map_err(Failure::Connect)?;
        let mut sender = client::open(stream, None, "").await?;
        let answer = client::send(&mut sender, request, BODY_BYTES_MAX).await;
        self.kept(sender, answer)
    }

    fn kept(
        &self,
        sender: SendRequest<Full<Bytes>>,
        answer: Result<Response, Failure>,
    ) -> Result<Response, Failure> {
        if answer.as_ref().is_ok_and(|response| !response.truncated) && !sender.is_closed() {
            self.idle.borrow_mut().push(sender);
        }
        answer
    }

    fn idle_connection(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(sender) = idle.pop() {
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }
}
