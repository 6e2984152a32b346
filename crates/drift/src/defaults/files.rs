//! Files that have a meaning of their own, and how grave a change of each is.

use std::fmt::Write as _;

use super::Survey;

/// A file or a directory of files.
pub(super) struct Entry {
    pub(super) section: &'static str,
    pub(super) path: &'static str,
    severity: &'static str,
    tree: bool,
    /// Further lines of its parameter.
    more: &'static [&'static str],
}

const fn file(section: &'static str, path: &'static str, severity: &'static str) -> Entry {
    Entry { section, path, severity, tree: false, more: &[] }
}

const fn tree(section: &'static str, path: &'static str, severity: &'static str) -> Entry {
    Entry { section, path, severity, tree: true, more: &[] }
}

impl Entry {
    const fn with(mut self, more: &'static [&'static str]) -> Self {
        self.more = more;
        self
    }

    pub(super) fn write(&self, text: &mut String, survey: &Survey) {
        let managed = survey.managed.contains(self.path);
        // What a program rewrites all the time is worth knowing, no more.
        let severity = if managed { "low" } else { self.severity };
        let name = self.path.trim_start_matches('/');
        let name = name.strip_prefix("etc/").unwrap_or(name);
        let _ = writeln!(text, "  - name: {name}\n    path: {}", self.path);
        if self.tree {
            let _ = writeln!(
                text,
                "    kind: tree\n    attrs: [content, type, mode, owner, group, link]"
            );
        }
        if !self.more.iter().any(|line| line.starts_with("nodiff")) {
            let _ = writeln!(text, "    format: auto");
        }
        for line in self.more {
            let _ = writeln!(text, "    {line}");
        }
        if managed {
            let _ = writeln!(text, "    # A program writes this file, so its changes are no news.");
        }
        let _ = writeln!(
            text,
            "    severity: {{default: {severity}, expected: low}}\n    owned_by: [dpkg]"
        );
    }
}

/// Where no format says it: what is a comment, and that the width of a gap means nothing. To
/// sudo `#include` is a directive and `#0` a user, to the kernel `#!` names a program.
const COMMENTS: &str = r"ignore: {lines: ['^\s*#(\s|$)', '^\s*$'], whitespace: true}";

const SECRET: &[&str] = &["nodiff: true", "rollback: {mode: never}"];

#[rustfmt::skip]
pub(super) const FILES: &[Entry] = &[
    file("network", "/etc/hostname", "high"),
    file("network", "/etc/hosts", "high"),
    file("network", "/etc/resolv.conf", "critical"),
    file("network", "/etc/nsswitch.conf", "high"),
    file("network", "/etc/nftables.conf", "critical").with(&["validate: [nft, -c, -f, '{file}']"]),
    tree("network", "/etc/network", "high").with(&[COMMENTS]),
    tree("network", "/etc/netplan", "high"),
    tree("network", "/etc/systemd/network", "high"),
    tree("network", "/etc/iptables", "critical"),
    file("storage", "/etc/fstab", "critical"),
    file("storage", "/etc/crypttab", "critical"),
    file("system", "/etc/timezone", "medium"),
    file("system", "/etc/localtime", "medium"),
    file("system", "/etc/default/locale", "low"),
    file("system", "/etc/default/grub", "high"),
    file("system", "/etc/passwd", "critical").with(&["ignore: {order: true}"]),
    file("system", "/etc/group", "critical").with(&["ignore: {order: true}"]),
    file("system", "/etc/shadow", "critical").with(SECRET),
    file("system", "/etc/gshadow", "critical").with(SECRET),
    file("system", "/etc/sudoers", "critical").with(&["validate: [visudo, -cf, '{file}']", COMMENTS]),
    tree("system", "/etc/sudoers.d", "critical").with(&[COMMENTS]),
    tree("system", "/etc/pam.d", "critical").with(&[COMMENTS]),
    tree("system", "/etc/security", "high").with(&[COMMENTS]),
    file("system", "/etc/ssh/sshd_config", "critical").with(&["validate: [sshd, -t, -f, '{file}']", "apply: {reload: ssh.service}"]),
    tree("system", "/etc/ssh/sshd_config.d", "critical"),
    tree("system", "/root/.ssh", "critical"),
    file("system", "/etc/ld.so.preload", "critical"),
    file("system", "/etc/crontab", "high"),
    tree("system", "/etc/cron.d", "high"),
    tree("system", "/var/spool/cron/crontabs", "high"),
    file("system", "/etc/apt/sources.list", "high").with(&[COMMENTS]),
    tree("system", "/etc/apt/sources.list.d", "high").with(&[COMMENTS]),
    tree("system", "/etc/apt/trusted.gpg.d", "high"),
    file("system", "/etc/sysctl.conf", "high"),
    tree("system", "/etc/sysctl.d", "high"),
    tree("system", "/etc/modules-load.d", "high").with(&[COMMENTS]),
    tree("system", "/etc/modprobe.d", "high").with(&[COMMENTS]),
    tree("system", "/etc/systemd/system", "high"),
];
