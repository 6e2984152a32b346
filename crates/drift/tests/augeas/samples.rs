//! Files that a lens of Augeas covers, and where its values stand in our trees.
//!
//! Its paths are keys of ours as they are wherever the lens has our names; what is written here
//! is where it has others. Augeas 1.14 has no lens for sources in deb822; apt's preferences are
//! written so too.

use umbra_drift::format::Format;

use crate::{Part, Place};

/// One file.
pub(crate) struct Sample {
    pub(crate) lens: &'static str,
    pub(crate) path: &'static str,
    pub(crate) format: Format,
    pub(crate) text: &'static str,
    /// Fewer seen values would mean that little was compared.
    pub(crate) values_min: usize,
    /// Where what Augeas has at a path stands; `None` for what is no value of the file's.
    pub(crate) place: fn(&str) -> Option<Place>,
    /// New values at its paths.
    pub(crate) edits: &'static [(&'static str, &'static str)],
}

pub(crate) const ALL: &[Sample] = &[
    Sample {
        lens: "Hosts.lns",
        path: "/etc/hosts",
        format: Format::Hosts,
        text: "# local\n127.0.0.1\tlocalhost\n::1 localhost ip6-localhost # v6\n10.0.0.2  db db.example\n",
        values_min: 8,
        place: as_is,
        edits: &[("/1/canonical", "here"), ("/3/alias", "db.test"), ("/2/alias", "six")],
    },
    Sample {
        lens: "Resolv.lns",
        path: "/etc/resolv.conf",
        format: Format::Resolv,
        text: "# managed\nnameserver 1.1.1.1\nnameserver 9.9.9.9\nsearch a.example b.example\noptions edns0 trust-ad\n",
        values_min: 4,
        place: resolv,
        edits: &[("/nameserver[2]", "8.8.8.8"), ("/search/domain[1]", "c.example")],
    },
    Sample {
        lens: "Fstab.lns",
        path: "/etc/fstab",
        format: Format::Fstab,
        text: "# x\nUUID=ab-cd / ext4 errors=remount-ro,noatime 0 1\n/dev/sda2 none swap sw 0 0\ntmpfs /tmp tmpfs rw,nosuid\n",
        values_min: 18,
        place: fstab,
        edits: &[("/1/passno", "2"), ("/3/vfstype", "ramfs"), ("/3/opt[2]", "nodev")],
    },
    Sample {
        lens: "Passwd.lns",
        path: "/etc/passwd",
        format: Format::Passwd,
        text: "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:d:/usr/sbin:/usr/sbin/nologin\n",
        values_min: 12,
        place: passwd,
        edits: &[("/root/shell", "/bin/sh"), ("/daemon/name", "demon"), ("/daemon/uid", "7")],
    },
    Sample {
        lens: "Shadow.lns",
        path: "/etc/shadow",
        format: Format::Shadow,
        text: "root:*:19000:0:99999:7:::\nbob:!:19001:0:99999:7:::\n",
        values_min: 16,
        place: shadow,
        edits: &[("/bob/maxage_days", "90"), ("/root/inactive_days", "3")],
    },
    Sample {
        lens: "Crypttab.lns",
        path: "/etc/crypttab",
        format: Format::Crypttab,
        text: "# x\nroot UUID=12 none luks,discard\nhome /dev/sdb\n",
        values_min: 7,
        place: crypttab,
        edits: &[("/1/opt[2]", "swap"), ("/2/device", "/dev/sdc")],
    },
    Sample {
        lens: "Group.lns",
        path: "/etc/group",
        format: Format::Group,
        text: "root:x:0:\nsudo:x:27:ann,bob\n",
        values_min: 6,
        place: group,
        edits: &[("/sudo/user[2]", "eve"), ("/root/gid", "1")],
    },
    Sample {
        lens: "Sshd.lns",
        path: "/etc/ssh/sshd_config",
        format: Format::Sshd,
        text: "Include /etc/ssh/sshd_config.d/*.conf\nPort 22\n#x\nPermitRootLogin no\nAcceptEnv LANG LC_*\nSubsystem sftp /usr/lib/sftp-server\nMatch User bob\n  X11Forwarding no\nMatch Group ops\n\tAllowTcpForwarding yes\n\tX11Forwarding yes\n",
        values_min: 11,
        place: sshd,
        edits: &[
            ("/PermitRootLogin", "yes"),
            ("/AcceptEnv/2", "TZ"),
            ("/Match[2]/Settings/X11Forwarding", "no"),
        ],
    },
    Sample {
        lens: "Sysctl.lns",
        path: "/etc/sysctl.conf",
        format: Format::Sysctl,
        text: "# x\nkernel.printk = 3 4 1 3\nnet.ipv4.ip_forward=1\nvm.swappiness=10\nvm.swappiness = 20\n",
        values_min: 4,
        place: as_is,
        edits: &[("/net.ipv4.ip_forward", "0"), ("/vm.swappiness[1]", "30")],
    },
    Sample {
        lens: "Systemd.lns",
        path: "/etc/systemd/system/a.service",
        format: Format::Systemd,
        text: "[Unit]\nDescription=A test\nAfter=a.target b.target\n\n[Service]\nExecStart=/bin/a --flag x\nRestart=no\n\n[Install]\nWantedBy=multi-user.target\n",
        values_min: 8,
        place: systemd,
        edits: &[
            ("/Service/Restart/value", "always"),
            ("/Service/ExecStart/command", "/bin/b"),
            ("/Unit/After/value[2]", "c.target"),
        ],
    },
    Sample {
        lens: "Cron.lns",
        path: "/etc/crontab",
        format: Format::CronD,
        text: "SHELL=/bin/sh\n17 *\t* * *\troot\tcd / && run-parts /etc/cron.hourly\n0 4 * * 1 www /bin/x\n",
        values_min: 15,
        place: cron,
        edits: &[("/SHELL", "/bin/bash"), ("/entry[2]/user", "nobody"), ("/entry[1]", "true")],
    },
    Sample {
        lens: "Cron_User.lns",
        path: "/var/spool/cron/crontabs/a",
        format: Format::Crontab,
        text: "MAILTO=a\n# x\n*/5 * * * * /bin/poll --all\n",
        values_min: 7,
        place: cron,
        edits: &[("/entry/time/minute", "*/7"), ("/entry", "/bin/poll")],
    },
    Sample {
        lens: "AptPreferences.lns",
        path: "/etc/apt/preferences",
        format: Format::Deb822,
        text: "Package: *\nPin: version 5.10*\nPin-Priority: 900\n\nPackage: a\nPin: version 1\nPin-Priority: -1\n",
        values_min: 8,
        place: preferences,
        edits: &[("/2/Package", "b"), ("/1/Pin-Priority", "10"), ("/1/Pin/version", "6*")],
    },
    Sample {
        lens: "Nginx.lns",
        path: "/etc/nginx/nginx.conf",
        format: Format::Nginx,
        text: "user www-data;\nevents {\n    worker_connections 768;\n}\nhttp {\n    server {\n        listen 80;\n        server_name a b;\n        location /x {\n            root /srv;\n        }\n    }\n    server {\n        listen 81;\n    }\n}\n",
        values_min: 7,
        place: nginx,
        edits: &[
            ("/events/worker_connections", "1024"),
            ("/http/server[2]/listen", "82"),
            ("/http/server[1]/location/root", "/new"),
        ],
    },
    Sample {
        lens: "Puppet.lns",
        path: "/etc/a.ini",
        format: Format::Ini,
        text: "[main]\ndns = none\n# note\nplugins=a,b\n\n[connection]\nid=x\n",
        values_min: 3,
        place: as_is,
        edits: &[("/main/dns", "default"), ("/connection/id", "y")],
    },
    Sample {
        lens: "Shellvars.lns",
        path: "/etc/default/a",
        format: Format::KeyValue,
        text: "# x\nENABLED=yes\nOPTIONS=\"-a -b\"\n",
        values_min: 2,
        place: as_is,
        edits: &[("/ENABLED", "no"), ("/OPTIONS", "\"-c\"")],
    },
];

