//! What this machine has for virtual machines. Nothing is booted: whether KVM works is what was
//! found when they were last made ready.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use umbra_state::{chain, escape};

use super::{Found, Probe, probe};
use crate::qemu::accel::{self, Key, Probed};
use crate::qemu::kernel::{self, WANTED};
use crate::qemu::machine::Accel;
use crate::qemu::programs;

/// What virtual machines are to be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machines {
    /// The kernel they boot, if it is to be this one.
    pub kernel: Option<PathBuf>,
    /// Their first process.
    pub guest: PathBuf,
    /// Translate what they run, also where KVM could run it.
    pub translate: bool,
    /// Where what was fetched and found is kept.
    pub cache: PathBuf,
}

/// What a segment of a program is for that names the program which loads it.
const ELF_INTERPRETER: u32 = 3;

pub(super) fn probes(machines: &Machines) -> Vec<Probe> {
    let none = "no virtual machines: recipes cannot say `provider: qemu`";
    vec![
        probe("qemu", qemu(), none, "apt-get install qemu-system-x86"),
        probe(
            "virtiofsd",
            found(&programs::VIRTIOFSD).map(|path| path.display().to_string()),
            none,
            "apt-get install virtiofsd; on Debian 12 qemu-system-common",
        ),
        probe(
            "umbra-guest",
            check_guest(&machines.guest).map(|()| machines.guest.display().to_string()),
            none,
            "cargo xtask guest DIR, where DIR is that of the program umbra",
        ),
        probe(
            "kernel of guests",
            guests_kernel(machines),
            none,
            "name one with --kernel or UMBRA_KERNEL, or let apt reach Debian's archive",
        ),
        probe(
            "kvm",
            kvm(machines),
            "virtual machines are translated, some ten times slower",
            "use a machine with hardware virtualisation, or enable nested virtualisation",
        ),
    ]
}

/// Whether this can be a guest's first process, which must need no other file; else what is wrong,
/// as a sentence.
pub fn check_guest(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let needs = match interpreter(path) {
        Ok(needs) => needs,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(format!(
                "there is no {shown}, the first process of virtual machines: `cargo xtask guest \
                 DIR` builds it, --guest or UMBRA_GUEST names it"
            ));
        }
        Err(error) => return Err(format!("{shown} is no program for a guest: {error}")),
    };
    if needs {
        return Err(format!(
            "{shown} needs other files to run, which a guest does not have: `cargo xtask guest \
             DIR` builds one that needs none"
        ));
    }
    Ok(())
}

