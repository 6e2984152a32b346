//! One item's phases: what is news, and when there is too much of it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::book::Differs;
use super::keep::{bounded, only_moved, same};
use super::steps::next_steps;
use super::value::{Alert, Ended, Key, News, Standing, Suggestion};
use crate::config::Severity;

/// With so much news within [`FLAP_WINDOW_MS`] an item flaps: somebody who comes, goes, comes,
/// goes and comes again is told as that, once. A person who tries something out twice is not.
pub const FLAP_NEWS: usize = 5;
/// See [`FLAP_NEWS`]. Longer than a service that fails takes to be started again five times
/// (systemd's limit is five in ten seconds), shorter than a shift.
pub const FLAP_WINDOW_MS: i64 = 10 * 60_000;
/// An item that flapped has settled when it was quiet for as long as flapping is counted.
pub const SETTLE_MS: i64 = FLAP_WINDOW_MS;
/// A critical drift is told again this often until it is over: an hour is what a missed page
/// costs at worst.
pub const REMIND_MS: i64 = 3_600_000;
/// So many comings within [`REPEAT_WINDOW_MS`] make an `ignore` rule worth a thought: the
/// measure of Wazuh's `auto_ignore`, which acts by itself; here it is only offered.
pub const REPEATS: usize = 10;
/// See [`REPEATS`].
pub const REPEAT_WINDOW_MS: i64 = 3_600_000;

/// More of the past decides nothing: each coming has at most one going.
const PAST_MAX: usize = 2 * REPEATS;

/// What is known of one item of one primary. One row of what the daemon keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Life {
    /// Whose.
    pub key: Key,
    /// Where it is.
    pub phase: Phase,
    /// The last news, the oldest first.
    past: VecDeque<Flip>,
    /// Whether an `ignore` rule was suggested.
    suggested: bool,
    /// How many alerts it had.
    opened: u64,
}

/// Where an item is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It differs, and that was told.
    Open {
        /// What was told.
        alert: Box<Alert>,
    },
    /// It changes too often to be told each time.
    Flapping {
        /// What was told, and what is so since.
        alert: Box<Alert>,
        /// Whether the last comparison found it to differ.
        differs: bool,
        /// When it changed last.
        changed_at_ms: i64,
    },
    /// It agrees, and that was told.
    Over {
        /// Since when.
        since_ms: i64,
    },
}

/// A change of what a comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Flip {
    at_ms: i64,
    /// Whether it differs since.
    came: bool,
}

/// What is to be done about a life after an event.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// Nothing happened.
    Nothing,
    /// It is another, quietly.
    Saved,
    /// It is another, and this is told.
    Told(Box<Alert>),
    /// Nothing is left to remember.
    Forgotten,
}

impl Life {
    /// Of an item nothing was known of.
    pub(super) fn new(key: Key) -> Self {
        let phase = Phase::Over { since_ms: 0 };
        Self { key, phase, past: VecDeque::new(), suggested: false, opened: 0 }
    }

    /// Whether the last comparison found it to differ.
    pub fn differs(&self) -> bool {
        match self.phase {
            Phase::Open { .. } => true,
            Phase::Flapping { differs, .. } => differs,
            Phase::Over { .. } => false,
        }
    }

    /// The alert that was told and is not over.
    pub fn alert(&self) -> Option<&Alert> {
        match &self.phase {
            Phase::Open { alert, .. } | Phase::Flapping { alert, .. } => Some(alert),
            Phase::Over { .. } => None,
        }
    }

