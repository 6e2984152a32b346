//! Which program knows which files. Only programs that look and touch nothing.

use std::path::Path;

/// A program that accepts good files of some kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Patterns of the paths it is for.
    pub globs: Vec<String>,
    /// It and its arguments; `{file}` in them stands for the path.
    pub argv: Vec<String>,
}

/// Paths, one that ends in `/` standing for all below, and the command. With `{file}` it looks
/// at one file, and there is nothing to ask of one that goes.
const MAP: &[(&[&str], &[&str])] = &[
    (
        &["/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/"],
        &["sshd", "-t", "-f", "/etc/ssh/sshd_config"],
    ),
    (&["/etc/sudoers", "/etc/sudoers.d/"], &["visudo", "-c", "-q", "-f", "/etc/sudoers"]),
    (&["/etc/nginx/"], &["nginx", "-t", "-q", "-c", "/etc/nginx/nginx.conf"]),
    (&["/etc/apache2/"], &["apache2ctl", "-t"]),
    (&["/etc/httpd/"], &["httpd", "-t"]),
    (&["/etc/haproxy/"], &["haproxy", "-c", "-q", "-f", "/etc/haproxy/haproxy.cfg"]),
    (&["/etc/nftables.conf", "/etc/nftables.d/"], &["nft", "-c", "-f", "/etc/nftables.conf"]),
    (&["/etc/fstab"], &["findmnt", "--verify", "--tab-file", "/etc/fstab"]),
    (&["/etc/bind/"], &["named-checkconf", "/etc/bind/named.conf"]),
    (&["/etc/named.conf", "/etc/named/"], &["named-checkconf", "/etc/named.conf"]),
    (&["/etc/unbound/"], &["unbound-checkconf"]),
    (&["/etc/dnsmasq.conf", "/etc/dnsmasq.d/"], &["dnsmasq", "--test"]),
    (&["/etc/rsyslog.conf", "/etc/rsyslog.d/"], &["rsyslogd", "-N1"]),
    (&["/etc/logrotate.conf", "/etc/logrotate.d/"], &["logrotate", "-d", "/etc/logrotate.conf"]),
    (&["/etc/samba/smb.conf"], &["testparm", "-s", "{file}"]),
    (&["/etc/squid/"], &["squid", "-k", "parse"]),
    // `generate` would write below /run; reading all files back finds the same mistakes.
    (&["/etc/netplan/"], &["netplan", "get"]),
    (&["/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"], &["grub-script-check", "{file}"]),
    (&["/etc/default/grub"], &["sh", "-n", "{file}"]),
    (&["/var/spool/cron/"], &["crontab", "-T", "{file}"]),
];

/// Where an administrator's units are, and the kinds that can be verified alone.
const UNITS_DIR: &str = "/etc/systemd/system";
const UNITS: [&str; 6] = [".service", ".socket", ".timer", ".path", ".mount", ".target"];
const VERIFY_UNIT: [&str; 4] = ["systemd-analyze", "verify", "--man=no", "{file}"];

/// All of them.
pub fn known() -> Vec<Known> {
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let glob = |pattern: &&str| match pattern.ends_with('/') {
        true => format!("{pattern}**"),
        false => (*pattern).to_owned(),
    };
    let units = Known {
        globs: UNITS.iter().map(|kind| format!("{UNITS_DIR}/**/*{kind}")).collect(),
        argv: owned(&VERIFY_UNIT),
    };
    let listed = MAP.iter().map(|(patterns, argv)| Known {
        globs: patterns.iter().map(glob).collect(),
        argv: owned(argv),
    });
    listed.chain([units]).collect()
}

/// The commands that look at a path.
pub(super) fn of(path: &Path, is_removed: bool) -> Vec<Vec<String>> {
    let owned = |argv: &[&str]| argv.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let covers = |pattern: &&str| match pattern.strip_suffix('/') {
        Some(top) => path.starts_with(top),
        None => Path::new(pattern) == path,
    };
    let known = MAP.iter().filter(|(patterns, _)| patterns.iter().any(covers));
    let mut commands: Vec<_> = known.map(|(_, argv)| owned(argv)).collect();
    let is_unit = path.starts_with(UNITS_DIR)
        && path.to_str().is_some_and(|path| UNITS.iter().any(|kind| path.ends_with(kind)));
    if is_unit {
        commands.push(owned(&VERIFY_UNIT));
    }
    commands.retain(|argv| !is_removed || !argv.iter().any(|word| word == "{file}"));
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, programs: &[&str]) {
        let of = of(Path::new(path), false);
        let found: Vec<&str> = of.iter().map(|argv| argv[0].as_str()).collect();
        assert_eq!(found, programs, "{path}");
    }

    #[test]
    fn well_known_files_have_their_validators() {
        check("/etc/ssh/sshd_config.d/10-local.conf", &["sshd"]);
        check("/etc/ssh/ssh_config", &[]);
        check("/etc/sudoers.d/admins", &["visudo"]);
        check("/etc/systemd/system/app.service", &["systemd-analyze"]);
        check("/etc/systemd/system/app.service.d/override.conf", &[]);
        check("/etc/hosts", &[]);
        assert!(of(Path::new("/etc/systemd/system/app.service"), true).is_empty());
        assert_eq!(of(Path::new("/etc/nginx/conf.d/a.conf"), true).len(), 1);
    }

    #[test]
    fn the_same_validators_are_known_by_pattern() {
        let known = known();
        let of = |glob: &str| {
            let found = known.iter().find(|one| one.globs.iter().any(|other| other == glob));
            found.map(|one| one.argv[0].as_str())
        };
        assert_eq!(of("/etc/nginx/**"), Some("nginx"));
        assert_eq!(of("/etc/fstab"), Some("findmnt"));
        assert_eq!(of("/etc/systemd/system/**/*.service"), Some("systemd-analyze"));
        assert_eq!(known.len(), MAP.len() + 1);
    }
}
