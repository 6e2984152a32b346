//! A directory that is a machine, and a daemon that has it under care.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use umbra_api::client::{Client, ClientError};
use umbra_api::error::{ErrorCode, WireError};
use umbra_daemon::instance::Instance;
use umbra_daemon::primaries::Pace;
use umbra_daemon::primaries::agents::Agents;
use umbra_drift::alert::{Alert, News};
use umbra_drift::rollback::Outcome;
use umbra_drift::service::{
    AddPrimary, ConfigText, DriftReply, Event, PrimaryInfo, RollbackReply, RollbackRequest,
    Selection, What,
};

use crate::support::{Threads, client, idle, try_start_paced};

/// Two files under watch.
pub(crate) const CONFIG: &str = "
version: 2
defaults: {debounce: 10ms}
parameters:
  - {name: dns, path: /etc/resolv.conf, tolerance: 0, severity: high}
  - {name: motd, path: /etc/motd, tolerance: 0, severity: {default: low, unexplained: medium}}
";

pub(crate) struct Scene {
    pub(crate) dir: TempDir,
    agents: Arc<dyn Agents>,
    pace: Pace,
    instance: Option<Instance>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(Arc::new(Threads))
    }

    pub(crate) fn with(agents: Arc<dyn Agents>) -> Self {
        Self::paced(agents, Pace::default())
    }

    pub(crate) fn paced(agents: Arc<dyn Agents>, pace: Pace) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("root/etc")).unwrap();
        let mut scene = Self { dir, agents, pace, instance: None };
        scene.write("/etc/resolv.conf", "nameserver 192.0.2.1\n");
        scene.write("/etc/motd", "hello\n");
        scene.start();
        scene
    }

    fn start(&mut self) {
        let agents = Arc::clone(&self.agents);
        let instance = try_start_paced(self.dir.path(), Arc::default(), agents, self.pace, idle);
        self.instance = Some(instance.expect("the daemon starts"));
    }

    /// Ends the daemon in order, and does something before the next one begins.
    pub(crate) fn restart(&mut self, meanwhile: impl FnOnce(&Self)) {
        self.instance.take().unwrap().shutdown();
        meanwhile(self);
        self.start();
    }

    pub(crate) fn instance(&self) -> &Instance {
        self.instance.as_ref().unwrap()
    }

    pub(crate) fn umbra(&self) -> Client {
        client(self.instance())
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn place(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// Writes as this process does, which an agent in it does not see as a change of others.
    pub(crate) fn write(&self, path: &str, text: &str) {
        std::fs::write(self.place(path), text).unwrap();
    }

    /// Writes as another process: `sh`.
    pub(crate) fn change(&self, path: &str, text: &str) {
        let script = "printf '%s' \"$2\" > \"$1\"";
        let status =
            Command::new("sh").args(["-c", script, "sh"]).arg(self.place(path)).arg(text).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn request(&self, name: &str, config: &str) -> AddPrimary {
        AddPrimary {
            name: name.into(),
            root: Some(self.root().display().to_string()),
            remote: None,
            image: None,
            config: Some(ConfigText { path: "monitoring_config.yml".into(), text: config.into() }),
        }
    }

    pub(crate) fn try_add(&self, request: &AddPrimary) -> Result<PrimaryInfo, ClientError> {
        self.umbra().post("/v1/primaries", request)
    }

    /// The primary `web` with two files under watch, and `notify` as the file has it.
    pub(crate) fn add(&self, notify: &str) -> PrimaryInfo {
        self.try_add(&self.request("web", &format!("{CONFIG}{notify}"))).expect("added")
    }

    pub(crate) fn get<T: serde::de::DeserializeOwned>(&self, target: &str) -> T {
        self.umbra().get(&format!("/v1/primaries/web{target}")).expect("an answer")
    }

    pub(crate) fn check(&self) -> DriftReply {
        self.get("/drift?fresh=true")
    }

    /// A drift, and a rollback of it by a person that waits until it is confirmed.
    pub(crate) fn rollback_waits(&self) {
        self.change("/etc/motd", "bye\n");
        self.told("motd", News::Opened);
        let selection = Selection { parameters: vec!["motd".into()], ..Selection::default() };
        let confirm_ms = Some(600_000);
        let request = RollbackRequest { selection, confirm_ms, ..RollbackRequest::default() };
        let reply: RollbackReply =
            self.umbra().post("/v1/primaries/web/rollbacks", &request).expect("begun");
        let outcome = reply.rollback.expect("a rollback").outcome;
        assert!(matches!(outcome, Some(Outcome::Waiting { .. })), "{outcome:?}");
    }

    /// What happens, from the event of this number on; waits for what has not happened yet.
    pub(crate) fn events(&self, from: u64) -> impl Iterator<Item = Event> {
        let events = self.umbra().follow(&format!("/v1/drift/events?primary=web&from={from}"));
        events.expect("events").map(Result::unwrap)
    }

    /// All that has happened.
    pub(crate) fn so_far(&self) -> Vec<What> {
        let events = self.umbra().follow("/v1/drift/events?primary=web&from=0&follow=false");
        events.expect("events").map(|event: Result<Event, _>| event.unwrap().what).collect()
    }

    /// Waits until something has happened.
    pub(crate) fn until<T>(&self, mut is: impl FnMut(What) -> Option<T>) -> T {
        self.events(0).find_map(|event| is(event.what)).expect("it happens")
    }

    /// Waits until an alert was told.
    pub(crate) fn told(&self, parameter: &str, news: News) -> Alert {
        self.until(|what| match what {
            What::Alert(alert)
                if alert.news == news && alert.discrepancy.item.parameter == parameter =>
            {
                Some(*alert)
            }
            _ => None,
        })
    }

    /// Waits until there was a warning with these words.
    pub(crate) fn warned(&self, words: &str) -> String {
        self.until(|what| match what {
            What::Warning { sentence } if sentence.contains(words) => Some(sentence),
            _ => None,
        })
    }

    /// Waits until a number is counted.
    pub(crate) fn counted(&self, sample: &str, value: u64) {
        let line = format!("{sample} {value}");
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let page = self.umbra().scrape().expect("metrics");
            if page.lines().any(|one| one == line) {
                return;
            }
            assert!(Instant::now() < until, "{line:?} is not in\n{page}");
        }
    }

    /// Whether somebody sees who writes.
    pub(crate) fn sees_who(&self) -> bool {
        let info: PrimaryInfo = self.get("");
        let sees = info.coverage.iter().any(|covered| covered.by.starts_with("fanotify"));
        if !sees {
            println!("skipped: who writes is not seen here: {:?}", info.coverage);
        }
        sees
    }
}

#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(
    answer: Result<T, ClientError>,
    code: ErrorCode,
) -> WireError {
    match answer {
        Err(ClientError::Refused(error)) => {
            assert_eq!(error.code, code, "{error:?}");
            error
        }
        other => panic!("expected {code:?}, got {other:?}"),
    }
}