fn is_comment(path: &str) -> bool {
    path.split('/').any(|name| name.starts_with("#comment"))
}

/// The parts of a path, below the leading slash.
fn split(path: &str) -> Option<Vec<&str>> {
    (!is_comment(path) && !path.is_empty()).then(|| path[1..].split('/').collect())
}

fn place(key: impl Into<String>, part: Part) -> Option<Place> {
    Some(Place { key: key.into(), part })
}

/// The number in brackets behind a name, from 0; the only one has none.
fn nth(name: &str) -> usize {
    let number = name.split_once('[').and_then(|(_, number)| number.strip_suffix(']'));
    number.and_then(|number| number.parse().ok()).unwrap_or(1) - 1
}

fn as_is(path: &str) -> Option<Place> {
    split(path).and_then(|_| place(path, Part::Whole))
}

fn resolv(path: &str) -> Option<Place> {
    match split(path)?.as_slice() {
        ["search", domain] => place("search", Part::Word(nth(domain))),
        _ => as_is(path),
    }
}

fn fstab(path: &str) -> Option<Place> {
    match split(path)?.as_slice() {
        [row, "vfstype"] => place(format!("/{row}/type"), Part::Whole),
        [row, "passno"] => place(format!("/{row}/pass"), Part::Whole),
        [row, option] if option.starts_with("opt") => {
            place(format!("/{row}/options"), Part::Item(nth(option)))
        }
        [row, option, "value"] => place(format!("/{row}/options"), Part::ItemValue(nth(option))),
        _ => as_is(path),
    }
}

