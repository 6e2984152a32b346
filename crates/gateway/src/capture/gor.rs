//! GoReplay's files: payloads with a line before and a separator behind each.
//!
//! ```text
//! 1 d7123dasd913jfd21312dasdhas31 1441189560123456789 0
//! GET /a HTTP/1.1
//! Host: example.com
//!
//!
//! 🐵🙈🙉
//! ```
//!
//! The line is kind (1 request, 2 its answer, 3 an answer to its replay), an id that an answer
//! has from its request, nanoseconds since 1970 and the message's own duration. Older writers
//! put an answer's latency where the time is; a number less than the request's time is taken so.
//! There are no sessions: every request is one of its own.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, Read, Write};

use bytes::Bytes;

use super::exchange::header;
use super::file::RECORD_BYTES_MAX;
use super::message::{self, Refused, find};
use super::{Answered, Exchange, Headers, Kept, ReadError, WriteError};
use crate::headers::is_token;

const SEPARATOR: &[u8] = "\n🐵🙈🙉\n".as_bytes();
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

/// Writes a file.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    number: u64,
}

impl<W: Write> Writer<W> {
    /// Begins one.
    pub fn new(to: W) -> Self {
        Self { to, number: 0 }
    }

    /// Appends a request and its answer.
    ///
    /// # Errors
    /// It cannot stand there, or the kernel refuses.
    pub fn put(&mut self, exchange: &Exchange) -> Result<(), WriteError> {
        let Exchange { began_us, request, answer, .. } = exchange;
        let id = format!("{:024x}", self.number + 1);
        let ns = began_us.checked_mul(1000).ok_or(WriteError::Unfit("its time is too late"))?;
        let mut text = format!("1 {id} {ns} 0\n").into_bytes();
        let target = request.target.as_bytes();
        if !is_token(request.method.as_bytes())
            || !target.starts_with(b"/")
            || target.iter().any(|byte| *byte <= b' ' || *byte == 0x7f)
        {
            return Err(WriteError::Unfit("its method or path is none"));
        }
        let version =
            if header(&request.headers, "host").is_some() { "HTTP/1.1" } else { "HTTP/1.0" };
        text.extend(format!("{} {} {version}\r\n", request.method, request.target).as_bytes());
        write(&request.headers, &request.body, &mut text)?;
        let asked = text.len();
        text.extend(SEPARATOR);
        if let Some(answer) = answer {
            let at = answer.after_us.checked_mul(1000).and_then(|after| after.checked_add(ns));
            let at = at.ok_or(WriteError::Unfit("its time is too late"))?;
            text.extend(format!("2 {id} {at} 0\nHTTP/1.1 {}\r\n", answer.status).as_bytes());
            let bare = request.method == "HEAD" || matches!(answer.status, 100..200 | 204 | 304);
            match bare {
                true => lines(&answer.headers, true, &mut text)?,
                false => write(&answer.headers, &answer.body, &mut text)?,
            }
            text.extend(SEPARATOR);
        }
        let separators = 1 + usize::from(answer.is_some());
        let first = find(&text, SEPARATOR);
        let second = find(&text[asked + SEPARATOR.len()..], SEPARATOR);
        let rest = text.len() - asked - SEPARATOR.len();
        if first != Some(asked)
            || (separators == 2 && second != Some(rest.saturating_sub(SEPARATOR.len())))
        {
            return Err(WriteError::Unfit("the separator stands in it"));
        }
        self.to.write_all(&text)?;
        self.number += 1;
        Ok(())
    }

    /// Ends it, and gives back what it was written to.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.to.flush()?;
        Ok(self.to)
    }
}

/// Headers and a body behind its length.
fn write(headers: &Headers, body: &Kept, to: &mut Vec<u8>) -> Result<(), WriteError> {
    let told = header(headers, "content-length");
    let told = told.and_then(|length| std::str::from_utf8(length).ok()?.parse::<u64>().ok());
    lines(headers, false, to)?;
    let has = body.bytes.len() as u64;
    // What is not there is missed then.
    let length = if body.cut { told.unwrap_or(0).max(has + 1) } else { has };
    if length > 0 || told.is_some() {
        to.extend(format!("Content-Length: {length}\r\n").as_bytes());
    }
    to.extend(b"\r\n");
    to.extend(&body.bytes);
    Ok(())
}

