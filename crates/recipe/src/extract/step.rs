//! Steps and services.

use std::time::Duration;

use umbra_document::take::{bool, duration, each, int, optional, text};
use umbra_document::units::{self, Owner};
use umbra_document::yaml::{Node, Value};

use super::{Inherited, command_line, globs};
use crate::recipe::{Action, Copy, Packages, Ready, Secret, SecretSource, Service, Step, Write};

const READY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const WRITE_MODE_DEFAULT: u32 = 0o644;

pub(super) fn step(node: &Node, inherited: &Inherited) -> Option<Step> {
    let action = action(node)?;
    let runs = matches!(action, Action::Run(_));
    let networked = runs || matches!(action, Action::Packages(_));
    let network = bool(node.get("network"))?;
    Some(Step {
        name: text(node.get("name")?)?,
        action,
        env: if networked { inherited.env(node)? } else { Default::default() },
        workdir: if runs { inherited.workdir(node)? } else { None },
        user: optional(node.get("user"), text)?,
        timeout: duration(node.get("timeout"))?.unwrap_or(inherited.timeout),
        network: networked.then_some(network.unwrap_or(true)),
        cache: each(node.get("cache"), text)?,
        secrets: each(node.get("secrets"), secret)?,
        continue_on_error: bool(node.get("continue_on_error"))?.unwrap_or(false),
    })
}

fn action(node: &Node) -> Option<Action> {
    if let Some(run) = node.get("run") {
        return command_line(run).map(Action::Run);
    }
    if let Some(node) = node.get("copy") {
        return copy(node).map(Action::Copy);
    }
    if let Some(node) = node.get("write") {
        return write(node).map(Action::Write);
    }
    packages(node.get("packages")?).map(Action::Packages)
}

fn copy(node: &Node) -> Option<Copy> {
    Some(Copy {
        src: text(node.get("src")?)?,
        dest: text(node.get("dest")?)?,
        mode: optional(node.get("mode"), mode)?,
        owner: optional(node.get("owner"), owner)?.unwrap_or_else(Owner::root),
    })
}

fn write(node: &Node) -> Option<Write> {
    Some(Write {
        path: text(node.get("path")?)?,
        content: text(node.get("content")?)?,
        mode: optional(node.get("mode"), mode)?.unwrap_or(WRITE_MODE_DEFAULT),
        owner: optional(node.get("owner"), owner)?.unwrap_or_else(Owner::root),
    })
}

fn packages(node: &Node) -> Option<Packages> {
    if let Value::List(_) = node.value {
        let names = each(Some(node), text)?;
        return Some(Packages { names, update: true, recommends: false });
    }
    Some(Packages {
        names: each(node.get("names"), text)?,
        update: bool(node.get("update"))?.unwrap_or(true),
        recommends: bool(node.get("recommends"))?.unwrap_or(false),
    })
}

fn mode(node: &Node) -> Option<u32> {
    units::mode(node.text()?).ok()
}

fn owner(node: &Node) -> Option<Owner> {
    units::owner(node.text()?).ok()
}

fn secret(node: &Node) -> Option<Secret> {
    let id = text(node.get("id")?)?;
    let source = match node.get("env") {
        Some(env) => SecretSource::Env(text(env)?),
        None => SecretSource::File(text(node.get("file")?)?),
    };
    let target = optional(node.get("target"), text)?;
    let target = target.unwrap_or_else(|| format!("/run/secrets/{id}"));
    Some(Secret { id, source, target })
}

pub(super) fn service(node: &Node, inherited: &Inherited) -> Option<Service> {
    Some(Service {
        name: text(node.get("name")?)?,
        run: command_line(node.get("run")?)?,
        after: optional(node.get("after"), text)?,
        user: optional(node.get("user"), text)?,
        env: inherited.env(node)?,
        workdir: inherited.workdir(node)?,
        ready: optional(node.get("ready"), ready)?,
        timeout: duration(node.get("timeout"))?.unwrap_or(READY_TIMEOUT_DEFAULT),
        restart_on: globs(node.get("restart_on"))?,
    })
}

fn ready(node: &Node) -> Option<Ready> {
    let (key, value) = node.map().first()?;
    Some(match key.text.as_str() {
        "port" => Ready::Port(int(value)?),
        "http" => Ready::Http(text(value)?),
        "command" => Ready::Command(command_line(value)?),
        "file" => Ready::File(text(value)?),
        _ => return None,
    })
}
