//! Collecting: every parameter of a configuration, read at a [`Place`].
//!
//! ```text
//! config ──> Collector ──┬─ sources: file, sysctl, command, package, ... ──┐
//!                        └─ trees, walked relative to open directories ────┴──> readings
//! ```
//!
//! Invariants:
//! * a reading never fails: what is not there is absent, what nobody knows is unreadable and
//!   says why;
//! * nothing that lies at a path is waited for or woken, nothing leads out of the place, and
//!   every size, depth, number and time has a bound;
//! * what is secret ([`nodiff`](crate::config::NoDiff), files that hold secrets on every machine,
//!   private keys wherever they are) leaves as a digest only;
//! * no program is run by a shell, and none outlives its reading.
//!
//! # What values look like
//!
//! | source | at a machine | in a directory |
//! |---|---|---|
//! | file, tree | the bytes, up to [`KEEP_BYTES_MAX`], beyond that their digest | the same |
//! | `view: effective` | `sshd -T`, `/proc/sys`, `systemctl show` | `sshd -T` in it; else unreadable |
//! | `view: both` | two facts, `declared` and `effective` | the same |
//! | sysctl | the kernel's | what `sysctl.d` declares, absent if nothing |
//! | command | its output | its output with the directory as its root, read-only |
//! | package | `VERSION ARCHITECTURE STATUS`, a line for each architecture | the same |
//! | service | what `systemctl show` says | `UnitFileState=`, as links and files declare |
//! | user | `uid`, `gid`, `groups`, `home`, `shell`, a line each | the same |
//! | listen | `tcp 0.0.0.0:22`, a line each | unreadable |
//! | mount | `SOURCE POINT TYPE OPTIONS`, a line each; one fact of one | unreadable, but how much room is where something is mounted |
//! | memory | a number of bytes or percents | unreadable |
//! | certificate | days, a time, a name or a digest | the same |
//! | network | `eth0 10.0.0.2/24`; `default via 10.0.0.1 dev eth0` | unreadable |
//! | kernel | its own words; modules as a set of names | unreadable |
//!
//! A service of a machine without systemd reads as in a directory.
//!
//! A file is what its path leads to, with the [attributes](crate::attributes) of that; `link` is set if the path
//! itself is one. In a tree a link is itself. Trees end where another filesystem begins that
//! shows the kernel's or another machine's files, and [`DEPTH_MAX`] directories deep.
//!
//! | module | holds |
//! |---|---|
//! | [`show`](mod@show) | attributes as people read them |
//! | [`packages`] | whether a file is what an installed package ships |

mod accounts;
mod attributes;
mod certificate;
mod collector;
mod command;
mod content;
mod context;
mod effective;
mod entry;
mod file_source;
mod globs;
mod kernel;
mod keyed;
mod listen;
mod memory;
mod mount;
mod netlink;
mod network;
mod package;
pub mod packages;
mod place;
mod room;
mod secret;
mod service;
pub mod show;
mod source;
mod sysctl;
mod tree;
mod user;

use std::path::PathBuf;

pub use collector::Collector;
pub use content::{DIGEST_BYTES_MAX, KEEP_BYTES_MAX};
pub use context::KEPT_BYTES_MAX;
pub(crate) use entry::real_path;
pub use place::Place;
pub use tree::{DEPTH_MAX, ENTRIES_MAX};

/// Why nothing can be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The root cannot be opened.
    #[error("open the root {path:?}")]
    Place {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A pattern cannot be compiled.
    #[error("compile the patterns of the parameter `{name}`")]
    Pattern {
        /// The parameter's name.
        name: String,
        /// What is wrong with it.
        source: globset::Error,
    },
}
