//! Instances that are nothing but what is remembered of them, for tests of what uses them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use umbra_api::error::WireError;
use umbra_state::StateId;

use super::refusal::{another, no_state};
use super::{Instance, InstancePhase, InstanceSpec, Instances};
use crate::clock::now_ms;

/// See the module.
#[derive(Debug, Default)]
pub struct Fake {
    instances: Mutex<BTreeMap<String, (InstanceSpec, Instance)>>,
    missing: Mutex<BTreeSet<StateId>>,
}

impl Fake {
    /// A state that no store has.
    pub fn lacks(&self, state: StateId) {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).insert(state);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (InstanceSpec, Instance)>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Instances for Fake {
    fn start(&self, spec: &InstanceSpec) -> Result<Instance, WireError> {
        spec.check()?;
        let mut instances = self.lock();
        if let Some((known, instance)) = instances.get(&spec.name) {
            return if known.is_same(spec) {
                Ok(instance.clone())
            } else {
                Err(another(&spec.name))
            };
        }
        if self.missing.lock().unwrap_or_else(PoisonError::into_inner).contains(&spec.state) {
            return Err(no_state(spec));
        }
        let number = instances.len() + 2;
        let instance = Instance {
            name: spec.name.clone(),
            service: spec.service.clone(),
            state: spec.state,
            to: format!("10.0.0.{number}:{}", spec.port),
            phase: InstancePhase::Running,
            restarts: 0,
            why: None,
            started_at_ms: now_ms(),
        };
        instances.insert(spec.name.clone(), (spec.clone(), instance.clone()));
        Ok(instance)
    }

    fn stop(&self, name: &str) -> Result<(), WireError> {
        self.lock().remove(name);
        Ok(())
    }

    fn list(&self) -> Result<Vec<Instance>, WireError> {
        Ok(self.lock().values().map(|(_, instance)| instance.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instances::conformance;

    #[test]
    fn it_conforms() {
        let (there, gone) = (conformance::sample(1), conformance::sample(2));
        let fake = Fake::default();
        fake.lacks(gone.state);
        conformance::check(&fake, &there, &gone);
    }
}
