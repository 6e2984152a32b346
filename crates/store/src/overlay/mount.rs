//! Mounts a stack of layers with the kernel's file-descriptor mount API.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
    open_tree,
};

use super::attached;
use super::images::mount_image;
use super::support::kernel_version;
use super::writable::Writable;
use super::{Base, Layers, root_metadata};

/// Why a root could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// One of the kernel's steps failed.
    #[error("{doing}")]
    Step {
        /// What was being done, as a fragment after "failed to".
        doing: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// overlayfs could not set up its work directory and mounted read-only instead.
    #[error("mount a writable overlay: the kernel made it read-only (work directory unusable)")]
    ReadOnly,
    /// There is nothing to mount.
    #[error("mount a root without layers")]
    Empty,
}

/// How overlayfs is told of its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// By descriptors of mounts that are attached nowhere (Linux 6.15).
    Descriptors,
    /// By paths at which they are attached for a moment.
    Paths,
}

/// Mounts roots.
#[derive(Debug, Clone, Copy)]
pub struct Mounter {
    naming: Naming,
}

impl Mounter {
    /// As this machine's kernel does it best.
    pub fn new() -> Self {
        let descriptors = kernel_version() >= (6, 15);
        Self::with(if descriptors { Naming::Descriptors } else { Naming::Paths })
    }

    /// In one of the ways there are.
    pub fn with(naming: Naming) -> Self {
        Self { naming }
    }

    /// Mounts `layers` and returns the mount, attached nowhere.
    ///
    /// `image` is what [`Images`](super::Images) has of their base; without it that is mounted
    /// anew.
    /// `scratch` is an empty directory on which layers may be attached for a moment; the
    /// calling process should be in a mount namespace of its own. With `idmap` (a user
    /// namespace), ids on disk appear shifted by that namespace's map, and the caller's
    /// filesystem uid and gid must be mapped by it. Needs CAP_SYS_ADMIN.
    pub fn mount(
        &self,
        layers: &Layers,
        image: Option<OwnedFd>,
        writable: Option<Writable>,
        scratch: &Path,
        idmap: Option<BorrowedFd<'_>>,
    ) -> Result<OwnedFd, MountError> {
        let parts = Parts::open(layers, image, writable)?;
        if let Some(userns) = idmap {
            parts.map_ids(userns)?;
        }
        let is_writable = parts.writable.is_some();
        let context = new_overlay()?;
        let overlay = match self.naming {
            Naming::Descriptors => {
                parts.pass(&context)?;
                finish(&context, is_writable)?
            }
            Naming::Paths => {
                let _attached = attached::name_parts(&context, parts, scratch)?;
                finish(&context, is_writable)?
            }
        };
        if is_writable && is_read_only(&overlay)? {
            return Err(MountError::ReadOnly);
        }
        Ok(overlay)
    }
}

impl Default for Mounter {
    fn default() -> Self {
        Self::new()
    }
}

/// What an overlay is made of, newest first, each a mount attached nowhere.
pub(super) struct Parts {
    pub(super) lower: Vec<OwnedFd>,
    /// The objects an image refers to.
    pub(super) data: Option<OwnedFd>,
    pub(super) writable: Option<Writable>,
}

impl Parts {
    fn open(
        layers: &Layers,
        image: Option<OwnedFd>,
        writable: Option<Writable>,
    ) -> Result<Self, MountError> {
        let mut lower = Vec::with_capacity(layers.uppers.len() + 1);
        for upper in &layers.uppers {
            lower.push(clone_tree(upper)?);
        }
        let mut data = None;
        match &layers.base {
            Some(Base::Image { image: path, objects }) => {
                lower.push(image.map_or_else(|| mount_image(path), Ok)?);
                data = Some(clone_tree(objects)?);
            }
            Some(Base::Checkout(dir)) => lower.push(clone_tree(dir)?),
            None => {}
        }
        let top = lower.first().ok_or(MountError::Empty)?;
        if let Some(writable) = &writable {
            // The root of an overlay takes its metadata from the upper directory, which is
            // new: without this every state would get another root.
            let upper = writable.open_upper()?;
            root_metadata::copy(top, &upper)
                .map_err(step(|| "copy the root's metadata".to_owned()))?;
        } else if lower.len() == 1 && data.is_none() {
            // overlayfs wants two layers at least.
            lower.push(new_memory(&[("mode", "0755"), ("size", "4k")])?);
        }
        Ok(Self { lower, data, writable })
    }

