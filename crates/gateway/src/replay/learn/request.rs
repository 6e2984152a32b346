//! One request as a scenario has it.

use serde::Serialize;
use serde_json::Value;
use umbra_suite::check::load::extract::literal;

use super::values::{Extract, Known, Taken};
use crate::capture::redact::MARKER;
use crate::capture::{Exchange, Headers};

/// Bytes of a body, and headers, that a scenario has.
const BODY_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 20;
const PATH_BYTES_MAX: usize = 2000;

/// Methods that a recipe knows.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Headers that are of a connection, of a browser, of another place, or secret.
const LEFT_OUT: [&str; 19] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "proxy-authorization",
    "proxy-connection",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

/// Why a session is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unfit {
    /// A method that scenarios do not have.
    Method,
    /// A path that is too long, or no text.
    Path,
    /// A body that is no text, is cut, or too long.
    Body,
}

/// A request, with references to what earlier answers held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Method and path without what differs: equal ones are taken for the same.
    #[serde(skip)]
    pub kind: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<String>,
    /// How long the user thinks before it.
    pub think_ms: u64,
    /// The captured status, where it was an error: it is none then.
    pub status: Option<u16>,
    /// What is taken from its answer.
    pub extract: Vec<Extract>,
}

impl Request {
    /// What a scenario has of it, and what of earlier answers that refers to.
    ///
    /// # Errors
    /// A scenario cannot have it.
    pub fn of(exchange: &Exchange, known: &Known) -> Result<(Self, Vec<Taken>), Unfit> {
        let asked = &exchange.request;
        if !METHODS.contains(&asked.method.as_str()) {
            return Err(Unfit::Method);
        }
        let target = &asked.target;
        let plain =
            target.starts_with('/') && !target.contains(|c: char| c.is_control() || c == ' ');
        if !plain || target.len() > PATH_BYTES_MAX {
            return Err(Unfit::Path);
        }
        let mut taken = Vec::new();
        let (path, kind) = path(target, known, &mut taken);
        let headers = headers(&asked.headers, known, &mut taken);
        let body = match (&asked.body.bytes, asked.body.cut) {
            (_, true) => return Err(Unfit::Body),
            (bytes, _) if bytes.is_empty() => None,
            (bytes, _) if bytes.len() > BODY_BYTES_MAX => return Err(Unfit::Body),
            (bytes, _) => {
                let text = std::str::from_utf8(bytes).map_err(|_| Unfit::Body)?;
                Some(body(text, known, &mut taken).ok_or(Unfit::Body)?)
            }
        };
        let status = exchange.answer.as_ref().map(|answer| answer.status);
        let request = Self {
            kind: format!("{} {kind}", asked.method),
            method: asked.method.clone(),
            path,
            headers,
            body,
            think_ms: 0,
            status: status.filter(|status| (400..600).contains(status)),
            extract: Vec::new(),
        };
        Ok((request, taken))
    }
}

fn reference(taken: &Taken) -> String {
    format!("${{{}}}", taken.extract.name)
}

/// The path with references, and without what differs.
fn path(target: &str, known: &Known, taken: &mut Vec<Taken>) -> (String, String) {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut segments = Vec::new();
    let mut kinds = Vec::new();
    for segment in path.split('/') {
        let found = known.find(segment);
        kinds.push(if found.is_some() || looks_like_id(segment) { "{}" } else { segment });
        segments.push(filled(segment, found, taken));
    }
    let (mut text, mut kind) = (segments.join("/"), kinds.join("/"));
    if let Some(query) = query {
        let mut pairs = Vec::new();
        let mut names = Vec::new();
        for pair in query.split('&') {
            let Some((name, value)) = pair.split_once('=') else {
                pairs.push(literal(pair).into_owned());
                names.push(pair);
                continue;
            };
            names.push(name);
            pairs.push(format!("{}={}", literal(name), filled(value, known.find(value), taken)));
        }
        text = format!("{text}?{}", pairs.join("&"));
        kind = format!("{kind}?{}", names.join("&"));
    }
    (text, kind)
}

fn filled(text: &str, found: Option<&Taken>, taken: &mut Vec<Taken>) -> String {
    match found {
        Some(found) => {
            taken.push(found.clone());
            reference(found)
        }
        None => literal(text).into_owned(),
    }
}

/// Digits, or so long with digits among letters that no word is.
fn looks_like_id(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let plain = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    digits > 0 && plain && (digits == segment.len() || (segment.len() >= 8 && digits >= 2))
}

fn headers(captured: &Headers, known: &Known, taken: &mut Vec<Taken>) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in captured {
        let Ok(value) = std::str::from_utf8(value) else { continue };
        let Some(name) = header_name(name) else { continue };
        let wanted = !LEFT_OUT.contains(&name.as_str())
            && !["sec-", "x-forwarded-", "proxy-"].iter().any(|start| name.starts_with(start))
            && !value.contains(MARKER)
            && !value.is_empty()
            && value.len() <= PATH_BYTES_MAX
            && !value.contains(char::is_control);
        if wanted && headers.len() < HEADERS_MAX && !headers.iter().any(|(known, _)| *known == name)
        {
            headers.push((name, filled(value, known.find(value), taken)));
        }
    }
    headers
}

/// A header's name as a scenario has it, if it can.
pub(super) fn header_name(name: &[u8]) -> Option<String> {
    let plain = name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    let good = plain && (1..=64).contains(&name.len());
    good.then(|| String::from_utf8_lossy(name).to_ascii_lowercase())
}

/// What stands for a reference until the body is written: JSON has no other way to say it.
const MARK: char = '\0';

fn body(text: &str, known: &Known, taken: &mut Vec<Taken>) -> Option<String> {
    if text.contains(MARK) || text.contains("\\u0000") {
        return None;
    }
    let Ok(mut value) = serde_json::from_str::<Value>(text) else {
        return Some(literal(text).into_owned());
    };
    let before = taken.len();
    refer(&mut value, known, taken);
    if taken.len() == before {
        return Some(literal(text).into_owned());
    }
    let mut text = literal(&value.to_string()).into_owned();
    for value in &taken[before..] {
        let name = &value.extract.name;
        // A number is one again.
        text = text.replace(&format!("\"\\u0000#{name}\\u0000\""), &reference(value));
        text = text.replace(&format!("\\u0000{name}\\u0000"), &reference(value));
    }
    Some(text)
}

fn refer(value: &mut Value, known: &Known, taken: &mut Vec<Taken>) {
    let (text, mark) = match value {
        Value::Object(members) => {
            return members.values_mut().for_each(|member| refer(member, known, taken));
        }
        Value::Array(elements) => {
            return elements.iter_mut().for_each(|element| refer(element, known, taken));
        }
        Value::String(text) => (text.clone(), ""),
        // A short number is there by chance too often.
        Value::Number(number) if number.to_string().len() >= 4 => (number.to_string(), "#"),
        _ => return,
    };
    if let Some(found) = known.find(&text) {
        *value = Value::String(format!("{MARK}{mark}{}{MARK}", found.extract.name));
        taken.push(found.clone());
    }
}
