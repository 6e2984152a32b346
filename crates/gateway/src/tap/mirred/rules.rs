//! Rules by which the kernel copies what passes an interface, beside those of others.

use serde_json::Value;

use super::MirredError;
use super::names::{PREFIX, is_name};
use crate::tap::filter::{Instruction, of_ports};
use crate::tap::packet::Link;
use crate::tap::tools::{ToolError, ask, run, words};

/// Preferences of ours begin here, behind those that people like to choose. Others that decide
/// something at an earlier one keep packets from ours.
const PREFERENCE: u32 = 200;

/// Taps that begin at the same time begin at different ones.
const PREFERENCES: u32 = 700;

/// Rules on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) interface: String,
    pub(super) preference: u32,
    pub(super) made_clsact: bool,
}

const HOOKS: [&str; 2] = ["ingress", "egress"];

impl Rules {
    /// What the capture interface's alias says of them.
    pub(super) fn alias(&self) -> String {
        let made = if self.made_clsact { "made" } else { "found" };
        format!("umbra-tap:{}:{}:{made}", self.interface, self.preference)
    }

    fn of_alias(alias: &str) -> Option<Self> {
        let mut words = alias.strip_prefix("umbra-tap:")?.rsplitn(3, ':');
        let (made, preference, interface) = (words.next()?, words.next()?, words.next()?);
        Some(Self {
            interface: Some(interface).filter(|name| is_name(name))?.to_owned(),
            preference: preference.parse().ok()?,
            made_clsact: made == "made",
        })
    }

    pub(super) fn add(&self, hook: &str, device: &str, ports: &[u16]) -> Result<(), MirredError> {
        let Self { interface, preference, .. } = self;
        let bytecode = bytecode(&of_ports(Link::Ethernet, ports));
        let begin = format!("filter add dev {interface} {hook} pref {preference} protocol all");
        let end = format!("action mirred egress mirror dev {device} continue");
        let (begin, end) = (words(&begin), words(&end));
        let add = |classifier: &[&str]| run("tc", &[&begin, classifier, &end].concat());
        // The second and third choose nothing: then the socket's filter does.
        let added = add(&["bpf", "bytecode", &bytecode])
            .or_else(|_| add(&["matchall"]))
            .or_else(|_| add(&["u32", "match", "u32", "0", "0"]));
        match added {
            Ok(_) => Ok(()),
            Err(source @ ToolError::Refused { .. }) => {
                Err(MirredError::NoClassifier { interface: interface.clone(), source })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Those at our preference.
    pub(super) fn all(&self) -> Result<Vec<Value>, ToolError> {
        let Self { interface, preference, .. } = self;
        let mut all = Vec::new();
        for hook in HOOKS {
            let rules = ask("tc", &format!("-s filter show dev {interface} {hook}"))?;
            all.extend(rules.into_iter().filter(|rule| rule["pref"] == *preference));
        }
        Ok(all)
    }

    pub(super) fn remove(&self) -> Result<(), MirredError> {
        let Self { interface, preference, made_clsact } = self;
        let mut others = false;
        for hook in HOOKS {
            // The interface may have gone, and with it everything on it.
            let Ok(rules) = ask("tc", &format!("filter show dev {interface} {hook}")) else {
                return Ok(());
            };
            let ours = |rule: &&Value| rule["pref"] == *preference;
            others |= rules.iter().any(|rule| !ours(&rule));
            if rules.iter().any(|rule| ours(&rule)) {
                let rule = format!("filter del dev {interface} {hook} pref {preference}");
                run("tc", &words(&rule))?;
            }
        }
        if *made_clsact && !others && has_clsact(interface) {
            run("tc", &words(&format!("qdisc del dev {interface} clsact")))?;
        }
        Ok(())
    }
}

pub(super) fn has_clsact(interface: &str) -> bool {
    let qdiscs = ask("tc", &format!("qdisc show dev {interface}")).unwrap_or_default();
    qdiscs.iter().any(|qdisc| qdisc["kind"] == "clsact")
}

/// `COUNT,CODE THEN OTHERWISE WITH,...` is one word of `tc`'s.
fn bytecode(program: &[Instruction]) -> String {
    let one = |is: &Instruction| format!("{} {} {} {}", is.code, is.then, is.otherwise, is.with);
    let all: Vec<String> = program.iter().map(one).collect();
    format!("{},{}", program.len(), all.join(","))
}

/// What the alias of a capture interface says.
pub(super) fn rules_of(link: &Value) -> Option<Rules> {
    let device = link["ifname"].as_str()?;
    let alias = link["ifalias"].as_str().filter(|_| device.starts_with(PREFIX))?;
    Rules::of_alias(alias)
}

/// A preference at which the interface has no rules.
pub(super) fn free_preference(interface: &str, index: u32) -> u32 {
    let mut taken = Vec::new();
    for hook in HOOKS {
        // Without a place for rules there are none.
        let rules = ask("tc", &format!("filter show dev {interface} {hook}")).unwrap_or_default();
        taken.extend(rules.iter().filter_map(|rule| rule["pref"].as_u64()));
    }
    let free = |preference: &u32| !taken.contains(&u64::from(*preference));
    let first = PREFERENCE + index % PREFERENCES;
    (first..).find(free).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_tells_what_else_there_is() {
        for made_clsact in [true, false] {
            let rules = Rules { interface: "eth0.7".into(), preference: 40_961, made_clsact };
            assert_eq!(Rules::of_alias(&rules.alias()), Some(rules));
        }
        for alias in ["", "umbra-tap:", "umbra-tap:a", "umbra-tap:-x:1:made", "umbra-tap:a:b:made"]
        {
            assert_eq!(Rules::of_alias(alias), None, "{alias}");
        }
    }
}
