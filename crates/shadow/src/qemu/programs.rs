//! The programs of this machine that virtual machines are made with, found in one place, so
//! that a missing one is told of with the package that has it.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A program that is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Program {
    /// What its file is called.
    name: &'static str,
    /// What it is for, as a fragment after "which".
    purpose: &'static str,
    /// The Debian package that has it.
    package: &'static str,
    /// Where it is besides the places programs are looked for in.
    places: &'static [&'static str],
}

/// Runs virtual machines.
pub(crate) const QEMU: Program =
    program("qemu-system-x86_64", "runs virtual machines", "qemu-system-x86", &[]);

/// Shows a directory of this machine in a virtual one. Debian 12 has it beside QEMU, later ones
/// in a package of its own.
pub(crate) const VIRTIOFSD: Program = program(
    "virtiofsd",
    "shows a virtual machine its files",
    "virtiofsd (on Debian 12 qemu-system-common)",
    &["/usr/libexec", "/usr/lib/qemu"],
);

/// Makes read-only disks.
pub(crate) const MKFS_EROFS: Program =
    program("mkfs.erofs", "makes read-only disks", "erofs-utils", &[]);

/// Knows which kernel is the newest.
pub(crate) const APT_CACHE: Program =
    program("apt-cache", "says which package has the kernel", "apt", &[]);

/// Fetches packages.
pub(crate) const APT_GET: Program = program("apt-get", "fetches a kernel", "apt", &[]);

/// Unpacks packages.
pub(crate) const DPKG_DEB: Program = program("dpkg-deb", "unpacks a fetched kernel", "dpkg", &[]);

const fn program(
    name: &'static str,
    purpose: &'static str,
    package: &'static str,
    places: &'static [&'static str],
) -> Program {
    Program { name, purpose, package, places }
}

/// A program is not on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("find the program {name}, which {purpose}: install the Debian package {package}")]
pub(crate) struct MissingProgram {
    name: &'static str,
    purpose: &'static str,
    package: &'static str,
}

impl Program {
    /// Its path.
    pub(crate) fn find(&self) -> Result<PathBuf, MissingProgram> {
        self.find_in(&Places::of_this_process())
    }

    /// Its path below places that are known.
    pub(crate) fn find_in(&self, places: &Places) -> Result<PathBuf, MissingProgram> {
        let own = self.places.iter().map(PathBuf::from).filter(|_| places.and_own);
        let mut paths = places.dirs.iter().cloned().chain(own).map(|dir| dir.join(self.name));
        paths.find(|path| is_program(path)).ok_or(MissingProgram {
            name: self.name,
            purpose: self.purpose,
            package: self.package,
        })
    }
}

/// Directories programs are looked for in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    dirs: Vec<PathBuf>,
    and_own: bool,
}

impl Places {
    /// `PATH`, and where root's programs are, which not every account's `PATH` names.
    pub(crate) fn of_this_process() -> Self {
        Self::of_path(&std::env::var_os("PATH").unwrap_or_default())
    }

    /// Only these, so that a test decides what there is.
    #[cfg(test)]
    pub(crate) fn only(dirs: &[&Path]) -> Self {
        Self { dirs: dirs.iter().map(|dir| dir.to_path_buf()).collect(), and_own: false }
    }

    fn of_path(path: &OsString) -> Self {
        let extra = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
        // What is looked for relative to a working directory would be anybody's.
        let named = std::env::split_paths(path).filter(|dir| dir.is_absolute());
        Self { dirs: named.chain(extra).collect(), and_own: true }
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_program_is_an_executable_file_in_the_first_place_that_has_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = |name: &str| {
            let place = dir.path().join(name);
            fs::create_dir(&place).expect("made");
            place
        };
        let (plain, folder, good, later) = (place("a"), place("b"), place("c"), place("d"));
        fs::write(plain.join(QEMU.name), "").expect("written");
        fs::create_dir(folder.join(QEMU.name)).expect("made");
        for place in [&good, &later] {
            let path = place.join(QEMU.name);
            fs::write(&path, "").expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
        }
        let places = Places::only(&[&plain, &folder, &good, &later]);
        assert_eq!(QEMU.find_in(&places), Ok(good.join(QEMU.name)));
    }

    #[test]
    fn a_missing_one_is_told_of_with_its_package() {
        let missing = VIRTIOFSD.find_in(&Places::only(&[])).expect_err("nothing is there");
        let text = missing.to_string();
        for word in ["virtiofsd", "shows a virtual machine its files", "qemu-system-common"] {
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn relative_places_are_nobodys() {
        let places = Places::of_path(&OsString::from(".:bin::/usr/bin"));
        assert!(places.dirs.iter().all(|dir| dir.is_absolute()), "{places:?}");
        assert_eq!(places.dirs[0], Path::new("/usr/bin"));
    }
}
