//! The nftables table that keeps what shadows begin inside the fence.
//!
//! One table per bridge, replaced as a whole in one transaction, so that there is no moment
//! with half a fence.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use super::super::wire::{Doing, Failure};
use crate::provider::Egress;

/// An egress rule: whose, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opening {
    /// The shadow's address.
    pub(super) from: std::net::Ipv4Addr,
    /// The shadow's Ethernet address, to which its port is locked.
    pub(super) mac: [u8; 6],
    /// What it may connect to.
    pub(super) to: Egress,
}

/// What to tell a person whose machine has no `nft`; `None` where it is there.
pub(crate) fn tool_missing() -> Option<&'static str> {
    let found = Command::new("nft")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if found { None } else { Some("nftables is not installed: apt-get install nftables") }
}

/// Puts the fence around a bridge, with these openings.
pub(super) fn put(bridge: &str, openings: &[Opening]) -> Result<(), Failure> {
    run(&ruleset(bridge, openings)).doing(|| format!("fence bridge {bridge} with nftables"))
}

/// Takes the fence away.
pub(super) fn remove(bridge: &str) -> Result<(), Failure> {
    let table = table(bridge);
    run(&format!("table inet {table} {{}}\ndelete table inet {table}\n"))
        .doing(|| format!("remove the fence of bridge {bridge}"))
}

fn table(bridge: &str) -> String {
    format!("fence_{}", bridge.replace('-', "_"))
}

fn ruleset(bridge: &str, openings: &[Opening]) -> String {
    let table = table(bridge);
    let mut out = String::new();
    let mut line = |text: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{text}");
    };
    // Naming the table first makes deleting it valid whether or not it exists.
    line(&format!("table inet {table} {{}}"));
    line(&format!("delete table inet {table}"));
    line(&format!("table inet {table} {{"));
    line("  chain input {");
    line("    type filter hook input priority -10; policy accept;");
    line(&format!("    iifname \"{bridge}\" ct state established,related accept"));
    for opening in openings {
        line(&accept(bridge, opening));
    }
    line(&format!("    iifname \"{bridge}\" drop"));
    line("  }");
    line("  chain forward {");
    line("    type filter hook forward priority -10; policy accept;");
    line(&format!("    iifname \"{bridge}\" ct state established,related accept"));
    line(&format!("    oifname \"{bridge}\" ct state established,related accept"));
    for opening in openings {
        line(&accept(bridge, opening));
    }
    line(&format!("    iifname \"{bridge}\" drop"));
    line(&format!("    oifname \"{bridge}\" drop"));
    line("  }");
    if !openings.is_empty() {
        line("  chain leave {");
        line("    type nat hook postrouting priority 100;");
        for Opening { from, .. } in openings {
            line(&format!("    ip saddr {from} oifname != \"{bridge}\" masquerade"));
        }
        line("  }");
    }
    line("}");
    out
}

/// A shadow's address alone proves nothing, it may write any into its packets; the port is
/// locked to the Ethernet address.
fn accept(bridge: &str, Opening { from, mac, to }: &Opening) -> String {
    let family = if to.address.is_ipv4() { "ip" } else { "ip6" };
    let [a, b, c, d, e, f] = mac;
    format!(
        "    iifname \"{bridge}\" ether saddr {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} \
         ip saddr {from} {family} daddr {} tcp dport {} accept",
        to.address, to.port
    )
}

fn run(ruleset: &str) -> io::Result<()> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = nft.stdin.take() {
        stdin.write_all(ruleset.as_bytes())?;
    }
    let output = nft.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    tracing::error!(said = %umbra_state::escape::escape_output(&output.stderr), "nft refused");
    Err(io::Error::from(rustix::io::Errno::INVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_openings_nothing_leaves() {
        let rules = ruleset("umb-1", &[]);
        assert!(rules.contains("iifname \"umb-1\" drop"));
        assert!(!rules.contains("masquerade"));
        assert!(rules.contains("table inet fence_umb_1"));
    }

    #[test]
    fn an_opening_names_one_shadow_one_address_and_one_port() {
        let to = Egress { address: "192.0.2.7".parse().expect("address"), port: 443 };
        let from = "10.213.0.9".parse().expect("address");
        let rules = ruleset("umb-1", &[Opening { from, mac: [2, 0, 0, 0, 0, 9], to }]);
        let rule = "ether saddr 02:00:00:00:00:09 ip saddr 10.213.0.9 \
                    ip daddr 192.0.2.7 tcp dport 443 accept";
        assert_eq!(rules.matches(rule).count(), 2, "{rules}");
        assert!(rules.contains("ip saddr 10.213.0.9 oifname != \"umb-1\" masquerade"));
    }
}
