//! Whether a file is what an installed package ships.
//!
//! dpkg notes the MD5 sum of every file it installs in `info/*.md5sums`, of configuration files
//! in its list, and of a package it is unpacking in `tmp.ci`. That is no proof against somebody
//! who can write there; it tells an upgrade from a change by hand. Directories and links it only
//! lists, in `info/*.list`: of these the path alone counts. Files that were diverted
//! (`dpkg-divert`) are not explained.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use md5::{Digest as _, Md5};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};

use super::status::{Packages, Status, md5};
use crate::collect::place::Place;
use crate::file::{Reason, kind_of, locate, moment, read};

const INFO: &str = "/var/lib/dpkg/info";
const UNPACKING: &str = "/var/lib/dpkg/tmp.ci";
/// Sums of one package; the largest have some hundred thousand files.
const SUMS_BYTES_MAX: u64 = 64 << 20;
const PACKAGES_MAX: usize = 200_000;
/// Larger files are not compared.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// The package a file is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
}

/// What installed packages ship, read when it is first asked for and again where it changed.
#[derive(Debug, Default)]
pub struct Manifest {
    status: Status,
    lists: BTreeMap<Vec<u8>, List>,
    /// The listing's directory as it was last read.
    info: Option<Moment>,
}

/// Size and times of what was read.
type Moment = (u64, i64, i64, u64, i64, u64);

/// The sums of one package. A path is known by its hash: there are hundreds of thousands, and a
/// collision needs the same sum, too, to do harm.
#[derive(Debug)]
struct List {
    read: Moment,
    sums: Vec<(u64, [u8; 16])>,
    /// Everything it brings, directories and links too.
    paths: Vec<u64>,
}

impl Manifest {
    /// The package that ships exactly these bytes at `path` inside the place, if any does; of a
    /// directory or a link, the first that has one there. The file is read only if some package
    /// has a file there.
    pub fn explains(&mut self, place: &Place, path: &Path) -> Option<PackageFile> {
        let kind = kind_at(place, path)?;
        if matches!(kind, FileType::Directory | FileType::Symlink) {
            return self.brought(place, path);
        }
        let shipped = self.shipped(place, path);
        if shipped.is_empty() {
            return None;
        }
        let sum = sum_of(place, path)?;
        shipped.into_iter().find(|(_, shipped)| *shipped == sum).map(|(file, _)| file)
    }

    /// A package that brings what is no file to `path`.
    fn brought(&mut self, place: &Place, path: &Path) -> Option<PackageFile> {
        self.refresh(place);
        let bytes = path.as_os_str().as_bytes();
        let wanted: Vec<u64> = spellings(bytes).map(hash).collect();
        let brings =
            |list: &List| wanted.iter().any(|wanted| list.paths.binary_search(wanted).is_ok());
        // What is a file by its sum is one, whatever took its place.
        let ships = |list: &List| {
            let is =
                |wanted: &u64| list.sums.binary_search_by_key(wanted, |(hash, _)| *hash).is_ok();
            wanted.iter().any(is)
        };
        let lists = self.lists.iter().filter(|(_, list)| brings(list) && !ships(list));
        let names: Vec<Vec<u8>> = lists.map(|(name, _)| name.clone()).collect();
        let packages = self.status.packages(place).ok()??;
        let conffile = |package: &super::status::Installed| {
            package.conffiles.iter().any(|(conffile, _)| conffile == bytes)
        };
        names
            .iter()
            .find_map(|name| installed(packages, name).filter(|one| !conffile(one)))
            .map(super::status::Installed::file)
    }

