//! The files a recipe names: read within bounds, and never from outside its directory.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use umbra_document::check::shorten;
use umbra_document::diagnostic::{Found, Problem};
use umbra_document::file;
use umbra_document::scalar::ScalarType;
use umbra_document::yaml::Node;

use crate::formats;
use crate::suite;

/// Why a file that a recipe names cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It leads out of the recipe's directory, by a symbolic link or otherwise.
    #[error("it leads out of the recipe's directory")]
    Escapes,
    /// It cannot be read as a text.
    #[error(transparent)]
    File(#[from] file::ReadError),
}

impl From<Errno> for ReadError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::XDEV | Errno::LOOP => Self::Escapes,
            errno => Self::File(errno.into()),
        }
    }
}

/// A whole text file below a directory.
pub(crate) fn read_beside(
    base_dir: &Path,
    name: &str,
    bytes_max: u64,
) -> Result<String, ReadError> {
    Ok(file::read_fd(open_beside(base_dir, Path::new(name), file::OPEN)?, bytes_max)?)
}

/// Opens what stands at `relative` below `base_dir`; a path or link that leads out of it is
/// refused by the kernel itself.
pub(crate) fn open_beside(
    base_dir: &Path,
    relative: &Path,
    flags: OFlags,
) -> Result<OwnedFd, ReadError> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let base = rustix::fs::openat(CWD, base_dir, directory, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(&base, relative, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

/// Records every file a recipe names that is not there or leads elsewhere.
pub(crate) fn check(root: &Node, base_dir: &Path, found: &mut Found) {
    let checker = Checker { base_dir };
    checker.origin(root.get("from"), found);
    for (index, step) in root.get("steps").map(Node::list).unwrap_or_default().iter().enumerate() {
        let path = format!("steps[{index}]");
        let source = step.get("copy").and_then(|copy| copy.get("src"));
        checker.beside(source, &format!("{path}.copy.src"), found);
        for secret in step.get("secrets").map(Node::list).unwrap_or_default() {
            checker.host(secret.get("file"), Kind::File, &format!("{path}.secrets"), found);
        }
    }
    for (index, test) in root.get("tests").map(Node::list).unwrap_or_default().iter().enumerate() {
        if let Some(openscap) = test.get("openscap")
            && !openscap.get("inside").is_some_and(is_true)
        {
            let path = format!("tests[{index}].openscap.datastream");
            checker.host(openscap.get("datastream"), Kind::File, &path, found);
        }
        checker.goss(test.get("goss"), &format!("tests[{index}].goss"), found);
    }
}

fn is_true(node: &Node) -> bool {
    node.scalar().is_some_and(|scalar| scalar.value_type() == ScalarType::Bool(true))
}

struct Checker<'b> {
    base_dir: &'b Path,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    File,
    Directory,
}

impl Checker<'_> {
    fn origin(&self, from: Option<&Node>, found: &mut Found) {
        let Some(node) = from else { return };
        if let Some((kind, path)) = node.text().and_then(|text| text.split_once(':')) {
            self.origin_path(kind, path, node, found);
        }
        for (key, value) in node.map() {
            self.origin_path(&key.text, value.text().unwrap_or(""), value, found);
        }
    }

    fn origin_path(&self, kind: &str, path: &str, node: &Node, found: &mut Found) {
        match kind {
            "dir" => self.host_path(path, Kind::Directory, node, "from", found),
            "tar" => self.host_path(path, Kind::File, node, "from", found),
            "oci" => {
                let layout = oci_layout(self.base_dir, path);
                self.host_path(layout, Kind::Directory, node, "from", found);
            }
            _ => {}
        }
    }

    /// A file the recipe needs and that stands beside it.
    fn beside(&self, node: Option<&Node>, path: &str, found: &mut Found) {
        let Some((node, text)) = node.and_then(|node| Some((node, node.text()?))) else { return };
        if (formats::BESIDE.check)(text).is_err() {
            return;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        if let Err(error) = open_beside(self.base_dir, Path::new(text), flags) {
            found.push(missing(node, text, &error, path));
        }
    }

    fn goss(&self, node: Option<&Node>, path: &str, found: &mut Found) {
        let Some((node, text)) = node.and_then(|node| Some((node, node.text()?))) else { return };
        if (formats::BESIDE.check)(text).is_err() {
            return;
        }
        match read_beside(self.base_dir, text, crate::FILE_BYTES_MAX) {
            Err(error) => found.push(missing(node, text, &error, path)),
            Ok(_) => {
                for reason in suite::goss_problems(&self.base_dir.join(text)) {
                    let problem = Problem::new("bad-goss", reason, node.span, "in this goss file");
                    found.push(problem.at(path));
                }
            }
        }
    }

    /// A file anywhere on the machine.
    fn host(&self, node: Option<&Node>, kind: Kind, path: &str, found: &mut Found) {
        if let Some((node, text)) = node.and_then(|node| Some((node, node.text()?))) {
            self.host_path(text, kind, node, path, found);
        }
    }

    fn host_path(&self, text: &str, kind: Kind, node: &Node, path: &str, found: &mut Found) {
        if (formats::HOST.check)(text).is_err() {
            return;
        }
        let error = match std::fs::metadata(self.base_dir.join(text)) {
            Ok(metadata) if kind == Kind::File && metadata.is_dir() => file::ReadError::NotAFile,
            Ok(metadata) if kind == Kind::Directory && !metadata.is_dir() => {
                let message = format!("`{}` is no directory", shorten(text));
                found.push(Problem::new("bad-file", message, node.span, "").at(path));
                return;
            }
            Ok(_) => return,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => file::ReadError::Missing,
            Err(error) => file::ReadError::Io(error),
        };
        found.push(missing(node, text, &error.into(), path));
    }
}

fn missing(node: &Node, text: &str, error: &ReadError, path: &str) -> Problem {
    let code = match error {
        ReadError::File(file::ReadError::Missing) => "missing-file",
        ReadError::Escapes => "path-escape",
        _ => "bad-file",
    };
    let message = format!("`{}`: {error}", shorten(text));
    let help = "relative paths start from the recipe's directory";
    Problem::new(code, message, node.span, "named here").at(path).help(help)
}

/// The directory of `PATH:TAG`; a colon that belongs to an existing path is no separator.
fn oci_layout<'p>(base_dir: &Path, path: &'p str) -> &'p str {
    match path.rsplit_once(':') {
        Some((layout, tag)) if !tag.contains('/') && !base_dir.join(path).exists() => layout,
        _ => path,
    }
}
