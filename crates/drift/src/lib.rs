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
//! | [`compare`] | readings of both sides: which differ beyond tolerance |
//! | [`format`](mod@format) | configuration files as trees of keys: read, compared, edited in place |
//! | [`reading`] | what one side says of one fact: absent, unreadable, a value |
//! | [`discrepancy`] | readings that differ beyond tolerance, and who made them so |
//! | [`file`](mod@file) | a file's content, read without harm |
//! | [`primary`] | a primary held against its known good shadow, reading by reading |
//! | [`history`] | what changed, by whom, and what with it |
//! | [`timeline`] | historical shadows, kept by content |
//! | [`watch`] | changes of files as they happen, who made them, and receipts for every gap |

pub mod compare;
pub mod config;
pub mod discrepancy;
pub mod file;
pub mod format;
pub mod history;
pub mod primary;
mod raw;
pub mod reading;
pub mod timeline;
pub mod watch;
