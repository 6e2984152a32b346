//! The proof of fidelity: a tree, captured, shown by a shadow and captured there again, is the
//! same state. For a corpus of hard cases, and for a real Debian root before and after packages
//! are installed in it. The binary is its own launcher, so it has a `main` of its own.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command as Program, ExitCode, Stdio};

use libtest_mimic::Arguments;
use umbra_shadow::provider::{Limits, Network};
use umbra_shadow::sandbox::WorkshopSpec;
use umbra_shadow::{Provider, ShadowSpec};
use umbra_state::{Command, Node, Tree, diff};
use umbra_store::overlay::{Base, Layers, settle_links};
use umbra_store::{CaptureOptions, IdShift};

use support::Bench;

/// Where a shadow mounts its own filesystems: empty directories in every tree here.
const MOUNTED: [&str; 3] = ["dev", "proc", "sys"];

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("launcher") {
        return ExitCode::from(umbra_shadow::sandbox::launcher::main() as u8);
    }
    let trials = vec![
        support::trial("hard_cases_survive_a_shadow", hard_cases_survive_a_shadow),
        support::trial("a_debian_root_survives_a_shadow", a_debian_root_survives_a_shadow),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn hard_cases_survive_a_shadow(bench: &Bench) {
    let dir = bench.dir().join("corpus");
    std::fs::create_dir(&dir).expect("made");
    umbra_store::corpus::make(&dir).expect("the corpus");
    for name in MOUNTED {
        std::fs::create_dir_all(dir.join(name)).expect("made");
    }
    let tree = bench.store.capture_dir(&dir, &CaptureOptions::default()).expect("captured");
    assert_survives_a_shadow(bench, &tree);
}

fn a_debian_root_survives_a_shadow(bench: &Bench) {
    let root = bench.dir().join("debian");
    debian(&root);
    let before = bench.store.capture_dir(&root, &CaptureOptions::default()).expect("captured");
    assert_survives_a_shadow(bench, &before);
    let after = install_nginx(bench, &before);
    assert!(after.get(b"usr/sbin/nginx").is_some());
    assert_survives_a_shadow(bench, &after);
}

/// Captured from a shadow's own root, the state is the same.
fn assert_survives_a_shadow(bench: &Bench, tree: &Tree) {
    let state = bench.store.put(tree).expect("put");
    let base =
        Base::Image { image: bench.store.image_path(state), objects: bench.store.objects_dir() };
    let spec = ShadowSpec::new("fidelity", Limits::default(), Network::None);
    let shadow = bench.provider().spawn(&Layers::of(base), &spec).expect("a shadow");
    let root = shadow.root().expect("its root");
    let shown = captured_from(bench, &root, shadow.ids_base(), tree);
    let difference = diff(tree, &shown);
    let lines: Vec<_> = difference.changes.iter().take(20).map(ToString::to_string).collect();
    assert!(difference.is_empty(), "{lines:#?}");
    assert_eq!(bench.store.put(&shown).expect("put"), state);
}

/// Captures a live root. Its mountpoints hide what is below them, which is taken from `known`.
fn captured_from(bench: &Bench, root: &std::os::fd::OwnedFd, ids_base: u32, known: &Tree) -> Tree {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", root.as_raw_fd());
    let options = CaptureOptions {
        ids: IdShift { base: ids_base, ..IdShift::default() },
        skip: MOUNTED.map(PathBuf::from).to_vec(),
        ..CaptureOptions::default()
    };
    let mut tree = bench.store.capture_dir(Path::new(&path), &options).expect("captured");
    let top = std::sync::Arc::make_mut(&mut tree.root);
    for name in MOUNTED {
        let below = known.get(name.as_bytes());
        assert!(matches!(below, Some(Node::Dir(_))), "{name} is no directory");
        top.entries.extend(below.map(|below| (name.as_bytes().into(), below)));
    }
    tree
}

/// Installs packages in a build stage. The delta read from its upper directory must lead to the
/// same tree as reading the whole root.
fn install_nginx(bench: &Bench, before: &Tree) -> Tree {
    let state = bench.store.put(before).expect("put");
    let base =
        Base::Image { image: bench.store.image_path(state), objects: bench.store.objects_dir() };
    let spec =
        WorkshopSpec { name: "install".to_owned(), limits: Limits::default(), network: true };
    let workshop = bench.provider().workshop(&spec).expect("a workshop");
    let dir = bench.dir().join("stage");
    let stage = workshop.stage(&Layers::of(base), &dir, &[]).expect("a stage");
    let script = "apt-get -q update && apt-get -q -y install --no-install-recommends nginx-light";
    let install = Command::shell(script).with_env("DEBIAN_FRONTEND", "noninteractive");
    let output = stage.run(&install, &|_| {}).expect("ran");
    assert!(output.exit.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let finished = stage.finish().expect("finished");
    settle_links(&finished.root, &finished.work, || before.clone()).expect("settled");
    let after = bench.store.capture_upper(before, &finished.upper).expect("captured");
    let whole = captured_from(bench, &finished.root, 0, &after);
    let difference = diff(&after, &whole);
    let lines: Vec<_> = difference.changes.iter().take(20).map(ToString::to_string).collect();
    assert!(difference.is_empty(), "the delta is not what the root shows: {lines:#?}");
    after
}

fn debian(root: &Path) {
    let status = Program::new("mmdebstrap")
        .args(["--mode=root", "--quiet", "--variant=minbase", "--format=directory", "bookworm"])
        .arg(root)
        .stdin(Stdio::null())
        .status();
    let status = status.unwrap_or_else(|error| {
        panic!("mmdebstrap does not start (apt-get install mmdebstrap): {error}")
    });
    assert!(status.success(), "no Debian root: {status}");
    // What it leaves there differs between versions; a shadow mounts its own.
    for name in MOUNTED {
        assert!(root.join(name).is_dir());
    }
}
