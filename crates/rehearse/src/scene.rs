//! What lies where edits go, read once from a view without any.
//!
//! A path may lead over links; where it really is in the shadow's tree is found here, step by
//! step and never out of the root, so that layers can be written without looking again.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, Stat, fstat};
use rustix::io::Errno;
use umbra_api::blob::Blob;
use umbra_drift::attributes::{
    ACL_NAME, CAPS_NAME, Kind, Xattrs, encode_id, encode_mode, encode_type, insert_xattrs,
};
use umbra_drift::config::Attribute;
use umbra_drift::file;
use umbra_drift::reading::{Content, Reading, Value};
use umbra_state::chain;
use umbra_suite::target::root;

use crate::ids;

/// Links on the way to a path.
const LINKS_MAX: usize = 40;
/// Bytes of a path, as the kernel has it.
const PATH_MAX: usize = 4096;
/// Bytes of a name in it.
const NAME_MAX: usize = 255;
/// Bytes of all files' contents together.
const CONTENTS_MAX: u64 = 256 << 20;
/// Bytes of a list of extended attributes, and of one of them.
const XATTR_MAX: usize = 1 << 16;

/// Where an edit goes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    /// The directories down to it, without links, each with what it is like; `Absent` if it is
    /// not there yet.
    pub(crate) parents: Vec<(Vec<u8>, Reading)>,
    /// Its name in the last of them.
    pub(crate) name: Vec<u8>,
    /// What lies there.
    pub(crate) found: Reading,
}

/// A shadow's files as nobody has edited them.
pub(crate) struct Scene<'a> {
    root: BorrowedFd<'a>,
    /// What 0 inside is outside.
    ids_base: u32,
    left: u64,
    dirs: BTreeMap<Vec<u8>, Reading>,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(root: BorrowedFd<'a>, ids_base: u32) -> Self {
        Self { root, ids_base, left: CONTENTS_MAX, dirs: BTreeMap::new() }
    }

    /// Where `path` is; with `follow` where a link that lies there leads. An error says why
    /// nobody knows.
    pub(crate) fn place(&mut self, path: &[u8], follow: bool) -> Result<Place, String> {
        let (parents, name) = self.resolve(path, follow)?;
        let found = self.reading(&joined(&parents, Some(&name)), true)?;
        let mut described = Vec::with_capacity(parents.len());
        for depth in 0..parents.len() {
            let at = joined(&parents[..=depth], None);
            let known = match self.dirs.get(&at) {
                Some(known) => known.clone(),
                None => {
                    let known = self.reading(&at, false)?;
                    self.dirs.insert(at, known.clone());
                    known
                }
            };
            described.push((parents[depth].clone(), known));
        }
        Ok(Place { parents: described, name, found })
    }

    /// What the root itself is like.
    pub(crate) fn top(&mut self) -> Result<Reading, String> {
        self.reading(b"/", false)
    }

    /// The real directories down to a path, and its name.
    fn resolve(&self, path: &[u8], follow: bool) -> Result<(Vec<Vec<u8>>, Vec<u8>), String> {
        if path.first() != Some(&b'/') || path.len() > PATH_MAX || path.contains(&0) {
            return Err("it is no path from the root".to_owned());
        }
        let mut ahead: VecDeque<Vec<u8>> = names(path).map(<[u8]>::to_vec).collect();
        if ahead.iter().any(|name| name == b"..") {
            return Err("it has .. in it".to_owned());
        }
        let mut at: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            if name == b".." {
                at.pop();
                continue;
            }
            if name.len() > NAME_MAX {
                return Err("it has a name longer than any".to_owned());
            }
            at.push(name);
            if ahead.is_empty() && !follow {
                break;
            }
            let here = joined(&at, None);
            let Some(target) = root::read_link(self.root, &here).map_err(|e| chain(&e))? else {
                continue;
            };
            links += 1;
            if links > LINKS_MAX {
                return Err("its links lead in a circle".to_owned());
            }
            at.pop();
            if target.first() == Some(&b'/') {
                at.clear();
            }
            for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
                ahead.push_front(name.to_vec());
            }
        }
        let name = at.pop().ok_or("it is the root itself")?;
        Ok((at, name))
    }

    /// What lies at a real path, in the words of readings.
    fn reading(&mut self, path: &[u8], content: bool) -> Result<Reading, String> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let Some(fd) = root::open(self.root, path, flags).map_err(|error| chain(&error))? else {
            return Ok(Reading::Absent);
        };
        let stat = fstat(&fd).map_err(refused)?;
        let Some(kind) = Kind::of_mode(stat.st_mode) else {
            return Err("nobody knows what lies there".to_owned());
        };
        let mut value = Value { content: None, attributes: self.attributes(&fd, kind, &stat)? };
        match kind {
            Kind::Link => {
                let target = root::read_link(self.root, path).map_err(|error| chain(&error))?;
                value.attributes.insert(Attribute::Link, Blob(target.unwrap_or_default()));
            }
            Kind::File if content => value.content = self.content(path, &stat),
            _ => {}
        }
        Ok(Reading::Present(value))
    }

    /// `None` for what is too much to be kept: whoever needs it says so.
    fn content(&mut self, path: &[u8], stat: &Stat) -> Option<Content> {
        let size = u64::try_from(stat.st_size).ok()?;
        if size > self.left {
            return None;
        }
        let bytes = root::read_file(self.root, path, file::BYTES_MAX.min(self.left)).ok()??;
        self.left = self.left.saturating_sub(bytes.len() as u64);
        Some(Content::Bytes(Blob(bytes)))
    }

    fn attributes(
        &self,
        fd: &OwnedFd,
        kind: Kind,
        stat: &Stat,
    ) -> Result<BTreeMap<Attribute, Blob>, String> {
        let mut attributes = BTreeMap::from([
            (Attribute::Type, encode_type(kind, stat.st_rdev)),
            (Attribute::Owner, encode_id(ids::inside(self.ids_base, stat.st_uid))),
            (Attribute::Group, encode_id(ids::inside(self.ids_base, stat.st_gid))),
        ]);
        if kind != Kind::Link {
            attributes.insert(Attribute::Mode, encode_mode(stat.st_mode));
        }
        insert_xattrs(self.xattrs(fd)?, &mut attributes);
        Ok(attributes)
    }

    fn xattrs(&self, fd: &OwnedFd) -> Result<Xattrs, String> {
        // The magic link of a descriptor leads to the thing itself, also if that is a link.
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let mut list = vec![0; XATTR_MAX];
        let length = match rustix::fs::listxattr(&path, &mut list[..]) {
            Ok(length) => length,
            Err(Errno::OPNOTSUPP) => 0,
            Err(error) => return Err(refused(error)),
        };
        let mut xattrs = Xattrs::new();
        let mut value = vec![0; XATTR_MAX];
        for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            match rustix::fs::getxattr(&path, name, &mut value[..]) {
                Ok(length) => {
                    let value = match name {
                        _ if name == CAPS_NAME.as_bytes() => {
                            ids::caps_inside(self.ids_base, &value[..length])
                        }
                        _ if name == ACL_NAME.as_bytes() || name == ids::DEFAULT_ACL => {
                            ids::acl_inside(self.ids_base, &value[..length])
                        }
                        _ => value[..length].to_vec(),
                    };
                    xattrs.insert(name.to_vec(), value);
                }
                // Gone by now, or listed but kept from everyone.
                Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(error) => return Err(refused(error)),
            }
        }
        Ok(xattrs)
    }
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}

