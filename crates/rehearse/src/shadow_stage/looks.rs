//! The ways to look at a view.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use umbra_shadow::ShadowError;
use umbra_shadow::provider::Init;
use umbra_shadow::startup::StartError;
use umbra_shadow::target::ShadowTarget;
use umbra_state::escape::escape;
use umbra_state::{Command, Evidence, Verdict, chain};
use umbra_store::overlay::Layers;
use umbra_suite::check::security::Baseline;
use umbra_suite::report::excerpt;
use umbra_suite::{Context, TestReport, run_test};

use super::{Need, ShadowStage, Started};
use crate::error::RehearsalError;
use crate::report::{Part, Seen};
use crate::stage::{Check, Sight};
use crate::trial::{micros, seen};

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// How long a system may take to say which units failed.
const UNITS_TIME_MAX: Duration = Duration::from_secs(20);

/// The name of the look at them.
pub(super) const UNITS: &str = "units of the machine's own system";

impl ShadowStage<'_> {
    pub(super) fn validate(
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

    pub(super) fn start(
        &mut self,
        layers: &Layers,
        sight: &mut Sight,
    ) -> Result<Seen, RehearsalError> {
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

    pub(super) fn units(
        &mut self,
        layers: &Layers,
        sight: &mut Sight,
    ) -> Result<Option<Seen>, RehearsalError> {
        let mut seen = seen(UNITS.to_owned(), Part::Units);
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

    pub(super) fn test(
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

pub(super) fn not_started(error: StartError) -> Started {
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
