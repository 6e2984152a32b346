//! The demo's own servers, its daemon and its gateway: started, reached, stopped.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::interrupt;
use crate::process;
use crate::stop::Stop;

/// The longest path a unix socket can have.
const SOCKET_PATH_MAX: usize = 107;
const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// The socket of what runs instances.
const KEEPER: &str = "keeper.sock";

/// In the environment of the servers and of all they start, so that they can be found.
pub(crate) const MARK: &str = "UMBRA_DEMO_DIR";

/// Where a demo keeps its things.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) umbra: PathBuf,
    pub(crate) dir: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) gateway: PathBuf,
}

impl Places {
    pub(crate) fn new(umbra: PathBuf, dir: PathBuf) -> Self {
        let (socket, gateway) = (socket_in(&dir, "umbra"), socket_in(&dir, "gateway"));
        Self { umbra, dir, socket, gateway }
    }

    /// `umbra` as the demo's client.
    pub(crate) fn client(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.umbra);
        command.args(args).current_dir(crate::workspace::root());
        command.env("UMBRA_STATE_DIR", &self.dir).env("UMBRA_SOCKET", &self.socket);
        command.env("UMBRA_GATEWAY", &self.gateway);
        command
    }

    fn log(&self, role: Role) -> PathBuf {
        self.dir.join(format!("{role}.log"))
    }

    fn pid_file(&self, role: Role) -> PathBuf {
        self.dir.join(format!("{role}.pid"))
    }

    fn socket(&self, role: Role) -> &Path {
        match role {
            Role::Daemon => &self.socket,
            Role::Gateway => &self.gateway,
        }
    }
}

/// A socket in the directory, or for it where its path is too long to hold one.
fn socket_in(dir: &Path, name: &str) -> PathBuf {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let inside = dir.join(format!("{name}.sock"));
    if inside.as_os_str().len() <= SOCKET_PATH_MAX {
        return inside;
    }
    let mut hasher = DefaultHasher::new();
    dir.hash(&mut hasher);
    PathBuf::from(format!("/run/umbra-demo-{:x}-{name}.sock", hasher.finish()))
}

/// What a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Daemon,
    Gateway,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Daemon => "daemon",
            Self::Gateway => "gateway",
        })
    }
}

/// A running server. Dropping it stops it.
pub(crate) struct Server {
    places: Places,
    role: Role,
    child: Option<Child>,
}

impl Server {
    /// Starts the daemon and returns when it can be reached.
    pub(crate) fn daemon(places: &Places) -> Result<Self, Stop> {
        stop_former(places)?;
        Self::start(places, Role::Daemon, &["serve"])
    }

    /// Starts a gateway, likewise.
    pub(crate) fn gateway(places: &Places, args: &[&str]) -> Result<Self, Stop> {
        Self::start(places, Role::Gateway, args)
    }

    fn start(places: &Places, role: Role, args: &[&str]) -> Result<Self, Stop> {
        let log = places.log(role);
        let lost = |error: io::Error| {
            Stop::missing(
                format!("{} cannot be written ({error})", log.display()),
                "make room for it",
            )
        };
        let file = File::create(&log).map_err(lost)?;
        let child = places
            .client(args)
            .env(MARK, &places.dir)
            .stdin(Stdio::null())
            .stdout(file.try_clone().map_err(lost)?)
            .stderr(file)
            // A Ctrl-C is the client's: a server is told once the client is done.
            .process_group(0)
            .spawn()
            .map_err(|error| Stop::Failed(format!("the {role} does not start: {error}")))?;
        let mut server = Self { places: places.clone(), role, child: Some(child) };
        let pid = server.pid().unwrap_or_default();
        fs::write(places.pid_file(role), pid.to_string()).map_err(lost)?;
        server.await_socket()?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Ends it in order; an error if it had to be killed or complained.
    pub(crate) fn stop(mut self) -> Result<(), Stop> {
        let (status, role) = (self.end(), self.role);
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(Stop::Failed(format!(
                "the {role} ended badly ({status}); see {}",
                self.places.log(role).display()
            ))),
            None => Err(Stop::Failed(format!("the {role} did not end in time and was killed"))),
        }
    }

    /// Leaves it running when this program ends.
    pub(crate) fn keep(mut self) {
        self.child = None;
    }

