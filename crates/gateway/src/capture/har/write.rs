//! From exchanges to a file.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Uri;
use jiff::Timestamp;

use super::CREATOR;
use super::shapes::{Content, Entry, Nothing, Pair, Request, Response, Timings};
use crate::capture::exchange::header;
use crate::capture::{Answered, Exchange, Headers, Kept, WriteError};

/// Writes a file.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    first: bool,
}

impl<W: Write> Writer<W> {
    /// Begins one.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new(mut to: W) -> Result<Self, WriteError> {
        let version = env!("CARGO_PKG_VERSION");
        write!(
            to,
            "{{\"log\":{{\"version\":\"1.2\",\"creator\":{{\"name\":\"{CREATOR}\",\"version\":\"{version}\"}},\"entries\":["
        )?;
        Ok(Self { to, first: true })
    }

    /// Appends an exchange. Bytes of a header that are not UTF-8 are replaced.
    ///
    /// # Errors
    /// It cannot stand there, or the kernel refuses.
    pub fn put(&mut self, exchange: &Exchange) -> Result<(), WriteError> {
        let entry = entry(exchange)?;
        let json = serde_json::to_vec(&entry).map_err(std::io::Error::other)?;
        self.to.write_all(if self.first { b"\n" } else { b",\n" })?;
        self.to.write_all(&json)?;
        self.first = false;
        Ok(())
    }

    /// Ends it, and gives back what it was written to.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.to.write_all(b"\n]}}\n")?;
        self.to.flush()?;
        Ok(self.to)
    }
}

fn entry(exchange: &Exchange) -> Result<Entry, WriteError> {
    let Exchange { began_us, session, request, answer } = exchange;
    let late = || WriteError::Unfit("its time is too late");
    let at = i64::try_from(*began_us).map_err(|_| late())?;
    let at = Timestamp::from_microsecond(at).map_err(|_| late())?;
    let host = header(&request.headers, "host");
    let host = host.map_or("unknown.invalid".into(), |host| String::from_utf8_lossy(host));
    let url = format!("http://{host}{}", request.target);
    let uri: Option<Uri> = url.parse().ok();
    let is = uri.as_ref().and_then(|uri| Some((uri.authority()?, uri.path_and_query()?.as_str())));
    // What is read of it has to be what was written: `a/` is a host with a path.
    if !is.is_some_and(|(at, path)| *at == *host && path == request.target) {
        return Err(WriteError::Unfit("its host or path is none"));
    }
    let ms = answer.as_ref().map_or(0.0, |answer| answer.after_us as f64 / 1e3);
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let query_string = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Pair { name: name.to_owned(), value: value.to_owned() }
    });
    let is_empty = request.body == Kept::default();
    Ok(Entry {
        started_date_time: at.to_string(),
        time: ms,
        request: Request {
            method: request.method.clone(),
            url,
            http_version: "HTTP/1.1".to_owned(),
            cookies: Vec::new(),
            headers: pairs(&request.headers),
            query_string: query_string.collect(),
            post_data: (!is_empty).then(|| content(&request.headers, &request.body)),
            headers_size: -1.0,
            body_size: request.body.bytes.len() as f64,
        },
        response: response(answer.as_ref()),
        cache: Nothing {},
        timings: Timings {
            blocked: -1.0,
            dns: -1.0,
            connect: -1.0,
            send: 0.0,
            wait: ms,
            receive: 0.0,
        },
        connection: Some(format!("{session:016x}")),
    })
}

/// Where there is no answer, what browsers write then.
fn response(answer: Option<&Answered>) -> Response {
    let none = Response {
        status: 0,
        status_text: String::new(),
        http_version: "HTTP/1.1".to_owned(),
        cookies: Vec::new(),
        headers: Vec::new(),
        content: Content::default(),
        redirect_url: String::new(),
        headers_size: -1.0,
        body_size: -1.0,
    };
    match answer {
        None => none,
        Some(answer) => Response {
            status: i64::from(answer.status),
            headers: pairs(&answer.headers),
            content: content(&answer.headers, &answer.body),
            body_size: answer.body.bytes.len() as f64,
            ..none
        },
    }
}

fn pairs(headers: &Headers) -> Vec<Pair> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    headers.iter().map(|(name, value)| Pair { name: text(name), value: text(value) }).collect()
}

fn content(headers: &Headers, body: &Kept) -> Content {
    let kind = header(headers, "content-type");
    let kind = kind.map_or("application/octet-stream".into(), |kind| String::from_utf8_lossy(kind));
    let (text, encoding) = match std::str::from_utf8(&body.bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (STANDARD.encode(&body.bytes), Some("base64".to_owned())),
    };
    Content {
        mime_type: kind.into_owned(),
        size: body.bytes.len() as f64,
        text: Some(text),
        encoding,
        params: Vec::new(),
        cut: body.cut,
    }
}
