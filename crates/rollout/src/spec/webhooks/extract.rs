//! From a checked list of webhooks to values.

use std::time::Duration;

use umbra_document::take::{duration, each, int, optional, text, texts_by_name};
use umbra_document::yaml::Node;
use umbra_drift::config::{Token, address, secret};

use super::{Webhook, WebhookKind};
use crate::spec::analysis::millis;

const TIMEOUT: Duration = Duration::from_secs(10);
const RETRIES: u32 = 2;

/// All of them; none where there is no such list.
pub(crate) fn webhooks(node: Option<&Node>) -> Option<Vec<Webhook>> {
    each(node, webhook)
}

fn webhook(node: &Node) -> Option<Webhook> {
    let token = optional(node.get("token"), secret)?;
    let header = optional(node.get("header"), text)?;
    Some(Webhook {
        name: text(node.get("name")?)?,
        kind: kind(node.get("type")?)?,
        url: address(node.get("url")?)?,
        token: token.map(|from| Token { from, header }),
        timeout_ms: millis(duration(node.get("timeout"))?.unwrap_or(TIMEOUT)),
        retries: optional(node.get("retries"), int)?.unwrap_or(RETRIES),
        metadata: texts_by_name(node.get("metadata"))?,
    })
}

fn kind(node: &Node) -> Option<WebhookKind> {
    let text = node.text()?;
    WebhookKind::ALL.into_iter().find(|kind| kind.word() == text)
}
