//! News of something that is no discrepancy, such as a rollout, for the sinks of alerts.

use serde::Serialize;
use serde_json::{Value, json};
use umbra_api::blob::Blob;
use umbra_state::escape::line;

use super::body::alertmanager::ENDS_AFTER_MS;
use super::body::rfc5424::{self, Header};
use super::body::{ecs, slack};
use super::document::{DOCUMENT_BYTES_MAX, Document};
use crate::config::{Dialect, Notify, Severity, SyslogAddress, Target};
use crate::render::text::json as printable;
use crate::render::time::rfc3339;

/// The form's number: keys are added under one number, changed only under another.
const VERSION: u32 = 1;
/// Facts and steps that are told.
const FACTS_MAX: usize = 16;
const FACT_CHARS_MAX: usize = 1_000;

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Names the telling: who gets two of one name got one twice.
    pub id: String,
    /// What it is about: those about the same are delivered in order.
    pub about: String,
    /// The kind of thing it is about, in one word: `rollout`.
    pub kind: &'static str,
    /// Whose news it is: a service's name.
    pub subject: String,
    /// What happened, in one word: `rolled_back`.
    pub news: String,
    /// How grave it is.
    pub severity: Severity,
    /// Whether that ends it.
    pub over: bool,
    /// A sentence without a full stop.
    pub sentence: String,
    /// What there is to know besides, each with its name.
    pub facts: Vec<(String, String)>,
    /// Commands a person can type now.
    pub next_steps: Vec<String>,
    /// When it began, in milliseconds since 1970 UTC.
    pub began_at_ms: i64,
    /// When it happened, likewise.
    pub at_ms: i64,
}

impl Notice {
    /// The document for one sink; `None` for one that wants to be told of graver things only.
    pub fn document(&self, notify: &Notify) -> Option<Document> {
        if self.severity < notify.min_severity {
            return None;
        }
        let shown = Shown::of(self);
        let body = shown.body(&notify.target);
        debug_assert!(body.len() <= DOCUMENT_BYTES_MAX, "{} bytes", body.len());
        Some(Document {
            id: line(self.id.as_bytes(), 120),
            about: blake3::hash(self.about.as_bytes()).to_hex()[..16].to_owned(),
            severity: self.severity,
            title: shown.title,
            body: Blob(body.into_bytes()),
        })
    }
}

/// All of it, printable and bounded.
#[derive(Serialize)]
struct Shown<'a> {
    version: u32,
    id: String,
    title: String,
    kind: &'a str,
    subject: String,
    news: String,
    severity: Severity,
    over: bool,
    what: String,
    facts: Vec<(String, String)>,
    began_at: String,
    at: String,
    next_steps: Vec<String>,
    #[serde(skip)]
    notice: &'a Notice,
}

impl<'a> Shown<'a> {
    fn of(notice: &'a Notice) -> Self {
        let text = |text: &str| line(text.as_bytes(), FACT_CHARS_MAX);
        let facts = notice.facts.iter().take(FACTS_MAX);
        let (subject, what) = (line(notice.subject.as_bytes(), 100), text(&notice.sentence));
        let (severity, kind) = (notice.severity, notice.kind);
        Self {
            version: VERSION,
            id: line(notice.id.as_bytes(), 120),
            title: line(format!("[{severity}] {kind} of {subject}: {what}").as_bytes(), 500),
            kind,
            subject,
            news: line(notice.news.as_bytes(), 40),
            severity,
            over: notice.over,
            what,
            facts: facts.map(|(name, value)| (line(name.as_bytes(), 60), text(value))).collect(),
            began_at: rfc3339(notice.began_at_ms),
            at: rfc3339(notice.at_ms),
            next_steps: notice.next_steps.iter().take(4).map(|step| text(step)).collect(),
            notice,
        }
    }

    fn body(&self, target: &Target) -> String {
        match target {
            Target::Log => format!("{}{}\n", self.title, self.facts_after("; ")),
            Target::Terminal => self.screen(),
            Target::Desktop => slack::escape(self.facts_after("\n").trim_start()),
            Target::JsonLines { .. } => self.ecs(),
            Target::Command { .. } => printable(self),
            Target::Http { dialect: Dialect::Webhook, .. } => printable(self),
            Target::Http { dialect: Dialect::Slack, .. } => self.slack(),
            Target::Http { dialect: Dialect::Alertmanager, .. } => self.alertmanager(),
            Target::Syslog { address, facility, app } => {
                let datagram = matches!(address, SyslogAddress::Udp(_));
                let header = Header {
                    facility: *facility,
                    severity: self.severity,
                    // An end that is grave is no all-clear.
                    over: false,
                    at_ms: self.notice.at_ms,
                    host: &self.subject,
                    app,
                    kind: &self.news,
                };
                let mut data = vec![("id", self.id.clone())];
                data.push(("severity", self.severity.as_str().to_owned()));
                let text = format!("{}{}", self.title, self.facts_after(" | "));
                rfc5424::written(&header, &data, &text, datagram)
            }
        }
    }

    fn facts_after(&self, between: &str) -> String {
        let facts = self.facts.iter().map(|(name, value)| format!("{between}{name}: {value}"));
        facts.collect()
    }

