//! What answers hold that later requests have.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

use super::request::header_name;
use crate::capture::Exchange;
use crate::capture::redact::MARKER;

/// Values that are remembered of one session, and of one answer.
const VALUES_MAX: usize = 10_000;
const DEPTH_MAX: usize = 16;
const VALUE_CHARS: std::ops::RangeInclusive<usize> = 1..=200;
/// A text so long that it stands somewhere else by chance hardly ever.
const LONG: usize = 8;
const NAME_CHARS_MAX: usize = 30;

/// Where in an answer something is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// A path into a JSON body.
    Json(String),
    /// A header.
    Header(String),
}

/// What is taken from an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Extract {
    /// What later requests call it.
    pub name: String,
    /// Where it is.
    pub from: Place,
}

/// A value that an answer held.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Which request's answer.
    pub request: usize,
    /// What is taken of it.
    pub extract: Extract,
    /// Whether where it stands is called an id: then a short number is one, too.
    is_id: bool,
}

/// All values that a session's answers held so far.
#[derive(Debug, Default)]
pub struct Known {
    values: HashMap<String, Taken>,
    names: HashMap<String, u32>,
}

impl Known {
    /// What held this value, if it is hardly there by chance: the last answer that did.
    pub fn find(&self, value: &str) -> Option<&Taken> {
        let taken = self.values.get(value)?;
        (taken.is_id || value.len() >= LONG).then_some(taken)
    }

    /// Remembers what an answer holds.
    pub fn learn(&mut self, request: usize, exchange: &Exchange) {
        let Some(answer) = &exchange.answer else { return };
        for (name, value) in &answer.headers {
            let Some(name) = header_name(name) else { continue };
            let telling = name == "etag" || name.ends_with("-token") || name.ends_with("-id");
            if telling && let Ok(value) = std::str::from_utf8(value) {
                self.remember(request, value, &name.clone(), Place::Header(name));
            }
        }
        if let Ok(body) = serde_json::from_slice::<Value>(&answer.body.bytes) {
            self.walk(request, &body, "", "value", 0);
        }
    }

    fn walk(&mut self, request: usize, value: &Value, path: &str, key: &str, depth: usize) {
        if depth > DEPTH_MAX || self.values.len() >= VALUES_MAX {
            return;
        }
        match value {
            Value::String(text) => {
                self.remember(request, text, key, Place::Json(path.to_owned()));
            }
            Value::Number(number) => {
                self.remember(request, &number.to_string(), key, Place::Json(path.to_owned()));
            }
            Value::Array(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    self.walk(request, element, &format!("{path}[{index}]"), key, depth + 1);
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    // A path cannot name others.
                    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
                    if name.is_empty() || name.len() > 60 || !name.chars().all(plain) {
                        continue;
                    }
                    let dot = if path.is_empty() { "" } else { "." };
                    self.walk(request, member, &format!("{path}{dot}{name}"), name, depth + 1);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn remember(&mut self, request: usize, value: &str, key: &str, from: Place) {
        let whole = matches!(&from, Place::Json(path) if path.is_empty() || path.len() > 100);
        if !VALUE_CHARS.contains(&value.len()) || whole || value.contains(MARKER) {
            return;
        }
        let lower = key.to_ascii_lowercase();
        let is_id =
            ["id", "uuid", "key", "token", "slug", "etag"].iter().any(|end| lower.ends_with(end));
        // Within one answer an id is the better place, and the first one.
        if let Some(old) = self.values.get(value)
            && old.request == request
            && (old.is_id || !is_id)
        {
            return;
        }
        if self.values.len() >= VALUES_MAX {
            return;
        }
        let name = self.name(key);
        let extract = Extract { name, from };
        self.values.insert(value.to_owned(), Taken { request, extract, is_id });
    }

    /// A name of a key that no other value has.
    fn name(&mut self, key: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        let mut name: String = key.chars().map(plain).take(NAME_CHARS_MAX).collect();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            name.insert(0, '_');
        }
        let count = self.names.entry(name.clone()).or_default();
        *count += 1;
        match *count {
            1 => name,
            count => format!("{name}_{count}"),
        }
    }
}
