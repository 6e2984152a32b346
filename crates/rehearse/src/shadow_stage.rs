//! The stage that is a disposable shadow: changes are a layer above the machine's, each look a
//! fresh view of both.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use umbra_drift::reading::Reading;
use umbra_shadow::provider::{Init, Running};
use umbra_shadow::startup::{self, StartError};
use umbra_shadow::target::ShadowTarget;
use umbra_shadow::{Provider, Shadow, ShadowError, ShadowSpec};
use umbra_state::escape::escape;
use umbra_state::{Command, Evidence, Verdict, chain};
use umbra_store::overlay::Layers;
use umbra_suite::check::security::Baseline;
use umbra_suite::report::excerpt;
use umbra_suite::{Context, TestReport, run_test};

use crate::edit::{Changes, Edit};
use crate::error::RehearsalError;
use crate::layer;
use crate::report::{Part, Seen};
use crate::scene::{Place, Scene};
use crate::stage::{Check, Sight, Stage};
use crate::subject::Subject;
use crate::trial::{micros, seen, untried};
use crate::what::{Kind, What};

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// How long a system may take to say which units failed.
const UNITS_TIME_MAX: Duration = Duration::from_secs(20);

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
    places: BTreeMap<(Vec<u8>, bool), Result<Place, String>>,
    scratch: Scratch,
    /// Units that fail on the baseline.
    failed_units: Option<BTreeSet<String>>,
    /// Findings of security tests on the baseline, by test.
    findings: BTreeMap<usize, Baseline>,
}

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

