//! What QEMU says, one message a line.

use serde::Deserialize;
use serde_json::{Map, Value};
use umbra_state::escape;

/// No message is longer.
pub(crate) const LINE_BYTES_MAX: usize = 256 << 10;

/// No word of the protocol is longer.
const WORD_BYTES_MAX: usize = 80;

/// What is shown of a refusal.
const SHOWN_CHARS_MAX: usize = 500;

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    /// The first one.
    Greeting(Version),
    /// To the command of this number; of none where QEMU could not read the command.
    Answer(Option<u64>, Result<Value, Refusal>),
    /// Something happened, in QEMU or in the guest. Nobody asks what.
    Event,
}

/// QEMU's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) micro: u32,
}

/// A command was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What kind of refusal, one word.
    pub(crate) class: String,
    /// Why, fit to be shown.
    pub(crate) description: String,
}

/// A line that is not what QEMU says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Garbled(String);

/// Reads one line. Its depth is bounded by the parser's own bound, its length by the caller and
/// here.
pub(crate) fn parse(line: &[u8]) -> Result<Message, Garbled> {
    if line.len() > LINE_BYTES_MAX {
        return Err(Garbled("a message is too long".to_owned()));
    }
    let object: Map<String, Value> = serde_json::from_slice(line).map_err(|error| {
        let column = error.column();
        let shown = escape::line(line, 80);
        Garbled(format!("a message is no JSON object, at byte {column}: {shown}"))
    })?;
    of_object(object)
}

fn of_object(mut object: Map<String, Value>) -> Result<Message, Garbled> {
    if let Some(greeting) = object.remove("QMP") {
        let version = greeting.get("version").cloned().unwrap_or_default();
        return Ok(Message::Greeting(version_in(version)?));
    }
    if object.contains_key("event") {
        return Ok(Message::Event);
    }
    let id = match object.remove("id") {
        None => None,
        Some(id) => Some(id.as_u64().ok_or_else(|| Garbled("an id is no number".to_owned()))?),
    };
    match (object.remove("return"), object.remove("error")) {
        (Some(value), None) => Ok(Message::Answer(id, Ok(value))),
        (None, Some(error)) => Ok(Message::Answer(id, Err(refusal(&error)?))),
        _ => Err(Garbled("a message is neither answer nor event".to_owned())),
    }
}

fn version_in(mut version: Value) -> Result<Version, Garbled> {
    let numbers = version.get_mut("qemu").map(Value::take).unwrap_or_default();
    serde_json::from_value(numbers).map_err(|_| Garbled("it does not say its version".to_owned()))
}

fn refusal(error: &Value) -> Result<Refusal, Garbled> {
    let class = error.get("class").and_then(word);
    let description = error.get("desc").and_then(Value::as_str);
    match (class, description) {
        (Some(class), Some(description)) => Ok(Refusal { class, description: shown(description) }),
        _ => Err(Garbled("a refusal does not say why".to_owned())),
    }
}

fn word(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let fine = !text.is_empty() && text.len() <= WORD_BYTES_MAX && text.bytes().all(plain);
    fine.then(|| text.to_owned())
}

/// A text of QEMU's as a person may see it.
pub(super) fn shown(text: &str) -> String {
    escape::line(text.as_bytes(), SHOWN_CHARS_MAX)
}
