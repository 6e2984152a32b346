//! Rollouts: a candidate gets requests in stages, and all of them or none in the end.
//!
//! A document says how ([`spec`]), a pure state machine says what comes next ([`controller`]).
//! What is to be done comes out as values; who does it (the daemon) tells how it went.
//!
//! Invariants:
//! * the controller is pure: no clock, no chance, no IO; the same events at the same times give the same rollout;
//! * never a pass without evidence: a stage ends when enough requests of the candidate were seen
//!   for long enough, or when it is proved, or when a person says so;
//! * nobody, and no command, leads past what was found worse;
//! * however it fails, everything goes to the baseline before anything of it is taken away;
//! * what cannot be seen holds: no answer is never a good one.
//!
//! | module | holds |
//! |---|---|
//! | [`spec`] | `rollout.yaml`: the steps, what judges, what holds, who is told |
//! | [`controller`] | from what happened to what is to be done |
//! | [`analysis`] | measurements beside the judge: queries, conditions, counting |
//! | [`hooks`] | who is asked or told over HTTP, and what the answer means |
//! | [`judged`] | what the judge says, on the wire |
//! | [`fetch`] | the seam to servers of the outside world |

pub mod analysis;
pub mod controller;
pub mod fetch;
pub mod hooks;
pub mod judged;
mod secret;
pub mod spec;
mod words;
