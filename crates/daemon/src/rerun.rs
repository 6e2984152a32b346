//! A recipe's tests against a state that exists already.
//!
//! The recipe's steps are not looked at, only its services and tests: each test gets a fresh
//! view of the state in one shadow made for the purpose. There is no step before, so a
//! security test takes what it finds for the baseline, as for any first state.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use umbra_api::build::{Finding, Metric, TestResult};
use umbra_api::error::{ErrorCode, WireError};
use umbra_api::state::TestRequest;
use umbra_recipe::{Overrides, Recipe};
use umbra_shadow::provider::{Egress, Limits, Network};
use umbra_shadow::{Shadow, ShadowError, ShadowSpec};
use umbra_state::{Command, Exit, Output, StateId, Tree, Verdict};
use umbra_store::overlay::Layers;
use umbra_suite::check::security::Standing;
use umbra_suite::{Context, ProbeError, Target, Test, TestReport, run_test};

use crate::http::shadow_error;
use crate::services;
use crate::shadows::{Ephemeral, Registry};
use crate::states::{States, environment};

/// What a shell returns for a program it does not find.
const NOT_FOUND: i32 = 127;

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
    let shadow = Ephemeral::new(registry, state, &layers, |name| spec(name, &recipe));
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

/// A shadow as the recipe wants them.
fn spec(name: String, recipe: &Recipe) -> ShadowSpec {
    let wanted = &recipe.shadows;
    let egress: Vec<Egress> =
        wanted.egress.iter().map(|to| Egress { address: to.ip(), port: to.port() }).collect();
    let limits = Limits {
        memory_bytes: wanted.memory,
        cpu_millis: wanted.cpus.map(|cpus| (cpus * 1000.0) as u32),
        pids: wanted.pids,
    };
    let network = if egress.is_empty() { Network::Fenced } else { Network::Egress(egress) };
    ShadowSpec { name, limits, network }
}

struct Run<'a> {
    recipe: &'a Recipe,
    layers: &'a Layers,
    tree: &'a Tree,
    shadow: &'a dyn Shadow,
}

impl Run<'_> {
    fn one(&self, test: &Test) -> TestResult {
        let report = self.look(test).unwrap_or_else(|why| could_not_look(test, &why));
        result(report, self.shadow.name())
    }

    /// On a fresh view; the error says why nobody could look.
    fn look(&self, test: &Test) -> Result<TestReport, String> {
        let failed = |error: ShadowError| sentence(&shadow_error(&error));
        self.shadow.apply(self.layers).map_err(failed)?;
        let last = self.recipe.steps.len().saturating_sub(1);
        let wanted = self.recipe.services_after(last).filter(|_| test.services);
        let _services = services::start(self.shadow, wanted).map_err(|error| sentence(&error))?;
        let target = View { shadow: self.shadow, root: self.shadow.root().map_err(failed)? };
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

fn sentence(error: &WireError) -> String {
    let causes = error.causes.iter().map(String::as_str);
    std::iter::once(error.message.as_str()).chain(causes).collect::<Vec<_>>().join(": ")
}

fn could_not_look(test: &Test, why: &str) -> TestReport {
    TestReport {
        name: test.name.clone(),
        kind: test.kind,
        step: String::new(),
        verdict: Verdict::Inconclusive,
        evidence: Vec::new(),
        error: Some(why.to_owned()),
        output: String::new(),
        duration: Duration::ZERO,
        attempts: 0,
        metrics: Vec::new(),
        findings: Vec::new(),
        allow_failure: test.allow_failure,
    }
}

/// A report in the form clients get.
fn result(report: TestReport, shadow: &str) -> TestResult {
    let metrics = report.metrics.into_iter().filter(|metric| metric.value.is_finite());
    let findings = report.findings.into_iter().map(|finding| Finding {
        rule: finding.rule,
        severity: finding.severity.to_string(),
        path: finding.path,
        message: finding.message,
        advice: finding.advice,
        baseline: finding.standing != Standing::New,
    });
    TestResult {
        name: report.name,
        kind: report.kind,
        verdict: report.verdict,
        evidence: report.evidence,
        error: report.error,
        output: Some(report.output).filter(|output| !output.is_empty()),
        shadow: shadow.to_owned(),
        attempts: report.attempts,
        took_us: u64::try_from(report.duration.as_micros()).unwrap_or(u64::MAX),
        metrics: metrics
            .map(|it| Metric { name: it.name, value: it.value, unit: it.unit })
            .collect(),
        findings: findings.collect(),
    }
}

/// A shadow's current view as the suite sees it.
struct View<'a> {
    shadow: &'a dyn Shadow,
    root: OwnedFd,
}

impl Target for View<'_> {
    fn run(&self, command: &Command) -> Result<Output, ProbeError> {
        match self.shadow.run(command) {
            // That the image lacks a program is a finding, as it is for a shell.
            Err(ShadowError::Start { program, reason, .. }) => Ok(Output {
                exit: Exit::Code(NOT_FOUND),
                stdout: Vec::new(),
                stderr: format!("{program}: {reason}\n").into_bytes(),
                dropped_bytes: 0,
                duration: Duration::ZERO,
            }),
            ran => ran.map_err(|source| ProbeError::Run {
                command: command.argv.join(" "),
                source: Box::new(source),
            }),
        }
    }

    fn address(&self) -> Option<IpAddr> {
        self.shadow.address()
    }

    fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    fn id_inside(&self, id: u32) -> u32 {
        id.checked_sub(self.shadow.ids_base()).unwrap_or(id)
    }
}