fn passwd(path: &str) -> Option<Place> {
    match split(path)?.as_slice() {
        [account, "name"] => place(format!("{account}.gecos"), Part::Whole),
        _ => as_is(path),
    }
}

fn shadow(path: &str) -> Option<Place> {
    const NAMES: [(&str, &str); 7] = [
        ("lastchange_date", "changed"),
        ("minage_days", "min"),
        ("maxage_days", "max"),
        ("warn_days", "warn"),
        ("inactive_days", "inactive"),
        ("expire_date", "expires"),
        ("flag", "reserved"),
    ];
    let names = split(path)?;
    let [account, name] = names.as_slice() else { return as_is(path) };
    let ours = NAMES.iter().find(|(theirs, _)| theirs == name).map_or(*name, |(_, ours)| ours);
    place(format!("{account}.{ours}"), Part::Whole)
}

fn crypttab(path: &str) -> Option<Place> {
    match split(path)?.as_slice() {
        [row, "target"] => place(format!("/{row}/name"), Part::Whole),
        [row, "password"] => place(format!("/{row}/key"), Part::Whole),
        [row, option] if option.starts_with("opt") => {
            place(format!("/{row}/options"), Part::Item(nth(option)))
        }
        _ => as_is(path),
    }
}

fn preferences(path: &str) -> Option<Place> {
    match split(path)?.as_slice() {
        [stanza, "Pin"] => place(format!("/{stanza}/Pin"), Part::Word(0)),
        [stanza, "Pin", _] => place(format!("/{stanza}/Pin"), Part::Word(1)),
        _ => as_is(path),
    }
}

fn group(path: &str) -> Option<Place> {
    match split(path)?.as_slice() {
        [group, user] if user.starts_with("user") => {
            place(format!("{group}.members"), Part::Item(nth(user)))
        }
        _ => as_is(path),
    }
}

fn sshd(path: &str) -> Option<Place> {
    match split(path)?.as_slice() {
        [block, "Settings", name] => place(format!("/{block}/{name}"), Part::Whole),
        [block, "Condition", _] => place(format!("/{block}"), Part::Header),
        ["AcceptEnv", number] => place("AcceptEnv", Part::Word(number.parse::<usize>().ok()? - 1)),
        ["Subsystem", _] => place("Subsystem", Part::Word(1)),
        _ => as_is(path),
    }
}

fn systemd(path: &str) -> Option<Place> {
    match split(path)?.as_slice() {
        ["Unit", "Description", "value"] => place("Unit.Description", Part::Whole),
        [section, name, "command"] => place(format!("{section}.{name}"), Part::Word(0)),
        [section, name, "arguments", number] => {
            place(format!("{section}.{name}"), Part::Word(number.parse().ok()?))
        }
        [section, name, value] => place(format!("{section}.{name}"), Part::Word(nth(value))),
        _ => as_is(path),
    }
}

fn cron(path: &str) -> Option<Place> {
    const TIMES: [&str; 5] = ["minute", "hour", "dayofmonth", "month", "dayofweek"];
    let names = split(path)?;
    let job = names.first().filter(|name| name.starts_with("entry")).map(|name| nth(name));
    match (job, &names[1..]) {
        (None, _) => as_is(path),
        (Some(job), []) => place(format!("job[{job}].command"), Part::Whole),
        (Some(job), ["time", time]) => {
            let word = TIMES.iter().position(|name| name == time)?;
            place(format!("job[{job}].schedule"), Part::Word(word))
        }
        (Some(job), rest) => place(format!("job[{job}].{}", rest.join(".")), Part::Whole),
    }
}

fn nginx(path: &str) -> Option<Place> {
    match path.rsplit_once("/#") {
        Some((block, _)) => place(block, Part::Header),
        None => as_is(path),
    }
}
