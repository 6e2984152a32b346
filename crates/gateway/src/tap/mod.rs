//! A virtual network tap: what passes an interface becomes exchanges. It only captures; shadows
//! that run are fed by mirrors, since a copy of somebody's segments is no connection of theirs.
//!
//! ```text
//!  interface ──tc mirred──> capture interface ──┐
//!      └───────────────── direct ───────────────┴─> ring ─> packet ─> flows ─> stream, stream
//!                                                                                └──> conversation
//!                                                                                         └──> exchanges
//! ```
//!
//! Everything that comes is counted, and what does not become an exchange is counted by its cause
//! ([`counts::Counts`]). No byte is guessed: where bytes are missing the exchange is cut, or lost.
//!
//! | module | holds |
//! |---|---|
//! | [`live`] | a tap at work on an interface |
//! | [`packet`] | one packet, to one segment |
//! | [`flows`], [`flow`], [`recent`] | connections, bounded; one of them; which was silent longest |
//! | [`stream`] | one direction of a connection, put in order |
//! | [`conversation`], [`talk`], [`head`], [`body`] | both directions as HTTP/1.1 |
//! | [`counts`] | what was counted |
//! | [`ring`], [`filter`] | the kernel's packets; which of them it gives |
//! | [`mirred`], [`tools`] | the capture interface and the rules that copy to it |

pub mod body;
pub mod conversation;
pub mod counts;
#[cfg(test)]
mod crafted;
pub mod filter;
pub mod flow;
pub mod flows;
pub mod head;
pub mod live;
pub mod mirred;
pub mod packet;
pub mod recent;
pub mod ring;
pub mod stream;
pub mod talk;
pub mod tools;

use conversation::Found;
use counts::Counts;
use flows::{Flows, Settings};
use packet::{Frame, Link, parse};

use crate::capture::Exchange;

/// What makes exchanges of packets; the kernel is not needed for it.
#[derive(Debug)]
pub struct Tap {
    link: Link,
    flows: Flows,
    counts: Counts,
}

impl Tap {
    /// One that has seen nothing.
    pub fn new(link: Link, settings: Settings) -> Self {
        Self { link, flows: Flows::new(settings), counts: Counts::default() }
    }

    /// Takes a packet. What becomes whole by it goes to `sink`.
    pub fn take(&mut self, frame: Frame<'_>, sink: &mut dyn FnMut(Exchange)) {
        let counts = &mut self.counts;
        counts.packets += 1;
        counts.bytes += frame.wire_bytes as u64;
        match parse(self.link, frame) {
            Ok(segment) => self.flows.take(&segment, frame.at_us, &mut Found { counts, sink }),
            Err(why) => counts.not_taken.count(why),
        }
    }

    /// Gives up connections that have been silent too long.
    pub fn forget_idle(&mut self, now_us: u64, sink: &mut dyn FnMut(Exchange)) {
        self.flows.forget_idle(now_us, &mut Found { counts: &mut self.counts, sink });
    }

    /// Nothing more comes.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Exchange)) {
        self.flows.finish(&mut Found { counts: &mut self.counts, sink });
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What all connections hold, in bytes.
    pub fn holds(&self) -> usize {
        self.flows.holds()
    }
}

#[cfg(test)]
mod tests;
