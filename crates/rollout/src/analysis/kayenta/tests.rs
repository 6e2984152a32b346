use super::*;
use crate::analysis::measure::measure as measure_one;
use crate::fetch::{FetchError, Reply, Request};
use crate::spec::Analysis;
use crate::spec::tests::{KAYENTA, analysis_of};

/// Answers with one series for each scope.
struct Server {
    control: String,
    experiment: String,
    warnings: &'static str,
}

impl Fetch for Server {
    fn fetch(&self, request: &Request) -> Result<Reply, FetchError> {
        assert!(request.url.contains("/api/v1/query_range?"), "{}", request.url);
        let result = match request.url.contains("baseline") {
            true => &self.control,
            false => &self.experiment,
        };
        let body = format!(
            r#"{{"status":"success","warnings":{},"data":{{"resultType":"matrix","result":[{result}]}}}}"#,
            self.warnings
        );
        Ok(Reply { status: 200, body: body.into_bytes(), cut: false })
    }
}

const BEGAN_MS: i64 = 1_000_000_000;
const STEP_MS: i64 = 60_000;
/// The configuration leaves the first minute out.
const START_MS: i64 = BEGAN_MS + 60_000;

fn about(steps: i64) -> About<'static> {
    let names = Names { service: "web", arm: "candidate", rollout: 7 };
    About { names, began_ms: BEGAN_MS, now_ms: START_MS + steps * STEP_MS + 5_000 }
}

fn series(values: impl Iterator<Item = f64>) -> String {
    let samples = values.enumerate().map(|(step, value)| {
        let at_ms = START_MS + i64::try_from(step).expect("few") * STEP_MS;
        format!("[{}.{:03},\"{value}\"]", at_ms / 1000, at_ms % 1000)
    });
    let samples: Vec<String> = samples.collect();
    format!(r#"{{"metric":{{}},"values":[{}]}}"#, samples.join(","))
}

/// Numbers that look like measurements, always the same.
fn noisy(mean: f64) -> impl Iterator<Item = f64> {
    (0..41u32).map(move |step| mean + f64::from(step * 37 % 41) / 41.0)
}

fn canary() -> Analysis {
    analysis_of(KAYENTA, "", "")
}

#[track_caller]
fn check(control: String, experiment: String, outcome: Outcome, value: Option<&str>, words: &str) {
    let server = Server { control, experiment, warnings: "[]" };
    let measured = measure_one(&canary(), &server, about(40));
    assert_eq!(measured.outcome, outcome, "{measured:?}");
    assert_eq!(measured.value.as_deref(), value, "{measured:?}");
    assert!(measured.message.contains(words), "{measured:?}");
}

#[test]
fn scores_become_outcomes() {
    let (good, bad) = (|| series(noisy(10.0)), || series(noisy(20.0)));
    check(good(), good(), Outcome::Successful, Some("100.0"), "95 are needed");
    check(good(), bad(), Outcome::Failed, Some("0.0"), "less than 75 fail");
    // Fewer errors are fine: the direction is `increase`.
    check(bad(), good(), Outcome::Successful, Some("100.0"), "");
}

#[test]
fn no_points_are_no_judgement() {
    let none = String::new;
    check(none(), none(), Outcome::Inconclusive, Some("0.0"), "there are no points of any metric");
    check(
        series(noisy(1.0)),
        none(),
        Outcome::Inconclusive,
        Some("0.0"),
        "no points of any metric",
    );
    let measured = measure_one(
        &canary(),
        &Server { control: none(), experiment: none(), warnings: "[]" },
        about(0),
    );
    assert_eq!(measured.outcome, Outcome::Inconclusive, "{measured:?}");
    assert!(measured.message.contains("no whole step"), "{measured:?}");
}

#[test]
fn what_is_no_single_series_cannot_be_judged() {
    let one = || series(noisy(1.0));
    let two = format!("{},{}", one(), one());
    check(two, one(), Outcome::Error, None, "metric errors: there are 2 series of it");
    let strange = one().replacen(".000", ".001", 1);
    check(one(), strange, Outcome::Error, None, "points of another time");
    let long = series((0..43u32).map(f64::from));
    check(long, one(), Outcome::Error, None, "points of another time");
}

#[test]
fn what_came_with_warnings_is_no_pass() {
    let one = || series(noisy(1.0));
    let server = Server { control: one(), experiment: one(), warnings: "[\"partial\"]" };
    let measured = measure_one(&canary(), &server, about(40));
    assert_eq!(measured.outcome, Outcome::Inconclusive, "{measured:?}");
    assert!(measured.message.contains("Prometheus warns: partial"), "{measured:?}");
}

#[test]
fn the_window_grows_or_looks_back() {
    #[track_caller]
    fn check(lookback_ms: Option<u64>, steps: i64, window: Option<(i64, usize)>) {
        let crate::spec::Provider::Kayenta(mut kayenta) = canary().provider else { panic!() };
        kayenta.lookback_ms = lookback_ms;
        let is = Window::of(&kayenta, about(steps));
        assert_eq!(is.map(|window| (window.start_ms, window.points)), window);
    }
    check(None, -1, None);
    check(None, 0, None);
    check(None, 1, Some((START_MS, 2)));
    check(None, 40, Some((START_MS, 41)));
    // Looked back from now, which lies 5 s behind a step.
    check(Some(600_000), 40, Some((START_MS + 30 * STEP_MS + 5_000, 11)));
    check(Some(600_000), 2, Some((START_MS, 3)));
    check(Some(30_000), 40, None);
    let (far, back) = (20_000, 10_999);
    check(None, far, Some((START_MS + (far - back) * STEP_MS + 5_000, 11_000)));
}
