//! Whatever lies at a path: a clear reading, in bounded memory and time.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rustix::fs::Mode;
use umbra_drift::config::Attribute;
use umbra_drift::reading::{Item, Reading};

use super::support::{Root, attribute, is_digest, text, why};
use super::{nobodys_trial, trial};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("hostile::every_kind_of_thing_is_read", kinds),
        trial("hostile::a_gigabyte_of_nothing_is_a_digest", sparse),
        trial("hostile::circles_end", circles),
        trial("hostile::names_are_bytes", names),
        trial("hostile::deep_trees_end", deep),
        trial("hostile::long_files_have_keys", long),
        trial("hostile::files_that_change_are_one_version_or_said_to_change", changing),
        trial("hostile::directories_that_come_and_go_are_walked", moving),
        nobodys_trial("hostile::what_may_not_be_read_is_said_to_be", forbidden),
    ]
}

fn kinds() {
    let root = Root::new();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.at("/etc/fifo"), Mode::RWXU).expect("made");
    let _socket = UnixListener::bind(root.at("/etc/socket")).expect("bound");
    root.write("/etc/binary", (0..=255).collect::<Vec<u8>>());
    let began = Instant::now();
    let all = root.collector("[{name: t, path: /etc, kind: tree}]").all();
    assert!(began.elapsed() < Duration::from_secs(10));
    for (path, kind) in [("/etc/fifo", "fifo"), ("/etc/socket", "socket"), ("/etc/binary", "file")]
    {
        let reading = &all.readings[&Item::part("t", path.as_bytes())];
        assert_eq!(attribute(reading, Attribute::Type).as_deref(), Some(kind));
    }
    assert_eq!(why(&root.read("path: /etc/fifo")), "it is a pipe");
    assert_eq!(why(&root.read("path: /etc/socket")), "it is a socket");
    assert_eq!(root.read("path: /etc/binary").bytes().map(<[u8]>::len), Some(256));
    assert_eq!(root.read("path: /etc/binary, format: kv, key: a"), Reading::Absent);
}

fn sparse() {
    let root = Root::new();
    fs::File::create(root.at("/etc/huge")).and_then(|file| file.set_len(1 << 30)).expect("a hole");
    assert!(is_digest(&root.read("path: /etc/huge")));
    let keyed = root.read("path: /etc/huge, format: kv, key: a");
    assert!(why(&keyed).starts_with("it has more than"), "{keyed:?}");
    fs::File::create(root.at("/etc/vast")).and_then(|file| file.set_len(1 << 40)).expect("a hole");
    let vast = root.read("path: /etc/vast");
    assert_eq!(why(&vast), "it has more than 4294967296 bytes");
    let all = root.collector("[{name: t, path: /etc, kind: tree}]").all();
    assert_eq!(why(&all.readings[&Item::part("t", b"/etc/vast")]), why(&vast));
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < 256 << 10, "{peak} kB");
}

fn circles() {
    let root = Root::new();
    symlink("b", root.at("/etc/a")).expect("linked");
    symlink("a", root.at("/etc/b")).expect("linked");
    symlink("..", root.at("/etc/up")).expect("linked");
    assert_eq!(why(&root.read("path: /etc/a")), "its links lead in a circle");
    let all = root.collector("[{name: t, path: /etc, kind: tree}]").all();
    assert_eq!(all.readings.len(), 4);
}

fn names() {
    let root = Root::new();
    let strange = [&b"new\nline"[..], b"\xff\xfe", b" ", b"-rf", b"a\x1b[2J", &[b'n'; 255]];
    for name in strange {
        fs::write(root.at("/etc").join(OsStr::from_bytes(name)), "x").expect("written");
    }
    let all = root.collector("[{name: t, glob: '/etc/**'}]").all();
    for name in strange {
        let item = Item::part("t", &[b"/etc/", name].concat());
        assert_eq!(text(&all.readings[&item]), "x", "{name:?}");
    }
}

