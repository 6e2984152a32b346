//! Which services read which files, and in which order they are told: the way in stays open
//! longest. The same map serves both directions.

use std::collections::BTreeSet;
use std::path::Path;

use super::Action;

/// When something is done: what others need first, the network and the way in last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Units,
    Kernel,
    Services,
    Configured,
    Network,
    WayIn,
}

enum Does {
    ReadUnits,
    Reload(&'static [&'static str]),
    Restart(&'static [&'static str]),
    Command(&'static [&'static str]),
}

use Does::{Command, ReadUnits, Reload, Restart};

/// Which paths, when, what. A path that ends in `/` stands for all below.
const MAP: &[(&[&str], Rank, Does)] = &[
    (&["/etc/systemd/system/", "/etc/systemd/system.conf"], Rank::Units, ReadUnits),
    (&["/usr/lib/systemd/system/", "/lib/systemd/system/"], Rank::Units, ReadUnits),
    (&["/etc/udev/rules.d/"], Rank::Units, Command(&["udevadm", "control", "--reload"])),
    (&["/etc/sysctl.conf", "/etc/sysctl.d/"], Rank::Kernel, Command(&["sysctl", "--system"])),
    (&["/etc/hostname"], Rank::Kernel, Command(&["hostname", "-F", "/etc/hostname"])),
    (&["/etc/systemd/journald.conf"], Rank::Services, Restart(&["systemd-journald.service"])),
    (&["/etc/systemd/timesyncd.conf"], Rank::Services, Restart(&["systemd-timesyncd.service"])),
    (
        &["/etc/chrony/", "/etc/chrony.conf"],
        Rank::Services,
        Restart(&["chrony.service", "chronyd.service"]),
    ),
    (&["/etc/rsyslog.conf", "/etc/rsyslog.d/"], Rank::Services, Restart(&["rsyslog.service"])),
    (&["/etc/nginx/"], Rank::Services, Reload(&["nginx.service"])),
    (
        &["/etc/apache2/", "/etc/httpd/"],
        Rank::Services,
        Reload(&["apache2.service", "httpd.service"]),
    ),
    (&["/etc/haproxy/"], Rank::Services, Reload(&["haproxy.service"])),
    (&["/etc/postfix/"], Rank::Services, Reload(&["postfix.service"])),
    (&["/etc/bind/", "/etc/named.conf"], Rank::Services, Reload(&["named.service"])),
    (&["/etc/unbound/"], Rank::Services, Reload(&["unbound.service"])),
    (&["/etc/dnsmasq.conf", "/etc/dnsmasq.d/"], Rank::Services, Restart(&["dnsmasq.service"])),
    (&["/etc/nftables.conf", "/etc/nftables.d/"], Rank::Network, Reload(&["nftables.service"])),
    (&["/etc/systemd/resolved.conf"], Rank::Network, Restart(&["systemd-resolved.service"])),
    (&["/etc/systemd/network/"], Rank::Network, Command(&["networkctl", "reload"])),
    (&["/etc/netplan/"], Rank::Network, Command(&["netplan", "apply"])),
    (&["/etc/NetworkManager/"], Rank::Network, Reload(&["NetworkManager.service"])),
    (
        &["/etc/network/interfaces", "/etc/network/interfaces.d/"],
        Rank::Network,
        Restart(&["networking.service"]),
    ),
    (
        &["/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/"],
        Rank::WayIn,
        Reload(&["ssh.service", "sshd.service"]),
    ),
];

impl Action {
    /// Done last if it is a unit of the way in.
    fn rank(&self) -> Rank {
        let known = |units: &[String]| {
            let of = |does: &Does| match does {
                Reload(known) | Restart(known) => {
                    known.iter().any(|known| units.iter().any(|unit| unit == known))
                }
                _ => false,
            };
            MAP.iter().find(|(_, _, does)| of(does)).map(|(_, rank, _)| *rank)
        };
        match self {
            Self::Reload(units) | Self::Restart(units) => known(units).unwrap_or(Rank::Configured),
            _ => Rank::Configured,
        }
    }
}

