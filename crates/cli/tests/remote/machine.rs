//! Another machine: an OpenSSH server of the test's own, whose shell shows a root directory.
//!
//! The server has its own `/run`, accounts, keys and port; nothing of this machine is used by
//! it or changed. Everything it starts descends from it, and ends with it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use umbra_api::client::Client;
use umbra_drift::alert::{Alert, News};
use umbra_drift::service::{Event, PrimaryInfo, What};

use crate::support;

/// As long as anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const CONFIG: &str = "
version: 2
defaults: {debounce: 10ms}
notify: [{log: false}]
parameters:
  - {name: dns, path: /etc/resolv.conf, tolerance: 0, severity: high}
  - {name: motd, path: /etc/motd, tolerance: 0, severity: low}
";

/// Its own accounts, and its own `/run` with what the server wants there.
const PRIVATE: &str = "mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd \
    && mount --bind $0/passwd /etc/passwd && mount --bind $0/shadow /etc/shadow \
    && exec \"$1\" -D -e -f $0/config";

/// Why this machine cannot stand for another, if it cannot.
pub(crate) fn missing() -> Option<&'static str> {
    if fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() != 0) {
        return Some("an sshd with mounts of its own needs root");
    }
    match (sshd(), Path::new("/usr/bin/ssh").exists()) {
        (Some(_), true) => None,
        _ => Some("no sshd: install openssh-server and openssh-client"),
    }
}

fn sshd() -> Option<&'static str> {
    ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].into_iter().find(|path| Path::new(path).exists())
}

/// The other machine, and a daemon on this one.
pub(crate) struct Machine {
    dir: tempfile::TempDir,
    sshd: Child,
    daemon: Option<Child>,
    port: u16,
}

impl Machine {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        prepare(dir.path(), port);
        let sshd = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", PRIVATE])
            .arg(dir.path().join("ssh"))
            .arg(sshd().unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("ssh/log")).unwrap())
            .spawn()
            .unwrap();
        let machine = Self { daemon: Some(support::serve(umbra(dir.path()))), dir, sshd, port };
        let answers = || TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(());
        until("the server answers", answers);
        machine
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Where agents and what they remember are there.
    pub(crate) fn there(&self) -> PathBuf {
        self.dir.path().join("there")
    }

    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.dir.path().join("root").join(path.trim_start_matches('/'))
    }

    /// Writes as another process: `sh`.
    pub(crate) fn change(&self, path: &str, text: &str) {
        let script = "printf '%s' \"$2\" > \"$1\"";
        let mut sh = Command::new("sh");
        sh.args(["-c", script, "sh"]).arg(self.file(path)).arg(text);
        assert!(sh.status().unwrap().success());
    }

    pub(crate) fn reads(&self, path: &str, text: &str) -> bool {
        fs::read_to_string(self.file(path)).unwrap() == text
    }

    /// What is known of host keys becomes this.
    pub(crate) fn know(&self, key: Option<&str>) {
        let line = key.map(|key| format!("[127.0.0.1]:{} {key}\n", self.port));
        fs::write(self.dir.path().join("ssh/known"), line.unwrap_or_default()).unwrap();
    }

    /// The words that add it as a primary.
    pub(crate) fn add<'a>(&self, name: &'a str, more: &[&'a str]) -> Vec<String> {
        let of = |path: &str| self.dir.path().join(path).display().to_string();
        let mut words: Vec<String> = ["primary", "add", name, "--ssh", "root@127.0.0.1", "--root"]
            .into_iter()
            .chain(more.iter().copied())
            .map(str::to_owned)
            .collect();
        words.insert(6, of("root"));
        let options = [
            format!("Port={}", self.port),
            format!("IdentityFile={}", of("ssh/key")),
            format!("UserKnownHostsFile={}", of("ssh/known")),
            "GlobalKnownHostsFile=/dev/null".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
        ];
        for option in options {
            words.extend(["--ssh-option".to_owned(), option]);
        }
        words.extend(["--agent-dir".to_owned(), of("there")]);
        words
    }

    pub(crate) fn config(&self) -> String {
        self.dir.path().join("monitoring_config.yml").display().to_string()
    }

    #[track_caller]
    pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(&self, args: &[S], code: i32) -> (String, String) {
        let Output { status, stdout, stderr } = umbra(self.dir.path()).args(args).output().unwrap();
        let out = String::from_utf8(stdout).unwrap();
        let err = String::from_utf8_lossy(&stderr).into_owned();
        let log = fs::read_to_string(self.dir.path().join("ssh/log")).unwrap_or_default();
        assert_eq!(status.code(), Some(code), "stdout: {out}\nstderr: {err}\nsshd: {log}");
        (out, err)
    }

    pub(crate) fn info(&self) -> PrimaryInfo {
        self.client().get("/v1/primaries/web").unwrap()
    }

    fn client(&self) -> Client {
        Client::new(self.dir.path().join("state/umbra.sock"))
    }

    /// Waits until something has happened, from the event of this number on; the number of the
    /// next.
    pub(crate) fn until<T>(&self, from: u64, mut is: impl FnMut(What) -> Option<T>) -> (u64, T) {
        let target = format!("/v1/drift/events?primary=web&from={from}");
        let mut events = self.client().follow::<Event>(&target).unwrap().map(Result::unwrap);
        let found = events.find_map(|event| Some((event.sequence + 1, is(event.what)?)));
        found.expect("it happens")
    }

    /// Waits until this is told of a parameter.
    pub(crate) fn told(&self, from: u64, news: News, parameter: &str) -> (u64, Alert) {
        self.until(from, |what| match what {
            What::Alert(alert)
                if alert.news == news && alert.discrepancy.item.parameter == parameter =>
            {
                Some(*alert)
            }
            _ => None,
        })
    }

    /// The agent that runs there.
    pub(crate) fn agent(&self) -> Option<u32> {
        let there = self.there();
        let is_agent = |pid: &u32| {
            let exe = fs::read_link(format!("/proc/{pid}/exe"));
            exe.is_ok_and(|exe| exe.starts_with(&there))
        };
        // A rollback's timer is the same program, but nobody's child any more.
        self.descendants().into_iter().find(is_agent)
    }

    /// Cuts every connection at once.
    pub(crate) fn cut(&self) {
        let own = |pid: &u32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.starts_with("sshd")
        };
        self.descendants().into_iter().filter(own).for_each(|pid| signal(pid, "KILL"));
    }

    /// Whether the server takes connections.
    pub(crate) fn answers(&self, yes: bool) {
        signal(self.sshd.id(), if yes { "CONT" } else { "STOP" });
    }

    fn descendants(&self) -> Vec<u32> {
        let numbers = fs::read_dir("/proc").unwrap().flatten();
        let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let parents: Vec<(u32, u32)> = pids.filter_map(|pid| Some((pid, parent(pid)?))).collect();
        let mut found = vec![self.sshd.id()];
        let mut at = 0;
        while let Some(&of) = found.get(at) {
            found.extend(parents.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| *pid));
            at += 1;
        }
        found.split_off(1)
    }

    /// Ends the daemon in order; then nothing of it runs there.
    pub(crate) fn stop(mut self) {
        let mut daemon = self.daemon.take().unwrap();
        signal(daemon.id(), "TERM");
        assert!(daemon.wait().unwrap().success());
        until("the agent has ended", || self.agent().is_none().then_some(()));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            drop(daemon.kill());
            drop(daemon.wait());
        }
        for pid in self.descendants() {
            signal(pid, "KILL");
        }
        drop(self.sshd.kill());
        drop(self.sshd.wait());
    }
}

