//! Whether a candidate is worse than its baseline, judged while outcomes come in.
//!
//! The judge bets on which arm a bad outcome is of. Where the candidate changes nothing that is
//! as good as drawn, with a probability that is known: no bet has an advantage, and capital that
//! began as 1 reaches `1/alpha` at any time with probability at most `alpha` (Ville 1939). So the
//! capital, the *e-value*, may be looked at after every outcome and acted upon at any time; its
//! process over time is an *e-process*. Nothing is assumed of the outcomes themselves: they may
//! drift, come in bursts and depend on each other.
//!
//! Invariants:
//!
//! * Pure: no clock, no chance, no IO. The same outcomes in the same order give the same evidence,
//!   to the last bit, on every machine.
//! * Bets on a candidate being worse never pay for outcomes that are better.
//! * Every error bound holds at all times at once, however often somebody looks.
//!
//! | module | holds |
//! |---|---|
//! | [`trial`] | one rollout, judged from its first request to its last |
//! | [`settings`] | what its judge is to keep, and what it is to look for |
//! | [`outcome`] | what it is told |
//! | [`standing`] | what it shows |
//! | [`units`] | what counts: one outcome for each unit that was given to an arm by chance |
//! | [`errors`] | does the candidate fail more often? |
//! | [`latency`] | do its answers take longer? |
//! | [`proof`] | that it does not fail much more often, which a promotion may rest on |
//! | [`journal`] | what a judge was told, as bytes, to be judged again |
//! | [`arm`] | baseline and candidate, and how many bad outcomes each had at which weight |
//! | [`ratio`] | is the candidate bad more often? The bets, and their e-process in closed form |
//! | [`paired`] | the same where every request is answered by both |
//! | [`interval`] | how many times as often, as a range to show |
//! | [`excess`] | by how much more at most, which is what a pass rests on |
//! | [`family`] | one error bound for many questions |
//! | [`classic`] | Kayenta's judge over users' own metrics, which makes no such promise |

pub mod arm;
mod capital;
pub mod classic;
pub mod errors;
pub mod excess;
pub mod family;
pub mod interval;
pub mod journal;
pub mod latency;
mod logs;
pub mod outcome;
pub mod paired;
pub mod proof;
pub mod ratio;
mod realised;
pub mod settings;
pub mod standing;
mod strata;
pub mod trial;
pub mod units;
