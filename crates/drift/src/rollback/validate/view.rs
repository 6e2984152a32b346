//! A view of the root in which the files have changed already: a mount namespace of one
//! thread, with an overlay over each directory concerned, in which the changes are made.
//! Nothing of it is seen elsewhere, and it goes with the thread.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use umbra_state::chain;

use super::super::command::{Ended, run};
use super::super::commit::bytes_of;
use super::super::options::Options;
use super::super::place::{Root, Spot, by_descriptor};
use super::super::step::{Act, Step};
use super::super::{look, put};
use crate::config::Attribute;
use crate::reading::Value;

/// Runs a command in a root that is no running machine.
pub(in crate::rollback) fn inside(root: &Path, argv: &[String], timeout: Duration) -> Ended {
    let ended = apart(|| {
        enter_root(root)?;
        Ok(run(argv, timeout))
    });
    ended.unwrap_or_else(|why| Ended::NotRun { why })
}

/// Does something where all steps have been taken. `scratch` is an empty directory.
pub(super) fn with_staged<T: Send>(
    steps: &[Step],
    options: &Options,
    scratch: &Path,
    ask: impl FnOnce() -> T + Send,
) -> Result<T, String> {
    apart(|| {
        cover(steps, options, scratch)?;
        if !options.is_machine {
            enter_root(&options.root)?;
        }
        Ok(ask())
    })
}

/// Runs something in a thread with mounts of its own.
fn apart<T: Send>(ask: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: the table of descriptors stays shared; only mounts and the thread's root
            // and directory become its own, and the thread ends with them.
            unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.map_err(in_words)?;
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            mount_change("/", private).map_err(in_words)?;
            ask()
        });
        thread.join().unwrap_or_else(|_| Err("the thread that looked ended early".to_owned()))
    })
}

fn enter_root(root: &Path) -> Result<(), String> {
    for name in ["dev", "proc"] {
        let at = root.join(name);
        // A root without them has programs that do without them.
        let is_there = fs::symlink_metadata(&at).is_ok_and(|metadata| metadata.is_dir());
        if is_there && root != Path::new("/") {
            let _ = mount_bind_recursive(Path::new("/").join(name), &at);
        }
    }
    rustix::process::chroot(root).and_then(|()| rustix::process::chdir("/")).map_err(in_words)
}

fn cover(steps: &[Step], options: &Options, scratch: &Path) -> Result<(), String> {
    let none = MountFlags::NOSUID | MountFlags::NODEV;
    mount("umbra-view", scratch, "tmpfs", none, Some(c"mode=0700,size=256m")).map_err(in_words)?;
    let root = Root::open(&options.root).map_err(|error| chain(&error))?;
    let mut view = View { root, overlays: Vec::new() };
    for (index, directory) in directories(steps, &view.root).iter().enumerate() {
        overlay(&view.root, directory, &scratch.join(index.to_string()))?;
        // Anew: what was opened before lies below the overlay.
        view.root = Root::open(&options.root).map_err(|error| chain(&error))?;
        let covered = view.root.dir(directory).map_err(in_words)?;
        let upper = scratch.join(index.to_string()).join("upper/.umbra-seen~");
        fs::write(&upper, "").map_err(|error| error.to_string())?;
        let seen = rustix::fs::statat(&covered, ".umbra-seen~", AtFlags::SYMLINK_NOFOLLOW);
        fs::remove_file(&upper).map_err(|error| error.to_string())?;
        // Whatever the kernel did: where this is not seen, the real files would be changed.
        seen.map_err(|_| "the overlay does not cover its directory".to_owned())?;
        view.overlays.push(rustix::fs::fstat(&covered).map_err(in_words)?.st_dev);
    }
    for step in steps.iter().rev().filter(|step| step.to.is_none()) {
        remove(&view.spot(step.path())?)?;
    }
    for step in steps.iter().filter(|step| step.act != Act::Set) {
        if let Some(to) = &step.to {
            take(&view, step, to)?;
        }
    }
    Ok(())
}

/// A root whose directories of interest lie below overlays.
struct View {
    root: Root,
    /// Their filesystems.
    overlays: Vec<u64>,
}

