//! Primaries whose agent is gone.

use std::io::{self, BufReader};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use umbra_api::error::ErrorCode;
use umbra_daemon::primaries::Pace;
use umbra_daemon::primaries::agents::{Agent, Agents, Leash};
use umbra_drift::alert::{Ended, News};
use umbra_drift::config::Severity;
use umbra_drift::reading::Item;
use umbra_drift::remote::Remote;
use umbra_drift::service::{DriftReply, Phase, PrimaryInfo, RollbackReply, What};

use crate::hook::Hook;
use crate::scene::{Scene, refused};
use crate::support::Threads;

/// Agents whose line can be cut, and that do not come back before they may.
#[derive(Default)]
struct Cut {
    down: Mutex<bool>,
    line: Mutex<Option<UnixStream>>,
}

impl Cut {
    fn cut(&self) {
        *self.down.lock().unwrap() = true;
        let line = self.line.lock().unwrap().take().expect("an agent");
        drop(line.shutdown(Shutdown::Both));
    }

    fn restore(&self) {
        *self.down.lock().unwrap() = false;
    }
}

impl Agents for Cut {
    fn start(&self, at: Option<&Remote>, cancelled: &AtomicBool) -> io::Result<Agent> {
        if *self.down.lock().unwrap() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let Agent { mut to, mut from, leash, .. } = Threads.start(at, cancelled)?;
        // Between daemon and agent: what both say goes through here.
        let (ours, theirs) = UnixStream::pair()?;
        *self.line.lock().unwrap() = Some(theirs.try_clone()?);
        let mut said = BufReader::new(theirs.try_clone()?);
        let speaks = std::thread::spawn(move || drop(io::copy(&mut said, &mut to)));
        let mut told = theirs;
        std::thread::spawn(move || {
            drop(io::copy(&mut from, &mut told));
            drop(told.shutdown(Shutdown::Both));
        });
        let hung_up = ours.try_clone()?;
        Ok(Agent {
            to: Box::new(ours.try_clone()?),
            from: Box::new(BufReader::new(ours)),
            leash: Arc::new(Both { hung_up, speaks: Mutex::new(Some(speaks)), leash }),
            there: None,
        })
    }
}

/// The agent, and what is between.
struct Both {
    hung_up: UnixStream,
    speaks: Mutex<Option<JoinHandle<()>>>,
    leash: Arc<dyn Leash>,
}

impl Leash for Both {
    fn end(&self, patience: Duration) {
        drop(self.hung_up.shutdown(Shutdown::Write));
        if let Some(speaks) = self.speaks.lock().unwrap().take() {
            speaks.join().expect("the line");
        }
        self.leash.end(patience);
    }

    fn complaint(&self) -> Option<String> {
        self.leash.complaint()
    }
}

#[test]
fn a_lost_agent_is_said_and_what_changed_meanwhile_is_found() {
    let cut = Arc::new(Cut::default());
    let scene = Scene::with(Arc::clone(&cut) as Arc<dyn Agents>);
    scene.add("notify: [{log: false}]\n");
    cut.cut();
    scene.until(|what| matches!(what, What::Unwatched { .. }).then_some(()));
    let answer = scene.umbra().get::<DriftReply>("/v1/primaries/web/drift?fresh=true");
    refused(answer, ErrorCode::Environment);
    let info: PrimaryInfo = scene.get("");
    assert_eq!(info.phase, Phase::Unwatched);
    assert!(info.why.is_some());
    scene.counted("umbra_primary_watched{primary=\"web\"}", 0);
    scene.change("/etc/resolv.conf", "nameserver 203.0.113.9\n");
    cut.restore();
    let alert = scene.told("dns", News::Opened);
    let attribution = alert.attribution.expect("when");
    let after_ms = attribution.after_ms.expect("since when");
    assert!(after_ms <= attribution.seen_at_ms && attribution.writers.is_empty());
    let watched = scene.so_far().into_iter().filter(|what| matches!(what, What::Watched));
    assert_eq!(watched.count(), 2, "at first, and again");
    let info: PrimaryInfo = scene.get("");
    assert_eq!((info.phase, info.why), (Phase::Watched, None));
}

