//! Alerts, and how they reach those who are to be told.

use std::time::{Duration, Instant};

use umbra_drift::alert::{Ended, News};
use umbra_drift::config::{Provenance, Severity};
use umbra_drift::service::{DriftReply, What};

use crate::hook::{Deaf, Hook, nobody};
use crate::scene::{CONFIG, Scene};

const BAD: &str = "nameserver 203.0.113.9\n";
const WORSE: &str = "nameserver 203.0.113.66\n";
const GOOD: &str = "nameserver 192.0.2.1\n";

fn webhook(url: &str) -> String {
    format!("notify: [{{webhook: {url:?}}}]\n")
}

/// The name a place has in metrics and warnings.
fn sink_of(notify: &str) -> String {
    let config = umbra_drift::config::parse("test", &format!("{CONFIG}{notify}"));
    config.expect("a configuration").notify[0].target.name()
}

#[test]
fn a_change_is_told_with_who_made_it_and_its_end_too() {
    let hook = Hook::answering(204);
    let scene = Scene::new();
    let info = scene.add(&webhook(&hook.url));
    assert_eq!((info.items, info.shadows, info.good), (2, 1, 1));
    scene.change("/etc/resolv.conf", BAD);
    let alert = scene.told("dns", News::Opened);
    assert_eq!(alert.discrepancy.severity, Severity::High);
    assert_eq!(alert.discrepancy.provenance, Provenance::Unexplained);
    if scene.sees_who() {
        let attribution = alert.attribution.as_ref().expect("who");
        assert_eq!(attribution.after_ms, None, "somebody saw it happen");
        let writer = attribution.writers.first().expect("a writer");
        assert_eq!(writer.program.exe, std::fs::canonicalize("/bin/sh").ok());
    }
    let posted = hook.next();
    assert_eq!(posted.header("content-type"), Some("application/json"));
    assert_eq!(posted.header("idempotency-key"), Some(alert.telling().as_str()));
    assert!(posted.body.to_string().contains("203.0.113.9"), "{}", posted.body);

    scene.change("/etc/resolv.conf", GOOD);
    let over = scene.told("dns", News::Resolved);
    assert_eq!((&over.id, over.ended), (&alert.id, Some(Ended::Agrees)));
    assert_eq!(hook.next().header("idempotency-key"), Some(over.telling().as_str()));
    assert!(scene.check().alerts.is_empty());
}

#[test]
fn who_is_not_there_is_told_after_a_restart() {
    let address = nobody();
    let mut scene = Scene::new();
    let notify = webhook(&format!("http://{address}/hook"));
    let sink = sink_of(&notify);
    scene.add(&notify);
    scene.change("/etc/resolv.conf", BAD);
    let alert = scene.told("dns", News::Opened);
    let warning = scene.warned("do not reach");
    assert!(warning.contains(&sink) && warning.contains("refused"), "{warning}");
    let of_sink = format!("primary=\"web\",sink=\"{sink}\"");
    scene.counted(&format!("umbra_drift_outbox_waiting{{{of_sink}}}"), 1);
    let mut hook = None;
    scene.restart(|_| hook = Some(Hook::at(address, 200)));
    let hook = hook.expect("open");
    assert_eq!(hook.next().header("idempotency-key"), Some(alert.telling().as_str()));
    scene.counted(&format!("umbra_drift_outbox_waiting{{{of_sink}}}"), 0);
    scene.counted(&format!("umbra_drift_deliveries_total{{{of_sink},result=\"delivered\"}}"), 1);
    scene.restart(|_| {});
    scene.check();
    assert!(hook.is_quiet(), "told once");
}

#[test]
fn who_is_slow_keeps_nobody_waiting() {
    let (deaf, hook) = (Deaf::open(), Hook::answering(200));
    let scene = Scene::new();
    scene.add(&format!("notify: [{{webhook: {:?}}}, {{webhook: {:?}}}]\n", deaf.url, hook.url));
    scene.change("/etc/resolv.conf", BAD);
    let _stream = deaf.spoken_to();
    hook.next();
    scene.change("/etc/motd", "bye\n");
    scene.told("motd", News::Opened);
    hook.next();
    assert_eq!(scene.check().alerts.len(), 2);
    let began = Instant::now();
    drop(scene);
    assert!(began.elapsed() < Duration::from_secs(8), "the end waited for who is slow");
}

