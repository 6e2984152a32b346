//! A Debian root from the archive.

use std::path::Path;
use std::process::{Command, Stdio};

/// In memory first, because a package manager waits for a disk after every file. The memory goes
/// with the namespace it is mounted in.
const SCRIPT: &str = "mount -t tmpfs -o mode=755 made /mnt
    mmdebstrap --mode=root --quiet --format=directory --variant=\"$2\" \
        --include=\"$3\" bookworm /mnt/root
    cp -a /mnt/root \"$1\"";

/// Makes it of one of mmdebstrap's variants and these packages; or why it cannot be made here.
pub(crate) fn make(root: &Path, variant: &str, packages: &str) -> Result<(), String> {
    // What this mounts and starts goes with it, also if the test is ended.
    let output = Command::new("setpriv")
        .args(["--pdeathsig=KILL", "unshare", "--mount", "--pid", "--fork", "--mount-proc"])
        .args(["--kill-child=KILL", "sh", "-ec", SCRIPT, "sh"])
        .arg(root)
        .args([variant, packages])
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
