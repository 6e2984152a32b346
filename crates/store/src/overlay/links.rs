//! Makes an upper directory whole where hard links cross the layer boundary.
//!
//! With `index=on`, writing one name of a hard-linked lower file changes all its names as seen
//! through the mount, but the upper directory holds only the name that was written; the others
//! are found through the work directory's index, which a later stack does not have. Before an
//! upper directory becomes a lower one, the missing names are brought up into it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat2};
use umbra_state::Tree;

use super::moves;

/// Why the links could not be settled.
#[derive(Debug, thiserror::Error)]
#[error("bring hard links of {path} into the upper directory")]
pub struct SettleError {
    path: String,
    #[source]
    source: io::Error,
}

/// Brings every name of a changed hard-linked file into the upper directory.
///
/// `root` is the still mounted overlay's root, `work` its work directory, beside which `upper`
/// lies; `parent` gives the tree below the upper directory and is asked only if links were
/// written to. Without changed links this is one `readdir`; nothing may write through the mount
/// meanwhile.
pub fn settle_links(
    root: &OwnedFd,
    work: &Path,
    parent: impl FnOnce() -> Tree,
) -> Result<(), SettleError> {
    let in_work = |source| failed(work.as_os_str().as_encoded_bytes(), source);
    if !index_used(&work.join("index")).map_err(in_work)? {
        return Ok(());
    }
    let upper = work.with_file_name("upper");
    let moves = moves::find(&upper)
        .map_err(|source| failed(upper.as_os_str().as_encoded_bytes(), source))?;
    for names in parent().links().values() {
        for name in names {
            for name in moves.names_of(name) {
                match touch(root, &name) {
                    Err(error) if is_absent(&error) => {}
                    other => other.map_err(|source| failed(&name, source))?,
                }
            }
        }
    }
    Ok(())
}

/// Whether overlayfs recorded any hard-linked file.
fn index_used(index: &Path) -> io::Result<bool> {
    match fs::read_dir(index) {
        Ok(mut entries) => entries.next().transpose().map(|entry| entry.is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sets the mode to what it is: a file written under another name comes up under this one, an
/// untouched one costs a copy of its metadata.
fn touch(root: &OwnedFd, name: &[u8]) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let file = open_leaf(root, name)?;
    let stat = rustix::fs::statat(&file, "", AtFlags::EMPTY_PATH)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink() {
        return Ok(());
    }
    let by_descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::chmod(by_descriptor, Mode::from_raw_mode(stat.st_mode & 0o7777))?)
}

fn open_leaf(root: &OwnedFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    Ok(openat2(root, name, flags, Mode::empty(), resolve)?)
}

/// The name is gone, or something else stands in its way now.
fn is_absent(error: &io::Error) -> bool {
    let absent = [
        libc_code(rustix::io::Errno::NOENT),
        libc_code(rustix::io::Errno::NOTDIR),
        libc_code(rustix::io::Errno::LOOP),
    ];
    error.raw_os_error().is_some_and(|code| absent.contains(&code))
}

fn libc_code(errno: rustix::io::Errno) -> i32 {
    errno.raw_os_error()
}

fn failed(path: &[u8], source: io::Error) -> SettleError {
    SettleError { path: umbra_state::escape::escape(path).to_string(), source }
}