/// A directory for layers, gone with this value.
struct Scratch {
    path: PathBuf,
    layers: u64,
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
        let scratch = Scratch::new(subject)?;
        let shadow = provider.spawn(&base, &spec(subject))?;
        let mut stage = Self {
            provider,
            subject,
            kind: what.kind(),
            cancel,
            base,
            untouched: true,
            view: View::default(),
            shadow,
            places: BTreeMap::new(),
            scratch,
            failed_units: None,
            findings: BTreeMap::new(),
        };
        stage.find_places(what)?;
        Ok(stage)
    }

    /// Of all edits, once, while nothing is edited.
    fn find_places(&mut self, what: &What) -> Result<(), RehearsalError> {
        let root = self.shadow.root()?;
        let mut scene = Scene::new(root.as_fd(), self.shadow.ids_base());
        for edit in self.subject.good.iter().chain(what.edits()) {
            let key = (edit.path.0.clone(), follows(&edit.to));
            self.places.entry(key).or_insert_with_key(|(path, follow)| scene.place(path, *follow));
        }
        Ok(())
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
        let dir = self.scratch.next()?;
        let mut edits = Vec::with_capacity(changes.len());
        for (path, to) in changes {
            match self.places.get(&(path.to_vec(), follows(to))) {
                Some(Ok(place)) => edits.push((*path, place, *to)),
                Some(Err(why)) => sight.untried.push(untried(path, why.clone())),
                None => sight.untried.push(untried(path, "it was not looked for".to_owned())),
            }
        }
        let not_written = layer::write(&dir, edits).map_err(system("write a layer"))?;
        sight.untried.extend(not_written.into_iter().map(|(path, why)| untried(path, why)));
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
                Ok(not_started(error))
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
                // What is removed is nothing to be asked about.
                if changes.get(path.as_slice()) == Some(&&Reading::Absent) {
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

    fn validate(
        &mut self,
        which: usize,
        path: &[u8],
        sight: &mut Sight,
    ) -> Result<Option<Seen>, RehearsalError> {
        let Some(validator) = self.subject.validators.get(which) else { return Ok(None) };
        let Ok(text) = std::str::from_utf8(path) else {
            let path = escape(path).to_string();
            sight.unseen.push(format!("{path} was not validated: its name is no text"));
            return Ok(None);
        };
        let argv: Vec<String> =
            validator.argv.iter().map(|word| word.replace("{file}", text)).collect();
        let mut command = Command::new(argv).with_timeout(validator.timeout);
        command.output_bytes_max = ANSWER_BYTES_MAX;
        let line = escape(command.argv.join(" ").as_bytes()).to_string();
        let began = Instant::now();
        let output = match self.shadow.run(&command) {
            Ok(output) => output,
            Err(ShadowError::Start { .. }) => {
                sight.unseen.push(format!("{line} is not there to validate with"));
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let good = output.exit.success();
        let mut seen = seen(line.clone(), Part::Validator);
        seen.verdict = if good { Verdict::Pass } else { Verdict::Fail };
        seen.output = excerpt(&[output.stdout, output.stderr].concat());
        let expected = (!good).then(|| "exit code 0".to_owned());
        let words = last_line(&seen.output);
        let said = if words.is_empty() || good { String::new() } else { format!(": {words}") };
        seen.evidence.push(Evidence {
            subject: line,
            seen: format!("{}{said}", output.exit),
            expected,
            verdict: seen.verdict,
        });
        seen.took_us = micros(began.elapsed());
        Ok(Some(seen))
    }

    fn start(&mut self, layers: &Layers, sight: &mut Sight) -> Result<Seen, RehearsalError> {
        let name = match (self.subject.startup.init, &self.subject.startup.services[..]) {
            (Init::Systemd, _) => "the machine's own system".to_owned(),
            (Init::Small, [only]) => format!("service {}", only.name),
            (Init::Small, services) => format!("{} services", services.len()),
        };
        let mut seen = seen(name, Part::Startup);
        let began = Instant::now();
        match self.ready(layers, Need::Running, sight)? {
            Started::Yes => {
                seen.verdict = Verdict::Pass;
                let (subject, expected) = (seen.name.clone(), None);
                let words = "it started".to_owned();
                seen.evidence.push(Evidence {
                    subject,
                    seen: words,
                    expected,
                    verdict: Verdict::Pass,
                });
            }
            Started::No { evidence, log } => {
                seen.verdict = Verdict::Fail;
                seen.evidence.push(evidence);
                seen.output = log;
            }
            Started::Blind(why) => seen.why = Some(why),
        }
        seen.took_us = micros(began.elapsed());
        Ok(seen)
    }

    fn units(
        &mut self,
        layers: &Layers,
        sight: &mut Sight,
    ) -> Result<Option<Seen>, RehearsalError> {
        let mut seen = seen("units of the machine's own system".to_owned(), Part::Units);
        if !matches!(self.ready(layers, Need::Running, sight)?, Started::Yes) {
            seen.why = Some("the system did not start".to_owned());
            return Ok(Some(seen));
        }
        let argv = ["systemctl", "list-units", "--state=failed", "--plain", "--no-legend"];
        let mut ask = Command::new(argv.into_iter().chain(["--no-pager", "--full"]));
        ask.timeout = Some(UNITS_TIME_MAX);
        ask.output_bytes_max = ANSWER_BYTES_MAX;
        let began = Instant::now();
        let output = self.shadow.run(&ask)?;
        seen.took_us = micros(began.elapsed());
        if !output.exit.success() {
            seen.why = Some(format!("systemctl ended with {}", output.exit));
            return Ok(Some(seen));
        }
        let failed = failed_units(&output.stdout);
        let before = self.failed_units.get_or_insert_with(|| failed.clone());
        seen.verdict = Verdict::Pass;
        for unit in failed.difference(before) {
            seen.verdict = Verdict::Fail;
            seen.evidence.push(Evidence {
                subject: unit.clone(),
                seen: "failed".to_owned(),
                expected: Some("as on the baseline, where it did not".to_owned()),
                verdict: Verdict::Fail,
            });
        }
        if seen.verdict == Verdict::Pass {
            let words = format!("{} failed, as on the baseline", failed.len());
            let (subject, expected) = ("units".to_owned(), None);
            seen.evidence.push(Evidence { subject, seen: words, expected, verdict: Verdict::Pass });
        }
        Ok(Some(seen))
    }

    fn test(
        &mut self,
        which: usize,
        layers: &Layers,
        sight: &mut Sight,
    ) -> Result<Seen, RehearsalError> {
        let test = &self.subject.tests[which];
        let name = escape(test.name.as_bytes()).to_string();
        let mut blind = seen(name, Part::Test);
        blind.counts = !test.allow_failure;
        let not_running = sight
            .seen
            .iter()
            .any(|(check, seen)| *check == Check::Startup && seen.verdict != Verdict::Pass);
        if test.services && not_running {
            blind.why = Some("what runs on the machine did not start".to_owned());
            return Ok(blind);
        }
        let need = if test.services { Need::Running } else { Need::Fresh };
        if !matches!(self.ready(layers, need, sight)?, Started::Yes) {
            blind.why = Some("what runs on the machine did not start".to_owned());
            return Ok(blind);
        }
        self.view.used = true;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let context = Context {
            baseline: self.findings.get(&which),
            seed: now,
            now_unix_s: i64::try_from(now).ok(),
            cancel: Some(self.cancel),
            ..Context::default()
        };
        let target = ShadowTarget::new(&*self.shadow)?;
        let report = run_test(test, &target, &context);
        self.findings.entry(which).or_insert_with(|| {
            let mut baseline = Baseline::default();
            baseline.add(&report.findings);
            baseline
        });
        Ok(Seen { counts: blind.counts, ..of_report(report, blind.name) })
    }
}

impl Stage for ShadowStage<'_> {
    fn checks(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        let paths: BTreeSet<&[u8]> = self.places.keys().map(|(path, _)| path.as_slice()).collect();
        for path in paths {
            for (which, validator) in self.subject.validators.iter().enumerate() {
                if validator.paths.is_match(path.strip_prefix(b"/").unwrap_or(path)) {
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
            if let Some(seen) = self.check(check, &layers, changes, &mut sight)? {
                sight.seen.push((check.clone(), seen));
            }
        }
        Ok(sight)
    }
}

impl Scratch {
    fn new(subject: &Subject) -> Result<Self, RehearsalError> {
        let path = subject.scratch.join(format!("{}{}", crate::SCRATCH_PREFIX, subject.name));
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(system("remove an old rehearsal")(error));
            }
            _ => {}
        }
        make_private(&path).map_err(system("make a directory for a rehearsal"))?;
        Ok(Self { path, layers: 0 })
    }

    /// A new empty directory, as the root of a layer.
    fn next(&mut self) -> Result<PathBuf, RehearsalError> {
        self.layers += 1;
        let path = self.path.join(self.layers.to_string());
        make_private(&path).map_err(system("make a layer"))?;
        Ok(path)
    }

    /// The view before the current one is gone by now.
    fn remove_former(&self) {
        if let Some(former) = self.layers.checked_sub(1) {
            // What cannot be removed now goes with the rest.
            let _ = fs::remove_dir_all(self.path.join(former.to_string()));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left goes with `remove_remains`.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// What is in it may be secret.
fn make_private(path: &std::path::Path) -> std::io::Result<()> {
    std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700).create(path)
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

fn not_started(error: StartError) -> Started {
    let evidence = |subject: String, seen: String| Evidence {
        subject,
        seen,
        expected: Some("started".to_owned()),
        verdict: Verdict::Fail,
    };
    match error {
        StartError::Service { service, reason, log } => {
            let words = last_line(&log);
            let seen = if words.is_empty() { reason } else { format!("{reason}: {words}") };
            Started::No { evidence: evidence(service, seen), log }
        }
        // That a program is not there any more is a fault of the machine's.
        StartError::Shadow(ShadowError::Start { program, reason, .. }) => {
            let program = escape(program.as_bytes()).to_string();
            Started::No { evidence: evidence(program, reason), log: String::new() }
        }
        StartError::Shadow(error) => Started::Blind(format!("failed to {}", chain(&error))),
    }
}

fn of_report(report: TestReport, name: String) -> Seen {
    Seen {
        verdict: report.verdict,
        why: report.error.as_ref().map(|error| format!("failed to {error}")),
        output: report.output,
        took_us: micros(report.duration),
        evidence: report.evidence,
        ..seen(name, Part::Test)
    }
}

/// The first word of each line.
fn failed_units(printed: &[u8]) -> BTreeSet<String> {
    let lines = printed.split(|byte| *byte == b'\n');
    let words = lines.filter_map(|line| {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.next()
    });
    words.map(|unit| escape(unit).to_string()).collect()
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or_default().trim()
}

fn system(doing: &'static str) -> impl Fn(std::io::Error) -> RehearsalError {
    move |source| RehearsalError::System { doing: doing.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_the_first_words() {
        let printed = b"nginx.service loaded failed failed A web server\n\n  x\xff.mount loaded\n";
        let expected = ["nginx.service", "x\\xff.mount"].map(str::to_owned);
        assert_eq!(failed_units(printed), BTreeSet::from(expected));
    }
}
