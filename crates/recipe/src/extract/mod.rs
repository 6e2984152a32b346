//! From a tree that has passed the structural check to plain values.
//!
//! Every function gives `None` for a tree that has not: the check has said why.

mod step;
mod test;

use std::time::Duration;
pub(crate) use test::journey;

use umbra_document::take::{duration, each, int, number, optional, text, texts_by_name};
use umbra_document::units;
use umbra_document::yaml::{Node, Value};

use crate::recipe::{
    CommandLine, Debian, Env, Export, Format, Init, Notify, OnError, Origin, Recipe, Shadows,
};

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(3600);
const SHADOWS_MAX_DEFAULT: u32 = 4;

/// The recipe a checked tree describes.
pub(crate) fn recipe(root: &Node) -> Option<Recipe> {
    let inherited = Inherited {
        env: env(root)?,
        workdir: optional(root.get("workdir"), text)?,
        timeout: duration(root.get("timeout"))?.unwrap_or(TIMEOUT_DEFAULT),
    };
    Some(Recipe {
        version: 1,
        name: text(root.get("name")?)?,
        from: origin(root.get("from")?)?,
        steps: each(root.get("steps"), |node| step::step(node, &inherited))?,
        services: each(root.get("services"), |node| step::service(node, &inherited))?,
        tests: each(root.get("tests"), |node| test::test(node, &inherited))?,
        shadows: shadows(root.get("shadows"))?,
        on_error: optional(root.get("on_error"), on_error)?.unwrap_or(OnError::Halt),
        notify: each(root.get("notify"), notify)?,
        export: each(root.get("export"), export)?,
    })
}

/// Settings of the whole recipe that hold where nothing else is said.
struct Inherited {
    env: Env,
    workdir: Option<String>,
    timeout: Duration,
}

impl Inherited {
    /// The variables of a step, service or test: its own over the recipe's.
    fn env(&self, node: &Node) -> Option<Env> {
        let mut merged = self.env.clone();
        merged.extend(env(node)?);
        Some(merged)
    }

    fn workdir(&self, node: &Node) -> Option<Option<String>> {
        let own = optional(node.get("workdir"), text)?;
        Some(own.or_else(|| self.workdir.clone()))
    }
}

fn origin(node: &Node) -> Option<Origin> {
    let Value::Map(_) = node.value else { return origin_in_short(node.text()?) };
    if let Some(debian) = node.get("debian") {
        return debian_origin(debian).map(Origin::Debian);
    }
    let (key, value) = node.map().first()?;
    origin_by_kind(&key.text, text(value)?)
}

fn origin_in_short(short: &str) -> Option<Origin> {
    let (kind, rest) = short.split_once(':')?;
    origin_by_kind(kind, rest.to_owned())
}

fn origin_by_kind(kind: &str, value: String) -> Option<Origin> {
    Some(match kind {
        "debian" => Origin::Debian(Debian {
            suite: value,
            mirror: None,
            components: vec!["main".to_owned()],
            packages: Vec::new(),
            variant: "minbase".to_owned(),
        }),
        "dir" => Origin::Dir(value),
        "tar" => Origin::Tar(value),
        "oci" => Origin::Oci(value),
        "state" => Origin::State(value),
        _ => return None,
    })
}

fn debian_origin(node: &Node) -> Option<Debian> {
    let components = each(node.get("components"), text)?;
    Some(Debian {
        suite: text(node.get("suite")?)?,
        mirror: optional(node.get("mirror"), text)?,
        components: if components.is_empty() { vec!["main".to_owned()] } else { components },
        packages: each(node.get("packages"), text)?,
        variant: optional(node.get("variant"), text)?.unwrap_or_else(|| "minbase".to_owned()),
    })
}

fn shadows(node: Option<&Node>) -> Option<Shadows> {
    let get = |key| node.and_then(|node| node.get(key));
    let min = optional(get("min"), int)?.unwrap_or(1);
    Some(Shadows {
        provider: optional(get("provider"), text)?.unwrap_or_else(|| "sandbox".to_owned()),
        min,
        max: optional(get("max"), int)?.unwrap_or(SHADOWS_MAX_DEFAULT.max(min)),
        memory: optional(get("memory"), |node| units::size(node.text()?).ok())?,
        cpus: optional(get("cpus"), |node| number(node.scalar()?))?,
        pids: optional(get("pids"), int)?,
        egress: egress(get("egress"))?,
        init: optional(get("init"), init)?.unwrap_or(Init::Services),
    })
}

/// `none`, or a list.
fn egress(node: Option<&Node>) -> Option<Vec<std::net::SocketAddr>> {
    each(node.filter(|node| node.text().is_none()), |node| node.text()?.parse().ok())
}

fn init(node: &Node) -> Option<Init> {
    Some(match node.text()? {
        "services" => Init::Services,
        "systemd" => Init::Systemd,
        _ => return None,
    })
}

fn on_error(node: &Node) -> Option<OnError> {
    Some(match node.text()? {
        "halt" => OnError::Halt,
        "ask" => OnError::Ask,
        "continue" => OnError::Continue,
        _ => return None,
    })
}

fn notify(node: &Node) -> Option<Notify> {
    if let Some(url) = node.get("webhook") {
        return text(url).map(Notify::Webhook);
    }
    match node.get("command") {
        Some(command) => command_line(command).map(Notify::Command),
        None => (node.text()? == "stdout").then_some(Notify::Stdout),
    }
}

fn export(node: &Node) -> Option<Export> {
    let format = match node.get("format")?.text()? {
        "oci" => Format::Oci,
        "tar" => Format::Tar,
        "dir" => Format::Dir,
        "qcow2" => Format::Qcow2,
        "raw" => Format::Raw,
        _ => return None,
    };
    Some(Export {
        format,
        path: text(node.get("path")?)?,
        size: optional(node.get("size"), |node| units::size(node.text()?).ok())?,
    })
}

fn command_line(node: &Node) -> Option<CommandLine> {
    match &node.value {
        Value::Scalar(scalar) => Some(CommandLine::Shell(scalar.text.clone())),
        Value::List(_) => each(Some(node), text).map(CommandLine::Argv),
        Value::Map(_) => None,
    }
}

fn env(node: &Node) -> Option<Env> {
    texts_by_name(node.get("env"))
}

/// Patterns of paths, which inside the image all begin at its root.
fn globs(node: Option<&Node>) -> Option<Vec<String>> {
    each(node, |node| Some(node.text()?.trim_start_matches('/').to_owned()))
}
