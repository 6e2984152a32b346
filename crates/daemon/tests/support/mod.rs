//! A daemon with fakes: shadows that exist only in memory, builds that follow a script.

#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use umbra_api::build::{Answer, BuildPhase, BuildRequest, Event, Failure, Figures, TestResult};
use umbra_api::client::Client;
use umbra_api::error::{ErrorCode, WireError};
use umbra_build::{EventSink, StepCache};
use umbra_daemon::builds::ports::{Builder, Running};
use umbra_daemon::config::Config;
use umbra_daemon::daemon::Ports;
use umbra_daemon::instance::Instance;
use umbra_daemon::instances::fake::Fake;
use umbra_daemon::primaries::Pace;
use umbra_daemon::primaries::agents::{Agent, Agents, Leash};
use umbra_daemon::shadows::{Owner, Providers, Registry};
use umbra_drift::remote::Remote;
use umbra_shadow::provider::{
    Attached, Capabilities, EnforcedLimits, Limits, Network, Reaped, Running as RunningCommand,
    TerminalSize,
};
use umbra_shadow::{Provider, Shadow, ShadowError, ShadowSpec};
use umbra_state::diff::DeltaCounts;
use umbra_state::{
    Command, Content, Digest, Dir, Evidence, Exit, Leaf, Meta, Node, Output, StateId, TestKind,
    Tree, Verdict,
};
use umbra_store::Store;
use umbra_store::overlay::Layers;

/// Shadows as names in a set. Commands: `fail CODE` exits so, `wait-gone` runs until its
/// shadow is destroyed, anything else prints its arguments.
#[derive(Default)]
pub struct FakeProvider {
    pub alive: Arc<Alive>,
    pub leftovers: Mutex<Vec<String>>,
}

#[derive(Default)]
pub struct Alive {
    names: Mutex<BTreeSet<String>>,
    changed: Condvar,
}

impl Alive {
    pub fn names(&self) -> Vec<String> {
        self.names.lock().unwrap().iter().cloned().collect()
    }

    fn wait_gone(&self, name: &str) {
        let mut names = self.names.lock().unwrap();
        while names.contains(name) {
            names = self.changed.wait(names).unwrap();
        }
    }

    pub fn wait_present(&self, name: &str) {
        let mut names = self.names.lock().unwrap();
        while !names.contains(name) {
            names = self.changed.wait(names).unwrap();
        }
    }
}

fn capabilities() -> &'static Capabilities {
    static CAPABILITIES: std::sync::OnceLock<Capabilities> = std::sync::OnceLock::new();
    CAPABILITIES.get_or_init(|| Capabilities {
        provider: "fake".into(),
        live_edit: true,
        host_capture: false,
        memory_fork: false,
        systemd: false,
        network_mirror: false,
        vm: false,
        clustered: false,
        user_namespace: false,
        limits: EnforcedLimits::default(),
        missing: vec!["everything: this is a fake".into()],
    })
}

impl Provider for FakeProvider {
    fn capabilities(&self) -> &Capabilities {
        capabilities()
    }

    fn spawn(&self, _: &Layers, spec: &ShadowSpec) -> Result<Box<dyn Shadow>, ShadowError> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if spec.name.is_empty() || spec.name.len() > 40 || !spec.name.chars().all(fits) {
            return Err(ShadowError::Name(spec.name.clone()));
        }
        let mut names = self.alive.names.lock().unwrap();
        if !names.insert(spec.name.clone()) {
            return Err(ShadowError::Taken(spec.name.clone()));
        }
        self.alive.changed.notify_all();
        let frozen = Mutex::new(false);
        let (alive, name) = (Arc::clone(&self.alive), spec.name.clone());
        Ok(Box::new(FakeShadow { alive, name, frozen }))
    }

    fn list(&self) -> Result<Vec<String>, ShadowError> {
        Ok(self.alive.names())
    }

    fn reap(&self) -> Result<Reaped, ShadowError> {
        Ok(Reaped { shadows: std::mem::take(&mut self.leftovers.lock().unwrap()) })
    }
}

struct FakeShadow {
    alive: Arc<Alive>,
    name: String,
    frozen: Mutex<bool>,
}

impl FakeShadow {
    fn check(&self) -> Result<(), ShadowError> {
        if *self.frozen.lock().unwrap() {
            return Err(ShadowError::Launcher("a frozen shadow was used".into()));
        }
        match self.alive.names.lock().unwrap().contains(&self.name) {
            true => Ok(()),
            false => Err(ShadowError::Gone(self.name.clone())),
        }
    }
}