#[test]
fn sinks_are_told_that_nobody_watches_and_when_somebody_does_again() {
    let (hook, cut) = (Hook::answering(204), Arc::new(Cut::default()));
    let pace = Pace { grace: Duration::ZERO, ..Pace::default() };
    let mut scene = Scene::paced(Arc::clone(&cut) as Arc<dyn Agents>, pace);
    scene.add(&format!("notify: [{{webhook: {:?}}}]\n", hook.url));
    cut.cut();
    let alert = scene.told(Item::PRIMARY, News::Opened);
    assert_eq!(alert.discrepancy.severity, Severity::High);
    let posted = hook.next();
    assert_eq!(posted.header("idempotency-key"), Some(alert.telling().as_str()));
    assert_eq!(posted.body["title"], "[high] web: the primary is not watched (opened)");
    scene.counted("umbra_drift_alerts_open{primary=\"web\",severity=\"high\"}", 1);
    let reply: DriftReply = scene.get("/drift");
    assert_eq!(reply.alerts, [], "nothing is known to differ");
    assert_eq!(reply.unknown[0].0, Item::primary());

    // The next daemon knows that it was told, and has nobody who watches either.
    scene.restart(|_| {});
    let unwatched = |what: &What| matches!(what, What::Unwatched { .. });
    let mut events = scene.events(0).filter(|event| unwatched(&event.what));
    assert!(events.nth(1).is_some(), "by either daemon");
    drop(events);
    cut.restore();
    let over = scene.told(Item::PRIMARY, News::Resolved);
    assert_eq!((&over.id, over.told, over.ended), (&alert.id, 2, Some(Ended::Watched)));
    assert_eq!(hook.next().body["ended"], "it is watched again");
    assert_eq!(scene.check().unknown, []);
}

#[test]
fn an_agent_that_is_there_again_at_once_is_told_to_no_sink() {
    let cut = Arc::new(Cut::default());
    let scene = Scene::with(Arc::clone(&cut) as Arc<dyn Agents>);
    scene.add("notify: [{log: false}]\n");
    cut.cut();
    scene.until(|what| matches!(what, What::Unwatched { .. }).then_some(()));
    cut.restore();
    let mut events = scene.events(0).filter(|event| matches!(event.what, What::Watched));
    assert!(events.nth(1).is_some(), "at first, and again");
    drop(events);
    assert!(!scene.so_far().iter().any(|what| matches!(what, What::Alert(_))));
}

#[test]
fn who_is_not_watched_is_let_go_of_unless_its_agent_knows_of_a_rollback() {
    let cut = Arc::new(Cut::default());
    let mut scene = Scene::with(Arc::clone(&cut) as Arc<dyn Agents>);
    scene.add("notify: [{log: false}]\n");
    scene.rollback_waits();
    // The next daemon has nobody who could tell it of the rollback.
    scene.restart(|_| *cut.down.lock().unwrap() = true);
    let let_go = || scene.umbra().delete("/v1/primaries/web".into());
    refused(let_go(), ErrorCode::Environment);
    cut.restore();
    refused(let_go(), ErrorCode::Conflict);
    let journal = scene.dir.path().join("state/agents/web/rollbacks/r1/log");
    assert!(journal.exists(), "what undoes it is there");
    scene.check();
    let _: RollbackReply = scene.umbra().post("/v1/primaries/web/confirm", &()).unwrap();
    let_go().unwrap();
    assert!(!journal.exists());
}

#[test]
fn who_never_was_watched_is_not_added() {
    let cut = Arc::new(Cut::default());
    *cut.down.lock().unwrap() = true;
    let scene = Scene::with(Arc::clone(&cut) as Arc<dyn Agents>);
    let request = scene.request("web", crate::scene::CONFIG);
    refused(scene.try_add(&request), ErrorCode::Environment);
    assert!(scene.umbra().get::<Vec<PrimaryInfo>>("/v1/primaries").unwrap().is_empty());
    cut.restore();
    assert_eq!(scene.try_add(&request).unwrap().phase, Phase::Watched);
}

/// Agents that say only this, and listen to nothing.
struct Says(&'static str);

struct NoLeash;

impl Leash for NoLeash {
    fn end(&self, _: Duration) {}

    fn complaint(&self) -> Option<String> {
        Some("a complaint".to_owned())
    }
}

impl Agents for Says {
    fn start(&self, _: Option<&Remote>, _: &AtomicBool) -> io::Result<Agent> {
        let (to, from) = (Box::new(io::sink()), Box::new(self.0.as_bytes()));
        Ok(Agent { to, from, leash: Arc::new(NoLeash), there: None })
    }
}

#[test]
fn what_an_agent_must_not_say_is_refused_with_the_reason() {
    #[track_caller]
    fn check(says: &'static str, words: &str) {
        let scene = Scene::with(Arc::new(Says(says)));
        let answer = scene.try_add(&scene.request("web", crate::scene::CONFIG));
        let error = refused(answer, ErrorCode::Environment);
        assert!(error.message.contains(words), "{}", error.message);
    }
    let all = "{\"tell\":\"all\",\"number\":null,\"readings\":\
        [[{\"parameter\":\"other\"},\"absent\"]],\"last\":true}\n";
    check(all, "a parameter that it was not told to read");
    check("{\"tell\":\"all\"}\n", "not understood: missing field");
    check("hello\n", "not understood");
    check("{\"tell\":\"refused\",\"why\":\"of this\"}\n", "of this");
    check("{\"tell\":", "its agent has ended: a complaint");
    check("", "its agent has ended: a complaint");
}
