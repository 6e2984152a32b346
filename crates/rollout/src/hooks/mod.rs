//! Webhooks, as Flagger has them: who is asked before something is done, or told that it was.
//!
//! | kind | when | 200 to 299 | anything else, or nothing |
//! |---|---|---|---|
//! | `confirm-rollout` | before instances are started | go on | hold, and ask again |
//! | `pre-rollout` | before any request | go on | try again, then the rollout ends |
//! | `rollout` | at each weight | go on | likewise |
//! | `confirm-traffic-increase` | before a weight rises | go on | hold, and ask again |
//! | `confirm-promotion` | before everything goes to the candidate | go on | hold, and ask again |
//! | `post-rollout`, `rollback`, `event` | afterwards | told | try again, then say so |
//!
//! What is sent is a JSON document ([`Told`]). Nothing of an address or a secret is in a message.

#[cfg(test)]
mod tests;
mod told;

use std::time::Duration;

use umbra_state::{chain, escape::escape};

pub use told::{Evidence, Told};

use crate::controller::Answer;
use crate::fetch::{Fetch, FetchError, Request};
use crate::secret::{self, SecretError};
use crate::spec::{Webhook, WebhookKind};

/// So much of what one says is kept, to be shown.
const SAID_BYTES_MAX: usize = 4096;
/// Before the first repetition; twice as long before each further one.
const PAUSE_MS: u64 = 500;
const PAUSE_MS_MAX: u64 = 8_000;

/// Why a webhook did not say go.
#[derive(Debug, thiserror::Error)]
enum HookError {
    #[error("ask it")]
    Secret(#[from] SecretError),
    #[error("ask it")]
    NoAnswer(#[from] FetchError),
    #[error("it answered {status}{}", .said)]
    Answered { status: u16, said: String },
}

impl WebhookKind {
    /// Whether it is asked again for as long as it does not say go.
    pub fn holds(self) -> bool {
        matches!(self, Self::ConfirmRollout | Self::ConfirmTrafficIncrease | Self::ConfirmPromotion)
    }

    /// Whether it is only told.
    pub fn is_told(self) -> bool {
        matches!(self, Self::PostRollout | Self::Rollback | Self::Event)
    }
}

impl Webhook {
    /// How long a [`call`] may take, repetitions and pauses between them included.
    pub fn patience_ms(&self) -> u64 {
        let attempts = u64::from(self.attempts());
        let pauses = (1..attempts).map(pause_ms).sum::<u64>();
        self.timeout_ms.saturating_mul(attempts).saturating_add(pauses)
    }

    /// One that holds is asked again by whoever waits for it.
    fn attempts(&self) -> u32 {
        if self.kind.holds() { 1 } else { self.retries.saturating_add(1) }
    }
}

/// Calls a webhook, and again where that may help; `pause` waits so long before. Blocks for at
/// most [`Webhook::patience_ms`].
pub fn call(
    webhook: &Webhook,
    told: &Told<'_>,
    fetch: &dyn Fetch,
    pause: &mut dyn FnMut(Duration),
) -> Answer {
    let body = told.body(webhook);
    let mut attempt = 0;
    loop {
        attempt += 1;
        let error = match once(webhook, &body, fetch) {
            Ok(()) => return Answer::Go,
            Err(error) => error,
        };
        let why = chain(&error);
        if webhook.kind.holds() {
            return Answer::Hold { why };
        }
        if attempt >= webhook.attempts() {
            let tried =
                if attempt > 1 { format!(", tried {attempt} times") } else { String::new() };
            return Answer::Failed { why: format!("{why}{tried}") };
        }
        pause(Duration::from_millis(pause_ms(u64::from(attempt))));
    }
}

fn pause_ms(attempt: u64) -> u64 {
    let doubled = u32::try_from(attempt - 1).ok().and_then(|times| PAUSE_MS.checked_shl(times));
    doubled.unwrap_or(PAUSE_MS_MAX).min(PAUSE_MS_MAX)
}

fn once(webhook: &Webhook, body: &[u8], fetch: &dyn Fetch) -> Result<(), HookError> {
    let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    headers.extend(webhook.token.as_ref().map(secret::header).transpose()?);
    let reply = fetch.fetch(&Request {
        url: secret::address(&webhook.url)?,
        headers,
        body: Some(body.to_vec()),
        timeout: Duration::from_millis(webhook.timeout_ms),
        answer_bytes_max: SAID_BYTES_MAX,
    })?;
    match reply.status {
        200..=299 => Ok(()),
        status => Err(HookError::Answered { status, said: said(&reply.body) }),
    }
}

/// The first line of what it said, if it is text: gates say there what they wait for.
fn said(body: &[u8]) -> String {
    const CHARS_MAX: usize = 200;
    let text = String::from_utf8_lossy(body);
    let line = text.trim().lines().next().unwrap_or_default();
    let kept: String = line.chars().take(CHARS_MAX).collect();
    if kept.is_empty() { kept } else { format!(": {}", escape(kept.as_bytes())) }
}
