//! From a tree that has passed every check to plain values.
//!
//! Every function gives `None` for a tree that has not: the check has said why.

use std::collections::BTreeMap;
use std::time::Duration;

use umbra_document::scalar::ScalarType;
use umbra_document::take::{bool, duration, each, int, number, optional, text, texts};
use umbra_document::units;
use umbra_document::yaml::{Node, Value};

use super::formats::{percent, quiet_hours};
use super::model::{
    Apply, Config, Confirm, Expect, History, Ignore, NoDiff, OnDrift, Parameter, Rollback,
    RollbackMode,
};
use super::notify::{Address, Dialect, Facility, Notify, Secret, SyslogAddress, Target, Token};
use super::number::Numbers;
use super::policy::{AutoRollback, Maintenance, Policy, Requirement};
use super::rules;
use super::severity::{Severities, Severity};
use super::source::{
    Attribute, CertificateFact, KernelFact, Key, MemoryFact, MountFact, Source, View,
};
use super::tolerance::Tolerance;

const DEBOUNCE: Duration = Duration::from_millis(50);
const POLL: Duration = Duration::from_secs(30);
const POLL_CRITICAL: Duration = Duration::from_secs(1);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
const COMMAND_OUTPUT_BYTES_MAX: u64 = 1 << 20;
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(120);
const MAINTENANCE_IDLE: Duration = Duration::from_secs(600);
/// More than one a day of a year.
const HISTORY_COUNT: u32 = 400;
const HISTORY_AGE: Duration = Duration::from_secs(366 * 24 * 3600);
const HISTORY_EVERY: Duration = Duration::from_secs(24 * 3600);
const ROLLBACKS_PER_HOUR: u32 = 2;

const OF_FILES: &[Attribute] = &[Attribute::Content];
const OF_TREES: &[Attribute] = &[
    Attribute::Content,
    Attribute::Type,
    Attribute::Mode,
    Attribute::Owner,
    Attribute::Group,
    Attribute::Link,
];

/// The configuration a checked tree describes.
pub(super) fn config(root: &Node) -> Option<Config> {
    let numbers = match optional(root.get("version"), int::<u8>)? {
        Some(2) => Numbers::WithUnits,
        _ => Numbers::Plain,
    };
    let defaults = defaults(root.get("defaults"))?;
    let (_, parameters) = rules::parameters(root);
    Some(Config {
        numbers,
        parameters: parameters
            .iter()
            .map(|node| parameter(node, &defaults))
            .collect::<Option<_>>()?,
        history: history(root.get("history"))?,
        policy: policy(root.get("policy"))?,
        notify: notify(root.get("notify"))?,
    })
}

/// What holds where a parameter says nothing.
struct Defaults {
    debounce: Duration,
    poll: Option<Duration>,
    attributes: Option<Vec<Attribute>>,
    severity: Severity,
    on_drift: OnDrift,
}

fn defaults(node: Option<&Node>) -> Option<Defaults> {
    let get = |key| node.and_then(|node| node.get(key));
    Some(Defaults {
        debounce: duration(get("debounce"))?.unwrap_or(DEBOUNCE),
        poll: duration(get("poll"))?,
        attributes: optional(get("attrs"), attributes)?,
        severity: optional(get("severity"), Severity::read)?.unwrap_or(Severity::Medium),
        on_drift: optional(get("on_drift"), OnDrift::read)?.unwrap_or(OnDrift::Alert),
    })
}

fn attributes(node: &Node) -> Option<Vec<Attribute>> {
    each(Some(node), Attribute::read)
}

