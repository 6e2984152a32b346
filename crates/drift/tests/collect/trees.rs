//! Trees, and what of them a changed path concerns.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use libtest_mimic::Trial;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use umbra_drift::collect::Collector;
use umbra_drift::config::Attribute;
use umbra_drift::reading::{Item, Reading};

use super::support::{Root, attribute, concerned, paths, text};
use super::trial;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("trees::everything_below_is_read", everything),
        trial("trees::patterns_choose", patterns),
        trial("trees::a_changed_path_is_read_alone", one_path),
        trial("trees::a_directory_comes_and_goes_as_a_whole", directories),
        trial("trees::what_is_missing_is_said_to_be", missing),
        trial("trees::changes_one_by_one_are_the_whole", one_by_one),
        trial("trees::a_base_behind_links_is_where_it_really_is", behind_links),
        trial("trees::another_directory_in_its_place_is_read_again", exchanged),
    ]
}

fn all(collector: &mut Collector) -> Vec<String> {
    paths(&collector.all().readings)
}

fn tree() -> (Root, Collector) {
    let root = Root::new();
    root.write("/etc/a/b/c", "1");
    root.write("/etc/a/d", "2");
    root.write("/etc/e", "3");
    let collector = root.collector("[{name: t, path: /etc, kind: tree}]");
    (root, collector)
}

fn everything() {
    let (root, mut collector) = tree();
    symlink("/etc/e", root.at("/etc/l")).expect("linked");
    let snapshot = collector.all();
    let reading = |path: &str| &snapshot.readings[&Item::part("t", path.as_bytes())];
    assert_eq!(text(reading("/etc/a/b/c")), "1");
    assert_eq!(attribute(reading("/etc/a"), Attribute::Type).as_deref(), Some("directory"));
    assert_eq!(attribute(reading("/etc/l"), Attribute::Type).as_deref(), Some("link"));
    assert_eq!(attribute(reading("/etc/l"), Attribute::Link).as_deref(), Some("/etc/e"));
    assert!(reading("/etc/l").value().is_some_and(|value| value.content.is_none()));
    let expected =
        ["+/etc", "+/etc/a", "+/etc/a/b", "+/etc/a/b/c", "+/etc/a/d", "+/etc/e", "+/etc/l"];
    assert_eq!(paths(&snapshot.readings), expected);
}

fn patterns() {
    let (root, _) = tree();
    let mut collector = root.collector("[{name: t, glob: ['/etc/**', '!/etc/a/b/**', '!/etc/e']}]");
    assert_eq!(all(&mut collector), ["+/etc/a", "+/etc/a/b", "+/etc/a/d"]);
    assert_eq!(concerned(&mut collector, &root.at("/etc/e")), [""; 0]);
    assert_eq!(concerned(&mut collector, &root.at("/etc/a/b/c")), [""; 0]);
    let mut collector = root.collector("[{name: t, glob: '/etc/*/d'}]");
    assert_eq!(all(&mut collector), ["+/etc/a/d"]);
}

fn one_path() {
    let (root, mut collector) = tree();
    collector.all();
    root.write("/etc/e", "33");
    assert_eq!(concerned(&mut collector, &root.at("/etc/e")), ["+/etc/e"]);
    assert_eq!(concerned(&mut collector, &root.at("/etc/a")), ["+/etc/a"]);
    fs::remove_file(root.at("/etc/e")).expect("removed");
    assert_eq!(concerned(&mut collector, &root.at("/etc/e")), ["-/etc/e"]);
    assert_eq!(concerned(&mut collector, &root.at("/srv/e")), [""; 0]);
}

fn directories() {
    let (root, mut collector) = tree();
    collector.all();
    fs::rename(root.at("/etc/a"), root.at("/etc/z")).expect("renamed");
    let gone = ["-/etc/a", "-/etc/a/b", "-/etc/a/b/c", "-/etc/a/d"];
    assert_eq!(concerned(&mut collector, &root.at("/etc/a")), gone);
    let come = ["+/etc/z", "+/etc/z/b", "+/etc/z/b/c", "+/etc/z/d"];
    assert_eq!(concerned(&mut collector, &root.at("/etc/z")), come);
    fs::rename(root.at("/etc"), root.at("/gone")).expect("renamed");
    let gone = ["-/etc", "-/etc/e", "-/etc/z", "-/etc/z/b", "-/etc/z/b/c", "-/etc/z/d"];
    assert_eq!(concerned(&mut collector, &root.at("/")), gone);
}

fn missing() {
    let root = Root::new();
    let mut collector = root.collector("[{name: t, glob: '/srv/a/**'}]");
    assert_eq!(all(&mut collector), ["-/srv/a"]);
    root.write("/srv/a/b", "1");
    assert_eq!(concerned(&mut collector, &root.at("/srv")), ["+/srv/a/b"]);
}

