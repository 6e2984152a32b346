//! Killed at every point, and again while it recovers: the tree is old or new, never mixed,
//! and what was displaced can be had.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;

use libtest_mimic::Trial;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use umbra_drift::reading::{Content, Snapshot};
use umbra_drift::rollback::timer::Manual;
use umbra_drift::rollback::{Outcome, Rollbacks};

use crate::support::{Mounted, WHOLE, World, same};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("crash::killed_at_every_point", || killed_at_every_point(&ext4)),
        trial("crash::killed_at_every_point_on_tmpfs", || killed_at_every_point(&tmpfs)),
        trial("crash::killed_while_it_recovers", killed_while_it_recovers),
    ]
}

type Make = dyn Fn() -> (World, Option<Mounted>);

fn ext4() -> (World, Option<Mounted>) {
    (World::new(WHOLE), None)
}

fn tmpfs() -> (World, Option<Mounted>) {
    let keep = tempfile::tempdir().expect("directory");
    let base = keep.path().canonicalize().expect("path");
    let mount = Mounted::tmpfs(&base, "size=16m");
    (World::at(keep, base, WHOLE), Some(mount))
}

/// A tree with everything that can differ, before and after.
pub(crate) fn drift(world: &World) -> (Snapshot, Snapshot) {
    world.write("changed.conf", "good\n");
    world.write("vanished/deep/file.conf", "kept\n");
    world.write("mode.conf", "same\n");
    world.write("becomes-a-link", "a file\n");
    world.write("held/alive", "yes\n");
    symlink("changed.conf", world.path("link")).expect("linked");
    mknodat(CWD, world.path("pipe"), FileType::Fifo, Mode::from_raw_mode(0o620), 0).expect("pipe");
    let good = world.snapshot();

    world.write("changed.conf", "bad\n");
    fs::remove_dir_all(world.path("vanished")).expect("removed");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    fs::set_permissions(world.path("mode.conf"), mode).expect("mode");
    fs::remove_file(world.path("becomes-a-link")).expect("removed");
    symlink("/etc/passwd", world.path("becomes-a-link")).expect("linked");
    fs::remove_file(world.path("link")).expect("removed");
    symlink("/somewhere/else", world.path("link")).expect("linked");
    fs::remove_file(world.path("pipe")).expect("removed");
    world.write("appeared.conf", "intruder\n");
    world.write("appeared/deep/file", "intruder too\n");
    world.write("held/appeared", "intruder three\n");
    (good, world.snapshot())
}

fn killed_at_every_point(make: &Make) {
    let mut outcomes = [0, 0];
    for at in 1.. {
        let (world, _mount) = make();
        let (good, bad) = drift(&world);
        let plan = world.plan(&good);
        let mut child = world.child("as-begin", &plan, &world.options(), at);
        let status = child.wait().expect("ended");
        if status.signal() != Some(9) {
            assert!(status.success(), "{status}");
            same(&world.snapshot(), &good, "not killed");
            assert!(at > 40, "only {at} points were passed");
            break;
        }
        outcomes[check_recovered(&world, &good, &bad, at)] += 1;
    }
    assert!(outcomes[0] > 10 && outcomes[1] > 10, "both ends are reached: {outcomes:?}");
}

/// 0 if the tree is old again, 1 if it is new.
fn check_recovered(world: &World, good: &Snapshot, bad: &Snapshot, at: usize) -> usize {
    let timer = Manual::default();
    let rollbacks = Rollbacks::new(world.journals(), &timer);
    let recovered = match rollbacks.recover(&world.journal()) {
        Ok(recovered) => recovered,
        // Killed before its first record: there is nothing to recover.
        Err(error) => {
            assert_eq!(at, 0, "{error}");
            return 0;
        }
    };
    let new = match &recovered.outcome {
        Outcome::Done => true,
        Outcome::Refused { .. } | Outcome::Reverted { .. } => false,
        other => panic!("killed at {at}: {other:?} {:?}", recovered.report),
    };
    same(&world.snapshot(), if new { good } else { bad }, &format!("killed at {at}"));
    if new {
        for lost in ["bad\n", "intruder\n", "intruder too\n", "intruder three\n"] {
            let found = recovered.report.displaced.iter().any(|displaced| {
                let digest = displaced.value.content.as_ref();
                let is_it =
                    digest.is_some_and(|digest| digest.same(&Content::digest_of(lost.as_bytes())));
                let content = displaced.content(&recovered.journal).expect("kept");
                is_it
                    && content.is_some_and(|content| {
                        std::io::read_to_string(content).expect("readable") == lost
                    })
            });
            assert!(found, "killed at {at}: {lost} is lost");
        }
    }
    let again = rollbacks.recover(&world.journal()).expect("recovered again");
    assert_eq!(again.outcome, recovered.outcome, "killed at {at}");
    assert!(rollbacks.unfinished().expect("journals").is_empty());
    usize::from(new)
}

fn killed_while_it_recovers() {
    for at in (10..).step_by(7) {
        let mut recovers = true;
        for then in (1..).step_by(3) {
            let (world, _) = ext4();
            let (good, bad) = drift(&world);
            let plan = world.plan(&good);
            let options = world.options();
            let status = world.child("as-begin", &plan, &options, at).wait().expect("ended");
            if status.signal() != Some(9) {
                recovers = false;
                break;
            }
            let status = world.child("as-recover", &plan, &options, then).wait().expect("ended");
            check_recovered(&world, &good, &bad, at);
            if status.signal() != Some(9) {
                break;
            }
        }
        if !recovers {
            break;
        }
    }
}