    /// The packages that ship a file at `path`, each with the MD5 sum of its bytes.
    pub fn shipped(&mut self, place: &Place, path: &Path) -> Vec<(PackageFile, [u8; 16])> {
        self.refresh(place);
        let bytes = path.as_os_str().as_bytes();
        let mut names = Vec::new();
        for spelling in spellings(bytes) {
            let wanted = hash(spelling);
            for (list, found) in &self.lists {
                let at = found.sums.partition_point(|(hash, _)| *hash < wanted);
                let same = found.sums.get(at..).unwrap_or_default();
                let same = same.iter().take_while(|(hash, _)| *hash == wanted);
                names.extend(same.map(|(_, sum)| (list.clone(), *sum)));
            }
        }
        let mut shipped = unpacking(place, bytes);
        let Ok(Some(packages)) = self.status.packages(place) else { return shipped };
        for (list, sum) in names {
            shipped.extend(installed(packages, &list).map(|package| (package.file(), sum)));
        }
        for package in packages.values().flatten() {
            let own = package.conffiles.iter().filter(|(conffile, _)| conffile == bytes);
            shipped.extend(own.map(|(_, sum)| (package.file(), *sum)));
        }
        shipped
    }

    /// Reads what has changed since the last time.
    fn refresh(&mut self, place: &Place) {
        let Ok(Some(found)) = locate(place.root(), Path::new(INFO)) else {
            self.lists.clear();
            self.info = None;
            return;
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(info) = openat(&found, ".", flags, Mode::empty()) else { return };
        let Ok(now) = fstat(&info).map(|stat| moment_of(&stat)) else { return };
        if self.info == Some(now) {
            return;
        }
        let Ok(listing) = Dir::read_from(&info) else { return };
        let mut lists = BTreeMap::new();
        for entry in listing.filter_map(Result::ok).take(PACKAGES_MAX) {
            let file = entry.file_name();
            let Some(name) = file.to_bytes().strip_suffix(b".md5sums") else { continue };
            let Ok(stat) = statat(&info, file, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let read_at = moment_of(&stat);
            let list = match self.lists.remove(name) {
                Some(list) if list.read == read_at => list,
                _ => List {
                    read: read_at,
                    sums: sums(place, &format_path(INFO, file.to_bytes())),
                    paths: paths(place, &format_path(INFO, &[name, b".list"].concat())),
                },
            };
            lists.insert(name.to_vec(), list);
        }
        self.lists = lists;
        // Only what was at rest is left alone the next time.
        self.info = fstat(&info).ok().map(|stat| moment_of(&stat)).filter(|then| *then == now);
    }
}

impl super::status::Installed {
    fn file(&self) -> PackageFile {
        PackageFile {
            package: String::from_utf8_lossy(&self.name).into_owned(),
            version: String::from_utf8_lossy(&self.version).into_owned(),
        }
    }
}

/// The package of a list: `libc6:amd64` where one is there for several architectures.
fn installed<'a>(packages: &'a Packages, list: &[u8]) -> Option<&'a super::status::Installed> {
    let mut parts = list.splitn(2, |byte| *byte == b':');
    let (name, architecture) = (parts.next().unwrap_or_default(), parts.next());
    packages.get(name)?.iter().find(|package| {
        architecture.is_none_or(|architecture| package.architecture == architecture)
    })
}

fn format_path(directory: &str, name: &[u8]) -> std::path::PathBuf {
    Path::new(directory).join(std::ffi::OsStr::from_bytes(name))
}

fn moment_of(stat: &Stat) -> Moment {
    (
        stat.st_ino,
        stat.st_size,
        stat.st_mtime,
        stat.st_mtime_nsec,
        stat.st_ctime,
        stat.st_ctime_nsec,
    )
}

