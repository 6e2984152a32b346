//! What the collector reads is what a rollback puts back: every attribute there is, through
//! both and the kernel between them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use libtest_mimic::Trial;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use umbra_drift::attributes::{DEFAULT_ACL_NAME, decode_xattrs};
use umbra_drift::collect::{Collector, Place};
use umbra_drift::config::Attribute;
use umbra_drift::reading::{Item, Reading, Snapshot};
use umbra_drift::rollback::plan::{Conflicts, Request, Selection, plan};
use umbra_drift::rollback::timer::Manual;
use umbra_drift::rollback::{Finished, Outcome, Rollbacks};

use crate::restore::{CAPS, LIST, set};
use crate::support::{WHOLE, World, same};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("collected::what_was_read_comes_back", comes_back),
        trial("collected::attributes_alone_come_back", attributes_alone),
        trial("collected::a_device_is_its_numbers", devices),
    ]
}

fn collector(world: &World) -> Collector {
    let place = Place::directory(&world.root).expect("a place");
    Collector::new(&world.config, place).expect("a collector")
}

fn roll_back(world: &World, collector: &mut Collector, good: &Snapshot) -> Finished {
    let current = collector.all();
    let plan = plan(Request {
        config: &world.config,
        target: good,
        base: good,
        current: &current,
        files: &BTreeMap::new(),
        selection: &Selection::Everything,
        conflicts: Conflicts::Stop,
    });
    assert!(plan.conflicts.is_empty() && plan.left.is_empty(), "{plan}");
    let timer = Manual::default();
    let read = &mut |items: &[Item]| {
        let mut all = collector.all().readings;
        let of = |item: &Item| (item.clone(), all.remove(item).unwrap_or(Reading::Absent));
        items.iter().map(of).collect()
    };
    Rollbacks::new(world.journals(), &timer).begin(plan, world.options(), read).expect("a journal")
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
}

/// One of everything that has attributes.
fn everything(world: &World) {
    world.write("listed", "who may read this\n");
    set(&world.path("listed"), "system.posix_acl_access", LIST);
    world.write("tool", "#!/bin/sh\n");
    chown(world.path("tool"), Some(33), Some(44)).expect("owner");
    mode(&world.path("tool"), 0o6755);
    set(&world.path("tool"), "security.capability", CAPS);
    set(&world.path("tool"), "user.note", b"mine");
    set(&world.path("tool"), "user.empty", b"");
    set(&world.path("tool"), "trusted.note", b"\0\xff");
    world.write("shared/inside", "inherits nothing it had not\n");
    set(&world.path("shared"), DEFAULT_ACL_NAME, LIST);
    set(&world.path("shared"), "system.posix_acl_access", LIST);
    fs::create_dir(world.path("drop")).expect("made");
    mode(&world.path("drop"), 0o1777);
    symlink("../etc/listed", world.path("link")).expect("linked");
    std::os::unix::fs::lchown(world.path("link"), Some(1000), Some(1000)).expect("owner");
    mknodat(CWD, world.path("pipe"), FileType::Fifo, Mode::from_raw_mode(0o620), 0).expect("made");
    mode(&world.path("pipe"), 0o620);
    chown(world.path("pipe"), Some(0), Some(5)).expect("owner");
    world.write("plain", "nothing special\n");
}

fn comes_back() {
    let world = World::new(WHOLE);
    everything(&world);
    let mut collector = collector(&world);
    let good = collector.all();
    same(&good, &world.snapshot(), "read in two ways");
    let of = |name: &str| {
        let item = Item::part("etc", format!("/etc/{name}").as_bytes());
        good.readings[&item].value().expect("a value").attributes.clone()
    };
    assert_eq!(of("tool")[&Attribute::Mode].0, b"6755");
    assert_eq!(of("shared")[&Attribute::Acl].0, LIST);
    let default = decode_xattrs(&of("shared")[&Attribute::Xattr]).expect("attributes");
    assert_eq!(default[DEFAULT_ACL_NAME.as_bytes()], LIST);

    for name in ["listed", "tool", "shared", "drop", "link", "pipe", "plain"] {
        let path = world.path(name);
        fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)).expect("removed");
    }
    for name in ["listed", "tool", "link", "pipe", "added"] {
        world.write(name, "drifted\n");
    }
    fs::create_dir(world.path("plain")).expect("made");
    let finished = roll_back(&world, &mut collector, &good);
    assert_eq!(finished.outcome, Outcome::Done, "{:?}", finished.report);
    same(&collector.all(), &good, "rolled back");
    same(&world.snapshot(), &good, "rolled back, read in another way");
}

fn attributes_alone() {
    let world = World::new(WHOLE);
    everything(&world);
    let mut collector = collector(&world);
    let good = collector.all();
    set(&world.path("plain"), "system.posix_acl_access", LIST);
    set(&world.path("plain"), "security.capability", CAPS);
    set(&world.path("drop"), DEFAULT_ACL_NAME, LIST);
    set(&world.path("tool"), "user.note", b"theirs");
    set(&world.path("tool"), "user.more", b"theirs");
    rustix::fs::removexattr(world.path("tool"), "user.empty").expect("removed");
    rustix::fs::removexattr(world.path("shared"), DEFAULT_ACL_NAME).expect("removed");
    rustix::fs::removexattr(world.path("listed"), "system.posix_acl_access").expect("removed");
    mode(&world.path("drop"), 0o755);
    mode(&world.path("pipe"), 0o666);
    chown(world.path("tool"), Some(0), Some(0)).expect("owner");
    let finished = roll_back(&world, &mut collector, &good);
    assert_eq!(finished.outcome, Outcome::Done, "{:?}", finished.report);
    same(&collector.all(), &good, "rolled back");
    same(&world.snapshot(), &good, "rolled back, read in another way");
}

/// Nobody makes devices by putting them back, but another device is another reading.
fn devices() {
    let world = World::new(WHOLE);
    let path = world.path("null");
    let make = |minor| {
        let made = makedev(1, minor);
        mknodat(CWD, &path, FileType::CharacterDevice, Mode::from_raw_mode(0o600), made)
    };
    if let Err(error) = make(3) {
        println!("skipped: no devices can be made here: {error}");
        return;
    }
    let mut collector = collector(&world);
    let good = collector.all();
    same(&good, &world.snapshot(), "read in two ways");
    fs::remove_file(&path).expect("removed");
    make(5).expect("made");
    let other = collector.all();
    let kind = |snapshot: &Snapshot| {
        let item = Item::part("etc", b"/etc/null");
        let value = snapshot.readings[&item].value().expect("a value");
        String::from_utf8_lossy(&value.attributes[&Attribute::Type].0).into_owned()
    };
    assert_eq!((kind(&good), kind(&other)), ("character 1:3".into(), "character 1:5".into()));
}
