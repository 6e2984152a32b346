//! Which kernel boots a state, and which of its modules a machine needs for that.
//!
//! In this order: the one that was named (`--kernel`, `UMBRA_KERNEL`), the image's own, this
//! machine's own, Debian's kernel for virtual machines, fetched. Whichever it is, a copy of it
//! is kept, with its modules unpacked and in the order of loading: QEMU, which runs as nobody,
//! reads the copy, and what an image's links lead to or its lists say is looked at once, here.

mod fetch;
pub(crate) mod image;
pub(crate) mod index;
pub(crate) mod modinfo;
mod order;
mod parts;
mod tree;
mod unpack;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use umbra_state::escape;

use super::programs::{MissingProgram, Places};
use super::shelf::{self, Shelf};
pub(crate) use order::{WANTED, Wanted};
use parts::{Bare, MODULES, PREFIX, Parts, keep, load, newest};
use tree::Root;

/// A kernel that is ready to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// The kernel itself.
    pub(crate) image: PathBuf,
    /// Its release, such as `6.1.0-57-cloud-amd64`.
    pub(crate) release: String,
    /// Its modules, in the order in which they are loaded.
    pub(crate) modules: Vec<Module>,
}

/// A module, not compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Module {
    /// Its name, with `_` for `-`.
    pub(crate) name: String,
    /// The file it is in.
    pub(crate) path: PathBuf,
}

/// Where a kernel is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Somebody named it.
    Named,
    /// The image has it.
    Image,
    /// This machine has it.
    Machine,
    /// It was fetched from the distribution.
    Fetched,
}

/// A kernel was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// The kernel.
    pub(crate) kernel: Kernel,
    /// Where it is from.
    pub(crate) source: Source,
    /// Sources that have one which cannot be used, and why. Whoever boots another kernel than
    /// the image's own should say so.
    pub(crate) passed_over: Vec<(Source, KernelError)>,
}

