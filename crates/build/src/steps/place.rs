//! Puts files into a stage's root from outside: `copy` and `write` steps.
//!
//! Paths are resolved inside the root, so a link in an image leads at most elsewhere in the
//! image.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, ResolveFlags, Timestamps, Uid, mkdirat, openat, openat2, symlinkat,
};
use umbra_recipe::{Copy, InputKind, Inputs, Owner, Write};
use umbra_state::escape::escape;

/// Why a file could not be placed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    /// An operation of the kernel failed.
    #[error("{doing}")]
    System {
        doing: String,
        #[source]
        source: io::Error,
    },
    /// The image knows no such user or group.
    #[error("give it to {0}, whom the image's own {1} does not know")]
    Unknown(String, &'static str),
    /// A source changed while it was copied.
    #[error("copy {0}: it changed meanwhile")]
    Changed(String),
}

impl PlaceError {
    /// The error and its cause in one line.
    pub(super) fn chain(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}

/// Files of an image that name users are read up to here.
const NAMES_BYTES_MAX: u64 = 4 << 20;

/// Writes a file.
pub(super) fn write(root: &OwnedFd, write: &Write) -> Result<(), PlaceError> {
    let owner = resolve_owner(root, &write.owner)?;
    let (parent, name) = open_parent(root, Path::new(&write.path))?;
    let attributes = Attributes { mode: write.mode, owner, times: None };
    put_file(&parent, name.as_os_str().as_bytes(), &mut write.content.as_bytes(), &attributes)
}

/// Copies a file or a directory's contents, as `inputs` lists them.
pub(super) fn copy(
    root: &OwnedFd,
    copy: &Copy,
    inputs: &Inputs,
    base_dir: &Path,
) -> Result<(), PlaceError> {
    let owner = resolve_owner(root, &copy.owner)?;
    let source = base_dir.join(&copy.src);
    let target = target_of(copy, inputs);
    for input in &inputs.files {
        let path = join(&target, &input.path);
        let from = join(&source, &input.path);
        let shown = || escape(path.as_os_str().as_bytes()).to_string();
        let (parent, name) = open_parent(root, &path)?;
        let name = name.as_os_str().as_bytes();
        let mode = match input.kind {
            // Who may read a directory's list may enter it, or a mode for files would lock it.
            InputKind::Directory => copy.mode.map_or(input.mode, |mode| mode | (mode & 0o444) >> 2),
            _ => copy.mode.unwrap_or(input.mode),
        };
        let times =
            modification_time(&from).map_err(system(|| format!("look at {}", from.display())))?;
        let attributes = Attributes { mode, owner, times: Some(times) };
        match &input.kind {
            InputKind::Directory => make_dir(&parent, name, &attributes),
            InputKind::Symlink { target } => {
                remove(&parent, name)
                    .and_then(|()| {
                        symlinkat(target.as_path(), &parent, name).map_err(io::Error::from)
                    })
                    .and_then(|()| attributes.apply_to_link(&parent, name))
            }
            .map_err(system(|| format!("make link /{}", shown()))),
            InputKind::File { size, .. } => {
                let mut file =
                    open_source(&from).map_err(system(|| format!("open {}", from.display())))?;
                let length = file.metadata().map_or(0, |metadata| metadata.len());
                if length != *size {
                    return Err(PlaceError::Changed(from.display().to_string()));
                }
                put_file(&parent, name, &mut file, &attributes)
            }
        }?;
    }
    Ok(())
}

/// A file goes to `dest` itself, or into it if it ends with a slash; a directory's contents go
/// into `dest`.
fn target_of(copy: &Copy, inputs: &Inputs) -> PathBuf {
    let dest = PathBuf::from(&copy.dest);
    let single = matches!(
        inputs.files.first().map(|input| &input.kind),
        Some(InputKind::File { .. } | InputKind::Symlink { .. })
    );
    match Path::new(&copy.src).file_name() {
        Some(name) if single && copy.dest.ends_with('/') => dest.join(name),
        _ => dest,
    }
}

fn join(base: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { base.to_owned() } else { base.join(below) }
}

struct Attributes {
    mode: u32,
    owner: (u32, u32),
    times: Option<Timestamps>,
}

impl Attributes {
    fn apply(&self, file: &OwnedFd) -> io::Result<()> {
        let (uid, gid) = self.owner;
        rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        // After chown, which clears setuid bits.
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))?;
        match &self.times {
            Some(times) => Ok(rustix::fs::futimens(file, times)?),
            None => Ok(()),
        }
    }

    fn apply_to_link(&self, parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
        let (uid, gid) = self.owner;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(parent, name, uid, gid, flags)?;
        match &self.times {
            Some(times) => Ok(rustix::fs::utimensat(parent, name, times, flags)?),
            None => Ok(()),
        }
    }
}

