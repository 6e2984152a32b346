//! The rest of `/etc`: what of it is made by programs, and what means nothing.

use std::fmt::Write as _;

/// Caches, locks, and copies that editors and package tools leave.
const NOTHING: &[&str] = &[
    "/etc/mtab",
    "/etc/adjtime",
    "/etc/ld.so.cache",
    "/etc/.pwd.lock",
    "/etc/.updated",
    "/etc/passwd-",
    "/etc/group-",
    "/etc/shadow-",
    "/etc/gshadow-",
    "/etc/subuid-",
    "/etc/subgid-",
    "/etc/**/*.dpkg-*",
    "/etc/**/*.ucf-*",
    "/etc/**/*.rpmnew",
    "/etc/**/*.rpmsave",
    "/etc/**/*~",
    "/etc/**/.*.sw?",
    "/etc/**/.#*",
    "/etc/lvm/archive/**",
    "/etc/lvm/backup/**",
    "/etc/lvm/cache/**",
    "/etc/cups/subscriptions.conf*",
    "/etc/apparmor.d/cache/**",
    "/etc/udev/hwdb.bin",
];

/// Made by programs out of other files, at every upgrade.
const GENERATED: &[&str] = &[
    "/etc/alternatives/**",
    "/etc/ssl/certs/**",
    "/etc/ca-certificates.conf",
    "/etc/rc?.d/**",
    "/etc/fonts/conf.d/**",
    "/etc/mailcap",
    "/etc/xml/**",
    "/etc/sgml/**",
    "/etc/init.d/.depend.*",
    "/etc/console-setup/cached_*",
];

/// Parameters for everything in `/etc` that has none of its own.
pub(super) fn write(text: &mut String, apart: &[&str]) {
    let generated = GENERATED.iter().map(|pattern| pattern.to_string());
    let _ = writeln!(text, "  - name: etc\n    glob:\n      - /etc/**");
    // A directory of its own is left out with all that is in it.
    let apart = apart.iter().filter(|path| path.starts_with("/etc/"));
    let apart = apart.flat_map(|path| [path.to_string(), format!("{path}/**")]);
    let nothing = NOTHING.iter().map(|pattern| pattern.to_string());
    for pattern in apart.chain(nothing).chain(generated) {
        let _ = writeln!(text, "      - '!{pattern}'");
    }
    let _ = writeln!(
        text,
        "    attrs: [content, type, mode, owner, group, acl, xattr, caps, link]\n    \
         format: auto\n    \
         # Where no format is known, a comment is what begins as one nearly everywhere.\n    \
         ignore: {{lines: ['^\\s*#(\\s|$)', '^\\s*$']}}\n    nodiff: [/etc/ssl/private/**, /etc/**/*.key]\n    \
         owned_by: [dpkg]\n    \
         severity: {{default: medium, expected: low, attrs: {{mode: high, owner: high, acl: high, \
         caps: high}}}}\n    \
         rollback: {{never: [/etc/machine-id, '/etc/ssh/ssh_host_*', /etc/ssl/private/**]}}\n\
         \n  # Made anew by package tools.\n  - name: generated\n    glob:"
    );
    for pattern in GENERATED {
        let _ = writeln!(text, "      - '{pattern}'");
    }
    let _ = writeln!(text, "    severity: low\n    owned_by: [dpkg]");
}