fn joined(parents: &[Vec<u8>], name: Option<&Vec<u8>>) -> Vec<u8> {
    parents.iter().chain(name).flat_map(|name| [b"/", name.as_slice()].concat()).collect()
}

fn refused(error: Errno) -> String {
    format!("the kernel refused: {}", std::io::Error::from(error))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use rustix::fs::Mode;

    use super::*;

    fn tree() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(dir.path().join("usr/etc/app")).expect("made");
        fs::write(dir.path().join("usr/etc/app/conf"), "a=1\n").expect("written");
        symlink("/usr/etc", dir.path().join("etc")).expect("linked");
        symlink("../../../../../../etc/app/conf", dir.path().join("usr/etc/alias")).expect("link");
        symlink("loop-b", dir.path().join("loop-a")).expect("linked");
        symlink("loop-a", dir.path().join("loop-b")).expect("linked");
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let root = rustix::fs::open(dir.path(), flags, Mode::empty()).expect("open");
        (dir, root)
    }

    #[track_caller]
    fn check(path: &str, follow: bool, expected: &str, found: bool) {
        let (_dir, root) = tree();
        let place = Scene::new(root.as_fd(), 0).place(path.as_bytes(), follow).expect("a place");
        let parents: Vec<_> = place.parents.iter().map(|(name, _)| name.clone()).collect();
        let real = joined(&parents, Some(&place.name));
        assert_eq!(String::from_utf8_lossy(&real), expected, "{path}");
        assert_eq!(place.found != Reading::Absent, found, "{path}");
    }

    #[test]
    fn links_are_followed_inside_the_root_only() {
        check("/usr/etc/app/conf", true, "/usr/etc/app/conf", true);
        check("/etc/app/conf", false, "/usr/etc/app/conf", true);
        check("//etc/./app//new", true, "/usr/etc/app/new", false);
        check("/etc/alias", false, "/usr/etc/alias", true);
        check("/etc/alias", true, "/usr/etc/app/conf", true);
        check("/nowhere/at/all", true, "/nowhere/at/all", false);
    }

    #[test]
    fn what_is_no_place_is_said() {
        let (_dir, root) = tree();
        let mut scene = Scene::new(root.as_fd(), 0);
        let long = format!("/{}", "x".repeat(300));
        for (path, why) in [
            ("", "it is no path from the root"),
            ("etc", "it is no path from the root"),
            ("/a\0b", "it is no path from the root"),
            ("/", "it is the root itself"),
            ("/etc/../../x", "it has .. in it"),
            ("/loop-a/x", "its links lead in a circle"),
            (&long, "it has a name longer than any"),
        ] {
            assert_eq!(scene.place(path.as_bytes(), true), Err(why.to_owned()), "{path:?}");
        }
    }

    #[test]
    fn what_lies_there_is_read_with_all_it_has() {
        let (dir, root) = tree();
        let stat = rustix::fs::stat(dir.path()).expect("stat");
        let base = stat.st_uid;
        let mut scene = Scene::new(root.as_fd(), base);
        let place = scene.place(b"/etc/app/conf", true).expect("a place");
        assert_eq!(place.found.bytes(), Some(&b"a=1\n"[..]));
        let attributes = &place.found.value().expect("present").attributes;
        assert_eq!(attributes[&Attribute::Owner].0, b"0");
        assert_eq!(attributes[&Attribute::Type].0, b"file");
        let link = scene.place(b"/etc/alias", false).expect("a place");
        let attributes = &link.found.value().expect("present").attributes;
        assert_eq!(attributes[&Attribute::Link].0, b"../../../../../../etc/app/conf");
        assert!(!attributes.contains_key(&Attribute::Mode));
    }
}
