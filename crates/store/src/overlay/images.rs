//! Images that stay mounted between two roots.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, open_tree,
};

use super::Base;
use super::mount::{MountError, step};
use super::support::{self, ImageSupport};

/// Images that are mounted already, attached nowhere: showing one again takes a copy of its
/// mount, where the kernel copies such mounts (6.15).
#[derive(Debug, Default)]
pub struct Images {
    mounted: HashMap<PathBuf, OwnedFd>,
}

/// How many images stay mounted. Shadows go from one to the next and rarely back.
const IMAGES_MAX: usize = 8;

impl Images {
    /// The image of `base`, for [`Mounter::mount`](super::Mounter::mount); a directory needs
    /// none. Needs CAP_SYS_ADMIN.
    pub fn of(&mut self, base: Option<&Base>) -> Result<Option<OwnedFd>, MountError> {
        match base {
            Some(Base::Image { image, .. }) => self.open(image).map(Some),
            Some(Base::Checkout(_)) | None => Ok(None),
        }
    }

    fn open(&mut self, image: &Path) -> Result<OwnedFd, MountError> {
        if let Some(copy) = self.mounted.get(image).and_then(copy_of) {
            return Ok(copy);
        }
        let mounted = mount_image(image)?;
        let Some(copy) = copy_of(&mounted) else { return Ok(mounted) };
        // What was collected is kept on the disk by its mount only.
        self.mounted.retain(|image, _| image.exists());
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

pub(super) fn mount_image(image: &Path) -> Result<OwnedFd, MountError> {
    let doing = || format!("mount image {}", image.display());
    if support::image_support() == ImageSupport::Direct {
        match mount_erofs(image) {
            // The image lies on a filesystem that EROFS cannot read files of, such as tmpfs.
            Err(rustix::io::Errno::NOTBLK) => {}
            mounted => return mounted.map_err(step(doing)),
        }
    }
    let looped = |source| MountError::Step {
        doing: format!("attach {} to a loop device", image.display()),
        source,
    };
    let file = File::open(image).map_err(looped)?;
    // The mount keeps the device, which goes with it.
    let device = composefs_ioctls::loop_device::loopify(&file).map_err(looped)?;
    let path = format!("/proc/self/fd/{}", device.as_raw_fd());
    mount_erofs(Path::new(&path)).map_err(step(doing))
}

fn mount_erofs(source: &Path) -> rustix::io::Result<OwnedFd> {
    let erofs = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_flag(&erofs, "ro")?;
    fsconfig_set_string(&erofs, "source", source)?;
    fsconfig_create(&erofs)?;
    fsmount(&erofs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
}
