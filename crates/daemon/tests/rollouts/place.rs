//! A directory with a gateway, a daemon and instances, and what must hold there.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use umbra_api::build::{BuildEvent, BuildRequest};
use umbra_api::client::{Client, ClientError};
use umbra_api::error::WireError;
use umbra_api::rollout::{
    Candidate, Happened, RolloutEvent, RolloutPhase, RolloutStatus, ServiceInfo, StartRollout, Told,
};
use umbra_gateway::control::RouteStatus;
use umbra_gateway::routes::RoutesSetup;
use umbra_gateway::routes::setup::{RouteSetup, TargetSetup};
use umbra_state::StateId;

use crate::roles::{config, control, keeper};
use crate::server::{Keeper, Load, Manner, Server};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
pub(crate) struct Place {
    // Before what they ask.
    daemon: Option<Process>,
    gateway: Option<Process>,
    pub(crate) at: SocketAddr,
    pub(crate) keeper: Keeper,
    /// What is in production before anything is rolled out.
    pub(crate) production: Server,
    dir: tempfile::TempDir,
}

impl Place {
    /// With routes `web` and `shop`, the first of which leads to production.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let keeper = Keeper::start(&keeper(dir.path()));
        let production = Server::start("production", Manner::Good);
        write_routes(dir.path(), &production);
        let (gateway, at) = start_gateway(dir.path(), "127.0.0.1:0");
        let (daemon, gateway) = (None, Some(gateway));
        let mut place = Self { daemon, gateway, at, keeper, production, dir };
        place.start_daemon(0);
        place
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(config(self.dir()).socket)
    }

    /// A daemon that dies at `point`; whether it came to serve.
    pub(crate) fn start_daemon(&mut self, point: usize) -> bool {
        let mut daemon = Process::start(&["daemon", &self.path(), &point.to_string()]);
        let serves = daemon.line().as_deref() == Some("ready");
        self.daemon = Some(daemon);
        serves
    }

    /// Ends the daemon in order; how many points it passed, or `None` where it was dead.
    pub(crate) fn stop_daemon(&mut self) -> Option<usize> {
        let mut daemon = self.daemon.take().expect("a daemon");
        drop(daemon.child.stdin.take());
        let passed = daemon.line().and_then(|line| line.parse().ok());
        daemon.child.wait().expect("waited for");
        passed
    }

    /// Kills the daemon.
    pub(crate) fn kill_daemon(&mut self) {
        self.daemon = None;
    }

    /// Kills the gateway, and starts another at the same address.
    pub(crate) fn kill_gateway(&mut self) {
        self.gateway = None;
        self.start_gateway();
    }

    pub(crate) fn stop_gateway(&mut self) {
        self.gateway = None;
    }

    pub(crate) fn start_gateway(&mut self) {
        let (gateway, at) = start_gateway(self.dir(), &self.at.to_string());
        assert_eq!(at, self.at);
        self.gateway = Some(gateway);
    }

    /// A gateway that begins anew knows where the route led, and of no split of it. Whether there
    /// was one.
    pub(crate) fn forget_split(&self, route: &str) -> bool {
        let socket = control(self.dir());
        let path = socket.with_file_name("splits").join(format!("{route}.json"));
        let kept = fs::read(&path).expect("what a gateway kept");
        let mut kept: serde_json::Value = serde_json::from_slice(&kept).expect("JSON");
        let had = kept["split"].take().is_object();
        fs::write(&path, kept.to_string()).expect("written");
        had
    }

    fn path(&self) -> String {
        self.dir().display().to_string()
    }

    /// Clients who ask for what is of a route.
    pub(crate) fn load(&self, path: &str) -> Load {
        Load::start(self.at, path, 4, Duration::from_millis(2))
    }

    /// An image, and how its instances answer.
    pub(crate) fn image(&self, name: &str, manner: Manner) -> StateId {
        let path = self.dir().join(format!("{name}.yaml"));
        let text = format!(
            "version: 1\nname: {name}\nfrom: {{dir: .}}\nsteps:\n  - {{name: one, write: {{path: /x, content: {name}}}}}\n"
        );
        fs::write(&path, text).expect("a recipe");
        let request = BuildRequest {
            recipe: path.display().to_string(),
            vars: Vec::new(),
            until: None,
            no_cache: false,
            on_error: None,
        };
        let umbra = self.client();
        let build = umbra.start_build(&request).expect("started").id;
        let events: Vec<BuildEvent> = umbra
            .events(build, 0)
            .expect("followed")
            .map(|event| event.expect("an event"))
            .collect();
        assert!(!events.is_empty());
        let images = umbra.images().expect("listed");
        let image = images.into_iter().find(|image| image.name == name).expect("an image");
        self.keeper.teach(image.state, name, manner);
        image.state
    }

    /// A document for a service, of these lines.
    pub(crate) fn document(&self, service: &str, lines: &str) -> PathBuf {
        let path = self.dir().join(format!("{service}-rollout.yaml"));
        let alerts = self.dir().join("alerts.jsonl");
        let text = format!(
            "service: {service}\ninstances: {{health: {{path: /healthz, every: 20ms, within: 3s}}, \
             warm_up: {{requests: 5}}, drain: 2s}}\njudge: {{latency: false}}\nnotify: [{{jsonl: \
             {}}}]\n{lines}\n",
            alerts.display()
        );
        fs::write(&path, text).expect("a document");
        path
    }

    pub(crate) fn request(&self, service: &str, image: &str, lines: &str) -> StartRollout {
        StartRollout {
            service: service.to_owned(),
            candidate: Candidate::Image(image.to_owned()),
            file: Some(self.document(service, lines)),
            gateway: Some(control(self.dir())),
        }
    }

    pub(crate) fn start(&self, service: &str, image: &str, lines: &str) -> RolloutStatus {
        let started = self.client().start_rollout(&self.request(service, image, lines));
        started.unwrap_or_else(|error| panic!("{}", umbra_state::chain(&error)))
    }

    pub(crate) fn refused(&self, request: &StartRollout) -> WireError {
        refusal(self.client().start_rollout(request))
    }

    pub(crate) fn tell(&self, id: u64, told: Told) -> RolloutStatus {
        self.client().tell_rollout(id, told).unwrap_or_else(|error| panic!("{error:?}"))
    }

    pub(crate) fn status(&self, id: u64) -> RolloutStatus {
        self.client().rollout(&id.to_string()).expect("a rollout")
    }

    /// Waits until a rollout is so.
    #[track_caller]
    pub(crate) fn until(
        &self,
        id: u64,
        what: &str,
        is_so: impl Fn(&RolloutStatus) -> bool,
    ) -> RolloutStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status(id);
            if is_so(&status) {
                return status;
            }
            let over = status.phase.is_over();
            assert!(!over && Instant::now() < deadline, "until {what}: {status:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for a rollout's end.
    #[track_caller]
    pub(crate) fn ends(&self, id: u64, phase: RolloutPhase) -> RolloutStatus {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            let status = self.status(id);
            if status.phase.is_over() {
                break status;
            }
            assert!(Instant::now() < deadline, "until it ends: {status:#?}\n{:#?}", self.told(id));
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(status.phase, phase, "{}: {:#?}", status.reason, self.told(id));
        status
    }

    /// All that is told of a rollout, in order.
    pub(crate) fn events(&self, id: u64) -> Vec<RolloutEvent> {
        let events = self.client().rollout_events_so_far(id).expect("followed");
        let events: Vec<RolloutEvent> = events.map(|event| event.expect("an event")).collect();
        assert!(events.is_sorted_by(|a, b| a.seq < b.seq), "{events:#?}");
        events
    }

    /// The same without how everything stood, shortly.
    pub(crate) fn told(&self, id: u64) -> Vec<String> {
        let told = self.events(id).into_iter().filter_map(|event| match event.what {
            Happened::Standing { .. } => None,
            what => serde_json::to_string(&what).ok(),
        });
        told.collect()
    }

    pub(crate) fn service(&self, name: &str) -> Option<ServiceInfo> {
        let all: Vec<ServiceInfo> = self.client().get("/v1/services").expect("listed");
        all.into_iter().find(|service| service.name == name)
    }

    /// Where a route leads.
    pub(crate) fn leads_to(&self, route: &str) -> Vec<String> {
        let gateway = Client::new(control(self.dir()));
        let all: Vec<RouteStatus> = gateway.get("/v1/routes/status").expect("routes");
        let route = all.into_iter().find(|one| one.name == route).expect("a route");
        route.targets.into_iter().map(|target| target.to).collect()
    }

    /// Whether the gateway splits a route.
    pub(crate) fn is_split(&self, route: &str) -> bool {
        let gateway = Client::new(control(self.dir()));
        gateway.get::<serde_json::Value>(&format!("/v1/splits/{route}")).is_ok()
    }

    /// What people were told; waits until `news` is among it.
    #[track_caller]
    pub(crate) fn alerted(&self, news: &str) -> Vec<serde_json::Value> {
        self.alerted_where(news, |_| true)
    }

    /// The same of one rollout.
    #[track_caller]
    pub(crate) fn alerted_of(&self, id: u64, news: &str) {
        let prefix = format!("rollout/{id}/");
        let is_of = |alert: &serde_json::Value| {
            alert["event"]["id"].as_str().is_some_and(|id| id.starts_with(&prefix))
        };
        self.alerted_where(news, is_of);
    }

    #[track_caller]
    fn alerted_where(
        &self,
        news: &str,
        is_meant: impl Fn(&serde_json::Value) -> bool,
    ) -> Vec<serde_json::Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(self.dir().join("alerts.jsonl")).unwrap_or_default();
            let all = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            let all: Vec<serde_json::Value> = all.collect();
            let action = format!("rollout-{news}");
            let is_it = |alert: &serde_json::Value| {
                alert["event"]["action"] == action.as_str() && is_meant(alert)
            };
            if all.iter().any(is_it) {
                return all;
            }
            assert!(Instant::now() < deadline, "nobody was told {news}: {text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What a daemon said instead of doing as asked.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(done: Result<T, ClientError>) -> WireError {
    match done {
        Err(ClientError::Refused(error)) => error,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

fn write_routes(dir: &Path, production: &Server) {
    let route = |name: &str, path: Option<&str>, targets| RouteSetup {
        name: name.to_owned(),
        hosts: Vec::new(),
        path: path.map(str::to_owned),
        methods: Vec::new(),
        headers: Vec::new(),
        targets,
        sticky: None,
        health: None,
        eject: None,
        answer_time_ms: None,
    };
    let to = production.at.to_string();
    let target = || TargetSetup { to: to.clone(), weight: 1.0, send_proxy: None };
    let routes = vec![
        route("shop", Some("/shop"), vec![target()]),
        route("new", Some("/new"), Vec::new()),
        route("web", None, vec![target()]),
    ];
    let text = serde_json::to_string(&RoutesSetup { routes, secret: None }).expect("JSON");
    fs::write(dir.join("routes.json"), text).expect("written");
}

fn start_gateway(dir: &Path, listen: &str) -> (Process, SocketAddr) {
    let mut gateway = Process::start(&["gateway", &dir.display().to_string(), listen]);
    let line = gateway.line().expect("a gateway that says where it listens");
    let at = line.strip_prefix("ready ").and_then(|at| at.parse().ok());
    (gateway, at.expect("an address"))
}

/// This program in another role. Killed and waited for when dropped.
struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(words: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("own path"))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, output }
    }

    /// What it says next; `None` where it is gone.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line).expect("its output");
        (read > 0).then(|| line.trim_end().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
