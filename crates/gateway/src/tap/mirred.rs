//! A capture interface, and rules that have the kernel copy to it what passes another (`tc` with
//! the action `mirred`).
//!
//! What is there is not disturbed: rules are added beside those of others, at a preference of
//! their own, and only they are removed. Behind ours the kernel goes on to those of others
//! (`continue`), so ours can be early without deciding anything. A `clsact` that is there is used
//! and stays.
//!
//! Whatever ends the process, what it made is found again: the capture interface is called
//! `umbra-tap-...`, and its alias says what else there is. Its owner holds a name in the network
//! namespace (an abstract socket), which the kernel frees when it ends; so the next tap can tell
//! what was left from what is in use, also of other pid namespaces, and removes it.
//!
//! ```text
//!  name held -> interface -> alias -> clsact -> rules      and back in the reverse order
//! ```

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use serde_json::Value;

use super::filter::{Instruction, of_ports};
use super::packet::Link;
use super::tools::{ToolError, ask, run, words};

/// What the names of capture interfaces begin with.
pub const PREFIX: &str = "umbra-tap-";

/// Names that are tried.
const NAMES: u32 = 1000;

/// Preferences of ours begin here, behind those that people like to choose. Others that decide
/// something at an earlier one keep packets from ours.
const PREFERENCE: u32 = 200;

/// Taps that begin at the same time begin at different ones.
const PREFERENCES: u32 = 700;

/// Why packets cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum MirredError {
    /// A program does not do it.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// It is no interface's name.
    #[error("copy the packets of {interface:?}: it is no interface's name")]
    Name {
        /// What was asked for.
        interface: String,
    },
    /// A capture interface that was asked for by name cannot be had.
    #[error(
        "make the capture interface {device:?}: it must begin with {PREFIX:?}, have at most 15 \
         letters, digits and dashes, and not be there"
    )]
    Device {
        /// What was asked for.
        device: String,
    },
    /// Only what comes in could be copied.
    #[error(
        "copy what leaves {interface}: it has the qdisc \"ingress\", which knows only what comes"
    )]
    OnlyIngress {
        /// Which.
        interface: String,
    },
    /// Its packets do not begin as those of a capture interface do.
    #[error("copy the packets of {interface}: it is no Ethernet")]
    NotEthernet {
        /// Which.
        interface: String,
    },
    /// The kernel knows no kind of interface to capture from.
    #[error("make a capture interface: the kernel knows neither \"dummy\" nor \"ifb\"")]
    NoKind(#[source] ToolError),
    /// The kernel knows no way to choose packets.
    #[error(
        "add a rule to {interface}: the kernel knows no classifier of \"bpf\", \"matchall\", \"u32\""
    )]
    NoClassifier {
        /// Which.
        interface: String,
        /// What it says of the last.
        #[source]
        source: ToolError,
    },
}

/// Packets are copied as long as this lives.
#[derive(Debug)]
pub struct Mirred {
    device: String,
    rules: Rules,
    /// Frees the name when it goes.
    _held: UnixListener,
    /// There may be rules.
    copies: bool,
}

impl Mirred {
    /// Makes a capture interface, which nothing is copied to yet; removes what taps before it left.
    ///
    /// # Errors
    /// Where a name is none, or the kernel or `ip` refuses.
    pub fn make(interface: &str, device: Option<&str>) -> Result<Self, MirredError> {
        if !is_name(interface) {
            return Err(MirredError::Name { interface: interface.to_owned() });
        }
        if !["ether", "loopback"].map(Value::from).contains(&link(interface)?["link_type"]) {
            return Err(MirredError::NotEthernet { interface: interface.to_owned() });
        }
        for left in remains()? {
            remove_remains(&left);
        }
        let (device, held) = name(device)?;
        let rules = Rules { interface: interface.to_owned(), preference: 0, made_clsact: false };
        let mut is = Self { device, rules, _held: held, copies: false };
        make_device(&is.device)?;
        is.prepare()?;
        Ok(is)
    }

    /// The capture interface.
    pub fn device(&self) -> &str {
        &self.device
    }

