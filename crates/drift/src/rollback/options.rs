//! How a rollback is carried out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::plan::Confirmation;

/// How a rollback is carried out; kept in its journal, so that whoever ends it does as whoever
/// began it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Its name; letters, digits and `-`.
    pub id: String,
    /// Where the primary's files are: `/` for this machine.
    pub root: PathBuf,
    /// Whether `root` is a running machine: there are settings of its kernel and services.
    pub is_machine: bool,
    /// Where the kernel's settings are.
    pub settings: PathBuf,
    /// Begin although a package manager is at work.
    pub ignore_packages: bool,
    /// Write over files that have further names, which change with them.
    pub write_hard_links: bool,
    /// When it is undone if nobody says otherwise, and what says otherwise. The plan's wishes
    /// count where this has none.
    pub confirm: Option<Confirmation>,
    /// What `{host}` stands for in addresses.
    pub host: String,
    /// How long a command that validates may run.
    pub validate_timeout_ms: u64,
    /// How long a command that makes a change count may run.
    pub activate_timeout_ms: u64,
    /// How long probes may fail before they have failed.
    pub probe_timeout_ms: u64,
}

/// How long there is to confirm if nothing else is said.
pub(super) const CONFIRM_TIMEOUT_MS: u64 = 120_000;

impl Options {
    /// The usual ones for this machine.
    pub fn machine(id: &str) -> Self {
        Self { is_machine: true, ..Self::directory(id, PathBuf::from("/")) }
    }

    /// The usual ones for a root directory that is no running machine.
    pub fn directory(id: &str, root: PathBuf) -> Self {
        Self {
            id: id.to_owned(),
            root,
            is_machine: false,
            settings: PathBuf::from("/proc/sys"),
            ignore_packages: false,
            write_hard_links: false,
            confirm: None,
            host: "127.0.0.1".to_owned(),
            validate_timeout_ms: 10_000,
            activate_timeout_ms: 60_000,
            probe_timeout_ms: 10_000,
        }
    }
}
