//! Mounts a stack of layers with the kernel's file-descriptor mount API.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
    open_tree, unmount,
};

use super::{Base, Layers, root_metadata};

/// Where a writable root keeps what is written. Both directories exist, are empty and lie on
/// one filesystem that takes `trusted.*` extended attributes, in one parent directory.
#[derive(Debug, Clone, Copy)]
pub struct Writable<'a> {
    /// Becomes the delta.
    pub upper: &'a Path,
    /// overlayfs's own.
    pub work: &'a Path,
}

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

/// Mounts `layers` and returns the mount, attached nowhere.
///
/// `scratch` is an empty directory on which layers are attached for a moment; the calling
/// process should be in a mount namespace of its own. With `idmap` (a user namespace), ids on
/// disk appear shifted by that namespace's map, and the caller's filesystem uid and gid must be
/// mapped by it. Needs CAP_SYS_ADMIN.
pub fn mount(
    layers: &Layers,
    writable: Option<Writable<'_>>,
    scratch: &Path,
    idmap: Option<BorrowedFd<'_>>,
) -> Result<OwnedFd, MountError> {
    mount_with(&mut Images::default(), layers, writable, scratch, idmap)
}

/// Like [`mount()`], for a process that shows the same image again and again.
pub fn mount_with(
    images: &mut Images,
    layers: &Layers,
    writable: Option<Writable<'_>>,
    scratch: &Path,
    idmap: Option<BorrowedFd<'_>>,
) -> Result<OwnedFd, MountError> {
    if layers.uppers.is_empty() && layers.base.is_none() {
        return Err(MountError::Empty);
    }
    let opened = open_layers(images, layers)?;
    if let (Some(writable), Some((top, _))) = (&writable, opened.first()) {
        // The root of an overlay takes its metadata from the upper directory, which is new:
        // without this every state would get another root.
        root_metadata::copy(top, writable.upper)
            .map_err(step(|| "copy the root's metadata".to_owned()))?;
    }
    let mut attached = Attached { scratch, count: 0 };
    let mut stack = Stack::default();
    for (layer, named) in opened {
        stack.lower.push(attached.add(layer, idmap, named)?);
    }
    if let Some(Base::Image { objects, .. }) = &layers.base {
        stack.data = Some(attached.add(clone_tree(objects)?, None, objects)?);
    }
    if let Some(writable) = writable {
        stack.writable = Some(attached.add_writable(writable, idmap)?);
    }
    let overlay = mount_overlay(&stack)?;
    if stack.writable.is_some() && is_read_only(&overlay)? {
        return Err(MountError::ReadOnly);
    }
    Ok(overlay)
}

/// The layers above the objects, newest first, each as a mount attached nowhere.
fn open_layers<'a>(
    images: &mut Images,
    layers: &'a Layers,
) -> Result<Vec<(OwnedFd, &'a Path)>, MountError> {
    let mut opened = Vec::new();
    for upper in &layers.uppers {
        opened.push((clone_tree(upper)?, upper.as_path()));
    }
    match &layers.base {
        Some(Base::Image { image, .. }) => opened.push((images.open(image)?, image.as_path())),
        Some(Base::Checkout(dir)) => opened.push((clone_tree(dir)?, dir.as_path())),
        None => {}
    }
    Ok(opened)
}

/// Images that are mounted already, attached nowhere: showing one again takes a copy of its
/// mount, where the kernel copies such mounts (6.15).
#[derive(Default)]
pub struct Images {
    mounted: HashMap<PathBuf, OwnedFd>,
}

/// How many images stay mounted: a shadow goes from one to the next and rarely back.
const IMAGES_MAX: usize = 2;

impl Images {
    fn open(&mut self, image: &Path) -> Result<OwnedFd, MountError> {
        if let Some(copy) = self.mounted.get(image).and_then(copy_of) {
            return Ok(copy);
        }
        let mounted = mount_image(image)?;
        let Some(copy) = copy_of(&mounted) else { return Ok(mounted) };
        if self.mounted.len() >= IMAGES_MAX {
            self.mounted.clear();
        }
        self.mounted.insert(image.to_owned(), mounted);
        Ok(copy)
    }
}

fn copy_of(mount: &OwnedFd) -> Option<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(mount, "", flags).ok()
}

/// Where the attached layers are, as overlayfs is told.
#[derive(Default)]
struct Stack {
    lower: Vec<PathBuf>,
    data: Option<PathBuf>,
    /// Upper and work directory.
    writable: Option<(PathBuf, PathBuf)>,
}

/// Layers attached below the scratch directory; detached again when dropped (the overlay keeps
/// private clones of them).
struct Attached<'a> {
    scratch: &'a Path,
    count: usize,
}

