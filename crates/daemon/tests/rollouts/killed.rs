//! Daemons that are killed in the middle, at points at which their database changes.

use umbra_api::rollout::{Happened, RolloutPhase, RolloutStatus, Told};

use crate::place::Place;
use crate::server::Manner;

/// All of them.
pub(crate) const ALL: [(&str, fn()); 4] = [
    ("a_daemon_is_killed_and_goes_on", a_daemon_is_killed_and_goes_on),
    ("a_worse_candidate_is_taken_back_without_a_daemon", taken_back_without_a_daemon),
    ("killed_at_points_of_a_promotion", killed_at_points_of_a_promotion),
    ("killed_at_points_of_a_rollback", killed_at_points_of_a_rollback),
];

/// Set to try every point.
const EVERY_POINT: &str = "UMBRA_CRASH_EVERY_POINT";
/// How many points a trial tries otherwise.
const SOME: usize = 8;

const STEPS: &str = "steps: [setWeight: 20, setWeight: 50, setWeight: 100]
hold: {for: 100ms, requests: 20}";
const SLOW: &str = "steps: [setWeight: 10, setWeight: 100]
hold: {for: 1m, requests: 5000}";

fn a_daemon_is_killed_and_goes_on() {
    let mut place = Place::new();
    let one = place.image("one", Manner::Good);
    let load = place.load("/");
    place.start(
        "web",
        "one",
        "steps: [setWeight: 20, pause: {}, setWeight: 100]
hold: {for: 100ms, requests: 20}",
    );
    place.until(1, "it waits", |status| status.phase == RolloutPhase::Paused);
    place.kill_daemon();
    let without = load.so_far().of("one");
    place.start_daemon(0);
    let again = place.until(1, "it is seen again", |status| status.judged.is_some());
    assert_eq!((again.phase, again.weight_percent), (RolloutPhase::Paused, 20.0), "{again:#?}");
    place.until(1, "users got to it meanwhile", |_| load.so_far().of("one") > without);
    let notes = place.client().health().expect("well").start_notes;
    assert!(notes.iter().any(|note| note.contains("rollout 1 of web goes on")), "{notes:?}");
    // One that ends in order lets go of it as well.
    place.stop_daemon().expect("it ends");
    place.start_daemon(0);
    place.tell(1, Told::PromoteFull);
    place.ends(1, RolloutPhase::Successful);
    assert_eq!(place.keeper.states(), [one]);
    assert_eq!(load.stop().bad(), 0);
}

fn taken_back_without_a_daemon() {
    let mut place = Place::new();
    place.image("bad", Manner::FailsEvery(2));
    place.start("web", "bad", SLOW);
    place.until(1, "users may get to it", |status| status.weight_percent == 10.0);
    place.kill_daemon();
    let load = place.load("/");
    // The gateway needs nobody for that.
    let deadline = std::time::Instant::now() + crate::place::PATIENCE;
    loop {
        let then = load.so_far().of("bad");
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = load.so_far();
        if then > 0 && now.of("bad") == then && now.of("production") > 100 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{now:?}");
    }
    place.start_daemon(0);
    let ended = place.ends(1, RolloutPhase::Failed);
    assert!(ended.rolled_back.is_some_and(|back| back.judged));
    assert!(place.keeper.states().is_empty());
}

fn killed_at_points_of_a_promotion() {
    let mut place = Place::new();
    let images = [place.image("one", Manner::Good), place.image("two", Manner::Good)];
    let names = ["one", "two"];
    let load = place.load("/");
    let passed = undisturbed(&mut place, names[0], STEPS, RolloutPhase::Successful);
    let mut points = Points::among(passed);
    while let Some(point) = points.next() {
        let which = points.tried % 2;
        let life = killed_at(&mut place, point, names[which], STEPS, RolloutPhase::Successful);
        points.learn(life);
        assert_eq!(place.keeper.states(), [images[which]], "at point {point}");
        let service = place.service("web").expect("a service");
        assert_eq!(service.now.state, Some(images[which]), "at point {point}");
        assert_eq!(service.now.targets, place.leads_to("web"), "at point {point}");
    }
    points.enough(2);
    assert_eq!(load.stop().bad(), 0);
}

