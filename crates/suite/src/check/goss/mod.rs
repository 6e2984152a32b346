//! goss files as they are: resources of a machine and what should be true of them.
//!
//! A file becomes a list of [`Resource`]s ([`GossFile::parse`], [`GossFile::load`]); every
//! attribute has a matcher. Looking happens in two halves that never mix: `observe` asks the
//! shadow for facts, `matcher` compares. Files, packages, users and groups are read through
//! the shadow's root and need nothing to run in it ([`GossFile::is_static`]).

mod accounts;
mod commands;
mod files;
mod gjson;
mod kernel;
mod load;
mod matcher;
mod meets;
mod network;
mod packages;
mod parse;
mod schema;
mod services;
mod value;
mod versions;
mod world;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use umbra_state::Evidence;
use umbra_state::escape::escape;

use super::{Outcome, seen};
use crate::runner::Context;
use crate::target::{ProbeError, Target, chain};
use value::{Node, Value};
use world::World;

#[cfg(feature = "fuzzing")]
pub(crate) use accounts::parse_group;
pub(crate) use accounts::parse_passwd;
pub use load::GossLoadError;
pub use matcher::Matcher;
pub(crate) use network::{Listener, SOCKETS_SCRIPT, parse_sockets};
#[cfg(feature = "fuzzing")]
pub(crate) use packages::count as count_packages;
pub use parse::{GossProblem, PROBLEMS_MAX};

/// A whole goss file, includes and all.
#[derive(Debug, Clone, PartialEq)]
pub struct GossFile {
    /// What it speaks of, in the order of the file.
    pub resources: Vec<Resource>,
}

/// One thing of a machine and what should be true of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// What it is.
    pub kind: Kind,
    /// Which one: the key in the file, or what an attribute names instead.
    pub id: String,
    /// Whether to pass it over.
    pub skip: bool,
    /// What should be true, by attribute.
    pub attributes: BTreeMap<&'static str, Matcher>,
    options: BTreeMap<&'static str, Node>,
}

/// The kinds of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A path.
    File,
    /// A Debian package.
    Package,
    /// A systemd or init service.
    Service,
    /// A user in `etc/passwd`.
    User,
    /// A group in `etc/group`.
    Group,
    /// A port somebody listens on.
    Port,
    /// A process.
    Process,
    /// A command.
    Command,
    /// An HTTP request.
    Http,
    /// A name to resolve.
    Dns,
    /// A mount point.
    Mount,
    /// A sysctl.
    KernelParam,
    /// A network interface.
    Interface,
    /// An address to connect to.
    Addr,
    /// A value given in the file itself.
    Matching,
}

/// What was observed about one resource, by attribute.
type Facts = BTreeMap<&'static str, Actual>;

/// A fact: a value, or text that is matched line by line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Actual {
    Value(Value),
    Lines(Vec<u8>),
}

impl Actual {
    fn text(text: impl Into<String>) -> Self {
        Self::Value(Value::Text(text.into()))
    }

    fn number(number: impl Into<f64>) -> Self {
        Self::Value(Value::Number(number.into()))
    }

    fn list<S: Into<String>>(texts: impl IntoIterator<Item = S>) -> Self {
        let texts = texts.into_iter().map(|text| Value::Text(text.into()));
        Self::Value(Value::List(texts.collect()))
    }
}

impl From<bool> for Actual {
    fn from(value: bool) -> Self {
        Self::Value(Value::Bool(value))
    }
}

impl GossFile {
    /// Whether all of it can be seen in the files of a state, without anything running.
    pub fn is_static(&self) -> bool {
        let is_static = |resource: &Resource| {
            use Kind::{File, Group, Matching, Package, User};
            resource.skip || matches!(resource.kind, File | Package | User | Group | Matching)
        };
        self.resources.iter().all(is_static)
    }
}

impl Resource {
    fn option(&self, name: &str) -> Option<&Node> {
        self.options.get(name)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.option(name).and_then(|node| node.value.scalar_text())
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.option(name).map(|node| &node.value), Some(Value::Bool(true)))
    }

    /// A time in milliseconds, as goss writes them.
    fn millis(&self, name: &str) -> Option<Duration> {
        match self.option(name)?.value {
            Value::Number(ms) if ms >= 0.0 => Some(Duration::from_millis(ms as u64)),
            _ => None,
        }
    }

    fn wants(&self, attribute: &str) -> bool {
        self.attributes.contains_key(attribute)
    }
}

pub(super) fn look(
    file: &GossFile,
    target: &dyn Target,
    context: &Context<'_>,
    deadline: Instant,
) -> Outcome {
    let world = World::new(target, deadline);
    let mut outcome = Outcome::default();
    for resource in file.resources.iter().filter(|resource| !resource.skip) {
        if context.is_cancelled() {
            outcome.errors.push(chain(&ProbeError::Cancelled));
            break;
        }
        if Instant::now() >= deadline {
            let said = "the test's time was over before this was looked at";
            outcome.evidence.push(seen(false, subject(resource, ""), said, None));
            break;
        }
        match observe(resource, &world) {
            Ok(facts) => outcome.evidence.extend(judge(resource, &facts)),
            Err(error) => {
                outcome.errors.push(format!("{} ({})", chain(&error), subject(resource, "")));
            }
        }
    }
    outcome
}

fn observe(resource: &Resource, world: &World<'_>) -> Result<Facts, ProbeError> {
    match resource.kind {
        Kind::File => files::observe(resource, world),
        Kind::Package => packages::observe(resource, world),
        Kind::Service => services::observe(resource, world),
        Kind::User => accounts::observe_user(resource, world),
        Kind::Group => accounts::observe_group(resource, world),
        Kind::Port => network::observe_port(resource, world),
        Kind::Process => kernel::observe_process(resource, world),
        Kind::Command => commands::observe_command(resource, world),
        Kind::Http => commands::observe_http(resource, world),
        Kind::Dns => network::observe_dns(resource, world),
        Kind::Mount => kernel::observe_mount(resource, world),
        Kind::KernelParam => kernel::observe_parameter(resource, world),
        Kind::Interface => network::observe_interface(resource, world),
        Kind::Addr => network::observe_addr(resource, world),
        Kind::Matching => {
            let content = resource.option("content").map(|node| node.value.clone());
            let content = Actual::Value(content.unwrap_or(Value::Null));
            Ok(Facts::from([("matches", content)]))
        }
    }
}

fn judge(resource: &Resource, facts: &Facts) -> Vec<Evidence> {
    let absent = Actual::Value(Value::Null);
    let one = |(attribute, matcher): (&&'static str, &Matcher)| {
        let actual = facts.get(*attribute).unwrap_or(&absent);
        let (subject, expected) = (subject(resource, attribute), Some(matcher.to_string()));
        seen(matcher.is_met_by(actual), subject, actual.in_words(), expected)
    };
    let says_something = |(_, matcher): &(&&'static str, &Matcher)| !matcher.is_empty();
    resource.attributes.iter().filter(says_something).map(one).collect()
}

fn subject(resource: &Resource, attribute: &str) -> String {
    let id: String = escape(resource.id.as_bytes()).to_string().chars().take(200).collect();
    match attribute {
        "" => format!("{} {id}", resource.kind.word()),
        attribute => format!("{} {id}: {attribute}", resource.kind.word()),
    }
}

#[cfg(test)]
mod tests;