    fn prepare(&mut self) -> Result<(), MirredError> {
        let (interface, device) = (&self.rules.interface, &self.device);
        let qdiscs = ask("tc", &format!("qdisc show dev {interface}"))?;
        let has = |kind: &str| qdiscs.iter().any(|qdisc| qdisc["kind"] == kind);
        if has("ingress") {
            return Err(MirredError::OnlyIngress { interface: interface.clone() });
        }
        // Another tap's goes with the last of them.
        let links = ask("ip", "link show")?;
        let mut taps = links.iter().filter_map(rules_of);
        let shared = taps.any(|rules| rules.interface == *interface && rules.made_clsact);
        self.rules.made_clsact = !has("clsact") || shared;
        self.rules.preference = free_preference(interface, index(device)?);
        // Before anything is made that only it tells of.
        let alias = format!("link set dev {device} alias {}", self.rules.alias());
        run("ip", &words(&alias))?;
        // It would announce itself otherwise; a kernel without IPv6 refuses, and has no need to.
        let _ = run("ip", &words(&format!("link set dev {device} addrgenmode none")));
        // It has no queue, so what is copied to it is captured at once or not at all.
        run("tc", &words(&format!("qdisc replace dev {device} root noqueue")))?;
        run("ip", &words(&format!("link set dev {device} arp off multicast off up")))?;
        Ok(())
    }

    /// Begins to copy, TCP of these ports or everything; of `lo`, on which everything passes twice,
    /// what comes.
    ///
    /// # Errors
    /// Where the kernel or `tc` refuses.
    pub fn start(&mut self, ports: &[u16]) -> Result<(), MirredError> {
        self.copies = true;
        let interface = &self.rules.interface;
        if self.rules.made_clsact && !has_clsact(interface) {
            run("tc", &words(&format!("qdisc add dev {interface} clsact")))?;
        }
        let hooks: &[&str] = if interface == "lo" { &["ingress"] } else { &["ingress", "egress"] };
        hooks.iter().try_for_each(|hook| self.rules.add(hook, &self.device, ports))
    }

    /// Packets that the capture interface did not take. (How many it took the kernel says only in
    /// segments as they will be on a wire, of which one packet here may be many.)
    ///
    /// # Errors
    /// Where `tc` does not say.
    pub fn failed(&self) -> Result<u64, MirredError> {
        let rules = self.rules.all()?;
        let actions = rules.iter().filter_map(|rule| rule["options"]["actions"].as_array());
        let failed = actions.flatten().filter_map(|action| action["stats"]["overlimits"].as_u64());
        Ok(failed.sum())
    }

    /// Copies no more. The capture interface stays until this is dropped.
    ///
    /// # Errors
    /// Where `tc` refuses.
    pub fn stop(&mut self) -> Result<(), MirredError> {
        if std::mem::take(&mut self.copies) { self.rules.remove() } else { Ok(()) }
    }
}

impl Drop for Mirred {
    fn drop(&mut self) {
        let stopped = self.stop();
        let removed = run("ip", &words(&format!("link del dev {}", self.device)));
        if let Err(error) = stopped.and(removed.map(drop).map_err(MirredError::from)) {
            tracing::error!(device = self.device, %error, "could not remove a tap's rules");
        }
    }
}

/// Rules on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rules {
    interface: String,
    preference: u32,
    made_clsact: bool,
}

const HOOKS: [&str; 2] = ["ingress", "egress"];