/// Waits until there is something.
pub(crate) fn until<T>(what: &str, mut is: impl FnMut() -> Option<T>) -> T {
    let late = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = is() {
            return found;
        }
        assert!(Instant::now() < late, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process is gone, or nobody has asked yet how it ended.
pub(crate) fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// A process may be gone by now.
pub(crate) fn signal(pid: u32, name: &str) {
    let mut kill = Command::new("kill");
    drop(kill.args(["-s", name, &pid.to_string()]).stderr(Stdio::null()).status());
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, so count from behind it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn umbra(dir: &Path) -> Command {
    support::umbra(dir.join("bin/umbra"), dir)
}

/// Programs, keys, accounts and files, before anything runs.
fn prepare(dir: &Path, port: u16) {
    for sub in ["bin", "ssh", "home", "root/etc"] {
        fs::create_dir_all(dir.join(sub)).unwrap();
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    // The program has both of the words that an agent is called with: built with this test, it
    // is the agent of this version.
    let program = env!("CARGO_BIN_EXE_umbra");
    let bin = |name: &str| dir.join("bin").join(name);
    fs::hard_link(program, bin("umbra"))
        .or_else(|_| fs::copy(program, bin("umbra")).map(drop))
        .unwrap();
    let stripped = Command::new("strip").arg("-o").arg(bin("umbra-agent")).arg(program).status();
    if !stripped.is_ok_and(|status| status.success()) {
        fs::copy(program, bin("umbra-agent")).unwrap();
    }
    let ssh = |name: &str| dir.join("ssh").join(name);
    for key in ["host", "other", "key"] {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(ssh(key));
        assert!(keygen.status().unwrap().success());
    }
    fs::copy(ssh("key.pub"), ssh("authorized")).unwrap();
    let host = fs::read_to_string(ssh("host.pub")).unwrap();
    fs::write(ssh("known"), format!("[127.0.0.1]:{port} {host}")).unwrap();
    let home = dir.join("home").display().to_string();
    let passwd =
        format!("root:x:0:0:root:{home}:/bin/sh\nsshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n");
    fs::write(ssh("passwd"), passwd).unwrap();
    fs::write(ssh("shadow"), "root:*:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\n").unwrap();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
         StrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\nPrintMotd no\n",
        ssh("host").display(),
        ssh("authorized").display()
    );
    fs::write(ssh("config"), config).unwrap();
    fs::write(dir.join("root/etc/resolv.conf"), "nameserver 192.0.2.1\n").unwrap();
    fs::write(dir.join("root/etc/motd"), "hello\n").unwrap();
    fs::write(dir.join("monitoring_config.yml"), CONFIG).unwrap();
}

/// A host key of the server, or one that is not its.
pub(crate) fn key(machine: &Machine, name: &str) -> String {
    let path = machine.path().join("ssh").join(format!("{name}.pub"));
    fs::read_to_string(path).unwrap().trim().to_owned()
}
