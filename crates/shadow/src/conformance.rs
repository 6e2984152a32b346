//! What every provider must do, as one suite that every implementation runs.
//!
//! Each case is a function that panics with what went wrong, so that a test harness can list
//! them one by one. A case that a provider's [`Capabilities`](crate::provider::Capabilities)
//! exclude says why it was skipped.
//!
//! The layers given must show a root with `/bin/sh` and the programs `cat`, `dd`, `id`,
//! `mkfifo`, `sleep` and `stty` on the default `PATH`, and a user 4711 need not exist in it.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use umbra_state::{Command, Exit, Output};
use umbra_store::overlay::{Base, Layers};

use crate::provider::{Attached, Limits, Network, Provider, Running, Shadow, TerminalSize};
use crate::{ShadowError, ShadowSpec};

/// One thing a provider must do.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What it is.
    pub name: &'static str,
    /// Panics unless the provider does it. Uses shadows whose names begin with `conform-`.
    pub check: fn(&dyn Provider, &Layers) -> Done,
}

/// What became of a case that found nothing wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It was checked.
    Checked,
    /// The provider does not claim to do this here; the sentence says what.
    Skipped(String),
}

/// The suite.
pub const CASES: &[Case] = &[
    Case { name: "commands end as they end", check: commands_end },
    Case { name: "time limits hold", check: time_limits },
    Case { name: "streams are kept apart, fed and bounded", check: streams },
    Case { name: "environment, directory and user are as asked", check: surroundings },
    Case { name: "several commands run at once", check: several_at_once },
    Case { name: "services run, log and end", check: services },
    Case { name: "apply shows a fresh view", check: fresh_view },
    Case { name: "directories are shown and never written to", check: directories },
    Case { name: "a terminal has a size and an end", check: terminals },
    Case { name: "freezing stops and thawing lets go on", check: freezing },
    Case { name: "names are checked, taken, listed and free again", check: names },
    Case { name: "destroying is final and idempotent", check: destroying },
    Case { name: "addresses are as the network", check: addresses },
    Case { name: "the root can be read from outside", check: reading_the_root },
    Case { name: "limits hold as far as claimed", check: limits },
];

/// How long anything may take that has no limit of its own.
const PATIENCE: Duration = Duration::from_secs(20);

fn commands_end(provider: &dyn Provider, layers: &Layers) -> Done {
    let shadow = spawn(provider, layers, "conform-end");
    assert_eq!(sh(&*shadow, "exit 0").exit, Exit::Code(0));
    assert_eq!(sh(&*shadow, "exit 3").exit, Exit::Code(3));
    assert_eq!(sh(&*shadow, "kill -9 $$").exit, Exit::Signal(9));
    let missing = shadow.run(&Command::new(["/no/such/program"]));
    assert!(matches!(&missing, Err(ShadowError::Start { .. })), "{missing:?}");
    let nothing = shadow.run(&Command::new(Vec::<String>::new()));
    assert!(matches!(&nothing, Err(ShadowError::Start { .. })), "{nothing:?}");
    assert_eq!(sh(&*shadow, "exit 0").exit, Exit::Code(0), "failures leave it usable");
    Done::Checked
}

fn time_limits(provider: &dyn Provider, layers: &Layers) -> Done {
    let shadow = spawn(provider, layers, "conform-time");
    let limit = Duration::from_millis(200);
    let started = Instant::now();
    // The input is more than a pipe holds and nobody reads it: feeding must not wait either.
    let mut command = Command::new(["sleep", "600"]).with_timeout(limit);
    command.stdin = vec![b'x'; 1 << 20];
    let output = run(&*shadow, &command);
    assert_eq!(output.exit, Exit::TimedOut);
    assert!(output.duration >= limit, "ended after {:?}", output.duration);
    assert!(started.elapsed() < PATIENCE, "took {:?}", started.elapsed());
    Done::Checked
}

