//! From a file to exchanges.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, Read};

use bytes::Bytes;

use super::SEPARATOR;
use crate::capture::file::RECORD_BYTES_MAX;
use crate::capture::message::{self, Refused};
use crate::capture::{Answered, Exchange, ReadError};

const ID_CHARS_MAX: usize = 128;
/// Requests that wait for their answers.
const WAITING_MAX: usize = 4096;
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Reads a file from its beginning.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    offset: u64,
    record: u64,
    waiting: Waiting,
    ended: bool,
    cut: Option<u64>,
    refused: BTreeMap<String, u64>,
}

impl<R: BufRead> Reader<R> {
    /// Of what begins with a file's first byte.
    pub fn new(from: R) -> Self {
        let waiting = Waiting::default();
        let refused = BTreeMap::new();
        Self { from, offset: 0, record: 0, waiting, ended: false, cut: None, refused }
    }

    /// Where it breaks off, if it does.
    pub fn cut(&self) -> Option<u64> {
        self.cut
    }

    /// What was not taken, by cause.
    pub fn refused(&self) -> &BTreeMap<String, u64> {
        &self.refused
    }

    /// The next request, with its answer if that follows soon enough.
    ///
    /// # Errors
    /// A record has no line as it should, is too long, or the kernel refuses.
    pub fn next_exchange(&mut self) -> Result<Option<Exchange>, ReadError> {
        loop {
            if let Some(exchange) = self.waiting.next(self.ended) {
                return Ok(Some(exchange));
            }
            if self.ended {
                return Ok(None);
            }
            let offset = self.offset;
            match self.payload()? {
                Some(payload) => self.take(payload, offset)?,
                None => self.ended = true,
            }
        }
    }

    /// What is before the next separator.
    fn payload(&mut self) -> Result<Option<Bytes>, ReadError> {
        let start = self.offset;
        self.record += 1;
        let mut payload = Vec::new();
        loop {
            let room = (RECORD_BYTES_MAX + SEPARATOR.len() - payload.len()) as u64;
            let got = self.from.by_ref().take(room).read_until(b'\n', &mut payload)?;
            self.offset += got as u64;
            if got == 0 && payload.len() >= RECORD_BYTES_MAX {
                return Err(self.bad(start, "it is longer than a record may be"));
            }
            if got == 0 {
                self.cut = (!payload.is_empty()).then_some(start);
                return Ok(None);
            }
            if payload.ends_with(SEPARATOR) {
                payload.truncate(payload.len() - SEPARATOR.len());
                return Ok(Some(payload.into()));
            }
        }
    }

    fn take(&mut self, payload: Bytes, offset: u64) -> Result<(), ReadError> {
        let end = payload.iter().position(|&byte| byte == b'\n');
        let end = end.ok_or_else(|| self.bad(offset, "it has no first line"))?;
        let line = std::str::from_utf8(&payload[..end]).ok().and_then(Line::read);
        let line = line.ok_or_else(|| {
            self.bad(offset, "its first line is not a kind from 1 to 3, an id and a time")
        })?;
        let text = payload.slice(end + 1..);
        match line.kind {
            1 => match message::request(&text) {
                Ok(request) => {
                    let (began_us, session) = (line.ns / 1000, self.record);
                    let exchange = Exchange { began_us, session, request, answer: None };
                    self.waiting.add(line.id.to_owned(), exchange, line.ns);
                }
                Err(refused) => self.refuse(&refused.to_string()),
            },
            2 => match self.waiting.answer(&line, &text) {
                Some(Ok(())) => {}
                Some(Err(refused)) => self.refuse(&format!("answer_{refused}")),
                None => self.refuse("answer_without_request"),
            },
            _ => self.refuse("replayed_answer"),
        }
        Ok(())
    }

    fn refuse(&mut self, cause: &str) {
        *self.refused.entry(cause.to_owned()).or_default() += 1;
    }

    fn bad(&self, offset: u64, why: &str) -> ReadError {
        ReadError::Record { record: self.record, offset, why: why.to_owned() }
    }
}

/// A payload's first line.
struct Line<'a> {
    kind: u8,
    id: &'a str,
    ns: u64,
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split(' ');
        let kind = match words.next()? {
            "1" => 1,
            "2" => 2,
            "3" => 3,
            _ => return None,
        };
        let id = words.next().filter(|id| (1..=ID_CHARS_MAX).contains(&id.len()))?;
        let number = |word: &str| {
            let digits = word.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| word.parse::<u64>().ok())?
        };
        let ns = number(words.next()?)?;
        // Some write a duration behind it, which may be below zero where a clock was set.
        let rest = words.next().map(|word| number(word.strip_prefix('-').unwrap_or(word)));
        let good = rest.is_none_or(|rest| rest.is_some()) && words.next().is_none();
        good.then_some(Self { kind, id, ns })
    }
}

/// Requests in their order, until their answers are there.
#[derive(Debug, Default)]
struct Waiting {
    all: VecDeque<(String, Exchange, u64)>,
    bytes: usize,
    /// The number of the first.
    first: u64,
    /// The last one of an id.
    places: BTreeMap<String, u64>,
}

impl Waiting {
    fn add(&mut self, id: String, exchange: Exchange, ns: u64) {
        self.bytes += exchange.bytes();
        self.places.insert(id.clone(), self.first + self.all.len() as u64);
        self.all.push_back((id, exchange, ns));
    }

    /// Takes the answer to one of them; `None` where there is none of its id without one.
    fn answer(&mut self, line: &Line<'_>, text: &Bytes) -> Option<Result<(), Refused>> {
        let place = usize::try_from(self.places.get(line.id)? - self.first).ok()?;
        let (_, exchange, asked_ns) = self.all.get_mut(place)?;
        if exchange.answer.is_some() {
            return None;
        }
        let answer = message::answer(text, &exchange.request.method);
        Some(answer.map(|answer| {
            let after_us = line.ns.checked_sub(*asked_ns).unwrap_or(line.ns) / 1000;
            self.bytes -= exchange.bytes();
            exchange.answer = Some(Answered { after_us, ..answer });
            self.bytes += exchange.bytes();
        }))
    }

    fn next(&mut self, ended: bool) -> Option<Exchange> {
        let (_, first, _) = self.all.front()?;
        let full = self.all.len() > WAITING_MAX || self.bytes > WAITING_BYTES_MAX;
        if !ended && !full && first.answer.is_none() {
            return None;
        }
        let (id, exchange, _) = self.all.pop_front()?;
        if self.places.get(&id) == Some(&self.first) {
            self.places.remove(&id);
        }
        self.first += 1;
        self.bytes -= exchange.bytes();
        Some(exchange)
    }
}
