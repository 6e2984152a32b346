//! Tests on shadows, and the reports of what they saw.
//!
//! A [`Test`] is one expectation about a shadow. [`select()`] decides which tests a delta
//! calls for, [`run_test`] looks at one [`Target`] and returns a [`TestReport`];
//! [`report`] writes those for people and machines.
//!
//! Invariants of this crate:
//! * it starts no shadow: it is given a [`Target`], and what a shadow answers, prints or
//!   holds on disk is outside input: parsed strictly, bounded, escaped before it is shown;
//! * *could not look* ([`ProbeError`]) and *looked, and it is bad*
//!   ([`Verdict::Fail`](umbra_state::Verdict)) never merge: the first makes a report
//!   `Inconclusive` and fills its `error`, the second comes with evidence;
//! * no evidence is never a pass: an empty test plan, a load run with too few samples or a
//!   scan without a tree to look at is `Inconclusive`;
//! * files of a shadow are read through its root directory only (`openat2` with
//!   `RESOLVE_IN_ROOT`), so no link inside leads to a file of the host;
//! * a secret that a scan finds is never part of a report.
//!
//! | module | holds |
//! |---|---|
//! | [`spec`] | checked specifications: [`Test`], [`Check`] and their parts |
//! | [`select`](mod@select) | which tests a delta calls for, which keep their verdict, and why |
//! | [`target`] | [`Target`], [`ProbeError`], [`DirTarget`], reading below a shadow's root |
//! | [`runner`] | [`run_test`], [`Context`]: attempts, time limits |
//! | [`report`] | [`TestReport`]; JUnit XML, JSON, SARIF, annotations |
//! | [`check`] | the checks: run (TAP, JUnit), http, goss, load, security, openscap, lynis |
//! | [`pattern`] | globs, regular expressions and text matches |

pub mod check;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod pattern;
pub mod report;
pub mod runner;
pub mod select;
pub mod spec;
pub mod target;
#[cfg(test)]
mod test_server;

pub use pattern::{Globs, Pattern, TextMatch};
pub use report::{Metric, TestReport};
pub use runner::{Context, run_test};
pub use select::{Action, History, Selection, select};
pub use spec::{After, Check, Test};
pub use target::{DirTarget, ProbeError, Target};
