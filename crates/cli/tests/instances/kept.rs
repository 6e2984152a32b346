//! The keeper of a test: what it does, how it is killed, and what it leaves.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use umbra_api::client::Client;
use umbra_daemon::config::Config;
use umbra_daemon::instances::{Instance, KeeperClient, KeeperInfo, Places};

use crate::project::umbra;
use crate::traces::{Traces, family, group_dirs, lives, owner};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// See the module. Ends all instances when dropped.
pub(crate) struct Kept {
    dir: PathBuf,
}

impl Kept {
    pub(crate) fn of(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    pub(crate) fn client(&self) -> KeeperClient {
        KeeperClient::new(Places::of(&self.config()), env!("CARGO_BIN_EXE_umbra").into())
    }

    pub(crate) fn info(&self) -> Option<KeeperInfo> {
        self.client().info().unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.info().expect("it runs").pid
    }

    /// The daemon's list.
    pub(crate) fn seen_by_the_daemon(&self) -> Vec<Instance> {
        Client::new(self.config().socket).get("/v1/instances").unwrap()
    }

    /// Kills it, and returns when it and its launcher are gone.
    pub(crate) fn kill(&self) {
        let pid = self.pid();
        let family = family(pid);
        assert!(family.len() > 1, "it has a launcher");
        let sent = Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status();
        assert!(sent.unwrap().success());
        until("its processes are gone", PATIENCE, || !family.iter().any(lives));
    }

    /// Kills the first process of an instance.
    pub(crate) fn kill_first_process(&self, instance: &str) {
        let is_first = |pid: &String| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
            let numbers = status.iter().flat_map(|status| status.lines());
            numbers.filter(|line| line.starts_with("NSpid:")).any(|line| line.ends_with("\t1"))
        };
        let groups = group_dirs(&owner(&Places::of(&self.config()).dir.join("shadows")));
        let lists = groups.iter().filter_map(|dir| {
            std::fs::read_to_string(dir.join(instance).join("cgroup.procs")).ok()
        });
        let pids: Vec<String> =
            lists.flat_map(|list| list.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        let first = pids.iter().find(|pid| is_first(pid)).expect("a first process");
        assert!(Command::new("kill").args(["-s", "KILL", first]).status().unwrap().success());
    }

    /// Nothing of it is in the kernel, or soon will be; files may be left to the next one.
    pub(crate) fn check_nothing_lives(&self) {
        let traces = self.traces();
        until("its interfaces are gone", PATIENCE, || traces.interfaces().is_empty());
        traces.check_no_mounts();
    }

    /// Nothing is left but what it said.
    pub(crate) fn check_nothing_is_left(&self) {
        let places = Places::of(&self.config());
        until("its socket is gone", PATIENCE, || !places.socket.exists());
        self.check_nothing_lives();
        until("its files are gone", PATIENCE, || {
            let entries = std::fs::read_dir(places.dir.join("shadows")).unwrap().flatten();
            entries.map(|entry| entry.file_name()).all(|name| name == "lock")
        });
        self.traces().check_gone();
    }

    fn traces(&self) -> Traces {
        Traces::of(&Places::of(&self.config()).dir.join("shadows"))
    }

    fn config(&self) -> Config {
        let state_dir = self.dir.join("state");
        Config { socket: state_dir.join("umbra.sock"), state_dir }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Of a test that failed; the others have ended it already.
        drop(umbra(&self.dir).args(["instances", "stop", "--all"]).output());
    }
}

/// What it answers when it is asked for its greeting, if it does.
pub(crate) fn answer(at: &str) -> Option<String> {
    let wait = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&at.parse().unwrap(), wait).ok()?;
    stream.set_read_timeout(Some(wait)).unwrap();
    stream.write_all(b"GET /greeting HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    // Something else on the way may answer for who is not there.
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.to_owned())
}

/// Waits for something that no event announces.
#[track_caller]
pub(crate) fn until(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
