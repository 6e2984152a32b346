//! A recipe's tests against a state that exists already.
//!
//! The recipe's steps are not looked at, only its services and tests: each test gets a fresh
//! view of the state in one shadow made for the purpose. There is no step before: a security
//! test takes what it finds for the baseline, as for any first state, unless it is told which
//! state to compare with. Then it looks there first.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use umbra_api::build::TestResult;
use umbra_api::error::{ErrorCode, WireError};
use umbra_api::state::TestRequest;
use umbra_build::BuildError;
use umbra_build::baseline::Seen;
use umbra_build::look;
use umbra_build::services::{self, Startup};
use umbra_recipe::{Overrides, Recipe};
use umbra_shadow::Shadow;
use umbra_shadow::target::ShadowTarget;
use umbra_state::{StateId, Tree};
use umbra_store::Pin;
use umbra_store::overlay::Layers;
use umbra_suite::{Context, Test, TestReport, run_test};

use crate::http::shadow_error;
use crate::shadows::{Ephemeral, Registry};
use crate::states::{States, environment};

/// What is tested.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// The state.
    pub state: StateId,
    /// The state that security tests compare it with.
    pub baseline: Option<StateId>,
}

/// Runs the recipe's tests, or those that `request` names. Blocking.
pub fn test(
    states: &States,
    registry: &Arc<Registry>,
    subject: Subject,
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
    let (tested, _pin) = Shown::new(states, subject.state)?;
    let before = subject.baseline.map(|state| Shown::new(states, state)).transpose()?;
    let before = before.as_ref().map(|(shown, _pin)| shown);
    let spec = |name| look::spec(name, &recipe);
    let provider = registry.providers().named(&recipe.shadows.provider);
    let provider = provider.map_err(|error| shadow_error(&error))?;
    let shadow = Ephemeral::new(registry, &*provider, subject.state, &tested.layers, spec);
    let shadow = shadow.map_err(|error| shadow_error(&error))?;
    let visit = registry.visit(shadow.name()).map_err(|error| shadow_error(&error))?;
    let run = Run { recipe: &recipe, tested: &tested, before, shadow: visit.shadow() };
    Ok(chosen.into_iter().map(|test| run.one(test)).collect())
}

fn choose<'a>(tests: &'a [Test], names: &[String]) -> Result<Vec<&'a Test>, WireError> {
    if let Some(unknown) = names.iter().find(|name| tests.iter().all(|test| test.name != **name)) {
        let message = format!("find the test {unknown:?} in the recipe");
        return Err(WireError::new(ErrorCode::NotFound, message));
    }
    Ok(tests.iter().filter(|test| names.is_empty() || names.contains(&test.name)).collect())
}

/// A state as tests see it.
struct Shown {
    tree: Tree,
    layers: Layers,
}

impl Shown {
    fn new(states: &States, state: StateId) -> Result<(Self, Pin), WireError> {
        let tree = states.store().load(state).map_err(|error| environment(&error))?;
        let (layers, pin) = states.layers(state)?;
        Ok((Self { tree, layers }, pin))
    }
}

struct Run<'a> {
    recipe: &'a Recipe,
    tested: &'a Shown,
    before: Option<&'a Shown>,
    shadow: &'a dyn Shadow,
}

impl Run<'_> {
    fn one(&self, test: &Test) -> TestResult {
        let report = self.judge(test).unwrap_or_else(|error| look::unready(test, "", &error));
        look::result_of(&report, self.shadow.name().to_owned())
    }

    /// The error says why nobody could look.
    fn judge(&self, test: &Test) -> Result<TestReport, BuildError> {
        let Some(before) = self.before.filter(|_| test.check.has_findings()) else {
            return self.look(test, self.tested, &Context::default());
        };
        let seen = Seen::new(self.look(test, before, &Context::default())?);
        let context = Context {
            before: Some(&before.tree),
            baseline: Some(&seen.baseline),
            ..Context::default()
        };
        let mut report = self.look(test, self.tested, &context)?;
        seen.note("the state it is compared with", &mut report);
        Ok(report)
    }

    /// On a fresh view.
    fn look(
        &self,
        test: &Test,
        shown: &Shown,
        context: &Context<'_>,
    ) -> Result<TestReport, BuildError> {
        self.shadow.apply(&shown.layers)?;
        let last = self.recipe.steps.len().saturating_sub(1);
        let startup = Startup::after(self.recipe, last);
        let _services =
            test.services.then(|| services::start(self.shadow, &startup)).transpose()?;
        let target = ShadowTarget::new(self.shadow)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let context = Context {
            after: Some(&shown.tree),
            seed: now,
            now_unix_s: i64::try_from(now).ok(),
            ..*context
        };
        Ok(run_test(test, &target, &context))
    }
}
