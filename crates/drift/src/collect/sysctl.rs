//! Kernel settings: of the running kernel on a machine; in a directory as its files declare
//! them for the next boot, which is absent where they do not.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags, openat};
use rustix::io::Errno;

use super::context::Context;
use super::globs::set;
use super::secret::Secrecy;
use super::source::{Fact, Source};
use crate::file::{self, locate};
use crate::format::{self, Format};
use crate::reading::Reading;

const TOP: &str = "/proc/sys";
/// A machine has some thousands, most of them of its network interfaces.
const SETTINGS_MAX: usize = 100_000;
const DEPTH_MAX: usize = 16;
const VALUE_BYTES_MAX: u64 = 64 << 10;

/// Where files are, those before hiding those of the same name after: sysctl.d(5).
const DIRECTORIES: [&str; 5] = [
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
    "/lib/sysctl.d",
];

/// A setting, or all whose names match a pattern.
#[derive(Debug)]
pub(super) struct Sysctl {
    names: String,
}

impl Sysctl {
    pub(super) fn new(names: &str) -> Self {
        Self { names: names.to_owned() }
    }
}

impl Source for Sysctl {
    fn read(&mut self, context: &mut Context, _: &Secrecy) -> Vec<Fact> {
        let machine = context.place.is_machine();
        if !self.names.contains(['*', '?', '[', '{']) {
            let name = canonical(&self.names);
            return Fact::whole(match machine {
                true => setting(context, &name),
                false => declared(context, |found| found == name)
                    .pop_first()
                    .map_or(Reading::Absent, |(_, value)| Reading::text(value)),
            });
        }
        // No wildcard but `**` stands for a `.`.
        let pattern = match set([canonical(&self.names).as_str()]) {
            Ok(pattern) => pattern,
            Err(error) => return Fact::unreadable(format!("its pattern is none: {error}")),
        };
        if !machine {
            let found = declared(context, |name| pattern.is_match(name));
            let facts = found.into_iter();
            return facts
                .map(|(name, value)| Fact::part(dotted(&name).as_bytes(), Reading::text(value)))
                .collect();
        }
        match listed(context, |name| pattern.is_match(name)) {
            Ok(names) => names
                .into_iter()
                .map(|name| Fact::part(dotted(&name).as_bytes(), setting(context, &name)))
                .collect(),
            Err(why) => Fact::unreadable(why),
        }
    }
}

/// A name as the path below `/proc/sys`: the first of `.` and `/` in it separates, and the other
/// one stands for the other one.
fn canonical(name: &str) -> String {
    let first = name.find(['.', '/']).and_then(|at| name.get(at..=at));
    if first != Some(".") {
        return name.to_owned();
    }
    swap(name)
}

/// The name people use.
fn dotted(path: &str) -> String {
    swap(path)
}

fn swap(name: &str) -> String {
    let swapped = name.chars().map(|c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    });
    swapped.collect()
}

/// What the kernel goes by.
pub(super) fn in_force(context: &Context, name: &str) -> Reading {
    setting(context, &canonical(name))
}

fn setting(context: &Context, name: &str) -> Reading {
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Reading::Unreadable { why: "this is no name of a setting".to_owned() };
    }
    let path = format!("{TOP}/{name}");
    match file::read(context.place.root(), Path::new(&path), VALUE_BYTES_MAX) {
        Ok(Some(bytes)) => Reading::text(bytes),
        Ok(None) => Reading::Absent,
        Err(reason) => Reading::Unreadable { why: reason.to_string() },
    }
}

/// The names of settings, in order.
fn listed(context: &Context, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, String> {
    let top = match locate(context.place.root(), Path::new(TOP)) {
        Ok(Some(top)) => top,
        Ok(None) => return Err("there is no /proc/sys".to_owned()),
        Err(reason) => return Err(reason.to_string()),
    };
    let mut names = Vec::new();
    let mut seen = 0;
    let mut waiting = vec![String::new()];
    while let Some(directory) = waiting.pop() {
        for (name, is_directory) in entries(&top, &directory).map_err(|error| error.to_string())? {
            seen += 1;
            if seen > SETTINGS_MAX {
                return Err(format!("there are more than {SETTINGS_MAX} settings"));
            }
            let name = if directory.is_empty() { name } else { format!("{directory}/{name}") };
            if is_directory {
                if name.split('/').count() < DEPTH_MAX {
                    waiting.push(name);
                }
            } else if wanted(&name) {
                names.push(name);
            }
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn entries(top: &OwnedFd, directory: &str) -> Result<Vec<(String, bool)>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = if directory.is_empty() { "." } else { directory };
    let opened = match openat(top, path, flags, Mode::empty()) {
        Ok(opened) => opened,
        // An interface that went took its settings with it.
        Err(Errno::NOENT | Errno::ACCESS) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in Dir::read_from(&opened)? {
        let entry = entry?;
        // No setting's name is anything but text.
        let Ok(name) = entry.file_name().to_str() else { continue };
        if !matches!(name, "." | "..") {
            found.push((name.to_owned(), entry.file_type() == FileType::Directory));
        }
    }
    Ok(found)
}

/// What the files of a root declare, by path below `/proc/sys`: of several the last counts.
fn declared(context: &Context, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, Vec<u8>> {
    let root = context.place.root();
    let mut files = BTreeMap::new();
    for directory in DIRECTORIES {
        for name in names(context, directory) {
            let path = Path::new(directory).join(&name);
            files.entry(name).or_insert(path);
        }
    }
    let last = PathBuf::from("/etc/sysctl.conf");
    let mut settings = BTreeMap::new();
    for path in files.values().chain([&last]) {
        let Ok(Some(bytes)) = file::read(root, path, file::BYTES_MAX) else { continue };
        let tree = format::parse(Format::Sysctl, &bytes);
        for key in tree.keys() {
            let (name, Some(value)) = (key.to_string(), tree.get(&key)) else { continue };
            // The formats' own way to tell repeated names apart.
            let name = name.trim_matches('"').split('[').next().unwrap_or_default();
            let name = canonical(name);
            if wanted(&name) {
                settings.insert(name, value.to_vec());
            }
        }
    }
    settings
}

/// Files with settings in a directory of the root; none if it is missing.
fn names(context: &Context, directory: &str) -> Vec<std::ffi::OsString> {
    let Ok(Some(found)) = locate(context.place.root(), Path::new(directory)) else {
        return Vec::new();
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(opened) = openat(&found, ".", flags, Mode::empty()) else { return Vec::new() };
    let Ok(listing) = Dir::read_from(&opened) else { return Vec::new() };
    let names = listing
        .filter_map(Result::ok)
        .map(|entry| std::ffi::OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
    names.filter(|name| name.as_bytes().ends_with(b".conf")).take(SETTINGS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_two_spellings() {
        assert_eq!(canonical("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(canonical("net/ipv4/conf/eth0.1/rp_filter"), "net/ipv4/conf/eth0.1/rp_filter");
        assert_eq!(canonical("net.ipv4.conf.eth0/1.rp_filter"), "net/ipv4/conf/eth0.1/rp_filter");
        assert_eq!(dotted("net/ipv4/conf/eth0.1/rp_filter"), "net.ipv4.conf.eth0/1.rp_filter");
    }
}
