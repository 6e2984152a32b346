//! In which fields answers to one request differ from production's, and how, to show.

use std::collections::BTreeSet;
use std::hash::RandomState;

use super::Settings;
use super::fields::{BODY, Digested, Fields, each};
use super::gather::{Answer, Answered, Gathered};
use super::json::Step;
use super::mask::Masks;
use super::report::Sample;

/// Whether there was an answer at all.
pub const ANSWER: &str = "answer";
/// Whether it took so much longer than production's.
pub const LATENCY: &str = "latency";

/// As much of a value as is shown.
const SHOWN_BYTES_MAX: usize = 120;

/// A field in which one of two shadows differs from production.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The field.
    pub path: String,
    /// Whether the candidate does.
    pub candidate: bool,
    /// Whether the baseline does.
    pub baseline: bool,
}

/// All fields in which these differ, in the order of their names. It says the same of the two
/// shadows where they are exchanged.
pub fn differ(gathered: &Gathered, settings: &Settings, hashing: &RandomState) -> Vec<Difference> {
    let failed = |answered: &Answered| answered.is_err();
    let (candidate, baseline) = (&gathered.candidate, gathered.baseline.as_ref());
    if failed(candidate) || baseline.is_some_and(failed) {
        // What an answer that is not there would have said nobody knows.
        let baseline = baseline.is_some_and(failed);
        return vec![Difference {
            path: ANSWER.to_owned(),
            candidate: failed(candidate),
            baseline,
        }];
    }
    let (candidate, baseline) = (of(candidate), baseline.and_then(of));
    let production = &*gathered.production;
    let fields = |answer: &Answer| Fields::of(answer, hashing);
    let mut found = between(&fields(production), candidate.map(fields), baseline.map(fields));
    let slow =
        |answer: Option<&Answer>| answer.is_some_and(|one| is_slow(one, production, settings));
    let (candidate, baseline) = (slow(candidate), slow(baseline));
    if candidate || baseline {
        found.push(Difference { path: LATENCY.to_owned(), candidate, baseline });
    }
    found
}

fn of(answered: &Answered) -> Option<&Answer> {
    answered.as_ref().ok().map(|answer| &**answer)
}

fn is_slow(answer: &Answer, production: &Answer, settings: &Settings) -> bool {
    answer.after.as_secs_f64()
        > production.after.as_secs_f64() * (1.0 + f64::from(settings.slower_percent) / 100.0)
}

fn between(
    production: &Fields,
    candidate: Option<Fields>,
    baseline: Option<Fields>,
) -> Vec<Difference> {
    let shadows = [candidate.as_ref(), baseline.as_ref()];
    // The body of another answer differs everywhere, which says nothing that its status, or what
    // it is, does not say.
    let bodies = shadows.iter().flatten().all(|shadow| shadow.like(production));
    let all = shadows.into_iter().flatten().chain([production]);
    let paths: BTreeSet<&str> =
        all.flat_map(|fields| fields.iter().map(|(path, _)| path)).collect();
    let of_body = |path: &str| path.starts_with(BODY) && path != BODY;
    let wanted = paths.into_iter().filter(|path| bodies || !of_body(path));
    let differs = |shadow: Option<&Fields>, path: &str| {
        shadow.is_some_and(|shadow| shadow.get(path) != production.get(path))
    };
    let [candidate, baseline] = shadows;
    let difference = |path: &str| Difference {
        candidate: differs(candidate, path),
        baseline: differs(baseline, path),
        path: path.to_owned(),
    };
    wanted.map(difference).filter(|one| one.candidate || one.baseline).collect()
}

/// How the candidate differs in a field, as far as it may be shown.
pub(crate) fn sample(gathered: &Gathered, path: &str, masks: &Masks) -> Sample {
    let candidate = of(&gathered.candidate);
    let baseline = gathered.baseline.as_ref();
    let mut sample = Sample { request: begin(&gathered.request), ..Sample::default() };
    match path {
        ANSWER => {
            let said = |answered: &Answered| match answered {
                Ok(_) => "answered".to_owned(),
                Err(how) => (*how).to_owned(),
            };
            sample.production = Some("answered".to_owned());
            sample.candidate = Some(said(&gathered.candidate));
            sample.baseline = baseline.map(said);
        }
        LATENCY => {
            let ms = |answer: &Answer| format!("{:.1} ms", answer.after.as_secs_f64() * 1e3);
            sample.production = Some(ms(&gathered.production));
            sample.candidate = candidate.map(ms);
            sample.baseline = baseline.and_then(of).map(ms);
        }
        _ => {
            let values = |answer: &Answer| values(answer, path);
            let (production, candidate) = (values(&gathered.production), candidate.map(values));
            let candidate = candidate.unwrap_or_default();
            let place = first_that_differs(&production, &candidate);
            let at = |values: &[Value]| {
                let value = values.iter().find(|value| value.place == place)?;
                let hidden = masks.hides(path) || masks.hides(&place) || masks.hides(&value.shown);
                Some(if hidden { "(not shown)".to_owned() } else { value.shown.clone() })
            };
            sample.production = at(&production);
            sample.candidate = at(&candidate);
            sample.baseline = baseline.and_then(of).and_then(|answer| at(&values(answer)));
            sample.place = if masks.hides(path) { String::new() } else { begin(&place) };
        }
    }
    sample
}

