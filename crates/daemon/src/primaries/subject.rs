//! Primaries as rehearsals need them: files, services, tests and validators, and a shadow to
//! try them on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::runtime::Handle;
use umbra_api::error::{ErrorCode, WireError};
use umbra_build::look;
use umbra_build::services::Startup;
use umbra_drift::config::{Config, Source};
use umbra_drift::rollback::validators;
use umbra_recipe::{Overrides, Recipe};
use umbra_rehearse::derive::Ground;
use umbra_rehearse::report::Untried;
use umbra_rehearse::{
    Bounds, Directory, Edit, RehearsalError, Report, Root, Subject, Validator, What, rehearse,
};
use umbra_shadow::Provider;
use umbra_shadow::provider::{Init, Limits, Network};
use umbra_shadow::startup;
use umbra_suite::{Globs, Test};

use super::scratch::Scratches;
use crate::db::Db;
use crate::shadows::{Owner, Registry};
use crate::states::{States, environment};

/// How long a validator may take.
const VALIDATE_TIME: Duration = Duration::from_secs(30);
/// Somebody waits for it.
const BOUNDS: Bounds = Bounds { probes_max: 200, time_max: Duration::from_secs(300) };
/// Most processes in a shadow no recipe describes.
const PIDS_MAX: u32 = 4096;

/// What rehearsals are made with.
pub(crate) struct Stages {
    states: States,
    db: Db,
    runtime: Handle,
    registry: Arc<Registry>,
    scratches: Scratches,
}

/// A rehearsal to be made.
pub(super) struct Job {
    /// What its shadow is called.
    pub(super) name: String,
    /// Of which primary.
    pub(super) primary: String,
    pub(super) root: Option<String>,
    /// Whether its files are on another machine.
    pub(super) remote: bool,
    pub(super) image: Option<String>,
    /// Whose services and tests, if not those of the image's build.
    pub(super) recipe: Option<String>,
    /// What makes its shadow, if not what usually does.
    pub(super) provider: Option<String>,
    pub(super) validators: Vec<Validator>,
    /// What makes it the primary as it is known to be good.
    pub(super) good: Vec<Edit>,
    pub(super) what: What,
    /// What cannot even be tried.
    pub(super) untried: Vec<Untried>,
}

/// What runs on a machine and must hold there.
struct Suite {
    startup: startup::Startup,
    tests: Vec<Test>,
    limits: Limits,
    network: Network,
}

/// Over which files edits are made.
pub(super) fn ground(image: Option<&str>) -> Ground {
    if image.is_some() { Ground::Image } else { Ground::Primary }
}

impl Stages {
    /// With a directory for layers, from which is removed what a killed daemon left. No
    /// rehearsal may be under way.
    pub(crate) fn open(
        states: States,
        db: Db,
        runtime: Handle,
        registry: Arc<Registry>,
        scratch: PathBuf,
    ) -> Result<Self, WireError> {
        let scratches = Scratches::open(scratch.clone()).map_err(|error| {
            let message = format!("clear {}", scratch.display());
            WireError::new(ErrorCode::Environment, message).caused_by(error)
        })?;
        Ok(Self { states, db, runtime, registry, scratches })
    }

