//! dpkg's list of packages, read directly.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::fs::{Stat, fstat};

use crate::collect::place::Place;
use crate::file::{self, Reason, locate, moment};

/// The list.
pub(in crate::collect) const PATH: &str = "/var/lib/dpkg/status";
/// Some megabytes on a large machine.
const BYTES_MAX: u64 = 128 << 20;

/// What was last read of the list, read again when it has changed.
#[derive(Default)]
pub(in crate::collect) struct Status {
    seen: Option<Stat>,
    packages: Packages,
}

/// By name, one for each architecture.
pub(in crate::collect) type Packages = BTreeMap<Vec<u8>, Vec<Installed>>;

/// A package as dpkg has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::collect) struct Installed {
    pub(in crate::collect) name: Vec<u8>,
    pub(in crate::collect) version: Vec<u8>,
    pub(in crate::collect) architecture: Vec<u8>,
    /// Such as `install ok installed`.
    pub(in crate::collect) status: Vec<u8>,
    /// Configuration files as they were shipped, by their paths.
    pub(in crate::collect) conffiles: Vec<(Vec<u8>, [u8; 16])>,
}

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Status").field("packages", &self.packages.len()).finish_non_exhaustive()
    }
}

impl Status {
    /// Every package by name, one for each architecture; `None` if there is no list, or why it
    /// is not known, as a sentence after "because".
    pub(in crate::collect) fn packages(
        &mut self,
        place: &Place,
    ) -> Result<Option<&Packages>, String> {
        let told = |reason: Reason| format!("{PATH} cannot be read: {reason}");
        let Some(found) = locate(place.root(), Path::new(PATH)).map_err(told)? else {
            self.seen = None;
            return Ok(None);
        };
        let stat = fstat(&found).map_err(|error| told(Reason::Refused(error)))?;
        let same = |seen: &Stat| {
            moment(seen) == moment(&stat)
                && (seen.st_dev, seen.st_ino) == (stat.st_dev, stat.st_ino)
        };
        if !self.seen.as_ref().is_some_and(same) {
            let bytes = file::read(place.root(), Path::new(PATH), BYTES_MAX).map_err(told)?;
            self.packages = parse(&bytes.unwrap_or_default());
            // If it has changed since, it is read again.
            self.seen = Some(stat);
        }
        Ok(Some(&self.packages))
    }
}

/// The stanzas of a list; what is no stanza of a package is passed over.
fn parse(list: &[u8]) -> Packages {
    let mut packages = Packages::new();
    let mut current = Installed::default();
    let mut in_conffiles = false;
    // One empty line more ends the last stanza.
    for line in list.split(|byte| *byte == b'\n').chain([&b""[..]]) {
        if line.is_empty() {
            let done = std::mem::take(&mut current);
            if !done.name.is_empty() {
                packages.entry(done.name.clone()).or_default().push(done);
            }
            in_conffiles = false;
        } else if line.starts_with(b" ") {
            if in_conffiles {
                current.conffiles.extend(conffile(line));
            }
        } else {
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let (field, rest) = line.split_at(colon);
            let value = rest.strip_prefix(b":").unwrap_or(rest).trim_ascii().to_vec();
            in_conffiles = field == b"Conffiles";
            match field {
                b"Package" => current.name = value,
                b"Version" => current.version = value,
                b"Architecture" => current.architecture = value,
                b"Status" => current.status = value,
                _ => {}
            }
        }
    }
    for all in packages.values_mut() {
        all.sort_by(|a, b| a.architecture.cmp(&b.architecture));
    }
    packages
}

/// ` /etc/adduser.conf cc3493ec... [obsolete]`
fn conffile(line: &[u8]) -> Option<(Vec<u8>, [u8; 16])> {
    let line = line.trim_ascii();
    let line = [&b" remove-on-upgrade"[..], b" obsolete"]
        .iter()
        .fold(line, |line, word| line.strip_suffix(*word).unwrap_or(line));
    let space = line.iter().rposition(|byte| *byte == b' ')?;
    let (path, sum) = line.split_at(space);
    Some((path.to_vec(), md5(sum.trim_ascii())?))
}

/// 32 hexadecimal digits.
pub(super) fn md5(digits: &[u8]) -> Option<[u8; 16]> {
    if digits.len() != 32 {
        return None;
    }
    let mut sum = [0; 16];
    for (byte, pair) in sum.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stanzas_are_packages() {
        let list = b"Package: adduser\nStatus: install ok installed\nArchitecture: all\n\
            Version: 3.134\nConffiles:\n /etc/a b.conf cc3493ecd2d09837ffdcc3e25fdfff18\n \
            /etc/old 11a06baf8245fd8d690b99024d228c1f obsolete\nDescription: add\n /etc/no \
            11a06baf8245fd8d690b99024d228c1f\n\n\nPackage: libc6\nVersion: 2\nArchitecture: i386\n\n\
            Package: libc6\nVersion: 2\nArchitecture: amd64\n";
        let found = parse(list);
        let adduser = &found[&b"adduser"[..]][0];
        assert_eq!(adduser.version, b"3.134");
        assert_eq!(adduser.status, b"install ok installed");
        let paths: Vec<_> = adduser.conffiles.iter().map(|(path, _)| path.as_slice()).collect();
        assert_eq!(paths, [&b"/etc/a b.conf"[..], b"/etc/old"]);
        let libc: Vec<_> = found[&b"libc6"[..]].iter().map(|p| p.architecture.clone()).collect();
        assert_eq!(libc, [b"amd64".to_vec(), b"i386".to_vec()]);
        assert!(parse(b"\xff\n : \n\n").is_empty());
    }
}
