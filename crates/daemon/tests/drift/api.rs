//! What can be asked about primaries, and what is refused.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use umbra_api::error::ErrorCode;
use umbra_drift::alert::{Ended, News};
use umbra_drift::reading::Item;
use umbra_drift::rollback::Outcome;
use umbra_drift::service::{
    AcceptReply, AcceptRequest, AddPrimary, Blame, ConfigText, DriftReply, PrimaryInfo,
    RollbackReply, RollbackRequest, Selection, ShadowDiff, ShadowEntry, TakeShadow, What,
};
use umbra_state::Cause;

use crate::scene::{CONFIG, Scene, refused};

#[test]
fn a_drift_is_looked_at_blamed_and_accepted() {
    let scene = Scene::new();
    scene.add("notify: [{log: false}]\n");
    let umbra = scene.umbra();
    scene.change("/etc/resolv.conf", "nameserver 203.0.113.9\n");
    scene.told("dns", News::Opened);
    scene.change("/etc/motd", "bye\n");
    scene.told("motd", News::Opened);

    let drift: DriftReply = scene.get("/drift");
    let names: Vec<&str> =
        drift.alerts.iter().map(|alert| alert.discrepancy.item.parameter.as_str()).collect();
    assert_eq!(names, ["dns", "motd"], "the gravest first");
    let diff: ShadowDiff = scene.get("/diff?from=1");
    assert_eq!((diff.differs.len(), diff.to), (2, None));
    let blame: Vec<Blame> = scene.get("/blame/dns");
    assert_eq!((blame.len(), blame[0].change.item.clone()), (1, Item::whole("dns")));

    let labels = vec!["before-lunch".to_owned()];
    let wanted = TakeShadow { labels: labels.clone(), keep: true };
    let taken: ShadowEntry = umbra.post("/v1/primaries/web/shadows", &wanted).unwrap();
    assert_eq!((taken.sequence, taken.kept, taken.labels), (2, true, labels));
    let diff: ShadowDiff = scene.get("/diff?from=1&to=2");
    assert_eq!(diff.differs.len(), 2);

    let selection = Selection { parameters: vec!["dns".into()], ..Selection::default() };
    let request = AcceptRequest { selection, reason: "the new resolver".into() };
    let accepted: AcceptReply = umbra.post("/v1/primaries/web/accept", &request).unwrap();
    assert_eq!((accepted.items.as_slice(), accepted.good), ([Item::whole("dns")].as_slice(), 3));
    assert_eq!(scene.told("dns", News::Resolved).ended, Some(Ended::Accepted));
    assert_eq!(scene.check().alerts.len(), 1);
    let shadows: Vec<ShadowEntry> = scene.get("/shadows");
    let good: Vec<u64> = shadows.iter().filter(|one| one.good).map(|one| one.sequence).collect();
    assert_eq!((shadows.len(), good), (3, vec![3]));
    assert_eq!(shadows[2].cause, Cause::Accept { reason: "the new resolver".into() });
    let again = umbra.post::<AcceptReply>("/v1/primaries/web/accept", &request);
    refused(again, ErrorCode::NotFound);
}

#[test]
fn a_key_is_chosen_in_any_spelling_or_refused() {
    let scene = Scene::new();
    scene.add("notify: [{log: false}]\n");
    scene.change("/etc/resolv.conf", "nameserver 203.0.113.9\n");
    scene.told("dns", News::Opened);
    let umbra = scene.umbra();
    let planned = |key: &str| {
        let (paths, key) = (vec!["/etc/resolv.conf".into()], Some(key.into()));
        let selection = Selection { paths, key, ..Selection::default() };
        let request = RollbackRequest { selection, dry_run: true, ..RollbackRequest::default() };
        umbra.post::<RollbackReply>("/v1/primaries/web/rollbacks", &request)
    };
    for key in ["nameserver", "$.nameserver", "/nameserver[1]", "/nameserver"] {
        assert_eq!(planned(key).unwrap().plan.changes.len(), 1, "{key}");
    }
    let error = refused(planned("$..nameserver"), ErrorCode::BadRequest);
    assert!(
        error.causes[0].ends_with("recursive descent is not understood at byte 2"),
        "{error:?}"
    );
}