fn parameter(node: &Node, defaults: &Defaults) -> Option<Parameter> {
    let severity = optional(node.get("severity"), severities)?
        .unwrap_or_else(|| Severities::all(defaults.severity));
    let own = duration(node.get("poll"))?.or(defaults.poll);
    let by_gravity = if severity.worst() == Severity::Critical { POLL_CRITICAL } else { POLL };
    let source = source(node, defaults)?;
    // Of a gauge there is nothing to put back or to try.
    let (tolerated, on_drift) = match source.is_gauge() {
        true => (Tolerance::Any, OnDrift::Alert),
        false => (Tolerance::EXACT, defaults.on_drift),
    };
    Some(Parameter {
        name: text(node.get("name")?)?,
        source,
        tolerance: optional(node.get("tolerance"), tolerance)?.unwrap_or(tolerated),
        severity,
        expect: expect(node.get("expect"))?,
        on_drift: optional(node.get("on_drift"), OnDrift::read)?.unwrap_or(on_drift),
        debounce: duration(node.get("debounce"))?.unwrap_or(defaults.debounce),
        poll: own.unwrap_or(by_gravity),
        ignore: ignore(node.get("ignore"))?,
        nodiff: optional(node.get("nodiff"), nodiff)?.unwrap_or(NoDiff::Whole(false)),
        owned_by: each(node.get("owned_by"), text)?,
        validate: each(node.get("validate"), text)?,
        apply: optional(node.get("apply"), apply)?,
        confirm: optional(node.get("confirm"), confirm)?,
        rollback: rollback(node.get("rollback"))?,
    })
}

fn source(node: &Node, defaults: &Defaults) -> Option<Source> {
    let get = |key| node.get(key);
    Some(match get("source").map_or(Some("file"), Node::text)? {
        "file" => return file(node, defaults),
        "sysctl" => Source::Sysctl { names: text(get("key").or(get("glob"))?)? },
        "command" => Source::Command {
            argv: each(get("argv"), text)?,
            user: optional(get("user"), text)?.unwrap_or_else(|| "nobody".to_owned()),
            timeout: duration(get("timeout"))?.unwrap_or(COMMAND_TIMEOUT),
            output_bytes_max: optional(get("output_max"), |node| units::size(node.text()?).ok())?
                .unwrap_or(COMMAND_OUTPUT_BYTES_MAX),
            key: key(node)?,
        },
        "package" => Source::Package { package: text(get("key")?)? },
        "service" => {
            Source::Service { unit: text(get("unit")?)?, property: optional(get("key"), text)? }
        }
        "listen" => Source::Listen,
        "mount" => Source::Mount {
            path: optional(get("path"), text)?,
            fact: optional(get("key"), MountFact::read)?,
        },
        "memory" => Source::Memory { fact: MemoryFact::read(get("key")?)? },
        "certificate" => Source::Certificate {
            path: text(get("path")?)?,
            fact: CertificateFact::read(get("key")?)?,
        },
        "user" => Source::User { account: text(get("key")?)? },
        "network" => Source::Network { key: text(get("key")?)? },
        "kernel" => Source::Kernel { fact: KernelFact::read(get("key")?)? },
        _ => return None,
    })
}

fn file(node: &Node, defaults: &Defaults) -> Option<Source> {
    let own = optional(node.get("attrs"), attributes)?.or_else(|| defaults.attributes.clone());
    let globs = texts(node.get("glob"))?;
    let tree = !globs.is_empty() || node.get("kind").and_then(Node::text) == Some("tree");
    if tree {
        let attributes = own.unwrap_or_else(|| OF_TREES.to_vec());
        let root = optional(node.get("path"), text)?.unwrap_or_else(|| "/".to_owned());
        let format = optional(node.get("format"), text)?;
        return Some(Source::Tree { globs, root, format, attributes });
    }
    let key = key(node)?;
    let format = optional(node.get("format"), text)?.filter(|_| key.is_none());
    Some(Source::File {
        path: text(node.get("path")?)?,
        key,
        format,
        view: optional(node.get("view"), View::read)?.unwrap_or(View::Declared),
        attributes: own.unwrap_or_else(|| OF_FILES.to_vec()),
    })
}

fn key(node: &Node) -> Option<Option<Key>> {
    let Some(key) = node.get("key") else { return Some(None) };
    Some(Some(Key { format: text(node.get("format")?)?, key: text(key)? }))
}

