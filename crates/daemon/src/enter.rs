//! Going into a place: a live shadow as it is, or a fresh one of a state.

use std::sync::Arc;

use umbra_api::error::{ErrorCode, WireError};
use umbra_api::shadow::Place;
use umbra_build::look::first_process;
use umbra_build::services::{self, Startup};
use umbra_recipe::{Overrides, Recipe};
use umbra_shadow::provider::{Init, Running};
use umbra_shadow::{Provider, Shadow, ShadowError, ShadowSpec};
use umbra_state::StateId;
use umbra_store::Pin;
use umbra_store::overlay::Layers;

use crate::builds::shutting_down;
use crate::daemon::Daemon;
use crate::db::Db;
use crate::instances::InstanceSpec;
use crate::shadows::{Ephemeral, Owner, Visit, ephemeral_spec, fresh_name};

/// What a place turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This live shadow.
    Shadow(String),
    /// A fresh shadow of this state.
    State(StateId),
}

/// Why nobody could go in.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The shadow's side.
    #[error(transparent)]
    Shadow(#[from] ShadowError),
    /// Anything else, already in the words for clients.
    #[error(transparent)]
    Wire(WireError),
}

impl EnterError {
    /// As clients see it.
    pub fn into_wire(self, of_shadow: impl FnOnce(&ShadowError) -> WireError) -> WireError {
        match self {
            Self::Shadow(error) => of_shadow(&error),
            Self::Wire(error) => error,
        }
    }
}

/// What `place` means.
pub async fn find(daemon: &Daemon, place: &Place) -> Result<Target, WireError> {
    let live = |name: &str| daemon.registry().find(name).map(|_| Target::Shadow(name.to_owned()));
    match place {
        Place::Shadow(name) => live(name).ok_or_else(|| no_shadow(name)),
        Place::State(name) | Place::Step(name) => {
            daemon.states().resolve(name).await.map(Target::State)
        }
        Place::Any(name) => match live(name) {
            Some(target) => Ok(target),
            None => daemon.states().resolve(name).await.map(Target::State),
        },
    }
}

/// How a fresh shadow is to be.
#[derive(Debug, Clone, Default)]
pub struct Fresh {
    /// What makes it, by its name in recipes; `None` is the usual.
    provider: Option<String>,
    /// What is to run in it.
    startup: Option<Startup>,
}

/// How a fresh shadow of this place is to be: with the recipe's services if they are wanted, which
/// is what the recipe that made the state says, as that is now. What makes it is the provider
/// that was named, else the recipe's, if that was to be read.
pub async fn fresh(
    daemon: &Daemon,
    target: &Target,
    services: bool,
    provider: Option<String>,
) -> Result<Fresh, WireError> {
    let state = match target {
        Target::State(state) => *state,
        Target::Shadow(_) if provider.is_none() => return Ok(Fresh::default()),
        Target::Shadow(name) => {
            let message = format!("choose what makes shadow {name:?}: it is there already");
            return Err(WireError::new(ErrorCode::BadRequest, message));
        }
    };
    if let Some(name) = &provider {
        check_provider(daemon, name)?;
    }
    if !services {
        return Ok(Fresh { provider, startup: None });
    }
    let (recipe, index) = made_by(daemon.db(), state).await?;
    let startup = Some(Startup::after(&recipe, index));
    Ok(Fresh { provider: provider.or(Some(recipe.shadows.provider)), startup })
}

fn check_provider(daemon: &Daemon, name: &str) -> Result<(), WireError> {
    let names = daemon.registry().providers().names();
    if names.contains(&name) {
        return Ok(());
    }
    let name: String = name.chars().take(80).collect();
    let message = format!("make a shadow with provider {name:?}: there are {}", names.join(", "));
    Err(WireError::new(ErrorCode::BadRequest, message))
}

impl Fresh {
    /// Blocking, the first time for long.
    fn provider(&self, daemon: &Daemon) -> Result<Arc<dyn Provider>, ShadowError> {
        daemon.registry().providers().of(self.provider.as_deref())
    }
}

/// An instance of this state, as the recipe that made it says, as that is now: its services,
/// what it may use and what it may reach.
pub async fn instance_spec(
    db: &Db,
    service: String,
    name: String,
    state: StateId,
    port: u16,
) -> Result<InstanceSpec, WireError> {
    let (recipe, index) = made_by(db, state).await?;
    let shadow = umbra_build::look::spec(name.clone(), &recipe);
    let startup = Startup::after(&recipe, index).in_shadow();
    let ShadowSpec { limits, network, .. } = shadow;
    Ok(InstanceSpec { service, name, state, port, startup, network, limits })
}

