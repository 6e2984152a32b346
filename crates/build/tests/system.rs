//! A whole Debian system from its archive, whose shadows boot its own systemd: the example of
//! that. The binary is its own launcher.

mod support;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::Arguments;
use umbra_api::build::{BuildPhase, Event};
use umbra_shadow::Provider;
use umbra_shadow::provider::{Init, Limits, Network};
use umbra_shadow::{Shadow, ShadowSpec};
use umbra_state::{Command, Verdict};
use umbra_store::overlay::Layers;

use support::{Bench, named, trial};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("launcher") {
        return ExitCode::from(umbra_shadow::sandbox::launcher::main() as u8);
    }
    let trials = vec![trial("a_debian_system_boots_in_its_shadows", boots)];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn boots(bench: &Bench) {
    let capabilities = bench.provider().capabilities();
    if !capabilities.systemd {
        println!("skipped: {:?}", capabilities.missing);
        return;
    }
    let example = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/system"));
    copy(&example.join("units"), &bench.dir().join("units"));
    fs::copy(example.join("goss.yaml"), bench.dir().join("goss.yaml")).expect("copied");
    let recipe = fs::read_to_string(example.join("umbra.yaml")).expect("the example");
    let run = bench.build(&recipe);
    assert_eq!(run.phase, BuildPhase::Done, "{:#?}", run.events);
    assert_eq!(run.verdict(), Verdict::Pass, "{:#?}", run.events);
    assert_eq!(run.count(|event| matches!(event, Event::TestEnded { .. })), 6);
    let sealed = run.find(|event| named!(event, Event::Sealed { state, .. } => *state));
    let layers = Layers::of(bench.store.base(sealed).expect("its image"));
    let limits = Limits::default();
    let spec = ShadowSpec { init: Init::Systemd, ..ShadowSpec::new("own", limits, Network::None) };
    let shadow = bench.provider().spawn(&layers, &spec).expect("a shadow");
    a_unit_that_fails_is_seen(&*shadow);
}

/// What the system says of itself comes from it, not from us.
fn a_unit_that_fails_is_seen(shadow: &dyn Shadow) {
    let script = "until systemctl is-system-running --wait 2>/dev/null; do sleep 0.05; done
        systemd-run --unit oops --property PrivateTmp=yes /bin/false
        until systemctl is-failed oops; do sleep 0.05; done
        systemctl is-system-running";
    let asked = Command::new(["sh", "-c", script]);
    let output = shadow.run(&asked.with_timeout(std::time::Duration::from_secs(60))).expect("ran");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.ends_with("failed\ndegraded\n"), "{said}{output:?}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("made");
    for entry in fs::read_dir(from).expect("listed").flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}