fn tolerance(node: &Node) -> Option<Tolerance> {
    let amount = |node: &Node| number(node.scalar()?);
    if let Value::Scalar(scalar) = &node.value {
        let (abs, rel) = match scalar.value_type() {
            ScalarType::Text => (0.0, percent(&scalar.text)?),
            _ => (amount(node)?, 0.0),
        };
        return Some(Tolerance::Distance { abs, rel, hysteresis: 0.0 });
    }
    let count = |key| optional(node.get(key), int::<u64>);
    if node.get("added").is_some() || node.get("removed").is_some() {
        let (added, removed) = (count("added")?, count("removed")?);
        return Some(Tolerance::Set { added: added.unwrap_or(0), removed: removed.unwrap_or(0) });
    }
    Some(Tolerance::Distance {
        abs: optional(node.get("abs"), amount)?.unwrap_or(0.0),
        rel: optional(node.get("rel"), |node| percent(node.text()?))?.unwrap_or(0.0),
        hysteresis: optional(node.get("hysteresis"), amount)?.unwrap_or(0.0),
    })
}

fn severities(node: &Node) -> Option<Severities> {
    if node.scalar().is_some() {
        return Severity::read(node).map(Severities::all);
    }
    let by_attribute = node.get("attrs");
    let severity =
        |word: &str| optional(by_attribute.and_then(|map| map.get(word)), Severity::read);
    let mut attributes = BTreeMap::new();
    for (key, _) in by_attribute.map(Node::map).unwrap_or_default() {
        attributes.insert(Attribute::from_word(&key.text)?, severity(&key.text)??);
    }
    Some(Severities {
        default: Severity::read(node.get("default")?)?,
        expected: optional(node.get("expected"), Severity::read)?,
        unexplained: optional(node.get("unexplained"), Severity::read)?,
        attributes,
    })
}

fn expect(node: Option<&Node>) -> Option<Expect> {
    let get = |key| node.and_then(|node| node.get(key));
    let bound = |key| optional(get(key), |node| number(node.scalar()?));
    Some(Expect { one_of: each(get("one_of"), text)?, ge: bound("ge")?, le: bound("le")? })
}

fn ignore(node: Option<&Node>) -> Option<Ignore> {
    let get = |key| node.and_then(|node| node.get(key));
    Some(Ignore {
        keys: each(get("keys"), text)?,
        lines: each(get("lines"), text)?,
        order: bool(get("order"))?.unwrap_or(false),
        whitespace: bool(get("whitespace"))?.unwrap_or(false),
    })
}

fn nodiff(node: &Node) -> Option<NoDiff> {
    match &node.value {
        Value::List(_) => each(Some(node), text).map(NoDiff::Paths),
        _ => bool(Some(node))?.map(NoDiff::Whole),
    }
}

fn apply(node: &Node) -> Option<Apply> {
    if let Some(command) = node.get("command") {
        return each(Some(command), text).map(Apply::Command);
    }
    match node.get("reload") {
        Some(unit) => text(unit).map(Apply::Reload),
        None => text(node.get("restart")?).map(Apply::Restart),
    }
}

fn confirm(node: &Node) -> Option<Confirm> {
    let timeout = duration(node.get("timeout"))?.unwrap_or(CONFIRM_TIMEOUT);
    Some(Confirm { timeout, probe: optional(node.get("probe"), text)? })
}

fn rollback(node: Option<&Node>) -> Option<Rollback> {
    let get = |key| node.and_then(|node| node.get(key));
    let mode = optional(get("mode"), RollbackMode::read)?.unwrap_or(RollbackMode::Merge);
    Some(Rollback { mode, never: each(get("never"), text)? })
}

fn history(node: Option<&Node>) -> Option<History> {
    let get = |key| node.and_then(|node| node.get(key));
    Some(History {
        count: optional(get("count"), int::<u32>)?.unwrap_or(HISTORY_COUNT),
        age: duration(get("age"))?.unwrap_or(HISTORY_AGE),
        every: duration(get("every"))?.unwrap_or(HISTORY_EVERY),
    })
}

fn policy(node: Option<&Node>) -> Option<Policy> {
    let get = |key| node.and_then(|node| node.get(key));
    Some(Policy {
        auto_rollback: optional(get("auto_rollback"), auto_rollback)?,
        maintenance: each(get("maintenance"), maintenance)?,
    })
}

