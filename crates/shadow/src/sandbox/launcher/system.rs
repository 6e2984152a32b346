//! An image's own systemd as a view's first process, as its container interface asks: an empty
//! version 2 hierarchy of its own, a console, `container` in its environment. What commands are
//! asked of the view is started by an attendant beside it.

use std::ffi::CString;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::mount::MountAttrFlags;
use umbra_state::command::DEFAULT_PATH;

use umbra_guest::mounts::{attach, copy_of, make_file, new_mount};
use umbra_guest::run::TerminalSize;
use umbra_guest::sys::{self, Fork};
use umbra_guest::{SYSTEMD, exec, init};

use super::rights;
use crate::sandbox::wire::{self, Doing, Failure, InitHello, Profile};

/// What lines on a console are wrapped at: nobody looks at it through a window.
const CONSOLE: TerminalSize = TerminalSize { columns: 200, rows: 50 };

/// The view's own systemd, if it has one; links lead within the view's root.
pub(super) fn program() -> Option<&'static str> {
    SYSTEMD.into_iter().find(|path| {
        rustix::fs::access(*path, rustix::fs::Access::EXEC_OK).is_ok() && Path::new(path).is_file()
    })
}

/// Starts the attendant and becomes systemd. Returns only where that fails.
pub(super) fn become_system(program: &str, socket: &OwnedFd) -> Failure {
    match prepare(program, socket) {
        Ok((exec, mut attendant)) => {
            let failed = exec.run();
            // Where it is gone already, nobody has said that the system boots.
            let _ = attendant.write_all(b"!");
            Failure::new(format!("start {program}"), &failed)
        }
        Err(failure) => failure,
    }
}

struct Exec {
    program: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
}

impl Exec {
    fn of(program: &str) -> Self {
        let text = |value: &str| CString::new(value).unwrap_or_default();
        let path = format!("PATH={DEFAULT_PATH}");
        Self {
            program: text(program),
            argv: vec![text(program)],
            env: [path.as_str(), "container=umbra", "TERM=dumb"].map(text).to_vec(),
        }
    }

    fn run(&self) -> io::Error {
        sys::exec(&self.program, &self.argv, &self.env)
    }
}

/// The program to become, and the pipe on which the attendant waits for that.
fn prepare(program: &str, socket: &OwnedFd) -> Result<(Exec, PipeWriter), Failure> {
    let inert = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    attach(&new_mount("cgroup2", &[], inert)?, "/sys/fs/cgroup")?;
    let (master, console) = open_console()?;
    rights::confine(Profile::System).doing(|| "drop rights".to_owned())?;
    let attendant = start_attendant(socket, &master)?;
    drop(master);
    exec::judge_by_size().doing(|| "set the out-of-memory score".to_owned())?;
    sys::reset_signals();
    for number in 0..3 {
        sys::become_number(console.as_fd(), number).doing(|| "take the console".to_owned())?;
    }
    Ok((Exec::of(program), attendant))
}

/// A terminal that the view finds at /dev/console: our side and its own.
fn open_console() -> Result<(OwnedFd, OwnedFd), Failure> {
    let doing = || "make a console".to_owned();
    let (ours, theirs) = exec::open_terminal(CONSOLE).doing(doing)?;
    let slave = std::fs::read_link(format!("/proc/self/fd/{}", theirs.as_raw_fd())).doing(doing)?;
    make_file("/dev/console").doing(doing)?;
    attach(&copy_of(&slave)?, "/dev/console")?;
    Ok((ours, theirs))
}

/// Forks the process that runs commands. It says that the system boots once this process is
/// systemd, when exec has closed the pipe.
fn start_attendant(socket: &OwnedFd, master: &OwnedFd) -> Result<PipeWriter, Failure> {
    let doing = || "start the attendant".to_owned();
    let (began, becomes) = io::pipe().doing(doing)?;
    match sys::fork(0).doing(doing)? {
        Fork::Parent(_) => Ok(becomes),
        Fork::Child => {
            drop(becomes);
            let attended = attend(socket, master, began);
            sys::exit(i32::from(attended.is_err()))
        }
    }
}

fn attend(socket: &OwnedFd, master: &OwnedFd, mut began: PipeReader) -> io::Result<()> {
    rustix::process::setsid()?;
    if began.read(&mut [0])? > 0 {
        // It did not, and has said so itself.
        return Ok(());
    }
    wire::send(socket, &InitHello::Booting, &[master.as_fd()])?;
    init::serve(socket, rights::rights_of(Profile::System))
}
