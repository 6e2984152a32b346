//! Real QEMU: that it makes what is described here, and that its monitor is as it is spoken to.
//! Guests that boot are in this crate's `tests/qemu`.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use super::kernel::image;
use super::machine::{
    Accel, Backing, Board, Boot, Console, Disk, Endpoint, Machine, Memory, Network, Port, Start,
};
use super::programs::QEMU;
use super::qmp::{Cont, Qmp, Stop};

const PATIENCE: Duration = Duration::from_secs(30);

/// QEMU's path, or none and why the test is skipped.
pub(super) fn program() -> Option<PathBuf> {
    QEMU.find().map_err(|missing| println!("skipped: failed to {missing}")).ok()
}

/// A QEMU that is ended with the test.
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A kernel and an initrd that QEMU takes for some, and nobody boots.
fn boot(dir: &Path) -> Boot {
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        fs::write(&path, bytes).expect("written");
        path
    };
    Boot {
        kernel: file("vmlinuz", &image::fake("6.1.0")),
        initrd: file("initrd", b"initrd"),
        cmdline: "console=ttyS0".to_owned(),
    }
}

fn disk(dir: &Path, id: &str) -> Disk {
    let image = dir.join(id);
    File::create(&image).expect("made").set_len(1 << 20).expect("set");
    Disk { id: id.to_owned(), image }
}

/// With all that needs neither root nor another program.
pub(super) fn machine(dir: &Path, board: Board, backing: Backing, start: Start) -> Machine {
    Machine {
        name: "umbra-all".to_owned(),
        accel: Accel::Tcg,
        board,
        cpus: 2,
        memory: Memory { bytes: 64 << 20, backing },
        boot: boot(dir),
        console: Console::Socket(Endpoint(1)),
        monitor: Some(Endpoint(0)),
        ports: vec![Port { name: "umbra.test".to_owned(), endpoint: Endpoint(2) }],
        share: None,
        disks: vec![disk(dir, "root"), disk(dir, "more")],
        network: Network::None,
        start,
    }
}

/// Starts it and speaks with its monitor. What QEMU complains of comes out of its port.
pub(super) fn start(program: &Path, machine: &Machine) -> (Running, Qmp) {
    let pair = || UnixStream::pair().expect("a pair");
    let ((ours, monitor), (_console, console), (mut port, said)) = (pair(), pair(), pair());
    let child = Command::new(program)
        .args(machine.arguments().expect("arguments"))
        .stdin(OwnedFd::from(monitor))
        .stdout(OwnedFd::from(console))
        .stderr(OwnedFd::from(said))
        .spawn()
        .expect("started");
    let running = Running(child);
    match Qmp::over(ours, PATIENCE) {
        Ok(qmp) => (running, qmp),
        Err(error) => {
            drop(running);
            let mut said = String::new();
            port.read_to_string(&mut said).expect("read");
            panic!("{}: {said}", umbra_state::chain(&error));
        }
    }
}

#[test]
fn every_board_is_made_and_what_was_saved_of_it_goes_on() {
    let Some(program) = program() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let memory = dir.path().join("memory");
    for board in [Board::Pc, Board::Q35] {
        let machine = |backing, start| machine(dir.path(), board, backing, start);
        let shared = machine(Backing::Shared, Start::Runs);
        start(&program, &shared);

        let template = machine(Backing::Template(memory.clone()), Start::Runs);
        let (running, mut qmp) = start(&program, &template);
        qmp.execute(&Stop {}, PATIENCE).expect("stopped");
        let saved = dir.path().join("saved");
        let to = File::create(&saved).expect("made");
        qmp.save(to.as_fd(), PATIENCE).expect("saved");
        drop(running);

        let clone = machine(Backing::Clone(memory.clone()), Start::Incoming);
        let (_running, mut qmp) = start(&program, &clone);
        let from = File::open(&saved).expect("opened");
        qmp.load(from.as_fd(), PATIENCE).expect("loaded");
        qmp.execute(&Cont {}, PATIENCE).expect("it goes on");
    }
}