    fn screen(&self) -> String {
        let mut lines = vec![self.title.clone()];
        lines.extend(self.facts.iter().map(|(name, value)| format!("  {name:<10} {value}")));
        lines.extend(self.next_steps.iter().map(|step| format!("  {:<10} {step}", "next")));
        lines.join("\n") + "\n"
    }

    fn ecs(&self) -> String {
        let fields = json!({
            "@timestamp": self.at,
            "ecs": {"version": "8.11.0"},
            "message": self.title,
            "event": {
                "kind": "alert",
                "category": ["configuration"],
                "type": [if self.over { "end" } else { "change" }],
                "action": format!("{}-{}", self.kind, self.news),
                "dataset": format!("umbra.{}", self.kind),
                "provider": "umbra",
                "id": self.id,
                "severity": ecs::severity(self.severity),
                "start": self.began_at,
                "reason": self.what,
            },
            "service": {"name": self.subject},
            "log": {"level": self.severity.as_str()},
            "umbra": {self.kind: {
                "news": self.news,
                "facts": self.facts_by_name(),
                "next_steps": self.next_steps,
            }},
        });
        printable(&fields) + "\n"
    }

    fn slack(&self) -> String {
        let field = |(name, value): &(String, String)| {
            let (name, value) = (slack::escape(name), slack::escape(value));
            json!({"title": name, "value": value, "short": value.len() < 40})
        };
        let mut fields: Vec<Value> = self.facts.iter().map(field).collect();
        if !self.next_steps.is_empty() {
            let steps = slack::code(&self.next_steps.join("\n"));
            fields
                .push(json!({"title": "Next", "value": format!("```{steps}```"), "short": false}));
        }
        let title = slack::escape(&self.title);
        printable(&json!({"text": title, "attachments": [{
            "fallback": title,
            "color": slack::color(self.severity <= Severity::Low, self.severity),
            "fields": fields,
            "mrkdwn_in": ["fields"],
            "ts": self.notice.at_ms.div_euclid(1000),
        }]}))
    }

    /// An alert that ends by itself: what it tells happened once.
    fn alertmanager(&self) -> String {
        printable(&json!([{
            "labels": {
                "alertname": format!("Umbra{}", capital(self.kind)),
                "instance": self.subject,
                "news": self.news,
                "severity": self.severity,
            },
            "annotations": {
                "summary": self.title,
                "description": self.facts_after("\n").trim_start(),
                "next_steps": self.next_steps.join("\n"),
                "id": self.id,
            },
            "startsAt": self.at,
            "endsAt": rfc3339(self.notice.at_ms.saturating_add(ENDS_AFTER_MS)),
        }]))
    }

    fn facts_by_name(&self) -> Value {
        self.facts.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect()
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Facility;

    fn notice() -> Notice {
        Notice {
            id: "rollout/7/2".into(),
            about: "rollout/7".into(),
            kind: "rollout",
            subject: "web".into(),
            news: "rolled_back".into(),
            severity: Severity::High,
            over: true,
            sentence: "its errors are 5 times as many".into(),
            facts: vec![("candidate".into(), "web@12".into())],
            next_steps: vec!["umbra rollout explain 7".into()],
            began_at_ms: 1_700_000_000_000,
            at_ms: 1_700_000_060_000,
        }
    }

    fn targets() -> Vec<Target> {
        let url = crate::config::Address::Plain("https://example.com/".into());
        let http = |dialect| Target::Http { dialect, url: url.clone(), token: None };
        let address = SyslogAddress::Udp("a:514".into());
        vec![
            Target::Log,
            Target::Terminal,
            Target::Desktop,
            Target::JsonLines { path: "/x".into() },
            Target::Command { argv: vec!["x".into()] },
            http(Dialect::Webhook),
            http(Dialect::Slack),
            http(Dialect::Alertmanager),
            Target::Syslog { address, facility: Facility::Daemon, app: "umbra".into() },
        ]
    }

    fn told(notice: &Notice, target: Target) -> Document {
        let notify = Notify { target, min_severity: Severity::Low };
        notice.document(&notify).expect("it is wanted")
    }

    #[test]
    fn each_sink_is_told_in_its_own_words() {
        let all = targets().into_iter().map(|target| {
            let kind = target.kind();
            let body = told(&notice(), target).body;
            format!("{kind}\n{}", String::from_utf8_lossy(&body.0).trim_end())
        });
        insta::assert_snapshot!(all.collect::<Vec<_>>().join("\n\n"));
    }

    #[test]
    fn who_wants_graver_things_is_not_told() {
        let notify = Notify { target: Target::Log, min_severity: Severity::Critical };
        assert_eq!(notice().document(&notify), None);
    }

    proptest! {
        #[test]
        fn whatever_it_says_it_is_bounded_and_printable(
            subject in any::<String>(), sentence in ".{0,3000}",
            facts in proptest::collection::vec((any::<String>(), ".{0,2000}"), 0..30),
        ) {
            let notice = Notice { subject, sentence, facts, ..notice() };
            for target in targets() {
                let document = told(&notice, target);
                prop_assert!(document.body.0.len() <= DOCUMENT_BYTES_MAX);
                let text = String::from_utf8(document.body.0).expect("text");
                prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{:?}", text);
            }
        }
    }
}
