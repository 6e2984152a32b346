//! A daemon in a process of its own, which kills itself at a point.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Signal, getpid, kill_process};
use umbra_daemon::config::Config;
use umbra_daemon::fault::Faults;
use umbra_daemon::instance::Instance;
use umbra_daemon::machines::MachineOptions;
use umbra_daemon::serve::real_ports;
use umbra_store::FaultPoints;

use crate::traces::family;

/// The places of a daemon in `dir`.
pub(crate) fn config(dir: &Path) -> Config {
    Config { state_dir: dir.join("state"), socket: dir.join("umbra.sock") }
}

/// The life of the process: serves until its standard input ends, says how many points it
/// passed. At `point`, counted from 1, it is dead.
pub(crate) fn daemon(dir: &Path, point: &str) -> ExitCode {
    let point: usize = point.parse().expect("a number");
    let passed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&passed);
    let pass = move || {
        if counter.fetch_add(1, Ordering::SeqCst) + 1 == point {
            kill_process(getpid(), Signal::KILL).expect("killed");
        }
    };
    let pass_database = pass.clone();
    let faults = Faults {
        store: FaultPoints::new(move |_| pass()),
        database: FaultPoints::new(move |_| pass_database()),
    };
    let launcher = std::env::current_exe().expect("own path");
    let machines = MachineOptions::beside(&launcher);
    let ports = |config: &Config| real_ports(config, launcher, machines);
    let instance = Instance::start_with(config(dir), faults, ports).expect("a daemon");
    println!("ready");
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).expect("the end of input");
    instance.shutdown();
    // Not printed: its output is also its shadows', and ends with the last of them.
    fs::write(points(dir), passed.load(Ordering::SeqCst).to_string()).expect("written");
    ExitCode::SUCCESS
}

fn points(dir: &Path) -> PathBuf {
    dir.join("points")
}

/// Such a process. Killed and waited for when dropped.
pub(crate) struct Daemon {
    child: Child,
    points: PathBuf,
    /// It and its launcher.
    pub(crate) family: Vec<(u32, String)>,
}

impl Daemon {
    /// Starts one that dies at `point` (0: never); `None` where it was dead before it served.
    pub(crate) fn start(dir: &Path, point: usize) -> Option<Self> {
        let mut child = Command::new(std::env::current_exe().expect("own path"))
            .args(["daemon", &dir.display().to_string(), &point.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let mut daemon = Self { child, points: points(dir), family: Vec::new() };
        let mut line = String::new();
        output.read_line(&mut line).expect("its output");
        match line.as_str() {
            "ready\n" => {
                daemon.family = family(daemon.child.id());
                Some(daemon)
            }
            _ => {
                assert!(daemon.was_killed(), "a daemon that cannot start says why above");
                None
            }
        }
    }

    fn was_killed(&mut self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        let status = self.child.wait().expect("waited for");
        assert!(status.success() || status.signal() == Some(9), "{status}");
        !status.success()
    }

    /// Ends it in order; how many points it passed, or `None` where one of them killed it.
    pub(crate) fn stop(mut self) -> Option<usize> {
        drop(self.child.stdin.take());
        let killed = self.was_killed();
        let points = || fs::read_to_string(&self.points).expect("written");
        (!killed).then(|| points().parse().expect("a number of points"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may be dead already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
