//! The daemon put together: what it owns, how it starts, how it ends.
//!
//! ```text
//! start: lock the directory -> open store and database -> reap the predecessor's shadows
//!        -> refs as the database says -> end its unfinished builds -> go on with its rollouts
//!        -> serve
//! end:   refuse what is new -> let go of rollouts -> cancel builds, wait -> remove shadows
//!        -> commit -> unlock
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use umbra_api::build::{BuildEvent, Event};
use umbra_api::daemon::GcReply;
use umbra_api::error::{ErrorCode, WireError};
use umbra_state::StateId;
use umbra_store::{Store, StoreOptions};

use crate::builds::ports::Builder;
use crate::builds::{Builds, bury_unfinished};
use crate::clock::now_ms;
use crate::config::Config;
use crate::db::{Db, Writer};
use crate::fault::Faults;
use crate::instances::Instances;
use crate::lock::DirLock;
use crate::primaries::agents::Agents;
use crate::primaries::{Pace, Primaries, Stages};
use crate::recovery;
use crate::rollouts::Rollouts;
use crate::shadows::{Providers, Registry};
use crate::states::{States, blocking, environment};

/// What a daemon is given: the real things in production, fakes in tests.
pub struct Ports {
    /// Make shadows.
    pub providers: Providers,
    /// Makes what builds, once the store and the registry of shadows exist.
    pub builder: Box<dyn FnOnce(Store, Arc<Registry>) -> Arc<dyn Builder> + Send>,
    /// Starts agents.
    pub agents: Arc<dyn Agents>,
    /// What happens to primaries with time: how often, and after how long.
    pub pace: Pace,
    /// Runs services for their users.
    pub instances: Arc<dyn Instances>,
}

/// A running daemon.
pub struct Daemon {
    config: Config,
    db: Db,
    writer: Arc<Writer>,
    registry: Arc<Registry>,
    builds: Arc<Builds>,
    primaries: Primaries,
    rollouts: Arc<Rollouts>,
    instances: Arc<dyn Instances>,
    states: States,
    started_at_ms: i64,
    start_notes: Vec<String>,
    closing: watch::Sender<bool>,
    expiry: Notify,
    _lock: DirLock,
}

impl Daemon {
    /// Takes the directory, opens everything and cleans up after a predecessor. `ports` is
    /// asked once the directory is this daemon's.
    pub async fn start(
        config: Config,
        faults: Faults,
        ports: impl FnOnce(&Config) -> Result<Ports, WireError>,
    ) -> Result<Arc<Self>, WireError> {
        let lock = DirLock::take(&config.state_dir)?;
        let options = StoreOptions { faults: faults.store, ..StoreOptions::default() };
        let store = Store::open_with(&config.store(), options);
        let store = store.map_err(|error| environment(&error))?;
        let db = Db::open(&config.database(), faults.database).await?;
        let ports = ports(&config)?;
        let mut start_notes = Vec::new();
        let reaped = ports.providers.reap().map_err(|error| environment(&error))?;
        if !reaped.shadows.is_empty() {
            start_notes.push(format!("removed shadows left behind: {}", reaped.shadows.join(", ")));
        }
        umbra_build::remove_remains(&store).map_err(|error| environment(&error))?;
        recovery::settle_refs(&db, &store).await?;
        let writer = Writer::start(db.clone(), Handle::current()).map_err(|error| {
            WireError::new(ErrorCode::Environment, "start the database writer").caused_by(error)
        })?;
        let writer = Arc::new(writer);
        for id in bury_unfinished(&db, &writer).await? {
            start_notes.push(format!("build {id} was running when the last daemon ended"));
        }
        let states = States::new(store.clone(), db.clone());
        start_notes.extend(missing_images(&db, &store).await?);
        start_notes.iter().for_each(|note| tracing::warn!(note, "after the last daemon"));
        let registry = Arc::new(Registry::new(ports.providers));
        let builder = (ports.builder)(store, Arc::clone(&registry));
        let builds = Builds::new(
            db.clone(),
            Arc::clone(&writer),
            Arc::clone(&registry),
            builder,
            Handle::current(),
            db.next_build().await?,
        );
        let (of_drift, agents, pace) = (db.clone(), ports.agents, ports.pace);
        let (recorder, handle) = (Arc::clone(&writer), Handle::current());
        let agents_dir = config.agents();
        let instances = ports.instances;
        let (shown, shadows, scratch) =
            (states.clone(), Arc::clone(&registry), config.rehearsals());
        let primaries = blocking(move || {
            let stages = Stages::open(shown, of_drift.clone(), handle.clone(), shadows, scratch)?;
            Primaries::open(of_drift, recorder, handle, agents, agents_dir, stages, pace)
        });
        let primaries = primaries.await?;
        let rollouts = Rollouts::open(
            db.clone(),
            Arc::clone(&writer),
            states.clone(),
            Arc::clone(&instances),
            config.state_dir.clone(),
        );
        let rollouts = Arc::new(rollouts.await?);
        let resumed = Arc::clone(&rollouts);
        start_notes.extend(blocking(move || resumed.resume()).await?);
        let daemon = Arc::new(Self {
            config,
            db,
            writer,
            registry,
            builds: Arc::new(builds),
            primaries,
            rollouts,
            instances,
            states,
            started_at_ms: now_ms(),
            start_notes,
            closing: watch::Sender::new(false),
            expiry: Notify::new(),
            _lock: lock,
        });
        tokio::spawn(expire_shadows(Arc::clone(&daemon)));
        Ok(daemon)
    }

