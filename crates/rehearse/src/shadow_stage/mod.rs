//! The stage that is a disposable shadow: changes are a layer above the machine's, each look a
//! fresh view of both.

mod looks;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use umbra_drift::reading::Reading;
use umbra_shadow::provider::{Init, Running};
use umbra_shadow::startup;
use umbra_shadow::{Provider, Shadow, ShadowError, ShadowSpec};
use umbra_state::escape::escape;
use umbra_state::{Evidence, chain};
use umbra_store::overlay::Layers;
use umbra_suite::check::security::Baseline;

use crate::edit::{Changes, Edit};
use crate::error::{RehearsalError, system};
use crate::layer;
use crate::report::{Part, Seen};
use crate::scene::{Place, Scene};
use crate::scratch::Scratch;
use crate::stage::{Check, Sight, Stage};
use crate::subject::Subject;
use crate::trial::{seen, untried};
use crate::what::{Kind, What};

pub(crate) struct ShadowStage<'a> {
    provider: &'a dyn Provider,
    subject: &'a Subject,
    kind: Kind,
    cancel: &'a AtomicBool,
    base: Layers,
    /// Whether the shadow still shows its first view, of the machine as it is.
    untouched: bool,
    /// What runs in the view goes before the view.
    view: View,
    shadow: Box<dyn Shadow>,
    places: Places,
    /// What the machine's top directory is like.
    top: Reading,
    scratch: Scratch,
    /// Units that fail on the baseline.
    failed_units: Option<BTreeSet<String>>,
    /// Findings of security tests on the baseline, by test.
    findings: BTreeMap<usize, Baseline>,
}

/// Where each edit goes, by its path and whether it follows a link there, or why nobody knows.
type Places = BTreeMap<(Vec<u8>, bool), Result<Place, String>>;

/// What has become of the current view.
#[derive(Default)]
struct View {
    services: Vec<Box<dyn Running>>,
    started: bool,
    /// A validator ran, which the next one does not mind.
    validated: bool,
    /// Something ran that nothing else must see.
    used: bool,
}

/// What a look needs of a view.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing but validators has run.
    Validate,
    /// Nothing has run.
    Fresh,
    /// Nothing has run but what runs on the machine, which does.
    Running,
}

/// How a start went.
enum Started {
    Yes,
    No { evidence: Evidence, log: String },
    Blind(String),
}

impl<'a> ShadowStage<'a> {
    pub(crate) fn new(
        provider: &'a dyn Provider,
        subject: &'a Subject,
        what: &What,
        cancel: &'a AtomicBool,
    ) -> Result<Self, RehearsalError> {
        let base = subject.root.layers();
        let spec = spec(subject);
        // The name becomes a path too.
        spec.check_name()?;
        let scratch = Scratch::new(&subject.scratch, &subject.name)?;
        // A system that starts may write where edits go.
        let quiet = ShadowSpec { init: Init::Small, ..spec.clone() };
        let mut shadow = provider.spawn(&base, &quiet)?;
        let (places, top) = find_places(&*shadow, subject, what)?;
        if spec.init != Init::Small {
            shadow.destroy()?;
            shadow = provider.spawn(&base, &spec)?;
        }
        Ok(Self {
            provider,
            subject,
            kind: what.kind(),
            cancel,
            base,
            untouched: true,
            view: View::default(),
            shadow,
            places,
            top,
            scratch,
            failed_units: None,
            findings: BTreeMap::new(),
        })
    }

    /// The machine's layers with one of these changes above.
    fn layers(
        &mut self,
        changes: &Changes<'_>,
        sight: &mut Sight,
    ) -> Result<Layers, RehearsalError> {
        if changes.is_empty() {
            return Ok(self.base.clone());
        }
        let began = Instant::now();
        let dir = self.scratch.next()?;
        let mut edits = Vec::with_capacity(changes.len());
        for (path, to) in changes {
            match self.places.get(&(path.to_vec(), follows(to))) {
                Some(Ok(place)) => edits.push((*path, place, *to)),
                Some(Err(why)) => sight.untried.push(untried(path, why.clone())),
                None => sight.untried.push(untried(path, "it was not looked for".to_owned())),
            }
        }
        let not_written = layer::write(&dir, &self.top, edits).map_err(system("write a layer"))?;
        sight.untried.extend(not_written.into_iter().map(|(path, why)| untried(path, why)));
        sight.setup += began.elapsed();
        Ok(self.base.with_upper(dir))
    }

    fn show(&mut self, layers: &Layers, sight: &mut Sight) -> Result<(), RehearsalError> {
        let began = Instant::now();
        // What runs in the view goes before it does.
        self.view = View::default();
        match self.shadow.apply(layers) {
            // Something that ran in it took it along, by eating all its memory for instance.
            Err(ShadowError::Gone(_)) => {
                self.shadow.destroy()?;
                self.shadow = self.provider.spawn(layers, &spec(self.subject))?;
            }
            applied => applied?,
        }
        sight.setup += began.elapsed();
        Ok(())
    }

    /// The current view where it will do, or a new one.
    fn ready(
        &mut self,
        layers: &Layers,
        need: Need,
        sight: &mut Sight,
    ) -> Result<Started, RehearsalError> {
        let View { started, validated, used, .. } = self.view;
        let does = match need {
            Need::Validate => !used && !started,
            Need::Fresh => !used && !started && !validated,
            Need::Running => !used && (started || !validated),
        };
        if !does {
            self.show(layers, sight)?;
        }
        if need != Need::Running || self.view.started {
            return Ok(Started::Yes);
        }
        self.view.started = true;
        match startup::start(&*self.shadow, &self.subject.startup) {
            Ok(services) => {
                self.view.services = services;
                Ok(Started::Yes)
            }
            Err(error) => {
                self.view.used = true;
                Ok(looks::not_started(error))
            }
        }
    }