fn streams(provider: &dyn Provider, layers: &Layers) -> Done {
    let shadow = spawn(provider, layers, "conform-streams");
    let output = sh(&*shadow, "echo out; echo err >&2");
    assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(output.dropped_bytes, 0);
    let mut command = Command::new(["cat"]);
    command.stdin = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    let echoed = run(&*shadow, &command);
    assert!(echoed.stdout == command.stdin, "{} bytes came back", echoed.stdout.len());
    command.output_bytes_max = 1000;
    let cut = run(&*shadow, &command);
    assert!(cut.stdout == command.stdin[..1000], "the beginning is what is kept");
    assert_eq!(cut.dropped_bytes, 299_000);
    Done::Checked
}

fn surroundings(provider: &dyn Provider, layers: &Layers) -> Done {
    let shadow = spawn(provider, layers, "conform-around");
    let mut command = Command::shell("echo $GREETING; pwd; id -u").with_env("GREETING", "hello");
    command.cwd = "/tmp".to_owned();
    assert_eq!(text(&run(&*shadow, &command)), "hello\n/tmp\n0\n");
    command.user = Some("4711".to_owned());
    assert_eq!(text(&run(&*shadow, &command)), "hello\n/tmp\n4711\n");
    // Nothing of the caller's own environment comes along.
    let command = Command { env: Vec::new(), ..Command::new(["/bin/sh", "-c", "echo x$HOME"]) };
    assert_eq!(text(&run(&*shadow, &command)), "x\n");
    let command = Command { cwd: "/no/such/dir".to_owned(), ..Command::shell("exit 0") };
    assert!(matches!(shadow.run(&command), Err(ShadowError::Start { .. })));
    let command = Command { user: Some("no-such-user".to_owned()), ..Command::shell("exit 0") };
    assert!(matches!(shadow.run(&command), Err(ShadowError::Start { .. })));
    Done::Checked
}

fn several_at_once(provider: &dyn Provider, layers: &Layers) -> Done {
    let shadow = spawn(provider, layers, "conform-many");
    sh(&*shadow, "mkfifo /meeting");
    std::thread::scope(|scope| {
        // The reader cannot end before the writer has run.
        let reader = scope.spawn(|| sh(&*shadow, "cat /meeting"));
        let writer = scope.spawn(|| sh(&*shadow, "echo met > /meeting"));
        assert!(matches!(writer.join().map(|output| output.exit), Ok(Exit::Code(0))));
        assert!(matches!(reader.join(), Ok(output) if output.stdout == b"met\n"));
    });
    Done::Checked
}

fn services(provider: &dyn Provider, layers: &Layers) -> Done {
    let shadow = spawn(provider, layers, "conform-service");
    sh(&*shadow, "mkfifo /hold");
    let service = start(&*shadow, "echo ready; cat /hold");
    until("the service is ready", || service.log_tail(1000) == b"ready\n");
    assert_eq!(service.log_tail(3), b"dy\n", "the end is what is kept");
    assert_eq!(service.ended(), None);
    sh(&*shadow, "echo bye > /hold");
    until("the service ends", || service.ended().is_some());
    assert_eq!(service.ended(), Some(Exit::Code(0)));
    assert_eq!(service.ended(), Some(Exit::Code(0)), "asking again gives the same answer");
    assert_eq!(service.log_tail(1000), b"ready\nbye\n");

    let service = start(&*shadow, "echo $$; cat /hold");
    until("the service is ready", || service.log_tail(1000).ends_with(b"\n"));
    let pid = String::from_utf8_lossy(&service.log_tail(1000)).trim().to_owned();
    assert_eq!(sh(&*shadow, &format!("kill -0 {pid}")).exit, Exit::Code(0));
    drop(service);
    until("a dropped service is killed", || {
        sh(&*shadow, &format!("kill -0 {pid}")).exit != Exit::Code(0)
    });
    Done::Checked
}

