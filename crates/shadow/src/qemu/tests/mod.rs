//! Real guests: that what this module describes is what QEMU makes of it and Linux boots.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::accel::{self, MARKER, Trial};
use super::initrd;
use super::kernel::{self, Kernel, WANTED};
use super::machine::{
    Accel, Backing, Board, Boot, Console, Disk, DiskFormat, Door, Endpoint, Machine, Memory,
    Network, Port, Start,
};
use super::programs::QEMU;
use super::qmp::{BlockdevAdd, Cont, DeviceAdd, Qmp, QueryStatus, Quit, RunState, Stop};
use super::shelf::Shelf;

/// For a guest under TCG on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Everything a guest of these tests needs, or why it cannot be had here.
struct Ground {
    program: PathBuf,
    kernel: Kernel,
    boot: Boot,
    dir: tempfile::TempDir,
}

impl Ground {
    fn new() -> Result<Self, String> {
        let program = QEMU.find().map_err(|error| error.to_string())?;
        // Fetched once for all runs.
        let kept =
            std::env::current_exe().expect("a path").ancestors().nth(3).map(Path::to_path_buf);
        let shelf = Shelf::open(kept.expect("the target directory").join("kernels"));
        let named = std::env::var_os("UMBRA_KERNEL").map(PathBuf::from);
        let found = kernel::choose(named.as_deref(), None, &shelf.expect("a shelf"), &WANTED);
        let kernel = found.map_err(|error| umbra_state::chain(&error))?.kernel;
        let dir = tempfile::tempdir().expect("a directory");
        let agent = dir.path().join("guest");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/qemu/tests/guest.c");
        let mut build = Command::new("cc");
        build.args(["-static", "-Os", "-Wall", "-o"]).args([&agent, &source]);
        assert!(build.status().expect("cc (Debian package gcc)").success());
        let shelf = Shelf::open(dir.path().join("initrds")).expect("a shelf");
        let initrd = initrd::make(&shelf, &agent, &kernel.modules).expect("an initrd");
        let cmdline = "console=ttyS0 panic=-1 quiet".to_owned();
        let boot = Boot { kernel: kernel.image.clone(), initrd, cmdline };
        Ok(Self { program, kernel, boot, dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Under TCG, with a port, a network, and room for more.
    fn machine(&self, name: &str, backing: Backing, start: Start) -> Machine {
        let door = Door { host: [127, 0, 0, 1].into(), host_port: 0, guest_port: 80 };
        Machine {
            name: name.to_owned(),
            accel: Accel::Tcg,
            board: Board::Pc,
            cpus: 1,
            memory: Memory { bytes: 256 << 20, backing },
            boot: self.boot.clone(),
            console: Console::File(self.path(&format!("{name}.console"))),
            monitor: Some(Endpoint::Listen(self.path(&format!("{name}.monitor")))),
            ports: vec![Port {
                name: "umbra.test".to_owned(),
                endpoint: Endpoint::Listen(self.path(&format!("{name}.port"))),
            }],
            share: None,
            disks: Vec::new(),
            network: Network::Restricted {
                mac: super::machine::Mac([2, 0, 0, 0, 0, 1]),
                doors: vec![door],
            },
            slots: 2,
            balloon: true,
            start,
            reboots: false,
        }
    }

    fn start(&self, machine: Machine) -> Guest {
        let log = File::create(self.path("qemu.log")).expect("made");
        let child = Command::new(&self.program)
            .args(machine.arguments().expect("arguments"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("started");
        let mut guest = Guest { child, qmp: None, machine };
        match Qmp::connect(&self.path(&format!("{}.monitor", guest.machine.name)), PATIENCE) {
            Ok(qmp) => guest.qmp = Some(qmp),
            Err(error) => {
                panic!("{error}: {}", fs::read_to_string(self.path("qemu.log")).expect("read"))
            }
        }
        guest
    }

    fn console(&self, guest: &Guest) -> String {
        let bytes = fs::read(self.path(&format!("{}.console", guest.machine.name)));
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
    }

    fn await_up(&self, guest: &Guest) {
        let deadline = Instant::now() + PATIENCE;
        while !self.console(guest).contains(MARKER) {
            assert!(Instant::now() < deadline, "not up: {}", self.console(guest));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks the guest something and has its answer.
    fn ask(&self, guest: &Guest, line: &str) -> String {
        let path = self.path(&format!("{}.port", guest.machine.name));
        let mut port = UnixStream::connect(path).expect("connected");
        port.set_read_timeout(Some(PATIENCE)).expect("set");
        writeln!(port, "{line}").expect("written");
        let mut answer = String::new();
        BufReader::new(port).read_line(&mut answer).expect("an answer");
        answer
    }
}

struct Guest {
    child: Child,
    qmp: Option<Qmp>,
    machine: Machine,
}

impl Guest {
    fn qmp(&mut self) -> &mut Qmp {
        self.qmp.as_mut().expect("a monitor")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a skipped test says.
fn ground() -> Option<Ground> {
    Ground::new().map_err(|why| println!("skipped: no guest can be booted here: {why}")).ok()
}

/// Boots, is stopped and goes on, is saved, and goes on twice, with a disk added to one.
#[test]
fn a_guest_from_boot_to_clones() {
    let Some(ground) = ground() else { return };
    let memory = ground.path("memory");
    let begun = Instant::now();
    let mut template =
        ground.start(ground.machine("template", Backing::Template(memory.clone()), Start::Runs));
    ground.await_up(&template);
    println!("up after {:?}", begun.elapsed());
    let console = ground.console(&template);
    assert!(!console.contains("guest: module"), "{console}");
    assert_eq!(ground.ask(&template, "hello"), "1 hello 0 disks\n");

    template.qmp().execute(&Stop {}, PATIENCE).expect("stopped");
    let saved = File::create(ground.path("saved")).expect("made");
    let begun = Instant::now();
    template.qmp().save(saved.as_fd(), PATIENCE).expect("saved");
    println!("saved after {:?}, {} bytes", begun.elapsed(), saved.metadata().expect("there").len());
    template.qmp().execute(&Quit {}, PATIENCE).expect("it ends");
    assert!(template.child.wait().expect("waited").success());

    let clones = ["one", "two"].map(|name| {
        let begun = Instant::now();
        let backing = Backing::Clone(memory.clone());
        let mut clone = ground.start(ground.machine(name, backing, Start::Incoming));
        let saved = File::open(ground.path("saved")).expect("opened");
        clone.qmp().load(saved.as_fd(), PATIENCE).expect("loaded");
        let status = clone.qmp().execute(&QueryStatus {}, PATIENCE).expect("a status");
        assert!(!status.running && status.status != RunState::Inmigrate, "{status:?}");
        clone.qmp().execute(&Cont {}, PATIENCE).expect("it goes on");
        // Each from where the template was, and not where another clone is.
        assert_eq!(ground.ask(&clone, name), format!("2 {name} 0 disks\n"));
        println!("clone {name} answers after {:?}", begun.elapsed());
        clone
    });
    let [mut one, two] = clones;
    add_disk(&ground, &mut one);
    assert_eq!(ground.ask(&two, "none"), "3 none 0 disks\n");
    let mut port = UnixStream::connect(ground.path("one.port")).expect("connected");
    writeln!(port, "off").expect("written");
    assert!(one.child.wait().expect("waited").success(), "it powers itself off");
}

fn add_disk(ground: &Ground, guest: &mut Guest) {
    let image = ground.path("disk");
    File::create(&image).expect("made").set_len(1 << 20).expect("set");
    let disk = Disk { id: "root".to_owned(), image, format: DiskFormat::Raw, read_only: true };
    let slot = guest.machine.slot(0);
    let (blockdev, device) = (disk.blockdev(), disk.device(Some(&slot)));
    let qmp = guest.qmp();
    qmp.execute(&BlockdevAdd(blockdev.expect("a disk")), PATIENCE).expect("opened");
    qmp.execute(&DeviceAdd(device.expect("a device")), PATIENCE).expect("added");
    let deadline = Instant::now() + PATIENCE;
    while !ground.ask(guest, "disks").ends_with("1 disks\n") {
        assert!(Instant::now() < deadline, "the guest does not see it");
    }
}

/// Every board with every kind of device is made by QEMU, which then stands.
#[test]
fn all_there_is_can_be_made() {
    let Some(ground) = ground() else { return };
    let disk = |id: &str, read_only| {
        let image = ground.path(id);
        File::create(&image).expect("made").set_len(1 << 20).expect("set");
        Disk { id: id.to_owned(), image, format: DiskFormat::Raw, read_only }
    };
    for board in [Board::Pc, Board::Q35] {
        let plain = ground.machine("all", Backing::Shared, Start::Paused);
        let disks = vec![disk("root", true), disk("writes", false)];
        let mut guest = ground.start(Machine { board, cpus: 2, disks, ..plain });
        let status = guest.qmp().execute(&QueryStatus {}, PATIENCE).expect("a status");
        assert_eq!(status.status, RunState::Prelaunch);
    }
}

/// What another process opened serves as well: its sockets, by their numbers.
#[test]
fn sockets_are_inherited() {
    let Some(ground) = ground() else { return };
    let ((ours, monitor), (console, port)) =
        (UnixStream::pair().expect("a pair"), UnixStream::pair().expect("a pair"));
    let plain = ground.machine("inherits", Backing::Own, Start::Paused);
    let machine = Machine {
        monitor: Some(Endpoint::Inherited(0)),
        console: Console::Socket(Endpoint::Inherited(1)),
        ports: Vec::new(),
        ..plain
    };
    let child = Command::new(&ground.program)
        .args(machine.arguments().expect("arguments"))
        .stdin(OwnedFd::from(monitor))
        .stdout(OwnedFd::from(port))
        .spawn()
        .expect("started");
    let mut guest = Guest { child, qmp: Qmp::over(ours, PATIENCE).ok(), machine };
    guest.qmp().execute(&Cont {}, PATIENCE).expect("it begins");
    let mut first = [0; 1];
    console.set_read_timeout(Some(PATIENCE)).expect("set");
    { &console }.read_exact(&mut first).expect("it says something");
}

/// What the probe says is what it saw: on a machine whose device is there and whose guests do
/// not come up, TCG, in time.
#[test]
fn kvm_is_believed_when_a_guest_came_up() {
    let Some(ground) = ground() else { return };
    let trial = Trial {
        device: Path::new(accel::DEVICE),
        program: &ground.program,
        boot: ground.boot.clone(),
        marker: MARKER,
        patience: accel::PATIENCE,
    };
    let begun = Instant::now();
    let probed = trial.probe();
    println!("{probed:?} after {:?}", begun.elapsed());
    assert!(begun.elapsed() < accel::PATIENCE + Duration::from_secs(10));
    match probed.accel {
        Accel::Kvm => assert_eq!(probed.seen, "a guest came up under KVM"),
        Accel::Tcg => assert!(probed.seen.contains("kvm") || probed.seen.contains("KVM")),
    }
    let key = accel::Key::of(&ground.program, &ground.kernel).expect("a key");
    let file = ground.path("accel.json");
    assert_eq!(accel::cached(&file, &key, || probed.clone()), probed);
    assert_eq!(accel::cached(&file, &key, || unreachable!("it is remembered")), probed);
}