fn exchanged() {
    let (root, mut collector) = tree();
    collector.all();
    root.write("/new/x", "1");
    let (one, other) = (root.at("/etc/a"), root.at("/new"));
    let flags = rustix::fs::RenameFlags::EXCHANGE;
    rustix::fs::renameat_with(rustix::fs::CWD, one, rustix::fs::CWD, other, flags)
        .expect("exchanged");
    let expected = ["+/etc/a", "+/etc/a/x", "-/etc/a/b", "-/etc/a/b/c", "-/etc/a/d"];
    assert_eq!(concerned(&mut collector, &root.at("/etc/a")), expected);
    fs::remove_dir_all(root.at("/etc/a")).expect("removed");
    root.write("/etc/a", "now a file");
    assert_eq!(concerned(&mut collector, &root.at("/etc/a")), ["+/etc/a", "-/etc/a/x"]);
    let reading = &collector.all().readings[&Item::part("t", b"/etc/a")];
    assert_ne!(*reading, Reading::Absent);
}

/// As `/lib` is on every machine whose directories were merged.
fn behind_links() {
    let root = Root::new();
    root.write("/usr/lib/systemd/a", "1");
    symlink("usr/lib", root.at("/lib")).expect("linked");
    let mut collector = root.collector("[{name: t, glob: '/lib/systemd/**'}]");
    assert_eq!(all(&mut collector), ["+/lib/systemd/a"]);
    assert!(collector.watched_roots().contains(&root.at("/usr/lib/systemd")));
    root.write("/usr/lib/systemd/b", "2");
    assert_eq!(concerned(&mut collector, &root.at("/usr/lib/systemd/b")), ["+/lib/systemd/b"]);
    assert_eq!(concerned(&mut collector, &root.at("/usr/lib/other")), [""; 0]);

    let mut collector = root.collector("[{name: t, path: /lib, kind: tree}]");
    let snapshot = collector.all();
    let paths = paths(&snapshot.readings);
    assert_eq!(paths, ["+/lib", "+/lib/systemd", "+/lib/systemd/a", "+/lib/systemd/b"]);
    let base = &snapshot.readings[&Item::part("t", b"/lib")];
    assert_eq!(attribute(base, Attribute::Link).as_deref(), Some("usr/lib"));
    assert_eq!(attribute(base, Attribute::Type).as_deref(), Some("directory"));
    fs::rename(root.at("/usr"), root.at("/moved")).expect("renamed");
    let gone = ["+/lib", "-/lib/systemd", "-/lib/systemd/a", "-/lib/systemd/b"];
    assert_eq!(concerned(&mut collector, &root.at("/usr")), gone);
}

/// Whatever is done to a tree, what its changed paths concern leads to what a new reading of
/// everything says.
fn one_by_one() {
    let name = prop::sample::select(vec!["a", "b", "a/b", "a/c", "b/a", "a/b/c", "b/a/c", "out/x"]);
    let operation = (0..6u8, name.clone(), name);
    let operations = prop::collection::vec(operation, 1..12);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let globs = "[{name: t, glob: ['/etc/**', '!/etc/**/c', '!/etc/out/**']}]";
    let result = runner.run(&operations, |operations| {
        let root = Root::new();
        let mut collector = root.collector(globs);
        let mut known = collector.all().readings;
        let mut changed = BTreeSet::new();
        for (kind, one, other) in operations {
            let (one, other) = (root.at(&format!("/etc/{one}")), root.at(&format!("/etc/{other}")));
            // As the links lead before and as they lead afterwards: one can be what is moved.
            changed.extend(touched(&root, [&one, &other]));
            // Most fail now and then, which is a change of nothing.
            let _ = match kind {
                0 => fs::write(&one, "1"),
                1 => fs::write(&one, "22"),
                2 => fs::create_dir_all(&one),
                3 => fs::remove_file(&one).or_else(|_| fs::remove_dir_all(&one)),
                4 => fs::rename(&one, &other),
                _ => symlink("a", &one),
            };
            changed.extend(touched(&root, [&one, &other]));
            for path in &changed {
                for (item, reading) in collector.path(path) {
                    match reading {
                        Reading::Absent => drop(known.remove(&item)),
                        reading => drop(known.insert(item, reading)),
                    }
                }
            }
            let fresh = root.collector(globs).all().readings;
            prop_assert_eq!(&known, &fresh);
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

/// What an operation on these paths may change: they and the directories on the way, which came
/// with them; through a link what it leads to, or what lies in there by this name.
fn touched(root: &Root, paths: [&PathBuf; 2]) -> BTreeSet<PathBuf> {
    let etc = root.at("/etc");
    let way = paths.into_iter().flat_map(|path| path.ancestors());
    let way = way.filter(|path| path.starts_with(&etc) && **path != *etc);
    let all = way.flat_map(|path| {
        let above = path.parent().and_then(|above| above.canonicalize().ok());
        let within = above.zip(path.file_name()).map(|(above, name)| above.join(name));
        [path.canonicalize().ok(), within, Some(path.to_owned())].into_iter().flatten()
    });
    all.collect()
}
