//! What makes shadows here, by the names that recipes call it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use umbra_shadow::provider::Reaped;
use umbra_shadow::{Provider, ShadowError};

/// What recipes call the usual provider.
const USUAL: &str = "sandbox";

/// The usual provider, which is always there, and rare ones.
pub struct Providers {
    usual: Arc<dyn Provider>,
    rare: BTreeMap<&'static str, Rare>,
}

/// A provider that is made ready only when the first asks for it, since that takes its time and
/// needs what not every machine has.
pub struct Rare {
    open: Box<dyn Fn() -> Result<Arc<dyn Provider>, ShadowError> + Send + Sync>,
    remains: Box<dyn Fn() -> Result<Reaped, ShadowError> + Send + Sync>,
    opened: Mutex<Option<Arc<dyn Provider>>>,
}

impl Providers {
    /// The usual one alone.
    pub fn new(usual: Arc<dyn Provider>) -> Self {
        Self { usual, rare: BTreeMap::new() }
    }

    /// And a rare one, by this name.
    #[must_use]
    pub fn with(mut self, name: &'static str, rare: Rare) -> Self {
        self.rare.insert(name, rare);
        self
    }

    /// The usual one.
    pub fn usual(&self) -> &Arc<dyn Provider> {
        &self.usual
    }

    /// The names there are.
    pub fn names(&self) -> Vec<&'static str> {
        std::iter::once(USUAL).chain(self.rare.keys().copied()).collect()
    }

    /// The one of this name. Blocking, the first time for long.
    pub fn named(&self, name: &str) -> Result<Arc<dyn Provider>, ShadowError> {
        match self.rare.get(name) {
            Some(rare) => rare.get(),
            None if name == USUAL => Ok(Arc::clone(&self.usual)),
            None => {
                let known = self.names().join(", ");
                Err(ShadowError::Unsupported(format!(
                    "no provider is called {name:?}: {known} are"
                )))
            }
        }
    }

    /// The one of this name, or the usual one. Blocking, the first time for long.
    pub fn of(&self, name: Option<&str>) -> Result<Arc<dyn Provider>, ShadowError> {
        name.map_or_else(|| Ok(Arc::clone(&self.usual)), |name| self.named(name))
    }

    /// Removes what a predecessor's shadows left behind, also those of rare providers that nobody
    /// asks for any more.
    pub fn reap(&self) -> Result<Reaped, ShadowError> {
        let mut reaped = self.usual.reap()?;
        for rare in self.rare.values() {
            reaped.shadows.extend((rare.remains)()?.shadows);
        }
        Ok(reaped)
    }
}

impl Rare {
    /// Opened by `open`, and again whenever that failed; `remains` removes what a predecessor's
    /// shadows left, without opening it.
    pub fn new(
        open: impl Fn() -> Result<Arc<dyn Provider>, ShadowError> + Send + Sync + 'static,
        remains: impl Fn() -> Result<Reaped, ShadowError> + Send + Sync + 'static,
    ) -> Self {
        Self { open: Box::new(open), remains: Box::new(remains), opened: Mutex::default() }
    }

    /// Whoever comes meanwhile waits for the same one.
    fn get(&self) -> Result<Arc<dyn Provider>, ShadowError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        match &*opened {
            Some(provider) => Ok(Arc::clone(provider)),
            None => Ok(Arc::clone(opened.insert((self.open)()?))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use umbra_shadow::fake::FakeProvider;

    use super::*;

    fn fake() -> Arc<dyn Provider> {
        Arc::new(FakeProvider::default())
    }

    #[test]
    fn a_rare_provider_is_opened_once_it_can_be_and_then_kept() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let open = || match ASKED.fetch_add(1, Ordering::Relaxed) {
            0 => Err(ShadowError::Unsupported("install it".to_owned())),
            _ => Ok(fake()),
        };
        let reaped = || Ok(Reaped { shadows: vec!["old".to_owned()] });
        let providers = Providers::new(fake()).with("qemu", Rare::new(open, reaped));
        assert_eq!(providers.reap().expect("reaped").shadows, ["old"]);
        assert_eq!(ASKED.load(Ordering::Relaxed), 0, "nobody wanted one yet");
        assert!(providers.named("qemu").is_err());
        let first = providers.named("qemu").expect("opened");
        assert!(Arc::ptr_eq(&first, &providers.named("qemu").expect("kept")));
        assert_eq!(ASKED.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn who_asks_for_one_that_is_not_there_learns_which_are() {
        let providers = Providers::new(fake());
        assert!(Arc::ptr_eq(&providers.named("sandbox").expect("there"), providers.usual()));
        let error = providers.named("incus").err().expect("refused").to_string();
        assert!(error.contains("\"incus\"") && error.contains("sandbox"), "{error}");
    }
}
