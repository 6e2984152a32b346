//! Requests of one connection and their answers, in their order, from a place where both
//! directions are known to be between messages.

use std::collections::VecDeque;

use super::body::Body;
use super::conversation::{Found, Side};
use super::counts::{Because, LostTo};
use super::head::{self, Framing, Gathered};
use crate::capture::{Answered, Asked, Exchange, Headers, Kept};
use crate::headers::is_of_token;

/// Requests that wait for answers.
const WAITING_MAX: usize = 128;

/// What a waiting request takes up besides its bytes.
const REQUEST_BYTES: usize = 512;

/// What a header takes up besides its bytes.
const HEADER_BYTES: usize = 72;

/// See the module.
#[derive(Debug)]
pub struct Talk {
    session: u64,
    body_bytes_max: usize,
    /// Nothing was said yet, so it may turn out to be something else.
    new: bool,
    asking: Asking,
    waiting: VecDeque<Waiting>,
    answering: Answering,
}

/// What the client is about.
#[derive(Debug)]
enum Asking {
    Head {
        gathered: Gathered,
        began_us: u64,
    },
    /// Of the last that waits.
    Body(Body),
    /// It has asked for another protocol and waits whether it gets it.
    Otherwise,
    Over,
}

/// What the server is about. All but the first are of the first that waits.
#[derive(Debug)]
enum Answering {
    Head(Gathered),
    Body(Begun, Body),
    /// It has answered before it had the whole request.
    Early(Answered),
}

/// A request that waits for its answer, or to end.
#[derive(Debug)]
struct Waiting {
    began_us: u64,
    head: head::Request,
    head_bytes: usize,
    /// `None` while it comes.
    body: Option<Kept>,
}

/// An answer's head.
#[derive(Debug)]
struct Begun {
    status: u16,
    after_us: u64,
    headers: Headers,
    head_bytes: usize,
}

impl Talk {
    /// One whose connection has just begun, or not.
    pub fn new(session: u64, body_bytes_max: usize, new: bool) -> Self {
        Self {
            session,
            body_bytes_max,
            new,
            asking: Asking::between(),
            waiting: VecDeque::new(),
            answering: Answering::between(),
        }
    }

