//! One exchange while it passes: what is kept of it, and when it is over.
//!
//! ```text
//! head ── draft ──┬── the request's body, as it streams ──┐
//!                 └── the answer, and its body ───────────┴── the last to go hands it over
//! ```
//!
//! A draft takes from the memory that all copies share; where there is none for a body, the body
//! is cut. Nothing here waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body::Body;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Response, Uri};
use tokio::sync::Semaphore;

use super::counts::{Counts, Dropped, Ticket};
use super::in_force::Capture;
use super::{Answered, Asked, Exchange, Headers, Kept};
use crate::body::{Hears, Passing};
use crate::mirror::bytes_of;
use crate::room::Room;

/// What an exchange costs beside its bytes.
const DRAFT_BYTES: usize = 1024;

/// An exchange that is not over.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) exchange: Exchange,
    pub(super) ticket: Ticket,
    began: Instant,
    asked: Growing,
    answered: Growing,
    room: Room,
}

impl Draft {
    /// Of a request with this head; `None` where there is no memory, which is counted.
    pub(super) fn new(
        head: &Parts,
        session: u64,
        counts: &Arc<Counts>,
        memory: &Arc<Semaphore>,
    ) -> Option<Self> {
        let ticket = counts.ticket();
        let target = target(&head.uri);
        let bytes = bytes_of(&head.headers) + target.len() + DRAFT_BYTES;
        let (ticket, room) = admitted(ticket, bytes, memory)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let request = Asked {
            method: head.method.as_str().to_owned(),
            target,
            headers: kept(&head.headers),
            body: Kept::default(),
        };
        let began_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        Some(Self {
            exchange: Exchange { began_us, session, request, answer: None },
            ticket,
            began: Instant::now(),
            asked: Growing::default(),
            answered: Growing::default(),
            room,
        })
    }

    /// Of an exchange that is over; `None` where there is no memory, which is counted.
    pub(super) fn of(
        exchange: Exchange,
        counts: &Arc<Counts>,
        memory: &Arc<Semaphore>,
    ) -> Option<Self> {
        let bytes = exchange.parts_bytes() + DRAFT_BYTES;
        let (ticket, room) = admitted(counts.ticket(), bytes, memory)?;
        Some(Self {
            exchange,
            ticket,
            began: Instant::now(),
            asked: Growing::default(),
            answered: Growing::default(),
            room,
        })
    }

    /// Keeps an answer's head, if there is memory for it.
    fn answer(&mut self, answer: &Response<Passing>, capture: &Capture) -> bool {
        let whole = capture.settings().answers;
        if whole && !self.room.take(capture.memory(), bytes_of(answer.headers())) {
            return false;
        }
        self.answered.cut = !whole && !answer.body().is_end_stream();
        self.exchange.answer = Some(Answered {
            status: answer.status().as_u16(),
            after_us: u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX),
            headers: if whole { kept(answer.headers()) } else { Vec::new() },
            body: Kept::default(),
        });
        true
    }

    /// What is to be written, and what holds its memory until then.
    pub(super) fn into_exchange(mut self) -> (Exchange, Ticket, [Room; 3]) {
        self.asked.put(&mut self.exchange.request.body);
        if let Some(answer) = &mut self.exchange.answer {
            self.answered.put(&mut answer.body);
        }
        (self.exchange, self.ticket, [self.asked.room, self.answered.room, self.room])
    }
}

/// So much memory, if there is some; if not it is dropped.
fn admitted(ticket: Ticket, bytes: usize, memory: &Arc<Semaphore>) -> Option<(Ticket, Room)> {
    let mut room = Room::default();
    if room.take(memory, bytes) {
        return Some((ticket, room));
    }
    ticket.dropped(Dropped::Memory);
    None
}

fn target(uri: &Uri) -> String {
    uri.path_and_query().map_or("/", |path| path.as_str()).to_owned()
}

/// Copies: what passes would keep whole buffers.
fn kept(headers: &HeaderMap) -> Headers {
    let line = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (Bytes::copy_from_slice(name.as_ref()), Bytes::copy_from_slice(value.as_bytes()))
    };
    headers.iter().map(line).collect()
}

/// A body that grows.
#[derive(Debug, Default)]
struct Growing {
    bytes: Vec<u8>,
    cut: bool,
    room: Room,
}

