//! Walking the upper directory of an overlay over a tree that is known.
//!
//! The walk carries along, for every upper directory, the directory of the layers below that
//! it is merged with: usually of the same path, another after a rename (`redirect`), none if
//! it is new or hides what was there (`opaque`).

use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, OFlags, openat};
use umbra_state::{Dir, Node, Tree};

use super::draft::{Draft, DraftDir, DraftLeaf, finish};
use super::intake::{self, Intake};
use super::leaf::{Job, Reader};
use super::open::{Entry, OPEN_DEPTH_MAX, OpenDir, at};
use super::xattr::Marks;
use super::{CaptureError, IdShift};
use crate::links::{LinkSummary, settle};
use crate::store::Inner;

/// See [`crate::Store::capture_upper`].
pub(super) fn capture(
    store: &Inner,
    parent: &Tree,
    upper: &Path,
    ids: IdShift,
) -> Result<Tree, CaptureError> {
    let reader = Reader { store, ids, is_upper: true };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = openat(CWD, upper, flags, Mode::empty()).map_err(at(
        None,
        b"",
        "open the upper directory",
    ))?;
    let top = Arc::new(OpenDir::top(top)?);
    let links = store.links.summary(parent);
    let walk = Walk { reader, parent };
    let (root, leaves) = intake::run(reader, |intake| {
        let (meta, marks) = reader.read_dir(&top)?;
        let lower = (!marks.opaque).then(|| Arc::clone(&parent.root));
        let mut draft = DraftDir { meta, base: lower, ..DraftDir::default() };
        walk.entries(Arc::clone(&top), &mut draft, &marks, intake)?;
        Ok(draft)
    })?;
    let finished = finish(root, leaves, Some(parent), links.free)?;
    let mut tree = finished.tree;
    let is_new = !Arc::ptr_eq(&tree.root, &parent.root);
    if is_new {
        let any = links.any || finished.free_link > links.free;
        if any {
            tree = settle(tree, &finished.adopted);
        }
        store.links.remember(&tree, LinkSummary { any, free: finished.free_link });
    }
    Ok(tree)
}

struct Walk<'a> {
    reader: Reader<'a>,
    parent: &'a Tree,
}

impl Walk<'_> {
    /// Walks what is in a directory; gives it back, since it may have been reopened.
    fn entries(
        &self,
        mut dir: Arc<OpenDir>,
        draft: &mut DraftDir,
        marks: &Marks,
        intake: &mut Intake<'_, '_>,
    ) -> Result<Arc<OpenDir>, CaptureError> {
        let mut children = Vec::new();
        for entry in dir.entries()? {
            if entry.kind == FileType::Directory {
                children.push(entry.name);
            } else {
                let name = entry.name.clone();
                let node = self.leaf(&dir, entry, draft.base.as_ref(), marks, intake)?;
                draft.entries.insert(name, node);
            }
        }
        for name in children {
            let child;
            (child, dir) = self.child(dir, &name, draft.base.as_ref(), intake)?;
            draft.entries.insert(name, Some(Draft::Dir(child)));
        }
        Ok(dir)
    }

    /// An entry that is no directory; `None` if it means a deletion.
    fn leaf(
        &self,
        dir: &Arc<OpenDir>,
        entry: Entry,
        lower: Option<&Arc<Dir>>,
        marks: &Marks,
        intake: &mut Intake<'_, '_>,
    ) -> Result<Option<Draft>, CaptureError> {
        let job = Job { dir: Arc::clone(dir), name: entry.name, kind: entry.kind };
        if self.is_whiteout(&job, marks)? {
            return Ok(None);
        }
        let number = intake.submit(job);
        Ok(Some(Draft::Leaf(DraftLeaf { number, lower: lower.cloned() })))
    }

    fn is_whiteout(&self, job: &Job, marks: &Marks) -> Result<bool, CaptureError> {
        let failed = |doing| at(job.dir.path.as_ref(), &job.name, doing);
        match job.kind {
            FileType::CharacterDevice => {
                let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                let stat = rustix::fs::statat(&job.dir.fd, &*job.name, flags)
                    .map_err(failed("look at"))?;
                Ok(stat.st_rdev == 0)
            }
            // Only a directory marked for it has the other form.
            FileType::RegularFile if marks.holds_marked_whiteouts => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = openat(&job.dir.fd, &*job.name, flags, Mode::empty())
                    .map_err(failed("open"))?;
                let size = rustix::fs::fstat(&file).map_err(failed("look at"))?.st_size;
                let xattrs =
                    super::xattr::of_path(&file).map_err(failed("read the attributes of"))?;
                Ok(size == 0 && super::xattr::split_marks(xattrs).1.whiteout)
            }
            _ => Ok(false),
        }
    }

    /// A directory in `dir`, which is merged with `lower`.
    fn child(
        &self,
        dir: Arc<OpenDir>,
        name: &[u8],
        lower: Option<&Arc<Dir>>,
        intake: &mut Intake<'_, '_>,
    ) -> Result<(DraftDir, Arc<OpenDir>), CaptureError> {
        let child = Arc::new(dir.child(name)?);
        let (meta, marks) = self.reader.read_dir(&child)?;
        let base = match marks.opaque {
            true => None,
            false => self.merged_with(name, lower, marks.redirect.as_deref(), &child)?,
        };
        let mut draft = DraftDir { meta, base, ..DraftDir::default() };
        if dir.depth < OPEN_DEPTH_MAX {
            self.entries(child, &mut draft, &marks, intake)?;
            return Ok((draft, dir));
        }
        let (path, stat) = (dir.path.clone(), dir.stat);
        drop(dir);
        let child = self.entries(child, &mut draft, &marks, intake)?;
        Ok((draft, Arc::new(OpenDir::parent_again(&child, path, stat)?)))
    }

    /// The directory below that an upper directory shows besides its own entries.
    fn merged_with(
        &self,
        name: &[u8],
        lower: Option<&Arc<Dir>>,
        redirect: Option<&[u8]>,
        child: &OpenDir,
    ) -> Result<Option<Arc<Dir>>, CaptureError> {
        let node = match redirect {
            Some(path) if path.starts_with(b"/") => self.parent.get(path),
            Some(name) if name.is_empty() || name.contains(&b'/') => {
                return Err(CaptureError::Overlay {
                    path: child.path_of(b""),
                    why: "its redirect is neither a path from the root nor a name",
                });
            }
            redirect => {
                let name = redirect.unwrap_or(name);
                lower.and_then(|lower| lower.entries.get(name).cloned())
            }
        };
        Ok(match node {
            Some(Node::Dir(dir)) => Some(dir),
            _ => None,
        })
    }
}