fn hash(path: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

/// The path as a list may have it: without the `/` before it, and from before `/bin` and its
/// like became links into `/usr`.
fn spellings(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let merged: [&[u8]; 6] = [b"bin/", b"sbin/", b"lib/", b"lib32/", b"lib64/", b"libx32/"];
    let before = path.strip_prefix(b"usr/");
    let before = before.filter(|rest| merged.iter().any(|top| rest.starts_with(top)));
    [Some(path), before].into_iter().flatten()
}

/// `/etc/sysctl.d`, a line each; the first is `/.`.
fn paths(place: &Place, path: &Path) -> Vec<u64> {
    let Ok(Some(bytes)) = read(place.root(), path, SUMS_BYTES_MAX) else { return Vec::new() };
    let lines = bytes.split(|byte| *byte == b'\n');
    let mut paths: Vec<_> = lines.filter_map(|line| line.strip_prefix(b"/")).map(hash).collect();
    paths.sort_unstable();
    paths
}

fn kind_at(place: &Place, path: &Path) -> Option<FileType> {
    let parent = locate(place.root(), path.parent()?).ok()??;
    let stat = statat(&parent, path.file_name()?, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}

fn sums(place: &Place, path: &Path) -> Vec<(u64, [u8; 16])> {
    let Ok(Some(bytes)) = read(place.root(), path, SUMS_BYTES_MAX) else { return Vec::new() };
    let mut sums: Vec<_> = lines(&bytes).map(|(path, sum)| (hash(path), sum)).collect();
    sums.sort_unstable();
    sums
}

/// `7210080490f9fd139c1b44fa0f730988  bin/bash`
fn lines(list: &[u8]) -> impl Iterator<Item = (&[u8], [u8; 16])> {
    list.split(|byte| *byte == b'\n').filter_map(|line| {
        let (sum, rest) = line.split_at_checked(32)?;
        Some((rest.strip_prefix(b"  ")?, md5(sum)?))
    })
}

/// What the package that is being unpacked right now ships at a path.
fn unpacking(place: &Place, path: &[u8]) -> Vec<(PackageFile, [u8; 16])> {
    let load = |name: &[u8]| read(place.root(), &format_path(UNPACKING, name), SUMS_BYTES_MAX);
    let (Ok(Some(control)), Ok(Some(list))) = (load(b"control"), load(b"md5sums")) else {
        return Vec::new();
    };
    let field = |name: &[u8]| {
        let line = control.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name));
        String::from_utf8_lossy(line.unwrap_or_default()).trim().to_owned()
    };
    let file = PackageFile { package: field(b"Package:"), version: field(b"Version:") };
    let spellings: Vec<&[u8]> = spellings(path).collect();
    lines(&list)
        .filter(|(path, _)| spellings.contains(path))
        .map(|(_, sum)| (file.clone(), sum))
        .collect()
}

/// The sum of a regular file; `None` for anything else.
fn sum_of(place: &Place, path: &Path) -> Option<[u8; 16]> {
    // A package ships the file, never a link to where it is.
    let parent = locate(place.root(), path.parent()?).ok()??;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat(&parent, path.file_name()?, flags, Mode::empty()).ok()?;
    let before = fstat(&found).ok().filter(|stat| kind_of(stat).is_none())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let magic = format!("/proc/self/fd/{}", found.as_raw_fd());
    let file = openat(rustix::fs::CWD, magic, flags, Mode::empty()).ok()?;
    let sum = digest(&file).ok()?;
    (moment(&fstat(&file).ok()?) == moment(&before)).then_some(sum)
}

