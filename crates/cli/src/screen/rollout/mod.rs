//! Rollouts as people see them.
//!
//! | module | shows |
//! |---|---|
//! | [`model`] | a rollout as its events so far tell it |
//! | [`live`] | all of it, redrawn while somebody watches, and `umbra rollout status` |
//! | [`plain`] | one line per event that matters, for CI and pipes |
//! | [`evidence`] | both arms side by side, and the bars of the e-values |
//! | [`ending`] | why it ended and what to do next, in words for newcomers |
//! | [`list`] | a table of rollouts |
//! | [`explain`] | the whole evidence, and what happened when |
//! | [`replay`] | whether a journal's decisions come out the same |
//! | [`chart`] | the way of an e-value |
//! | [`words`] | numbers and phases in words |

pub mod chart;
pub mod ending;
pub mod evidence;
pub mod explain;
pub mod list;
pub mod live;
pub mod model;
pub mod plain;
pub mod replay;
pub mod words;

#[cfg(test)]
mod goldens;
#[cfg(test)]
mod stories;