/// Writes a new file and puts it in the place of whatever file stood there: a running program
/// or a hard link elsewhere is not written into.
fn put_file(
    parent: &OwnedFd,
    name: &[u8],
    content: &mut dyn Read,
    attributes: &Attributes,
) -> Result<(), PlaceError> {
    let doing = || format!("write {}", escape(name));
    remove(parent, name).map_err(system(doing))?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = openat(parent, name, flags, Mode::from_raw_mode(0o600))
        .map_err(|error| system(doing)(error.into()))?;
    let mut file = File::from(file);
    let mut buffer = vec![0u8; 128 << 10];
    loop {
        let length = content.read(&mut buffer).map_err(system(doing))?;
        if length == 0 {
            break;
        }
        file.write_all(&buffer[..length]).map_err(system(doing))?;
    }
    attributes.apply(&file.into()).map_err(system(doing))
}

fn make_dir(parent: &OwnedFd, name: &[u8], attributes: &Attributes) -> Result<(), PlaceError> {
    let doing = || format!("make directory {}", escape(name));
    match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        // A directory that was there keeps what it is: copying into /etc must not chmod it.
        Err(rustix::io::Errno::EXIST) => return Ok(()),
        other => other.map_err(|error| system(doing)(error.into()))?,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let dir =
        openat(parent, name, flags, Mode::empty()).map_err(|error| system(doing)(error.into()))?;
    attributes.apply(&dir).map_err(system(doing))
}

fn remove(parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Opens the directory that holds `path`, making those that are missing, and names the last
/// part.
fn open_parent(root: &OwnedFd, path: &Path) -> Result<(OwnedFd, PathBuf), PlaceError> {
    let shown = || escape(path.as_os_str().as_bytes()).to_string();
    let invalid = || PlaceError::System {
        doing: format!("write to {}", shown()),
        source: io::Error::from(rustix::io::Errno::INVAL),
    };
    let name = path.file_name().ok_or_else(invalid)?;
    let parent = path.parent().ok_or_else(invalid)?;
    let parent = parent.strip_prefix("/").unwrap_or(parent);
    make_dirs(root, parent).map_err(system(|| format!("make the directory of {}", shown())))?;
    let dir =
        open_dir(root, parent).map_err(system(|| format!("open the directory of {}", shown())))?;
    Ok((dir, PathBuf::from(name)))
}

fn make_dirs(root: &OwnedFd, path: &Path) -> io::Result<()> {
    let mut above = PathBuf::new();
    for part in path.components() {
        let dir = open_dir(root, &above)?;
        match mkdirat(&dir, part.as_os_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => above.push(part),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn open_dir(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(root, path, flags, Mode::empty(), resolve)?)
}

/// The recipe's files were listed without following links, and are read so.
fn open_source(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

fn modification_time(path: &Path) -> io::Result<Timestamps> {
    let stat = rustix::fs::lstat(path)?;
    let mtime = rustix::fs::Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
    Ok(Timestamps { last_access: mtime, last_modification: mtime })
}

fn resolve_owner(root: &OwnedFd, owner: &Owner) -> Result<(u32, u32), PlaceError> {
    Ok((
        resolve_id(root, &owner.user, "etc/passwd", "/etc/passwd")?,
        resolve_id(root, &owner.group, "etc/group", "/etc/group")?,
    ))
}

/// Both files have the name first and the id third.
fn resolve_id(
    root: &OwnedFd,
    name: &str,
    file: &str,
    shown: &'static str,
) -> Result<u32, PlaceError> {
    if name == "root" {
        return Ok(0);
    }
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let unknown = || PlaceError::Unknown(name.to_owned(), shown);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let opened = openat2(root, file, flags, Mode::empty(), ResolveFlags::IN_ROOT);
    let mut text = Vec::new();
    let opened = File::from(opened.map_err(|_| unknown())?);
    opened
        .take(NAMES_BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(system(|| format!("read {shown}")))?;
    id_of(&String::from_utf8_lossy(&text), name).ok_or_else(unknown)
}

fn id_of(file: &str, name: &str) -> Option<u32> {
    file.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

fn system(doing: impl FnOnce() -> String) -> impl FnOnce(io::Error) -> PlaceError {
    move |source| PlaceError::System { doing: doing(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_from_the_third_field() {
        let file = "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\n";
        assert_eq!(id_of(file, "www-data"), Some(33));
        assert_eq!(id_of(file, "www"), None);
    }
}
