//! Journeys from sessions.

use super::values::Place;
use super::*;
use crate::capture::file::{Tally, Writer};
use crate::capture::{Answered, Asked, Kept};

fn exchange(session: u64, at_ms: u64, asked: (&str, &str, &str), answer: &str) -> Exchange {
    let (method, target, body) = asked;
    let kept = |text: &str| Kept { bytes: text.to_owned().into(), cut: false };
    let request = Asked {
        method: method.into(),
        target: target.into(),
        headers: vec![
            ("Host".into(), "a".into()),
            ("Content-Type".into(), "application/json".into()),
            ("Cookie".into(), "sid=redacted-0".into()),
        ],
        body: kept(body),
    };
    let answer = Answered { status: 200, after_us: 5_000, headers: Vec::new(), body: kept(answer) };
    Exchange { began_us: at_ms * 1000, session, request, answer: Some(answer) }
}

fn learned(all: &[Exchange]) -> Learned {
    let mut writer = Writer::new(Vec::new(), false).unwrap();
    all.iter().for_each(|one| writer.put(one).unwrap());
    let bytes = writer.finish(Tally::default()).unwrap();
    learn(&mut Source::new(&bytes[..], None).unwrap()).unwrap()
}

/// A user who makes an order, looks at it and pays.
fn buyer(session: u64, at_ms: u64, id: &str) -> Vec<Exchange> {
    let order = format!(r#"{{"data":{{"id":{id},"secret":"s-{id}-{id}"}}}}"#);
    let pay = format!(r#"{{"order":{id},"with":"s-{id}-{id}","cost":"$${{5}}"}}"#);
    vec![
        exchange(session, at_ms, ("POST", "/orders", "{}"), &order),
        exchange(session, at_ms + 105, ("GET", &format!("/orders/{id}?view=full"), ""), "{}"),
        exchange(session, at_ms + 310, ("POST", "/pay", &pay), ""),
    ]
}

#[test]
fn sessions_that_did_the_same_are_a_journey_with_what_answers_held() {
    let mut all: Vec<Exchange> = [(1, "7001"), (2, "7002"), (3, "7003")]
        .iter()
        .flat_map(|&(n, id)| buyer(n, n * 50, id))
        .collect();
    all.push(exchange(9, 10, ("GET", "/items/55", ""), ""));
    let learned = learned(&all);
    assert_eq!((learned.sessions, learned.used, learned.journeys.len()), (4, 4, 2));
    let journey = &learned.journeys[0];
    assert_eq!((journey.weight, journey.name.as_str()), (3, "POST /orders and 2 more"));
    let [order, look, pay] = &journey.requests[..] else { panic!("{journey:?}") };
    let places: Vec<_> = order.extract.iter().map(|one| (one.name.as_str(), &one.from)).collect();
    let json = |path: &str| Place::Json(path.into());
    assert_eq!(places, [("id", &json("data.id")), ("secret", &json("data.secret"))]);
    assert_eq!((look.path.as_str(), look.think_ms), ("/orders/${id}?view=full", 100));
    assert_eq!(pay.think_ms, 200);
    let body = pay.body.as_deref().unwrap();
    assert_eq!(body, r#"{"cost":"$$${5}","order":${id},"with":"${secret}"}"#);
    assert_eq!(pay.headers, [("content-type".to_owned(), "application/json".to_owned())]);
    let yaml = write::yaml(&learned);
    assert!(
        yaml.contains("- {name: id, json: \"data.id\"}") && yaml.contains("weight: 3"),
        "{yaml}"
    );
}

#[test]
fn what_a_scenario_cannot_say_is_left_out_and_counted() {
    let mut cut = exchange(1, 0, ("POST", "/", "x"), "");
    cut.request.body.cut = true;
    let all = [
        cut,
        exchange(2, 1, ("PURGE", "/", ""), ""),
        exchange(3, 2, ("GET", "x", ""), ""),
        exchange(4, 3, ("GET", "/", ""), ""),
    ];
    let learned = learned(&all);
    assert_eq!((learned.sessions, learned.used), (4, 1));
    assert_eq!(learned.unfit.into_values().collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn who_pauses_begins_anew_and_who_goes_on_for_long_is_shortened() {
    let minute = 60_000;
    let mut all =
        vec![exchange(1, 0, ("GET", "/", ""), ""), exchange(1, 11 * minute, ("GET", "/", ""), "")];
    all.extend((0..150).map(|n| exchange(2, n, ("GET", "/a", ""), "")));
    let learned = learned(&all);
    assert_eq!((learned.sessions, learned.shortened), (3, 1));
    assert_eq!((learned.journeys[0].weight, learned.journeys[0].requests.len()), (2, 1));
    assert_eq!(learned.journeys[1].requests.len(), 100);
}

#[test]
fn a_short_number_is_an_id_only_where_it_is_called_so() {
    let ask = |path: &str| exchange(1, 10, ("GET", path, ""), "");
    let path = |answer: &str, path: &str| {
        let first = exchange(1, 0, ("GET", "/", ""), answer);
        learned(&[first, ask(path)]).journeys[0].requests[1].path.clone()
    };
    assert_eq!(path(r#"{"count":5}"#, "/items/5"), "/items/5");
    assert_eq!(path(r#"{"count":5,"item_id":5}"#, "/items/5"), "/items/${item_id}");
    assert_eq!(path(r#"[{"id":4},{"id":5}]"#, "/items/5"), "/items/${id_2}");
    assert_eq!(path(r#"{"next":"abcdefgh1"}"#, "/?cursor=abcdefgh1"), "/?cursor=${next}");
}
