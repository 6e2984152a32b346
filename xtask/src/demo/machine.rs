//! Whether this machine can run the demo, asked before anything takes time.

use std::path::Path;
use std::process::Command;

use crate::process::succeeds;
use crate::setup::is_root;
use crate::stop::Stop;

/// The demo makes mounts and namespaces from the beginning; nothing is worth compiling without.
pub(crate) fn check_user() -> Result<(), Stop> {
    if is_root() {
        return Ok(());
    }
    Err(Stop::missing(
        "the demo makes namespaces, mounts and a fenced network, which takes root",
        "run it as root, for example in a virtual machine",
    ))
}

/// Tries what shadows are made of, on the filesystem of `dir`.
pub(crate) fn check_kernel(dir: &Path) -> Result<(), Stop> {
    if !succeeds(Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"])) {
        return Err(Stop::missing(
            "this machine makes no user namespaces",
            "allow them (sysctl user.max_user_namespaces, no chroot around this), or use a \
             virtual machine",
        ));
    }
    if !overlay_works(dir) {
        return Err(Stop::missing(
            format!("overlayfs cannot write to {}", dir.display()),
            "load the module (modprobe overlay), or name a directory on ext4, xfs or btrfs \
             with --dir",
        ));
    }
    Ok(())
}

/// Mounts an overlay in a mount namespace that ends with the probe.
fn overlay_works(dir: &Path) -> bool {
    let script = r#"
        set -e
        rm -rf "$1" && mkdir -p "$1/lower" "$1/upper" "$1/work" "$1/root"
        mount -t overlay -o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work" probe "$1/root"
        echo written > "$1/root/file" && test -e "$1/upper/file"
    "#;
    let probe = dir.join("overlay-probe");
    let works = succeeds(
        Command::new("unshare").args(["--mount", "sh", "-c", script, "probe"]).arg(&probe),
    );
    // Left behind it is a handful of empty directories; the next probe removes them.
    let _ = std::fs::remove_dir_all(&probe);
    works
}
