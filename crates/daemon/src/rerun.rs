//! A recipe's tests against a state that exists already.
//!
//! The recipe's steps are not looked at, only its services and tests: each test gets a fresh
//! view of the state in one shadow made for the purpose. There is no step before, so a
//! security test takes what it finds for the baseline, as for any first state.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use umbra_api::build::TestResult;
use umbra_api::error::{ErrorCode, WireError};
use umbra_api::state::TestRequest;
use umbra_build::BuildError;
use umbra_build::look::{self, ShadowTarget};
use umbra_build::services::{self, Startup};
use umbra_recipe::{Overrides, Recipe};
use umbra_shadow::Shadow;
use umbra_state::{StateId, Tree};
use umbra_store::overlay::Layers;
use umbra_suite::{Context, Test, TestReport, run_test};

use crate::http::shadow_error;
use crate::shadows::{Ephemeral, Registry};
use crate::states::{States, environment};

/// Runs the recipe's tests, or those that `request` names. Blocking.
pub fn test(
    states: &States,
    registry: &Arc<Registry>,
    state: StateId,
    request: &TestRequest,
) -> Result<Vec<TestResult>, WireError> {
    let path = Path::new(&request.recipe);
    let overrides: Overrides = request.vars.iter().cloned().collect();
    let recipe = umbra_recipe::load(path, &overrides).map_err(|problems| {
        let message = format!("accept the recipe\n{}", problems.render(false).trim_end());
        WireError::new(ErrorCode::BadRecipe, message)
    })?;
    let tests = recipe.suite(umbra_recipe::base_dir(path));
    let tests = tests.map_err(|error| WireError::from_chain(ErrorCode::BadRecipe, &error))?;
    let chosen = choose(&tests, &request.tests)?;
    let tree = states.store().load(state).map_err(|error| environment(&error))?;
    let (layers, _pin) = states.layers(state)?;
    let shadow = Ephemeral::new(registry, state, &layers, |name| look::spec(name, &recipe));
    let shadow = shadow.map_err(|error| shadow_error(&error))?;
    let visit = registry.visit(shadow.name()).map_err(|error| shadow_error(&error))?;
    let run = Run { recipe: &recipe, layers: &layers, tree: &tree, shadow: visit.shadow() };
    Ok(chosen.into_iter().map(|test| run.one(test)).collect())
}

fn choose<'a>(tests: &'a [Test], names: &[String]) -> Result<Vec<&'a Test>, WireError> {
    if let Some(unknown) = names.iter().find(|name| tests.iter().all(|test| test.name != **name)) {
        let message = format!("find the test {unknown:?} in the recipe");
        return Err(WireError::new(ErrorCode::NotFound, message));
    }
    Ok(tests.iter().filter(|test| names.is_empty() || names.contains(&test.name)).collect())
}

struct Run<'a> {
    recipe: &'a Recipe,
    layers: &'a Layers,
    tree: &'a Tree,
    shadow: &'a dyn Shadow,
}

impl Run<'_> {
    fn one(&self, test: &Test) -> TestResult {
        let report = self.look(test).unwrap_or_else(|error| look::unready(test, "", &error));
        look::result_of(&report, self.shadow.name().to_owned())
    }

    /// On a fresh view; the error says why nobody could look.
    fn look(&self, test: &Test) -> Result<TestReport, BuildError> {
        self.shadow.apply(self.layers)?;
        let last = self.recipe.steps.len().saturating_sub(1);
        let startup = Startup::after(self.recipe, last);
        let _services =
            test.services.then(|| services::start(self.shadow, &startup)).transpose()?;
        let target = ShadowTarget::new(self.shadow)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let context = Context {
            step: "",
            after: Some(self.tree),
            seed: now,
            now_unix_s: i64::try_from(now).ok(),
            ..Context::default()
        };
        Ok(run_test(test, &target, &context))
    }
}
