//! What runs in processes of their own: a gateway, and a daemon whose instances are elsewhere.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Signal, getpid, kill_process};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use umbra_api::build::{BuildPhase, BuildRequest, Event};
use umbra_api::error::{ErrorCode, WireError};
use umbra_build::{EventSink, StepCache};
use umbra_daemon::builds::ports::{Builder, Running};
use umbra_daemon::config::Config;
use umbra_daemon::daemon::Ports;
use umbra_daemon::fault::Faults;
use umbra_daemon::instance::Instance as Daemon;
use umbra_daemon::instances::{Instance, InstanceSpec, Instances};
use umbra_daemon::primaries::Pace;
use umbra_daemon::shadows::Providers;
use umbra_gateway::gateway::Limits;
use umbra_gateway::listen::tls::Sources;
use umbra_gateway::proxy::Rules;
use umbra_gateway::routes::RoutesSetup;
use umbra_gateway::run::{Options, run};
use umbra_gateway::upstream::Trust;
use umbra_state::{Content, Dir, Leaf, Meta, Node, Tree, Verdict};
use umbra_store::{FaultPoints, Store};

use crate::support::{FakeProvider, Threads, ended, ingested, started};

/// The places of a daemon in `dir`.
pub(crate) fn config(dir: &Path) -> Config {
    Config { state_dir: dir.join("state"), socket: dir.join("umbra.sock") }
}

/// Where the gateway in `dir` is asked and told.
pub(crate) fn control(dir: &Path) -> PathBuf {
    dir.join("gateway.sock")
}

/// Where the keeper of instances in `dir` is asked.
pub(crate) fn keeper(dir: &Path) -> PathBuf {
    dir.join("keeper.sock")
}

/// The life of a gateway: until SIGTERM. Says where it listens.
pub(crate) fn gateway(dir: &Path, listen: &str) -> ExitCode {
    let routes = std::fs::read(dir.join("routes.json")).expect("routes");
    let routes: RoutesSetup = serde_json::from_slice(&routes).expect("routes");
    let options = Options {
        listen: listen.to_owned(),
        routes: Some(routes),
        routes_file: None,
        trust: Trust::default(),
        control: control(dir),
        threads: 1,
        mirror_bytes_max: 8 << 20,
        rules: Rules::default(),
        limits: Limits::default(),
        certificates: Sources::default(),
        proxy_protocol: false,
        access_log: None,
        replace: false,
    };
    run(options, |at| println!("ready {at}")).expect("a gateway");
    ExitCode::SUCCESS
}

/// The life of a daemon: serves until its standard input ends, says how often its database came
/// to a point. At `point`, counted from 1, it is dead.
pub(crate) fn daemon(dir: &Path, point: &str) -> ExitCode {
    let point: usize = point.parse().expect("a number");
    let passed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&passed);
    let pass = move || {
        if counter.fetch_add(1, Ordering::SeqCst) + 1 == point {
            kill_process(getpid(), Signal::KILL).expect("killed");
        }
    };
    let database = FaultPoints::new(move |_| pass());
    let faults = Faults { database, ..Faults::default() };
    let keeper = keeper(dir);
    let instance = Daemon::start_with(config(dir), faults, |_| {
        let builder = |store: Store, _| -> Arc<dyn Builder> { Arc::new(Sealer { store }) };
        Ok(Ports {
            providers: Providers::new(Arc::new(FakeProvider::default())),
            builder: Box::new(builder),
            agents: Arc::new(Threads),
            pace: Pace::default(),
            instances: Arc::new(Elsewhere { keeper }),
        })
    });
    let instance = instance.expect("a daemon");
    println!("ready");
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).expect("the end of input");
    instance.shutdown();
    println!("{}", passed.load(Ordering::SeqCst));
    ExitCode::SUCCESS
}

/// A builder whose images hold a file that says which recipe they are of.
struct Sealer {
    store: Store,
}

impl Builder for Sealer {
    fn start(
        &self,
        id: u64,
        request: BuildRequest,
        sink: Arc<dyn EventSink>,
        _: Arc<dyn StepCache>,
    ) -> Result<Box<dyn Running>, WireError> {
        let recipe = umbra_recipe::load(request.recipe.as_ref(), &Default::default());
        let recipe = recipe.unwrap_or_else(|problems| panic!("{}", problems.render(false)));
        let meta = |mode| Meta { mode, ..Meta::default() };
        let mut root = Dir { meta: meta(0o755), ..Dir::default() };
        let leaf = Leaf {
            meta: meta(0o644),
            content: Content::Inline(recipe.name.as_bytes().into()),
            link: None,
        };
        root.entries.insert((*b"name").into(), Node::Leaf(Arc::new(leaf)));
        let state = self.store.put(&Tree { root: Arc::new(root) }).expect("a state");
        sink.emit(started(id, &recipe.name, &["one"]));
        sink.emit(ingested(0, state));
        sink.emit(Event::Sealed { image: recipe.name.clone(), state });
        sink.emit(ended(BuildPhase::Done, Verdict::Pass, None));
        Ok(Box::new(Sealed))
    }
}

struct Sealed;

impl Running for Sealed {
    fn cancel(&self) {}

    fn answer(&self, _: umbra_api::build::Answer) -> bool {
        false
    }

    fn wait(&self) -> BuildPhase {
        BuildPhase::Done
    }
}

/// What is said to the keeper of instances.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    Start(Box<InstanceSpec>),
    Stop(String),
    List,
}

/// Instances that somebody else runs.
struct Elsewhere {
    keeper: PathBuf,
}

impl Elsewhere {
    fn ask<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T, WireError> {
        let failed = |error: std::io::Error| {
            WireError::new(ErrorCode::Environment, "ask the keeper").caused_by(error)
        };
        let mut stream = UnixStream::connect(&self.keeper).map_err(failed)?;
        let line = serde_json::to_string(ask).expect("a line") + "\n";
        stream.write_all(line.as_bytes()).map_err(failed)?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).map_err(failed)?;
        serde_json::from_str(&answer).expect("an answer")
    }
}

impl Instances for Elsewhere {
    fn start(&self, spec: &InstanceSpec) -> Result<Instance, WireError> {
        self.ask(&Ask::Start(Box::new(spec.clone())))
    }

    fn stop(&self, name: &str) -> Result<(), WireError> {
        self.ask(&Ask::Stop(name.to_owned()))
    }

    fn list(&self) -> Result<Vec<Instance>, WireError> {
        self.ask(&Ask::List)
    }
}
