//! Drift: a machine's configuration held against a known good one.
//!
//! Invariants of this crate:
//! * every byte it reads is hostile: bounded, never a panic, linear time;
//! * what cannot be understood is compared as text, what cannot be read is said, nothing is
//!   skipped in silence.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | `monitoring_config.yml`: which parameters, how far they may differ, what then |
//! | [`defaults`] | a configuration for a machine nobody has written one for |
//! | [`import`](mod@import) | a configuration out of another tool's |
//! | [`collect`] | every parameter of a machine or a root directory, read |
//! | [`file`](mod@file) | a file's content, read without harm |
//! | [`certificate`] | certificates in a file: when they end, whose they are |
//! | [`attributes`] | mode, owner, access lists and the like as values |
//! | [`reading`] | what one side says of one fact: absent, unreadable, a value |
//! | [`format`](mod@format) | configuration files as trees of keys: read, compared, edited in place |
//! | [`compare`] | readings of both sides: which differ beyond tolerance |
//! | [`discrepancy`] | readings that differ beyond tolerance, and who made them so |
//! | [`primary`] | a primary held against its known good shadow, reading by reading |
//! | [`watch`] | changes of files as they happen, who made them, and receipts for every gap |
//! | [`history`] | what changed, by whom, and what with it |
//! | [`timeline`] | historical shadows, kept by content |
//! | [`forecast`] | when a number that moves will be where it must not be |
//! | [`alert`] | what is told of discrepancies, when, and when there is quiet |
//! | [`sink`] | where alerts go: documents, the outbox, deliveries |
//! | [`report`] | one comparison of a whole machine, in six formats, and exit codes |
//! | [`render`] | discrepancies in words; what looks like a secret |
//! | [`metrics`] | counters that survive a restart |
//! | [`rollback`] | plans to an earlier value, and what carries them out |
//! | [`policy`] | when a drift is rolled back without asking |
//! | [`remote`] | a primary on another machine: how ssh gets there |
//! | [`wire`] | what the daemon and an agent say to each other |
//! | [`service`] | what people and programs ask a daemon about drift |

pub mod alert;
pub mod attributes;
pub mod certificate;
pub mod collect;
pub mod compare;
pub mod config;
pub mod defaults;
pub mod discrepancy;
pub mod file;
pub mod forecast;
pub mod format;
pub mod history;
pub mod import;
pub mod metrics;
pub mod policy;
pub mod primary;
mod raw;
pub mod reading;
pub mod remote;
pub mod render;
pub mod report;
pub mod rollback;
pub mod service;
pub mod sink;
pub mod timeline;
pub mod watch;
pub mod wire;
