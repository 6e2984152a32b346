//! The builder that counts: `umbra-build`'s engine on this daemon's store and shadows.

use std::sync::Arc;

use umbra_api::build::{Answer, BuildPhase, BuildRequest};
use umbra_api::error::{ErrorCode, WireError};
use umbra_build::{Build, BuildError, Engine, EventSink, Providers, StepCache};
use umbra_shadow::sandbox::SandboxProvider;
use umbra_shadow::{Provider, ShadowError};
use umbra_store::Store;

use crate::builds::ports::{Builder, Running};
use crate::shadows::{Owner, Registry};

/// Builds with an engine per build, so that its shadows are known as that build's.
pub struct EngineBuilder {
    store: Store,
    registry: Arc<Registry>,
    sandbox: Arc<SandboxProvider>,
}

impl EngineBuilder {
    /// A builder over this store. Shadows come from and are noted in `registry`; steps run in
    /// workshops of `sandbox`.
    pub fn new(store: Store, registry: Arc<Registry>, sandbox: Arc<SandboxProvider>) -> Self {
        Self { store, registry, sandbox }
    }
}

impl Builder for EngineBuilder {
    fn start(
        &self,
        id: u64,
        request: BuildRequest,
        sink: Arc<dyn EventSink>,
        cache: Arc<dyn StepCache>,
    ) -> Result<Box<dyn Running>, WireError> {
        let providers = Noted { registry: Arc::clone(&self.registry), build: id };
        let engine =
            Engine::new(self.store.clone(), Arc::new(providers), Arc::clone(&self.sandbox));
        let build = engine.start(id, request, sink, cache);
        build.map(|build| Box::new(build) as Box<dyn Running>).map_err(|error| refused(&error))
    }
}

/// The daemon's providers, whose shadows are noted as one build's.
struct Noted {
    registry: Arc<Registry>,
    build: u64,
}

impl Providers for Noted {
    fn provider(&self, name: &str) -> Result<Arc<dyn Provider>, ShadowError> {
        let provider = self.registry.providers().named(name)?;
        Ok(self.registry.noting(provider, Owner::Build(self.build)))
    }
}

impl Running for Build {
    fn cancel(&self) {
        Build::cancel(self);
    }

    fn answer(&self, answer: Answer) -> bool {
        Build::answer(self, answer)
    }

    fn wait(&self) -> BuildPhase {
        Build::wait(self)
    }
}

fn refused(error: &BuildError) -> WireError {
    match error {
        BuildError::Recipe(problems) => {
            let message = format!("accept the recipe\n{}", problems.render(false).trim_end());
            WireError::new(ErrorCode::BadRecipe, message)
        }
        BuildError::Suite(_) | BuildError::Until(_) => {
            WireError::from_chain(ErrorCode::BadRecipe, error)
        }
        _ => WireError::from_chain(ErrorCode::Environment, error),
    }
}
