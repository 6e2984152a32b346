//! Places that are no plain files in plain directories.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use libtest_mimic::Trial;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use umbra_drift::rollback::Outcome;

use crate::support::{Mounted, WHOLE, World, same};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("places::hard_links_are_refused_or_written_over", hard_links),
        trial("places::what_cannot_be_changed_can_be_left_out", unfit),
        trial("places::immutable_files_stay_immutable", immutable),
        trial("places::a_file_mounted_on_another_is_written_over", mounted),
        trial("places::settings_of_the_kernel", settings),
    ]
}

fn hard_links() {
    let world = World::new(WHOLE);
    world.write("linked", "good\n");
    let good = world.snapshot();
    world.write("linked", "bad\n");
    let other = world.root.join("other");
    fs::hard_link(world.path("linked"), &other).expect("linked");
    let plan = world.plan(&good);
    let refused = world.begin(plan.clone(), world.options());
    let Outcome::Refused { why } = refused.outcome else { panic!("{:?}", refused.outcome) };
    assert!(why.contains("it has 2 names"), "{why}");
    let [unfit] = refused.report.unfit.as_slice() else { panic!("{:?}", refused.report) };
    assert_eq!(unfit.place, plan.changes[0].place);
    assert_eq!(fs::read_to_string(world.path("linked")).expect("text"), "bad\n");

    let mut options = world.options();
    options.id = "again".to_owned();
    options.write_hard_links = true;
    let done = world.begin(plan, options);
    assert_eq!(done.outcome, Outcome::Done, "{:?}", done.report);
    assert_eq!(fs::read_to_string(&other).expect("text"), "good\n");
    assert_eq!(fs::metadata(&other).expect("metadata").nlink(), 2);
    let kept = done.report.displaced[0].content(&done.journal).expect("kept").expect("content");
    assert_eq!(std::io::read_to_string(kept).expect("text"), "bad\n");
}

/// A person may leave out what cannot be changed; a rollback that nobody asks does nothing.
fn unfit() {
    let world = World::new(WHOLE);
    for name in ["linked", "plain", "taken/file"] {
        world.write(name, "good\n");
    }
    let good = world.snapshot();
    world.write("linked", "bad\n");
    fs::hard_link(world.path("linked"), world.root.join("other")).expect("linked");
    world.write("plain", "bad\n");
    let mut plan = world.plan(&good);
    // A directory has been swapped for a link since.
    fs::remove_dir_all(world.path("taken")).expect("removed");
    std::os::unix::fs::symlink("/tmp", world.path("taken")).expect("linked");
    let mut hostile = plan.changes[0].clone();
    hostile.place = umbra_drift::rollback::plan::Place::Path(umbra_api::blob::Blob(
        b"/etc/taken/file".to_vec(),
    ));
    plan.changes.push(hostile);

    let timer = umbra_drift::rollback::timer::Manual::default();
    let rollbacks = umbra_drift::rollback::Rollbacks::new(world.journals(), &timer);
    let unfit = rollbacks.unfit(&plan, &world.options()).expect("looked at");
    let why: Vec<&str> = unfit.iter().map(|unfit| unfit.why.as_str()).collect();
    assert_eq!(why, ["it has 2 names, and all of them would change", "a link leads to it"]);
    let refused = world.begin(plan.clone(), world.options());
    let Outcome::Refused { why } = &refused.outcome else { panic!("{:?}", refused.outcome) };
    assert!(why.ends_with("nor can another place be changed"), "{why}");
    assert_eq!(refused.report.unfit, unfit);
    assert_eq!(fs::read_to_string(world.path("plain")).expect("text"), "bad\n");

    let rest = plan.without(&unfit);
    assert_eq!((rest.changes.len(), rest.left.len()), (1, 2), "{rest}");
    let mut options = world.options();
    options.id = "rest".to_owned();
    let done = world.begin(rest, options);
    assert_eq!(done.outcome, Outcome::Done, "{:?}", done.report);
    assert_eq!(fs::read_to_string(world.path("plain")).expect("text"), "good\n");
    assert_eq!(fs::read_to_string(world.path("linked")).expect("text"), "bad\n");
    let away = world.journals().join("rest/away");
    assert_eq!(fs::read_dir(&away).expect("directory").count(), 1);
    rollbacks.tidy().expect("tidied");
    assert!(!away.exists(), "nobody needs the other versions any more");
    let kept = done.report.displaced[0].content(&done.journal).expect("kept").expect("content");
    assert_eq!(std::io::read_to_string(kept).expect("text"), "bad\n");
}

