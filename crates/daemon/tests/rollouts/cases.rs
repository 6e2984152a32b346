//! What becomes of rollouts.

use std::time::Duration;

use umbra_api::error::ErrorCode;
use umbra_api::rollout::{Candidate, Happened, RolloutPhase, StartRollout, StepProgress, Told};
use umbra_state::Cause;

use crate::place::{Place, refusal};
use crate::server::{Manner, Server};

/// All of them.
pub(crate) const ALL: [(&str, fn()); 16] = [
    ("a_good_candidate_is_promoted_and_undone", a_good_candidate_is_promoted_and_undone),
    ("a_bad_candidate_is_rolled_back", a_bad_candidate_is_rolled_back),
    ("a_person_pauses_goes_on_and_aborts", a_person_pauses_goes_on_and_aborts),
    ("a_person_promotes_at_once", a_person_promotes_at_once),
    ("one_rollout_of_a_service_at_a_time", one_rollout_of_a_service_at_a_time),
    ("who_is_refused_a_route_ends_nobody_elses_split", refused_a_route),
    ("what_serves_is_not_taken_away_where_a_split_is_gone", a_split_is_gone),
    ("copies_come_before_users", copies_come_before_users),
    (
        "what_answers_otherwise_is_seen_before_users_are",
        what_answers_otherwise_is_seen_before_users_are,
    ),
    ("gates_and_measurements_hold_it", gates_and_measurements_hold_it),
    ("what_never_gets_healthy_harms_nobody", what_never_gets_healthy_harms_nobody),
    ("what_cannot_work_is_not_begun", what_cannot_work_is_not_begun),
    ("instances_of_others_are_rolled_out", instances_of_others_are_rolled_out),
    ("where_nothing_is_the_candidate_serves", where_nothing_is_the_candidate_serves),
    ("a_gateway_is_killed_in_the_middle", a_gateway_is_killed_in_the_middle),
    ("a_gateway_is_away_for_a_while", a_gateway_is_away_for_a_while),
];

/// Steps that need few requests.
const QUICK: &str = "steps: [setWeight: 20, setWeight: 50, setWeight: 100]
hold: {for: 200ms, requests: 30}";
/// Copies, and then users.
const MIRRORS: &str = "steps: [setMirror: {percent: 100}, pause: {}, setWeight: 20, setWeight: 100]
hold: {for: 100ms, requests: 20}";
/// One that goes on until somebody says so.
const WAITS: &str = "steps: [setWeight: 20, pause: {}, setWeight: 100]
hold: {for: 100ms, requests: 20}";

fn a_good_candidate_is_promoted_and_undone() {
    let place = Place::new();
    let (one, two) = (place.image("one", Manner::Good), place.image("two", Manner::Good));
    let load = place.load("/");
    let first = place.start("web", "one", QUICK);
    assert_eq!((first.phase, first.id), (RolloutPhase::Starting, 1));
    assert_eq!(first.baseline, place.production.at.to_string());
    let ended = place.ends(1, RolloutPhase::Successful);
    assert!(ended.steps.iter().all(|step| step.progress == StepProgress::Done), "{ended:#?}");
    assert_eq!(place.keeper.states(), [one]);
    // The second is held against the first, whose instances make room.
    place.start("web", "two", QUICK);
    let ended = place.ends(2, RolloutPhase::Successful);
    assert_eq!(ended.baseline, first.candidate);
    assert_eq!(place.keeper.states(), [two]);
    let service = place.service("web").expect("a service");
    assert_eq!((service.now.state, service.before.state), (Some(two), Some(one)));
    assert_eq!((service.rollout, service.goes_on), (2, None));
    assert_eq!(service.now.targets, place.leads_to("web"));
    assert!(!place.is_split("web"));
    // Back, in the same steps.
    let undo = place.tell(2, Told::Undo);
    assert_eq!((undo.id, undo.candidate), (3, first.candidate));
    place.ends(3, RolloutPhase::Successful);
    assert_eq!(place.keeper.states(), [one]);
    let again = refusal(place.client().tell_rollout(2, Told::Undo));
    assert_eq!(again.code, ErrorCode::Conflict, "{again:?}");
    let asked = load.stop();
    assert_eq!(asked.bad(), 0, "{asked:?}");
    assert!(asked.of("one") > 0 && asked.of("two") > 0, "{asked:?}");
    let timeline = place.client().timeline("service/web").expect("a timeline");
    let told: Vec<_> = timeline.into_iter().map(|entry| (entry.state, entry.cause)).collect();
    let by = |rollout| Cause::Rollout { rollout };
    assert_eq!(told, [(one, by(1)), (two, by(2)), (one, by(3))]);
    let alerts = place.alerted("promoted");
    assert!(alerts.iter().all(|alert| alert["service"]["name"] == "web"), "{alerts:?}");
    check_story(&place, 2);
}

