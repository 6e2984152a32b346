//! What people see, as pure functions from events and answers to lines.
//!
//! | module | shows |
//! |---|---|
//! | [`model`] | a build as its events so far tell it |
//! | [`plain`] | one line per event that matters, for CI and pipes |
//! | [`live`] | the whole build, redrawn while somebody watches |
//! | [`failure`] | what failed and what can be entered |
//! | [`summary`] | the table and the figures at the end |
//! | [`lists`] | tables of builds, images, shadows, timelines |
//! | [`difference`] | what differs between two states |
//! | [`primaries`], [`drift`], [`rollback`], [`rehearsal`], [`forecast`] | machines under care |
//! | [`instances`] | what runs services for their users |
//! | [`gateway`], [`compare`] | the gateway and its mirrors, and how their answers differ |
//! | [`listening`] | the side of it that clients see |
//! | [`capture`], [`replay`] | captures, what is in files, and what replays showed |
//! | [`rollout`] | rollouts: the live screen, lines, the evidence, replays |
//! | [`tap`] | what passed an interface |
//! | [`units`] | times and sizes |

pub mod capture;
pub mod compare;
pub mod difference;
pub mod doctor;
pub mod drift;
pub mod failure;
pub mod forecast;
pub mod gateway;
pub mod instances;
pub mod listening;
pub mod lists;
pub mod live;
pub mod model;
pub mod plain;
pub mod primaries;
pub mod rehearsal;
pub mod replay;
pub mod rollback;
pub mod rollout;
pub mod summary;
pub mod tap;
pub mod units;

#[cfg(test)]
mod goldens;

use umbra_state::Verdict;
use umbra_state::escape::{escape, escape_output};

use crate::ui::Paint;

/// A name or sentence from outside, as one safe line.
pub fn safe(text: &str) -> String {
    escape(text.as_bytes()).to_string()
}

/// A text from outside that may have lines; those after the first are indented.
pub fn safe_lines(text: &str) -> String {
    escape_output(text.trim_end().as_bytes()).to_string().replace('\n', "\n  ")
}

/// A verdict as a word in capitals, which is what one greps for.
pub fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "PASS",
        Verdict::Fail => "FAIL",
        Verdict::Inconclusive => "INCONCLUSIVE",
    }
}

/// The same with colour added.
pub fn painted_verdict(verdict: Verdict, paint: Paint) -> String {
    let word = verdict_word(verdict);
    match verdict {
        Verdict::Pass => paint.good(word),
        Verdict::Fail => paint.bad(word),
        Verdict::Inconclusive => paint.warn(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_lines_and_nothing_else_gets_through() {
        assert_eq!(safe_lines("it said:\nE: no\x1b[2J\n"), "it said:\n  E: no\\u{1b}[2J");
    }
}
