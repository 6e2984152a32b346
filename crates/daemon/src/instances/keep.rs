//! `umbra keep`: the keeper's process.
//!
//! It is in nobody's session and ends when it is told to, or when there has been no instance for
//! a while: whoever wants one starts another. Killed, it leaves nothing in the kernel, as its
//! launcher sees to.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use umbra_api::error::{ErrorCode, WireError};
use umbra_shadow::Provider;
use umbra_shadow::sandbox::{SandboxConfig, SandboxProvider};
use umbra_store::Store;

use super::Places;
use super::control::{Desk, KeeperInfo, router};
use super::keeper::Keeper;
use crate::clock::now_ms;
use crate::server::Listener;
use crate::states::{blocking, environment};

/// A keeper without an instance ends after so long.
const IDLE: Duration = Duration::from_secs(10);

/// How often it looks whether it is over.
const LOOK: Duration = Duration::from_millis(100);

/// How many fenced instances can begin at once without waiting for a site.
const WARM_SITES: usize = 2;

/// Runs a keeper at these places until it is over. `launcher` is the program that becomes the
/// sandboxes' launcher when its first argument is `launcher`.
///
/// # Errors
/// It cannot begin: another one is there, most likely.
pub fn keep(places: &Places, launcher: PathBuf) -> Result<(), WireError> {
    // A terminal's signals are for whoever started it. One that leads a session already may.
    let _ = rustix::process::setsid();
    make_dir(places)?;
    be_robust();
    let sandbox =
        SandboxConfig { dir: places.shadows(), launcher, user_namespaces: true, warm: WARM_SITES };
    let sandbox = SandboxProvider::open(sandbox).map_err(|error| {
        environment(&error).with_hint("`umbra doctor` says what this machine lacks")
    })?;
    let store = Store::open(&places.store).map_err(|error| environment(&error))?;
    let info = KeeperInfo {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        started_at_ms: now_ms(),
        missing: sandbox.capabilities().missing.clone(),
    };
    let keeper = Keeper::open(&places.dir, Arc::new(sandbox), store)?;
    let desk = Arc::new(Desk { keeper, info });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("umbra-keep")
        .enable_all()
        .build()
        .map_err(|error| failed("start threads", &error))?;
    runtime.block_on(serve(places, &desk))
}

/// What everything else here depends on does not go first when memory runs out, and has
/// descriptors for all of it.
fn be_robust() {
    // Where this is refused it is judged by its size, which is small.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-900");
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    if let Err(error) = raised {
        tracing::warn!(%error, "there are no more descriptors");
    }
}

async fn serve(places: &Places, desk: &Arc<Desk>) -> Result<(), WireError> {
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(|e| failed("wait for signals", &e))?;
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|e| failed("wait for signals", &e))?;
    let listener = Listener::bind(&places.socket)?;
    let (close, closing) = watch::channel(false);
    let serving = tokio::spawn(listener.serve(router(Arc::clone(desk)), closing));
    tracing::info!(socket = %places.socket.display(), "keeping instances");
    tokio::select! {
        _ = interrupt.recv() => tracing::info!("going down at SIGINT; instances stay wanted"),
        _ = terminate.recv() => tracing::info!("going down at SIGTERM; instances stay wanted"),
        () = over(desk) => tracing::info!("going down: there is no instance"),
    }
    close.send_replace(true);
    let closed = Arc::clone(desk);
    blocking(move || {
        closed.keeper.close();
        Ok(())
    })
    .await?;
    match serving.await {
        // Who asked for the end is told of it.
        Ok(connections) => connections.close().await,
        Err(error) => tracing::error!(%error, "the server panicked"),
    }
    Ok(())
}

async fn over(desk: &Desk) {
    while !desk.keeper.is_over(IDLE) {
        tokio::time::sleep(LOOK).await;
    }
}

fn make_dir(places: &Places) -> Result<(), WireError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&places.dir);
    made.map_err(|error| failed(&format!("make {}", places.dir.display()), &error))
}

fn failed(doing: &str, error: &dyn std::fmt::Display) -> WireError {
    WireError::new(ErrorCode::Environment, doing).caused_by(error)
}
