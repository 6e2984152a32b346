//! Walking a directory tree.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, openat, statx};
use rustix::mount::{OpenTreeFlags, open_tree};
use umbra_state::Meta;

use super::draft::{Draft, DraftDir, DraftLeaf, finish};
use super::intake::{self, Intake};
use super::leaf::{Job, Reader};
use super::open::{OPEN_DEPTH_MAX, OpenDir, at};
use super::{Capture, CaptureError, CaptureOptions, SkipReason, Skipped};
use crate::links::LinkSummary;
use crate::store::Inner;

/// See [`crate::Store::capture`].
pub(super) fn capture(
    store: &Inner,
    path: &Path,
    options: &CaptureOptions,
) -> Result<Capture, CaptureError> {
    let reader = Reader { store, ids: options.ids, is_upper: false };
    let top = open_top(path).map_err(at(None, b"", "open the directory to capture,"))?;
    let mut skipped = Vec::new();
    // Seen through a private copy of its mount, a tree has nothing mounted in it.
    let bare = if options.cross_mounts { None } else { without_mounts(&top) };
    if bare.is_some() {
        skipped = mounts_below(&top);
    }
    let boundary = match (&bare, options.cross_mounts) {
        (None, false) => mount_id(&top),
        _ => None,
    };
    let top = Arc::new(OpenDir::top(bare.unwrap_or(top))?);
    let skip = options.skip.iter().map(|path| normal(path)).collect();
    let mut walk = Walk { reader, skip, boundary, skipped, path: Vec::new() };
    let (root, leaves) = intake::run(reader, |intake| Ok(walk.dir(top, intake)?.0))?;
    let finished = finish(root, leaves, None, 0)?;
    let any = finished.free_link > 0;
    store.links.remember(&finished.tree, LinkSummary { any, free: finished.free_link });
    walk.skipped.sort();
    Ok(Capture { tree: finished.tree, skipped: walk.skipped })
}

struct Walk<'a> {
    reader: Reader<'a>,
    skip: BTreeSet<Vec<u8>>,
    /// The mount not to leave, where mounts can be met.
    boundary: Option<u64>,
    skipped: Vec<Skipped>,
    path: Vec<u8>,
}

impl Walk<'_> {
    /// Walks a directory; gives it back, since it may have been reopened.
    fn dir(
        &mut self,
        mut dir: Arc<OpenDir>,
        intake: &mut Intake<'_, '_>,
    ) -> Result<(DraftDir, Arc<OpenDir>), CaptureError> {
        let is_left_out = self.is_skipped(SkipReason::Asked) || self.is_other_mount(&dir);
        let meta = match self.reader.read_dir(&dir) {
            // What is mounted there may belong to nobody the tree knows; only its name counts.
            Err(CaptureError::Id { .. }) if is_left_out => Meta { mode: 0o755, ..Meta::default() },
            read => read?.0,
        };
        let mut draft = DraftDir { meta, ..DraftDir::default() };
        if is_left_out {
            return Ok((draft, dir));
        }
        let mut children = Vec::new();
        for entry in dir.entries()? {
            if entry.kind == FileType::Directory {
                children.push(entry.name);
                continue;
            }
            let parent_len = self.path.len();
            umbra_state::tree::push_name(&mut self.path, &entry.name);
            let leave_out = self.is_skipped(SkipReason::Asked);
            self.path.truncate(parent_len);
            if leave_out {
                continue;
            }
            let name = entry.name.clone();
            let job = Job { dir: Arc::clone(&dir), name: entry.name, kind: entry.kind };
            let number = intake.submit(job);
            draft.entries.insert(name, Some(Draft::Leaf(DraftLeaf { number, lower: None })));
        }
        for name in children {
            let parent_len = self.path.len();
            umbra_state::tree::push_name(&mut self.path, &name);
            let child;
            (child, dir) = self.child(dir, &name, intake)?;
            self.path.truncate(parent_len);
            draft.entries.insert(name, Some(Draft::Dir(child)));
        }
        Ok((draft, dir))
    }

    fn child(
        &mut self,
        dir: Arc<OpenDir>,
        name: &[u8],
        intake: &mut Intake<'_, '_>,
    ) -> Result<(DraftDir, Arc<OpenDir>), CaptureError> {
        let child = Arc::new(dir.child(name)?);
        if dir.depth < OPEN_DEPTH_MAX {
            return Ok((self.dir(child, intake)?.0, dir));
        }
        let (path, stat) = (dir.path.clone(), dir.stat);
        drop(dir);
        let (draft, child) = self.dir(child, intake)?;
        Ok((draft, Arc::new(OpenDir::parent_again(&child, path, stat)?)))
    }

    /// Whether the current path is to be left out; notes it if so.
    fn is_skipped(&mut self, reason: SkipReason) -> bool {
        let is_skipped = self.skip.contains(&self.path);
        if is_skipped {
            self.skipped.push(Skipped { path: self.path.clone(), reason });
        }
        is_skipped
    }

    fn is_other_mount(&mut self, dir: &OpenDir) -> bool {
        let is_other = self.boundary.is_some() && mount_id(&dir.fd) != self.boundary;
        if is_other {
            self.skipped.push(Skipped { path: self.path.clone(), reason: SkipReason::Mount });
        }
        is_other
    }
}

fn open_top(path: &Path) -> Result<OwnedFd, rustix::io::Errno> {
    // The way to the directory is the caller's; only what is in it is foreign.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
}

/// The same directory in a private copy of its mount that has no other mounts in it; `None`
/// without the privilege.
fn without_mounts(top: &OwnedFd) -> Option<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let clone = open_tree(top, "", flags).ok()?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(&clone, ".", flags, Mode::empty()).ok()
}

/// The number of the mount a file is seen through; `None` on kernels that do not tell.
fn mount_id(file: &OwnedFd) -> Option<u64> {
    let stat = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    (stat.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(stat.stx_mnt_id)
}

/// What is mounted below an open directory, by the kernel's list.
fn mounts_below(top: &OwnedFd) -> Vec<Skipped> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", top.as_raw_fd());
    let (Ok(top), Ok(list)) =
        (std::fs::read_link(link), std::fs::read("/proc/thread-self/mountinfo"))
    else {
        return Vec::new();
    };
    let mut prefix = top.as_os_str().as_bytes().to_vec();
    if prefix != b"/" {
        prefix.push(b'/');
    }
    let mut paths = BTreeSet::new();
    for line in list.split(|&byte| byte == b'\n') {
        let Some(point) = line.split(|&byte| byte == b' ').nth(4) else { continue };
        let point = unescape(point);
        if let Some(below) = point.strip_prefix(&*prefix).filter(|below| !below.is_empty()) {
            paths.insert(below.to_vec());
        }
    }
    paths.into_iter().map(|path| Skipped { path, reason: SkipReason::Mount }).collect()
}

/// Undoes the octal escapes of the mount list.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

/// A relative path as the walk writes it.
fn normal(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for component in path.components() {
        if let Component::Normal(name) = component {
            umbra_state::tree::push_name(&mut bytes, name.as_bytes());
        }
    }
    bytes
}