    /// Requests that were read and are no exchange yet.
    pub fn waiting(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// What it takes up.
    pub fn holds(&self) -> usize {
        let asking = match &self.asking {
            Asking::Head { gathered, .. } => gathered.holds(),
            Asking::Body(body) => body.holds(),
            Asking::Otherwise | Asking::Over => 0,
        };
        let answering = match &self.answering {
            Answering::Head(gathered) => gathered.holds(),
            Answering::Body(begun, body) => begun.head_bytes + body.holds(),
            // What a body grew in may be twice as large.
            Answering::Early(answered) => answered.bytes() + answered.body.bytes.len(),
        };
        self.waiting.iter().map(Waiting::holds).sum::<usize>() + asking + answering
    }

    /// The client says this.
    pub fn asked(
        &mut self,
        mut bytes: &[u8],
        at_us: u64,
        found: &mut Found<'_>,
    ) -> Result<(), Because> {
        if std::mem::take(&mut self.new) {
            recognise(bytes)?;
        }
        while !bytes.is_empty() {
            match &mut self.asking {
                Asking::Head { gathered, began_us } => {
                    if gathered.is_empty() {
                        // Empty lines in front of a request are let pass.
                        let line = bytes.iter().take_while(|&&byte| b"\r\n".contains(&byte));
                        bytes = &bytes[line.count()..];
                        *began_us = at_us;
                    }
                    let began_us = *began_us;
                    if let Some(head) = gathered.take(&mut bytes)? {
                        self.request(&head, began_us, found)?;
                    }
                }
                Asking::Body(body) => {
                    body.take(&mut bytes)?;
                    self.finish_request(found)?;
                }
                // What follows is of one protocol or the other.
                Asking::Otherwise => return Err(Because::Ambiguous),
                Asking::Over => return Ok(()),
            }
        }
        Ok(())
    }

    fn request(
        &mut self,
        head: &bytes::Bytes,
        began_us: u64,
        found: &mut Found<'_>,
    ) -> Result<(), Because> {
        let request = head::request(head)?;
        if self.waiting.len() >= WAITING_MAX {
            return Err(Because::TooMany);
        }
        found.counts.requests += 1;
        self.asking = Asking::Body(Body::new(request.framing, self.body_bytes_max));
        let head_bytes = head.len();
        self.waiting.push_back(Waiting { began_us, head: request, head_bytes, body: None });
        self.finish_request(found)
    }

    /// Goes on to the next request if this one is whole.
    fn finish_request(&mut self, found: &mut Found<'_>) -> Result<(), Because> {
        let Some(last) = self.waiting.back_mut() else { return Ok(()) };
        let body = match std::mem::replace(&mut self.asking, Asking::between()) {
            Asking::Body(body) if body.is_over() => body,
            other => {
                self.asking = other;
                return Ok(());
            }
        };
        last.body = Some(body.finish(true));
        if last.head.upgrade {
            self.asking = Asking::Otherwise;
        }
        if let Answering::Early(_) = &self.answering {
            return self.finish_answer(found);
        }
        Ok(())
    }

    /// The server says this.
    pub fn answered(
        &mut self,
        mut bytes: &[u8],
        at_us: u64,
        found: &mut Found<'_>,
    ) -> Result<(), Because> {
        if self.new {
            let greets = !head::begins_answer(bytes);
            return Err(if greets { Because::NotHttp } else { Because::Unasked });
        }
        while !bytes.is_empty() {
            match &mut self.answering {
                Answering::Head(gathered) if !self.waiting.is_empty() => {
                    if let Some(head) = gathered.take(&mut bytes)? {
                        self.answer(&head, at_us, found)?;
                    }
                }
                Answering::Head(_) | Answering::Early(_) => return Err(Because::Unasked),
                Answering::Body(_, body) => {
                    body.take(&mut bytes)?;
                    self.finish_body(found)?;
                }
            }
        }
        Ok(())
    }

    fn answer(
        &mut self,
        head: &bytes::Bytes,
        at_us: u64,
        found: &mut Found<'_>,
    ) -> Result<(), Because> {
        let Some(first) = self.waiting.front() else { return Err(Because::Unasked) };
        let is = head::answer(head, &first.head.method)?;
        let connects = first.head.method == "CONNECT" && (200..300).contains(&is.status);
        let becomes = is.status == 101 || connects;
        if becomes && !(first.head.upgrade && first.body.is_some() && self.waiting.len() == 1) {
            return Err(Because::Ambiguous);
        }
        if is.status < 200 && !becomes {
            return Ok(());
        }
        let framing = if becomes { Framing::Length(0) } else { is.framing };
        let after_us = at_us.saturating_sub(first.began_us);
        let begun =
            Begun { status: is.status, after_us, headers: is.headers, head_bytes: head.len() };
        self.answering = Answering::Body(begun, Body::new(framing, self.body_bytes_max));
        self.finish_body(found)?;
        if becomes { Err(Because::Upgraded) } else { Ok(()) }
    }

    /// The answer is whole, if its body is.
    fn finish_body(&mut self, found: &mut Found<'_>) -> Result<(), Because> {
        match &self.answering {
            Answering::Body(_, body) if body.is_over() => self.finish_answer(found),
            _ => Ok(()),
        }
    }

    /// The answer is as whole as it will be; so is the exchange, if the request is.
    fn finish_answer(&mut self, found: &mut Found<'_>) -> Result<(), Because> {
        let Some(answer) = self.take_answer(false) else { return Ok(()) };
        match self.waiting.pop_front() {
            Some(request) if request.body.is_some() => {
                let otherwise = request.head.upgrade && answer.status != 101;
                self.tell(request, Some(answer), found);
                if otherwise && matches!(self.asking, Asking::Otherwise) {
                    self.asking = Asking::between();
                }
                Ok(())
            }
            Some(request) => {
                let begun = matches!(&self.asking, Asking::Body(body) if body.is_begun());
                // Whether the body comes now or another request is the client's choice.
                let doubtful = request.head.expects && !begun;
                self.waiting.push_front(request);
                self.answering = Answering::Early(answer);
                if doubtful {
                    self.answers_no_more(true, found);
                    return Err(Because::Ambiguous);
                }
                Ok(())
            }
            None => Err(Because::Unasked),
        }
    }

    /// The answer that has begun; `cleanly` if the server itself said that nothing follows.
    fn take_answer(&mut self, cleanly: bool) -> Option<Answered> {
        match std::mem::replace(&mut self.answering, Answering::between()) {
            Answering::Body(begun, body) => {
                let whole = body.lasts_until_end() && cleanly || body.is_over();
                Some(begun.with(body.finish(whole)))
            }
            Answering::Early(answer) => Some(answer),
            Answering::Head(_) => None,
        }
    }

    fn tell(&self, request: Waiting, answer: Option<Answered>, found: &mut Found<'_>) {
        let exchange = request.with(self.session, answer);
        let cut = exchange.answer.as_ref().is_some_and(|answer| answer.body.cut);
        found.counts.cut += u64::from(cut || exchange.request.body.cut);
        found.counts.exchanges += 1;
        (found.sink)(exchange);
    }

    /// Bytes of a side passed unseen. Whether it is known where it goes on.
    pub fn lose(&mut self, side: Side, lost: u64, found: &mut Found<'_>) -> Result<bool, Because> {
        let body = match (side, &mut self.asking, &mut self.answering) {
            (Side::Client, Asking::Body(body), _) => body,
            (Side::Server, _, Answering::Body(_, body)) => body,
            _ => return Ok(false),
        };
        if !body.lose(lost) {
            return Ok(false);
        }
        match side {
            Side::Client => self.finish_request(found)?,
            Side::Server => self.finish_body(found)?,
        }
        Ok(true)
    }

    /// The client says no more.
    pub fn asks_no_more(&mut self) {
        if !matches!(self.asking, Asking::Body(_)) {
            self.asking = Asking::Over;
        }
    }

    /// The server says no more: what has no answer gets none.
    pub fn answers_no_more(&mut self, cleanly: bool, found: &mut Found<'_>) {
        if let Asking::Body(_) = &self.asking
            && let Asking::Body(body) = std::mem::replace(&mut self.asking, Asking::Over)
            && matches!(&self.answering, Answering::Body(..) | Answering::Early(_))
            && let [only] = self.waiting.make_contiguous()
        {
            only.body = Some(body.finish(false));
        }
        let mut answer = self.take_answer(cleanly);
        while let Some(request) = self.waiting.pop_front() {
            match (&request.body, answer.take()) {
                (Some(_), answer) => self.tell(request, answer, found),
                (None, _) => found.counts.lost.count(LostTo::Unfinished, 1),
            }
        }
    }
}

impl Asking {
    fn between() -> Self {
        Self::Head { gathered: Gathered::default(), began_us: 0 }
    }
}

impl Answering {
    fn between() -> Self {
        Self::Head(Gathered::default())
    }
}

impl Waiting {
    fn holds(&self) -> usize {
        // What a body grew in may be twice as large.
        let body = self.body.as_ref().map_or(0, |body| body.bytes.len() * 2);
        self.head_bytes + self.head.headers.len() * HEADER_BYTES + body + REQUEST_BYTES
    }

    fn with(self, session: u64, answer: Option<Answered>) -> Exchange {
        let head::Request { method, target, headers, .. } = self.head;
        let body = self.body.unwrap_or_default();
        let request = Asked { method, target, headers, body };
        Exchange { began_us: self.began_us, session, request, answer }
    }
}

impl Begun {
    fn with(self, body: Kept) -> Answered {
        let Self { status, after_us, headers, .. } = self;
        Answered { status, after_us, headers, body }
    }
}

/// What begins otherwise than HTTP/1.1.
fn recognise(bytes: &[u8]) -> Result<(), Because> {
    if bytes.first() == Some(&0x16) {
        return Err(Because::Encrypted);
    }
    let method = bytes.trim_ascii_start().iter().take(20).take_while(|&&byte| byte != b' ');
    if method.copied().all(is_of_token) { Ok(()) } else { Err(Because::NotHttp) }
}