    /// Makes a rehearsal. Blocking; ends soon after `cancel` is set.
    pub(super) fn rehearse(&self, job: Job, cancel: &AtomicBool) -> Result<Report, WireError> {
        let Job {
            name,
            primary,
            root,
            remote,
            image,
            recipe,
            provider,
            validators,
            good,
            what,
            untried,
        } = job;
        let mut notes = Vec::new();
        // Keeps the collector away until the shadow is gone.
        let mut _pin = None;
        let mut of_build = None;
        let (root, scratch) = match &image {
            Some(image) => {
                let found = self.runtime.block_on(self.db.image(image))?;
                let state = found.ok_or_else(|| no_image(&primary, image))?.state;
                let (layers, pin) = self.states.layers(state)?;
                _pin = Some(pin);
                if recipe.is_none() {
                    of_build = self.runtime.block_on(self.db.made_by(state))?;
                }
                (Root::State { state, layers }, self.scratches.own().to_owned())
            }
            None if remote => return Err(files_elsewhere(&primary)),
            None => {
                let root = Path::new(root.as_deref().unwrap_or("/"));
                let beside = self.scratches.beside(root).map_err(|error| unread(root, error))?;
                let scratch = beside.ok_or_else(|| holds_own_state(&primary))?;
                let directory = Directory::open(root).map_err(|error| environment(&error))?;
                (Root::Directory(directory), scratch)
            }
        };
        let suite = match (recipe, of_build) {
            (Some(path), _) => Suite::read(&path, &Overrides::new(), None)?,
            (None, Some((request, step))) => {
                let overrides: Overrides = request.vars.into_iter().collect();
                Suite::read(&request.recipe, &overrides, Some(&step)).unwrap_or_else(|error| {
                    let why = error.message.lines().next().unwrap_or_default();
                    notes
                        .push(format!("services and tests of its image's recipe: failed to {why}"));
                    Suite::none()
                })
            }
            (None, None) => {
                let why = "services and tests: no recipe says what runs on it and must hold";
                notes.push(why.to_owned());
                Suite::none()
            }
        };
        // They compare a state's files with what a step before had, and there is no step here.
        let (compares, tests): (Vec<_>, Vec<_>) =
            suite.tests.into_iter().partition(|test| test.check.has_findings());
        let left_out = compares.iter().map(|test| {
            format!("test {:?}: what a build's step adds is for the build to say", test.name)
        });
        notes.extend(left_out);
        let subject = Subject {
            name,
            root,
            good,
            startup: suite.startup,
            tests,
            validators,
            limits: suite.limits,
            network: suite.network,
            scratch,
            bounds: BOUNDS,
        };
        let provider = self.provider(provider.as_deref(), primary)?;
        let mut report = rehearse(&*provider, &subject, &what, cancel).map_err(|e| wire(&e))?;
        report.leave_out(untried);
        report.unseen.splice(0..0, notes);
        Ok(report)
    }

    /// The provider of this name, or the usual one.
    fn provider(
        &self,
        name: Option<&str>,
        primary: String,
    ) -> Result<Arc<dyn Provider>, WireError> {
        let provider = self.registry.providers().of(name).map_err(|error| environment(&error))?;
        Ok(self.registry.noting(provider, Owner::Rehearsal(primary)))
    }

    /// Ends the shadow of a rehearsal that was cancelled, and with it what runs there.
    pub(super) fn abandon(&self, name: &str) {
        if let Err(error) = self.registry.remove(name) {
            tracing::warn!(shadow = name, %error, "a shadow could not be removed");
        }
    }
}

impl Suite {
    /// What a recipe says, after one of its steps or the last.
    fn read(path: &str, overrides: &Overrides, step: Option<&str>) -> Result<Self, WireError> {
        let path = Path::new(path);
        let recipe = umbra_recipe::load(path, overrides).map_err(|problems| {
            let message = format!("accept the recipe\n{}", problems.render(false).trim_end());
            WireError::new(ErrorCode::BadRecipe, message)
        })?;
        let tests = recipe.suite(umbra_recipe::base_dir(path));
        let tests = tests.map_err(|error| WireError::from_chain(ErrorCode::BadRecipe, &error))?;
        Ok(Self::of(&recipe, step, tests))
    }

    fn of(recipe: &Recipe, step: Option<&str>, tests: Vec<Test>) -> Self {
        let last = recipe.steps.len().saturating_sub(1);
        let index = step.and_then(|step| recipe.step_index(step)).unwrap_or(last);
        let spec = look::spec(String::new(), recipe);
        let startup = Startup::after(recipe, index).in_shadow();
        Self { startup, tests, limits: spec.limits, network: spec.network }
    }

    fn none() -> Self {
        Self {
            startup: startup::Startup { init: Init::Small, complete: true, services: Vec::new() },
            tests: Vec::new(),
            limits: Limits { pids: Some(PIDS_MAX), ..Limits::default() },
            network: Network::None,
        }
    }
}

