//! Instances: what runs a service for its users, from an image, whether or not a daemon lives.
//!
//! A shadow of the daemon ends with the daemon; production must not. So instances are shadows of
//! a process of its own, the *keeper* (`umbra keep`), which the daemon starts when the first
//! instance is wanted and finds again by its socket. What is wanted is written down: a keeper
//! that was killed is followed by one that starts the same instances again.
//!
//! Every implementation of [`Instances`] runs the suite in [`conformance`].

mod attended;
mod backoff;
mod client;
pub mod conformance;
mod control;
pub mod fake;
mod ground;
mod held;
mod journal;
mod keep;
mod keeper;
mod refusal;
#[cfg(test)]
mod tests;
mod watched;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use umbra_api::error::{ErrorCode, WireError};
use umbra_shadow::ShadowSpec;
use umbra_shadow::provider::{Limits, Network};
use umbra_shadow::startup::Startup;
use umbra_state::{StateId, escape};

use crate::config::Config;

pub use self::attended::ServiceLog;
pub use self::client::KeeperClient;
pub use self::control::KeeperInfo;
pub use self::keep::keep;
pub use self::keeper::Keeper;
pub use self::watched::Watched;

/// Where a keeper is: one for each state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Its own directory: what is wanted, its log, its shadows' files.
    pub dir: PathBuf,
    /// Where it listens.
    pub socket: PathBuf,
    /// The daemon's store.
    pub store: PathBuf,
}

impl Places {
    /// Those of the daemon's state directory.
    pub fn of(config: &Config) -> Self {
        let dir = config.state_dir.join("instances");
        Self { dir, socket: config.state_dir.join("keeper.sock"), store: config.store() }
    }

    /// The files of its shadows.
    fn shadows(&self) -> PathBuf {
        self.dir.join("shadows")
    }

    /// What it has to say.
    fn log(&self) -> PathBuf {
        self.dir.join("keeper.log")
    }
}

/// The longest name of a service.
const SERVICE_BYTES_MAX: usize = 200;

/// Starts, stops and lists instances. Blocking.
pub trait Instances: Send + Sync {
    /// Starts an instance and returns once its services are ready. One of this name that is the
    /// same ([`InstanceSpec::is_same`]) is answered as it is, so that asking twice is asking once.
    ///
    /// # Errors
    /// The state is not in the store ([`umbra_api::error::ErrorCode::NotFound`]), the name is
    /// another instance's ([`umbra_api::error::ErrorCode::Conflict`]), or a service is not ready
    /// in its time: then nothing of it stays.
    fn start(&self, spec: &InstanceSpec) -> Result<Instance, WireError>;

    /// Ends an instance with all that belongs to it; one that is not there is as good.
    ///
    /// # Errors
    /// Nobody could be asked, or something of it could not be removed.
    fn stop(&self, name: &str) -> Result<(), WireError>;

    /// All instances by name, those included that are just started again.
    ///
    /// # Errors
    /// Nobody could be asked.
    fn list(&self) -> Result<Vec<Instance>, WireError>;
}

/// What an instance is to be. [`crate::enter::instance_spec`] makes one of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceSpec {
    /// The service it is one of.
    pub service: String,
    /// Its name, unique among all instances; a shadow's name
    /// ([`umbra_shadow::ShadowSpec::check_name`]).
    pub name: String,
    /// What it shows.
    pub state: StateId,
    /// Where it listens.
    pub port: u16,
    /// What runs in it.
    pub startup: Startup,
    /// What it may reach.
    pub network: Network,
    /// What it may use.
    pub limits: Limits,
}

/// What `POST /v1/instances` of the daemon takes: an instance as the recipe of its image says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartInstance {
    /// Its name.
    pub name: String,
    /// The state it shows: an image's name, or an id.
    pub state: String,
    /// Where it listens.
    pub port: u16,
    /// The service it is one of; named like the state if not said.
    #[serde(default)]
    pub service: Option<String>,
}

/// An instance as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// The service it is one of.
    pub service: String,
    /// What it shows.
    pub state: StateId,
    /// Where this machine reaches it, or did when it last ran: `ADDRESS:PORT`.
    pub to: String,
    /// Whether it runs.
    pub phase: InstancePhase,
    /// How often one of its services, or all of it, was started again.
    pub restarts: u64,
    /// Why it does not run, or why it was last started again.
    #[serde(default)]
    pub why: Option<String>,
    /// When it was last started, in milliseconds since 1970 UTC.
    pub started_at_ms: i64,
}

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstancePhase {
    /// Its services are started for the first time, or again after the keeper.
    Starting,
    /// All its services run.
    Running,
    /// Something of it ended and is started again, in a moment.
    Restarting,
}

impl InstanceSpec {
    /// Whether both mean the same instance: of the same service, name, state and port. What runs
    /// in it is said by a recipe as that was when it was asked for, which may have changed since.
    pub fn is_same(&self, other: &Self) -> bool {
        let what = |spec: &Self| (spec.service.clone(), spec.name.clone(), spec.state, spec.port);
        what(self) == what(other)
    }

    /// The shadow it is to be, at this address if that is free.
    fn shadow(&self, address: Option<IpAddr>) -> ShadowSpec {
        let (name, limits, network) = (self.name.clone(), self.limits, self.network.clone());
        let init = self.startup.init;
        ShadowSpec { init, address, ..ShadowSpec::new(name, limits, network) }
    }

    /// Where it is reached at this address.
    fn at(&self, address: IpAddr) -> String {
        SocketAddr::new(address, self.port).to_string()
    }

    /// Refuses what could never run or never be reached.
    fn check(&self) -> Result<(), WireError> {
        let refused = |why: String| {
            let name = escape::line(self.name.as_bytes(), 60);
            let message = format!("start instance {name}: {why}");
            WireError::new(ErrorCode::BadRequest, message)
        };
        self.shadow(None).check_name().map_err(|error| refused(error.to_string()))?;
        if self.service.is_empty() || self.service.len() > SERVICE_BYTES_MAX {
            return Err(refused(format!("its service's name has 1 to {SERVICE_BYTES_MAX} bytes")));
        }
        if self.port == 0 || self.network == Network::None {
            return Err(refused("nobody could reach it".to_owned()));
        }
        Ok(())
    }
}