/// Whether a program for 64 bits asks for another to load it.
fn interpreter(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(4096).read_to_end(&mut head)?;
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "not an ELF file of 64 bits");
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return Err(broken());
    }
    let bytes = |at: usize, count: usize| head.get(at..at.checked_add(count)?);
    let short = |at| bytes(at, 2)?.try_into().ok().map(u16::from_le_bytes);
    let table = bytes(32, 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let (table, size, count) = match (table, short(54), short(56)) {
        (Some(table), Some(size), Some(count)) => (table, usize::from(size), usize::from(count)),
        _ => return Err(broken()),
    };
    let table = usize::try_from(table).map_err(|_| broken())?;
    for number in 0..count {
        let at = table.checked_add(number * size).ok_or_else(broken)?;
        let kind = bytes(at, 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
        if kind.ok_or_else(broken)? == ELF_INTERPRETER {
            return Ok(true);
        }
    }
    Ok(false)
}

fn found(program: &programs::Program) -> Result<PathBuf, String> {
    program.find().map_err(|_| "not installed".to_owned())
}

fn qemu() -> Found {
    let program = found(&programs::QEMU)?;
    accel::version(&program).map_err(|error| format!("{}: {error}", program.display()))
}

/// Which kernel boots what has none of its own.
fn guests_kernel(machines: &Machines) -> Found {
    let named = machines.kernel.as_deref();
    match kernel::release_here(named, &WANTED) {
        Ok(Some(release)) => {
            let release = escape::line(release.as_bytes(), 80);
            let whose = if named.is_some() { "which was named" } else { "this machine's own" };
            return Ok(format!("{release}, {whose}"));
        }
        Ok(None) => {}
        Err(error) if named.is_some() => return Err(format!("failed to {}", chain(&error))),
        Err(error) => tracing::debug!(%error, "this machine's kernel is of no use to guests"),
    }
    if kernel::was_fetched(&machines.cache, &WANTED) {
        return Ok("Debian's, which was fetched".to_owned());
    }
    for program in [programs::APT_CACHE, programs::APT_GET, programs::DPKG_DEB] {
        program.find().map_err(|missing| format!("none is here; failed to {missing}"))?;
    }
    Ok("none is here; Debian's is fetched when the first virtual machine begins".to_owned())
}

/// Nothing opens the device, which may hang whoever does.
fn kvm(machines: &Machines) -> Found {
    let device = Path::new(accel::DEVICE);
    accel::check(device)?;
    if machines.translate {
        return Err("not to be used (--translate)".to_owned());
    }
    match remembered(&machines.cache) {
        Some(Probed { accel: Accel::Kvm, seen }) => Ok(seen),
        Some(Probed { accel: Accel::Tcg, seen }) => Err(seen),
        None => Ok(format!(
            "there is {}; whether guests run is tried when the first virtual machine begins",
            device.display()
        )),
    }
}

/// What was found, if that is still true.
fn remembered(cache: &Path) -> Option<Probed> {
    let (key, probed) = accel::remembered(cache)?;
    let now = Key::of(&programs::QEMU.find().ok()?, key.kernel()).ok()?;
    (key == now).then_some(probed)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The head of a program with segments of these kinds.
    fn program(kinds: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&(kinds.len() as u16).to_le_bytes());
        for kind in kinds {
            bytes.extend(kind.to_le_bytes());
            bytes.extend([0; 52]);
        }
        bytes
    }

    #[test]
    fn a_guests_first_process_needs_no_other_file() {
        #[track_caller]
        fn check(bytes: &[u8], wanted: Result<(), &str>) {
            let file = tempfile::NamedTempFile::new().expect("a file");
            fs::write(file.path(), bytes).expect("written");
            match (check_guest(file.path()), wanted) {
                (Ok(()), Ok(())) => {}
                (Err(error), Err(word)) => assert!(error.contains(word), "{error}"),
                (found, wanted) => panic!("{found:?}, not {wanted:?}"),
            }
        }
        check(&program(&[1, 2]), Ok(()));
        check(&program(&[6, ELF_INTERPRETER, 1]), Err("needs other files"));
        check(&program(&[1, 2])[..100], Err("no program for a guest"));
        check(&program(&[1])[..20], Err("no program for a guest"));
        check(b"#!/bin/sh\n", Err("no program for a guest"));
        let missing = check_guest(Path::new("/nowhere/umbra-guest")).expect_err("missing");
        assert!(missing.contains("xtask guest") && missing.contains("UMBRA_GUEST"), "{missing}");
        check_guest(Path::new("/bin/sh")).expect_err("no shell is static here");
    }

    #[test]
    fn what_was_found_of_kvm_is_true_for_one_boot_of_one_machine() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(remembered(dir.path()), None);
        for text in ["", "{", r#"{"key": 1}"#, r#"{"key": {"kernel": "k"}}"#] {
            fs::write(dir.path().join("accel.json"), text).expect("written");
            assert_eq!(remembered(dir.path()), None);
        }
        let Ok(program) = programs::QEMU.find() else {
            println!("skipped: no qemu: apt-get install qemu-system-x86");
            return;
        };
        let key = Key::of(&program, "6.1").expect("a key");
        let look = || Probed { accel: Accel::Tcg, seen: "it hung".to_owned() };
        accel::cached(dir.path(), &key, look);
        assert_eq!(remembered(dir.path()), Some(look()));
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("read");
        let text = fs::read_to_string(dir.path().join("accel.json")).expect("read");
        let other = text.replace(boot.trim(), "another boot");
        fs::write(dir.path().join("accel.json"), other).expect("written");
        assert_eq!(remembered(dir.path()), None);
    }
}
