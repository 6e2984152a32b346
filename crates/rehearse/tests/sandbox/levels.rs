//! How real the machine is, what accepts its files, and its own system.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use libtest_mimic::Trial;
use umbra_drift::reading::Reading;
use umbra_rehearse::report::Part;
use umbra_rehearse::{
    Edit, Level, RehearsalError, Root, Validator, What, rehearse, remove_remains,
};
use umbra_shadow::fake::FakeProvider;
use umbra_shadow::provider::{Init, Provider};
use umbra_state::Verdict;
use umbra_store::overlay::Layers;
use umbra_store::{CaptureOptions, Store};
use umbra_suite::Globs;

use crate::support::Ground;
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("validators-are-asked-about-changed-files", validators),
        trial("a-reboot-without-the-machines-own-system-is-no-pass", reboot_without),
        trial("a-reboot-finds-units-that-fail", reboot),
        trial("a-state-of-the-store-is-a-machine", state),
        trial("a-rehearsal-can-be-cancelled", cancelled),
        trial("what-a-killed-rehearsal-left-is-removed", remains),
        trial("a-provider-without-files-is-an-error", no_files),
    ]
}

fn validator(paths: &str, argv: &[&str]) -> Validator {
    Validator {
        paths: Globs::new([paths]).expect("a pattern"),
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        timeout: Duration::from_secs(10),
    }
}

fn validators(ground: &Ground) {
    let mut subject = ground.subject();
    subject.startup.services.clear();
    subject.tests.clear();
    subject.validators = vec![
        validator("/etc/default/*", &["/bin/sh", "-n", "{file}"]),
        validator("/etc/*.conf", &["/usr/sbin/nginx", "-t", "-c", "{file}"]),
    ];
    let what = |web: &str| {
        What::Drift(vec![
            Edit::new("/etc/default/web", Reading::text(web)),
            Edit::new("/etc/fine.conf", Reading::text("x")),
        ])
    };
    let report = ground.rehearse(&subject, &what("if then\n"));
    assert_eq!((report.verdict, report.level), (Verdict::Fail, Level::Validators), "{report:#?}");
    assert_eq!(report.failures[0].part, Part::Validator);
    assert_eq!(report.failures[0].check, "/bin/sh -n /etc/default/web");
    let unseen = "/usr/sbin/nginx -t -c /etc/fine.conf is not there to validate with";
    assert_eq!(report.unseen, [unseen]);
    let report = ground.rehearse(&subject, &what("PORT=1\n"));
    assert_eq!(report.verdict, Verdict::Pass, "{report:#?}");
    // What is new is nothing the baseline can be asked about.
    let new = |text: &str| What::Drift(vec![Edit::new("/etc/default/new", Reading::text(text))]);
    assert_eq!(ground.rehearse(&subject, &new("if\n")).verdict, Verdict::Fail);
    assert_eq!(ground.rehearse(&subject, &new("A=1\n")).verdict, Verdict::Pass);
    let gone = What::Drift(vec![Edit::new("/etc/default/web", Reading::Absent)]);
    assert_eq!(ground.rehearse(&subject, &gone).verdict, Verdict::Inconclusive);
}

fn reboot_without(ground: &Ground) {
    let report = ground.rehearse(&ground.subject(), &What::Reboot(Vec::new()));
    assert_eq!(report.verdict, Verdict::Inconclusive, "{report:#?}");
    let why = "the machine's own system was not run: only its services were started";
    assert_eq!(report.why.as_deref(), Some(why));
    let higher = report.higher.expect("there is a higher level");
    assert!(higher.contains("kernel"), "{higher}");
}

/// The program in systemd's place is a script here.
const SYSTEM: &str = "#!/bin/sh\n\
    mkdir /sys/fs/cgroup/init.scope\n\
    echo 1 > /sys/fs/cgroup/init.scope/cgroup.procs\n\
    while :; do sleep 1; done\n";

const SYSTEMCTL: &str = "#!/bin/sh\n\
    case $1 in\n\
    is-system-running) echo running;;\n\
    list-units) cat /etc/failed;;\n\
    esac\n";

fn reboot(ground: &Ground) {
    if !ground.provider().capabilities().systemd {
        println!("skipped: {:?}", ground.provider().capabilities().missing);
        return;
    }
    let store = Store::open(&ground.path().join("store")).expect("a store");
    let top = ground.path().join("system");
    for (path, text) in [
        ("usr/lib/systemd/systemd", SYSTEM),
        ("bin/systemctl", SYSTEMCTL),
        ("etc/failed", "old.service loaded failed failed Always\n"),
    ] {
        let path = top.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
    }
    let mut subject = ground.subject();
    let layers = subject.root.layers().with_upper(top);
    let tree = store.capture_dir(&ground.root(), &CaptureOptions::default()).expect("captured");
    subject.root = Root::State { state: store.state_id(&tree).expect("an id"), layers };
    subject.startup.init = Init::Systemd;
    let what = |units: &str| {
        let failed = format!("old.service loaded failed failed Always\n{units}");
        What::Reboot(vec![
            Edit::new("/etc/failed", Reading::text(failed)),
            Edit::new("/etc/other", Reading::text("x")),
        ])
    };
    let report = ground.rehearse(&subject, &what(""));
    assert_eq!(report.verdict, Verdict::Pass, "{report:#?}");
    let report = ground.rehearse(&subject, &what("new.mount loaded failed failed Data\n"));
    assert_eq!(report.verdict, Verdict::Fail, "{report:#?}");
    let failure = &report.failures[0];
    assert_eq!((failure.part, failure.evidence[0].subject.as_str()), (Part::Units, "new.mount"));
    assert_eq!(failure.changes[0].path.0, b"/etc/failed");
}

fn state(ground: &Ground) {
    let store = Store::open(&ground.path().join("store")).expect("a store");
    let tree = store.capture_dir(&ground.root(), &CaptureOptions::default()).expect("captured");
    let state = store.put(&tree).expect("put");
    let mut subject = ground.subject();
    let layers = Layers::of(store.base(state).expect("an image"));
    subject.root = Root::State { state, layers };
    let drift = |text: &str| What::Drift(vec![Edit::new("/etc/default/web", Reading::text(text))]);
    let report = ground.rehearse(&subject, &drift("PORT=none\n"));
    assert_eq!(report.verdict, Verdict::Fail, "{report:#?}");
    let report = ground.rehearse(&subject, &drift("PORT=8080\n"));
    assert_eq!(report.verdict, Verdict::Pass, "{report:#?}");
}

fn cancelled(ground: &Ground) {
    let (subject, what) = (ground.subject(), What::Drift(Vec::new()));
    let ended = rehearse(ground.provider(), &subject, &what, &AtomicBool::new(true));
    assert!(matches!(ended, Err(RehearsalError::Cancelled)), "{ended:?}");
}

fn remains(ground: &Ground) {
    let scratch = ground.subject().scratch;
    fs::create_dir_all(scratch.join("rehearsal-killed/1/etc")).expect("made");
    fs::write(scratch.join("other"), "kept").expect("written");
    remove_remains(&scratch).expect("removed");
    assert!(!scratch.join("rehearsal-killed").exists());
    fs::remove_file(scratch.join("other")).expect("it was kept");
}

fn no_files(ground: &Ground) {
    let provider = FakeProvider::default();
    let what = What::Drift(Vec::new());
    let ended = rehearse(&provider, &ground.subject(), &what, &AtomicBool::new(false));
    assert!(matches!(ended, Err(RehearsalError::Shadow(_))), "{ended:?}");
    assert_eq!(provider.list().expect("listed"), Vec::<String>::new());
}
