//! A scenario, played by the load tests' own users.

use std::time::Duration;

use umbra_gateway::replay::rewrite::only_reads;
use umbra_state::TestKind;
use umbra_suite::report::TestReport;
use umbra_suite::spec::{Arrival, Check, Endpoint, LoadCheck, Scheme, Test, Tls};
use umbra_suite::{Context, DirTarget, run_test};

use super::super::Done;
use super::{resolved, seconds, thresholds, usage};
use crate::args::replay::Replay;
use crate::error::{CliError, Finish};
use crate::screen::replay::evidence;
use crate::screen::{painted_verdict, safe};
use crate::ui::Ui;

/// What a run takes beside its load.
const SPARE_TIME: Duration = Duration::from_secs(5);

/// Plays it; the verdict is the exit code.
pub(super) fn play(ui: &Ui, asked: &Replay) -> Done {
    let environment = |what: &str, error: &(dyn std::error::Error + 'static)| {
        CliError::because(Finish::Environment, what, error)
    };
    let to = resolved(&asked.to)?;
    let check = check(asked, to.port())?;
    // Nothing is read from it: what is looked at is at an address.
    let dir = std::env::temp_dir();
    let target = DirTarget::new(&dir).map_err(|error| environment("begin a replay", &error))?;
    let target = target.with_address(to.ip());
    let name = asked.file.display().to_string();
    let mut test = Test::new(&name, TestKind::Performance, Check::Load(check.clone()));
    test.timeout = think_time(&check) + check.duration + check.request_timeout + SPARE_TIME;
    let seed = u64::from(std::process::id());
    let report = run_test(&test, &target, &Context { seed, ..Context::default() });
    ui.answer_with(&report, |report| text(ui, report))?;
    Ok(report.verdict.into())
}

fn check(asked: &Replay, port: u16) -> Result<LoadCheck, CliError> {
    let scenario = umbra_recipe::scenario::load(&asked.file)
        .map_err(|problems| usage(format!("read the scenario\n{}", problems.render(false))))?;
    let writes = scenario.iter().flat_map(|journey| &journey.requests);
    let writes = writes.filter(|request| !only_reads(&request.method)).count();
    if writes > 0 && !asked.allow_writes {
        return Err(usage(format!("replay it: {writes} of its requests may change something"))
            .with_hint("--allow-writes sends them"));
    }
    let (Some(rate), Some(duration)) = (asked.rate, asked.duration) else {
        return Err(usage("replay a scenario: --rate and --duration say how many users come"));
    };
    let check = LoadCheck {
        endpoint: Endpoint { scheme: Scheme::Http, port, tls: Tls::Insecure },
        rate,
        arrival: Arrival::Poisson,
        duration: seconds(duration)?,
        warm_up: Duration::ZERO,
        in_flight_max: asked.in_flight as usize,
        scenario: umbra_recipe::scenario::to_suite(&scenario, asked.host.as_deref())
            .map_err(|why| usage(format!("read the scenario: {why}")))?,
        request_timeout: Duration::from_millis(asked.timeout_ms),
        thresholds: thresholds(asked)?,
    };
    match check.problems().into_iter().next() {
        Some(problem) => Err(usage(format!("replay it: {problem}"))),
        None => Ok(check),
    }
}

/// The longest that a user thinks.
fn think_time(check: &LoadCheck) -> Duration {
    let journeys = check.scenario.iter();
    let times = journeys.map(|journey| journey.steps.iter().map(|step| step.think).sum());
    times.max().unwrap_or_default()
}

fn text(ui: &Ui, report: &TestReport) -> String {
    let mut text = report.output.clone();
    report.evidence.iter().for_each(|one| text.push_str(&evidence(one)));
    if let Some(error) = &report.error {
        text.push_str(&format!("failed to {}\n", safe(error)));
    }
    text.push_str(&format!("{}\n", painted_verdict(report.verdict, ui.paint())));
    text
}
