//! From exchanges to a file.

use std::io::Write;

use super::SEPARATOR;
use crate::capture::exchange::header;
use crate::capture::message::{find, is_bare};
use crate::capture::{Exchange, Headers, Kept, WriteError};
use crate::headers::is_token;

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
        end(0, &mut text)?;
        if let Some(answer) = answer {
            let at = answer.after_us.checked_mul(1000).and_then(|after| after.checked_add(ns));
            let at = at.ok_or(WriteError::Unfit("its time is too late"))?;
            let start = text.len();
            text.extend(format!("2 {id} {at} 0\nHTTP/1.1 {}\r\n", answer.status).as_bytes());
            match is_bare(&request.method, answer.status) {
                true => lines(&answer.headers, true, &mut text)?,
                false => write(&answer.headers, &answer.body, &mut text)?,
            }
            end(start, &mut text)?;
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

/// Ends the payload that begins there: its separator is the first that a reader finds.
fn end(start: usize, to: &mut Vec<u8>) -> Result<(), WriteError> {
    let end = to.len();
    to.extend(SEPARATOR);
    match find(&to[start..], SEPARATOR) == Some(end - start) {
        true => Ok(()),
        false => Err(WriteError::Unfit("the separator stands in it")),
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