fn fresh_view(provider: &dyn Provider, layers: &Layers) -> Done {
    let shadow = spawn_with(provider, layers, "conform-apply", Network::Fenced);
    if !provider.capabilities().live_edit {
        return Done::Skipped("no live edit".to_owned());
    }
    let address = shadow.address();
    sh(&*shadow, "mkfifo /hold; echo mine > /mine; cat /mine");
    let service = start(&*shadow, "cat /hold");
    for round in 0..3 {
        let applied = shadow.apply(layers);
        assert!(applied.is_ok(), "round {round}: {applied:?}");
        assert_ne!(sh(&*shadow, "cat /mine").exit, Exit::Code(0), "files are gone");
        sh(&*shadow, "echo mine > /mine");
    }
    until("processes are gone", || service.ended().is_some());
    assert!(matches!(service.ended(), Some(Exit::Signal(_))), "{:?}", service.ended());
    assert_eq!(shadow.name(), "conform-apply");
    assert_eq!(shadow.address(), address, "the address stays");
    Done::Checked
}

/// Whatever is a directory of this machine: a layer, and what all layers lie on.
fn directories(provider: &dyn Provider, layers: &Layers) -> Done {
    let (below, above) = (OwnDir::new("below"), OwnDir::new("above"));
    below.write("lower", "lower\n");
    below.write("both", "lower\n");
    above.write("both", "upper\n");
    let mut all = layers.clone();
    match &layers.base {
        // There is one base only, and it can be a layer too.
        Some(Base::Checkout(root)) => all.uppers.push(root.clone()),
        Some(Base::Image { .. }) | None => {}
    }
    match &layers.base {
        Some(Base::Image { .. }) => all = all.with_upper(below.0.clone()),
        Some(Base::Checkout(_)) | None => all.base = Some(Base::Checkout(below.0.clone())),
    }
    let all = all.with_upper(above.0.clone());
    let shadow = spawn(provider, &all, "conform-dirs");
    for round in 0..2 {
        assert_eq!(text(&sh(&*shadow, "cat /lower")), "lower\n", "round {round}");
        assert_eq!(text(&sh(&*shadow, "cat /both")), "upper\n", "round {round}");
        assert_eq!(sh(&*shadow, "echo mine > /lower; echo mine > /both").exit, Exit::Code(0));
        assert_eq!(text(&sh(&*shadow, "cat /lower")), "mine\n");
        assert_eq!((below.read("lower"), above.read("both")), ("lower\n".into(), "upper\n".into()));
        let applied = shadow.apply(&all);
        assert!(applied.is_ok(), "{applied:?}");
    }
    Done::Checked
}

/// A directory that goes with this value.
struct OwnDir(PathBuf);

impl OwnDir {
    #[track_caller]
    fn new(name: &str) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("umbra-conform-{}-{number}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let made = std::fs::create_dir(&path);
        assert!(made.is_ok(), "{}: {made:?}", path.display());
        Self(path)
    }