/// The recipe that made a state, and which of its steps did.
async fn made_by(db: &Db, state: StateId) -> Result<(Recipe, usize), WireError> {
    let unknown = || {
        let message = format!("start services in state {}: no build made it", state.short());
        WireError::new(ErrorCode::NotFound, message)
    };
    let (request, step) = db.made_by(state).await?.ok_or_else(unknown)?;
    let overrides: Overrides = request.vars.into_iter().collect();
    let recipe = umbra_recipe::load(request.recipe.as_ref(), &overrides).map_err(|problems| {
        let message = format!("read the services of {}", request.recipe);
        WireError::new(ErrorCode::BadRecipe, message).caused_by(problems)
    })?;
    let index = recipe.step_index(&step).unwrap_or(recipe.steps.len().saturating_sub(1));
    Ok((recipe, index))
}

fn no_shadow(name: &str) -> WireError {
    let name: String = name.chars().take(80).collect();
    WireError::new(ErrorCode::NotFound, format!("find shadow {name:?}"))
        .with_hint("`umbra shadow ls` lists the shadows there are")
}

/// Somebody in a place. A fresh shadow goes when this is dropped.
pub struct Entered {
    // Services end before the shadow is left.
    _services: Vec<Box<dyn Running>>,
    visit: Visit,
    name: String,
    // After the visit: leaving comes before removing.
    _fresh: Option<Ephemeral>,
}

impl Entered {
    /// Goes in. Blocking. `wanted` is for a fresh shadow; a live one is as its owner made it.
    pub fn new(daemon: &Daemon, target: &Target, wanted: &Fresh) -> Result<Self, EnterError> {
        let startup = wanted.startup.as_ref();
        let (name, fresh) = match target {
            Target::Shadow(name) => (name.clone(), None),
            Target::State(state) => {
                let (layers, _pin) = layers(daemon, *state)?;
                let provider = wanted.provider(daemon)?;
                let spec = |name| spec(name, startup);
                let registry = daemon.registry();
                let fresh = Ephemeral::new(registry, &*provider, *state, &layers, spec)?;
                (fresh.name().to_owned(), Some(fresh))
            }
        };
        let visit = daemon.registry().visit(&name)?;
        let running = run(visit.shadow(), startup.filter(|_| fresh.is_some()))?;
        Ok(Self { _services: running, visit, name, _fresh: fresh })
    }

    /// The shadow.
    pub fn shadow(&self) -> &dyn Shadow {
        self.visit.shadow()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Makes a shadow of a state that stays, and what is to run in it with it. Blocking.
pub fn create(
    daemon: &Arc<Daemon>,
    name: Option<String>,
    state: StateId,
    owner: Owner,
    expires_at_ms: Option<i64>,
    wanted: &Fresh,
) -> Result<String, EnterError> {
    let registry = daemon.registry();
    let provider = wanted.provider(daemon)?;
    let startup = wanted.startup.as_ref();
    let (layers, _pin) = layers(daemon, state)?;
    let spec = spec(name.unwrap_or_else(|| fresh_name("shadow")), startup);
    let name = registry.create(&*provider, &spec, state, &layers, owner, expires_at_ms)?;
    let running = registry
        .visit(&name)
        .map_err(EnterError::Shadow)
        .and_then(|visit| run(visit.shadow(), startup));
    match running {
        Ok(running) => registry.run_with(&name, running),
        Err(error) => {
            // Nobody has been told of it yet.
            registry.remove(&name)?;
            return Err(error);
        }
    }
    Ok(name)
}

fn spec(name: String, startup: Option<&Startup>) -> ShadowSpec {
    let init = startup.map_or(Init::Small, |startup| first_process(startup.init));
    ShadowSpec { init, ..ephemeral_spec(name) }
}

/// Starts what is to run, if anything is.
fn run(
    shadow: &dyn Shadow,
    startup: Option<&Startup>,
) -> Result<Vec<Box<dyn Running>>, EnterError> {
    let Some(startup) = startup else { return Ok(Vec::new()) };
    services::start(shadow, startup)
        .map_err(|error| EnterError::Wire(crate::states::environment(&error)))
}

/// The state's layers, and what keeps the collector away until a shadow shows them.
fn layers(daemon: &Daemon, state: StateId) -> Result<(Layers, Pin), EnterError> {
    if daemon.is_closing() {
        return Err(EnterError::Wire(shutting_down()));
    }
    daemon.states().layers(state).map_err(EnterError::Wire)
}
