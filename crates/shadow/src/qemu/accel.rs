//! What runs a guest's processors on this machine: KVM where a guest really came up under it,
//! else QEMU's translator (TCG), and why.
//!
//! That `/dev/kvm` is there says little: it may belong to a kernel that cannot enter guests, or
//! hang. So a guest is booted, for a bounded time, by a QEMU of its own; nothing of ours opens
//! the device.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::child::{self, At, Ending, Finished};
use super::machine::{
    Accel, Backing, Board, Boot, Console, Machine, MachineError, Memory, Network, Start,
};

/// What a guest writes to its console, at the beginning of a line, once it is up.
pub(crate) const MARKER: &str = umbra_guest::boot::UP;

/// How long a guest under KVM may take to come up; with KVM that is less than one second.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The device of KVM.
pub(crate) const DEVICE: &str = "/dev/kvm";

/// Memory of the guest that is tried.
const MEMORY_BYTES: u64 = 256 << 20;

/// How long `qemu --version` may take.
const VERSION_MAX: Duration = Duration::from_secs(10);

/// What is shown of what a program said.
const SHOWN_CHARS_MAX: usize = 200;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Probed {
    /// What runs guests here.
    pub(crate) accel: Accel,
    /// What was seen, as a sentence's end: why it is not KVM, or that it is.
    pub(crate) seen: String,
}

/// A guest to be tried.
#[derive(Debug)]
pub(crate) struct Trial<'a> {
    /// [`DEVICE`].
    pub(crate) device: &'a Path,
    /// QEMU.
    pub(crate) program: &'a Path,
    /// What the guest boots; it writes [`MARKER`] to `console=ttyS0`.
    pub(crate) boot: Boot,
    /// [`PATIENCE`].
    pub(crate) patience: Duration,
}

/// What a result is good for: another boot of this machine, another QEMU or another kernel may
/// behave differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    boot_id: String,
    qemu: String,
    kernel: String,
}

#[derive(Serialize, Deserialize)]
struct Cached {
    key: Key,
    probed: Probed,
}

/// Where what was found is kept, in a directory for that.
const FILE: &str = "accel.json";

/// What was found the last time, and what that is good for.
pub(crate) fn remembered(dir: &Path) -> Option<(Key, Probed)> {
    let Cached { key, probed } = serde_json::from_slice(&fs::read(dir.join(FILE)).ok()?).ok()?;
    Some((key, probed))
}

/// What `probe` found the last time, or finds now, kept in this directory.
pub(crate) fn cached(dir: &Path, key: &Key, probe: impl FnOnce() -> Probed) -> Probed {
    if let Some((of, probed)) = remembered(dir)
        && of == *key
    {
        return probed;
    }
    let cached = Cached { key: key.clone(), probed: probe() };
    if let Err(error) = write(&dir.join(FILE), &cached) {
        tracing::warn!(%error, "what runs guests here is not remembered");
    }
    cached.probed
}

fn write(path: &Path, cached: &Cached) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    fs::write(&unfinished, serde_json::to_vec(cached)?)?;
    fs::rename(&unfinished, path)
}

impl Key {
    /// The release of the guests' kernel.
    pub(crate) fn kernel(&self) -> &str {
        &self.kernel
    }

    /// Of this machine, this QEMU and this kernel of guests.
    pub(crate) fn of(program: &Path, kernel: &str) -> io::Result<Self> {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(Self { boot_id, qemu: version(program)?, kernel: kernel.to_owned() })
    }
}

/// What QEMU says it is, in one line.
pub(crate) fn version(program: &Path) -> io::Result<String> {
    let finished = child::run(Command::new(program).arg("--version"), VERSION_MAX, &|_| false)?;
    match finished.ending {
        Ending::Exited(status) if status.success() => {
            Ok(child::line(&finished.stdout, At::First, SHOWN_CHARS_MAX))
        }
        _ => Err(io::Error::other("qemu does not say its version")),
    }
}

/// Whether the device is one. Nothing opens it: that may hang whoever does.
pub(crate) fn check(device: &Path) -> Result<(), String> {
    let shown = device.display();
    match fs::metadata(device) {
        Ok(meta) if meta.file_type().is_char_device() => Ok(()),
        Ok(_) => Err(format!("{shown} is no device")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("there is no {shown}"))
        }
        Err(error) => Err(format!("{shown} cannot be looked at: {error}")),
    }
}

impl Trial<'_> {
    /// Looks whether the guest comes up. Takes no longer than the patience and two seconds.
    pub(crate) fn probe(&self) -> Probed {
        match self.attempt() {
            Ok(()) => Probed { accel: Accel::Kvm, seen: "a guest came up under KVM".to_owned() },
            Err(seen) => Probed { accel: Accel::Tcg, seen },
        }
    }

    fn attempt(&self) -> Result<(), String> {
        check(self.device)?;
        let arguments = self.machine().arguments().map_err(|error: MachineError| {
            format!("no guest could be tried under KVM: failed to {error}")
        })?;
        let mut command = Command::new(self.program);
        command.args(arguments);
        let finished = child::run(&mut command, self.patience, &is_up);
        self.judge(&finished.map_err(|error| format!("qemu could not be started: {error}"))?)
    }

    fn judge(&self, finished: &Finished) -> Result<(), String> {
        let mut seen = match finished.ending {
            Ending::Enough => return Ok(()),
            // It may have come up, said so and ended before anybody looked.
            Ending::Exited(_) if is_up(&finished.stdout) => return Ok(()),
            Ending::Exited(status) => {
                format!("a guest under KVM ended before it came up ({status})")
            }
            Ending::Late => {
                let seconds = self.patience.as_secs_f32();
                format!("a guest under KVM did not come up within {seconds} s")
            }
        };
        for (who, said) in [("qemu", &finished.stderr), ("its console", &finished.stdout)] {
            let line = child::line(said, At::Last, SHOWN_CHARS_MAX);
            if !line.is_empty() {
                seen.push_str(&format!("; {who} said last: {line}"));
            }
        }
        if finished.lingers {
            seen.push_str("; it could not be killed");
        }
        Err(seen)
    }

    fn machine(&self) -> Machine {
        Machine {
            name: "umbra-probe".to_owned(),
            accel: Accel::Kvm,
            board: Board::for_accel(Accel::Kvm),
            cpus: 1,
            memory: Memory { bytes: MEMORY_BYTES, backing: Backing::Own },
            boot: self.boot.clone(),
            console: Console::Stdout,
            monitor: None,
            ports: Vec::new(),
            share: None,
            disks: Vec::new(),
            network: Network::None,
            start: Start::Runs,
        }
    }
}

