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

mod names;
mod rules;

use std::os::unix::net::UnixListener;

use serde_json::Value;

pub use self::names::PREFIX;
use self::names::{is_name, name, remains, remove_remains};
use self::rules::{Rules, free_preference, has_clsact, rules_of};
use super::tools::{ToolError, ask, run, words};

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

fn index(device: &str) -> Result<u32, ToolError> {
    let index = link(device)?["ifindex"].as_u64();
    Ok(index.and_then(|index| u32::try_from(index).ok()).unwrap_or(0))
}

fn link(name: &str) -> Result<Value, ToolError> {
    Ok(ask("ip", &format!("link show dev {name}"))?.into_iter().next().unwrap_or_default())
}