fn begin(text: &str) -> String {
    text[..text.floor_char_boundary(SHOWN_BYTES_MAX)].to_owned()
}

/// A value of a field: where it stands, all of it as a digest, some of it to show.
struct Value {
    place: String,
    digest: u64,
    shown: String,
}

/// Values at one path, of which so many are looked at.
const VALUES_MAX: usize = 10_000;

fn values(answer: &Answer, path: &str) -> Vec<Value> {
    let mut values = Vec::new();
    each(answer, &mut |at: &str, place: &[Step], value: &dyn Digested| {
        if at == path && values.len() < VALUES_MAX {
            let mut hasher = std::hash::DefaultHasher::new();
            value.digest(&mut hasher);
            let place = place.iter().map(Step::to_string).collect();
            let (digest, shown) =
                (std::hash::Hasher::finish(&hasher), begin(&value.shown(SHOWN_BYTES_MAX)));
            values.push(Value { place, digest, shown });
        }
    });
    values
}

fn first_that_differs(production: &[Value], candidate: &[Value]) -> String {
    let same = |(a, b): &(&Value, &Value)| a.place == b.place && a.digest == b.digest;
    let equal = production.iter().zip(candidate).take_while(same).count();
    let first = candidate.get(equal).or(production.get(equal));
    first.map(|value| value.place.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use hyper::header::{CONTENT_TYPE, HeaderValue};

    use super::*;

    fn answer(body: &str) -> Answer {
        let mut answer = Answer { after: Duration::from_millis(10), ..Answer::default() };
        let kind = HeaderValue::from_static("application/json");
        answer.headers.insert(CONTENT_TYPE, kind);
        answer.body.push(Bytes::copy_from_slice(body.as_bytes()));
        answer
    }

    fn gathered(production: Answer, candidate: Answered, baseline: Option<Answered>) -> Gathered {
        Gathered {
            request: "GET /a".to_owned(),
            production: Box::new(production),
            candidate,
            baseline,
        }
    }

    fn whole(body: &str) -> Answered {
        Ok(Box::new(answer(body)))
    }

    fn found(gathered: &Gathered) -> Vec<(String, bool, bool)> {
        let found = differ(gathered, &Settings::default(), &RandomState::new());
        found.into_iter().map(|one| (one.path, one.candidate, one.baseline)).collect()
    }

    #[track_caller]
    fn check(candidate: Answered, baseline: Option<Answered>, differ: &[(&str, bool, bool)]) {
        let gathered = gathered(answer(r#"{"id":1,"a":1}"#), candidate, baseline);
        let differ: Vec<_> =
            differ.iter().map(|(path, a, b)| ((*path).to_owned(), *a, *b)).collect();
        assert_eq!(found(&gathered), differ);
    }

    #[test]
    fn each_shadow_is_held_against_production() {
        let (noisy, same) = (r#"{"id":2,"a":1}"#, r#"{"id":1,"a":1}"#);
        check(whole(same), Some(whole(same)), &[]);
        check(
            whole(r#"{"id":3,"a":2}"#),
            Some(whole(noisy)),
            &[("body.a", true, false), ("body.id", true, true)],
        );
        check(whole(same), Some(whole(noisy)), &[("body.id", false, true)]);
        check(whole(noisy), None, &[("body.id", true, false)]);
    }

    #[test]
    fn who_does_not_answer_differs_in_that_only() {
        check(Err("broken"), Some(whole("{}")), &[(ANSWER, true, false)]);
        check(Err("broken"), Some(Err("timed out")), &[(ANSWER, true, true)]);
        check(whole("{}"), Some(Err("timed out")), &[(ANSWER, false, true)]);
        check(Err("broken"), None, &[(ANSWER, true, false)]);
    }

    #[test]
    fn the_body_of_another_answer_is_not_compared() {
        let mut other = answer("no");
        other.status = hyper::StatusCode::BAD_GATEWAY;
        check(
            Ok(Box::new(other)),
            Some(whole(r#"{"id":2,"a":1}"#)),
            &[("body", true, false), ("status", true, false)],
        );
    }

    #[test]
    fn slow_is_so_much_slower_than_production() {
        let slow = |ms| Ok(Box::new(Answer { after: Duration::from_millis(ms), ..answer("{}") }));
        let two = gathered(answer("{}"), slow(21), Some(slow(20)));
        assert_eq!(found(&two), [(LATENCY.to_owned(), true, false)]);
        let shown = sample(&two, LATENCY, &Masks::default());
        assert_eq!(shown.candidate.as_deref(), Some("21.0 ms"));
    }

    #[test]
    fn what_differs_is_shown_and_secrets_are_not() {
        let production = answer(r#"{"items":[{"p":1},{"p":2}],"token":"abc"}"#);
        let candidate = whole(r#"{"items":[{"p":1},{"p":3}],"token":"abd"}"#);
        let two = gathered(production, candidate, None);
        let some = |text: &str| Some(text.to_owned());
        let shown = sample(&two, "body.items[].p", &Masks::default());
        assert_eq!(
            (shown.place.as_str(), shown.production, shown.candidate),
            ("[1]", some("2"), some("3"))
        );
        let hidden = sample(&two, "body.token", &Masks::default());
        assert_eq!(hidden.production, some("(not shown)"));
        assert_eq!(hidden.candidate, some("(not shown)"));
    }
}