impl Shadow for FakeShadow {
    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, 2]))
    }

    fn apply(&self, _: &Layers) -> Result<(), ShadowError> {
        self.check()
    }

    fn run(&self, command: &Command) -> Result<Output, ShadowError> {
        self.check()?;
        let argv: Vec<&str> = command.argv.iter().map(String::as_str).collect();
        let (exit, stdout) = match argv.as_slice() {
            ["wait-gone"] => {
                self.alive.wait_gone(&self.name);
                return Err(ShadowError::Gone(self.name.clone()));
            }
            ["fail", code] => (Exit::Code(code.parse().unwrap()), Vec::new()),
            ["cat"] => (Exit::Code(0), command.stdin.clone()),
            ["bytes"] => (Exit::Code(0), vec![0xff, 0xfe]),
            ["missing"] => {
                return Err(ShadowError::Start {
                    program: "missing".into(),
                    shadow: self.name.clone(),
                    reason: "no such file".into(),
                });
            }
            words => (Exit::Code(0), format!("{}\n", words.join(" ")).into_bytes()),
        };
        let duration = Duration::from_micros(1);
        Ok(Output { exit, stdout, stderr: Vec::new(), dropped_bytes: 0, duration })
    }

    fn start(&self, _: &Command) -> Result<Box<dyn RunningCommand>, ShadowError> {
        self.check()?;
        Ok(Box::new(FakeService))
    }

    fn attach(&self, _: &Command, size: TerminalSize) -> Result<Box<dyn Attached>, ShadowError> {
        self.check()?;
        Ok(Box::new(FakeTerminal::start(size)))
    }

    fn root(&self) -> Result<OwnedFd, ShadowError> {
        Ok(std::fs::File::open("/var/empty")
            .or_else(|_| std::fs::File::open("/proc"))
            .unwrap()
            .into())
    }

    fn freeze(&self) -> Result<(), ShadowError> {
        *self.frozen.lock().unwrap() = true;
        Ok(())
    }

    fn thaw(&self) -> Result<(), ShadowError> {
        *self.frozen.lock().unwrap() = false;
        Ok(())
    }

    fn destroy(&self) -> Result<(), ShadowError> {
        self.alive.names.lock().unwrap().remove(&self.name);
        self.alive.changed.notify_all();
        Ok(())
    }
}

impl Drop for FakeShadow {
    fn drop(&mut self) {
        self.destroy().unwrap();
    }
}

/// A service that is always there and says so.
struct FakeService;

impl RunningCommand for FakeService {
    fn log_tail(&self, _: u64) -> Vec<u8> {
        b"listening".to_vec()
    }

    fn ended(&self) -> Option<Exit> {
        None
    }
}

/// A program on a terminal: greets with the size, answers in capitals, ends with 7 at `bye`.
struct FakeTerminal {
    ours: UnixStream,
    resized: Mutex<UnixStream>,
    program: Option<JoinHandle<()>>,
}

impl FakeTerminal {
    fn start(size: TerminalSize) -> Self {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let resized = Mutex::new(theirs.try_clone().unwrap());
        let program = std::thread::spawn(move || {
            let hello = format!("hello {}x{}\n", size.columns, size.rows);
            theirs.write_all(hello.as_bytes()).unwrap();
            let mut buffer = [0u8; 1024];
            while let Ok(count) = theirs.read(&mut buffer) {
                if count == 0 || buffer[..count].ends_with(b"bye") {
                    break;
                }
                if theirs.write_all(&buffer[..count].to_ascii_uppercase()).is_err() {
                    break;
                }
            }
            drop(theirs.shutdown(std::net::Shutdown::Both));
        });
        Self { ours, resized, program: Some(program) }
    }
}

impl Attached for FakeTerminal {
    fn terminal(&self) -> BorrowedFd<'_> {
        self.ours.as_fd()
    }

    fn resize(&self, size: TerminalSize) -> Result<(), ShadowError> {
        let text = format!("now {}x{}\n", size.columns, size.rows);
        self.resized.lock().unwrap().write_all(text.as_bytes()).unwrap();
        Ok(())
    }

    fn wait(&mut self) -> Result<Exit, ShadowError> {
        if let Some(program) = self.program.take() {
            program.join().unwrap();
        }
        Ok(Exit::Code(7))
    }
}

impl Drop for FakeTerminal {
    fn drop(&mut self) {
        drop(self.ours.shutdown(std::net::Shutdown::Both));
        if let Some(program) = self.program.take() {
            program.join().unwrap();
        }
    }
}

