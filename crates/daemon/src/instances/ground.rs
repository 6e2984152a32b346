//! What instances stand on: a provider of their own, and the daemon's store.

use std::net::IpAddr;
use std::sync::Arc;

use umbra_api::error::WireError;
use umbra_shadow::{Provider, Shadow, ShadowError};
use umbra_state::StateId;
use umbra_store::Store;
use umbra_store::overlay::Layers;

use super::InstanceSpec;
use super::refusal::no_state;
use crate::http::shadow_error;
use crate::states::environment;

/// What the names of refs begin with that keep instances' states.
const REFS: &str = "instance/";

/// See the module.
pub(super) struct Ground {
    provider: Arc<dyn Provider>,
    store: Store,
}

impl Ground {
    pub(super) fn new(provider: Arc<dyn Provider>, store: Store) -> Self {
        Self { provider, store }
    }

    /// Keeps the state from the collector until [`Ground::release`]: the daemon's as well, which
    /// asks nobody but the store.
    pub(super) fn keep(&self, spec: &InstanceSpec) -> Result<(), WireError> {
        // The store looks for the state itself, with the collector kept out.
        self.store.set_ref(&ref_of(&spec.name), spec.state).map_err(|error| match error {
            umbra_store::StoreError::NoState(_) => no_state(spec),
            error => environment(&error),
        })
    }

    /// Nothing needs what this instance showed any more.
    pub(super) fn release(&self, name: &str) {
        if let Err(error) = self.store.remove_ref(&ref_of(name)) {
            // It is settled when the next keeper begins.
            tracing::warn!(instance = name, %error, "a state is kept that nobody needs");
        }
    }

    /// Keeps exactly what `wanted` names: a keeper that was killed may have left more.
    pub(super) fn settle(&self, wanted: &[(String, StateId)]) -> Result<(), WireError> {
        let failed = |error: umbra_store::StoreError| environment(&error);
        for name in self.store.list_refs().map_err(failed)?.into_keys() {
            let of = name.strip_prefix(REFS);
            if of.is_some_and(|of| !wanted.iter().any(|(name, _)| name == of)) {
                self.store.remove_ref(&name).map_err(failed)?;
            }
        }
        for (name, state) in wanted {
            // One that is gone is told when it is to be shown.
            if self.store.contains(*state) {
                self.store.set_ref(&ref_of(name), *state).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Shows an instance's state on a fresh view, with nothing running in it: of the shadow that
    /// it had, where that is still there; else at the address it had, where that is free. So who
    /// sends it requests need not know.
    pub(super) fn show(
        &self,
        spec: &InstanceSpec,
        former: Option<Arc<dyn Shadow>>,
        address: Option<IpAddr>,
    ) -> Result<Arc<dyn Shadow>, WireError> {
        let layers = self.layers(spec)?;
        if let Some(former) = former {
            match former.apply(&layers) {
                Ok(()) => return Ok(former),
                Err(ShadowError::Gone(_)) => {}
                Err(error) => {
                    let instance = &spec.name;
                    tracing::warn!(instance, %error, "a shadow shows nothing and is replaced");
                }
            }
            // Its name is free again after that.
            former.destroy().map_err(|error| shadow_error(&error))?;
        }
        let shadow = self.provider.spawn(&layers, &spec.shadow(address));
        shadow.map(Arc::from).map_err(|error| shadow_error(&error))
    }

    fn layers(&self, spec: &InstanceSpec) -> Result<Layers, WireError> {
        if !self.store.contains(spec.state) {
            return Err(no_state(spec));
        }
        let base = self.store.base(spec.state).map_err(|error| environment(&error))?;
        Ok(Layers::of(base))
    }
}

fn ref_of(name: &str) -> String {
    format!("{REFS}{name}")
}
