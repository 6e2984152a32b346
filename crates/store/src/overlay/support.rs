//! What this kernel offers for roots, found by trying.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

/// What mounting a composefs image takes on this kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageSupport {
    /// EROFS mounts a file directly and overlayfs knows data-only layers (about 6.12).
    Direct,
    /// EROFS needs a loop device, overlayfs knows data-only layers (about 6.5).
    Loop,
    /// overlayfs has no data-only layers: states are written out as directories.
    Checkout,
}

/// Linux version as (major, minor), read once; (0, 0) where it cannot be read.
pub fn kernel_version() -> (u32, u32) {
    static FOUND: OnceLock<(u32, u32)> = OnceLock::new();
    *FOUND.get_or_init(read_kernel_version)
}

fn read_kernel_version() -> (u32, u32) {
    let release = rustix::system::uname();
    let text = release.release().to_string_lossy().into_owned();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The way images are mounted here, by kernel version (asked once).
///
/// The version is only where to begin: an image on a filesystem that EROFS cannot read files of
/// goes through a loop device on any kernel.
pub fn image_support() -> ImageSupport {
    static FOUND: OnceLock<ImageSupport> = OnceLock::new();
    *FOUND.get_or_init(|| support_of(kernel_version()))
}

fn support_of(version: (u32, u32)) -> ImageSupport {
    match version {
        (major, minor) if (major, minor) >= (6, 12) => ImageSupport::Direct,
        (major, minor) if (major, minor) >= (6, 5) => ImageSupport::Loop,
        _ => ImageSupport::Checkout,
    }
}

/// Makes ids of a detached mount appear through a user namespace's map.
pub fn map_ids(mount: &OwnedFd, userns: &OwnedFd) -> io::Result<()> {
    composefs_ioctls::mount::mount_setattr_idmap(mount, userns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_kernels_get_the_fallback_that_works_there() {
        assert_eq!(support_of((6, 18)), ImageSupport::Direct);
        assert_eq!(support_of((6, 8)), ImageSupport::Loop);
        assert_eq!(support_of((6, 1)), ImageSupport::Checkout);
        assert_eq!(support_of((7, 0)), ImageSupport::Direct);
    }
}