    #[track_caller]
    fn write(&self, name: &str, text: &str) {
        let written = std::fs::write(self.0.join(name), text);
        assert!(written.is_ok(), "{name}: {written:?}");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

impl Drop for OwnDir {
    fn drop(&mut self) {
        // What is left is in a directory for what is not kept.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn terminals(provider: &dyn Provider, layers: &Layers) -> Done {
    let shadow = spawn(provider, layers, "conform-terminal");
    let command = Command::shell("stty size; read line; stty size; exit 7");
    let attached = shadow.attach(&command, TerminalSize { columns: 80, rows: 24 });
    let Ok(mut attached) = attached else { panic!("no terminal: {:?}", attached.err()) };
    let mut seen = Vec::new();
    read_until(&*attached, &mut seen, "24 80");
    let resized = attached.resize(TerminalSize { columns: 100, rows: 40 });
    assert!(resized.is_ok(), "{resized:?}");
    type_in(&*attached, b"go on\n");
    read_until(&*attached, &mut seen, "40 100");
    assert!(matches!(attached.wait(), Ok(Exit::Code(7))));
    Done::Checked
}

fn freezing(provider: &dyn Provider, layers: &Layers) -> Done {
    let shadow = spawn(provider, layers, "conform-freeze");
    let short = Command::shell("exit 0").with_timeout(Duration::from_millis(200));
    match shadow.freeze() {
        Ok(()) => {}
        Err(error) => {
            assert!(!provider.capabilities().missing.is_empty(), "{error}");
            return Done::Skipped(format!("cannot freeze here: {error}"));
        }
    }
    assert_eq!(run(&*shadow, &short).exit, Exit::TimedOut, "nothing runs while frozen");
    assert!(shadow.thaw().is_ok());
    assert_eq!(sh(&*shadow, "exit 5").exit, Exit::Code(5));
    assert!(shadow.freeze().is_ok());
    assert!(shadow.apply(layers).is_ok(), "a fresh view of a frozen shadow");
    assert_eq!(sh(&*shadow, "exit 6").exit, Exit::Code(6), "is not frozen");
    assert!(shadow.freeze().is_ok());
    assert!(shadow.destroy().is_ok(), "a frozen shadow can be destroyed");
    Done::Checked
}

fn names(provider: &dyn Provider, layers: &Layers) -> Done {
    let shadow = spawn(provider, layers, "conform-name");
    let again = provider.spawn(layers, &spec("conform-name", Network::None));
    assert!(matches!(again.err(), Some(ShadowError::Taken(name)) if name == "conform-name"));
    for bad in ["", "-x", "A", "a/b", "..", &"a".repeat(41)] {
        let refused = provider.spawn(layers, &spec(bad, Network::None));
        assert!(matches!(refused.err(), Some(ShadowError::Name(_))), "{bad:?}");
    }
    assert!(list(provider).contains(&"conform-name".to_owned()));
    assert!(provider.reap().is_ok_and(|reaped| reaped.shadows.is_empty()), "it lives");
    assert_eq!(sh(&*shadow, "exit 0").exit, Exit::Code(0), "reaping leaves the living alone");
    drop(shadow);
    assert!(!list(provider).contains(&"conform-name".to_owned()));
    spawn(provider, layers, "conform-name");
    Done::Checked
}

fn destroying(provider: &dyn Provider, layers: &Layers) -> Done {
    let shadow = spawn(provider, layers, "conform-gone");
    sh(&*shadow, "mkfifo /hold");
    let service = start(&*shadow, "cat /hold");
    assert!(shadow.destroy().is_ok() && shadow.destroy().is_ok());
    assert!(!list(provider).contains(&"conform-gone".to_owned()));
    let command = Command::shell("exit 0");
    let gone = [
        shadow.run(&command).err(),
        shadow.start(&command).err(),
        shadow.attach(&command, TerminalSize { columns: 1, rows: 1 }).err(),
        shadow.apply(layers).err(),
        shadow.freeze().err(),
        shadow.thaw().err(),
        shadow.root().err(),
    ];
    for (index, error) in gone.iter().enumerate() {
        assert!(matches!(error, Some(ShadowError::Gone(_))), "{index}: {error:?}");
    }
    assert!(matches!(service.ended(), Some(Exit::Signal(_))), "{:?}", service.ended());
    spawn(provider, layers, "conform-gone");
    Done::Checked
}

fn addresses(provider: &dyn Provider, layers: &Layers) -> Done {
    let alone = spawn(provider, layers, "conform-alone");
    assert_eq!(alone.address(), None);
    let first = spawn_with(provider, layers, "conform-first", Network::Fenced);
    let second = spawn_with(provider, layers, "conform-second", Network::Fenced);
    assert!(first.address().is_some() && second.address().is_some());
    assert_ne!(first.address(), second.address());
    Done::Checked
}

fn reading_the_root(provider: &dyn Provider, layers: &Layers) -> Done {
    let shadow = spawn(provider, layers, "conform-root");
    if !provider.capabilities().host_capture {
        return Done::Skipped("no capture from outside".to_owned());
    }
    sh(&*shadow, "echo inside > /seen");
    let Ok(root) = shadow.root() else { panic!("no root") };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(&root, "seen", flags, Mode::empty(), ResolveFlags::IN_ROOT);
    let mut content = String::new();
    let read = file.map(std::fs::File::from).map(|mut file| file.read_to_string(&mut content));
    assert!(matches!(read, Ok(Ok(_))), "{read:?}");
    assert_eq!(content, "inside\n");
    Done::Checked
}

fn limits(provider: &dyn Provider, layers: &Layers) -> Done {
    let enforced = provider.capabilities().limits;
    if !enforced.memory && !enforced.pids {
        return Done::Skipped("no limits are enforced here".to_owned());
    }
    let limits = Limits { memory_bytes: Some(32 << 20), cpu_millis: Some(1000), pids: Some(24) };
    let spec = ShadowSpec { limits, ..spec("conform-limits", Network::None) };
    let shadow = provider.spawn(layers, &spec);
    let Ok(shadow) = shadow else { panic!("no shadow: {:?}", shadow.err()) };
    if enforced.pids {
        let many = "for n in 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9; do \
                    sleep 600 & done";
        assert_ne!(sh(&*shadow, many).exit, Exit::Code(0), "thirty are too many");
        assert!(shadow.apply(layers).is_ok(), "processes at their limit do not stop a view");
    }
    if enforced.memory {
        let much = "dd if=/dev/zero of=/dev/shm/much bs=1M count=60";
        // Files in memory cannot be taken back by killing: all of the view may end.
        match shadow.run(&Command::shell(much).with_timeout(PATIENCE)) {
            Ok(output) => assert_ne!(output.exit, Exit::Code(0), "60 MB are too many"),
            Err(error) => assert!(matches!(error, ShadowError::Gone(_)), "{error}"),
        }
        assert!(shadow.apply(layers).is_ok(), "memory at its limit does not stop a view");
        assert_eq!(sh(&*shadow, "exit 0").exit, Exit::Code(0));
    }
    Done::Checked
}

fn spec(name: &str, network: Network) -> ShadowSpec {
    ShadowSpec::new(name, Limits::default(), network)
}

#[track_caller]
fn spawn(provider: &dyn Provider, layers: &Layers, name: &str) -> Box<dyn Shadow> {
    spawn_with(provider, layers, name, Network::None)
}

#[track_caller]
fn spawn_with(
    provider: &dyn Provider,
    layers: &Layers,
    name: &str,
    network: Network,
) -> Box<dyn Shadow> {
    match provider.spawn(layers, &spec(name, network)) {
        Ok(shadow) => shadow,
        Err(error) => panic!("failed to {error}: {:?}", std::error::Error::source(&error)),
    }
}

#[track_caller]
fn start(shadow: &dyn Shadow, script: &str) -> Box<dyn Running> {
    match shadow.start(&Command::shell(script)) {
        Ok(service) => service,
        Err(error) => panic!("failed to {error}"),
    }
}

#[track_caller]
fn sh(shadow: &dyn Shadow, script: &str) -> Output {
    run(shadow, &Command::shell(script).with_timeout(PATIENCE))
}

#[track_caller]
fn run(shadow: &dyn Shadow, command: &Command) -> Output {
    match shadow.run(command) {
        Ok(output) => output,
        Err(error) => panic!("failed to {error}: {:?}", std::error::Error::source(&error)),
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn list(provider: &dyn Provider) -> Vec<String> {
    match provider.list() {
        Ok(names) => names,
        Err(error) => panic!("failed to {error}"),
    }
}

/// Waits for something that happens elsewhere and is announced nowhere.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::yield_now();
    }
}

#[track_caller]
fn read_until(attached: &dyn Attached, seen: &mut Vec<u8>, wanted: &str) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let terminal = attached.terminal();
    while !String::from_utf8_lossy(seen).contains(wanted) {
        let mut fds = [PollFd::from_borrowed_fd(terminal.as_fd(), PollFlags::IN)];
        let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        let ready = poll(&mut fds, Some(&patience));
        assert!(matches!(ready, Ok(1)), "no {wanted:?} in {:?}", String::from_utf8_lossy(seen));
        let mut buffer = [0u8; 1024];
        let length = rustix::io::read(terminal, &mut buffer).unwrap_or(0);
        assert!(length > 0, "no {wanted:?} in {:?}", String::from_utf8_lossy(seen));
        seen.extend_from_slice(&buffer[..length]);
    }
}

#[track_caller]
fn type_in(attached: &dyn Attached, bytes: &[u8]) {
    let file = attached.terminal().try_clone_to_owned().map(std::fs::File::from);
    let written = file.and_then(|mut file| file.write_all(bytes));
    assert!(written.is_ok(), "{written:?}");
}
