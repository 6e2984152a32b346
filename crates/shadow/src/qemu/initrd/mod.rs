//! The initrd that our machines boot: the agent as process 1, the kernel's modules in the order
//! in which they are loaded, and the directories the agent mounts on. Nothing else.
//!
//! ```text
//! /init                the agent, a static program
//! /modules/list        the modules' file names, one a line, in the order of loading
//! /modules/00-NAME.ko  the modules, not compressed
//! /dev/console, null   before the agent has mounted /dev
//! /proc /sys /dev /view /share
//! ```

mod cpio;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::kernel::Module;
use super::shelf::{self, Shelf};
use cpio::{Archive, Entry};

/// Empty directories of the initrd.
const DIRS: [&str; 6] = ["dev", "modules", "proc", "share", "sys", "view"];

/// No agent and no module is longer.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// No initrd is longer: it is in the guest's memory twice while the guest boots.
const BYTES_MAX: usize = 160 << 20;

/// Why there is no initrd.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitrdError {
    /// A part of it could not be read.
    #[error("read {0} for the initrd")]
    Read(PathBuf, #[source] io::Error),
    /// The whole is too long.
    #[error("make an initrd: its parts have more than {} MiB", BYTES_MAX >> 20)]
    Long,
    /// It could not be written.
    #[error("write the initrd")]
    Write(#[from] io::Error),
}

/// The initrd with this agent and these modules, in their order. Made once for the same contents.
pub(crate) fn make(
    shelf: &Shelf,
    agent: &Path,
    modules: &[Module],
) -> Result<PathBuf, InitrdError> {
    let init = read(agent)?;
    let modules: Vec<(String, Vec<u8>)> = modules
        .iter()
        .map(|module| Ok((module.name.clone(), read(&module.path)?)))
        .collect::<Result<_, InitrdError>>()?;
    let bytes = archive(&init, &modules)?;
    let name = format!("{}.cpio", shelf::name([bytes.as_slice()]));
    shelf.entry(&name, |path| Ok(shelf::write(path, &bytes)?))
}

/// The initrd's bytes: the same for the same contents, wherever and whenever.
fn archive(init: &[u8], modules: &[(String, Vec<u8>)]) -> Result<Vec<u8>, InitrdError> {
    let total = modules.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() + init.len();
    if total > BYTES_MAX {
        return Err(InitrdError::Long);
    }
    let mut archive = Archive::default();
    DIRS.iter().for_each(|dir| archive.add(dir, Entry::Dir));
    archive.add("dev/console", Entry::Device { major: 5, minor: 1 });
    archive.add("dev/null", Entry::Device { major: 1, minor: 3 });
    archive.add("init", Entry::File { bytes: init, executable: true });
    let names: Vec<String> = modules
        .iter()
        .enumerate()
        .map(|(number, (name, _))| format!("{number:02}-{name}.ko"))
        .collect();
    let list: String = names.iter().map(|name| format!("{name}\n")).collect();
    archive.add("modules/list", Entry::File { bytes: list.as_bytes(), executable: false });
    for (name, (_, bytes)) in names.iter().zip(modules) {
        archive.add(&format!("modules/{name}"), Entry::File { bytes, executable: false });
    }
    Ok(archive.bytes())
}

fn read(path: &Path) -> Result<Vec<u8>, InitrdError> {
    let failed = |error| InitrdError::Read(path.to_path_buf(), error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    fn modules() -> Vec<(String, Vec<u8>)> {
        let module = |name: &str, bytes: &[u8]| (name.to_owned(), bytes.to_vec());
        vec![module("virtio", b"one"), module("fuse", b"three"), module("a_b", b"")]
    }

    /// As a program that is not ours reads it.
    #[test]
    fn it_holds_what_it_should() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut child = Command::new("busybox")
            .args(["cpio", "-i", "-d"])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("busybox (Debian package busybox-static)");
        let bytes = archive(b"#!agent", &modules()).expect("an archive");
        // Devices need root; everything else is unpacked all the same.
        child.stdin.take().expect("a pipe").write_all(&bytes).expect("written");
        child.wait().expect("waited");
        let read = |path: &str| fs::read(dir.path().join(path)).expect(path);
        assert_eq!(read("init"), b"#!agent");
        assert_eq!(read("modules/list"), b"00-virtio.ko\n01-fuse.ko\n02-a_b.ko\n");
        assert_eq!(read("modules/01-fuse.ko"), b"three");
        assert!(DIRS.iter().all(|name| dir.path().join(name).is_dir()));
    }

    #[test]
    fn the_same_contents_are_made_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let shelf = Shelf::open(dir.path().join("initrds")).expect("a shelf");
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).expect("written");
            path
        };
        let agent = file("agent", b"agent");
        let module = Module { name: "fuse".to_owned(), path: file("fuse.ko", b"fuse") };
        let first = make(&shelf, &agent, std::slice::from_ref(&module)).expect("made");
        let again = make(&shelf, &agent, std::slice::from_ref(&module)).expect("made");
        assert_eq!(first, again);
        file("agent", b"other");
        let other = make(&shelf, &agent, &[module]).expect("made");
        assert_ne!(first, other);
        let missing = make(&shelf, Path::new("/nowhere/agent"), &[]).expect_err("no agent");
        assert!(missing.to_string().contains("/nowhere/agent"), "{missing}");
    }

    #[test]
    fn a_file_without_end_is_no_part_of_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let shelf = Shelf::open(dir.path()).expect("a shelf");
        assert!(make(&shelf, Path::new("/dev/zero"), &[]).is_err());
    }
}