/// What is told of a rollout begins at the beginning and ends with how it stood at its end.
fn check_story(place: &Place, id: u64) {
    let events = place.events(id);
    let weights = events.iter().filter_map(|event| match event.what {
        Happened::Weight { to_percent, .. } => Some(to_percent),
        _ => None,
    });
    assert_eq!(weights.collect::<Vec<_>>(), [20.0, 50.0, 100.0]);
    match &events.last().expect("an event").what {
        Happened::Standing { status } => assert_eq!(**status, place.status(id)),
        other => panic!("{other:?}"),
    }
    let followed = place.client().rollout_events(id, 0).expect("followed");
    let followed: Vec<_> = followed.map(|event| event.expect("an event")).collect();
    assert_eq!(followed, events, "whoever follows one that is over is told all of it");
    let standings = events.iter().filter(|one| matches!(one.what, Happened::Standing { .. }));
    assert_eq!(standings.count(), 1, "only the newest is kept");
}

fn a_bad_candidate_is_rolled_back() {
    let place = Place::new();
    let (good, bad) =
        (place.image("good", Manner::Good), place.image("bad", Manner::FailsEvery(3)));
    let load = place.load("/");
    place.start("web", "good", QUICK);
    place.ends(1, RolloutPhase::Successful);
    let before = place.leads_to("web");
    let lines = "steps: [setWeight: 10, setWeight: 100]\nhold: {for: 1m, requests: 5000}";
    place.start("web", "bad", lines);
    let ended = place.ends(2, RolloutPhase::Failed);
    let back = ended.rolled_back.expect("it was rolled back");
    assert!(back.judged && back.from_percent == 10.0, "{back:?}");
    let judged = ended.judged.expect("it was judged");
    assert!(judged.log_e_peak >= judged.log_limit, "{judged:?}");
    assert_eq!(place.keeper.states(), [good]);
    assert_eq!((place.leads_to("web"), place.is_split("web")), (before, false));
    // Nobody gets to it any more, and what was there before serves as ever.
    let then = load.so_far();
    std::thread::sleep(Duration::from_millis(300));
    let now = load.stop();
    assert_eq!((now.of("bad"), now.bad()), (then.of("bad"), then.bad()));
    assert!(now.of("good") > then.of("good"));
    let service = place.service("web").expect("a service");
    assert_eq!((service.now.state, service.rollout), (Some(good), 1));
    let timeline = place.client().timeline("service/web").expect("a timeline");
    let told: Vec<_> = timeline.into_iter().map(|entry| (entry.state, entry.cause)).collect();
    let wanted = [
        (good, Cause::Rollout { rollout: 1 }),
        (bad, Cause::Rollout { rollout: 2 }),
        (good, Cause::RolledBack { rollout: 2 }),
    ];
    assert_eq!(told, wanted);
    let alerts = place.alerted("rolled_back");
    let alert = alerts.iter().find(|alert| alert["event"]["action"] == "rollout-rolled_back");
    assert_eq!(alert.expect("an alert")["log"]["level"], "high");
    // The same again is a new rollout, and as bad.
    let again = place.tell(2, Told::Retry);
    assert_eq!((again.id, again.state), (3, Some(bad)));
    let load = place.load("/");
    place.ends(3, RolloutPhase::Failed);
    drop(load);
    let kept = place.client().gc(umbra_api::daemon::GcRequest { dry_run: false });
    kept.expect("collected");
    assert!(place.client().state(&bad.to_string()).is_ok(), "the timeline keeps it");
}