fn flags(path: &Path) -> IFlags {
    ioctl_getflags(fs::File::open(path).expect("opened")).expect("flags")
}

fn set_flags(path: &Path, on: bool) -> Result<(), rustix::io::Errno> {
    let file = fs::File::open(path).expect("opened");
    let mut flags = ioctl_getflags(&file)?;
    flags.set(IFlags::IMMUTABLE, on);
    ioctl_setflags(&file, flags)
}

fn immutable() {
    for reverted in [false, true] {
        let world = World::new(WHOLE);
        world.write("dir/locked", "good\n");
        let good = world.snapshot();
        world.write("dir/locked", "bad\n");
        let bad = world.snapshot();
        let paths = [world.path("dir/locked"), world.path("dir")];
        for path in &paths {
            if let Err(error) = set_flags(path, true) {
                return println!("skipped: this filesystem has no flags: {error}");
            }
        }
        let mut options = world.options();
        if reverted {
            options.confirm = Some(umbra_drift::rollback::plan::Confirmation {
                timeout_ms: 60_000,
                probes: vec!["tcp://127.0.0.1:1".to_owned()],
                by_person: false,
            });
            options.probe_timeout_ms = 0;
        }
        let finished = world.begin(world.plan(&good), options);
        let locked = paths.each_ref().map(|path| flags(path).contains(IFlags::IMMUTABLE));
        for path in paths.iter().rev() {
            set_flags(path, false).expect("unlocked");
        }
        assert_eq!(locked, [true, true], "{:?}", finished.report);
        assert_eq!(finished.outcome.is_success(), !reverted, "{:?}", finished.outcome);
        same(&world.snapshot(), if reverted { &bad } else { &good }, "locked");
    }
}

fn mounted() {
    let world = World::new(WHOLE);
    world.write("resolv", "good\n");
    let good = world.snapshot();
    let over = world.base.join("over");
    fs::write(&over, "bad and longer\n").expect("written");
    let _mount = Mounted::bind(&over, &world.path("resolv"));
    let finished = world.roll_back(&good);
    assert_eq!(finished.outcome, Outcome::Done, "{:?}", finished.report);
    assert_eq!(fs::read_to_string(&over).expect("text"), "good\n");
}

fn settings() {
    let world = World::new(
        "version: 2\nparameters:\n  - {name: forward, source: sysctl, key: net.ipv4.ip_forward}\n",
    );
    let settings = world.base.join("sys");
    fs::create_dir_all(settings.join("net/ipv4")).expect("directory");
    let file = settings.join("net/ipv4/ip_forward");
    fs::write(&file, "1\n").expect("written");
    let of = |text: &str| {
        let item = umbra_drift::reading::Item::whole("forward");
        let reading = umbra_drift::reading::Reading::text(text);
        umbra_drift::reading::Snapshot { readings: [(item, reading)].into() }
    };
    let (good, bad) = (of("0\n"), of("1\n"));
    let plan = umbra_drift::rollback::plan::plan(umbra_drift::rollback::plan::Request {
        config: &world.config,
        target: &good,
        base: &good,
        current: &bad,
        files: &Default::default(),
        selection: &umbra_drift::rollback::plan::Selection::Everything,
        conflicts: Default::default(),
    });
    let mut options = world.options();
    options.is_machine = true;
    options.settings = settings;
    let timer = umbra_drift::rollback::timer::Manual::default();
    let rollbacks = umbra_drift::rollback::Rollbacks::new(world.journals(), &timer);
    // A reader that never sees the change: it is undone.
    let undone = rollbacks.begin(plan.clone(), options.clone(), &mut |_| bad.readings.clone());
    let undone = undone.expect("a journal");
    assert!(matches!(undone.outcome, Outcome::Reverted { .. }), "{:?}", undone.outcome);
    assert_eq!(fs::read_to_string(&file).expect("text").trim(), "1");
    options.id = "again".to_owned();
    let done = rollbacks.begin(plan, options, &mut |_| good.readings.clone()).expect("a journal");
    assert_eq!(done.outcome, Outcome::Done, "{:?}", done.report);
    assert_eq!(fs::read_to_string(&file).expect("text").trim(), "0");
}
