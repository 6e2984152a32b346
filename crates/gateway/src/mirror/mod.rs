//! Copies of requests for a shadow, whose answers are read and thrown away, or compared.
//!
//! ```text
//! request ── filter ── choice ── slot, memory ──> production, its body copied as it streams
//!                        │         │                    │ pieces
//!                        │         └ none: dropped      v
//!                        └ not this one       a task of its own ──> shadow ──> answer, counted
//! ```

mod copy;
mod counts;
mod rate;
mod select;
mod set;
pub(crate) mod wanted;

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

pub use copy::{Copy, Read};
pub use counts::{Counted, Counts, Dropped, Ended};
pub(crate) use select::Offered;
pub use select::{Filter, Sessions};
pub use set::{Mirrors, Role};

use self::copy::{Fate, copy};
use self::rate::ReadRate;
use self::select::Choice;
use crate::compare::keep::Keep;
use crate::compare::{self, Comparison};
use crate::fraction::Fraction;
use crate::listen::proxy_header::Ends;
use crate::room::Room;
use crate::upstream::{Failure, Upstream};

/// What mirrored requests carry, with the mirror's name.
pub const SHADOW: HeaderName = HeaderName::from_static("x-umbra-shadow");

/// What a head costs beside its headers.
const HEAD_BYTES: usize = 512;

/// How far a mirror may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Requests under way at once.
    pub in_flight_max: usize,
    /// Bytes of a request's body; longer ones are cut off.
    pub body_bytes_max: u64,
    /// Bytes of an answer that are read.
    pub answer_bytes_max: u64,
    /// How long a request may take, its answer included.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight_max: 256,
            body_bytes_max: 16 << 20,
            answer_bytes_max: 16 << 20,
            timeout: Duration::from_secs(5),
        }
    }
}

/// What is mirrored, and where to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// Which requests it is for.
    pub filter: Filter,
    /// How much of what the filter lets through.
    pub fraction: Fraction,
    /// Whose requests are chosen together; each is by itself, if there is nothing.
    pub sessions: Option<Sessions>,
    /// The shadow's `Host`, if it is not production's.
    pub host: Option<HeaderValue>,
    /// How far it may go.
    pub limits: Limits,
    /// What its answers are for.
    pub role: Option<Role>,
    /// How they are compared, if it is the candidate.
    pub compare: compare::Settings,
}

/// What a request takes while it is under way.
#[derive(Debug)]
pub(crate) struct Admitted {
    _slot: OwnedSemaphorePermit,
    _memory: Room,
}

/// A shadow that gets copies.
#[derive(Debug)]
pub struct Mirror {
    settings: Settings,
    /// Its name, as requests carry it.
    told: HeaderValue,
    shadow: Upstream<Read>,
    choice: Choice,
    slots: Arc<Semaphore>,
    /// Shared by all mirrors.
    memory: Arc<Semaphore>,
    counts: Arc<Counts>,
    read_rate: ReadRate,
}

