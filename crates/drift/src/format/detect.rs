//! The format of well-known files, by their paths.

use super::Format;
use std::path::Path;

impl Format {
    /// The format of a file that is usually at `path`; [`Format::Raw`] where
    /// nothing is known. The file is not looked at.
    pub fn of(path: &Path) -> Self {
        let Some(path) = path.to_str() else { return Self::Raw };
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        by_path(path)
            .or_else(|| by_parent(parent, name))
            .or_else(|| by_extension(name))
            .unwrap_or(Self::Raw)
    }

    /// The format of this name in a configuration.
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(n, _)| *n == name).map(|(_, format)| *format)
    }
}

const NAMES: [(&str, Format); 22] = [
    ("raw", Format::Raw),
    ("kv", Format::KeyValue),
    ("sysctl", Format::Sysctl),
    ("ini", Format::Ini),
    ("systemd", Format::Systemd),
    ("resolv", Format::Resolv),
    ("hosts", Format::Hosts),
    ("fstab", Format::Fstab),
    ("crypttab", Format::Crypttab),
    ("passwd", Format::Passwd),
    ("shadow", Format::Shadow),
    ("group", Format::Group),
    ("gshadow", Format::Gshadow),
    ("sshd", Format::Sshd),
    ("crontab", Format::Crontab),
    ("cron.d", Format::CronD),
    ("nginx", Format::Nginx),
    ("deb822", Format::Deb822),
    ("json", Format::Json),
    ("toml", Format::Toml),
    ("yaml", Format::Yaml),
    ("nft", Format::Nft),
];

fn by_path(path: &str) -> Option<Format> {
    Some(match path {
        "/etc/resolv.conf" => Format::Resolv,
        "/etc/hosts" => Format::Hosts,
        "/etc/fstab" | "/proc/mounts" | "/proc/self/mounts" => Format::Fstab,
        "/etc/crypttab" => Format::Crypttab,
        "/etc/passwd" | "/etc/passwd-" => Format::Passwd,
        "/etc/shadow" | "/etc/shadow-" => Format::Shadow,
        "/etc/group" | "/etc/group-" => Format::Group,
        "/etc/gshadow" | "/etc/gshadow-" => Format::Gshadow,
        "/etc/ssh/sshd_config" | "/etc/ssh/ssh_config" => Format::Sshd,
        "/etc/crontab" => Format::CronD,
        "/etc/sysctl.conf" => Format::Sysctl,
        "/etc/nftables.conf" => Format::Nft,
        "/etc/login.defs"
        | "/etc/adduser.conf"
        | "/etc/deluser.conf"
        | "/etc/nsswitch.conf"
        | "/etc/os-release"
        | "/usr/lib/os-release"
        | "/etc/locale.conf"
        | "/etc/vconsole.conf"
        | "/etc/environment"
        | "/etc/host.conf"
        | "/etc/debconf.conf"
        | "/etc/selinux/config" => Format::KeyValue,
        _ => return None,
    })
}

fn by_parent(parent: &str, name: &str) -> Option<Format> {
    let conf = name.ends_with(".conf");
    Some(match parent {
        "/etc/default" => Format::KeyValue,
        "/etc/cron.d" => Format::CronD,
        "/var/spool/cron/crontabs" => Format::Crontab,
        "/etc/nginx/sites-available" | "/etc/nginx/sites-enabled" | "/etc/nginx/snippets" => {
            Format::Nginx
        }
        "/etc/nginx" | "/etc/nginx/conf.d" if conf => Format::Nginx,
        "/etc/ssh/sshd_config.d" | "/etc/ssh/ssh_config.d" if conf => Format::Sshd,
        "/etc/NetworkManager" | "/etc/NetworkManager/conf.d" if conf => Format::Ini,
        "/etc/NetworkManager/system-connections" => Format::Ini,
        _ if conf && parent.ends_with("/sysctl.d") => Format::Sysctl,
        // Its daemons' settings, and drop-ins.
        _ if conf && (parent.ends_with("/systemd") || parent.contains("/systemd/")) => {
            Format::Systemd
        }
        _ => return None,
    })
}

fn by_extension(name: &str) -> Option<Format> {
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension {
        "json" => Format::Json,
        "toml" => Format::Toml,
        "yaml" | "yml" => Format::Yaml,
        "ini" | "desktop" | "nmconnection" => Format::Ini,
        "service" | "socket" | "timer" | "mount" | "automount" | "swap" | "path" | "target"
        | "slice" | "scope" | "device" | "network" | "netdev" | "link" | "nspawn" => {
            Format::Systemd
        }
        "sources" => Format::Deb822,
        "nft" => Format::Nft,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_files_have_a_format() {
        for (path, name) in [
            ("/etc/resolv.conf", "resolv"),
            ("/etc/ssh/sshd_config.d/50-cloud.conf", "sshd"),
            ("/etc/sysctl.d/10.conf", "sysctl"),
            ("/lib/systemd/system/ssh.service", "systemd"),
            ("/etc/systemd/system/ssh.service.d/x.conf", "systemd"),
            ("/etc/nginx/sites-enabled/default", "nginx"),
            ("/etc/apt/sources.list.d/debian.sources", "deb822"),
            ("/etc/netplan/01.yaml", "yaml"),
            ("/etc/hostname", "raw"),
            ("/etc/systemd/network/10-lan.network", "systemd"),
            ("/usr/lib/systemd/system-generators/systemd-fstab-generator", "raw"),
            ("/etc/sysctl.d/README.sysctl", "raw"),
            ("fstab", "raw"),
        ] {
            assert_eq!(Some(Format::of(Path::new(path))), Format::named(name), "{path}");
        }
    }
}
