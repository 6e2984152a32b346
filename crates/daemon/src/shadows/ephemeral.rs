//! Shadows that live for a person or for one request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use umbra_shadow::provider::{Limits, Network};
use umbra_shadow::{Provider, Shadow, ShadowError, ShadowSpec};
use umbra_state::StateId;
use umbra_store::overlay::Layers;

use super::{Owner, Registry};

/// Most processes in a shadow nobody described further.
const PIDS_MAX: u32 = 4096;

/// A spec for a shadow nobody described further: reached from this machine, reaching nobody.
pub fn ephemeral_spec(name: String) -> ShadowSpec {
    let limits = Limits { pids: Some(PIDS_MAX), ..Limits::default() };
    ShadowSpec::new(name, limits, Network::Fenced)
}

/// Makes names that no other shadow of this daemon has.
pub fn fresh_name(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A fresh shadow of a state for one request; dropping it destroys it.
pub struct Ephemeral {
    registry: Arc<Registry>,
    name: String,
}

impl Registry {
    /// Makes a shadow that stays until it is removed or its time is over.
    pub fn create(
        &self,
        provider: &dyn Provider,
        spec: &ShadowSpec,
        state: StateId,
        layers: &Layers,
        owner: Owner,
        expires_at_ms: Option<i64>,
    ) -> Result<String, ShadowError> {
        let shadow: Arc<dyn Shadow> = Arc::from(provider.spawn(layers, spec)?);
        let name = shadow.name().to_owned();
        self.note(provider, shadow, owner, expires_at_ms)?;
        self.shows(&name, state);
        Ok(name)
    }
}

impl Ephemeral {
    /// Makes one, as `spec` says for its name.
    pub fn new(
        registry: &Arc<Registry>,
        provider: &dyn Provider,
        state: StateId,
        layers: &Layers,
        spec: impl FnOnce(String) -> ShadowSpec,
    ) -> Result<Self, ShadowError> {
        let spec = spec(fresh_name("visit"));
        let name = registry.create(provider, &spec, state, layers, Owner::Request, None)?;
        Ok(Self { registry: Arc::clone(registry), name })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Ephemeral {
    fn drop(&mut self) {
        if let Err(error) = self.registry.remove(&self.name) {
            tracing::warn!(shadow = self.name, %error, "a shadow could not be removed");
        }
    }
}
