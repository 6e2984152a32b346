//! An emulated PC that boots a disk.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What is in the machine before the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF.
    Uefi,
}

/// A machine that is switched off when dropped.
pub(crate) struct Machine {
    qemu: Child,
    console: PathBuf,
    /// What reaches port 80 inside.
    port: u16,
}

/// An emulated processor on a busy host needs its time; what takes longer hangs.
const BOOT_MAX: Duration = Duration::from_secs(180);

const QEMU: &str = "qemu-system-x86_64";
const OVMF: &str = "/usr/share/OVMF";

/// What of the programs and files for this is not there.
pub(crate) fn missing() -> Option<String> {
    let runs = |program: &str| {
        let status = Command::new(program).arg("--version").stdout(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    for (program, package) in [(QEMU, "qemu-system-x86"), ("qemu-img", "qemu-utils")] {
        if !runs(program) {
            return Some(format!("{program} (apt-get install {package})"));
        }
    }
    let firmware = Path::new(OVMF).join("OVMF_CODE_4M.fd");
    (!firmware.exists()).then(|| format!("{} (apt-get install ovmf)", firmware.display()))
}

impl Machine {
    /// Switches one on; what it needs beside the disk is put into `folder`.
    pub(crate) fn boot(firmware: Firmware, disk: &Path, format: &str, folder: &Path) -> Self {
        let console = folder.join(format!("console-{firmware:?}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig=KILL", QEMU, "-machine", "pc,accel=tcg", "-m", "512"])
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            .args(["-serial", &format!("file:{}", console.display())])
            .args(["-drive", &format!("if=virtio,format={format},file={}", disk.display())])
            .args(["-netdev", &format!("user,id=n,hostfwd=tcp:127.0.0.1:{port}-:80")])
            .args(["-device", "virtio-net-pci,netdev=n,romfile="]);
        if firmware == Firmware::Uefi {
            let variables = folder.join("variables");
            fs::copy(Path::new(OVMF).join("OVMF_VARS_4M.fd"), &variables).expect("copied");
            let code = format!("{OVMF}/OVMF_CODE_4M.fd");
            for (file, only_read) in [(code, "on"), (variables.display().to_string(), "off")] {
                let flash = format!("if=pflash,format=raw,readonly={only_read},file={file}");
                qemu.args(["-drive", &flash]);
            }
        }
        let log = File::create(folder.join(format!("qemu-{firmware:?}"))).expect("a log");
        let qemu = qemu.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        Self { qemu: qemu.expect("QEMU starts"), console, port }
    }

    /// Waits until a terminal asks who is there and the web server answers.
    pub(crate) fn await_ready(&mut self) {
        let began = Instant::now();
        self.until(began, "a login prompt", |machine| machine.console().contains("login:"));
        self.until(began, "an answer of the web server", Machine::answers);
    }

    fn until(&mut self, began: Instant, what: &str, seen: impl Fn(&Self) -> bool) {
        while !seen(self) {
            let ended = self.qemu.try_wait().expect("asked");
            let is_late = began.elapsed() > BOOT_MAX;
            if ended.is_some() || is_late {
                let console = self.console();
                let end = console.char_indices().rev().nth(4000).map_or(0, |(at, _)| at);
                panic!("no {what}, {ended:?}; the console's end:\n{}", &console[end..]);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn console(&self) -> String {
        fs::read(&self.console).map_or(String::new(), |said| String::from_utf8_lossy(&said).into())
    }

    fn answers(&self) -> bool {
        let asked = || -> std::io::Result<Vec<u8>> {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
            let mut answer = Vec::new();
            stream.take(64 << 10).read_to_end(&mut answer)?;
            Ok(answer)
        };
        asked().is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Gone already if it failed.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
