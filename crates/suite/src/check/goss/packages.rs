//! Debian packages, from the shadow's own `var/lib/dpkg/status` (and `status.d`, which
//! distroless images have instead).

use std::collections::BTreeMap;

use super::world::World;
use super::{Actual, Facts, Resource};
use crate::target::{ProbeError, root};

const STATUS_D_MAX: usize = 10_000;

/// Installed packages: versions by name, one per architecture.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Packages {
    installed: BTreeMap<String, Vec<(String, String)>>,
}

impl Packages {
    pub(super) fn read(world: &World<'_>) -> Result<Self, ProbeError> {
        let mut packages = Self::default();
        let status = world.file(b"var/lib/dpkg/status")?;
        let pieces = root::read_dir(world.target.root(), b"var/lib/dpkg/status.d", STATUS_D_MAX)?;
        if status.is_none() && pieces.is_none() {
            return Err(ProbeError::Malformed {
                what: "the installed packages".to_owned(),
                detail: "there is no var/lib/dpkg/status".to_owned(),
            });
        }
        packages.add(&status.unwrap_or_default(), false);
        for name in pieces.into_iter().flatten().filter(|name| !name.ends_with(b".md5sums")) {
            let path = [b"var/lib/dpkg/status.d/".as_slice(), &name].concat();
            packages.add(&world.file(&path)?.unwrap_or_default(), true);
        }
        Ok(packages)
    }

    /// Adds the stanzas of a status file; those of `status.d` have no status of their own.
    fn add(&mut self, text: &[u8], all_installed: bool) {
        let text = String::from_utf8_lossy(text);
        for stanza in text.split("\n\n") {
            let (mut name, mut version, mut architecture, mut status) = (None, None, None, None);
            for line in stanza.lines().filter(|line| !line.starts_with([' ', '\t'])) {
                let Some((key, value)) = line.split_once(':') else { continue };
                match key {
                    "Package" => name = Some(value.trim()),
                    "Version" => version = Some(value.trim()),
                    "Architecture" => architecture = Some(value.trim()),
                    "Status" => status = Some(value.trim()),
                    _ => {}
                }
            }
            let installed = all_installed
                || status.is_some_and(|status| status.split(' ').next_back() == Some("installed"));
            if let (true, Some(name), Some(version)) = (installed, name, version) {
                let architecture = architecture.unwrap_or_default().to_owned();
                let versions = self.installed.entry(name.to_owned()).or_default();
                versions.push((architecture, version.to_owned()));
            }
        }
    }

    /// The versions of a package, which may be named with its architecture (`libc6:amd64`).
    fn versions(&self, name: &str) -> Vec<String> {
        let (name, architecture) = match name.split_once(':') {
            Some((name, architecture)) => (name, Some(architecture)),
            None => (name, None),
        };
        let versions = self.installed.get(name).into_iter().flatten();
        let wanted = |known: &str| architecture.is_none_or(|architecture| architecture == known);
        versions.filter(|(known, _)| wanted(known)).map(|(_, version)| version.clone()).collect()
    }
}

/// How many packages a status file says are installed.
#[cfg(feature = "fuzzing")]
pub(crate) fn count(text: &[u8]) -> usize {
    let mut packages = Packages::default();
    packages.add(text, false);
    packages.installed.len()
}

pub(super) fn observe(resource: &Resource, world: &World<'_>) -> Result<Facts, ProbeError> {
    let versions = world.packages()?.versions(&resource.id);
    Ok(Facts::from([
        ("installed", (!versions.is_empty()).into()),
        ("versions", Actual::list(versions)),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_is_installed_counts() {
        let mut packages = Packages::default();
        packages.add(
            b"Package: nginx\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.22.1-9\nDescription: x\n Version: 9\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: half\nStatus: install ok half-installed\nVersion: 2\n",
            false,
        );
        assert_eq!(packages.versions("nginx"), ["1.22.1-9"]);
        assert_eq!(packages.versions("nginx:amd64"), ["1.22.1-9"]);
        assert!(packages.versions("nginx:arm64").is_empty());
        assert!(packages.versions("gone").is_empty());
        assert!(packages.versions("half").is_empty());
    }

    proptest! {
        #[test]
        fn never_panics(text in "(Package|Status|Version|:| |installed|\n|\n\n|a|é){0,60}") {
            let mut packages = Packages::default();
            packages.add(text.as_bytes(), false);
            prop_assert!(packages.installed.len() <= text.len());
        }
    }
}