/// Why there is no kernel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KernelError {
    /// Something of it could not be read.
    #[error("read {path} of a kernel")]
    Read {
        /// What, fit to be shown.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("use {0} as a kernel: it is no Linux kernel for x86 (bzImage)")]
    NotOne(String),
    /// The kernel was named and its modules are not where they should be.
    #[error("use kernel {release}: its modules are in none of {places:?}")]
    NoModules {
        /// Its release.
        release: String,
        /// Where they could be.
        places: Vec<PathBuf>,
    },
    /// It lacks what a virtual machine needs.
    #[error("use kernel {release}: it has no module {}", names.join(", "))]
    Missing {
        /// Its release.
        release: String,
        /// The modules it lacks.
        names: Vec<String>,
    },
    /// A module is broken.
    #[error("use a kernel's module {name}: {why}")]
    Module {
        /// Its name.
        name: String,
        /// In what way.
        why: &'static str,
    },
    /// None is here, and none could be fetched.
    #[error(
        "fetch a kernel: {0}; name one with --kernel or UMBRA_KERNEL, with its modules in /lib/modules/RELEASE"
    )]
    Fetch(String),
    /// None is here, and a program that could fetch one is missing.
    #[error("fetch a kernel (or name one with --kernel or UMBRA_KERNEL)")]
    Program(#[from] MissingProgram),
    /// The copy could not be written.
    #[error("keep a kernel")]
    Keep(#[from] io::Error),
}

impl KernelError {
    fn missing(names: Vec<String>) -> Self {
        Self::Missing { release: String::new(), names }
    }

    fn of_release(self, of: &str) -> Self {
        match self {
            Self::Missing { names, .. } => Self::Missing { release: of.to_owned(), names },
            other => other,
        }
    }
}

/// Finds the kernel for a state. `image` is its root, if it may have a kernel of its own.
pub(crate) fn choose(
    named: Option<&Path>,
    image: Option<BorrowedFd<'_>>,
    shelf: &Shelf,
    wanted: &[Wanted],
) -> Result<Found, KernelError> {
    let found = |kernel, source, passed_over| Ok(Found { kernel, source, passed_over });
    if let Some(path) = named {
        // Who names one wants that one.
        let kernel = keep(&self::named(path, wanted)?, shelf)?;
        return found(kernel, Source::Named, Vec::new());
    }
    let mut passed_over = Vec::new();
    let own = image.map_or(Ok(None), |root| of_root(root, shelf, wanted));
    if let Some(kernel) = usable(own, Source::Image, &mut passed_over) {
        return found(kernel, Source::Image, passed_over);
    }
    let machines =
        of_machine(wanted).and_then(|parts| parts.map(|parts| keep(&parts, shelf)).transpose());
    if let Some(kernel) = usable(machines, Source::Machine, &mut passed_over) {
        return found(kernel, Source::Machine, passed_over);
    }
    let kernel = fetched(shelf, wanted, &Places::of_this_process())?;
    found(kernel, Source::Fetched, passed_over)
}

/// A source's kernel; why one is of no use is remembered.
fn usable(
    looked: Result<Option<Kernel>, KernelError>,
    source: Source,
    passed_over: &mut Vec<(Source, KernelError)>,
) -> Option<Kernel> {
    looked.unwrap_or_else(|error| {
        passed_over.push((source, error));
        None
    })
}

/// The newest kernel below a root, which may be anybody's; `None` if it has none.
pub(crate) fn of_root(
    root: BorrowedFd<'_>,
    shelf: &Shelf,
    wanted: &[Wanted],
) -> Result<Option<Kernel>, KernelError> {
    newest_of(Root(root), false, wanted)?.map(|parts| keep(&parts, shelf)).transpose()
}

/// Whether there may be a kernel below a root, which says nothing of whether it can be used.
pub(crate) fn is_in(root: BorrowedFd<'_>) -> bool {
    Root(root).names("boot").is_ok_and(|names| names.iter().any(|name| name.starts_with(PREFIX)))
}

/// The release of what boots here without an image's kernel and without fetching one; `None` if
/// there is nothing.
pub(crate) fn release_here(
    named: Option<&Path>,
    wanted: &[Wanted],
) -> Result<Option<String>, KernelError> {
    let parts = match named {
        Some(path) => Some(self::named(path, wanted)?),
        None => of_machine(wanted)?,
    };
    Ok(parts.map(|parts| parts.release))
}

/// This machine's own kernel: one for virtual machines, else the newest.
fn of_machine(wanted: &[Wanted]) -> Result<Option<Parts>, KernelError> {
    newest_of(Root(File::open("/")?.as_fd()), true, wanted)
}

fn newest_of(
    root: Root<'_>,
    small_first: bool,
    wanted: &[Wanted],
) -> Result<Option<Parts>, KernelError> {
    newest(root, small_first)?.map(|bare| bare.with_modules(root, wanted)).transpose()
}

/// The kernel somebody named, with its modules beside it (as a package has them) or here.
fn named(path: &Path, wanted: &[Wanted]) -> Result<Parts, KernelError> {
    let failed = |source| read_error(&path.to_string_lossy(), source);
    let whole = path.canonicalize().map_err(failed)?;
    let dir = File::open(whole.parent().unwrap_or(&whole)).map_err(failed)?;
    let name = whole.file_name().unwrap_or_default().to_string_lossy();
    let parts = Bare::read(Root(dir.as_fd()), &name)?;
    let parts = parts.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let beside = whole.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    let places = [beside, Path::new("/")];
    for place in places {
        let root = File::open(place).map_err(failed)?;
        if parts.has_modules(Root(root.as_fd()))? {
            return parts.with_modules(Root(root.as_fd()), wanted);
        }
    }
    let places = places.map(|place| place.join(MODULES[0]).join(&parts.release)).to_vec();
    Err(KernelError::NoModules { release: parts.release, places })
}

/// The distribution's kernel for virtual machines, fetched once.
fn fetched(shelf: &Shelf, wanted: &[Wanted], places: &Places) -> Result<Kernel, KernelError> {
    let dir = shelf.entry(&fetched_name(wanted), |path| {
        fs::create_dir(path)?;
        let scratch = path.join("scratch");
        fs::create_dir(&scratch)?;
        fetch::fetch(&scratch, places)?;
        let root = File::open(&scratch)?;
        let root = Root(root.as_fd());
        let none = || KernelError::Fetch("the packages have no kernel with modules".to_owned());
        let parts = newest(root, true)?.ok_or_else(none)?.with_modules(root, wanted)?;
        fs::remove_dir_all(&scratch)?;
        parts.write(path)
    })?;
    load(&dir)
}

/// What is kept of it is what was wanted.
fn fetched_name(wanted: &[Wanted]) -> String {
    let of = shelf::name(wanted.iter().map(|module| module.name.as_bytes()));
    format!("fetched-{}", of.short())
}

/// Whether it has been fetched onto this shelf.
pub(crate) fn was_fetched(shelf: &Path, wanted: &[Wanted]) -> bool {
    shelf.join(fetched_name(wanted)).exists()
}

fn read_error(path: &str, source: io::Error) -> KernelError {
    KernelError::Read { path: shown(path), source }
}

fn shown(path: &str) -> String {
    escape::line(path.as_bytes(), 200)
}

#[cfg(test)]
mod tests;