/// What a script works with.
pub struct Stage {
    pub id: u64,
    pub request: BuildRequest,
    pub sink: Arc<dyn EventSink>,
    pub cache: Arc<dyn StepCache>,
    pub provider: Arc<dyn Provider>,
    pub control: Arc<Control>,
    /// Shadows put here stay until the build is dropped.
    pub kept: Arc<Mutex<Vec<Box<dyn Shadow>>>>,
}

/// Cancellation and answers, as a script sees them.
#[derive(Default)]
pub struct Control {
    cancelled: Mutex<bool>,
    changed: Condvar,
    asking: Mutex<Option<Sender<Answer>>>,
}

impl Control {
    pub fn wait_cancelled(&self) {
        let mut cancelled = self.cancelled.lock().unwrap();
        while !*cancelled {
            cancelled = self.changed.wait(cancelled).unwrap();
        }
    }

    pub fn is_cancelled(&self) -> bool {
        *self.cancelled.lock().unwrap()
    }

    pub fn ask(&self) -> Receiver<Answer> {
        let (sender, receiver) = channel();
        *self.asking.lock().unwrap() = Some(sender);
        receiver
    }
}

type Script = dyn Fn(&Stage) + Send + Sync;

struct ScriptedBuilder {
    registry: Arc<Registry>,
    script: Arc<Script>,
}

impl Builder for ScriptedBuilder {
    fn start(
        &self,
        id: u64,
        request: BuildRequest,
        sink: Arc<dyn EventSink>,
        cache: Arc<dyn StepCache>,
    ) -> Result<Box<dyn Running>, WireError> {
        if request.recipe.contains("bad") {
            return Err(WireError::new(ErrorCode::BadRecipe, "accept the recipe: 1 problem"));
        }
        let control = Arc::new(Control::default());
        let kept = Arc::new(Mutex::new(Vec::new()));
        let stage = Stage {
            id,
            request,
            sink,
            cache,
            provider: self
                .registry
                .noting(Arc::clone(self.registry.providers().usual()), Owner::Build(id)),
            control: Arc::clone(&control),
            kept: Arc::clone(&kept),
        };
        let script = Arc::clone(&self.script);
        let thread = std::thread::spawn(move || script(&stage));
        Ok(Box::new(ScriptedBuild { control, thread: Mutex::new(Some(thread)), kept }))
    }
}

struct ScriptedBuild {
    control: Arc<Control>,
    thread: Mutex<Option<JoinHandle<()>>>,
    kept: Arc<Mutex<Vec<Box<dyn Shadow>>>>,
}

impl Running for ScriptedBuild {
    fn cancel(&self) {
        *self.control.cancelled.lock().unwrap() = true;
        self.control.changed.notify_all();
    }

    fn answer(&self, answer: Answer) -> bool {
        match self.control.asking.lock().unwrap().take() {
            Some(sender) => sender.send(answer).is_ok(),
            None => false,
        }
    }

    fn wait(&self) -> BuildPhase {
        if let Some(thread) = self.thread.lock().unwrap().take() {
            drop(thread.join());
        }
        BuildPhase::Done
    }
}

impl Drop for ScriptedBuild {
    fn drop(&mut self) {
        self.cancel();
        self.wait();
        self.kept.lock().unwrap().clear();
    }
}

/// A daemon in `dir` whose builds follow `script`.
pub fn start(
    dir: &Path,
    provider: Arc<FakeProvider>,
    script: impl Fn(&Stage) + Send + Sync + 'static,
) -> Instance {
    try_start(dir, provider, script).expect("the daemon starts")
}

pub fn try_start(
    dir: &Path,
    provider: Arc<FakeProvider>,
    script: impl Fn(&Stage) + Send + Sync + 'static,
) -> Result<Instance, WireError> {
    try_start_with(dir, provider, Arc::new(Threads), script)
}

/// The same with other agents.
pub fn try_start_with(
    dir: &Path,
    provider: Arc<FakeProvider>,
    agents: Arc<dyn Agents>,
    script: impl Fn(&Stage) + Send + Sync + 'static,
) -> Result<Instance, WireError> {
    try_start_paced(dir, provider, agents, Pace::default(), script)
}

/// The same, with numbers that are kept more often.
pub fn try_start_paced(
    dir: &Path,
    provider: Arc<FakeProvider>,
    agents: Arc<dyn Agents>,
    pace: Pace,
    script: impl Fn(&Stage) + Send + Sync + 'static,
) -> Result<Instance, WireError> {
    let config = Config { state_dir: dir.join("state"), socket: dir.join("umbra.sock") };
    let script: Arc<Script> = Arc::new(script);
    Instance::start(config, |_| {
        let builder = |_: Store, registry: Arc<Registry>| -> Arc<dyn Builder> {
            Arc::new(ScriptedBuilder { registry, script })
        };
        let instances = Arc::new(Fake::default());
        let providers = Providers::new(provider);
        Ok(Ports { providers, builder: Box::new(builder), agents, pace, instances })
    })
}

