//! Where the directories of a lower layer are after renames recorded in an upper one.
//!
//! Renaming a directory of a lower layer leaves, with `redirect_dir=on`, a directory in the
//! upper layer whose `trusted.overlay.redirect` names the lower one: by its path from the root
//! where that begins with `/`, else by its former name in the same directory.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::stack::{DEPTH_MAX, deep};

const REDIRECT: &str = "trusted.overlay.redirect";

/// The longest redirect the kernel writes.
const REDIRECT_BYTES_MAX: usize = 4096;

/// Directories that are elsewhere than they were.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// Former path and present path, relative to the root.
    moved: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Moves {
    /// The names under which what was at `path` may be now.
    pub(super) fn names_of(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let mut names = vec![path.to_vec()];
        for (former, present) in &self.moved {
            if let Some(below) = path.strip_prefix(&former[..])
                && below.first() == Some(&b'/')
            {
                names.push([present, below].concat());
            }
        }
        names
    }
}

/// Reads the renames in an upper directory. Only directories are looked into: O(upper).
pub(super) fn find(upper: &Path) -> io::Result<Moves> {
    deep(|| {
        let mut moves = Moves::default();
        walk(upper, &Place::default(), &mut moves, 0)?;
        Ok(moves)
    })
}

/// A directory's path now and in the layers below.
#[derive(Debug, Clone, Default)]
struct Place {
    present: Vec<u8>,
    former: Vec<u8>,
}

fn walk(dir: &Path, place: &Place, moves: &mut Moves, depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::from(rustix::io::Errno::LOOP));
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let name = entry.file_name();
        let redirect = redirect(&entry.path())?;
        let below = Place {
            present: join(&place.present, name.as_bytes()),
            former: match redirect.as_deref() {
                Some([b'/', path @ ..]) => path.to_vec(),
                Some(former) => join(&place.former, former),
                None => join(&place.former, name.as_bytes()),
            },
        };
        if redirect.is_some() {
            moves.moved.push((below.former.clone(), below.present.clone()));
        }
        walk(&entry.path(), &below, moves, depth + 1)?;
    }
    Ok(())
}

fn redirect(dir: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0u8; REDIRECT_BYTES_MAX];
    match rustix::fs::lgetxattr(dir, REDIRECT, &mut value[..]) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_directories() {
        let moved =
            vec![(b"old".to_vec(), b"new".to_vec()), (b"old/deep".to_vec(), b"elsewhere".to_vec())];
        let moves = Moves { moved };
        let names = moves.names_of(b"old/deep/file");
        let expected: [&[u8]; 3] = [b"old/deep/file", b"new/deep/file", b"elsewhere/file"];
        assert_eq!(names, expected);
        assert_eq!(moves.names_of(b"older/file"), [b"older/file"]);
    }
}
