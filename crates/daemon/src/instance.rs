//! A whole daemon inside this process: what `umbra serve` runs and what tests start.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder as RuntimeBuilder, Runtime};
use tokio::task::JoinHandle;
use umbra_api::error::{ErrorCode, WireError};

use crate::config::Config;
use crate::daemon::{Daemon, Ports};
use crate::fault::Faults;
use crate::http;
use crate::server::{Connections, Listener};

/// A daemon that serves. Dropping it ends it in order.
pub struct Instance {
    runtime: Option<Runtime>,
    daemon: Arc<Daemon>,
    serving: Option<JoinHandle<Connections>>,
}

impl Instance {
    /// Starts a daemon and returns once clients can reach it.
    pub fn start(
        config: Config,
        ports: impl FnOnce(&Config) -> Result<Ports, WireError>,
    ) -> Result<Self, WireError> {
        Self::start_with(config, Faults::default(), ports)
    }

    /// See [`Instance::start`]; a test may stop it dead at `faults`.
    pub fn start_with(
        config: Config,
        faults: Faults,
        ports: impl FnOnce(&Config) -> Result<Ports, WireError>,
    ) -> Result<Self, WireError> {
        let runtime = RuntimeBuilder::new_multi_thread()
            .worker_threads(2)
            .thread_name("umbra-serve")
            .enable_all()
            .build()
            .map_err(|error| {
                WireError::new(ErrorCode::Environment, "start threads").caused_by(error)
            })?;
        let (daemon, serving) = runtime.block_on(async {
            let daemon = Daemon::start(config.checked()?, faults, ports).await?;
            let listener = match Listener::bind(&daemon.config().socket) {
                Ok(listener) => listener,
                Err(error) => {
                    daemon.close().await;
                    daemon.close_database().await;
                    return Err(error);
                }
            };
            let router = http::router(Arc::clone(&daemon));
            let serving = tokio::spawn(listener.serve(router, daemon.closing()));
            Ok((daemon, serving))
        })?;
        Ok(Self { runtime: Some(runtime), daemon, serving: Some(serving) })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.daemon.config().socket
    }

    /// The daemon.
    pub fn daemon(&self) -> &Arc<Daemon> {
        &self.daemon
    }

    /// Waits for something in the daemon's own runtime.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.runtime.as_ref().map(|runtime| runtime.block_on(future))
    }

    /// Ends it: builds are cancelled, shadows removed, everything is committed, the socket
    /// goes last.
    pub fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        runtime.block_on(async {
            self.daemon.close().await;
            if let Some(serving) = self.serving.take() {
                match serving.await {
                    Ok(connections) => {
                        connections.close().await;
                    }
                    Err(error) => tracing::error!(%error, "the server panicked"),
                }
            }
            // A request that was under way may have made one more shadow.
            self.daemon.close().await;
            self.daemon.close_database().await;
        });
        runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.end();
    }
}