    fn await_socket(&mut self) -> Result<(), Stop> {
        let began = Instant::now();
        loop {
            interrupt::check()?;
            if UnixStream::connect(self.places.socket(self.role)).is_ok() {
                return Ok(());
            }
            let ended =
                self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || began.elapsed() > START_MAX {
                let log = fs::read_to_string(self.places.log(self.role)).unwrap_or_default();
                return Err(Stop::missing(
                    format!("the {} does not come up on this machine", self.role),
                    format!("its log says:\n{}", last_lines(&log, 15)),
                ));
            }
            std::thread::sleep(POLL);
        }
    }

    fn end(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        let pid = Pid::from_child(&child);
        // The child is not reaped yet, so the number is its own.
        let _ = kill_process(pid, Signal::TERM);
        let status = wait_at_most(&mut child, STOP_MAX);
        if status.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_file(self.places.pid_file(self.role));
        status
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() && self.end().is_none() {
            eprintln!("xtask: the {} did not end in time and was killed", self.role);
        }
    }
}

fn wait_at_most(child: &mut Child, time: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if began.elapsed() < time => std::thread::sleep(POLL),
            _ => return None,
        }
    }
}

/// Stops the daemon that an earlier `--keep` left, and whatever a killed demo did.
pub(crate) fn stop_former(places: &Places) -> Result<(), Stop> {
    [Role::Gateway, Role::Daemon].into_iter().try_for_each(|role| stop_one(places, role))?;
    // Instances outlive the daemon.
    if places.dir.join(KEEPER).exists() && places.umbra.exists() {
        eprintln!("stopping instances that an earlier demo left running");
        process::answer(&mut places.client(&["instances", "stop", "--all"]))?;
    }
    Ok(())
}

fn stop_one(places: &Places, role: Role) -> Result<(), Stop> {
    let text = fs::read_to_string(places.pid_file(role)).unwrap_or_default();
    let pid = text.trim().parse::<i32>().ok().and_then(Pid::from_raw);
    if let Some(pid) = pid.filter(|pid| is_ours(*pid, places)) {
        eprintln!("stopping the {role} that an earlier demo left running");
        let _ = kill_process(pid, Signal::TERM);
        let began = Instant::now();
        while is_ours(pid, places) {
            interrupt::check()?;
            if began.elapsed() > STOP_MAX {
                return Err(Stop::Failed(format!(
                    "the {role} {} does not end",
                    pid.as_raw_nonzero()
                )));
            }
            std::thread::sleep(POLL);
        }
    }
    // One that was killed leaves its socket; connecting to it would only be refused.
    let socket = places.socket(role);
    let stale = fs::symlink_metadata(socket).is_ok_and(|it| it.file_type().is_socket());
    if stale && UnixStream::connect(socket).is_err() {
        let _ = fs::remove_file(socket);
    }
    Ok(())
}

/// Whether this number is a server of this very directory: numbers are used again.
fn is_ours(pid: Pid, places: &Places) -> bool {
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero()));
    environment.is_ok_and(|bytes| has_mark(&bytes, &places.dir))
}

/// Whether an environment is that of a server of `dir` or of a process it started.
pub(crate) fn has_mark(environment: &[u8], dir: &Path) -> bool {
    let wanted = [MARK.as_bytes(), b"=", dir.as_os_str().as_encoded_bytes()].concat();
    environment.split(|byte| *byte == 0).any(|entry| entry == wanted)
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_a_path_the_kernel_takes() {
        let places = |dir: &str| Places::new("umbra".into(), dir.into());
        assert_eq!(places("/short").socket, Path::new("/short/umbra.sock"));
        let long = places(&format!("/{}", "x".repeat(120))).socket;
        assert!(long.starts_with("/run") && long.as_os_str().len() <= SOCKET_PATH_MAX);
        assert_ne!(long, places(&format!("/{}", "x".repeat(120))).gateway);
    }

    #[test]
    fn the_mark_is_a_whole_entry() {
        let dir = Path::new("/a");
        assert!(has_mark(b"X=1\0UMBRA_DEMO_DIR=/a\0", dir));
        assert!(!has_mark(b"UMBRA_DEMO_DIR=/ab\0", dir));
        assert!(!has_mark(b"", dir));
    }
}
