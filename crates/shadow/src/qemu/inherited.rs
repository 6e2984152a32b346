//! The numbers under which the programs of a machine know the descriptors they inherit.

/// Its standard error.
pub(crate) const ERRORS: i32 = 2;
/// QEMU: where its monitor is asked.
pub(crate) const MONITOR: i32 = 3;
/// QEMU: the other end of the guest's port.
pub(crate) const PORT: i32 = 4;
/// QEMU: where the console goes.
pub(crate) const CONSOLE: i32 = 5;
/// QEMU: the shared directory's server.
pub(crate) const SHARE: i32 = 6;
/// QEMU: frames of the guest's interface.
pub(crate) const TAP: i32 = 7;
/// QEMU: what it boots. It runs as somebody who may not walk to where that is.
pub(crate) const KERNEL: i32 = 8;
/// QEMU: likewise.
pub(crate) const INITRD: i32 = 9;
/// QEMU: the disk with the root.
pub(crate) const DISK: i32 = 10;
/// QEMU: the guest's memory.
pub(crate) const MEMORY: i32 = 11;
/// The shared directory's server: where it listens.
pub(crate) const SERVER: i32 = 3;

/// The path by which a program opens what it has inherited.
pub(crate) fn path(number: i32) -> std::path::PathBuf {
    format!("/proc/self/fd/{number}").into()
}