/// What makes changes of these absolute paths count, in order: by the map, and what the
/// configuration says besides. What the configuration says of a unit replaces what the map says.
pub(in crate::rollback) fn actions<'a>(
    paths: impl IntoIterator<Item = &'a Path>,
    configured: impl IntoIterator<Item = &'a Action>,
    is_machine: bool,
) -> Vec<Action> {
    let mut all: BTreeSet<(Rank, Action)> = BTreeSet::new();
    // In a directory that nothing runs in, only what was asked for is done.
    for path in paths.into_iter().filter(|_| is_machine) {
        for (patterns, rank, does) in MAP {
            if patterns.iter().any(|pattern| covers(pattern, path)) {
                let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
                let action = match does {
                    ReadUnits => Action::ReadUnits,
                    Reload(units) => Action::Reload(owned(units)),
                    Restart(units) => Action::Restart(owned(units)),
                    Command(argv) => Action::Command(owned(argv)),
                };
                all.insert((*rank, action));
            }
        }
        if let Some(unit) = unit_of(path) {
            all.insert((Rank::Services, Action::Restart(vec![unit])));
        }
    }
    for action in configured {
        let is_command = matches!(action, Action::Command(_));
        if !is_machine && !is_command {
            continue;
        }
        if let Action::Reload(units) | Action::Restart(units) = action {
            all.retain(|(_, known)| match known {
                Action::Reload(known) | Action::Restart(known) => {
                    !known.iter().any(|unit| units.contains(unit))
                }
                _ => true,
            });
        }
        all.insert((action.rank(), action.clone()));
    }
    all.into_iter().map(|(_, action)| action).collect()
}

fn covers(pattern: &str, path: &Path) -> bool {
    match pattern.strip_suffix('/') {
        Some(top) => path.starts_with(top),
        None => Path::new(pattern) == path,
    }
}

/// The unit that a file of the administrator's is of, or adds to.
fn unit_of(path: &Path) -> Option<String> {
    let below = path.strip_prefix("/etc/systemd/system").ok()?;
    let first = below.components().next()?.as_os_str().to_str()?;
    let unit = first.strip_suffix(".d").unwrap_or(first);
    let restarts = [".service", ".socket", ".timer", ".path"];
    restarts.iter().any(|kind| unit.ends_with(kind)).then(|| unit.to_owned())
}

/// Whether the map knows a command: one that is not installed has nothing to tell.
pub(super) fn knows(argv: &[String]) -> bool {
    MAP.iter().any(|(_, _, does)| matches!(does, Command(known) if **known == *argv))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(paths: &[&str], configured: &[Action], machine: bool, expected: &[&str]) {
        let paths = paths.iter().map(|path| Path::new(*path));
        let actions = actions(paths, configured, machine);
        let shown: Vec<String> = actions
            .iter()
            .map(|action| match action {
                Action::ReadUnits => "units".to_owned(),
                Action::Reload(units) => format!("reload {}", units.join("|")),
                Action::Restart(units) => format!("restart {}", units.join("|")),
                Action::Command(argv) => argv.join(" "),
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn network_and_ssh_come_last() {
        let paths = [
            "/etc/ssh/sshd_config",
            "/etc/netplan/01.yaml",
            "/etc/nginx/sites-enabled/default",
            "/etc/nginx/nginx.conf",
            "/etc/systemd/system/app.service.d/limits.conf",
            "/etc/hosts",
        ];
        let expected = [
            "units",
            "reload nginx.service",
            "restart app.service",
            "netplan apply",
            "reload ssh.service|sshd.service",
        ];
        check(&paths, &[], true, &expected);
        check(&paths, &[], false, &[]);
    }

    #[test]
    fn the_configuration_has_the_last_word() {
        let restart = Action::Restart(vec!["nginx.service".into()]);
        let script = Action::Command(vec!["/usr/local/bin/apply".into()]);
        let both = [restart, script];
        let expected = ["restart nginx.service", "/usr/local/bin/apply"];
        check(&["/etc/nginx/nginx.conf"], &both, true, &expected);
        check(&["/etc/nginx/nginx.conf"], &both, false, &expected[1..]);
    }
}