#[test]
fn what_was_accepted_stays_so_after_a_restart() {
    let mut scene = Scene::new();
    scene.add("notify: [{log: false}]\n");
    scene.change("/etc/motd", "bye\n");
    scene.told("motd", News::Opened);
    let request = AcceptRequest { selection: Selection::default(), reason: "meant".into() };
    let _: AcceptReply = scene.umbra().post("/v1/primaries/web/accept", &request).unwrap();
    scene.restart(|_| {});
    assert!(scene.check().alerts.is_empty());
    let info: PrimaryInfo = scene.get("");
    assert_eq!((info.good, info.shadows, info.open), (2, 2, Vec::new()));
}

#[test]
fn who_asks_sees_what_was_changed_before_they_asked() {
    let scene = Scene::new();
    scene.add("notify: [{log: false}]\n");
    // Nobody sees this but who looks: the agent is in the process that writes.
    for number in 0..20 {
        scene.write("/etc/motd", &format!("{number}\n"));
        let drift = scene.check();
        let text = serde_json::to_string(&drift.alerts).unwrap();
        let seen = &drift.alerts[0].discrepancy.primary;
        assert_eq!(seen.bytes(), Some(format!("{number}\n").as_bytes()), "{text}");
    }
}

#[test]
fn a_primary_stays_as_long_as_a_rollback_waits() {
    let scene = Scene::new();
    scene.add("notify: [{log: false}]\n");
    scene.rollback_waits();
    let error = refused(scene.umbra().delete("/v1/primaries/web".into()), ErrorCode::Conflict);
    let hint = error.hint.expect("what to do");
    assert!(hint.contains("drift confirm web") && hint.contains("drift abort web"), "{hint}");
    let reply: RollbackReply = scene.umbra().post("/v1/primaries/web/abort", &()).unwrap();
    let outcome = reply.rollback.unwrap().outcome;
    assert!(matches!(outcome, Some(Outcome::Reverted { .. })), "{outcome:?}");
    scene.umbra().delete("/v1/primaries/web".into()).unwrap();
}

#[test]
fn a_primary_goes_with_all_that_is_known_of_it() {
    let mut scene = Scene::new();
    scene.add("notify: [{log: false}]\n");
    scene.change("/etc/motd", "bye\n");
    scene.told("motd", News::Opened);
    let state = scene.dir.path().join("state");
    scene.umbra().delete("/v1/primaries/web".into()).unwrap();
    refused(scene.umbra().get::<PrimaryInfo>("/v1/primaries/web"), ErrorCode::NotFound);
    refused(scene.umbra().delete("/v1/primaries/web".into()), ErrorCode::NotFound);
    scene.restart(|_| {});
    assert!(scene.umbra().get::<Vec<PrimaryInfo>>("/v1/primaries").unwrap().is_empty());
    assert!(!scene.umbra().scrape().unwrap().contains("primary="), "nothing is counted of it");
    // The next of this name begins anew.
    let info = scene.add("notify: [{log: false}]\n");
    assert_eq!((info.shadows, info.open), (1, Vec::new()));
    assert!(!scene.so_far().iter().any(|what| matches!(what, What::Alert(_))));
    assert!(state.is_dir());
}

