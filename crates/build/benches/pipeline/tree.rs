//! A root of many small files that a shell can run in, and the small step on it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::Failure;

/// Entries of a small Debian root, and the small step of the goals: 21 files, 112 KB.
pub(crate) const ENTRIES: usize = 9_300;
pub(crate) const STEP_FILES: usize = 21;
const STEP_BYTES: usize = 112_000;

/// Files in each directory, and what every unchanged file's name begins with.
const FILES_PER_DIR: usize = 29;
pub(crate) const UNCHANGED: &str = "unchanged-";

/// Makes a root of about `entries` files and directories below `root`.
pub(crate) fn make(root: &Path, entries: usize) -> Result<(), Failure> {
    for dir in ["bin", "etc", "proc", "sys", "dev", "tmp", "srv/app", "payload"] {
        fs::create_dir_all(root.join(dir))?;
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find(|path| Path::new(path).exists());
    let busybox = busybox.ok_or("busybox is missing: apt-get install busybox-static")?;
    fs::copy(busybox, root.join("bin/busybox"))?;
    for name in ["sh", "cp", "cat", "true", "false", "test"] {
        symlink("busybox", root.join("bin").join(name))?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n")?;
    for number in 0..STEP_FILES {
        let content = vec![b'a' + (number % 26) as u8; STEP_BYTES / STEP_FILES];
        fs::write(root.join(format!("payload/file-{number}")), content)?;
    }
    for dir in 0..entries / (FILES_PER_DIR + 1) {
        let path = root.join(format!("usr/share/package-{dir}"));
        fs::create_dir_all(&path)?;
        for file in 0..FILES_PER_DIR {
            // Some small enough to stand in the image, most an object each.
            let content = format!("{dir} {file}\n").repeat(1 + (file * 7) % 40);
            fs::write(path.join(format!("{UNCHANGED}{file}")), content)?;
        }
    }
    Ok(())
}

/// The small step as a command, and what must be there afterwards.
pub(crate) const STEP: &str = "cp /payload/* /srv/app/";
pub(crate) const STEP_PROOF: &str = "/srv/app/file-20";