    fn check(
        &mut self,
        check: &Check,
        layers: &Layers,
        changes: &Changes<'_>,
        sight: &mut Sight,
    ) -> Result<Option<Seen>, RehearsalError> {
        match check {
            Check::Validator { which, path } => {
                if !self.is_there(path, changes) {
                    return Ok(None);
                }
                self.ready(layers, Need::Validate, sight)?;
                self.view.validated = true;
                self.validate(*which, path, sight)
            }
            Check::Startup => self.start(layers, sight).map(Some),
            Check::Units => self.units(layers, sight),
            Check::Test(which) => self.test(*which, layers, sight).map(Some),
        }
    }

    /// Whether something lies at an edit's path with these changes.
    fn is_there(&self, path: &[u8], changes: &Changes<'_>) -> bool {
        let place = |follow| self.places.get(&(path.to_vec(), follow))?.as_ref().ok();
        let found = || place(true).or_else(|| place(false)).map(|place| &place.found);
        match changes.get(path).copied().or_else(found) {
            Some(Reading::Absent) | None => false,
            Some(Reading::Present(_) | Reading::Unreadable { .. }) => true,
        }
    }

    /// What is to be said of a check that nobody could make.
    fn blind(&self, check: &Check, error: &ShadowError) -> Seen {
        let (name, part) = match check {
            Check::Validator { path, .. } => (escape(path).to_string(), Part::Validator),
            Check::Startup => ("what runs on the machine".to_owned(), Part::Startup),
            Check::Units => (looks::UNITS.to_owned(), Part::Units),
            Check::Test(which) => {
                let name = self.subject.tests.get(*which).map(|test| test.name.as_bytes());
                (escape(name.unwrap_or_default()).to_string(), Part::Test)
            }
        };
        Seen { why: Some(format!("failed to {}", chain(error))), ..seen(name, part) }
    }
}

impl Stage for ShadowStage<'_> {
    fn checks(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        let paths: BTreeSet<&[u8]> = self.places.keys().map(|(path, _)| path.as_slice()).collect();
        for path in paths {
            for (which, validator) in self.subject.validators.iter().enumerate() {
                let asked = |check: &Check| matches!(check, Check::Validator { which: one, .. } if *one == which);
                // What does not name the file says the same whichever file it is asked for.
                let again = !validator.names_file() && checks.iter().any(asked);
                if !again && validator.paths.is_match(path.strip_prefix(b"/").unwrap_or(path)) {
                    checks.push(Check::Validator { which, path: path.to_vec() });
                }
            }
        }
        let startup = &self.subject.startup;
        if startup.init == Init::Systemd || !startup.services.is_empty() {
            checks.push(Check::Startup);
        }
        if self.kind == Kind::Reboot && startup.init == Init::Systemd {
            checks.push(Check::Units);
        }
        checks.extend((0..self.subject.tests.len()).map(Check::Test));
        checks
    }

    fn found(&self, edit: &Edit) -> Option<&Reading> {
        let place = self.places.get(&(edit.path.0.clone(), follows(&edit.to)))?;
        place.as_ref().ok().map(|place| &place.found)
    }

    fn look(&mut self, changes: &Changes<'_>, checks: &[Check]) -> Result<Sight, RehearsalError> {
        let mut sight = Sight::default();
        let layers = self.layers(changes, &mut sight)?;
        if !std::mem::take(&mut self.untouched) || layers != self.base {
            self.show(&layers, &mut sight)?;
        }
        self.scratch.remove_former();
        for check in checks {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(RehearsalError::Cancelled);
            }
            let seen = match self.check(check, &layers, changes, &mut sight) {
                // What runs in a shadow can take it along; the next view is of another.
                Err(RehearsalError::Shadow(error)) => {
                    self.view.used = true;
                    Some(self.blind(check, &error))
                }
                seen => seen?,
            };
            sight.seen.extend(seen.map(|seen| (check.clone(), seen)));
        }
        Ok(sight)
    }
}

/// Of all edits, in a view in which nothing is edited.
fn find_places(
    shadow: &dyn Shadow,
    subject: &Subject,
    what: &What,
) -> Result<(Places, Reading), RehearsalError> {
    let root = shadow.root()?;
    let mut scene = Scene::new(root.as_fd(), shadow.ids_base());
    let mut places = Places::new();
    for edit in subject.good.iter().chain(what.edits()) {
        let key = (edit.path.0.clone(), follows(&edit.to));
        places.entry(key).or_insert_with_key(|(path, follow)| scene.place(path, *follow));
    }
    let top = scene.top().unwrap_or(Reading::Absent);
    Ok((places, top))
}

fn spec(subject: &Subject) -> ShadowSpec {
    ShadowSpec {
        init: subject.startup.init,
        ..ShadowSpec::new(subject.name.clone(), subject.limits, subject.network.clone())
    }
}

/// Content alone goes where a path leads; what is said of a path itself stays there.
fn follows(to: &Reading) -> bool {
    to.value().is_some_and(|value| value.attributes.is_empty())
}