fn digest(file: &OwnedFd) -> Result<[u8; 16], Reason> {
    let mut hasher = Md5::new();
    let mut buffer = vec![0u8; 128 << 10];
    let mut total = 0;
    loop {
        match rustix::io::read(file, &mut buffer) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(count) => {
                total += count as u64;
                if total > FILE_BYTES_MAX {
                    return Err(Reason::TooLarge { bytes_max: FILE_BYTES_MAX });
                }
                hasher.update(buffer.get(..count).unwrap_or_default());
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Reason::Refused(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Root {
        dir: tempfile::TempDir,
        place: Place,
        manifest: Manifest,
    }

    impl Root {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let place = Place::directory(dir.path()).expect("a place");
            let root = Self { dir, place, manifest: Manifest::default() };
            root.write("var/lib/dpkg/status", b"");
            fs::create_dir_all(root.dir.path().join("var/lib/dpkg/info")).expect("made");
            root
        }

        fn write(&self, path: &str, bytes: &[u8]) {
            let path = self.dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, bytes).expect("written");
        }

        fn explained(&mut self, path: &str) -> Option<String> {
            let file = self.manifest.explains(&self.place, Path::new(path))?;
            Some(format!("{} {}", file.package, file.version))
        }
    }

    fn hex(bytes: &[u8]) -> String {
        Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn what_a_package_ships_is_explained() {
        let mut root = Root::new();
        assert_eq!(root.explained("/usr/bin/bash"), None);
        let status = format!(
            "Package: bash\nArchitecture: amd64\nVersion: 5.2\n\n\
             Package: ssh\nVersion: 9\nConffiles:\n /etc/ssh.conf {}\n\n",
            hex(b"conf")
        );
        root.write("var/lib/dpkg/status", status.as_bytes());
        let sums = format!("{}  bin/bash\nnonsense\n", hex(b"shell"));
        root.write("var/lib/dpkg/info/bash:amd64.md5sums", sums.as_bytes());
        root.write("usr/bin/bash", b"shell");
        root.write("etc/ssh.conf", b"conf");
        assert_eq!(root.explained("/usr/bin/bash").as_deref(), Some("bash 5.2"));
        assert_eq!(root.explained("/etc/ssh.conf").as_deref(), Some("ssh 9"));
        root.write("usr/bin/bash", b"shells");
        root.write("etc/ssh.conf", b"mine");
        assert_eq!(root.explained("/usr/bin/bash"), None);
        assert_eq!(root.explained("/etc/ssh.conf"), None);
        assert_eq!(root.explained("/etc/other"), None);
    }

    #[test]
    fn an_upgrade_under_way_is_explained() {
        let mut root = Root::new();
        root.write("var/lib/dpkg/tmp.ci/control", b"Package: vim\nVersion: 2:9\n");
        let sums = format!("{}  usr/bin/vim\n", hex(b"new"));
        root.write("var/lib/dpkg/tmp.ci/md5sums", sums.as_bytes());
        root.write("usr/bin/vim", b"new");
        assert_eq!(root.explained("/usr/bin/vim").as_deref(), Some("vim 2:9"));
        root.write("usr/bin/vim", b"old");
        assert_eq!(root.explained("/usr/bin/vim"), None);
    }

    /// What is read once is read again when it has changed.
    #[test]
    fn a_list_that_changed_counts() {
        let mut root = Root::new();
        root.write("var/lib/dpkg/status", b"Package: a\nVersion: 1\n");
        root.write("usr/a", b"one");
        assert_eq!(root.explained("/usr/a"), None);
        let sums = format!("{}  usr/a\n", hex(b"one"));
        root.write("var/lib/dpkg/info/a.md5sums", sums.as_bytes());
        assert_eq!(root.explained("/usr/a").as_deref(), Some("a 1"));
        root.write("var/lib/dpkg/status", b"Package: a\nVersion: 22\n");
        assert_eq!(root.explained("/usr/a").as_deref(), Some("a 22"));
    }

    #[test]
    fn directories_and_links_are_explained_by_their_path() {
        let mut root = Root::new();
        root.write("var/lib/dpkg/status", b"Package: a\nVersion: 1\n");
        root.write("var/lib/dpkg/info/a.md5sums", format!("{}  usr/a\n", hex(b"one")).as_bytes());
        root.write("var/lib/dpkg/info/a.list", b"/.\n/etc\n/etc/a\n/etc/a/link\n/usr/a\n");
        root.write("etc/a/file", b"");
        std::os::unix::fs::symlink("file", root.dir.path().join("etc/a/link")).expect("linked");
        std::os::unix::fs::symlink("file", root.dir.path().join("etc/a/other")).expect("linked");
        assert_eq!(root.explained("/etc/a").as_deref(), Some("a 1"));
        assert_eq!(root.explained("/etc/a/link").as_deref(), Some("a 1"));
        assert_eq!((root.explained("/etc/a/other"), root.explained("/etc/a/file")), (None, None));
    }

    #[test]
    fn a_link_is_not_what_it_leads_to() {
        let mut root = Root::new();
        root.write("var/lib/dpkg/status", b"Package: a\nVersion: 1\n");
        root.write("var/lib/dpkg/info/a.md5sums", format!("{}  usr/a\n", hex(b"one")).as_bytes());
        root.write("usr/b", b"one");
        std::os::unix::fs::symlink("b", root.dir.path().join("usr/a")).expect("linked");
        assert_eq!(root.explained("/usr/a"), None);
    }
}
