//! What stops a rollback before anything has changed.

use std::fs;
use std::os::unix::fs::symlink;

use libtest_mimic::Trial;
use umbra_drift::rollback::timer::{Order, Timer, TimerError};
use umbra_drift::rollback::{Finished, Outcome};

use crate::support::{Mounted, PackageManager, WHOLE, World, same};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("refusals::somebody_was_quicker", raced),
        trial("refusals::no_space", no_space),
        trial("refusals::read_only", read_only),
        trial("refusals::a_link_leads_out", link_out),
        trial("refusals::a_package_manager_is_at_work", packages),
        trial("refusals::what_is_in_a_directory_would_be_lost", full_directory),
        trial("refusals::nobody_would_undo_it", no_timer),
    ]
}

#[track_caller]
fn refused(finished: &Finished, expected: &str) {
    let Outcome::Refused { why } = &finished.outcome else { panic!("{:?}", finished.outcome) };
    assert!(why.contains(expected), "{why}");
}

fn raced() {
    let world = World::new(WHOLE);
    for name in ["a", "b", "c"] {
        world.write(name, "good\n");
    }
    let good = world.snapshot();
    for name in ["a", "b", "c"] {
        world.write(name, "bad\n");
    }
    let plan = world.plan(&good);
    world.write("b", "an administrator's\n");
    let raced = world.snapshot();
    refused(&world.begin(plan, world.options()), "etc/b is not what it was");
    same(&world.snapshot(), &raced, "refused");
}

fn no_space() {
    let keep = tempfile::tempdir().expect("directory");
    let base = keep.path().canonicalize().expect("path");
    fs::create_dir(base.join("root")).expect("root");
    let _mount = Mounted::tmpfs(&base.join("root"), "size=256k");
    let world = World::at(keep, base, WHOLE);
    world.write("small", "good\n");
    world.write("large", &"good\n".repeat(30_000));
    let good = world.snapshot();
    world.write("small", "bad\n");
    world.write("large", &"bad\n".repeat(40_000));
    let bad = world.snapshot();
    refused(&world.begin(world.plan(&good), world.options()), "No space left");
    same(&world.snapshot(), &bad, "refused");
}

fn read_only() {
    let world = World::new(WHOLE);
    world.write("a", "good\n");
    world.write("ro/b", "good\n");
    let good = world.snapshot();
    world.write("a", "bad\n");
    world.write("ro/b", "bad\n");
    let bad = world.snapshot();
    let _mount = Mounted::bind(&world.path("ro"), &world.path("ro")).read_only();
    refused(&world.begin(world.plan(&good), world.options()), "its filesystem is read-only");
    same(&world.snapshot(), &bad, "refused");
}

fn link_out() {
    let world = World::new(WHOLE);
    world.write("dir/file", "good\n");
    let good = world.snapshot();
    world.write("dir/file", "bad\n");
    let plan = world.plan(&good);
    // A directory is swapped for a link to one outside with the very file that is expected.
    let outside = world.base.join("outside");
    fs::rename(world.path("dir"), &outside).expect("moved");
    symlink(&outside, world.path("dir")).expect("linked");
    refused(&world.begin(plan, world.options()), "a link leads to it");
    assert_eq!(fs::read_to_string(outside.join("file")).expect("text"), "bad\n");
    assert_eq!(fs::read_dir(&outside).expect("directory").count(), 1);
}

fn packages() {
    let world = World::new(WHOLE);
    world.write("a", "good\n");
    let good = world.snapshot();
    world.write("a", "bad\n");
    fs::create_dir_all(world.root.join("var/lib/dpkg")).expect("directory");
    let lock = world.root.join("var/lib/dpkg/lock-frontend");
    fs::write(&lock, "").expect("written");
    let holder = PackageManager::new(&lock);
    let plan = world.plan(&good);
    refused(&world.begin(plan.clone(), world.options()), "dpkg is at work");
    let mut options = world.options();
    (options.id, options.ignore_packages) = ("forced".to_owned(), true);
    assert_eq!(world.begin(plan, options).outcome, Outcome::Done);
    drop(holder);
    world.write("a", "bad\n");
    let mut options = world.options();
    options.id = "after".to_owned();
    assert_eq!(world.begin(world.plan(&good), options).outcome, Outcome::Done);
}

fn full_directory() {
    let world = World::new(WHOLE);
    let good = world.snapshot();
    world.write("appeared/known", "x\n");
    let plan = world.plan(&good);
    world.write("appeared/precious", "y\n");
    let before = world.snapshot();
    let finished = world.begin(plan, world.options());
    refused(&finished, "precious is in it and would be lost");
    same(&world.snapshot(), &before, "refused");
}

struct Broken;

impl Timer for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn arm(&self, _order: &Order) -> Result<(), TimerError> {
        Err(TimerError::Refused { said: "no".to_owned() })
    }

    fn disarm(&self, _id: &str, _journal: &std::path::Path) -> Result<(), TimerError> {
        Ok(())
    }
}

fn no_timer() {
    let world = World::new(WHOLE);
    world.write("a", "good\n");
    let good = world.snapshot();
    world.write("a", "bad\n");
    let bad = world.snapshot();
    let finished = world.begin_with(world.plan(&good), world.options(), &Broken);
    refused(&finished, "have the service manager undo the rollback");
    same(&world.snapshot(), &bad, "refused");
}
