//! One request to a shadow, and what its answer should look like.

pub mod anyone;
pub mod client;
mod json_path;
pub(crate) mod tls;
pub(crate) mod url;

use std::fmt;
use std::time::{Duration, Instant};

use umbra_state::Evidence;
use umbra_state::escape::escape;

use super::{Outcome, remaining, seen};
use crate::pattern::TextMatch;
use crate::report::{Metric, excerpt};
use crate::target::{ProbeError, Target};
use client::{Failure, Reach, Response};
use url::Url;

pub use json_path::{JsonPath, JsonPathError};

/// A request and what its answer should look like.
#[derive(Debug, Clone)]
pub struct HttpCheck {
    /// Where and how to connect.
    pub endpoint: Endpoint,
    /// What to ask.
    pub request: HttpRequest,
    /// How many redirects to follow; the last answer counts.
    pub redirects_max: u32,
    /// What the answer should look like.
    pub expect: HttpExpect,
}

/// Where and how to connect: always to the shadow's own address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// With or without TLS.
    pub scheme: Scheme,
    /// The TCP port.
    pub port: u16,
    /// How the server's certificate is judged.
    pub tls: Tls,
}

/// The schemes a request can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// The port it has when none is given.
    pub fn port_default(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// How a server's certificate is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// It must be valid for the request's host and lead to one of these roots.
    Verify {
        /// A PEM file inside the shadow; `None` is its `etc/ssl/certs/ca-certificates.crt`.
        ca_file: Option<String>,
    },
    /// Any certificate is good enough.
    Insecure,
}

/// What to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET` and so on.
    pub method: String,
    /// Path and query, beginning with a slash.
    pub path: String,
    /// The `Host` header and TLS server name; `None` is the shadow's address.
    pub host: Option<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpRequest {
    /// A plain `GET`.
    pub fn get(path: impl Into<String>) -> Self {
        let (method, path) = ("GET".to_owned(), path.into());
        Self { method, path, host: None, headers: Vec::new(), body: Vec::new() }
    }

    /// Whether it can be sent at all; the reason reads on after "failed to".
    pub fn validate(&self) -> Result<(), ProbeError> {
        client::build(self, "umbra.invalid").map(drop)
    }
}

/// What an answer should look like.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpExpect {
    /// Any of these; none given means 200 to 299.
    pub status: Vec<u16>,
    /// Headers by name; a header that is there several times is good if one value is.
    pub headers: Vec<(String, TextMatch)>,
    /// The body, all of them.
    pub body: Vec<TextMatch>,
    /// Values in a JSON body.
    pub json: Vec<JsonExpect>,
    /// From the start of the connection to the last byte.
    pub latency_max: Option<Duration>,
    /// How much of the body is read; a longer one is compared as far as that, with a note.
    pub body_bytes_max: u64,
}

impl Default for HttpExpect {
    fn default() -> Self {
        Self {
            status: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
            json: Vec::new(),
            latency_max: None,
            body_bytes_max: 1 << 20,
        }
    }
}

/// A value at a place in a JSON body.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonExpect {
    /// Where.
    pub path: JsonPath,
    /// What must be there, exactly.
    pub equals: serde_json::Value,
}

pub(super) fn look(
    check: &HttpCheck,
    target: &dyn Target,
    deadline: Instant,
) -> Result<Outcome, ProbeError> {
    let address = target.address().ok_or(ProbeError::NoAddress)?;
    let url = Url {
        scheme: check.endpoint.scheme,
        host: check.request.host.clone().unwrap_or_else(|| url::host_of(address)),
        port: check.endpoint.port,
        path: check.request.path.clone(),
    };
    let exchange = client::Exchange {
        request: &check.request,
        tls: &check.endpoint.tls,
        redirects_max: check.redirects_max,
        body_bytes_max: check.expect.body_bytes_max,
    };
    let answer = client::fetch(
        target,
        Reach::Address(address),
        url.clone(),
        &exchange,
        remaining(deadline),
    )?;
    let subject = format!("{} {}", check.request.method, escape(url.to_string().as_bytes()));
    Ok(judge(&subject, answer, &check.expect))
}