#[test]
fn what_cannot_be_watched_is_refused_and_leaves_nothing() {
    let scene = Scene::new();
    let umbra = scene.umbra();
    let add = |edit: fn(&mut AddPrimary)| {
        let mut request = scene.request("web", CONFIG);
        edit(&mut request);
        scene.try_add(&request)
    };
    let config = |text: &str| Some(ConfigText { path: "my.yml".into(), text: text.into() });
    for name in ["", "..", "a/b", "-x", "a b", "ä", &"x".repeat(65)] {
        let request = AddPrimary { name: name.into(), ..scene.request("web", CONFIG) };
        refused(scene.try_add(&request), ErrorCode::BadRequest);
    }
    refused(add(|request| request.root = Some("relative".into())), ErrorCode::BadRequest);
    refused(add(|request| request.root = Some("/no/such/place".into())), ErrorCode::BadRequest);
    refused(add(|request| request.root = Some("/proc/version".into())), ErrorCode::BadRequest);
    for destination in ["-oProxyCommand=id", "a b", ""] {
        let remote = serde_json::json!({"destination": destination});
        let remote = serde_json::from_value(remote).unwrap();
        let request = AddPrimary { remote: Some(remote), ..scene.request("web", CONFIG) };
        let error = refused(scene.try_add(&request), ErrorCode::BadRequest);
        assert!(error.message.contains("a destination"), "{}", error.message);
    }
    let unknown = serde_json::json!({"name": "web", "remote": {"destination": "a", "shell": "sh"}});
    let answer = umbra.post::<PrimaryInfo>("/v1/primaries", &unknown);
    refused(answer, ErrorCode::BadRequest);
    let bad = "parameters:\n  - {name: a, path: relative, tolerance: x}\n  - {nonsense: 1}\n";
    let request = AddPrimary { config: config(bad), ..scene.request("web", CONFIG) };
    let error = refused(scene.try_add(&request), ErrorCode::BadConfig);
    for words in ["my.yml:2", "my.yml:3", "tolerance", "nonsense"] {
        assert!(error.message.contains(words), "{words}: {}", error.message);
    }
    let huge = format!("{CONFIG}# {}\n", "x".repeat(2 << 20));
    let request = AddPrimary { config: config(&huge), ..scene.request("web", CONFIG) };
    refused(scene.try_add(&request), ErrorCode::BadConfig);
    assert!(umbra.get::<Vec<PrimaryInfo>>("/v1/primaries").unwrap().is_empty());
    for target in ["", "/drift", "/shadows", "/diff?from=1", "/blame/dns"] {
        let answer = umbra.get::<serde_json::Value>(&format!("/v1/primaries/web{target}"));
        refused(answer, ErrorCode::NotFound);
    }
    refused(
        umbra.follow::<serde_json::Value>("/v1/drift/events?primary=web").map(drop),
        ErrorCode::NotFound,
    );
    scene.add("notify: [{log: false}]\n");
    refused(scene.try_add(&scene.request("web", CONFIG)), ErrorCode::Conflict);
    let answer = umbra.get::<ShadowDiff>("/v1/primaries/web/diff?from=9");
    refused(answer, ErrorCode::NotFound);
    let blame: Vec<Blame> = scene.get("/blame/nothing?limit=4294967295");
    assert!(blame.is_empty());
    assert_eq!(scene.so_far().iter().filter(|what| matches!(what, What::Added { .. })).count(), 1);
}

#[test]
fn what_is_counted_is_text_for_prometheus() {
    let scene = Scene::new();
    scene.add("notify: [{log: false}]\n");
    let mut stream = UnixStream::connect(scene.instance().socket()).unwrap();
    let request = "GET /v1/metrics HTTP/1.1\r\nhost: umbra\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    for line in [
        "umbra_shadows 0",
        "umbra_primary_watched{primary=\"web\"} 1",
        "umbra_drift_checks_total{primary=\"web\"} 1",
        "umbra_drift_last_check_items{primary=\"web\"} 2",
        "umbra_drift_alerts_open{primary=\"web\",severity=\"critical\"} 0",
    ] {
        assert!(page.lines().any(|one| one == line), "{line} is not in\n{page}");
    }
    let families = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names: Vec<&str> = families.filter_map(|line| line.split(' ').next()).collect();
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), names.len(), "each family once: {names:?}");
}