/// What accepts a primary's files: well-known programs, and those its configuration names.
pub(super) fn all_validators(config: &Config) -> Vec<Validator> {
    let known = validators().into_iter().map(|known| (known.globs, known.argv));
    let own = config.parameters.iter().filter(|parameter| !parameter.validate.is_empty());
    let own = own.filter_map(|parameter| {
        let globs = match &parameter.source {
            Source::File { path, .. } => vec![escaped(path)],
            Source::Tree { globs, root, .. } => {
                let mut chosen: Vec<String> =
                    globs.iter().filter(|glob| !glob.starts_with('!')).cloned().collect();
                if chosen.is_empty() {
                    chosen.push(format!("{}/**", escaped(root.trim_end_matches('/'))));
                }
                chosen
            }
            _ => return None,
        };
        Some((globs, parameter.validate.clone()))
    });
    let made = known.chain(own).filter_map(|(globs, argv)| {
        // A pattern that is none was refused when the configuration was read.
        let paths = Globs::new(globs).ok()?;
        Some(Validator { paths, argv, timeout: VALIDATE_TIME })
    });
    made.collect()
}

/// A path as the pattern of itself.
fn escaped(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for c in path.chars() {
        if "*?[]{}\\!".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

fn holds_own_state(primary: &str) -> WireError {
    let message = format!(
        "rehearse on the files of {primary}: the daemon's state directory is among them, and \
         there is no memory filesystem beside them for a shadow's layers"
    );
    WireError::new(ErrorCode::Environment, message).with_hint(
        "mount a tmpfs at /run, add the primary with `--image NAME`, or give the daemon a \
         `--state-dir` on a filesystem of its own",
    )
}

fn files_elsewhere(primary: &str) -> WireError {
    let message = format!("rehearse on the files of {primary}: they are on another machine");
    WireError::new(ErrorCode::Environment, message)
        .with_hint("add the primary with `--image NAME`: then it is tried on that image")
}

fn unread(dir: &Path, error: std::io::Error) -> WireError {
    let message = format!("look at {}", dir.display());
    WireError::new(ErrorCode::Environment, message).caused_by(error)
}

fn no_image(primary: &str, image: &str) -> WireError {
    let image: String = image.chars().take(80).collect();
    let message = format!("rehearse on the image {image:?} of {primary}: there is none");
    WireError::new(ErrorCode::NotFound, message)
        .with_hint("`umbra ls` lists images; without one a primary is rehearsed on its own files")
}

fn wire(error: &RehearsalError) -> WireError {
    let code = match error {
        RehearsalError::Cancelled => ErrorCode::ShuttingDown,
        RehearsalError::Shadow(_) | RehearsalError::System { .. } => ErrorCode::Environment,
    };
    WireError::from_chain(code, error).with_hint("`umbra doctor` says what this machine lacks")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validators_are_those_that_are_known_and_those_that_are_named() {
        let text = "
- {name: app, path: '/etc/app[1].conf', validate: [app, -t, '{file}']}
- {name: tree, glob: ['/srv/**/*.conf', '!/srv/x/**'], validate: [tree-check]}
- {name: none, path: /etc/none}
";
        let config = umbra_drift::config::parse("test", text).expect("a configuration");
        let all = all_validators(&config);
        #[track_caller]
        fn check(all: &[Validator], path: &str, programs: &[&str]) {
            let of = all.iter().filter(|one| one.paths.is_match(path.as_bytes()));
            let found: Vec<&str> = of.map(|one| one.argv[0].as_str()).collect();
            assert_eq!(found, programs, "{path}");
        }
        check(&all, "etc/app[1].conf", &["app"]);
        check(&all, "etc/app1.conf", &[]);
        check(&all, "srv/a/b.conf", &["tree-check"]);
        check(&all, "etc/nginx/conf.d/x.conf", &["nginx"]);
        check(&all, "etc/systemd/system/app.service", &["systemd-analyze"]);
        check(&all, "etc/none", &[]);
    }
}