fn killed_at_points_of_a_rollback() {
    let mut place = Place::new();
    let good = place.image("good", Manner::Good);
    place.image("bad", Manner::FailsEvery(2));
    let load = place.load("/");
    undisturbed(&mut place, "good", STEPS, RolloutPhase::Successful);
    let mut points = Points::among(undisturbed(&mut place, "bad", SLOW, RolloutPhase::Failed));
    while let Some(point) = points.next() {
        points.learn(killed_at(&mut place, point, "bad", SLOW, RolloutPhase::Failed));
        assert_eq!(place.keeper.states(), [good], "at point {point}");
        assert_eq!(place.service("web").expect("a service").now.state, Some(good));
        let last = place.client().rollouts(1).expect("listed").pop().expect("a rollout");
        place.alerted_of(last.id, "rolled_back");
    }
    // It takes more or less time, and so points, until it is found to be worse.
    points.enough(4);
    drop(load);
}

/// A daemon's life with one rollout; how many points it passes.
fn undisturbed(place: &mut Place, image: &str, lines: &str, phase: RolloutPhase) -> usize {
    place.stop_daemon().expect("nothing kills it");
    place.start_daemon(0);
    let id = place.start("web", image, lines).id;
    place.ends(id, phase);
    let points = place.stop_daemon().expect("nothing kills it");
    place.start_daemon(0);
    points
}

/// A daemon that dies at `point` of a rollout, and what its successor makes of that.
fn killed_at(
    place: &mut Place,
    point: usize,
    image: &str,
    lines: &str,
    phase: RolloutPhase,
) -> Life {
    place.stop_daemon().expect("nothing kills it");
    let mut told: Vec<umbra_api::rollout::RolloutEvent> = Vec::new();
    let mut begun: Option<RolloutStatus> = None;
    if place.start_daemon(point) {
        begun = place.client().start_rollout(&place.request("web", image, lines)).ok();
        if let Some(begun) = &begun {
            let events = place.client().rollout_events(begun.id, 0);
            told = events.into_iter().flatten().map_while(Result::ok).collect();
        }
    }
    let life = place.stop_daemon().map_or(Life::Died, Life::Passed);
    // Its successor may die as well, while it takes up what it finds.
    place.start_daemon(point % 3 + 1);
    place.kill_daemon();
    place.start_daemon(0);
    let last = place.client().rollouts(1).expect("listed").pop();
    // What was begun and not told may be gone; what was told never is.
    let is_known = |begun: &RolloutStatus| last.as_ref().is_some_and(|last| last.id == begun.id);
    assert!(begun.as_ref().is_none_or(is_known), "{begun:?} was told, {last:?} is kept");
    let id = match last.filter(|last| {
        last.state == place.client().state(image).ok().map(|one| one.state)
            && begun.as_ref().is_none_or(|begun| begun.id == last.id)
    }) {
        Some(last) if begun.is_some() || !last.phase.is_over() => last.id,
        _ => place.start("web", image, lines).id,
    };
    place.ends(id, phase);
    let events = place.events(id);
    for one in told.iter().filter(|one| !matches!(one.what, Happened::Standing { .. })) {
        assert!(
            begun.as_ref().is_none_or(|begun| begun.id != id) || events.contains(one),
            "{one:?} was told at point {point}, and is forgotten"
        );
    }
    life
}

/// What became of a daemon that was to die.
enum Life {
    Died,
    /// It had no such point, only so many.
    Passed(usize),
}

/// The points to try: all, or some from the first to the last.
struct Points {
    /// As many as every life so far had: a slow machine has more of them than a fast one.
    all: usize,
    count: usize,
    tried: usize,
    died: usize,
}

impl Points {
    fn among(all: usize) -> Self {
        let every = std::env::var_os(EVERY_POINT).is_some();
        Self { all, count: if every { all } else { SOME.min(all) }, tried: 0, died: 0 }
    }

    fn next(&mut self) -> Option<usize> {
        let at = self.tried;
        self.tried += 1;
        (at < self.count).then(|| 1 + at * (self.all - 1) / (self.count - 1).max(1))
    }

    fn learn(&mut self, life: Life) {
        match life {
            Life::Died => self.died += 1,
            Life::Passed(points) => self.all = self.all.min(points.max(1)),
        }
    }

    /// One of `every` tries at least was one.
    #[track_caller]
    fn enough(&self, every: usize) {
        println!("{} points: {} of {} died", self.all, self.died, self.count);
        assert!(self.died * every >= self.count, "{} of {}", self.died, self.count);
    }
}
