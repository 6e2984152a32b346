//! A Debian root with a kernel, systemd and a web server, from the archive.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

/// In memory first, because a package manager waits for a disk after every file. The memory goes
/// with the namespace it is mounted in.
const SCRIPT: &str = "mount -t tmpfs -o mode=755 made /mnt
    mmdebstrap --mode=root --quiet --format=directory --variant=minbase --include=$2 \
        bookworm /mnt/root
    cp -a /mnt/root \"$1\"";

/// Makes it with these packages beside the least; or why it cannot be made here.
pub(crate) fn make(root: &Path, packages: &str) -> Result<(), String> {
    // What this mounts and starts goes with it, also if the test is ended.
    let output = Command::new("setpriv")
        .args(["--pdeathsig=KILL", "unshare", "--mount", "--pid", "--fork", "--mount-proc"])
        .args(["--kill-child=KILL", "sh", "-ec", SCRIPT, "sh"])
        .arg(root)
        .arg(packages)
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|error| format!("setpriv does not run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    Err(format!("no Debian root can be made (apt-get install mmdebstrap): {last}"))
}

/// Packages of a system that boots by itself.
pub(crate) const BOOTABLE: &str =
    "systemd-sysv,dbus,udev,linux-image-cloud-amd64,initramfs-tools,nginx-light";

/// Has it ask for an address on whatever network card it finds.
pub(crate) fn configure_network(root: &Path) {
    let network = "[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n";
    fs::write(root.join("etc/systemd/network/80-dhcp.network"), network).expect("written");
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants).expect("made");
    let unit = "/lib/systemd/system/systemd-networkd.service";
    symlink(unit, wants.join("systemd-networkd.service")).expect("enabled");
    // Emulated, it would be waited for without need.
    fs::write(root.join("etc/hostname"), "exported\n").expect("written");
}