/// What an answer, or the lack of one, says.
fn judge(subject: &str, answer: Result<Response, Failure>, expect: &HttpExpect) -> Outcome {
    let response = match answer {
        Ok(response) => response,
        Err(failure) => {
            let evidence = seen(false, subject, failure.in_words(), Some("an answer".into()));
            return Outcome { evidence: vec![evidence], ..Outcome::default() };
        }
    };
    let latency_ms = response.latency.as_secs_f64() * 1e3;
    let mut evidence = vec![status_evidence(subject, response.status, &expect.status)];
    evidence
        .extend(expect.headers.iter().map(|(name, text)| header_evidence(&response, name, text)));
    evidence.extend(expect.body.iter().map(|text| body_evidence(&response, text)));
    evidence.extend(json_evidence(&response, &expect.json));
    evidence.extend(expect.latency_max.map(|max| {
        let expected = Some(format!("at most {} ms", max.as_millis()));
        seen(response.latency <= max, "latency", format!("{latency_ms:.1} ms"), expected)
    }));
    Outcome {
        evidence,
        output: excerpt(&response.body),
        metrics: vec![Metric::new("latency", latency_ms, "ms")],
        ..Outcome::default()
    }
}

fn status_evidence(subject: &str, status: u16, expected: &[u16]) -> Evidence {
    let (good, words) = match expected {
        [] => ((200..300).contains(&status), "a status from 200 to 299".to_owned()),
        some => {
            let words: Vec<_> = some.iter().map(u16::to_string).collect();
            (some.contains(&status), format!("status {}", words.join(" or ")))
        }
    };
    seen(good, subject, format!("status {status}"), Some(words))
}

fn header_evidence(response: &Response, name: &str, expected: &TextMatch) -> Evidence {
    let values: Vec<&[u8]> =
        response.headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
    let good = values.iter().any(|value| expected.is_met_by(value));
    let said = match values.as_slice() {
        [] => "not there".to_owned(),
        some => {
            let shown: Vec<_> = some.iter().map(|value| format!("`{}`", escape(value))).collect();
            shown.join(", ")
        }
    };
    seen(good, format!("header {}", escape(name.as_bytes())), said, Some(expected.to_string()))
}

fn body_evidence(response: &Response, expected: &TextMatch) -> Evidence {
    let good = expected.is_met_by(&response.body);
    let start = escape(&response.body[..response.body.len().min(200)]);
    let note = if response.truncated { ", of which only the beginning was read" } else { "" };
    let said = match good {
        true => format!("{} bytes as expected", response.body.len()),
        false => format!("{} bytes{note}: `{start}`", response.body.len()),
    };
    seen(good, "body", said, Some(expected.to_string()))
}

fn json_evidence(response: &Response, expected: &[JsonExpect]) -> Vec<Evidence> {
    if expected.is_empty() {
        return Vec::new();
    }
    let value: serde_json::Value = match serde_json::from_slice(&response.body) {
        Ok(value) => value,
        Err(error) => {
            let said = format!("no JSON: {}", escape(error.to_string().as_bytes()));
            return vec![seen(false, "body", said, Some("JSON".into()))];
        }
    };
    let one = |expect: &JsonExpect| {
        let found = expect.path.find(&value);
        let said = found.map_or("nothing".to_owned(), short_json);
        let good = found == Some(&expect.equals);
        seen(good, format!("body at {}", expect.path), said, Some(short_json(&expect.equals)))
    };
    expected.iter().map(one).collect()
}

fn short_json(value: &serde_json::Value) -> String {
    escape(value.to_string().as_bytes()).to_string().chars().take(300).collect()
}

#[cfg(test)]
mod tests;