fn lines(headers: &Headers, bare: bool, to: &mut Vec<u8>) -> Result<(), WriteError> {
    for (name, value) in headers {
        let framing = name.eq_ignore_ascii_case(b"content-length")
            || name.eq_ignore_ascii_case(b"transfer-encoding");
        if framing && !bare {
            continue;
        }
        if !is_token(name) || value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(WriteError::Unfit("a header is none"));
        }
        to.extend(name.iter().chain(b": ").chain(value.iter()).chain(b"\r\n"));
    }
    if bare {
        to.extend(b"\r\n");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = (Vec<Exchange>, BTreeMap<String, u64>, Option<u64>);

    fn read(bytes: &[u8]) -> Result<Read, ReadError> {
        let mut reader = Reader::new(bytes);
        let mut all = Vec::new();
        while let Some(exchange) = reader.next_exchange()? {
            all.push(exchange);
        }
        Ok((all, reader.refused.clone(), reader.cut()))
    }

    const TWO: &str = "1 a 1000000 0\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n\n🐵🙈🙉\n\
        1 b 2000000 7\nPOST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi\n🐵🙈🙉\n\
        2 b 5000000 9\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n\n🐵🙈🙉\n\
        2 a 3000\nHTTP/1.1 200 OK\r\n\r\nok\n🐵🙈🙉\n\
        3 a 9000000 0\nHTTP/1.1 200 OK\r\n\r\n\n🐵🙈🙉\n";

    #[test]
    fn requests_find_their_answers() {
        let (all, refused, cut) = read(TWO.as_bytes()).unwrap();
        let seen: Vec<_> = all
            .iter()
            .map(|one| {
                let answer = one.answer.as_ref().unwrap();
                (one.began_us, &*one.request.target, answer.status, answer.after_us)
            })
            .collect();
        assert_eq!(seen, [(1000, "/a", 200, 3), (2000, "/b", 201, 3000)]);
        assert_eq!(&all[1].request.body.bytes[..], b"hi");
        assert_ne!(all[0].session, all[1].session);
        assert_eq!((refused, cut), (BTreeMap::from([("replayed_answer".into(), 1)]), None));
    }

    #[test]
    fn what_is_written_is_read_and_written_the_same() {
        let write = |all: &[Exchange]| {
            let mut writer = Writer::new(Vec::new());
            all.iter().for_each(|one| writer.put(one).unwrap());
            writer.finish().unwrap()
        };
        let (all, ..) = read(TWO.as_bytes()).unwrap();
        let once = write(&all);
        let (again, ..) = read(&once).unwrap();
        assert_eq!(write(&again), once);
        assert_eq!(again.len(), all.len());
        let mut cut = all[1].clone();
        cut.request.body.cut = true;
        assert!(read(&write(&[cut])).unwrap().0[0].request.body.cut);
    }

    #[test]
    fn what_cannot_stand_there_is_not_written() {
        let (all, ..) = read(TWO.as_bytes()).unwrap();
        #[track_caller]
        fn check(mut exchange: Exchange, change: impl FnOnce(&mut Exchange)) {
            change(&mut exchange);
            let written = Writer::new(Vec::new()).put(&exchange);
            assert!(matches!(written, Err(WriteError::Unfit(_))), "{written:?}");
        }
        check(all[1].clone(), |one| one.request.body.bytes = Bytes::from("a\n🐵🙈🙉\nb"));
        check(all[1].clone(), |one| {
            one.answer.as_mut().unwrap().body.bytes = Bytes::from("\n🐵🙈🙉\n");
        });
        check(all[0].clone(), |one| one.request.target = "/a b".into());
        check(all[0].clone(), |one| one.request.method = "G\r\n".into());
        check(all[0].clone(), |one| one.request.headers[0].1 = Bytes::from("a\r\nb: c"));
        check(all[0].clone(), |one| one.began_us = u64::MAX);
    }

    #[test]
    fn cut_at_any_byte_it_is_read_so_far() {
        for length in 0..TWO.len() {
            let (read, _, cut) = read(&TWO.as_bytes()[..length]).unwrap();
            assert!(read.len() <= 2);
            let whole = length == 0 || TWO.as_bytes()[..length].ends_with(SEPARATOR);
            assert_eq!(cut.is_none(), whole, "{length}");
        }
    }

    #[test]
    fn bad_lines_are_told_with_their_place() {
        for bad in ["x a 1 0", "1 a", "1 a x", "1  1", "4 a 1 0", "1 a 1 0 0", "1 a 1 x", "1 a +1"]
        {
            let text =
                format!("1 a 1 0\nGET / HTTP/1.1\r\nHost: x\r\n\r\n\n🐵🙈🙉\n{bad}\n\n🐵🙈🙉\n");
            let error = read(text.as_bytes()).unwrap_err();
            assert!(
                matches!(error, ReadError::Record { record: 2, offset: 49, .. }),
                "{bad}: {error}"
            );
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused_and_counted() {
        let text = "1 a 1 0\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\
            Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n\n🐵🙈🙉\n2 a 2 0\nHTTP/1.1 200 OK\r\n\r\n\n🐵🙈🙉\n";
        let (all, refused, _) = read(text.as_bytes()).unwrap();
        assert!(all.is_empty());
        let causes = [("answer_without_request".into(), 1), ("framing".into(), 1)];
        assert_eq!(refused, BTreeMap::from(causes));
    }
}
