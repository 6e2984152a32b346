//! The connections that are followed: a bounded number with bounded contents. The one that was
//! silent longest goes first.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use super::conversation::Found;
use super::counts::LostTo;
use super::flow::{Fate, Flow, Key};
use super::packet::Segment;
use super::recent::Recent;
use crate::fraction::Fraction;

/// What may be followed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Ports of servers; none are all.
    pub ports: Vec<u16>,
    /// The part of the connections that is followed.
    pub fraction: Fraction,
    /// Connections at once.
    pub flows_max: usize,
    /// Bytes that all of them hold together.
    pub memory_bytes_max: usize,
    /// Bytes of a body that are kept.
    pub body_bytes_max: usize,
    /// How long a connection may be silent.
    pub idle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ports: Vec::new(),
            fraction: Fraction::ALL,
            flows_max: 65_536,
            memory_bytes_max: 64 << 20,
            body_bytes_max: 1 << 20,
            idle: Duration::from_secs(300),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Flows {
    settings: Settings,
    known: HashMap<Key, usize>,
    flows: Recent<Followed>,
    holds: usize,
    /// Chooses connections: of one all segments are, or none.
    chooser: RandomState,
    sessions: u64,
    now_us: u64,
}

#[derive(Debug)]
struct Followed {
    key: Key,
    flow: Flow,
    holds: usize,
    last_us: u64,
}

impl Flows {
    /// None yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            known: HashMap::new(),
            flows: Recent::default(),
            holds: 0,
            chooser: RandomState::new(),
            sessions: 0,
            now_us: 0,
        }
    }

    /// Takes a segment.
    pub fn take(&mut self, segment: &Segment<'_>, at_us: u64, found: &mut Found<'_>) {
        let ports = &self.settings.ports;
        if !ports.is_empty()
            && ![segment.from, segment.to].iter().any(|end| ports.contains(&end.port))
        {
            found.counts.not_taken.other_port += 1;
            return;
        }
        let (key, from) = Key::of(segment);
        if !self.settings.fraction.holds(self.chooser.hash_one(key)) {
            found.counts.not_taken.not_chosen += 1;
            return;
        }
        self.now_us = self.now_us.max(at_us);
        if let Some(at) = self.find(key, from, segment, found) {
            let Some(followed) = self.flows.touch(at) else { return };
            followed.last_us = self.now_us;
            let fate = followed.flow.take(from, segment, at_us, found);
            self.holds -= followed.holds;
            followed.holds = followed.flow.holds();
            self.holds += followed.holds;
            if fate == Fate::Closed {
                self.remove(at, LostTo::Unfinished, found);
            }
        }
        self.make_room(found);
    }

    /// Where the segment's connection is; a new one if it is one.
    fn find(
        &mut self,
        key: Key,
        from: usize,
        segment: &Segment<'_>,
        found: &mut Found<'_>,
    ) -> Option<usize> {
        if let Some(&at) = self.known.get(&key) {
            let replaced =
                self.flows.get(at).is_some_and(|known| known.flow.is_replaced_by(from, segment));
            if !replaced {
                return Some(at);
            }
            self.remove(at, LostTo::Unfinished, found);
        }
        // An acknowledgement says nothing, and may be the last of a connection that is over.
        if segment.rst || !segment.syn && segment.payload.is_empty() {
            return None;
        }
        self.sessions += 1;
        let Settings { ports, body_bytes_max, .. } = &self.settings;
        let flow = Flow::new(self.sessions, &key, segment, ports, *body_bytes_max);
        found.counts.flows.seen += 1;
        found.counts.flows.joined += u64::from(!segment.syn);
        let at = self.flows.add(Followed { key, flow, holds: 0, last_us: self.now_us });
        self.known.insert(key, at);
        Some(at)
    }

    fn make_room(&mut self, found: &mut Found<'_>) {
        while self.known.len() > self.settings.flows_max
            || self.holds > self.settings.memory_bytes_max
        {
            let Some(oldest) = self.flows.oldest() else { break };
            found.counts.flows.evicted += 1;
            self.remove(oldest, LostTo::Evicted, found);
        }
        self.forget_idle(self.now_us, found);
    }

    /// Gives up what has been silent too long.
    pub fn forget_idle(&mut self, now_us: u64, found: &mut Found<'_>) {
        let idle_us = u64::try_from(self.settings.idle.as_micros()).unwrap_or(u64::MAX);
        while let Some(oldest) = self.flows.oldest()
            && let Some(followed) = self.flows.get(oldest)
            && now_us.saturating_sub(followed.last_us) > idle_us
        {
            found.counts.flows.idle += 1;
            self.remove(oldest, LostTo::Idle, found);
        }
        found.counts.flows.open = self.known.len() as u64;
    }

    /// Follows nothing any more.
    pub fn finish(&mut self, found: &mut Found<'_>) {
        while let Some(oldest) = self.flows.oldest() {
            self.remove(oldest, LostTo::Unfinished, found);
        }
        found.counts.flows.open = 0;
    }

    fn remove(&mut self, at: usize, lost: LostTo, found: &mut Found<'_>) {
        if let Some(mut followed) = self.flows.remove(at) {
            followed.flow.leave(lost, found);
            self.holds -= followed.holds;
            self.known.remove(&followed.key);
        }
    }

    /// What all of them hold.
    pub fn holds(&self) -> usize {
        self.holds
    }
}
