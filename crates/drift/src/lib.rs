//! Drift: a machine's configuration held against a known good one.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | `monitoring_config.yml`: which parameters, how far they may differ, what then |

pub mod config;
