//! Every shadow of this daemon, whoever asked for it.
//!
//! Builds get providers that pass everything on and note what exists ([`Registry::noting`]), so
//! that a person can list, enter and remove a build's
//! shadows while only the build owns them.

mod ephemeral;
mod providers;
mod tracked;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use umbra_api::shadow::{ShadowInfo, ShadowPhase};
use umbra_shadow::provider::Running;
use umbra_shadow::{Provider, Shadow, ShadowError};
use umbra_state::StateId;

pub use self::ephemeral::{Ephemeral, ephemeral_spec, fresh_name};
pub use self::providers::{Providers, Rare};
pub use self::tracked::Tagged;
use crate::clock::now_ms;

/// Whose a shadow is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A build's; it goes with the build.
    Build(u64),
    /// Somebody asked for it; the daemon holds it.
    Person(String),
    /// One request's; it goes when that is answered.
    Request,
    /// Something of this primary is tried on it; it goes when that is over.
    Rehearsal(String),
}

impl Owner {
    fn words(&self) -> String {
        match self {
            Self::Build(id) => format!("build {id}"),
            Self::Person(who) => who.clone(),
            Self::Request => "a request".into(),
            Self::Rehearsal(primary) => format!("a rehearsal of {primary}"),
        }
    }
}

/// What exists now.
pub struct Registry {
    providers: Providers,
    entries: Mutex<BTreeMap<String, Entry>>,
}

struct Entry {
    /// Services that run as long as it is there; they end before it does.
    services: Vec<Box<dyn Running>>,
    shadow: Arc<dyn Shadow>,
    info: ShadowInfo,
    owner: Owner,
    /// Frozen by its owner, whether or not somebody looks around in it now.
    frozen: bool,
    visitors: usize,
}

/// Somebody in a shadow. While visitors are there it is not frozen; the last one leaving
/// freezes it again.
pub struct Visit {
    registry: Arc<Registry>,
    name: String,
    shadow: Arc<dyn Shadow>,
}

impl Registry {
    /// A registry over what makes the shadows.
    pub fn new(providers: Providers) -> Self {
        Self { providers, entries: Mutex::new(BTreeMap::new()) }
    }

    /// What makes the shadows.
    pub fn providers(&self) -> &Providers {
        &self.providers
    }

    /// This provider, its shadows noted here as `owner`'s.
    pub fn noting(
        self: &Arc<Self>,
        provider: Arc<dyn Provider>,
        owner: Owner,
    ) -> Arc<dyn Provider> {
        Arc::new(Tagged::new(Arc::clone(self), provider, owner))
    }

    /// All shadows by name.
    pub fn list(&self) -> Vec<ShadowInfo> {
        self.lock().values().map(Entry::info).collect()
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.lock().len() as u64
    }

    /// One shadow and whose it is.
    pub fn find(&self, name: &str) -> Option<(ShadowInfo, Owner)> {
        self.lock().get(name).map(|entry| (entry.info(), entry.owner.clone()))
    }

    /// States that shadows show now.
    pub fn states(&self) -> Vec<StateId> {
        self.lock().values().filter_map(|entry| entry.info.state).collect()
    }

    /// Notes which state a shadow shows.
    pub fn shows(&self, name: &str, state: StateId) {
        if let Some(entry) = self.lock().get_mut(name) {
            entry.info.state = Some(state);
        }
    }

    /// Enters a shadow.
    pub fn visit(self: &Arc<Self>, name: &str) -> Result<Visit, ShadowError> {
        let mut entries = self.lock();
        let entry = entries.get_mut(name).ok_or_else(|| ShadowError::Gone(name.to_owned()))?;
        if entry.frozen && entry.visitors == 0 {
            entry.shadow.thaw()?;
        }
        entry.visitors += 1;
        let shadow = Arc::clone(&entry.shadow);
        Ok(Visit { registry: Arc::clone(self), name: name.to_owned(), shadow })
    }

    /// Destroys a shadow, whoever's it is, and forgets it; false where there is none.
    pub fn remove(&self, name: &str) -> Result<bool, ShadowError> {
        let Some(entry) = self.lock().remove(name) else { return Ok(false) };
        drop(entry.services);
        entry.shadow.destroy().map(|()| true)
    }