impl View {
    /// A place that may be changed, because it is on one of the overlays.
    fn spot(&self, path: &Path) -> Result<Spot, String> {
        let spot = self.root.spot(path).map_err(in_words)?;
        let filesystem = rustix::fs::fstat(&spot.dir).map_err(in_words)?.st_dev;
        match self.overlays.contains(&filesystem) {
            true => Ok(spot),
            false => Err("a filesystem is mounted in between".to_owned()),
        }
    }
}

/// The directories that are there and in which something changes, none below another.
fn directories(steps: &[Step], root: &Root) -> Vec<PathBuf> {
    let mut found = BTreeMap::new();
    for step in steps.iter().filter(|step| step.act != Act::Set) {
        let above = step.path().ancestors().skip(1);
        if let Some(directory) = above.into_iter().find(|path| root.dir(path).is_ok()) {
            found.insert(directory.to_owned(), ());
        }
    }
    let mut tops: Vec<PathBuf> = Vec::new();
    for directory in found.into_keys() {
        if !tops.iter().any(|top| directory.starts_with(top)) {
            tops.push(directory);
        }
    }
    tops
}

fn overlay(root: &Root, directory: &Path, scratch: &Path) -> Result<(), String> {
    let shown = |error: Errno| {
        let directory = super::super::error::shown(directory);
        format!("no overlay can be laid over /{directory}: {}", in_words(error))
    };
    let make = |name: &str| -> Result<OwnedFd, String> {
        let path = scratch.join(name);
        fs::create_dir_all(&path).map_err(|error| error.to_string())?;
        Root::open(&path)
            .and_then(|root| {
                root.dir(Path::new("")).map_err(super::super::error::system("open", &path))
            })
            .map_err(|error| chain(&error))
    };
    let lower = root.dir(directory).map_err(shown)?;
    let (upper, work) = (make("upper")?, make("work")?);
    // Paths by descriptor: names may hold what separates options.
    let [below, above, work] = [lower.as_fd(), upper.as_fd(), work.as_fd()].map(by_descriptor);
    // The top directory of an overlay is the upper one.
    let stat = rustix::fs::fstat(&lower).map_err(shown)?;
    let owner = rustix::fs::Uid::from_raw(stat.st_uid);
    let group = rustix::fs::Gid::from_raw(stat.st_gid);
    rustix::fs::fchown(&upper, Some(owner), Some(group)).map_err(shown)?;
    rustix::fs::fchmod(&upper, rustix::fs::Mode::from_raw_mode(stat.st_mode)).map_err(shown)?;
    let data = format!("lowerdir={below},upperdir={above},workdir={work}");
    let data = CString::new(data).map_err(|error| error.to_string())?;
    let at = by_descriptor(lower.as_fd());
    mount("umbra-view", &*at, "overlay", MountFlags::empty(), Some(&*data)).map_err(shown)
}

/// Takes one step in the view.
fn take(view: &View, step: &Step, to: &Value) -> Result<(), String> {
    let spot = view.spot(step.path())?;
    let mut to = to.clone();
    // What a program may do and who else may read is not what validators ask.
    for attribute in [Attribute::Acl, Attribute::Caps, Attribute::Xattr] {
        to.attributes.remove(&attribute);
    }
    let kind = to.kind().ok_or("a step has no kind")?;
    let result = if step.act == Act::Dress {
        let held = super::super::place::hold(spot.dir.as_fd(), &spot.name).map_err(in_words)?;
        put::dress(held.as_fd(), &to, step.path())
    } else {
        if look::stamp(&spot).map_err(in_words)?.is_some() {
            remove(&spot)?;
        }
        put::make(&spot, kind, &mut bytes_of(Some(&to)), &to, step.path()).map(drop)
    };
    result.map_err(|error| chain(&error))
}

fn remove(spot: &Spot) -> Result<(), String> {
    match unlinkat(&spot.dir, &*spot.name, AtFlags::empty()) {
        Err(Errno::ISDIR) => unlinkat(&spot.dir, &*spot.name, AtFlags::REMOVEDIR).map_err(in_words),
        other => other.map_err(in_words),
    }
}

fn in_words(error: Errno) -> String {
    std::io::Error::from(error).to_string()
}