/// Deeper than a path can be long, and than there are descriptors.
fn deep() {
    let root = Root::new();
    let mut path = root.at("/etc");
    for _ in 0..200 {
        path.push("d");
    }
    fs::create_dir_all(&path).expect("made");
    let all = root.collector("[{name: t, path: /etc, kind: tree}]").all();
    let last = format!("/etc{}", "/d".repeat(umbra_drift::collect::DEPTH_MAX));
    let reading = &all.readings[&Item::part("t", last.as_bytes())];
    assert!(why(reading).contains("directories deep"), "{reading:?}");
    assert_eq!(all.readings.len(), umbra_drift::collect::DEPTH_MAX + 1);
}

fn long() {
    let root = Root::new();
    let lines: String = (0..100_000).map(|n| format!("key{n} = {n}\n")).collect();
    root.write("/etc/long.conf", &lines);
    let began = Instant::now();
    assert_eq!(text(&root.read("path: /etc/long.conf, format: kv, key: key99999")), "99999");
    root.write("/etc/deep.json", "[".repeat(1_000_000));
    let deep = root.read("path: /etc/deep.json, format: kv, key: a");
    assert_eq!(deep, Reading::Absent);
    assert!(began.elapsed() < Duration::from_secs(20));
}

fn changing() {
    let root = Root::new();
    let version = |letter: u8| vec![letter; 9000];
    root.write("/etc/busy", version(b'a'));
    let mut collector = root.collector("[{name: t, path: /etc, kind: tree}]");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for letter in (b'a'..=b'z').cycle() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                fs::write(root.at("/etc/busy"), version(letter)).expect("written");
            }
        });
        for _ in 0..100 {
            for (_, reading) in collector.path(&root.at("/etc/busy")) {
                match &reading {
                    Reading::Unreadable { why } => assert!(why.starts_with("it changed"), "{why}"),
                    reading => {
                        let bytes = reading.bytes().expect("bytes");
                        let one =
                            bytes.first().is_none_or(|first| bytes.iter().all(|b| b == first));
                        assert!(one && matches!(bytes.len(), 0 | 9000), "a mixture");
                    }
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn moving() {
    let root = Root::new();
    root.write("/etc/stays", "1");
    let mut collector = root.collector("[{name: t, path: /etc, kind: tree}]");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                root.write("/etc/a/b/c", "x");
                fs::rename(root.at("/etc/a"), root.at("/etc/z")).expect("renamed");
                fs::remove_dir_all(root.at("/etc/z")).expect("removed");
                symlink("/", root.at("/etc/a")).expect("linked");
                fs::remove_file(root.at("/etc/a")).expect("removed");
            }
        });
        for _ in 0..200 {
            let all = collector.all();
            assert_eq!(text(&all.readings[&Item::part("t", b"/etc/stays")]), "1");
            let inside =
                |item: &Item| item.part.as_ref().is_some_and(|part| part.0.starts_with(b"/etc"));
            assert!(all.readings.keys().all(inside) && all.readings.len() < 8);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn forbidden() {
    let root = Root::new();
    root.write("/etc/closed", "x");
    let none = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    fs::set_permissions(root.at("/etc/closed"), none).expect("changed");
    assert!(why(&root.read("path: /etc/closed")).starts_with("Permission denied"));
    root.write("/etc/locked/in", "x");
    let none = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    fs::set_permissions(root.at("/etc/locked"), none).expect("changed");
    let all = root.collector("[{name: t, path: /etc, kind: tree}]").all();
    let reading = |path: &str| &all.readings[&Item::part("t", path.as_bytes())];
    assert!(why(reading("/etc/closed")).starts_with("Permission denied"));
    assert!(why(reading("/etc/locked")).starts_with("Permission denied"));
    let mut outside = root.collector("[{name: t, glob: '/etc/*.conf'}]");
    assert!(outside.all().readings.is_empty(), "what is locked is no part of it");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(root.at("/etc/locked"), open).expect("changed");
}