    /// A comparison found a discrepancy.
    pub(super) fn on_differs(&mut self, mut found: Differs, now_ms: i64) -> Outcome {
        found.discrepancy = bounded(found.discrepancy);
        let (mut alert, flapping, differed) = match &self.phase {
            Phase::Over { .. } => (self.open(&found, now_ms), false, false),
            Phase::Open { alert } => (alert.clone(), false, true),
            Phase::Flapping { alert, differs, .. } => (alert.clone(), true, *differs),
        };
        if differed && same(&alert.discrepancy, &found.discrepancy) {
            return self.learn_who(found);
        }
        if differed && only_moved(&alert.discrepancy, &found.discrepancy) {
            return self.follow(found);
        }
        self.remember(true, now_ms);
        let worst = alert.severities.last().copied();
        let severity = found.discrepancy.severity;
        let escalated = if flapping {
            worst < Some(severity)
        } else {
            differed && alert.discrepancy.severity < severity
        };
        alert.seen += 1;
        alert.since_ms = now_ms;
        alert.discrepancy = found.discrepancy;
        alert.attribution = found.attribution;
        alert.path = found.path;
        let suggested = self.suggest(&mut alert, now_ms);
        let news = match (flapping, self.flaps(now_ms)) {
            _ if escalated => Some(News::Escalated),
            (true, _) => suggested.then_some(News::Repeated),
            (false, true) => Some(News::Flapping),
            (false, false) if differed => Some(News::Changed),
            (false, false) => Some(News::Opened),
        };
        let flapping = flapping || self.flaps(now_ms);
        self.enter(alert, news, flapping, true, now_ms)
    }

    /// Who did it can become known after that it was done: kept for the next telling.
    fn learn_who(&mut self, found: Differs) -> Outcome {
        let (Phase::Open { alert } | Phase::Flapping { alert, .. }) = &mut self.phase else {
            return Outcome::Nothing;
        };
        let unknown = alert.attribution.as_ref().is_none_or(|who| who.writers.is_empty());
        match found.attribution.filter(|who| unknown && !who.writers.is_empty()) {
            Some(who) => {
                alert.attribution = Some(who);
                Outcome::Saved
            }
            None => Outcome::Nothing,
        }
    }

    /// A number is elsewhere where it must not be: kept for who asks, and for the next telling.
    fn follow(&mut self, found: Differs) -> Outcome {
        let (Phase::Open { alert } | Phase::Flapping { alert, .. }) = &mut self.phase else {
            return Outcome::Nothing;
        };
        alert.discrepancy = found.discrepancy;
        Outcome::Saved
    }

    /// A comparison found none.
    pub(super) fn on_agrees(&mut self, ended: Ended, now_ms: i64) -> Outcome {
        // What nobody compares any more cannot settle.
        let last = ended == Ended::Unwatched;
        let (mut alert, flapping) = match &self.phase {
            Phase::Over { .. } => return Outcome::Nothing,
            Phase::Flapping { differs: false, .. } if !last => return Outcome::Nothing,
            Phase::Open { alert } => (alert.clone(), false),
            Phase::Flapping { alert, .. } => (alert.clone(), true),
        };
        self.remember(false, now_ms);
        alert.since_ms = now_ms;
        alert.ended = Some(ended);
        // That a person did it is an end, however often it came before.
        let meant = !matches!(ended, Ended::Agrees | Ended::Watched);
        if meant || !(flapping || self.flaps(now_ms)) {
            return self.end(alert, now_ms);
        }
        let news = (!flapping).then_some(News::Flapping);
        self.enter(alert, news, true, false, now_ms)
    }

    /// Time has passed.
    pub(super) fn on_tick(&mut self, now_ms: i64) -> Outcome {
        match &self.phase {
            Phase::Over { since_ms } => {
                let quiet = now_ms.saturating_sub(*since_ms) >= REPEAT_WINDOW_MS;
                if quiet { Outcome::Forgotten } else { Outcome::Nothing }
            }
            Phase::Flapping { alert, differs, changed_at_ms, .. }
                if now_ms.saturating_sub(*changed_at_ms) >= SETTLE_MS =>
            {
                let (alert, differs) = (alert.clone(), *differs);
                if !differs {
                    return self.end(alert, now_ms);
                }
                self.enter(alert, Some(News::Settled), false, true, now_ms)
            }
            Phase::Open { alert } | Phase::Flapping { alert, differs: true, .. }
                if alert.discrepancy.severity == Severity::Critical
                    && now_ms.saturating_sub(alert.told_at_ms) >= REMIND_MS =>
            {
                let mut told = alert.clone();
                tell(&mut told, News::Reminder, now_ms);
                if let Phase::Open { alert } | Phase::Flapping { alert, .. } = &mut self.phase {
                    alert.clone_from(&told);
                }
                Outcome::Told(told)
            }
            Phase::Open { .. } | Phase::Flapping { .. } => Outcome::Nothing,
        }
    }

