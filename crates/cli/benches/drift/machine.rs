//! A root directory under the care of a daemon of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use umbra_api::client::Client;
use umbra_drift::service::{AddPrimary, ConfigText, Event, PrimaryInfo};

use crate::process::{Outcome, end};

/// Everything is gone when it is dropped.
pub(crate) struct Machine {
    dir: tempfile::TempDir,
    root: PathBuf,
    daemon: Child,
    client: Client,
}

impl Machine {
    /// A machine whose `/etc` is filled by `fill`, watched as `config` says.
    pub(crate) fn start(config: &str, fill: impl FnOnce(&Path) -> io::Result<()>) -> Outcome<Self> {
        let dir = tempfile::tempdir()?;
        let root = dir.path().join("root");
        let etc = root.join("etc");
        fs::create_dir_all(&etc)?;
        fill(&etc)?;
        Self::watch(dir, root, Some(config))
    }

    /// A directory that is there, watched as the default set says. `dir` is the daemon's.
    pub(crate) fn default_set(dir: tempfile::TempDir, root: &Path) -> Outcome<Self> {
        Self::watch(dir, root.to_owned(), None)
    }

    fn watch(dir: tempfile::TempDir, root: PathBuf, config: Option<&str>) -> Outcome<Self> {
        let state = dir.path().join("state");
        let daemon = Command::new(env!("CARGO_BIN_EXE_umbra"))
            .arg("serve")
            .env("UMBRA_STATE_DIR", &state)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("log"))?)
            .spawn()?;
        let client = Client::new(state.join("umbra.sock"));
        let machine = Self { dir, root, daemon, client };
        let until = Instant::now() + Duration::from_secs(30);
        while machine.client.version().is_err() {
            if Instant::now() > until {
                return Err("the daemon does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let text = |text: &str| ConfigText { path: "bench.yml".to_owned(), text: text.to_owned() };
        let add = AddPrimary {
            name: "bench".to_owned(),
            root: Some(machine.root.to_string_lossy().into_owned()),
            remote: None,
            image: None,
            config: config.map(text),
        };
        let _: PrimaryInfo = machine.client.post("/v1/primaries", &add)?;
        Ok(machine)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn etc(&self) -> PathBuf {
        self.root.join("etc")
    }

    /// The process that watches.
    pub(crate) fn agent(&self) -> Outcome<u32> {
        let children = format!("/proc/{0}/task/{0}/children", self.daemon.id());
        // Threads of the daemon start agents, and a process is its thread's child.
        let tasks = fs::read_dir(format!("/proc/{}/task", self.daemon.id()))?;
        let mut all = fs::read_to_string(children)?;
        for task in tasks {
            all.push_str(&fs::read_to_string(task?.path().join("children"))?);
        }
        let pids = all.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok());
        let is_agent = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).nth(1) == Some(b"agent")
        };
        pids.into_iter().find(is_agent).ok_or_else(|| "there is no agent".into())
    }

    pub(crate) fn database_bytes(&self) -> Outcome<u64> {
        let of = |name: &str| {
            fs::metadata(self.dir.path().join("state").join(name)).map_or(0, |file| file.len())
        };
        Ok(of("umbra.db") + of("umbra.db-wal"))
    }

    /// How many objects shadows have, and their bytes.
    pub(crate) fn objects(&self) -> Outcome<(u64, u64)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let path = self.dir.path().join("state/umbra.db");
        let objects = runtime.block_on(async {
            let db = umbra_daemon::db::Db::open(&path, Default::default()).await?;
            let objects = db.drift_objects().await;
            db.close().await;
            objects
        })?;
        Ok((objects.len() as u64, objects.iter().map(|(_, bytes)| bytes).sum()))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        end(&mut self.daemon);
    }
}

/// Events as they reach a client.
pub(crate) struct Followed {
    events: Receiver<(Instant, Event)>,
}

impl Followed {
    pub(crate) fn begin(machine: &Machine) -> Outcome<Self> {
        let events = machine.client.follow::<Event>("/v1/drift/events?follow=true")?;
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            for event in events.map_while(Result::ok) {
                if sender.send((Instant::now(), event)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { events: receiver })
    }

    pub(crate) fn next(&self, within: Duration) -> Option<(Instant, Event)> {
        self.events.recv_timeout(within).ok()
    }

    /// When the first event came that is meant.
    pub(crate) fn until(
        &self,
        within: Duration,
        meant: impl Fn(&Event) -> bool,
    ) -> Outcome<Instant> {
        let until = Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let (at, event) = self.next(left).ok_or("the event did not come")?;
            if meant(&event) {
                return Ok(at);
            }
        }
    }
}

/// Files and directories, as they are.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let status = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("cp failed")) }
}

/// Regular files below a directory.
pub(crate) fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            found.extend(files(&entry.path())?);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Memory of a process, in words.
pub(crate) fn resident(pid: u32) -> Outcome<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.unwrap_or("an unknown size").trim().to_owned())
}
