//! A small step's end to a test process on a shadow that has its delta.

use std::fs;
use std::path::Path;
use std::process::{Command as Program, Stdio};
use std::time::{Duration, Instant};

use umbra_shadow::Shadow;
use umbra_shadow::provider::Limits;
use umbra_shadow::sandbox::{Finished, WorkshopSpec};
use umbra_state::Command;
use umbra_store::overlay::{Layers, settle_links};

use crate::Failure;
use crate::place::{Known, Place, must_run};
use crate::stats::{Samples, ms, print_ratio};
use crate::{traced, tree};

const ROUNDS: usize = 200;
const RSYNC_ROUNDS: usize = 15;

/// `step`: the small step, and rsync on the same pair of trees.
pub(crate) fn small_step() -> Result<(), Failure> {
    let place = Place::new()?;
    let root = place.path("root");
    tree::make(&root, tree::ENTRIES)?;
    let known = place.ingest(&root)?;
    println!("  {} entries, step of {} files", known.tree.entry_count(), tree::STEP_FILES);
    let ours = deliveries(&place, &known, ROUNDS)?;
    let (p50, p99) = (Duration::from_millis(10), Duration::from_millis(30));
    ours.print("step's last process ends -> a test has seen the delta", Some(p50), Some(p99));
    let theirs = rsync(&place, &root)?;
    theirs.print("rsync -aHAX --delete, the same change", None, None);
    let ratio = theirs.p50().as_secs_f64() / ours.p50().as_secs_f64();
    print_ratio("rsync / umbra", ratio, ratio >= 30.0, ">= 30x");
    Ok(())
}

/// `tree`: ten times the entries must not matter, and nothing unchanged may be touched.
pub(crate) fn ten_times_the_tree() -> Result<(), Failure> {
    let trees = [tree::ENTRIES, 10 * tree::ENTRIES].map(|entries| {
        let place = Place::new()?;
        let root = place.path("root");
        tree::make(&root, entries)?;
        let known = place.ingest(&root)?;
        Ok::<_, Failure>((place, known))
    });
    let trees = trees.into_iter().collect::<Result<Vec<_>, _>>()?;
    let followers = trees.iter().map(|(place, known)| Follower::new(place, known));
    let mut followers = followers.collect::<Result<Vec<_>, _>>()?;
    // In turns, so that a slow minute hits both.
    for round in 0..ROUNDS {
        for follower in &mut followers {
            follower.follow(round)?;
        }
    }
    for Follower { known, samples, .. } in &followers {
        samples.print(&format!("{} entries", known.tree.entry_count()), None, None);
    }
    let middle = |follower: &Follower<'_>| follower.samples.p50().as_secs_f64();
    let ratio = middle(&followers[1]) / middle(&followers[0]);
    print_ratio("ten times the entries / one time", ratio, ratio <= 1.1, "<= 1.10x");
    drop(followers);
    traced::count()
}

/// Runs the step `rounds` times, each on the same state, and brings each delta to one shadow.
fn deliveries(place: &Place, known: &Known, rounds: usize) -> Result<Samples, Failure> {
    let mut follower = Follower::new(place, known)?;
    for round in 0..rounds {
        follower.follow(round)?;
    }
    Ok(follower.samples)
}

/// A shadow that gets one step's delta after the other.
struct Follower<'a> {
    place: &'a Place,
    known: &'a Known,
    shadow: Box<dyn Shadow>,
    samples: Samples,
}

/// The first rounds fill caches.
const WARM_UP: usize = 5;

impl<'a> Follower<'a> {
    fn new(place: &'a Place, known: &'a Known) -> Result<Self, Failure> {
        let shadow = place.shadow("follower", &known.layers)?;
        for round in 0..WARM_UP {
            deliver(place, known, &*shadow, round)?;
        }
        Ok(Self { place, known, shadow, samples: Samples::default() })
    }

    fn follow(&mut self, round: usize) -> Result<(), Failure> {
        self.samples.add(deliver(self.place, self.known, &*self.shadow, round)?);
        Ok(())
    }
}

/// One step and its delivery. The clock runs from the moment the step's last process has ended
/// until a process in the shadow has looked at the delta and ended.
fn deliver(
    place: &Place,
    known: &Known,
    shadow: &dyn Shadow,
    round: usize,
) -> Result<Duration, Failure> {
    let stepped = Stepped::run(place, known, round, tree::STEP)?;
    let ended = stepped.ended;
    let layers = stepped.settle(known)?;
    shadow.apply(&layers)?;
    must_run(shadow, &["test", "-f", tree::STEP_PROOF])?;
    let took = ended.elapsed();
    // The shadow must not have the directory mounted when it goes.
    shadow.apply(&known.layers)?;
    fs::remove_dir_all(place.path(&format!("step-{round}")))?;
    Ok(took)
}

/// A step whose processes have ended.
pub(crate) struct Stepped {
    finished: Finished,
    /// When that was known; taking the workshop down comes after.
    ended: Instant,
}

impl Stepped {
    pub(crate) fn run(
        place: &Place,
        known: &Known,
        round: usize,
        script: &str,
    ) -> Result<Self, Failure> {
        let workshop = place.provider.workshop(&WorkshopSpec {
            name: format!("step-{round}"),
            limits: Limits::default(),
            network: false,
        })?;
        let stage = workshop.stage(&known.layers, &place.path(&format!("step-{round}")), &[])?;
        let output = stage.run(&Command::shell(script), &|_| {})?;
        if !output.exit.success() {
            return Err(format!("the step ended with {}", output.exit).into());
        }
        let ended = Instant::now();
        Ok(Self { finished: stage.finish()?, ended })
    }

    /// What a build does between a step's end and its shadows: hard links, then the next root.
    pub(crate) fn settle(self, known: &Known) -> Result<Layers, Failure> {
        let Finished { root, upper, work } = self.finished;
        settle_links(&root, &work, || known.tree.clone())?;
        Ok(known.layers.with_upper(upper))
    }
}

/// Brings a copy of the tree up to date as rsync does, each time from the tree before the step.
fn rsync(place: &Place, before: &Path) -> Result<Samples, Failure> {
    let (after, copy) = (place.path("after"), place.path("copy"));
    for dir in [&after, &copy] {
        run_rsync(before, dir)?;
    }
    for number in 0..tree::STEP_FILES {
        let name = format!("file-{number}");
        fs::copy(after.join("payload").join(&name), after.join("srv/app").join(&name))?;
    }
    let mut samples = Samples::default();
    for _ in 0..RSYNC_ROUNDS {
        let began = Instant::now();
        run_rsync(&after, &copy)?;
        samples.add(began.elapsed());
        run_rsync(before, &copy)?;
    }
    let changed = copy.join(&tree::STEP_PROOF[1..]).exists();
    if changed {
        return Err(format!("rsync left the change there (p50 {})", ms(samples.p50())).into());
    }
    Ok(samples)
}

fn run_rsync(from: &Path, to: &Path) -> Result<(), Failure> {
    let mut source = from.as_os_str().to_owned();
    source.push("/");
    let status = Program::new("rsync")
        .args(["-aHAX", "--delete"])
        .args([source.as_os_str(), to.as_os_str()])
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("rsync does not start ({error}): apt-get install rsync"))?;
    if status.success() { Ok(()) } else { Err(format!("rsync: {status}").into()) }
}
