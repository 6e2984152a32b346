//! What is never put back: an old secret is a known one, an old identity is another machine's,
//! and what a service makes anew is not ours.

use std::path::Path;

use crate::attributes::Kind;
use crate::config::{Attribute, Parameter, RollbackMode, Source};
use crate::format::{self, Format};
use crate::reading::Reading;

/// Why a path is never put back; `None` if it may be.
pub(super) fn built_in(path: &Path, current: &Reading) -> Option<&'static str> {
    const SECRETS: [&str; 5] =
        ["/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/security/opasswd"];
    const IDENTITIES: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
    let text = path.to_str()?;
    let is_below = |top: &str| text.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'));
    if SECRETS.contains(&text) {
        return Some("an earlier secret may be a stolen one");
    }
    if text.starts_with("/etc/ssh/ssh_host_") {
        return Some("earlier host keys may be stolen ones");
    }
    if IDENTITIES.contains(&text) {
        return Some("it is the machine's identity");
    }
    if text == "/etc/resolv.conf" && leads_to(current).is_some_and(|to| is_managed(&to)) {
        return Some("it is managed by a service, which would write it again");
    }
    if ["/proc", "/sys", "/dev", "/run"].iter().any(|top| is_below(top)) {
        return Some("it is made anew at each start, and not kept");
    }
    None
}

/// Why the configuration never puts a path back.
pub(super) fn configured(parameter: &Parameter, path: &Path) -> Option<&'static str> {
    if parameter.rollback.mode == RollbackMode::Never {
        return Some("the configuration never puts it back");
    }
    // Patterns are checked with the configuration; one that is none protects what it names.
    let matches = |pattern: &String| match globset::Glob::new(pattern) {
        Ok(glob) => glob.compile_matcher().is_match(path),
        Err(_) => Path::new(pattern) == path,
    };
    let listed = parameter.rollback.never.iter().any(matches);
    listed.then_some("the configuration never puts it back")
}

/// Why what a source tells cannot be put back.
pub(super) fn source(source: &Source) -> Option<&'static str> {
    match source {
        Source::File { .. } | Source::Tree { .. } | Source::Sysctl { .. } => None,
        Source::Command { .. } => Some("what a program prints cannot be put back"),
        Source::Package { .. } => Some("packages are the package manager's to change"),
        Source::Service { .. } => Some("units are put back by their files"),
        Source::Listen | Source::Network { .. } => {
            Some("what the kernel holds is put back by the files it comes from")
        }
        source if source.is_gauge() => Some("it is a number that moves by itself"),
        Source::Mount { .. } => Some("mounts are put back by /etc/fstab"),
        Source::Certificate { .. } => Some("certificates are put back by their files"),
        Source::User { .. } => Some("accounts are put back by their files"),
        Source::Memory { .. } | Source::Kernel { .. } => Some("it is the running kernel's"),
    }
}

/// Where a link leads.
pub(super) fn leads_to(reading: &Reading) -> Option<Vec<u8>> {
    let attributes = &reading.value()?.attributes;
    let kind = Kind::read(attributes.get(&Attribute::Type)?)?;
    let to = attributes.get(&Attribute::Link)?;
    (kind == Kind::Link).then(|| to.0.clone())
}

fn is_managed(target: &[u8]) -> bool {
    let target = String::from_utf8_lossy(target);
    ["run/", "systemd", "NetworkManager", "resolvconf"].iter().any(|part| target.contains(part))
}

/// Whether files of this format may hold passwords of accounts.
pub(super) fn passwords(format: Format) -> bool {
    matches!(format, Format::Passwd | Format::Group | Format::Shadow | Format::Gshadow)
}

/// Whether an account's password stands in the account itself.
pub(super) fn password(format: Format, key: &str, difference: &format::Difference) -> bool {
    if !matches!(format, Format::Passwd | Format::Group) {
        return matches!(format, Format::Shadow | Format::Gshadow);
    }
    let holds_secret = |text: &[u8]| {
        let field = text.split(|b| *b == b':').nth(1).unwrap_or(text);
        !matches!(field, b"" | b"x" | b"*" | b"!" | b"!!")
    };
    let is_row = |text: &[u8]| text.contains(&b':');
    match difference {
        format::Difference::Removed(text) | format::Difference::Added(text) => {
            (is_row(text) || key.ends_with(".password")) && holds_secret(text)
        }
        format::Difference::Changed { .. } => key.ends_with(".password"),
    }
}
