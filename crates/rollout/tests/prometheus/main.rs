//! Analyses against a real Prometheus, which scrapes a service of this test: what is good, what is
//! bad, what nobody can say, and what nobody could look at.

mod server;
mod service;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use umbra_rollout::analysis::{About, Names, Works, measure, refusal, try_all};
use umbra_rollout::controller::{Measurement, Outcome};
use umbra_rollout::fetch::Outside;
use umbra_rollout::spec::{Analysis, parse};

use server::Server;
use service::Service;

/// Longer than anything takes here, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn queries_are_evaluated_and_judged() {
    if !Path::new(server::PROGRAM).exists() {
        println!("skipped: no {} (apt-get install prometheus)", server::PROGRAM);
        return;
    }
    let service = Service::start();
    let server = Server::start(service.port());
    let world = World::new(&server);

    // As soon as there is a rate and there are points, all others can be decided, too.
    world.becomes("success-rate-of-baseline", Outcome::Successful, "result[0] >= 0.95 holds");
    world.becomes("over-a-range", Outcome::Successful, "holds");
    for (name, outcome, words) in [
        ("success-rate-of-candidate", Outcome::Failed, "result[0] >= 0.95 does not hold"),
        ("latency-of-baseline", Outcome::Successful, "result[0] > 0.3 does not hold"),
        ("latency-of-candidate", Outcome::Failed, "result[0] > 0.3 holds"),
        ("latency-between", Outcome::Inconclusive, "neither"),
        ("all-arms", Outcome::Failed, "all(result, {# < 0.05}) does not hold"),
        ("a-scalar", Outcome::Successful, "result == 4 holds"),
        ("no-requests", Outcome::Inconclusive, "there is no value, and none is no pass"),
        ("no-series", Outcome::Inconclusive, "there is no value, and none is no pass"),
        ("no-series-is-0", Outcome::Successful, "result[0] < 5 holds"),
        ("infinite", Outcome::Failed, "does not hold"),
        ("a-text", Outcome::Error, "cannot decide"),
        ("no-query", Outcome::Error, "Prometheus: it answered 400: bad_data: "),
        ("no-pairs", Outcome::Error, "it answered 422: execution: "),
        ("nobody-there", Outcome::Error, "cannot reach Prometheus: "),
        ("somebody-else", Outcome::Error, "cannot ask Prometheus: it answered 404"),
    ] {
        let measured = world.measure(name);
        assert_eq!(measured.outcome, outcome, "{name}: {measured:?}");
        assert!(measured.message.contains(words), "{name}: {measured:?}");
    }
    assert_eq!(world.measure("no-requests").value.as_deref(), Some("[NaN]"));
    assert_eq!(world.measure("no-series").value.as_deref(), Some("[]"));
    assert_eq!(world.measure("infinite").value.as_deref(), Some("[+Inf]"));

    // A series that ends is late after a while, not good for ever.
    world.becomes("it-goes-on", Outcome::Successful, "holds");
    service.end_one();
    world.becomes("it-goes-on", Outcome::Error, "what it answers is of");

    world.becomes("canary", Outcome::Failed, "score");
    world.becomes("canary-of-equals", Outcome::Successful, "95 are needed");

    let works = world.works();
    assert!(matches!(works("success-rate-of-candidate"), Works::Yes { .. }));
    assert_eq!(works("no-series"), Works::NotYet);
    assert!(matches!(works("no-query"), Works::No { why } if why.contains("bad_data")));
    assert!(matches!(works("arm-of-nobody"), Works::No { .. }));
    drop(server);
    let gone = try_all(&world.analyses[..3], &Outside, world.about());
    assert!(refusal(&gone).is_some_and(|why| why.starts_with("no metric works: ")), "{gone:?}");
}

/// The analyses of the document, and when they began.
struct World {
    analyses: Vec<Analysis>,
    began_ms: i64,
}

impl World {
    fn new(server: &Server) -> Self {
        let text = include_str!("rollout.yaml").replace("ADDRESS", &server.address());
        let spec = parse("rollout.yaml", &text);
        let spec = spec.unwrap_or_else(|wrong| panic!("{}", wrong.render(false)));
        Self { analyses: spec.analyses, began_ms: now_ms() }
    }

    fn about(&self) -> About<'static> {
        let names = Names { service: "web", arm: "candidate", rollout: 7 };
        About { names, began_ms: self.began_ms, now_ms: now_ms() }
    }

    fn measure(&self, name: &str) -> Measurement {
        let analysis = self.analyses.iter().find(|analysis| analysis.name == name);
        measure(analysis.expect(name), &Outside, self.about())
    }

    /// Until it is so, for a bounded time.
    #[track_caller]
    fn becomes(&self, name: &str, outcome: Outcome, words: &str) {
        let began = Instant::now();
        loop {
            let measured = self.measure(name);
            if measured.outcome == outcome && measured.message.contains(words) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{name}: {measured:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn works(&self) -> impl Fn(&str) -> Works {
        let tried = try_all(&self.analyses, &Outside, self.about());
        move |name| tried.iter().find(|tried| tried.name == name).expect(name).works.clone()
    }
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_millis()).expect("not that late")
}