/// A script for daemons that are not to build.
pub fn idle(_: &Stage) {}

pub fn client(instance: &Instance) -> Client {
    Client::new(instance.socket())
}

pub fn request(recipe: &str) -> BuildRequest {
    BuildRequest {
        recipe: recipe.into(),
        vars: Vec::new(),
        until: None,
        no_cache: false,
        on_error: None,
    }
}

/// A state with these small files, in the daemon's store.
pub fn put_state(instance: &Instance, files: &[(&str, &str)]) -> StateId {
    let mut root = Dir { meta: meta(0o755), ..Dir::default() };
    for (name, text) in files {
        let content = Content::Inline(text.as_bytes().into());
        let leaf = Leaf { meta: meta(0o644), content, link: None };
        root.entries.insert(name.as_bytes().into(), Node::Leaf(Arc::new(leaf)));
    }
    let tree = Tree { root: Arc::new(root) };
    instance.daemon().states().store().put(&tree).expect("a state")
}

fn meta(mode: u16) -> Meta {
    Meta { mode, ..Meta::default() }
}

pub fn state(number: u8) -> StateId {
    StateId(Digest::new([number; 32]))
}

pub fn spec(name: &str) -> ShadowSpec {
    ShadowSpec::new(name, Limits::default(), Network::Fenced)
}

pub fn started(id: u64, name: &str, steps: &[&str]) -> Event {
    let steps = steps.iter().map(ToString::to_string).collect();
    Event::Started { build: id, name: name.into(), steps, tests: vec!["serves".into()] }
}

pub fn ingested(step: usize, state: StateId) -> Event {
    let delta = DeltaCounts { added: 2, modified: 1, removed: 0, content_bytes: 3000 };
    Event::StepIngested { step, state, delta, took_us: 30_000 }
}

pub fn ended(phase: BuildPhase, verdict: Verdict, reason: Option<&str>) -> Event {
    let figures = Figures { steps_run: 2, tests_run: 1, total_us: 500_000, ..Figures::default() };
    Event::Ended { phase, verdict, reason: reason.map(Into::into), figures }
}

pub fn result(name: &str, verdict: Verdict) -> TestResult {
    TestResult {
        name: name.into(),
        kind: TestKind::Integration,
        verdict,
        evidence: vec![Evidence {
            subject: "GET http://10.0.0.2/".into(),
            seen: "status 502".into(),
            expected: Some("status 200".into()),
            verdict,
        }],
        error: None,
        output: None,
        shadow: "b1-1".into(),
        attempts: 1,
        took_us: 12_000,
        metrics: Vec::new(),
        findings: Vec::new(),
    }
}

pub fn failure(shadow: Option<&str>) -> Failure {
    Failure {
        step: 1,
        step_name: "config".into(),
        test: Some(result("serves", Verdict::Fail)),
        step_output: None,
        before: state(1),
        after: state(2),
        shadow: shadow.map(Into::into),
        delta: vec!["~ /etc/nginx/nginx.conf (content)".into()],
        delta_omitted: 0,
        discarded: Vec::new(),
        frozen_after_us: 4_000,
    }
}

/// Agents that are threads of this process.
pub struct Threads;

impl Agents for Threads {
    fn start(&self, _: Option<&Remote>, _: &AtomicBool) -> io::Result<Agent> {
        let (ours, theirs) = UnixStream::pair()?;
        let (from, to) = (BufReader::new(theirs.try_clone()?), theirs);
        let thread = std::thread::spawn(move || {
            // A line that breaks ends the agent, as a process would end.
            let name = "a test's agent".to_owned();
            let timer = Box::new(umbra_drift::rollback::timer::Manual::default());
            let _ = umbra_agent::converse(from, to, umbra_agent::Program { name, timer });
        });
        let from = BufReader::new(ours.try_clone()?);
        let hung_up = ours.try_clone()?;
        Ok(Agent {
            to: Box::new(ours),
            from: Box::new(from),
            leash: Arc::new(Thread { hung_up, thread: Mutex::new(Some(thread)) }),
            there: None,
        })
    }
}

/// A thread that ends when nothing is said to it any more.
struct Thread {
    hung_up: UnixStream,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Leash for Thread {
    fn end(&self, _: Duration) {
        let _ = self.hung_up.shutdown(std::net::Shutdown::Write);
        if let Some(thread) = self.thread.lock().unwrap().take() {
            thread.join().expect("the agent");
        }
    }

    fn complaint(&self) -> Option<String> {
        None
    }
}
