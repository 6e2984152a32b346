//! Plays users against a shadow on one thread, paced by another.
//!
//! The pacing thread sleeps on the kernel's high-resolution timer; the event loop's own
//! timer has a resolution of a millisecond, which would show up in every latency. Between
//! the two is a bounded channel: when it is full, or too many users are busy, a user is
//! dropped and counted.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;
use umbra_state::escape::escape;

use super::arrivals::Arrivals;
use super::extract::{Values, filled, take};
use super::pacing::sleep_until;
use super::stats::Stats;
use super::{LoadCheck, LoadStep};
use crate::check::http::client::{self, Failure};
use crate::check::http::url::{Url, host_of};
use crate::check::http::{HttpRequest, Scheme, tls};
use crate::runner::Context;
use crate::target::{ProbeError, Target};

/// How many users may wait between the pacing thread and the event loop.
const WAITING_MAX: usize = 4096;

/// How much of an answer's body is read; the rest ends the connection.
const BODY_BYTES_MAX: u64 = 16 << 20;

struct Due {
    intended: Instant,
    journey: usize,
    counted: bool,
}

pub(super) fn run(
    check: &LoadCheck,
    target: &dyn Target,
    address: IpAddr,
    context: &Context<'_>,
    limit: Duration,
) -> Result<Stats, ProbeError> {
    let connector = match check.endpoint.scheme {
        Scheme::Http => None,
        Scheme::Https => Some(tls::connector(&check.endpoint.tls, target)?),
    };
    for step in check.scenario.iter().flat_map(|journey| &journey.steps) {
        step.request.validate()?;
    }
    let runtime = client::runtime()?;
    let stats = Stats::new().ok_or_else(|| ProbeError::Bug("histogram bounds".to_owned()))?;
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let over = AtomicBool::new(false);
    let begin = Instant::now();
    let (stats, ours) = std::thread::scope(|scope| {
        let pacing = scope.spawn(|| pace(check, context, &over, begin, sender));
        let users = Users {
            check: check.clone(),
            address: SocketAddr::new(address, check.endpoint.port),
            connector,
            idle: RefCell::new(Vec::new()),
            stats: RefCell::new(stats),
            busy: RefCell::new(0),
            ours: RefCell::new(None),
        };
        let users = Rc::new(users);
        let set = LocalSet::new();
        let playing = set.run_until(Rc::clone(&users).play(receiver));
        let in_time =
            runtime.block_on(async { tokio::time::timeout(limit, playing).await.is_ok() });
        over.store(true, Ordering::Relaxed);
        // Users that are still busy hold the last references to what was measured.
        drop(set);
        let dropped = pacing.join().unwrap_or(0);
        let mut stats = users.stats.replace(Stats::new()?);
        stats.dropped += dropped;
        stats.cut_short = !in_time;
        stats.elapsed = begin.elapsed().saturating_sub(check.warm_up).min(stats.elapsed);
        Some((stats, users.ours.take()))
    })
    .ok_or_else(|| ProbeError::Bug("histogram bounds".to_owned()))?;
    match ours {
        _ if context.is_cancelled() => Err(ProbeError::Cancelled),
        Some(source) => Err(ProbeError::Host { what: "open enough connections", source }),
        None => Ok(stats),
    }
}

/// Hands every user over at the intended time; returns how many counted ones found no room.
fn pace(
    check: &LoadCheck,
    context: &Context<'_>,
    over: &AtomicBool,
    begin: Instant,
    sender: mpsc::Sender<Due>,
) -> u64 {
    let until = check.warm_up + check.duration;
    let arrivals = Arrivals::new(context.seed, check.arrival, check.rate, until, &check.scenario);
    let mut dropped = 0;
    for arriving in arrivals {
        let intended = begin + arriving.at;
        if !sleep_until(intended, || !over.load(Ordering::Relaxed) && !context.is_cancelled()) {
            return dropped;
        }
        let counted = arriving.at >= check.warm_up;
        match sender.try_send(Due { intended, journey: arriving.journey, counted }) {
            Ok(()) => {}
            Err(TrySendError::Full(due)) => dropped += u64::from(due.counted),
            Err(TrySendError::Closed(_)) => return dropped,
        }
    }
    dropped
}

/// Everything that users share; all on one thread.
struct Users {
    check: LoadCheck,
    address: SocketAddr,
    connector: Option<TlsConnector>,
    idle: RefCell<Vec<SendRequest<Full<Bytes>>>>,
    stats: RefCell<Stats>,
    busy: RefCell<usize>,
    /// An error of this machine: what was measured is not about the shadow.
    ours: RefCell<Option<std::io::Error>>,
}

