//! The lives of all items.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use umbra_api::blob::Blob;

use super::life::{Life, Outcome};
use super::value::{Alert, Ended, Key};
use crate::config::Severity;
use crate::discrepancy::{Attribution, Discrepancy};
use crate::reading::Item;

/// What is known of every item that differs or did so lately.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Book {
    lives: BTreeMap<Key, Life>,
    /// How many of them differ, by how bad that is.
    open: BTreeMap<Severity, u64>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A comparison found a discrepancy.
    Differs(Box<Differs>),
    /// A comparison found none, or there will be no more.
    Agrees {
        /// The machine.
        primary: String,
        /// Which of its facts.
        item: Item,
        /// What made it so.
        ended: Ended,
    },
    /// Time passed. Expected about every second; nothing is lost where it comes later.
    Tick,
}

/// A discrepancy of a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Differs {
    /// The machine.
    pub primary: String,
    /// What differs.
    pub discrepancy: Discrepancy,
    /// Who made it so; `None` if nothing is known.
    pub attribution: Option<Attribution>,
    /// The path it is about, if it is about one.
    pub path: Option<Blob>,
}

/// What is to be done. All effects of one event belong into one transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Keep this in place of what was kept under its key.
    Save(Box<Life>),
    /// Drop what was kept under this key.
    Forget(Key),
    /// Tell every sink that wants it.
    Tell(Box<Alert>),
}

impl Book {
    /// From what was kept.
    pub fn restore(lives: impl IntoIterator<Item = Life>) -> Self {
        let lives: BTreeMap<Key, Life> =
            lives.into_iter().map(|life| (life.key.clone(), life)).collect();
        let mut open = BTreeMap::new();
        for life in lives.values() {
            count(&mut open, None, standing(life));
        }
        Self { lives, open }
    }

    /// What follows from an event.
    pub fn on(&mut self, event: Event, now_ms: i64) -> Vec<Effect> {
        match event {
            Event::Differs(found) => {
                let item = found.discrepancy.item.clone();
                let key = Key { primary: found.primary.clone(), item };
                let life = self.lives.entry(key.clone()).or_insert_with(|| Life::new(key));
                let before = standing(life);
                let outcome = life.on_differs(*found, now_ms);
                count(&mut self.open, before, standing(life));
                effects(life, outcome)
            }
            Event::Agrees { primary, item, ended } => {
                let key = Key { primary, item };
                let Some(life) = self.lives.get_mut(&key) else { return Vec::new() };
                let before = standing(life);
                let outcome = life.on_agrees(ended, now_ms);
                count(&mut self.open, before, standing(life));
                let effects = effects(life, outcome);
                self.drop_forgotten(&effects);
                effects
            }
            Event::Tick => {
                let Self { lives, open } = self;
                let ticked = lives.values_mut().flat_map(|life| {
                    let before = standing(life);
                    let outcome = life.on_tick(now_ms);
                    count(open, before, standing(life));
                    effects(life, outcome)
                });
                let effects: Vec<Effect> = ticked.collect();
                self.drop_forgotten(&effects);
                effects
            }
        }
    }

    /// Every life.
    pub fn lives(&self) -> impl Iterator<Item = &Life> {
        self.lives.values()
    }

    /// The alerts of all items whose last comparison was a discrepancy.
    pub fn open(&self) -> impl Iterator<Item = &Alert> {
        self.lives().filter(|life| life.differs()).filter_map(Life::alert)
    }

    /// How many of them there are, by severity; known without counting.
    pub fn open_counts(&self) -> &BTreeMap<Severity, u64> {
        &self.open
    }

    /// What is known of an item.
    pub fn get(&self, key: &Key) -> Option<&Life> {
        self.lives.get(key)
    }

    fn drop_forgotten(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Forget(key) = effect {
                self.lives.remove(key);
            }
        }
    }
}

/// How bad it is, if it differs.
fn standing(life: &Life) -> Option<Severity> {
    let alert = life.alert().filter(|_| life.differs());
    alert.map(|alert| alert.discrepancy.severity)
}

fn count(open: &mut BTreeMap<Severity, u64>, before: Option<Severity>, after: Option<Severity>) {
    if before == after {
        return;
    }
    if let Some(severity) = after {
        *open.entry(severity).or_default() += 1;
    }
    if let Some(severity) = before
        && let Entry::Occupied(mut entry) = open.entry(severity)
    {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

fn effects(life: &Life, outcome: Outcome) -> Vec<Effect> {
    let save = || Effect::Save(Box::new(life.clone()));
    match outcome {
        Outcome::Nothing => Vec::new(),
        Outcome::Saved => vec![save()],
        Outcome::Told(alert) => vec![save(), Effect::Tell(alert)],
        Outcome::Forgotten => vec![Effect::Forget(life.key.clone())],
    }
}
