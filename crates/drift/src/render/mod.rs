//! Discrepancies in words: what sinks and reports have in common.
//!
//! Every byte from outside that leaves through here is escaped and cut, and values that look
//! like secrets are masked, so that no renderer has to think of it.
//!
//! | module | holds |
//! |---|---|
//! | `text` | bytes as one printable line, JSON without unprintable characters |
//! | `time` | moments and spans in words |
//! | `secret` | what looks like a secret, and is masked |
//! | `difference` | lines that went and lines that came |
//! | `who` | who made a change |
//! | `facts` | all of it about one discrepancy |
//! | `words` | what of that other crates show |

mod difference;
mod facts;
mod secret;
pub(crate) mod text;
pub(crate) mod time;
mod who;
mod words;

pub use secret::is_secret_name;
pub use words::Words;

pub(crate) use difference::Line;
pub(crate) use facts::Facts;
pub(crate) use who::{argv, program_name};

#[cfg(test)]
pub(crate) mod samples;
