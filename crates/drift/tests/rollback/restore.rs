//! Attributes come back exactly, whatever else is there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use libtest_mimic::Trial;
use rustix::fs::{XattrFlags, setxattr};
use umbra_drift::rollback::Outcome;

use crate::support::{WHOLE, World, same};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("restore::owner_mode_list_and_capabilities", attributes),
        trial("restore::a_default_list_does_not_leak", default_list),
        trial("restore::only_drifted_keys_change", merge),
        trial("restore::any_name", names),
    ]
}

/// The owner everything, user 1000 reading and writing, the group and a mask reading, nobody else.
pub(crate) const LIST: &[u8] = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x02\0\x06\0\xe8\x03\0\0\
    \x04\0\x04\0\xff\xff\xff\xff\x10\0\x06\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
/// May bind low ports.
pub(crate) const CAPS: &[u8] = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

pub(crate) fn set(path: &Path, name: &str, value: &[u8]) {
    setxattr(path, name, value, XattrFlags::empty()).expect("an attribute");
}

fn attributes() {
    let world = World::new(WHOLE);
    // netplan#548: the group of what came back was wrong, and the service could not read it.
    world.write("network/a.network", "[Match]\n");
    let file = world.path("network/a.network");
    chown(&file, Some(0), Some(998)).expect("owner");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("mode");
    world.write("tool", "#!/bin/sh\n");
    let tool = world.path("tool");
    chown(&tool, Some(33), Some(44)).expect("owner");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o6755)).expect("mode");
    set(&tool, "security.capability", CAPS);
    set(&tool, "user.note", b"mine");
    world.write("listed", "x\n");
    set(&world.path("listed"), "system.posix_acl_access", LIST);
    world.write("stripped", "x\n");
    let good = world.snapshot();

    for name in ["network/a.network", "tool", "listed"] {
        fs::remove_file(world.path(name)).expect("removed");
        world.write(name, "drifted\n");
    }
    set(&world.path("stripped"), "system.posix_acl_access", LIST);
    set(&world.path("stripped"), "user.note", b"theirs");
    let finished = world.roll_back(&good);
    assert_eq!(finished.outcome, Outcome::Done, "{:?}", finished.report);
    same(&world.snapshot(), &good, "rolled back");
}

fn default_list() {
    let world = World::new(WHOLE);
    world.write("shared/file", "good\n");
    let good_file = world.snapshot();
    world.write("shared/file", "bad\n");
    let mut good = good_file.clone();
    // What is made in this directory gets a list of its own, unless it is taken off again.
    set(&world.path("shared"), "system.posix_acl_default", LIST);
    let directory = umbra_drift::reading::Item::part("etc", b"/etc/shared");
    good.readings.insert(directory, crate::support::reading(&world.path("shared")));
    let finished = world.roll_back(&good);
    assert_eq!(finished.outcome, Outcome::Done, "{:?}", finished.report);
    same(&world.snapshot(), &good, "rolled back");
}

fn merge() {
    let config =
        WHOLE.replace("mode: restore", "mode: merge").replace("attrs:", "format: auto, attrs:");
    let world = World::new(&config);
    world.write("sysctl.d/a.conf", "# ours\nnet.ipv4.ip_forward = 0\nvm.swappiness = 60\n");
    let good = world.snapshot();
    let edited = "# edited by hand\nnet.ipv4.ip_forward = 1\n\nvm.swappiness=60\n";
    world.write("sysctl.d/a.conf", edited);
    let plan = world.plan(&good);
    let finished = world.begin(plan, world.options());
    assert_eq!(finished.outcome, Outcome::Done, "{:?}", finished.report);
    let text = fs::read_to_string(world.path("sysctl.d/a.conf")).expect("text");
    assert_eq!(text, edited.replace("ip_forward = 1", "ip_forward = 0"));
}

fn names() {
    use std::os::unix::ffi::OsStrExt;
    let world = World::new(WHOLE);
    let hostile = [&b"new\nline"[..], b" ", b"-rf", b"{file}", b"a,b:c\\d", &[b'n'; 255]];
    for name in hostile {
        fs::write(world.path("").join(std::ffi::OsStr::from_bytes(name)), "good").expect("written");
    }
    let good = world.snapshot();
    for name in hostile {
        fs::write(world.path("").join(std::ffi::OsStr::from_bytes(name)), "bad").expect("written");
    }
    let finished = world.roll_back(&good);
    assert_eq!(finished.outcome, Outcome::Done, "{:?}", finished.report);
    same(&world.snapshot(), &good, "rolled back");
}
