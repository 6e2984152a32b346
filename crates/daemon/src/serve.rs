//! `umbra serve`: a daemon with the real things, until a signal ends it.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use umbra_api::error::{ErrorCode, WireError};
use umbra_shadow::sandbox::{SandboxConfig, SandboxProvider};
use umbra_store::Store;

use crate::builds::ports::Builder;
use crate::config::Config;
use crate::daemon::Ports;
use crate::engine::EngineBuilder;
use crate::instance::Instance;
use crate::instances::{KeeperClient, Places, Watched};
use crate::machines::{self, MachineOptions};
use crate::primaries::Pace;
use crate::primaries::agents::Processes;
use crate::primaries::ssh::Ssh;
use crate::shadows::{Providers, Registry};
use crate::states::environment;

/// Runs a daemon until SIGINT or SIGTERM, then ends it in order; a second signal ends it at
/// once, and the next daemon cleans up. `launcher` is the program that becomes the
/// sandboxes' launcher when its first argument is `launcher`.
pub fn serve(config: Config, launcher: PathBuf, machines: MachineOptions) -> Result<(), WireError> {
    let instance = Instance::start(config, |config| real_ports(config, launcher, machines))?;
    let mut signals = Signals::listen()?;
    tracing::info!(socket = %instance.socket().display(), "listening");
    tracing::info!(signal = signals.wait(), "going down");
    let (done, ended) = tokio::sync::oneshot::channel();
    let closing = std::thread::spawn(move || {
        instance.shutdown();
        // Nobody listens only where a second signal came first.
        let _ = done.send(());
    });
    if let Some(name) = signals.wait_unless(ended) {
        let message = format!("go down in order: {name} came a second time");
        return Err(WireError::new(ErrorCode::Environment, message)
            .with_hint("the next `umbra serve` removes what was left behind"));
    }
    closing.join().map_err(|_| {
        WireError::new(ErrorCode::Internal, "go down in order").caused_by("a thread panicked")
    })
}

/// How many shadows can begin at once without waiting for a site: a build's first few.
const WARM_SITES: usize = 4;

/// The real things: sandboxes started by way of `launcher`, virtual machines once they are wanted,
/// and the engine that builds on them.
pub fn real_ports(
    config: &Config,
    launcher: PathBuf,
    machines: MachineOptions,
) -> Result<Ports, WireError> {
    let rare = machines::provider(config, &launcher, machines);
    let agent = launcher.clone();
    let keeper = KeeperClient::new(Places::of(config), launcher.clone());
    let instances = Watched::new(keeper).map_err(|error| {
        WireError::new(ErrorCode::Environment, "watch over instances").caused_by(error)
    })?;
    let sandbox =
        SandboxConfig { dir: config.shadows(), launcher, user_namespaces: true, warm: WARM_SITES };
    let sandbox = SandboxProvider::open(sandbox).map_err(|error| {
        environment(&error).with_hint("`umbra doctor` says what this machine lacks")
    })?;
    let sandbox = Arc::new(sandbox);
    let workshops = Arc::clone(&sandbox);
    // Other machines get a program that is nothing else.
    let ssh = Ssh { program: "ssh".into(), agent: agent.with_file_name("umbra-agent") };
    let agents = Arc::new(Processes { program: agent, arguments: vec!["agent".into()], ssh });
    let builder = |store: Store, registry: Arc<Registry>| -> Arc<dyn Builder> {
        Arc::new(EngineBuilder::new(store, registry, workshops))
    };
    Ok(Ports {
        providers: Providers::new(sandbox).with(machines::NAME, rare),
        builder: Box::new(builder),
        agents,
        pace: Pace::default(),
        instances: Arc::new(instances),
    })
}

/// SIGINT and SIGTERM, which no longer end the process by themselves.
struct Signals {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, WireError> {
        let failed = |error: std::io::Error| {
            WireError::new(ErrorCode::Environment, "wait for signals").caused_by(error)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let runtime = runtime.map_err(failed)?;
        let entered = runtime.enter();
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        drop(entered);
        Ok(Self { runtime, interrupt, terminate })
    }

    fn wait(&mut self) -> &'static str {
        let never = std::future::pending::<()>();
        self.wait_unless(never).unwrap_or("nothing")
    }

    /// The next signal's name; `None` where `other` came first.
    fn wait_unless<T>(&mut self, other: impl Future<Output = T>) -> Option<&'static str> {
        let (interrupt, terminate) = (&mut self.interrupt, &mut self.terminate);
        self.runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => Some("SIGINT"),
                _ = terminate.recv() => Some("SIGTERM"),
                _ = other => None,
            }
        })
    }
}
