//! Simulated users, learned from a capture: what its sessions did, how often, and how long they
//! thought.
//!
//! Sessions that did the same are one journey, whose weight is their number. The same is: methods
//! and paths in order, where what looks like an id, and the values of queries, may differ. An id
//! that an earlier answer of the session holds is taken from there (`extract`); for that the
//! capture must have answers. What a scenario cannot say leaves its session out, and is counted.
//!
//! | module | holds |
//! |---|---|
//! | [`request`] | one request as a scenario has it |
//! | [`values`] | what answers hold that later requests have |
//! | [`mod@write`] | the scenario as a file |

pub mod request;
pub mod values;
pub mod write;

use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;

use serde::Serialize;

use self::request::{Request, Unfit};
use self::values::Known;
use crate::capture::{Exchange, ReadError, Source};

/// Bytes of a capture that are looked at, about.
const BYTES_MAX: usize = 512 << 20;
/// Requests of a journey, and journeys of a scenario: what a recipe takes.
const REQUESTS_MAX: usize = 100;
const JOURNEYS_MAX: usize = 50;
/// Who does nothing for so long begins anew.
const PAUSE_US: u64 = 600_000_000;

/// What one kind of user does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Journey {
    /// What people call it.
    pub name: String,
    /// How many sessions did it.
    pub weight: u64,
    /// Its requests, one after the other.
    pub requests: Vec<Request>,
}

/// What a capture's sessions did.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Learned {
    /// How many sessions there were.
    pub sessions: u64,
    /// How many of them are in a journey.
    pub used: u64,
    /// How many did what too few others did.
    pub rare: u64,
    /// How many are left out, by cause.
    pub unfit: BTreeMap<Unfit, u64>,
    /// How many were longer than a journey may be: the rest of them is left out.
    pub shortened: u64,
    /// Whether the capture is longer than what is looked at.
    pub part_only: bool,
    /// Sessions per second: a rate to begin with.
    pub per_second: f64,
    /// What they did, most frequent first.
    pub journeys: Vec<Journey>,
}

/// Learns from a capture.
///
/// # Errors
/// It is damaged, or the kernel refuses.
pub fn learn<R: BufRead>(source: &mut Source<R>) -> Result<Learned, ReadError> {
    let mut learned = Learned::default();
    let mut all = Vec::new();
    let mut bytes = 0;
    while let Some(exchange) = source.next_exchange()? {
        bytes += exchange.bytes();
        if bytes > BYTES_MAX {
            learned.part_only = true;
            break;
        }
        all.push(exchange);
    }
    all.sort_by_key(|exchange| exchange.began_us);
    let (first, last) = (all.first().map(|one| one.began_us), all.last().map(|one| one.began_us));
    let mut groups: HashMap<String, Group> = HashMap::new();
    for session in sessions(all) {
        learned.sessions += 1;
        learned.shortened += u64::from(session.len() > REQUESTS_MAX);
        match requests(&session[..session.len().min(REQUESTS_MAX)]) {
            Ok((requests, thinks)) => {
                let key: String = requests.iter().map(|one| format!("{}\n", one.kind)).collect();
                groups.entry(key).or_insert_with(|| Group::new(requests)).add(thinks);
            }
            Err(why) => *learned.unfit.entry(why).or_default() += 1,
        }
    }
    let seconds = first.zip(last).map_or(0.0, |(first, last)| (last - first) as f64 / 1e6);
    learned.per_second = learned.sessions as f64 / seconds.max(1.0);
    take_most(groups, &mut learned);
    Ok(learned)
}

fn take_most(groups: HashMap<String, Group>, learned: &mut Learned) {
    let mut groups: Vec<(String, Group)> = groups.into_iter().collect();
    groups.sort_by(|(a, left), (b, right)| (right.count, a).cmp(&(left.count, b)));
    for (_, group) in groups {
        if learned.journeys.len() == JOURNEYS_MAX {
            learned.rare += group.count;
            continue;
        }
        learned.used += group.count;
        learned.journeys.push(group.journey());
    }
}

/// Exchanges by session, and by pause.
fn sessions(all: Vec<Exchange>) -> Vec<Vec<Exchange>> {
    let mut places: HashMap<u64, usize> = HashMap::new();
    let mut sessions: Vec<Vec<Exchange>> = Vec::new();
    for exchange in all {
        let place = places.get(&exchange.session).copied().filter(|&place| {
            let last = sessions[place].last().map_or(0, |last| last.began_us);
            exchange.began_us - last < PAUSE_US
        });
        match place {
            Some(place) => sessions[place].push(exchange),
            None => {
                places.insert(exchange.session, sessions.len());
                sessions.push(vec![exchange]);
            }
        }
    }
    sessions
}

/// A session's requests, and how long it thought before each, in microseconds.
fn requests(session: &[Exchange]) -> Result<(Vec<Request>, Vec<u64>), Unfit> {
    let (mut requests, mut thinks) = (Vec::<Request>::new(), Vec::new());
    let mut known = Known::default();
    let mut answered_us = session.first().map_or(0, |first| first.began_us);
    for (index, exchange) in session.iter().enumerate() {
        let (request, taken) = Request::of(exchange, &known)?;
        for value in taken {
            let from = &mut requests[value.request].extract;
            if !from.iter().any(|one| one.name == value.extract.name) {
                from.push(value.extract);
            }
        }
        requests.push(request);
        thinks.push(exchange.began_us.saturating_sub(answered_us));
        let after_us = exchange.answer.as_ref().map_or(0, |answer| answer.after_us);
        answered_us = exchange.began_us.saturating_add(after_us);
        known.learn(index, exchange);
    }
    Ok((requests, thinks))
}

/// Sessions that did the same.
struct Group {
    count: u64,
    requests: Vec<Request>,
    /// Before each request, of every session.
    thinks: Vec<Vec<u64>>,
}

impl Group {
    fn new(requests: Vec<Request>) -> Self {
        let thinks = vec![Vec::new(); requests.len()];
        Self { count: 0, requests, thinks }
    }

    fn add(&mut self, thinks: Vec<u64>) {
        self.count += 1;
        for (all, one) in self.thinks.iter_mut().zip(thinks) {
            all.push(one);
        }
    }

    fn journey(self) -> Journey {
        let mut requests = self.requests;
        for (request, mut thinks) in requests.iter_mut().zip(self.thinks) {
            thinks.sort_unstable();
            request.think_ms = thinks.get(thinks.len() / 2).map_or(0, |us| us / 1000);
        }
        let first = requests.first().map_or("", |request| request.kind.as_str());
        let more = match requests.len() {
            0 | 1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        let name: String = first.chars().map(plain).take(60).collect();
        Journey { name: name + &more, weight: self.count, requests }
    }
}

#[cfg(test)]
mod tests;