fn a_person_pauses_goes_on_and_aborts() {
    let place = Place::new();
    let one = place.image("one", Manner::Good);
    let load = place.load("/");
    let lines = "steps: [setWeight: 20, setWeight: 50, setWeight: 100]
hold: {for: 1m, requests: 30}";
    place.start("web", "one", lines);
    place.until(1, "users get to it", |status| status.weight_percent == 20.0);
    let paused = place.tell(1, Told::Pause);
    assert_eq!(paused.phase, RolloutPhase::Paused, "{paused:?}");
    place.alerted("paused");
    let page = place.client().scrape().expect("a page");
    for line in [
        "umbra_rollout_phase{service=\"web\",phase=\"paused\"} 1",
        "umbra_rollout_phase{service=\"web\",phase=\"running\"} 0",
        "umbra_rollout_weight{service=\"web\"} 0.2",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
    for name in ["umbra_rollout_log_e{service=\"web\"}", "umbra_rollout_limit{service=\"web\"}"] {
        assert!(page.contains(name), "{name} is not in\n{page}");
    }
    let running = place.tell(1, Told::Resume);
    assert_eq!(running.phase, RolloutPhase::Running, "{running:?}");
    place.tell(1, Told::Promote);
    place.until(1, "its next step", |status| status.weight_percent == 50.0);
    place.tell(1, Told::Abort);
    let ended = place.ends(1, RolloutPhase::Failed);
    assert!(ended.reason.contains("aborted"), "{}", ended.reason);
    let back = ended.rolled_back.expect("it was rolled back");
    assert!(!back.judged && back.from_percent == 50.0, "{back:?}");
    assert_eq!(place.leads_to("web"), [place.production.at.to_string()]);
    assert!(place.keeper.states().is_empty());
    assert_eq!(place.service("web"), None);
    let asked = load.stop();
    assert_eq!(asked.bad(), 0, "{asked:?}");
    let late = refusal(place.client().tell_rollout(1, Told::Abort));
    assert_eq!(late.code, ErrorCode::Conflict, "{late:?}");
    let no_undo = refusal(place.client().tell_rollout(1, Told::Undo));
    assert_eq!(no_undo.code, ErrorCode::Conflict, "{no_undo:?}");
    // What was in production before was no image: its timeline does not begin with what left.
    assert!(place.client().timeline("service/web").is_err(), "of {one}");
}

fn a_person_promotes_at_once() {
    let place = Place::new();
    let one = place.image("one", Manner::Good);
    let load = place.load("/");
    place.start("web", "one", "steps: [setWeight: 1, pause: {}, setWeight: 50]");
    place.until(1, "users get to it", |status| status.weight_percent == 1.0);
    place.tell(1, Told::PromoteFull);
    let ended = place.ends(1, RolloutPhase::Successful);
    assert_eq!(ended.steps[2].progress, StepProgress::Skipped, "{ended:#?}");
    assert_eq!(place.keeper.states(), [one]);
    assert_eq!(load.stop().bad(), 0);
}

fn one_rollout_of_a_service_at_a_time() {
    let place = Place::new();
    let one = place.image("one", Manner::Good);
    let loads = [place.load("/"), place.load("/shop")];
    place.start("web", "one", WAITS);
    let second = place.refused(&place.request("web", "one", WAITS));
    assert_eq!(second.code, ErrorCode::Conflict);
    assert!(second.message.contains("rollout 1"), "{second:?}");
    // Another service's goes on beside it.
    let shop = place.start("shop", "one", WAITS);
    place.until(1, "users get to it", |status| status.weight_percent == 20.0);
    place.until(shop.id, "users get to it", |status| status.weight_percent == 20.0);
    // A service that has the other's route in its document is refused by the gateway's split.
    let thief = place.refused(&place.request("thief", "one", &format!("route: web\n{WAITS}")));
    assert_eq!(thief.code, ErrorCode::Conflict, "{thief:?}");
    assert!(thief.message.contains("rollout 1"), "{thief:?}");
    let last = place.client().rollout("shop").expect("by its service");
    assert_eq!(last.id, shop.id);
    place.tell(1, Told::Abort);
    place.ends(1, RolloutPhase::Failed);
    place.tell(shop.id, Told::PromoteFull);
    place.ends(shop.id, RolloutPhase::Successful);
    assert_eq!(place.keeper.states(), [one]);
    assert_eq!(place.leads_to("web"), [place.production.at.to_string()]);
    assert!(loads.into_iter().all(|load| load.stop().bad() == 0));
    let listed = place.client().rollouts(10).expect("listed");
    assert_eq!(listed.iter().map(|one| one.id).collect::<Vec<_>>(), [shop.id, 1]);
}

/// Two rollouts of one route find it free, and the second is refused it by the gateway.
fn refused_a_route() {
    let place = Place::new();
    let one = place.image("one", Manner::Good);
    let gate = Server::start("no", Manner::Ill);
    let hook = format!(
        "route: web\nwebhooks: [{{name: people, type: confirm-rollout, url: 'http://{}/'}}]",
        gate.at
    );
    let late = place.start("late", "one", &format!("{hook}\n{WAITS}"));
    place.until(late.id, "a gate holds it", |status| !status.held_by.is_empty());
    let web = place.start("web", "one", WAITS);
    place.until(web.id, "users get to it", |status| status.weight_percent == 20.0);
    place.tell(late.id, Told::Promote);
    let ended = place.ends(late.id, RolloutPhase::Error);
    assert!(ended.reason.contains(&format!("for rollout {}", web.id)), "{}", ended.reason);
    assert!(place.is_split("web"));
    let status = place.status(web.id);
    assert!(!status.phase.is_over() && status.weight_percent == 20.0, "{status:#?}");
    assert_eq!(place.keeper.states(), [one]);
    place.tell(web.id, Told::PromoteFull);
    place.ends(web.id, RolloutPhase::Successful);
}

/// A gateway that is asked to end a split in the candidate's favour dies over it, and the next one
/// knows of no split: who serves is what the route leads to, not what was asked for.
fn a_split_is_gone() {
    // On a busy machine what is under way may be over, and the split ended, before it can die.
    assert!((0..5).any(|_| dies_over_a_split()), "it never died in time");
}

/// Whether it died before the split was ended.
fn dies_over_a_split() -> bool {
    let mut place = Place::new();
    let one = place.image("one", Manner::Good);
    place.image("two", Manner::Good);
    let load = place.load("/");
    place.start("web", "one", QUICK);
    place.ends(1, RolloutPhase::Successful);
    let serves = place.leads_to("web");
    place.start("web", "two", WAITS);
    place.until(2, "it waits", |status| status.phase == RolloutPhase::Paused);
    drop(load);
    // What is under way is waited for before the split is ended.
    let mut under_way = Vec::new();
    let deadline = std::time::Instant::now() + crate::place::PATIENCE;
    while place.status(2).arms[0].in_flight == 0 {
        assert!(std::time::Instant::now() < deadline, "{:#?}", place.status(2));
        under_way.push(crate::server::held(place.at));
        std::thread::sleep(Duration::from_millis(50));
    }
    place.tell(2, Told::PromoteFull);
    place.until(2, "everybody gets to it", |status| status.weight_percent == 100.0);
    place.stop_gateway();
    if !place.forget_split("web") {
        return false;
    }
    place.start_gateway();
    let ended = place.ends(2, RolloutPhase::Error);
    assert!(ended.reason.contains("ended by somebody else"), "{}", ended.reason);
    assert_eq!((place.leads_to("web"), place.keeper.states()), (serves, vec![one]));
    true
}

fn copies_come_before_users() {
    let place = Place::new();
    let (one, two) = (place.image("one", Manner::Good), place.image("two", Manner::Good));
    let load = place.load("/");
    place.start("web", "one", QUICK);
    place.ends(1, RolloutPhase::Successful);
    // Answers are compared, so both say the same.
    place.keeper.teach(two, "one", Manner::Good);
    place.start("web", "two", MIRRORS);
    let shadow = place.until(2, "copies are made", |status| status.mirror_percent == 100.0);
    assert_eq!(shadow.weight_percent, 0.0);
    let deadline = std::time::Instant::now() + crate::place::PATIENCE;
    // Five are of its warm-up.
    while place.keeper.asked(two) < 20 {
        assert!(std::time::Instant::now() < deadline, "{:#?}", place.told(2));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(place.status(2).arms[1].requests, 0, "users get none of it");
    // A fresh one of what is in production is asked the same.
    let mut states = place.keeper.states();
    states.sort();
    let mut wanted = [one, one, two];
    wanted.sort();
    assert_eq!(states, wanted);
    place.tell(2, Told::Promote);
    place.ends(2, RolloutPhase::Successful);
    assert_eq!(place.keeper.states(), [two]);
    assert_eq!(load.stop().bad(), 0);
}

fn what_answers_otherwise_is_seen_before_users_are() {
    let place = Place::new();
    let one = place.image("one", Manner::Good);
    place.image("two", Manner::Good);
    let load = place.load("/");
    place.start("web", "one", QUICK);
    place.ends(1, RolloutPhase::Successful);
    place.start("web", "two", MIRRORS);
    let ended = place.ends(2, RolloutPhase::Failed);
    assert_eq!(ended.arms[1].requests, 0, "{ended:#?}");
    let judged = ended.judged.expect("it was judged");
    assert_eq!(judged.worse_by.as_deref(), Some("differences"), "{judged:?}");
    assert_eq!(place.keeper.states(), [one]);
    let asked = load.stop();
    assert_eq!((asked.bad(), asked.of("two")), (0, 0), "{asked:?}");
}

fn gates_and_measurements_hold_it() {
    let place = Place::new();
    let one = place.image("one", Manner::Good);
    let now_s = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    let value = format!(
        "{{\"status\":\"success\",\"data\":{{\"resultType\":\"scalar\",\"result\":[{now_s},\"0.99\"]}}}}"
    );
    let (prometheus, gate) =
        (Server::start(&value, Manner::Good), Server::start("no", Manner::Ill));
    let load = place.load("/");
    let lines = format!(
        "steps: [setWeight: 20, analysis: {{templates: [rate]}}, setWeight: 100]
hold: {{for: 100ms, requests: 20}}
analysis: {{templates: [{{name: rate, provider: {{prometheus: {{address: 'http://{}', query: up}}}}, successCondition: result > 0.9}}]}}
webhooks: [{{name: people, type: confirm-promotion, url: 'http://{}/'}}]",
        prometheus.at, gate.at
    );
    place.start("web", "one", &lines);
    let held = place.until(1, "a gate holds it", |status| !status.held_by.is_empty());
    assert_eq!(held.held_by, ["people"]);
    let analysis = held.analyses.first().expect("an analysis");
    assert_eq!((analysis.phase.as_str(), analysis.counts.successful), ("successful", 1));
    // It holds from when it is asked; what it answered is told after that.
    let answered =
        || place.told(1).iter().any(|line| line.contains("\"hook\"") && line.contains("500"));
    place.until(1, "what a gate answers is told", |_| answered());
    place.tell(1, Told::Promote);
    place.ends(1, RolloutPhase::Successful);
    assert_eq!(place.keeper.states(), [one]);
    assert_eq!(load.stop().bad(), 0);
}

fn what_never_gets_healthy_harms_nobody() {
    let place = Place::new();
    place.image("ill", Manner::Ill);
    let load = place.load("/");
    place.start("web", "ill", QUICK);
    let ended = place.ends(1, RolloutPhase::Error);
    assert!(ended.reason.contains("healthy"), "{}", ended.reason);
    assert!(place.keeper.states().is_empty());
    assert_eq!(place.leads_to("web"), [place.production.at.to_string()]);
    let asked = load.stop();
    assert_eq!((asked.bad(), asked.of("ill")), (0, 0), "{asked:?}");
    let told = place.told(1);
    assert!(told.iter().any(|line| line.contains("unwell")), "{told:#?}");
}

fn what_cannot_work_is_not_begun() {
    let place = Place::new();
    place.image("one", Manner::Good);
    let good = place.request("web", "one", QUICK);
    let check = |request: StartRollout, code: ErrorCode, words: &str| {
        let error = place.refused(&request);
        let all = format!("{} {:?} {:?}", error.message, error.causes, error.hint);
        assert!(error.code == code && all.contains(words), "{words}: {error:#?}");
    };
    let service = |name: &str| StartRollout { service: name.to_owned(), ..good.clone() };
    check(service("../x"), ErrorCode::BadRequest, "letters");
    check(service("7"), ErrorCode::BadRequest, "number");
    check(service("other"), ErrorCode::BadConfig, "about service web");
    let candidate = |candidate| StartRollout { candidate, ..good.clone() };
    check(candidate(Candidate::Image("none".into())), ErrorCode::NotFound, "none");
    check(candidate(Candidate::Targets(vec![])), ErrorCode::BadRequest, "targets");
    check(candidate(Candidate::Targets(vec!["x".into()])), ErrorCode::BadRequest, "HOST:PORT");
    let gateway = StartRollout { gateway: Some("/none.sock".into()), ..good.clone() };
    check(gateway, ErrorCode::NotFound, "umbra gateway");
    let file = |file: &str| StartRollout { file: Some(file.into()), ..good.clone() };
    check(file("rollout.yaml"), ErrorCode::BadRequest, "absolute");
    check(file("/none.yaml"), ErrorCode::BadConfig, "/none.yaml");
    let lines = |lines| place.request("web", "one", lines);
    check(lines("steps: [setWeight: 50, setWeight: 20]"), ErrorCode::BadConfig, "rollout.yaml:");
    check(lines("route: none"), ErrorCode::NotFound, "umbra route list");
    // What is in production is no image that we know: answers cannot be compared, and at 100 %
    // nothing else can be.
    let mirrored = "steps: [setMirror: {percent: 100, for: 1s}, setWeight: 100]";
    check(lines(mirrored), ErrorCode::BadConfig, "nothing is left");
    check(lines("control: fresh"), ErrorCode::Conflict, "which image is in production");
    let metric = "steps: [setWeight: 20, analysis: {templates: [rate]}]\nanalysis: {templates: [{name: rate, provider: {prometheus: {address: \
                  'http://127.0.0.1:1', query: up}}, successCondition: result > 0}]}";
    check(lines(metric), ErrorCode::Environment, "no metric works");
    assert!(place.client().rollouts(10).expect("listed").is_empty());
    assert!(place.keeper.states().is_empty() && !place.is_split("web"));
    let unknown = refusal(place.client().rollout("web"));
    assert_eq!(unknown.code, ErrorCode::NotFound);
}

fn instances_of_others_are_rolled_out() {
    let place = Place::new();
    let other = Server::start("other", Manner::Good);
    let load = place.load("/");
    let candidate = Candidate::Targets(vec![other.at.to_string()]);
    let request = StartRollout { candidate, ..place.request("web", "x", QUICK) };
    let begun = place.client().start_rollout(&request).expect("begun");
    assert_eq!((begun.candidate, begun.state), (other.at.to_string(), None));
    place.ends(1, RolloutPhase::Successful);
    assert_eq!(place.leads_to("web"), [other.at.to_string()]);
    // And back to what was there.
    place.tell(1, Told::Undo);
    place.ends(2, RolloutPhase::Successful);
    assert_eq!(place.leads_to("web"), [place.production.at.to_string()]);
    assert_eq!(load.stop().bad(), 0);
}

fn where_nothing_is_the_candidate_serves() {
    let place = Place::new();
    let one = place.image("one", Manner::Good);
    let begun = place.start("new", "one", "");
    assert_eq!(begun.baseline, "nothing");
    place.ends(1, RolloutPhase::Successful);
    assert_eq!(place.keeper.states(), [one]);
    let answer = crate::server::ask(&mut None, place.at, "/new").expect("an answer");
    assert_eq!(answer, (200, "one".to_owned()));
    let service = place.service("new").expect("a service");
    assert_eq!((service.now.state, service.before.what.as_str()), (Some(one), "nothing"));
}

fn a_gateway_is_killed_in_the_middle() {
    let mut place = Place::new();
    let one = place.image("one", Manner::Good);
    place.start("web", "one", WAITS);
    let load = place.load("/");
    place.until(1, "users get to it", |status| status.weight_percent == 20.0);
    place.until(1, "it waits", |status| status.phase == RolloutPhase::Paused);
    drop(load);
    place.kill_gateway();
    // The weight is what it was.
    let load = place.load("/");
    place.until(1, "it is seen again", |status| {
        status.arms[1].in_flight > 0 || status.arms[1].requests > 0
    });
    let deadline = std::time::Instant::now() + crate::place::PATIENCE;
    while load.so_far().of("one") == 0 {
        assert!(std::time::Instant::now() < deadline, "{:#?}", place.status(1));
        std::thread::sleep(Duration::from_millis(10));
    }
    place.tell(1, Told::PromoteFull);
    place.ends(1, RolloutPhase::Successful);
    assert_eq!(place.keeper.states(), [one]);
    assert_eq!(load.stop().bad(), 0);
}

fn a_gateway_is_away_for_a_while() {
    let mut place = Place::new();
    place.image("one", Manner::Good);
    place.start("web", "one", WAITS);
    let load = place.load("/");
    place.until(1, "it waits", |status| status.phase == RolloutPhase::Paused);
    drop(load);
    place.stop_gateway();
    // It is taken back as soon as somebody can be told.
    place.tell(1, Told::Abort);
    std::thread::sleep(Duration::from_secs(1));
    let waiting = place.status(1);
    assert_eq!(waiting.phase, RolloutPhase::RollingBack, "{waiting:#?}");
    place.start_gateway();
    place.ends(1, RolloutPhase::Failed);
    assert_eq!(place.leads_to("web"), [place.production.at.to_string()]);
    assert!(!place.is_split("web") && place.keeper.states().is_empty());
}
