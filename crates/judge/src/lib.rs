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
//! * Pure: no clock, no chance, no IO. The same outcomes give the same evidence, in any order.
//! * Every error bound holds at all times at once, however often somebody looks.
//!
//! | module | holds |
//! |---|---|
//! | [`arm`] | baseline and candidate, and how many bad outcomes each had at which weight |
//! | [`ratio`] | is the candidate bad more often? The bets, and their e-process |
//! | [`paired`] | the same where every request is answered by both |
//! | [`interval`] | how many times as often, as a range to show |
//! | [`excess`] | by how much more at most, which is what a pass rests on |
//! | [`family`] | one error bound for many questions |

pub mod arm;
pub mod excess;
pub mod family;
pub mod interval;
mod logs;
pub mod paired;
pub mod ratio;
