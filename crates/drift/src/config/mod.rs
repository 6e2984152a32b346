//! `monitoring_config.yml`: which parameters of a machine are held against its shadow.
//!
//! Four keys are enough, and a file with only these means the same for ever: the file at
//! `path`, taken as it is, is read on both sides; if both values are numbers they may be
//! `tolerance` apart, else so many lines may differ; a drift beyond has the `severity`.
//! Every other key is optional and documented in the file's JSON Schema ([`schema()`]). A
//! file is a list of parameters, or a mapping with that list under `parameters` or
//! `monitoring`.
//!
//! All mistakes are reported at once ([`Problems`]), each with its place and with what was
//! expected; there is a [`Config`] exactly if there is none.
//!
//! | `source` | the value | its keys |
//! |---|---|---|
//! | `file` (if not given) | a file, one `key` in it, or a tree (`kind: tree`, `glob`) | `path` or `glob`, `kind`, `attrs`, `format`, `key` with `format`, `view`, `rollback` |
//! | `sysctl` | settings of the kernel | `key` or `glob`, `rollback` |
//! | `command` | what a program prints | `argv`, `user`, `timeout`, `output_max`, `key` with `format` |
//! | `package` | version and status | `key`: the package |
//! | `service` | a unit, or one property | `unit`, `key`: the property |
//! | `listen` | ports that are listened on | |
//! | `mount` | what is mounted, or one fact of it | `path`: where, `key`: which fact |
//! | `memory` | how much there is | `key`: of which kind |
//! | `certificate` | when it ends, whose it is | `path`, `key`: which fact |
//! | `user` | an account | `key`: its name |
//! | `network` | addresses, routes, links | `key` |
//! | `kernel` | release, command line, modules | `key`: which |
//!
//! Some facts are gauges ([`Source::is_gauge`]): numbers that move by themselves, such as how full
//! a filesystem is. They need an `expect` or a `tolerance`, and are held against their shadow only
//! if there is a tolerance.

mod extract;
mod formats;
mod model;
mod notify;
mod number;
mod policy;
mod quoted;
mod rules;
mod schema;
mod severity;
mod shapes;
mod source;
#[cfg(test)]
mod tests;
mod tolerance;
mod words;

pub use extract::{address, notify, secret};
pub use formats::{HEADER, PERCENT, URL, percent};
pub use model::{
    Apply, Config, Confirm, Expect, History, Ignore, NoDiff, OnDrift, Parameter, Rollback,
    RollbackMode,
};
pub use notify::{Address, Dialect, Facility, Notify, Secret, SyslogAddress, Target, Token};
pub use number::Numbers;
pub use policy::{AutoRollback, Maintenance, Policy, QuietHours, Requirement};
pub(crate) use quoted::quoted;
pub use schema::schema;
pub use severity::{Provenance, Severities, Severity};
pub use shapes::{ADDRESS, HIDDEN, SINKS};
pub use source::{
    Attribute, CertificateFact, KernelFact, Key, MemoryFact, MountFact, Source, View,
};
pub use tolerance::{Comparison, Difference, Tolerance};

use std::path::Path;

use umbra_document::source::Source as Text;
use umbra_document::whole::Whole;
use umbra_document::yaml::Node;
use umbra_document::{Found, Problems, check};

/// A file may be this long.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

const DOCUMENT: Whole = Whole { noun: "drift configuration", bytes_max: FILE_BYTES_MAX };

/// Reads and checks the file at `path`.
pub fn load(path: &Path) -> Result<Config, Problems> {
    DOCUMENT.load(path, read)
}

/// Checks a text; `name` stands for its path in problems.
pub fn parse(name: &str, text: &str) -> Result<Config, Problems> {
    DOCUMENT.parse(name, text, read)
}

/// Whether the text names a unit.
pub(crate) fn is_unit(text: &str) -> bool {
    (formats::UNIT.check)(text).is_ok()
}

fn read(root: Node, _: &[Text], found: &mut Found) -> Option<Config> {
    check::check_value(&root, &shapes::ROOT, found);
    rules::check(&root, found);
    if found.has_errors() { None } else { extract::config(&root) }
}
