//! Validators see what will be and nobody else does; what makes changes count runs both ways.

use std::fs;

use libtest_mimic::Trial;
use umbra_drift::rollback::{Options, Outcome, Said};

use crate::support::{WHOLE, World, same};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("commands::validators_see_all_that_will_be", accepted),
        trial("commands::a_validator_rejects", rejected),
        trial("commands::in_a_root_directory", in_a_root),
        trial("commands::both_ways", both_ways),
    ]
}

fn config(validate: &str, apply: &str) -> String {
    let extra = format!("rollback: {{mode: restore}}, validate: [{validate}]{apply}");
    WHOLE.replace("rollback: {mode: restore}", &extra)
}

fn machine(world: &World) -> Options {
    Options { is_machine: true, ..world.options() }
}

/// The files as they will be, also those that are new or gone.
fn accepted() {
    let script = "grep -q good BASE/root/etc/a && grep -q new BASE/root/etc/new/b \
        && ! test -e BASE/root/etc/gone";
    let world = World::new(&config(&format!("sh, -c, '{script}'"), ""));
    world.write("a", "good\n");
    world.write("new/b", "new\n");
    let good = world.snapshot();
    world.write("a", "bad\n");
    world.write("gone", "x\n");
    fs::remove_dir_all(world.path("new")).expect("removed");
    let finished = world.begin(world.plan(&good), machine(&world));
    assert_eq!(finished.outcome, Outcome::Done, "{:?}", finished.report);
    let said: Vec<&Said> = finished.report.checked.iter().map(|checked| &checked.said).collect();
    assert_eq!(said, [&Said::Accepts], "{:?}", finished.report.checked);
    same(&world.snapshot(), &good, "rolled back");
}

fn rejected() {
    // It accepts what is there and not what would come.
    let world = World::new(&config("grep, -q, bad, BASE/root/etc/a", ""));
    world.write("a", "good\n");
    let good = world.snapshot();
    world.write("a", "bad\n");
    let bad = world.snapshot();
    let finished = world.begin(world.plan(&good), machine(&world));
    let Outcome::Refused { why } = &finished.outcome else { panic!("{:?}", finished.outcome) };
    assert!(why.contains("rejects the files (exit code 1)"), "{why}");
    same(&world.snapshot(), &bad, "refused");
}

fn in_a_root() {
    let Ok(busybox) = fs::read("/usr/bin/busybox") else {
        return println!("skipped: there is no busybox to run inside a root directory");
    };
    let world = World::new(&config("/bin/busybox, grep, -q, good, '{file}'", ""));
    world.write("a", "good\n");
    let good = world.snapshot();
    world.write("a", "bad\n");
    fs::create_dir(world.root.join("bin")).expect("directory");
    fs::write(world.root.join("bin/busybox"), busybox).expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(world.root.join("bin/busybox"), mode).expect("mode");
    let finished = world.begin(world.plan(&good), world.options());
    assert_eq!(finished.outcome, Outcome::Done, "{:?}", finished.report);
    match &finished.report.checked[0].said {
        Said::Unknown { why } if why.contains("not installed") => {
            println!("skipped: busybox needs libraries here");
        }
        said => assert_eq!(said, &Said::Accepts),
    }
}

fn both_ways() {
    let apply = ", apply: {command: [sh, -c, 'cat BASE/root/etc/a >> BASE/applied']}, \
        confirm: {timeout: 60s, probe: 'tcp://127.0.0.1:1'}";
    let world = World::new(&config("'true'", apply));
    world.write("a", "good\n");
    let good = world.snapshot();
    world.write("a", "bad\n");
    let bad = world.snapshot();
    let options = Options { probe_timeout_ms: 0, ..machine(&world) };
    let finished = world.begin(world.plan(&good), options);
    let Outcome::Reverted { why } = &finished.outcome else { panic!("{:?}", finished.outcome) };
    assert!(why.contains("does not accept connections"), "{why}");
    let applied = fs::read_to_string(world.base.join("applied")).expect("applied");
    assert_eq!(applied, "good\nbad\n", "it was told of both");
    same(&world.snapshot(), &bad, "reverted");
}