    /// Keeps services running as long as their shadow is there; if it is gone already, they end.
    pub fn run_with(&self, name: &str, services: Vec<Box<dyn Running>>) {
        self.mark(name, |entry| entry.services = services);
    }

    /// Destroys every shadow there still is; says which could not be.
    pub fn remove_all(&self) -> Vec<(String, ShadowError)> {
        let names: Vec<String> = self.lock().keys().cloned().collect();
        let remove = |name: String| self.remove(&name).err().map(|error| (name, error));
        names.into_iter().filter_map(remove).collect()
    }

    /// Names of shadows whose time is over.
    pub fn expired(&self, now_ms: i64) -> Vec<String> {
        let over = |entry: &Entry| entry.info.expires_at_ms.is_some_and(|at| at <= now_ms);
        let entries = self.lock();
        entries.iter().filter(|(_, entry)| over(entry)).map(|(name, _)| name.clone()).collect()
    }

    /// When the next shadow's time is over.
    pub fn next_expiry_ms(&self) -> Option<i64> {
        self.lock().values().filter_map(|entry| entry.info.expires_at_ms).min()
    }

    /// Refuses a shadow whose name another provider's has: names are for clients, who know no
    /// providers.
    fn note(
        &self,
        provider: &dyn Provider,
        shadow: Arc<dyn Shadow>,
        owner: Owner,
        expires_at_ms: Option<i64>,
    ) -> Result<(), ShadowError> {
        let info = ShadowInfo {
            name: shadow.name().to_owned(),
            provider: provider.capabilities().provider.clone(),
            state: None,
            phase: ShadowPhase::Idle,
            owner: owner.words(),
            address: shadow.address().map(|address| address.to_string()),
            created_at_ms: now_ms(),
            expires_at_ms,
        };
        let name = info.name.clone();
        let mut entries = self.lock();
        if entries.contains_key(&name) {
            return Err(ShadowError::Taken(name));
        }
        let entry = Entry { services: Vec::new(), shadow, info, owner, frozen: false, visitors: 0 };
        entries.insert(name, entry);
        Ok(())
    }

    /// Forgets `shadow` if it is still the one known by that name.
    fn forget(&self, name: &str, shadow: &Arc<dyn Shadow>) {
        let mut entries = self.lock();
        if entries.get(name).is_some_and(|entry| Arc::ptr_eq(&entry.shadow, shadow)) {
            entries.remove(name);
        }
    }

    fn mark(&self, name: &str, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().get_mut(name) {
            change(entry);
        }
    }

    fn leave(&self, name: &str) {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(name) else { return };
        entry.visitors = entry.visitors.saturating_sub(1);
        if entry.frozen
            && entry.visitors == 0
            && let Err(error) = entry.shadow.freeze()
        {
            tracing::warn!(shadow = name, %error, "a shadow could not be frozen again");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn info(&self) -> ShadowInfo {
        let phase = match (self.frozen, self.visitors) {
            (_, 1..) => ShadowPhase::Leased,
            (true, 0) => ShadowPhase::Frozen,
            (false, 0) => ShadowPhase::Idle,
        };
        ShadowInfo { phase, ..self.info.clone() }
    }
}

impl Visit {
    /// The shadow.
    pub fn shadow(&self) -> &dyn Shadow {
        &*self.shadow
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.registry.leave(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use umbra_shadow::fake::FakeProvider;
    use umbra_store::overlay::{Base, Layers};

    use super::*;

    #[test]
    fn a_name_is_one_shadows_whatever_makes_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let layers = Layers::of(Base::Checkout(dir.path().to_path_buf()));
        let registry = Registry::new(Providers::new(Arc::new(FakeProvider::default())));
        let other = FakeProvider::default();
        let create = |provider: &dyn Provider, name: &str| {
            let spec = ephemeral_spec(name.to_owned());
            let state = StateId(umbra_state::Digest::new([1; 32]));
            registry.create(provider, &spec, state, &layers, Owner::Request, None)
        };
        create(&**registry.providers().usual(), "a").expect("free");
        let error = create(&other, "a").expect_err("taken");
        assert!(matches!(error, ShadowError::Taken(_)), "{error}");
        assert_eq!(other.list().expect("listed"), Vec::<String>::new());
        create(&other, "b").expect("free");
        assert_eq!(registry.list().len(), 2);
    }
}