    /// Objects are found by their content; nobody sees whose they are.
    fn map_ids(&self, userns: BorrowedFd<'_>) -> Result<(), MountError> {
        let place = self.writable.iter().map(|writable| &writable.place);
        for mount in self.lower.iter().chain(place) {
            composefs_ioctls::mount::mount_setattr_idmap(mount, userns)
                .map_err(step(|| "map the ids of a layer".to_owned()))?;
        }
        Ok(())
    }

    /// Closing one detaches it, so they stay open until the overlay is made.
    fn pass(&self, overlay: &OwnedFd) -> Result<(), MountError> {
        let pass = |key: &'static str, fd: &OwnedFd| {
            fsconfig_set_fd(overlay, key, fd).map_err(step(|| format!("pass overlayfs its {key}")))
        };
        for layer in &self.lower {
            pass("lowerdir+", layer)?;
        }
        if let Some(objects) = &self.data {
            pass("datadir+", objects)?;
        }
        if let Some(writable) = &self.writable {
            pass("upperdir", &writable.open_upper()?)?;
            pass("workdir", &writable.open_work()?)?;
        }
        Ok(())
    }
}

fn new_overlay() -> Result<OwnedFd, MountError> {
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(step(|| "open an overlay".to_owned()))?;
    for (key, value) in [("source", "umbra"), ("metacopy", "on"), ("redirect_dir", "on")] {
        fsconfig_set_string(&overlay, key, value).map_err(step(|| format!("set {key}={value}")))?;
    }
    Ok(overlay)
}

fn finish(overlay: &OwnedFd, is_writable: bool) -> Result<OwnedFd, MountError> {
    // Device nodes of an image are data; the devices of a running root are in its own /dev.
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NODEV;
    if is_writable {
        fsconfig_set_string(overlay, "index", "on").map_err(step(|| "set index=on".to_owned()))?;
        fsconfig_set_flag(overlay, "volatile").map_err(step(|| "set volatile".to_owned()))?;
    } else {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    fsconfig_create(overlay)
        .map_err(step(|| format!("mount an overlay{}", kernel_words(overlay))))?;
    fsmount(overlay, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(step(|| "mount an overlay".to_owned()))
}

/// What the kernel says about a failed mount, which only this descriptor tells.
fn kernel_words(context: &OwnedFd) -> String {
    let mut words = String::new();
    let mut buffer = [0u8; 512];
    while let Ok(length) = rustix::io::read(context, &mut buffer) {
        if length == 0 || words.len() > 2048 {
            break;
        }
        let line = umbra_state::escape::escape(buffer[..length].trim_ascii_end()).to_string();
        words.push_str(if words.is_empty() { ": " } else { "; " });
        words.push_str(&line);
    }
    words
}

fn is_read_only(mount: &OwnedFd) -> Result<bool, MountError> {
    let root = rustix::fs::openat(
        mount,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(step(|| "open the mounted overlay".to_owned()))?;
    let stat = rustix::fs::fstatvfs(&root).map_err(step(|| "look at the overlay".to_owned()))?;
    Ok(stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// An empty memory filesystem, attached nowhere.
pub(super) fn new_memory(options: &[(&str, &str)]) -> Result<OwnedFd, MountError> {
    let doing = || "make a filesystem in memory".to_owned();
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(step(doing))?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value).map_err(step(doing))?;
    }
    fsconfig_create(&context).map_err(step(doing))?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    fsmount(&context, flags, MountAttrFlags::empty()).map_err(step(doing))
}

pub(super) fn clone_tree(path: &Path) -> Result<OwnedFd, MountError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, path, flags).map_err(step(|| format!("open layer {}", path.display())))
}

pub(super) fn step<E: Into<io::Error>>(
    doing: impl FnOnce() -> String,
) -> impl FnOnce(E) -> MountError {
    move |error| MountError::Step { doing: doing(), source: error.into() }
}

/// Attaches a mount made by [`Mounter::mount`] at a path.
pub fn attach(root: &OwnedFd, at: &Path) -> Result<(), MountError> {
    move_mount(root.as_fd(), "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(step(|| format!("attach a root at {}", at.display())))
}