impl Mirror {
    /// Copies go to `shadow`; they take from `memory`, a permit a byte.
    pub fn new(
        settings: Settings,
        shadow: Upstream<Read>,
        memory: Arc<Semaphore>,
        seed: u64,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(settings.limits.in_flight_max));
        let choice = Choice::new(settings.fraction, settings.sessions.as_ref(), seed);
        // Names are letters and digits.
        let told = HeaderValue::from_str(&settings.name);
        let told = told.unwrap_or_else(|_| HeaderValue::from_static(""));
        Self {
            settings,
            told,
            shadow,
            choice,
            slots,
            memory,
            counts: Arc::default(),
            read_rate: ReadRate::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// What it does.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where copies go.
    pub fn shadow(&self) -> &Upstream<Read> {
        &self.shadow
    }

    /// How many requests the filter let through so far.
    pub fn seen(&self) -> u64 {
        self.choice.seen()
    }

    /// How many of them could not be chosen, since they are of no session.
    pub fn no_session(&self) -> u64 {
        self.choice.no_session()
    }

    /// What became of them.
    pub fn counted(&self) -> Counted {
        self.counts.now()
    }

    /// Begins to copy a request, if it is to be: what is returned takes its body. Never waits.
    pub(crate) fn begin(self: &Arc<Self>, offered: &Offered<'_>, has_body: bool) -> Option<Copy> {
        if !self.chooses(offered) {
            return None;
        }
        let admitted = self.admit(offered.head);
        self.counts.eligible(admitted.as_ref().err().copied());
        self.copy(offered.head, has_body, admitted.ok()?, None)
    }

    /// Whether a request is to be copied.
    pub(crate) fn chooses(&self, offered: &Offered<'_>) -> bool {
        self.settings.filter.lets_through(offered) && self.choice.choose(offered)
    }

    /// A comparison of its answers, with those of a baseline of this name.
    pub(crate) fn comparison(&self, baseline: Option<&str>) -> Comparison {
        let (settings, memory) = (self.settings.compare.clone(), Arc::clone(&self.memory));
        Comparison::new(self.name(), baseline, settings, memory)
    }

    /// What a request with this head takes while it is under way, if there is so much.
    pub(crate) fn admit(&self, head: &Parts) -> Result<Admitted, Dropped> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| Dropped::InFlight)?;
        let memory = Room::of(&self.memory, bytes_of(&head.headers) + HEAD_BYTES);
        Ok(Admitted { _slot: slot, _memory: memory.ok_or(Dropped::Memory)? })
    }

    /// A request was chosen, and dropped if there is a cause.
    pub(crate) fn eligible(&self, dropped: Option<Dropped>) {
        self.counts.eligible(dropped);
    }

    /// Begins to copy a request that was admitted; its answer is kept if it is to be.
    pub(crate) fn copy(
        self: &Arc<Self>,
        head: &Parts,
        has_body: bool,
        admitted: Admitted,
        keep: Option<Keep>,
    ) -> Option<Copy> {
        let (copy, body, fate) = match has_body {
            true => {
                let (memory, counts) = (Arc::clone(&self.memory), Arc::clone(&self.counts));
                let (copy, body, fate) = copy(self.settings.limits.body_bytes_max, memory, counts);
                (Some(copy), body, fate)
            }
            false => (None, Read::empty(), Arc::default()),
        };
        let request = self.request(head, body);
        tokio::spawn(Arc::clone(self).send(request, fate, keep, admitted));
        copy
    }

    fn request(&self, head: &Parts, body: Read) -> Request<Read> {
        let mut request = Request::new(body);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = head.uri.clone();
        *request.headers_mut() = head.headers.clone();
        request.headers_mut().insert(SHADOW, self.told.clone());
        if let Some(host) = &self.settings.host {
            request.headers_mut().insert(HOST, host.clone());
        }
        if self.shadow.announces().is_some()
            && let Some(ends) = head.extensions.get::<Ends>()
        {
            request.extensions_mut().insert(*ends);
        }
        request
    }

    async fn send(
        self: Arc<Self>,
        request: Request<Read>,
        fate: Arc<Fate>,
        mut keep: Option<Keep>,
        _while_under_way: Admitted,
    ) {
        let limits = &self.settings.limits;
        let ended = match timeout(limits.timeout, self.answer(request, keep.as_mut())).await {
            Ok(ended) => ended,
            Err(_) => Ended::TimedOut,
        };
        let ended = match ended {
            Ended::Answered => ended,
            _ if fate.is_cut() => Ended::Truncated,
            _ => ended,
        };
        self.counts.ended(ended);
        if let Some(keep) = keep {
            keep.ended(ended);
        }
    }

    async fn answer(&self, request: Request<Read>, mut keep: Option<&mut Keep>) -> Ended {
        let (head, mut answer) = match self.shadow.send(Box::new(request), |_| None).await {
            Ok(answer) => answer.into_parts(),
            Err(Failure::Connect { .. }) => return Ended::Unreachable,
            Err(Failure::Body) => return Ended::Unfinished,
            Err(Failure::Broken(_)) => return Ended::Broken,
        };
        if let Some(keep) = keep.as_mut() {
            keep.head(&head);
        }
        let mut left = self.settings.limits.answer_bytes_max;
        while let Some(frame) = answer.frame().await {
            let Ok(frame) = frame else { return Ended::Broken };
            if let Some(keep) = keep.as_mut() {
                keep.frame(&frame);
            }
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            match left.checked_sub(bytes) {
                Some(less) => left = less,
                None => return Ended::TooLong,
            }
            let wait = self.read_rate.read(bytes);
            if !wait.is_zero() {
                sleep(wait).await;
            }
        }
        Ended::Answered
    }
}

/// How much memory headers take, about.
pub(crate) fn bytes_of(headers: &HeaderMap) -> usize {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + std::mem::size_of::<(HeaderName, HeaderValue)>()
    };
    headers.iter().map(line).sum()
}
