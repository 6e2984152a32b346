//! One line, in one of the forms other programs read.

use std::fmt::Write;
use std::net::IpAddr;

use hyper::Method;
use serde::Serialize;

/// In which words a request is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// The common log format.
    Common,
    /// The same, with referer and user agent.
    Combined,
}

/// What is told. Text from outside is escaped already: it has no control character and no end of
/// a line.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) time: jiff::Timestamp,
    pub(super) client: IpAddr,
    #[serde(serialize_with = "method")]
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) version: &'static str,
    pub(super) host: Option<String>,
    pub(super) status: u16,
    /// Of the answer's body.
    pub(super) bytes: u64,
    /// Until the answer's head.
    pub(super) head_us: u64,
    /// Until its end.
    pub(super) end_us: u64,
    /// Whether the answer did not break off.
    pub(super) whole: bool,
    pub(super) user_agent: Option<String>,
    pub(super) referer: Option<String>,
}

impl Line {
    /// One line, its end included.
    pub(super) fn text(&self, format: Format) -> String {
        match format {
            // There is nothing in it that cannot be written.
            Format::Json => serde_json::to_string(self).unwrap_or_default() + "\n",
            Format::Common => self.common() + "\n",
            Format::Combined => {
                let (referer, agent) = (quoted(&self.referer), quoted(&self.user_agent));
                format!("{} {referer} {agent}\n", self.common())
            }
        }
    }

    fn common(&self) -> String {
        let mut text = String::with_capacity(128);
        let time = self.time.strftime("%d/%b/%Y:%H:%M:%S +0000");
        let Self { client, method, target, version, status, .. } = self;
        let target = marked(target);
        // Writing to a text does not fail.
        let _ = write!(text, "{client} - - [{time}] \"{method} {target} {version}\" {status} ");
        let _ = match self.bytes {
            0 => write!(text, "-"),
            bytes => write!(text, "{bytes}"),
        };
        text
    }
}

fn quoted(value: &Option<String>) -> String {
    format!("\"{}\"", value.as_deref().map(marked).unwrap_or_else(|| "-".into()))
}

/// What would end a quotation does not.
fn marked(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('"') { text.replace('"', "\\\"").into() } else { text.into() }
}

fn method<S: serde::Serializer>(method: &Method, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(method.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Line {
        Line {
            time: "2026-11-30T11:47:03.25Z".parse().unwrap(),
            client: "192.0.2.7".parse().unwrap(),
            method: Method::GET,
            target: "/a?b=\"c".to_owned(),
            version: "HTTP/1.1",
            host: Some("app".to_owned()),
            status: 200,
            bytes: 1234,
            head_us: 250,
            end_us: 900,
            whole: true,
            user_agent: Some("curl \"7\"\\u{a}".to_owned()),
            referer: None,
        }
    }

    #[test]
    fn lines_are_what_others_read() {
        let common =
            "192.0.2.7 - - [30/Nov/2026:11:47:03 +0000] \"GET /a?b=\\\"c HTTP/1.1\" 200 1234";
        assert_eq!(one().text(Format::Common), format!("{common}\n"));
        let combined = format!("{common} \"-\" \"curl \\\"7\\\"\\u{{a}}\"\n");
        assert_eq!(one().text(Format::Combined), combined);
        let read: serde_json::Value = serde_json::from_str(&one().text(Format::Json)).unwrap();
        assert_eq!(
            read,
            serde_json::json!({
                "time": "2026-11-30T11:47:03.25Z", "client": "192.0.2.7", "method": "GET",
                "target": "/a?b=\"c", "version": "HTTP/1.1", "host": "app", "status": 200,
                "bytes": 1234, "head_us": 250, "end_us": 900, "whole": true,
                "user_agent": "curl \"7\"\\u{a}", "referer": null,
            })
        );
        let empty = Line { bytes: 0, ..one() };
        assert!(empty.text(Format::Common).ends_with(" 200 -\n"));
    }
}