fn auto_rollback(node: &Node) -> Option<AutoRollback> {
    let require = optional(node.get("require"), |node| each(Some(node), Requirement::read))?;
    Some(AutoRollback {
        min_severity: Severity::read(node.get("min_severity")?)?,
        require: require
            .unwrap_or_else(|| vec![Requirement::RehearsalPass, Requirement::NoConflict]),
        max_per_hour: optional(node.get("max_per_hour"), int)?.unwrap_or(ROLLBACKS_PER_HOUR),
        quiet_hours: each(node.get("quiet_hours"), |node| quiet_hours(node.text()?))?,
    })
}

fn maintenance(node: &Node) -> Option<Maintenance> {
    Some(Maintenance {
        process: text(node.get("match")?.get("process")?)?,
        until_idle: duration(node.get("until_idle"))?.unwrap_or(MAINTENANCE_IDLE),
    })
}

/// Who is told, of a list that is one of [`super::SINKS`]; the log where there is none.
pub fn notify(node: Option<&Node>) -> Option<Vec<Notify>> {
    let Some(node) = node else {
        return Some(vec![Notify { target: Target::Log, min_severity: Severity::Low }]);
    };
    let sinks = each(Some(node), sink)?;
    Some(sinks.into_iter().flatten().collect())
}

/// `None` inside for one that is turned off.
fn sink(node: &Node) -> Option<Option<Notify>> {
    if let Some(kind) = node.text() {
        return Some(Some(Notify { target: plain(kind)?, min_severity: Severity::Low }));
    }
    for kind in ["log", "desktop", "terminal"] {
        if bool(node.get(kind))? == Some(false) {
            return Some(None);
        }
    }
    let min_severity = optional(node.get("min_severity"), Severity::read)?;
    let min_severity = min_severity.unwrap_or(Severity::Low);
    Some(Some(Notify { target: target(node)?, min_severity }))
}

fn plain(kind: &str) -> Option<Target> {
    match kind {
        "log" => Some(Target::Log),
        "desktop" => Some(Target::Desktop),
        "terminal" => Some(Target::Terminal),
        _ => None,
    }
}

fn target(node: &Node) -> Option<Target> {
    let dialects = [
        ("webhook", Dialect::Webhook),
        ("slack", Dialect::Slack),
        ("alertmanager", Dialect::Alertmanager),
    ];
    for (key, dialect) in dialects {
        if let Some(url) = node.get(key) {
            let url = address(url)?;
            let header = optional(node.get("header"), text)?;
            let from = optional(node.get("token"), secret)?;
            return Some(Target::Http {
                dialect,
                url,
                token: from.map(|from| Token { from, header }),
            });
        }
    }
    if let Some(path) = node.get("jsonl") {
        return Some(Target::JsonLines { path: text(path)? });
    }
    if let Some(argv) = node.get("command") {
        return Some(Target::Command { argv: each(Some(argv), text)? });
    }
    if let Some(server) = node.get("syslog") {
        return Some(Target::Syslog {
            address: SyslogAddress::parse(server.get("address")?.text()?)?,
            facility: optional(server.get("facility"), Facility::read)?.unwrap_or(Facility::Daemon),
            app: optional(server.get("app"), text)?.unwrap_or_else(|| "umbra".to_owned()),
        });
    }
    ["log", "desktop", "terminal"]
        .iter()
        .find(|kind| node.get(kind).is_some())
        .and_then(|k| plain(k))
}

/// The address of a server, as [`ADDRESS`](super::ADDRESS) has it.
pub fn address(node: &Node) -> Option<Address> {
    match node.text() {
        Some(url) => Some(Address::Plain(url.to_owned())),
        None => secret(node).map(Address::Hidden),
    }
}

/// Where a secret is read from, as [`HIDDEN`](super::HIDDEN) has it.
pub fn secret(node: &Node) -> Option<Secret> {
    match node.get("env") {
        Some(name) => text(name).map(Secret::Env),
        None => text(node.get("file")?).map(Secret::File),
    }
}