    fn open(&mut self, found: &Differs, now_ms: i64) -> Box<Alert> {
        self.opened += 1;
        Box::new(Alert {
            id: id(&self.key, self.opened, now_ms),
            told: 0,
            told_at_ms: now_ms,
            primary: self.key.primary.clone(),
            discrepancy: found.discrepancy.clone(),
            path: None,
            attribution: None,
            standing: Standing::Open,
            news: News::Opened,
            opened_at_ms: now_ms,
            since_ms: now_ms,
            seen: 0,
            severities: Vec::new(),
            ended: None,
            suggestion: None,
            next_steps: Vec::new(),
        })
    }

    fn enter(
        &mut self,
        mut alert: Box<Alert>,
        news: Option<News>,
        flapping: bool,
        differs: bool,
        now_ms: i64,
    ) -> Outcome {
        alert.standing = if flapping { Standing::Flapping } else { Standing::Open };
        if differs {
            alert.ended = None;
        }
        alert.next_steps = next_steps(&self.key, alert.standing, &alert.discrepancy.findings);
        if let Some(news) = news {
            tell(&mut alert, news, now_ms);
        }
        let kept = alert.clone();
        self.phase = if flapping {
            Phase::Flapping { alert: kept, differs, changed_at_ms: now_ms }
        } else {
            Phase::Open { alert: kept }
        };
        if news.is_some() { Outcome::Told(alert) } else { Outcome::Saved }
    }

    fn end(&mut self, mut alert: Box<Alert>, now_ms: i64) -> Outcome {
        alert.standing = Standing::Resolved;
        let findings = &alert.discrepancy.findings;
        alert.next_steps = next_steps(&self.key, Standing::Resolved, findings);
        tell(&mut alert, News::Resolved, now_ms);
        self.phase = Phase::Over { since_ms: now_ms };
        Outcome::Told(alert)
    }

    fn remember(&mut self, came: bool, now_ms: i64) {
        // A clock that was put back must not make old news new for ever.
        self.past.iter_mut().for_each(|flip| flip.at_ms = flip.at_ms.min(now_ms));
        self.past.push_back(Flip { at_ms: now_ms, came });
        if self.past.len() > PAST_MAX {
            self.past.pop_front();
        }
    }

    fn flaps(&self, now_ms: i64) -> bool {
        self.within(FLAP_WINDOW_MS, now_ms).count() >= FLAP_NEWS
    }

    fn suggest(&mut self, alert: &mut Alert, now_ms: i64) -> bool {
        let repeats = self.within(REPEAT_WINDOW_MS, now_ms).filter(|flip| flip.came).count();
        // That the primary is not watched is not for a rule to ignore.
        let ignorable = alert.discrepancy.why_unwatched().is_none();
        if self.suggested || repeats < REPEATS || !ignorable {
            return false;
        }
        self.suggested = true;
        let (repeats, within_ms) = (repeats as u64, REPEAT_WINDOW_MS);
        alert.suggestion = Some(Suggestion { repeats, within_ms });
        true
    }

    fn within(&self, window_ms: i64, now_ms: i64) -> impl Iterator<Item = &Flip> {
        self.past.iter().filter(move |flip| now_ms.saturating_sub(flip.at_ms) < window_ms)
    }
}

fn tell(alert: &mut Alert, news: News, now_ms: i64) {
    alert.news = news;
    alert.told_at_ms = now_ms;
    alert.told += 1;
    let severity = alert.discrepancy.severity;
    if let Err(place) = alert.severities.binary_search(&severity) {
        alert.severities.insert(place, severity);
    }
}

/// The same whenever the same opening is computed again: who was told before a crash is told
/// the same name after it.
fn id(key: &Key, opened: u64, opened_at_ms: i64) -> String {
    let part = key.item.part.as_ref().map_or(&b""[..], |part| &part.0);
    let has_part = [u8::from(key.item.part.is_some())];
    let mut hasher = blake3::Hasher::new();
    for field in [key.primary.as_bytes(), key.item.parameter.as_bytes(), &has_part, part] {
        hasher.update(&(field.len() as u64).to_le_bytes()).update(field);
    }
    hasher.update(&opened.to_le_bytes()).update(&opened_at_ms.to_le_bytes());
    hasher.finalize().to_hex()[..16].to_owned()
}