fn is_up(console: &[u8]) -> bool {
    // A kernel's message may end without the line's end on a console just opened.
    console.windows(MARKER.len()).any(|piece| piece == MARKER.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SHORT: Duration = Duration::from_millis(300);

    fn boot() -> Boot {
        let path = |name: &str| PathBuf::from(name);
        Boot { kernel: path("/k"), initrd: path("/i"), cmdline: "console=ttyS0".to_owned() }
    }

    /// A program that does this instead of what QEMU does.
    fn instead_of_qemu(script: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let program = dir.path().join("qemu");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("set");
        (dir, program)
    }

    /// What is found with such a program.
    fn probed(script: &str, patience: Duration) -> Probed {
        let (_dir, program) = instead_of_qemu(script);
        let device = Path::new("/dev/null");
        Trial { device, program: &program, boot: boot(), patience }.probe()
    }

    #[track_caller]
    fn check_tcg(probed: &Probed, words: &[&str]) {
        assert_eq!(probed.accel, Accel::Tcg);
        for word in words {
            assert!(probed.seen.contains(word), "{}", probed.seen);
        }
        assert!(!probed.seen.contains(char::is_control), "{:?}", probed.seen);
    }

    #[test]
    fn a_guest_that_came_up_is_kvm() {
        let script = "echo 'umbra-guest: up'; sleep 600";
        assert_eq!(probed(script, PATIENCE).accel, Accel::Kvm);
        assert_eq!(probed("echo 'umbra-guest: up'", PATIENCE).accel, Accel::Kvm);
        let asked = "case \"$*\" in *'-accel kvm'*'-kernel /k'*) echo 'umbra-guest: up';; esac";
        assert_eq!(probed(asked, PATIENCE).accel, Accel::Kvm);
    }

    #[test]
    fn anything_else_is_tcg_with_the_reason() {
        check_tcg(&probed("sleep 600", SHORT), &["did not come up within 0.3 s"]);
        check_tcg(
            &probed("echo 'umbra-guest: u'; sleep 600", SHORT),
            &["within 0.3 s", "its console said last: umbra-guest: u"],
        );
        check_tcg(
            &probed("printf 'Could not access KVM\\033[2J' >&2; exit 1", PATIENCE),
            &["exit status: 1", "qemu said last: Could not access KVM\\u{1b}[2J"],
        );
        check_tcg(&probed("kill -ABRT $$", PATIENCE), &["ended before it came up"]);
    }

    #[test]
    fn where_there_is_no_device_nothing_is_started() {
        let trial = |device: &str| {
            let device = Path::new(device);
            let program = Path::new("/nowhere/qemu");
            Trial { device, program, boot: boot(), patience: PATIENCE }.probe()
        };
        check_tcg(&trial("/nowhere/kvm"), &["there is no /nowhere/kvm"]);
        check_tcg(&trial("/proc/version"), &["no device"]);
        check_tcg(&trial("/dev/null"), &["qemu could not be started"]);
    }

    #[test]
    fn another_qemu_or_another_kernel_is_another_key() {
        let (_dir, seven) = instead_of_qemu("echo; echo 'QEMU 7.2'; echo 'Copyright'");
        let (_other_dir, ten) = instead_of_qemu("echo 'QEMU 10'");
        let key = |program, kernel| Key::of(program, kernel).expect("a key");
        assert_eq!(key(&seven, "6.1").qemu, "QEMU 7.2");
        assert_eq!(key(&seven, "6.1"), key(&seven, "6.1"));
        assert_ne!(key(&seven, "6.1"), key(&ten, "6.1"));
        assert_ne!(key(&seven, "6.1"), key(&seven, "6.2"));
        let (_broken_dir, broken) = instead_of_qemu("exit 1");
        Key::of(&broken, "6.1").expect_err("it does not say");
    }

    #[test]
    fn a_result_is_remembered_for_its_key_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let key = |kernel: &str| Key {
            boot_id: "b".to_owned(),
            qemu: "q".to_owned(),
            kernel: kernel.to_owned(),
        };
        let looked = Cell::new(0);
        let look = || {
            looked.set(looked.get() + 1);
            Probed { accel: Accel::Kvm, seen: looked.get().to_string() }
        };
        assert_eq!(cached(dir.path(), &key("6.1"), look).seen, "1");
        assert_eq!(cached(dir.path(), &key("6.1"), look).seen, "1");
        assert_eq!(cached(dir.path(), &key("6.2"), look).seen, "2");
        fs::write(dir.path().join(FILE), "{").expect("written");
        assert_eq!(cached(dir.path(), &key("6.2"), look).seen, "3");
        assert_eq!(cached(Path::new("/nowhere/dir"), &key("6.2"), look).seen, "4");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
    }
}