impl Rules {
    /// What the capture interface's alias says of them.
    fn alias(&self) -> String {
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

    fn add(&self, hook: &str, device: &str, ports: &[u16]) -> Result<(), MirredError> {
        let Self { interface, preference, .. } = self;
        let bytecode = bytecode(&of_ports(Link::Ethernet, ports));
        let begin = format!("filter add dev {interface} {hook} pref {preference} protocol all");
        let end = format!("action mirred egress mirror dev {device} continue");
        // The second and third choose nothing: then the socket's filter does.
        let classifiers = [
            vec!["bpf", "bytecode", &bytecode],
            vec!["matchall"],
            vec!["u32", "match", "u32", "0", "0"],
        ];
        let mut refused = None;
        for classifier in classifiers {
            match run("tc", &[words(&begin), classifier, words(&end)].concat()) {
                Ok(_) => return Ok(()),
                Err(error @ ToolError::Refused { .. }) => refused = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        let interface = interface.clone();
        match refused {
            Some(source) => Err(MirredError::NoClassifier { interface, source }),
            None => Ok(()),
        }
    }

    /// Those at our preference.
    fn all(&self) -> Result<Vec<Value>, ToolError> {
        let Self { interface, preference, .. } = self;
        let mut all = Vec::new();
        for hook in HOOKS {
            let rules = ask("tc", &format!("-s filter show dev {interface} {hook}"))?;
            all.extend(rules.into_iter().filter(|rule| rule["pref"] == *preference));
        }
        Ok(all)
    }

    fn remove(&self) -> Result<(), MirredError> {
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

fn has_clsact(interface: &str) -> bool {
    let qdiscs = ask("tc", &format!("qdisc show dev {interface}")).unwrap_or_default();
    qdiscs.iter().any(|qdisc| qdisc["kind"] == "clsact")
}

/// `COUNT,CODE THEN OTHERWISE WITH,...` is one word of `tc`'s.
fn bytecode(program: &[Instruction]) -> String {
    let one = |is: &Instruction| format!("{} {} {} {}", is.code, is.then, is.otherwise, is.with);
    let all: Vec<String> = program.iter().map(one).collect();
    format!("{},{}", program.len(), all.join(","))
}

/// A capture interface that nobody owns any more.
#[derive(Debug)]
struct Remains {
    device: String,
    rules: Option<Rules>,
    _held: UnixListener,
}

fn remains() -> Result<Vec<Remains>, ToolError> {
    let links = ask("ip", "link show")?;
    let left = links.iter().filter_map(|link| {
        let device = link["ifname"].as_str().filter(|name| name.starts_with(PREFIX))?;
        // Whoever made it has the name as long as it lives.
        let held = hold(device)?;
        Some(Remains { device: device.to_owned(), rules: rules_of(link), _held: held })
    });
    Ok(left.collect())
}

/// What the alias of a capture interface says.
fn rules_of(link: &Value) -> Option<Rules> {
    let device = link["ifname"].as_str()?;
    let alias = link["ifalias"].as_str().filter(|_| device.starts_with(PREFIX))?;
    Rules::of_alias(alias)
}

/// What cannot be removed is said, and tried again next time.
fn remove_remains(left: &Remains) {
    let rules = left.rules.as_ref().map_or(Ok(()), Rules::remove);
    let gone = || run("ip", &words(&format!("link del dev {}", left.device)));
    let gone = rules.and_then(|()| Ok(gone()?));
    match gone {
        Ok(_) => tracing::info!(device = left.device, "removed what a killed tap left"),
        Err(error) => {
            tracing::warn!(device = left.device, %error, "could not remove what a tap left");
        }
    }
}

/// Takes a name for a capture interface in this network namespace, if nobody has it.
fn hold(device: &str) -> Option<UnixListener> {
    let address = SocketAddr::from_abstract_name(device).ok()?;
    UnixListener::bind_addr(&address).ok()
}

/// A name that is free, or the one that was asked for.
fn name(wanted: Option<&str>) -> Result<(String, UnixListener), MirredError> {
    let taken = ask("ip", "link show")?;
    let free = |name: &str| !taken.iter().any(|link| link["ifname"] == name);
    if let Some(device) = wanted {
        let fits = device.starts_with(PREFIX) && is_name(device) && free(device);
        let held = if fits { hold(device) } else { None };
        let named = held.map(|held| (device.to_owned(), held));
        return named.ok_or_else(|| MirredError::Device { device: device.to_owned() });
    }
    let mut names = (0..NAMES).map(|number| format!("{PREFIX}{number}"));
    let found = names.find_map(|name| {
        let held = if free(&name) { hold(&name) } else { None };
        held.map(|held| (name, held))
    });
    found.ok_or_else(|| MirredError::Device { device: format!("{PREFIX}{NAMES}") })
}

/// Either is only passed through. What a `dummy` gets is gone; so is what an `ifb` gets that was
/// not redirected to it.
fn make_device(device: &str) -> Result<(), MirredError> {
    let make = |kind| run("ip", &words(&format!("link add name {device} type {kind}")));
    match make("dummy").or_else(|_| make("ifb")) {
        Ok(_) => Ok(()),
        Err(error @ ToolError::Refused { .. }) => Err(MirredError::NoKind(error)),
        Err(error) => Err(error.into()),
    }
}

/// A preference at which the interface has no rules.
fn free_preference(interface: &str, index: u32) -> u32 {
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

fn index(device: &str) -> Result<u32, ToolError> {
    let index = link(device)?["ifindex"].as_u64();
    Ok(index.and_then(|index| u32::try_from(index).ok()).unwrap_or(0))
}

fn link(name: &str) -> Result<Value, ToolError> {
    Ok(ask("ip", &format!("link show dev {name}"))?.into_iter().next().unwrap_or_default())
}

/// A name that is one word for `ip` and `tc`, and no option of theirs.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    (1..=15).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with(['-', '.'])
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

    #[test]
    fn names_are_one_word() {
        for good in ["lo", "eth0.7", "br-1_a"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-x", "a b", "a/b", "a\n", "..", "0123456789abcdef", "é"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