    /// Refuses everything new, ends what runs and leaves nothing behind. Idempotent.
    pub async fn close(self: &Arc<Self>) {
        self.closing.send_replace(true);
        let daemon = Arc::clone(self);
        let closed = tokio::task::spawn_blocking(move || {
            daemon.primaries.close();
            daemon.rollouts.close();
            daemon.builds.close();
            for (shadow, error) in daemon.registry.remove_all() {
                tracing::error!(shadow, %error, "a shadow could not be removed");
            }
        });
        if closed.await.is_err() {
            tracing::error!("closing the daemon panicked");
        }
    }

    /// Commits the last writes and closes the database; after [`Daemon::close`] and the last
    /// request.
    pub async fn close_database(self: &Arc<Self>) {
        let daemon = Arc::clone(self);
        if tokio::task::spawn_blocking(move || daemon.writer.close()).await.is_err() {
            tracing::error!("closing the database panicked");
        }
        self.db.close().await;
    }

    /// Removes states that nothing needs. The caller keeps builds away. Blocking.
    pub fn collect(&self, runtime: &Handle, dry_run: bool) -> Result<GcReply, WireError> {
        let mut keep = runtime.block_on(self.states_needed())?;
        keep.extend(self.registry.states());
        keep.sort_unstable();
        keep.dedup();
        let mut reply = self.states.gc(&keep, dry_run)?;
        if !dry_run {
            let store = self.states.store();
            let cached = runtime.block_on(self.db.cached_states())?;
            let gone: Vec<StateId> =
                cached.into_iter().filter(|state| !store.contains(*state)).collect();
            reply.cache_entries_removed = runtime.block_on(self.db.forget_steps(&gone))?;
        }
        Ok(reply)
    }

    async fn states_needed(&self) -> Result<Vec<StateId>, WireError> {
        let mut keep = self.db.states_kept().await?;
        for build in self.db.last_builds().await? {
            keep.extend(self.states_of_failure(build).await?);
        }
        Ok(keep)
    }

    /// The states a person may want to enter after a build's failure.
    async fn states_of_failure(&self, build: u64) -> Result<Vec<StateId>, WireError> {
        let Some(last) = self.db.last_event(build).await? else { return Ok(Vec::new()) };
        let events = self.db.events(build, last.seq.saturating_sub(8), 9).await?;
        let parsed = events.iter().filter_map(|event| serde_json::from_str(&event.line).ok());
        let failures = parsed.filter_map(|event: BuildEvent| match event.event {
            Event::Halted { failure } | Event::Asked { failure } => Some(failure),
            _ => None,
        });
        Ok(failures.flat_map(|failure| [failure.before, failure.after]).collect())
    }

    /// Tells the watch over shadows' ends that one was made.
    pub fn expiry_changed(&self) {
        self.expiry.notify_one();
    }

    /// Turns true when the daemon goes down.
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// Whether the daemon goes down.
    pub fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Its places.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its database.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// What writes to the database.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Its shadows.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Its builds.
    pub fn builds(&self) -> &Arc<Builds> {
        &self.builds
    }

    /// The machines under its care.
    pub fn primaries(&self) -> &Primaries {
        &self.primaries
    }

    /// Its rollouts.
    pub fn rollouts(&self) -> &Arc<Rollouts> {
        &self.rollouts
    }

    /// What runs services for their users; it goes on when this daemon does not.
    pub fn instances(&self) -> &Arc<dyn Instances> {
        &self.instances
    }

    /// Its states.
    pub fn states(&self) -> &States {
        &self.states
    }

    /// Milliseconds since 1970 UTC.
    pub fn started_at_ms(&self) -> i64 {
        self.started_at_ms
    }

    /// What it noticed about its predecessor.
    pub fn start_notes(&self) -> &[String] {
        &self.start_notes
    }
}

/// The cheap part of a check: images that the store has lost.
async fn missing_images(db: &Db, store: &Store) -> Result<Vec<String>, WireError> {
    let images = db.images().await?;
    let lost = images.iter().filter(|image| !store.contains(image.state));
    Ok(lost
        .map(|image| {
            format!("image {:?}: the store has lost its state {}", image.name, image.state.short())
        })
        .collect())
}

/// Removes shadows when their time is over, until the daemon goes down.
async fn expire_shadows(daemon: Arc<Daemon>) {
    let mut closing = daemon.closing();
    loop {
        let due = daemon.registry.next_expiry_ms();
        let rest = due.map(|at| u64::try_from(at - now_ms()).unwrap_or(0));
        let wait = async {
            match rest {
                Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => {}
            () = daemon.expiry.notified() => continue,
            _ = closing.wait_for(|closing| *closing) => return,
        }
        let registry = Arc::clone(&daemon.registry);
        let removed = tokio::task::spawn_blocking(move || {
            for name in registry.expired(now_ms()) {
                match registry.remove(&name) {
                    Ok(_) => tracing::info!(shadow = name, "a shadow's time was over"),
                    Err(error) => {
                        tracing::error!(shadow = name, %error, "a shadow could not be removed")
                    }
                }
            }
        });
        if removed.await.is_err() {
            tracing::error!("removing shadows panicked");
        }
    }
}
