//! A kernel taken apart: read below a root that may be anybody's, and kept in a directory of
//! ours, from which it is booted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::index::{Index, LIST_BYTES_MAX};
use super::order::{self, Wanted};
use super::tree::Root;
use super::{Kernel, KernelError, Module, image, read_error, shown, unpack};
use crate::qemu::shelf::{self, Shelf};

/// No kernel is longer.
const IMAGE_BYTES_MAX: u64 = 64 << 20;

/// Of more than the newest ones none is read.
const KERNELS_MAX: usize = 8;

/// Where modules are, below a root; where a package was only unpacked the first may be missing.
pub(super) const MODULES: [&str; 2] = ["lib/modules", "usr/lib/modules"];

/// What names of kernels begin with, below `boot`.
pub(super) const PREFIX: &str = "vmlinuz-";

/// What lists them. A package that was only unpacked has the second alone.
const LISTS: [&str; 2] = ["modules.dep", "modules.order"];

/// A kernel's own file.
pub(super) struct Bare {
    pub(super) release: String,
    image: Vec<u8>,
}

/// A kernel with its modules, in the order of loading.
pub(super) struct Parts {
    pub(super) release: String,
    image: Vec<u8>,
    modules: Vec<(String, Vec<u8>)>,
}

/// The newest kernel below a root whose modules are there; with `small_first` the newest of
/// those for virtual machines, where there is one.
pub(super) fn newest(root: Root<'_>, small_first: bool) -> Result<Option<Bare>, KernelError> {
    let names = root.names("boot").map_err(|error| read_error("boot", error))?;
    let mut releases: Vec<&str> = names
        .iter()
        .filter_map(|name| name.strip_prefix(PREFIX))
        .filter(|release| image::is_release(release))
        .collect();
    let small = |release: &str| small_first && release.contains("cloud");
    releases.sort_by(|a, b| small(a).cmp(&small(b)).then_with(|| image::compare(a, b)).reverse());
    for release in releases.into_iter().take(KERNELS_MAX) {
        let Some(bare) = Bare::read(root, &format!("boot/{PREFIX}{release}"))? else { continue };
        if bare.has_modules(root)? {
            return Ok(Some(bare));
        }
    }
    Ok(None)
}

impl Bare {
    pub(super) fn read(root: Root<'_>, path: &str) -> Result<Option<Self>, KernelError> {
        let image = root.read(path, IMAGE_BYTES_MAX).map_err(|error| read_error(path, error))?;
        let of = |image: Vec<u8>| match image::release(&image) {
            Some(release) => Ok(Self { release, image }),
            None => Err(KernelError::NotOne(shown(path))),
        };
        image.map(of).transpose()
    }

    pub(super) fn has_modules(&self, root: Root<'_>) -> Result<bool, KernelError> {
        Ok(self.modules(root)?.is_some())
    }

    /// The directory of its modules and the list of them.
    fn modules(&self, root: Root<'_>) -> Result<Option<(String, Vec<u8>)>, KernelError> {
        for dir in MODULES.map(|dir| format!("{dir}/{}", self.release)) {
            for name in LISTS {
                if let Some(list) = list(root, &dir, name)? {
                    return Ok(Some((dir, list)));
                }
            }
        }
        Ok(None)
    }

    pub(super) fn with_modules(
        self,
        root: Root<'_>,
        wanted: &[Wanted],
    ) -> Result<Parts, KernelError> {
        let (dir, names) = self.modules(root)?.unwrap_or_default();
        let builtin = list(root, &dir, "modules.builtin")?.unwrap_or_default();
        let index = Index::parse(&names, &builtin);
        let modules = order::order(wanted, &index, &|path| module(root, &dir, path))
            .map_err(|error| error.of_release(&self.release))?;
        Ok(Parts { release: self.release, image: self.image, modules })
    }
}

fn list(root: Root<'_>, dir: &str, name: &str) -> Result<Option<Vec<u8>>, KernelError> {
    let path = format!("{dir}/{name}");
    root.read(&path, LIST_BYTES_MAX).map_err(|error| read_error(&path, error))
}

/// A module's bytes, however it is packed.
fn module(root: Root<'_>, dir: &str, path: &str) -> Result<Vec<u8>, KernelError> {
    for ending in unpack::ENDINGS {
        let path = format!("{dir}/{path}{ending}");
        let failed = |error| read_error(&path, error);
        if let Some(packed) = root.read(&path, unpack::BYTES_MAX).map_err(failed)? {
            return unpack::unpack(packed).map_err(failed);
        }
    }
    Err(read_error(&format!("{dir}/{path}"), io::ErrorKind::NotFound.into()))
}

/// The copy of a kernel, by its content.
pub(super) fn keep(parts: &Parts, shelf: &Shelf) -> Result<Kernel, KernelError> {
    let modules = parts.modules.iter().flat_map(|(name, bytes)| [name.as_bytes(), bytes]);
    let all = [parts.release.as_bytes(), &parts.image].into_iter().chain(modules);
    let name = shelf::name(all).to_string();
    load(&shelf.entry(&name, |path| {
        fs::create_dir(path)?;
        parts.write(path)
    })?)
}

impl Parts {
    /// See [`load`].
    pub(super) fn write(&self, dir: &Path) -> Result<(), KernelError> {
        shelf::write(&dir.join("vmlinuz"), &self.image)?;
        shelf::write(&dir.join("release"), self.release.as_bytes())?;
        for (number, (name, bytes)) in self.modules.iter().enumerate() {
            shelf::write(&dir.join(format!("{number:03}-{name}.ko")), bytes)?;
        }
        Ok(())
    }
}

/// The kernel in a directory of ours.
pub(super) fn load(dir: &Path) -> Result<Kernel, KernelError> {
    let release = fs::read_to_string(dir.join("release"))?;
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort_unstable();
    let modules = paths.into_iter().filter_map(|path| {
        let stem = path.file_name()?.to_str()?.strip_suffix(".ko")?;
        let name = stem.split_once('-')?.1.to_owned();
        Some(Module { name, path })
    });
    Ok(Kernel { image: dir.join("vmlinuz"), release, modules: modules.collect() })
}
