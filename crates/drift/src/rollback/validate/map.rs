//! Which program knows which files. Only programs that look and touch nothing.

use std::path::Path;

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

/// Kinds of units that can be verified alone.
const UNITS: [&str; 6] = [".service", ".socket", ".timer", ".path", ".mount", ".target"];

/// The commands that look at a path.
pub(super) fn of(path: &Path, is_removed: bool) -> Vec<Vec<String>> {
    let owned = |argv: &[&str]| argv.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let covers = |pattern: &&str| match pattern.strip_suffix('/') {
        Some(top) => path.starts_with(top),
        None => Path::new(pattern) == path,
    };
    let known = MAP.iter().filter(|(patterns, _)| patterns.iter().any(covers));
    let mut commands: Vec<_> = known.map(|(_, argv)| owned(argv)).collect();
    let is_unit = path.starts_with("/etc/systemd/system")
        && path.to_str().is_some_and(|path| UNITS.iter().any(|kind| path.ends_with(kind)));
    if is_unit {
        commands.push(owned(&["systemd-analyze", "verify", "--man=no", "{file}"]));
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
}
