//! One connection as HTTP/1.1: its two directions become exchanges.
//!
//! ```text
//!             the connection begins       a gap whose end is not known
//!                       |                +-----------------------------+
//!                       v                |                             v
//!                    Reading ------------+                         Searching
//!                       |  ^                                           |
//!                       |  +--- a request right behind an answer ------+
//!                       v
//!                     Ended    ambiguous, no HTTP/1.1, changed into something else, or over
//! ```
//!
//! *Searching* is also how a connection begins that was there before the tap. It ends at a place
//! that both sides agree on: the client has acknowledged all that the server said, exactly this
//! much was seen, and the next thing the client says, at a segment's beginning, is a request.

use super::counts::{Because, Counts, LostTo};
use super::head::{begins_answer, begins_request};
use super::stream::{Chunk, News, Position};
use super::talk::Talk;
use crate::capture::Exchange;

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It asks.
    Client,
    /// It answers.
    Server,
}

/// Where it goes what is found.
pub struct Found<'a> {
    /// What is counted.
    pub counts: &'a mut Counts,
    /// Takes the exchanges.
    pub sink: &'a mut dyn FnMut(Exchange),
}

/// What is known of a connection beside the news: how far the other direction is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside {
    /// How far the other direction was acknowledged by the segment that brought the news.
    pub acknowledged: Option<Position>,
    /// How far the other direction is known.
    pub seen: Option<Position>,
}

/// See the module.
#[derive(Debug)]
pub struct Conversation {
    session: u64,
    body_bytes_max: usize,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Searching(Search),
    Reading(Box<Talk>),
    Ended,
}

/// Looking for a place to begin.
#[derive(Debug, Default)]
struct Search {
    /// The server spoke last, and so far.
    answered: Option<Position>,
    /// What it said then only told the client to go on.
    interim: bool,
}

impl Conversation {
    /// One whose beginning is seen, or not.
    pub fn new(session: u64, from_beginning: bool, body_bytes_max: usize) -> Self {
        let phase = match from_beginning {
            true => Phase::Reading(Box::new(Talk::new(session, body_bytes_max, true))),
            false => Phase::Searching(Search::default()),
        };
        Self { session, body_bytes_max, phase }
    }

    /// Takes what has become known of a side.
    pub fn hear(&mut self, side: Side, news: News<'_>, beside: Beside, found: &mut Found<'_>) {
        match news {
            News::Bytes(chunk) => self.bytes(side, chunk, beside, found),
            News::Lost(lost) => self.lost(side, lost, found),
            News::End => self.end(side, true, found),
        }
    }

    fn bytes(&mut self, side: Side, chunk: Chunk<'_>, beside: Beside, found: &mut Found<'_>) {
        if let Phase::Searching(search) = &mut self.phase {
            match search.look(side, chunk, beside) {
                Look::On => return,
                Look::Encrypted => return self.give_up(Because::Encrypted, found),
                Look::Here => {
                    let talk = Talk::new(self.session, self.body_bytes_max, false);
                    self.phase = Phase::Reading(Box::new(talk));
                }
            }
        }
        let Phase::Reading(talk) = &mut self.phase else { return };
        let read = match side {
            Side::Client => talk.asked(chunk.bytes, chunk.at_us, found),
            Side::Server => talk.answered(chunk.bytes, chunk.at_us, found),
        };
        if let Err(because) = read {
            self.give_up(because, found);
        }
    }

    fn lost(&mut self, side: Side, lost: u64, found: &mut Found<'_>) {
        let Phase::Reading(talk) = &mut self.phase else {
            if let Phase::Searching(search) = &mut self.phase {
                search.answered = None;
            }
            return;
        };
        match talk.lose(side, lost, found) {
            Ok(true) => {}
            Ok(false) => {
                found.counts.lost.count(LostTo::Gap, talk.waiting());
                self.phase = Phase::Searching(Search::default());
            }
            Err(because) => self.give_up(because, found),
        }
    }

    /// A side says no more; `cleanly` if it said so itself.
    pub fn end(&mut self, side: Side, cleanly: bool, found: &mut Found<'_>) {
        let Phase::Reading(talk) = &mut self.phase else { return };
        match side {
            Side::Client => talk.asks_no_more(),
            Side::Server => {
                talk.answers_no_more(cleanly, found);
                self.phase = Phase::Ended;
            }
        }
    }

    /// It is followed no further.
    pub fn leave(&mut self, lost: LostTo, found: &mut Found<'_>) {
        if let Phase::Reading(talk) = &self.phase {
            found.counts.lost.count(lost, talk.waiting());
        }
        self.phase = Phase::Ended;
    }

    fn give_up(&mut self, because: Because, found: &mut Found<'_>) {
        found.counts.given_up.count(because, 1);
        self.leave(LostTo::GivenUp, found);
    }

    /// What it takes up.
    pub fn holds(&self) -> usize {
        match &self.phase {
            Phase::Reading(talk) => talk.holds(),
            Phase::Searching(_) | Phase::Ended => 0,
        }
    }
}

enum Look {
    On,
    Here,
    Encrypted,
}

impl Search {
    fn look(&mut self, side: Side, chunk: Chunk<'_>, beside: Beside) -> Look {
        if chunk.fresh && is_record(chunk.bytes) {
            return Look::Encrypted;
        }
        if side == Side::Server {
            if self.answered.is_none() {
                self.interim = !chunk.fresh || chunk.bytes.starts_with(b"HTTP/1.1 1");
            }
            self.answered = Some(chunk.at + chunk.bytes.len() as u64);
            return Look::On;
        }
        let answered = self.answered.take().filter(|_| !self.interim);
        let agreed = answered.is_some()
            && beside.acknowledged == answered
            && beside.seen == answered
            && chunk.fresh
            && begins_request(chunk.bytes);
        if agreed { Look::Here } else { Look::On }
    }
}

/// Whether this begins like a record of TLS.
fn is_record(bytes: &[u8]) -> bool {
    matches!(bytes, [20..=23, 3, 0..=4, ..])
}

/// Who said this, where it can be told.
pub fn who_says(bytes: &[u8]) -> Option<Side> {
    // Of what is encrypted it does not matter, as long as somebody looks at it.
    if begins_answer(bytes) || is_record(bytes) {
        return Some(Side::Server);
    }
    begins_request(bytes).then_some(Side::Client)
}