impl Attached<'_> {
    fn add(
        &mut self,
        layer: OwnedFd,
        idmap: Option<BorrowedFd<'_>>,
        named: &Path,
    ) -> Result<PathBuf, MountError> {
        if let Some(userns) = idmap {
            composefs_ioctls::mount::mount_setattr_idmap(&layer, userns)
                .map_err(step(|| format!("map the ids of layer {}", named.display())))?;
        }
        let point = self.scratch.join(self.count.to_string());
        fs::create_dir_all(&point).map_err(step(|| format!("make {}", point.display())))?;
        move_mount(layer.as_fd(), "", CWD, &point, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(step(|| format!("attach layer {}", named.display())))?;
        self.count += 1;
        Ok(point)
    }

    /// Upper and work directory must be seen through one mount: attach their parent.
    fn add_writable(
        &mut self,
        writable: Writable<'_>,
        idmap: Option<BorrowedFd<'_>>,
    ) -> Result<(PathBuf, PathBuf), MountError> {
        let parent = writable.upper.parent().unwrap_or(Path::new("/"));
        let point = self.add(clone_tree(parent)?, idmap, parent)?;
        let below = |path: &Path| point.join(path.file_name().unwrap_or_default());
        Ok((below(writable.upper), below(writable.work)))
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        for index in 0..self.count {
            let point = self.scratch.join(index.to_string());
            // Nothing can be done about a failure here, and the namespace's end detaches too.
            let _ = unmount(&point, UnmountFlags::DETACH);
            let _ = fs::remove_dir(&point);
        }
    }
}

fn clone_tree(path: &Path) -> Result<OwnedFd, MountError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, path, flags).map_err(step(|| format!("open layer {}", path.display())))
}

fn mount_image(image: &Path) -> Result<OwnedFd, MountError> {
    let source = match super::support::image_source(image) {
        Ok(source) => source,
        Err(error) => {
            return Err(step(|| format!("attach {} to a loop device", image.display()))(error));
        }
    };
    let doing = || format!("mount image {}", image.display());
    let erofs = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(step(doing))?;
    fsconfig_set_flag(&erofs, "ro").map_err(step(doing))?;
    fsconfig_set_string(&erofs, "source", source.path()).map_err(step(doing))?;
    fsconfig_create(&erofs).map_err(step(doing))?;
    fsmount(&erofs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
        .map_err(step(doing))
}

fn mount_overlay(stack: &Stack) -> Result<OwnedFd, MountError> {
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(step(|| "open an overlay".to_owned()))?;
    let set = |key: &str, value: &str| {
        fsconfig_set_string(&overlay, key, value).map_err(step(|| format!("set {key}={value}")))
    };
    set("source", "umbra")?;
    set("metacopy", "on")?;
    set("redirect_dir", "on")?;
    set_lower(&overlay, stack)?;
    // Device nodes of an image are data; the devices of a running root are in its own /dev.
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NODEV;
    match &stack.writable {
        None => attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY,
        Some((upper, work)) => {
            set("index", "on")?;
            set("upperdir", &path_text(upper))?;
            set("workdir", &path_text(work))?;
            fsconfig_set_flag(&overlay, "volatile").map_err(step(|| "set volatile".to_owned()))?;
        }
    }
    fsconfig_create(&overlay)
        .map_err(step(|| format!("mount an overlay{}", kernel_words(&overlay))))?;
    fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(step(|| "mount an overlay".to_owned()))
}

/// Names the lower layers one by one, as kernels since 6.7 take them; on older ones in a single
/// option, which the kernel limits to 256 bytes.
fn set_lower(overlay: &OwnedFd, stack: &Stack) -> Result<(), MountError> {
    let all = stack
        .lower
        .iter()
        .map(|path| ("lowerdir+", path))
        .chain(stack.data.iter().map(|path| ("datadir+", path)));
    for (index, (key, path)) in all.enumerate() {
        let path = path_text(path);
        match fsconfig_set_string(overlay, key, path.as_str()) {
            Err(rustix::io::Errno::INVAL) if index == 0 => {
                let joined = joined(stack);
                return fsconfig_set_string(overlay, "lowerdir", joined.as_str())
                    .map_err(step(|| format!("set lowerdir={joined}")));
            }
            other => other.map_err(step(|| format!("set {key}={path}")))?,
        }
    }
    Ok(())
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

fn joined(stack: &Stack) -> String {
    let lower: Vec<_> = stack.lower.iter().map(|path| path_text(path)).collect();
    let data = stack.data.iter().map(|path| format!("::{}", path_text(path)));
    lower.join(":") + &data.collect::<String>()
}

/// Scratch paths are our own, short and free of the option string's separators.
fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn step<E: Into<io::Error>>(doing: impl FnOnce() -> String) -> impl FnOnce(E) -> MountError {
    move |error| MountError::Step { doing: doing(), source: error.into() }
}

/// Attaches a mount made by [`mount`] at a path.
pub fn attach(root: &OwnedFd, at: &Path) -> Result<(), MountError> {
    move_mount(root.as_fd(), "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(step(|| format!("attach a root at {}", at.display())))
}
