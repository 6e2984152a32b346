//! From an alert to what is delivered.

use serde::{Deserialize, Serialize};
use umbra_api::blob::Blob;
use umbra_state::escape::line;

use super::body;
use crate::alert::Alert;
use crate::config::{Dialect, Notify, Severity, SyslogAddress, Target};
use crate::render::Facts;
use crate::render::text::cut;

/// No document is longer, whatever it tells of.
pub const DOCUMENT_BYTES_MAX: usize = 64 << 10;

/// What is delivered to one sink about one telling of one alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Names the telling; who gets two of one name got one twice.
    pub id: String,
    /// What it is about: documents about the same are delivered in order.
    pub about: String,
    /// How grave.
    pub severity: Severity,
    /// One printable line.
    pub title: String,
    /// The rest, as the sink wants it.
    pub body: Blob,
}

/// What all renderers of an alert go by.
pub(super) struct Telling<'a> {
    pub(super) alert: &'a Alert,
    /// The alert's name, printable.
    pub(super) id: String,
    /// The telling's.
    pub(super) telling: String,
    pub(super) facts: Facts,
    /// One printable line.
    pub(super) title: String,
    /// The page about it.
    pub(super) link: Option<String>,
}

impl<'a> Telling<'a> {
    pub(super) fn new(alert: &'a Alert, pages: Option<&str>) -> Self {
        let attribution = alert.attribution.as_ref();
        let facts = Facts::of(&alert.discrepancy, attribution, alert.path.as_ref());
        let primary = line(alert.primary.as_bytes(), 100);
        let (severity, news) = (alert.discrepancy.severity, alert.news);
        let title = format!("[{severity}] {primary}: {} {} ({news})", facts.name(), facts.what);
        let title = cut(&title, 500).to_owned();
        // An id is hexadecimal; one from elsewhere must not lead elsewhere.
        let plain = alert.id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let link = pages
            .filter(|_| plain)
            .map(|pages| format!("{}/alerts/{}", pages.trim_end_matches('/'), alert.id));
        let (id, telling) = (&alert.id, alert.telling());
        let (id, telling) = (line(id.as_bytes(), 100), line(telling.as_bytes(), 120));
        Self { alert, id, telling, facts, title, link }
    }

    pub(super) fn primary(&self) -> String {
        line(self.alert.primary.as_bytes(), 200)
    }
}

/// Whether a sink is told of an alert: one that was once grave enough is told to its end.
pub fn wants(notify: &Notify, alert: &Alert) -> bool {
    let worst = alert.severities.last().copied().unwrap_or(alert.discrepancy.severity);
    worst.max(alert.discrepancy.severity) >= notify.min_severity
}

/// The document of one telling for one sink; `None` for a sink that does not want it ([`wants`]).
/// `pages` is where the dashboard is, if there is one.
pub fn document(notify: &Notify, alert: &Alert, pages: Option<&str>) -> Option<Document> {
    if !wants(notify, alert) {
        return None;
    }
    let telling = Telling::new(alert, pages);
    let body = match &notify.target {
        Target::Log => body::text::line(&telling),
        Target::Terminal => body::text::screen(&telling),
        Target::Desktop => body::text::desktop(&telling),
        Target::JsonLines { .. } => body::ecs::line(&telling),
        Target::Command { .. } => body::webhook::object(&telling),
        Target::Http { dialect, .. } => match dialect {
            Dialect::Webhook => body::webhook::object(&telling),
            Dialect::Slack => body::slack::message(&telling),
            Dialect::Alertmanager => body::alertmanager::alerts(&telling),
        },
        Target::Syslog { address, facility, app } => {
            let datagram = matches!(address, SyslogAddress::Udp(_));
            body::rfc5424::message(&telling, *facility, app, datagram)
        }
    };
    debug_assert!(body.len() <= DOCUMENT_BYTES_MAX, "{} bytes", body.len());
    let key = serde_json::to_vec(&alert.key()).unwrap_or_default();
    Some(Document {
        id: telling.telling,
        about: blake3::hash(&key).to_hex()[..16].to_owned(),
        severity: alert.discrepancy.severity,
        title: telling.title,
        body: Blob(body.into_bytes()),
    })
}
