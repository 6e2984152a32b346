//! A `monitoring_config.yml` for a machine nobody has written one for.
//!
//! [`Survey::of`] looks at what is there, [`configuration`] writes the file: network, storage
//! and the settings of the system that matter, quiet on a healthy machine. What a file means
//! stands in the table of `files`, what means nothing in `tree`, which certificates are the
//! machine's own in `certificates`.

mod certificates;
mod files;
mod survey;
mod tree;

use std::fmt::Write as _;

use crate::config::quoted;
use files::{Entry, FILES};
use survey::NAMED_MAX;
pub use survey::Survey;

/// Kernel settings whose change opens or closes something.
const SETTINGS: [(&str, &str); 14] = [
    ("fs.protected_hardlinks", "high"),
    ("fs.protected_symlinks", "high"),
    ("fs.suid_dumpable", "high"),
    ("kernel.dmesg_restrict", "medium"),
    ("kernel.kptr_restrict", "medium"),
    ("kernel.randomize_va_space", "critical"),
    ("kernel.unprivileged_bpf_disabled", "high"),
    ("kernel.yama.ptrace_scope", "high"),
    ("net.ipv4.conf.all.accept_redirects", "high"),
    ("net.ipv4.conf.all.rp_filter", "high"),
    ("net.ipv4.ip_forward", "high"),
    ("net.ipv4.tcp_syncookies", "medium"),
    ("net.ipv6.conf.all.forwarding", "high"),
    ("vm.swappiness", "low"),
];

/// Interfaces that programs make and remove.
const TRANSIENT: &str = "veth|docker|br-|virbr|vnet|cni|flannel|cali|lxc|tap|tun";

/// The text of a configuration for what was found; it passes every check.
pub fn configuration(survey: &Survey) -> String {
    let mut text = String::from(
        "# Written by `umbra drift init` from what this machine has. Every line may be changed.\n\
         version: 2\n\
         defaults: {attrs: [content, mode, owner, group]}\n\
         parameters:\n",
    );
    let present: Vec<&Entry> =
        FILES.iter().filter(|entry| survey.files.contains(entry.path)).collect();
    for section in ["network", "storage", "system"] {
        title(&mut text, section);
        for entry in present.iter().filter(|entry| entry.section == section) {
            entry.write(&mut text, survey);
        }
        match section {
            "network" => network(&mut text, survey),
            "storage" => storage(&mut text, survey),
            _ => system(&mut text, survey),
        }
    }
    let apart: Vec<&str> = present.iter().map(|entry| entry.path).collect();
    title(&mut text, "everything else in /etc");
    tree::write(&mut text, &apart);
    text
}

fn title(text: &mut String, title: &str) {
    let _ = writeln!(text, "\n  # {title}");
}

fn network(text: &mut String, survey: &Survey) {
    if !survey.machine {
        return;
    }
    for name in survey.interfaces.iter().take(NAMED_MAX) {
        for (property, severity) in [("mtu", "high"), ("address", "high")] {
            let (title, key) = (format!("{name} {property}"), format!("link.{name}.{property}"));
            let _ = writeln!(
                text,
                "  - {{name: {}, source: network, key: {}, severity: {severity}}}",
                quoted(&title),
                quoted(&key)
            );
        }
    }
    let _ = writeln!(
        text,
        "  # What containers and virtual machines come and go with means nothing.\n  \
         - name: addresses\n    source: network\n    key: addresses\n    severity: high\n    \
         tolerance: {{added: 0, removed: 0}}\n    ignore: {{lines: ['^({TRANSIENT})']}}\n  \
         - name: routes\n    source: network\n    key: routes\n    severity: high\n    \
         tolerance: {{added: 0, removed: 0}}\n    ignore: {{lines: ['dev ({TRANSIENT})']}}"
    );
}

fn storage(text: &mut String, survey: &Survey) {
    for point in survey.mounts.iter().take(NAMED_MAX) {
        let title = quoted(&format!("mount {point}"));
        let point = quoted(point);
        let _ =
            writeln!(text, "  - {{name: {title}, source: mount, path: {point}, severity: high}}");
    }
    for (points, what, key) in [
        (&survey.filling, "used", "used_percent"),
        (&survey.counting, "files", "inodes_used_percent"),
    ] {
        for point in points {
            let title = quoted(&format!("{what} {point}"));
            gauge(text, &title, &format!("mount, path: {}", quoted(point)), key, "{le: 90}");
        }
    }
}

/// A number that moves by itself: also forecast, and told of before it is there.
fn gauge(text: &mut String, title: &str, source: &str, key: &str, expect: &str) {
    let _ = writeln!(
        text,
        "  - {{name: {title}, source: {source}, key: {key}, expect: {expect}, severity: high}}"
    );
}

fn system(text: &mut String, survey: &Survey) {
    for (name, severity) in SETTINGS.iter().filter(|(name, _)| survey.settings.contains(*name)) {
        let _ = writeln!(
            text,
            "  - {{name: {name}, source: sysctl, key: {name}, severity: {severity}}}"
        );
    }
    if survey.machine {
        let _ = writeln!(
            text,
            "  - {{name: kernel, source: kernel, key: release, severity: medium}}\n  \
             - {{name: kernel command line, source: kernel, key: cmdline, severity: high}}"
        );
        gauge(text, "memory", "memory", "available_percent", "{ge: 5}");
    }
    for path in &survey.certificates {
        let title = quoted(&format!("certificate {path}"));
        let source = format!("certificate, path: {}", quoted(path));
        // Who renews them does so a month before; half of that is left for a person to find out
        // why it was not done.
        gauge(text, &title, &source, "days_left", "{ge: 14}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[track_caller]
    fn check(survey: &Survey) -> config::Config {
        let text = configuration(survey);
        config::parse("monitoring_config.yml", &text)
            .unwrap_or_else(|problems| panic!("{}\n{text}", problems.render(false)))
    }

    fn everything() -> Survey {
        Survey {
            machine: true,
            interfaces: vec!["eth0".to_owned(), "we\"ird: {#".to_owned()],
            files: FILES.iter().map(|entry| entry.path.to_owned()).collect(),
            managed: FILES.iter().map(|entry| entry.path.to_owned()).collect(),
            mounts: vec!["/".to_owned(), "/srv/with space #1".to_owned()],
            filling: ["/".to_owned(), "/srv/with space #1".to_owned()].into(),
            counting: ["/".to_owned()].into(),
            certificates: vec!["/etc/letsencrypt/live/a.example/fullchain.pem".to_owned()],
            settings: SETTINGS.iter().map(|(name, _)| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn what_is_written_passes_every_check() {
        let config = check(&everything());
        assert!(config.parameters.len() > FILES.len() + SETTINGS.len());
        let least = check(&Survey::default());
        assert!(!least.parameters.is_empty());
    }

    #[test]
    fn it_reads_like_this() {
        let survey = Survey { interfaces: vec!["eth0".to_owned()], ..everything() };
        let managed = ["/etc/resolv.conf".to_owned()].into();
        let mounts = vec!["/".to_owned()];
        let survey = Survey { mounts, filling: ["/".to_owned()].into(), managed, ..survey };
        insta::assert_snapshot!(configuration(&survey));
    }

    /// A file that has a parameter of its own is told of once.
    #[test]
    fn no_path_is_watched_twice() {
        let text = configuration(&everything());
        for entry in FILES.iter().filter(|entry| entry.path.starts_with("/etc/")) {
            assert!(text.contains(&format!("!{}", entry.path)), "{}", entry.path);
        }
    }
}