impl Growing {
    fn more(&mut self, data: &[u8], bytes_max: usize, memory: &Arc<Semaphore>) {
        if self.cut {
            return;
        }
        let fits = data.len().min(bytes_max.saturating_sub(self.bytes.len()));
        self.cut = fits < data.len() || !self.grow(self.bytes.len() + fits, memory);
        if !self.cut || self.bytes.capacity() >= self.bytes.len() + fits {
            self.bytes.extend_from_slice(&data[..fits]);
        }
    }

    /// Room for so many bytes in all, if there is memory for it.
    fn grow(&mut self, bytes: usize, memory: &Arc<Semaphore>) -> bool {
        let has = self.bytes.capacity();
        if bytes <= has {
            return true;
        }
        let wanted = bytes.max(has * 2);
        if !self.room.take(memory, wanted - has) {
            return false;
        }
        self.bytes.reserve_exact(wanted - self.bytes.len());
        true
    }

    /// Where nothing grew, what is there already stays.
    fn put(&mut self, to: &mut Kept) {
        if self.cut || !self.bytes.is_empty() {
            *to = Kept { bytes: std::mem::take(&mut self.bytes).into(), cut: self.cut };
        }
    }
}

/// An exchange and the capture it is for: handed over when nobody has this any more.
#[derive(Debug)]
struct Shared {
    capture: Arc<Capture>,
    draft: Mutex<Option<Draft>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let draft = self.draft.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(draft) = draft {
            self.capture.hand_over(draft);
        }
    }
}

impl Shared {
    fn draft(&self) -> MutexGuard<'_, Option<Draft>> {
        self.draft.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An exchange whose answer finds no memory is given up.
    fn answer(&self, answer: &Response<Passing>) {
        let mut draft = self.draft();
        let given_up = draft.take_if(|draft| !draft.answer(answer, &self.capture));
        if let Some(given_up) = given_up {
            given_up.ticket.dropped(Dropped::Memory);
        }
    }
}

/// What is kept of one request, by every capture that chose it.
#[derive(Debug, Default)]
pub struct Tapes(Vec<Arc<Shared>>);

impl Tapes {
    pub(super) fn add(&mut self, capture: &Arc<Capture>, draft: Draft) {
        let capture = Arc::clone(capture);
        self.0.push(Arc::new(Shared { capture, draft: Mutex::new(Some(draft)) }));
    }

    /// The request's body, kept as it passes.
    pub fn request(&self, body: Passing) -> Passing {
        taped(body, self.0.iter().map(Arc::clone), Side::Asked)
    }

    /// The answer, of which the head is kept now and the body as it passes.
    pub fn answer(self, answer: Response<Passing>) -> Response<Passing> {
        if self.0.is_empty() {
            return answer;
        }
        self.0.iter().for_each(|shared| shared.answer(&answer));
        let wanted = self.0.into_iter().filter(|shared| shared.capture.settings().answers);
        answer.map(|body| taped(body, wanted, Side::Answered))
    }
}

fn taped(body: Passing, shared: impl Iterator<Item = Arc<Shared>>, side: Side) -> Passing {
    if body.is_end_stream() {
        return body;
    }
    Passing::taped(body, shared.map(|shared| Tape { shared, side, whole: false }).collect())
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Asked,
    Answered,
}

/// What keeps a body while it passes.
#[derive(Debug)]
pub struct Tape {
    shared: Arc<Shared>,
    side: Side,
    whole: bool,
}

impl Tape {
    fn change(&self, change: impl FnOnce(&mut Growing, &Capture)) {
        let mut draft = self.shared.draft();
        let Some(draft) = draft.as_mut() else { return };
        let growing = match self.side {
            Side::Asked => &mut draft.asked,
            Side::Answered => &mut draft.answered,
        };
        change(growing, &self.shared.capture);
    }
}

impl Hears for Tape {
    fn data(&mut self, data: &Bytes) {
        self.change(|growing, capture| {
            growing.more(data, capture.settings().body_bytes_max, capture.memory());
        });
    }

    /// They are not kept.
    fn trailers(&mut self, _: &HeaderMap) {}

    fn end(mut self) {
        self.whole = true;
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        if !self.whole {
            self.change(|growing, _| growing.cut = true);
        }
    }
}
