//! Build steps: what they must not reach, and that what they write shows up whole elsewhere.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use libtest_mimic::Trial;
use umbra_shadow::provider::{Limits, Network};
use umbra_shadow::sandbox::{Bind, Workshop, WorkshopSpec};
use umbra_shadow::{Provider, ShadowSpec};
use umbra_state::Command;
use umbra_store::overlay::settle_links;
use umbra_store::{CaptureOptions, Store};

use crate::support::{Ground, attack, sh};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("workshop::a-step-makes-no-devices", devices),
        trial("workshop::a-step-repels-too", attacks),
        trial("workshop::binds-are-read-only-and-stay-inside", binds),
        trial("workshop::what-a-step-wrote-shows-up-whole", fidelity),
    ]
}

fn workshop(ground: &Ground) -> Workshop {
    let spec = WorkshopSpec { name: "shop".to_owned(), limits: Limits::default(), network: true };
    ground.provider().workshop(&spec).expect("a workshop")
}

fn bind(ground: &Ground, target: &str, read_only: bool) -> Bind {
    let source = ground.path().join("bound");
    std::fs::create_dir_all(&source).expect("made");
    Bind { source, target: target.to_owned(), read_only, required: true }
}

/// A step is root with the right to make nodes, and may write to a directory of the host.
fn devices() {
    let ground = Ground::new();
    let workshop = workshop(&ground);
    let binds = [bind(&ground, "/bind", false)];
    let stage =
        workshop.stage(&ground.layers(), &ground.path().join("step"), &binds).expect("a stage");
    let output = stage.run(&attack(&["devices"]), &|_| {}).expect("ran");
    assert!(output.exit.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(binds[0].source.join("umbra-vda").exists(), "it did make a node");
}

fn attacks() {
    let ground = Ground::new();
    let marker = ground.path().join("marker");
    std::fs::write(&marker, "the host's").expect("written");
    let workshop = workshop(&ground);
    let stage =
        workshop.stage(&ground.layers(), &ground.path().join("step"), &[]).expect("a stage");
    let marker = marker.to_str().expect("text");
    for words in [
        &["kernel-files"][..],
        &["system-calls"],
        &["init"],
        &["descriptors"],
        &["cgroups"],
        &["files", marker],
    ] {
        let output = stage.run(&attack(words), &|_| {}).expect("ran");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.exit.success() && said.contains("repelled"), "{words:?}: {said}");
    }
}

fn binds() {
    let ground = Ground::new();
    let workshop = workshop(&ground);
    let read_only = bind(&ground, "/shown", true);
    std::fs::write(read_only.source.join("file"), "original").expect("written");
    // A former step planted a link where a bind is to be shown.
    let host = ground.path().join("host-dir");
    std::fs::create_dir(&host).expect("made");
    let planted = ground.path().join("planted");
    std::fs::create_dir(&planted).expect("made");
    let up =
        format!("{}{}", "../".repeat(12), host.to_str().expect("text").trim_start_matches('/'));
    std::os::unix::fs::symlink(&up, planted.join("out")).expect("link");
    let through_link =
        Bind { target: "/out/deep/er".to_owned(), required: false, ..read_only.clone() };
    let stage = workshop
        .stage(
            &ground.layers().with_upper(planted),
            &ground.path().join("step"),
            &[read_only.clone(), through_link],
        )
        .expect("a stage");
    let run = |script: &str| stage.run(&Command::shell(script), &|_| {}).expect("ran");
    assert_eq!(run("cat /shown/file").stdout, b"original");
    for script in [
        "echo x > /shown/file",
        "touch /shown/new",
        "rm /shown/file",
        "mount -o remount,rw /shown",
        "umount /shown",
    ] {
        assert!(!run(script).exit.success(), "{script}");
    }
    assert_eq!(std::fs::read(read_only.source.join("file")).expect("read"), b"original");
    assert_eq!(std::fs::read_dir(&host).expect("listed").count(), 0, "a link led to the host");
}

/// Big files whose mode alone changed, renamed directories of the base, hard links written to
/// through one name.
fn fidelity() {
    let ground = Ground::new();
    let root = ground.root();
    std::fs::write(root.join("big"), vec![7; 8 << 20]).expect("written");
    std::fs::create_dir_all(root.join("old/deep")).expect("made");
    std::fs::write(root.join("old/deep/file"), "moved").expect("written");
    std::fs::write(root.join("one"), "before").expect("written");
    std::fs::hard_link(root.join("one"), root.join("old/two")).expect("linked");
    let workshop = workshop(&ground);
    let stage =
        workshop.stage(&ground.layers(), &ground.path().join("step"), &[]).expect("a stage");
    let script = "chmod 640 /big; mv /old /new; echo after > /one; rm /etc/passwd; ln -s x /link";
    let output = stage.run(&Command::shell(script), &|_| {}).expect("ran");
    assert!(output.exit.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let finished = stage.finish().expect("finished");
    let store = Store::open(&ground.path().join("store")).expect("a store");
    let parent = || store.capture_dir(&root, &CaptureOptions::default()).expect("captured");
    settle_links(&finished.root, &finished.work, parent).expect("settled");
    let (upper, work) = (finished.upper.clone(), finished.work.clone());
    drop(finished);
    // overlayfs keeps a link of its own to each hard-linked file in there.
    std::fs::remove_dir_all(work).expect("removed");
    let big = std::fs::metadata(upper.join("big")).expect("a record");
    assert!(big.blocks() < 100, "a chmod copied {} blocks", big.blocks());
    assert_eq!(big.permissions().mode() & 0o777, 0o640);

    let spec = ShadowSpec::new("seen", Limits::default(), Network::None);
    let layers = ground.layers().with_upper(upper);
    let shadow = ground.provider().spawn(&layers, &spec).expect("a shadow");
    for (script, expected) in [
        ("stat -c %a /big; md5sum < /big", None),
        ("cat /new/deep/file", Some("moved")),
        ("cat /one", Some("after\n")),
        ("cat /new/two", Some("after\n")),
        ("readlink /link", Some("x\n")),
        ("[ ! -e /old ] && [ ! -e /etc/passwd ] && echo gone", Some("gone\n")),
        ("cmp -n 8388608 /big /big && stat -c '%a %s %u' /big", Some("640 8388608 0\n")),
        ("[ /one -ef /new/two ] && stat -c %h /one", Some("2\n")),
        ("echo again > /new/two; cat /one", Some("again\n")),
    ] {
        let output = sh(&*shadow, script);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.exit.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        if let Some(expected) = expected {
            assert_eq!(said, expected, "{script}");
        }
    }
    let zeros = sh(&*shadow, "tr -d '\\007' < /big | wc -c").stdout;
    assert_eq!(String::from_utf8_lossy(&zeros).trim(), "0", "every byte of it is there");
}