impl Users {
    async fn play(self: Rc<Self>, mut receiver: mpsc::Receiver<Due>) {
        let mut tasks = tokio::task::JoinSet::new();
        let mut first_counted = None;
        while let Some(due) = receiver.recv().await {
            while tasks.try_join_next().is_some() {}
            if due.counted {
                first_counted.get_or_insert(due.intended);
                let lag = due.intended.elapsed();
                let mut stats = self.stats.borrow_mut();
                stats.lag_max = stats.lag_max.max(lag);
                if *self.busy.borrow() >= self.check.in_flight_max {
                    stats.dropped += 1;
                    continue;
                }
            } else if *self.busy.borrow() >= self.check.in_flight_max {
                continue;
            }
            let users = Rc::clone(&self);
            *self.busy.borrow_mut() += 1;
            tasks.spawn_local(async move {
                users.journey(&due, first_counted).await;
                *users.busy.borrow_mut() -= 1;
            });
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn journey(&self, due: &Due, first_counted: Option<Instant>) {
        let mut intended = due.intended;
        let Some(journey) = self.check.scenario.get(due.journey) else { return };
        let mut values = Values::new();
        for (index, step) in journey.steps.iter().enumerate() {
            if !step.think.is_zero() {
                tokio::time::sleep(step.think).await;
            }
            // Later requests depend on earlier answers: they are meant to happen now.
            if index > 0 || !step.think.is_zero() {
                intended = Instant::now();
            }
            let left = self.check.request_timeout.saturating_sub(intended.elapsed());
            let answer = tokio::time::timeout(left, self.request(step, &mut values)).await;
            let went_on = self.count(step, answer.ok(), intended, due.counted);
            if let Some(first) = first_counted {
                let mut stats = self.stats.borrow_mut();
                stats.elapsed = stats.elapsed.max(first.elapsed());
            }
            if !went_on {
                return;
            }
        }
    }

    /// Takes an answer (`None`: none in time) into account; whether the user goes on.
    fn count(
        &self,
        step: &LoadStep,
        answer: Option<Result<Option<String>, Failure>>,
        intended: Instant,
        counted: bool,
    ) -> bool {
        let latency = intended.elapsed();
        if let Some(Err(failure)) = &answer
            && failure.is_ours()
        {
            let error = std::io::Error::other(failure.in_words());
            self.ours.borrow_mut().get_or_insert(error);
            return false;
        }
        let good = matches!(answer, Some(Ok(None)));
        if counted {
            let path = escape(step.request.path.as_bytes()).to_string();
            let path: String = path.chars().take(80).collect();
            let told = |reason: String| format!("{} {path}: {reason}", step.request.method);
            let mut stats = self.stats.borrow_mut();
            match answer {
                Some(Ok(bad_status)) => stats.answered(latency, bad_status.map(told)),
                Some(Err(failure)) => stats.failed(told(failure.in_words())),
                None => {
                    let reason = format!("no answer within {:?}", self.check.request_timeout);
                    // It took at least this long, so leaving it out would flatter the rest.
                    stats.answered(latency, Some(told(reason)));
                }
            }
        }
        good
    }

    /// One request on an idle or a fresh connection; a bad status, and what could not be taken
    /// from the answer, come back in words.
    async fn request(
        &self,
        step: &LoadStep,
        values: &mut Values,
    ) -> Result<Option<String>, Failure> {
        let request = match filled(&step.request, values) {
            Ok(request) => request,
            Err(problem) => return Ok(Some(problem)),
        };
        let url = self.url(&request);
        let (mut sender, reused) = self.connection(&url).await?;
        let mut answer = self.exchange(&mut sender, &request, &url).await;
        if reused && answer.as_ref().is_err_and(Failure::is_stale_connection) {
            sender = self.connect(&url).await?;
            answer = self.exchange(&mut sender, &request, &url).await;
        }
        let response = answer?;
        if !response.truncated && !sender.is_closed() {
            self.idle.borrow_mut().push(sender);
        }
        let good = match step.status.as_slice() {
            [] => response.status < 400,
            some => some.contains(&response.status),
        };
        if !good {
            return Ok(Some(format!("status {}", response.status)));
        }
        Ok(take(&step.extract, &response, values).err())
    }

    async fn exchange(
        &self,
        sender: &mut SendRequest<Full<Bytes>>,
        request: &HttpRequest,
        url: &Url,
    ) -> Result<client::Response, Failure> {
        let message = client::build(request, &url.authority())
            .map_err(|error| Failure::Redirect(format!("that cannot be sent: {error}")))?;
        client::send(sender, message, BODY_BYTES_MAX).await
    }

    async fn connection(&self, url: &Url) -> Result<(SendRequest<Full<Bytes>>, bool), Failure> {
        loop {
            let idle = self.idle.borrow_mut().pop();
            match idle {
                Some(sender) if sender.is_closed() => {}
                Some(sender) => return Ok((sender, true)),
                None => return Ok((self.connect(url).await?, false)),
            }
        }
    }

    async fn connect(&self, url: &Url) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let stream = TcpStream::connect(self.address).await.map_err(Failure::Connect)?;
        client::open(stream, self.connector.as_ref(), url.server_name()).await
    }

    fn url(&self, request: &HttpRequest) -> Url {
        let host = request.host.clone().unwrap_or_else(|| host_of(self.address.ip()));
        let (scheme, port) = (self.check.endpoint.scheme, self.check.endpoint.port);
        Url { scheme, host, port, path: request.path.clone() }
    }
}