#[test]
fn what_is_refused_for_ever_is_lost_aloud() {
    let hook = Hook::answering(400);
    let mut scene = Scene::new();
    let notify = webhook(&hook.url);
    scene.add(&notify);
    scene.change("/etc/resolv.conf", BAD);
    hook.next();
    let warning = scene.warned("are lost");
    assert!(warning.contains(&sink_of(&notify)) && warning.contains("refused"), "{warning}");
    scene.change("/etc/resolv.conf", WORSE);
    hook.next();
    let lost = format!(
        "umbra_drift_deliveries_lost_total{{primary=\"web\",sink=\"{}\",cause=\"refused\"}}",
        sink_of(&notify)
    );
    scene.counted(&lost, 2);
    scene.restart(|_| {});
    scene.counted(&lost, 2);
    let warnings = scene.so_far().into_iter().filter(|what| match what {
        What::Warning { sentence } => sentence.contains("are lost"),
        _ => false,
    });
    assert_eq!(warnings.count(), 1, "the first, not each");
}

#[test]
fn an_alertmanager_is_told_again_what_is_open() {
    let hook = Hook::answering(200);
    let mut scene = Scene::new();
    let base = hook.url.trim_end_matches("/hook");
    scene.add(&format!("notify: [{{alertmanager: {base:?}}}]\n"));
    scene.change("/etc/resolv.conf", BAD);
    let posted = hook.next();
    assert!(posted.head.starts_with("POST /api/v2/alerts "), "{}", posted.head);
    assert_eq!(posted.body[0]["labels"]["parameter"], "dns");
    scene.restart(|_| {});
    let again = hook.next();
    assert_eq!(again.header("idempotency-key"), None, "no telling of its own");
    assert_eq!(again.body[0]["labels"], posted.body[0]["labels"]);
}

#[test]
fn a_restart_forgets_and_repeats_nothing() {
    let mut scene = Scene::new();
    scene.add("notify: [{log: false}]\n");
    scene.change("/etc/resolv.conf", BAD);
    let alert = scene.told("dns", News::Opened);
    let told = "umbra_drift_alerts_told_total{primary=\"web\",severity=\"high\",news=\"opened\"}";
    scene.counted(told, 1);
    scene.restart(|_| {});
    let drift = scene.check();
    assert_eq!(drift.alerts, std::slice::from_ref(&alert));
    scene.counted(told, 1);
    scene.counted("umbra_drift_alerts_open{primary=\"web\",severity=\"high\"}", 1);
    // What is put right while no daemon is there is over when it comes.
    scene.restart(|scene| scene.change("/etc/resolv.conf", GOOD));
    assert_eq!(scene.told("dns", News::Resolved).id, alert.id);
    // What changes while no daemon is there is found, though nobody saw who did it.
    scene.restart(|scene| scene.change("/etc/motd", "bye\n"));
    let found = scene.told("motd", News::Opened);
    let attribution = found.attribution.expect("when");
    assert!(attribution.after_ms.is_some() && attribution.writers.is_empty(), "{attribution:?}");
    let tellings = scene.so_far().into_iter().filter(|what| matches!(what, What::Alert(_)));
    assert_eq!(tellings.count(), 3);
}

#[test]
fn what_maintenance_does_is_expected_and_stays_so() {
    let mut scene = Scene::new();
    // A link: the program's name is that of the file it leads to.
    let sh = std::fs::canonicalize("/bin/sh").expect("a shell");
    let sh = sh.file_name().expect("a name").display().to_string();
    scene.add(&format!(
        "notify: [{{log: false}}]\npolicy: {{maintenance: [{{match: {{process: {sh}}}}}]}}\n"
    ));
    if !scene.sees_who() {
        return;
    }
    scene.change("/etc/motd", "maintained\n");
    let alert = scene.told("motd", News::Opened);
    assert_eq!(alert.discrepancy.provenance, Provenance::Expected);
    assert_eq!(alert.discrepancy.severity, Severity::Low);
    scene.restart(|_| {});
    assert_eq!(scene.check().alerts, [alert], "nothing new is known of it");
    // Within its work nobody else can have done this.
    scene.restart(|scene| scene.write("/etc/motd", "maintained twice\n"));
    let again: DriftReply = scene.check();
    assert_eq!(again.alerts[0].discrepancy.provenance, Provenance::Expected);
}
