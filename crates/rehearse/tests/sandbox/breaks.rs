//! What breaks the machine, and what of the changes does.

use libtest_mimic::Trial;
use umbra_drift::reading::Reading;
use umbra_rehearse::report::Part;
use umbra_rehearse::{Combination, Edit, Level, Risk, What};
use umbra_state::Verdict;

use crate::support::{GOOD, Ground};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a-drift-that-breaks-a-service-is-explained-by-its-key", breaks),
        trial("a-drift-that-breaks-a-test-is-explained", breaks_a_test),
        trial("a-harmless-drift-passes", harmless),
        trial("a-rollback-that-breaks-fails", rollback),
        trial("a-machine-that-has-drifted-already-is-put-right-first", drifted_already),
        trial("a-machine-that-does-not-start-anyway-says-nothing", broken_anyway),
        trial("a-program-that-is-gone-is-a-failure", program_gone),
    ]
}

/// Twenty changed files, the server's among them.
fn drift(web: &str) -> Vec<Edit> {
    let mut edits: Vec<Edit> = (0..19)
        .map(|n| Edit::new(format!("/etc/other-{n}.conf"), Reading::text(format!("n={n}\n"))))
        .collect();
    edits.insert(11, Edit::new("/etc/default/web", Reading::text(web)));
    edits
}

fn breaks(ground: &Ground) {
    let web = "USER=www\nPORT=none\nLEVEL=debug\nNAME=c\nNEW=1\n";
    let report = ground.rehearse(&ground.subject(), &What::Drift(drift(web)));
    assert_eq!((report.verdict, report.risk), (Verdict::Fail, Risk::Breaks), "{report:#?}");
    assert_eq!(report.level, Level::Sandbox);
    let [failure] = &report.failures[..] else { panic!("{report:#?}") };
    assert_eq!((failure.check.as_str(), failure.part), ("service web", Part::Startup));
    assert!(failure.minimal && failure.of == 20, "{failure:#?}");
    let [changed] = &failure.changes[..] else { panic!("{failure:#?}") };
    assert_eq!(changed.path.0, b"/etc/default/web");
    let [key] = &changed.keys[..] else { panic!("{failure:#?}") };
    assert_eq!(key.key, "PORT");
    assert!(!failure.evidence.is_empty());
    println!("{}", report.summary().join("\n"));
    println!("{} probes in {} us", failure.probes, failure.took_us);
}

fn breaks_a_test(ground: &Ground) {
    let mut edits = drift(GOOD);
    edits.push(Edit::new("/srv/index.html", Reading::text("goodbye\n")));
    let report = ground.rehearse(&ground.subject(), &What::Drift(edits));
    assert_eq!(report.verdict, Verdict::Fail, "{report:#?}");
    assert_eq!(report.failures[0].check, "web answers");
    assert_eq!(report.failures[0].changes[0].path.0, b"/srv/index.html");
}

fn harmless(ground: &Ground) {
    let web = "USER=root\n\n# Still.\nPORT=8080\nLEVEL=debug\n";
    let report = ground.rehearse(&ground.subject(), &What::Drift(drift(web)));
    assert_eq!((report.verdict, report.risk), (Verdict::Pass, Risk::NoneFound), "{report:#?}");
    assert!(report.untried.is_empty() && report.unseen.is_empty(), "{report:#?}");
    assert_eq!(report.runs.len(), 2);
}

fn rollback(ground: &Ground) {
    let what = |back: &str| What::Both {
        drift: drift("USER=root\nPORT=8080\n"),
        back: vec![
            Edit::new("/etc/default/web", Reading::text(back)),
            Edit::new("/etc/other-3.conf", Reading::Absent),
        ],
    };
    let report = ground.rehearse(&ground.subject(), &what("PORT=none\n"));
    let of = |combination| report.run(combination).expect("tried").verdict;
    assert_eq!(of(Combination::Drift), Verdict::Pass, "{report:#?}");
    assert_eq!(of(Combination::RollbackFromDrift), Verdict::Fail);
    // The drift has the last word there.
    assert_eq!(of(Combination::RollbackFirst), Verdict::Pass);
    assert_eq!(report.failures[0].combination, Combination::RollbackFromDrift);
    assert_eq!(report.failures[0].changes[0].keys[0].key, "PORT");
    let report = ground.rehearse(&ground.subject(), &what(GOOD));
    assert_eq!(report.verdict, Verdict::Pass, "{report:#?}");
}

fn drifted_already(ground: &Ground) {
    let mut subject = ground.subject();
    subject.tests[0].name = "is drifted".to_owned();
    subject.good = vec![Edit::new("/srv/index.html", Reading::text("hello\n"))];
    let drift = vec![Edit::new("/srv/index.html", Reading::text("bye\n"))];
    let report = ground.rehearse(&subject, &What::Drift(drift));
    assert_eq!(report.verdict, Verdict::Fail, "{report:#?}");
    assert_eq!(report.runs[0].verdict, Verdict::Pass);
}

fn broken_anyway(ground: &Ground) {
    let mut subject = ground.subject();
    subject.good = vec![Edit::new("/etc/default/web", Reading::text("PORT=none\n"))];
    let report = ground.rehearse(&subject, &What::Drift(drift(GOOD)));
    assert_eq!((report.verdict, report.runs.len()), (Verdict::Inconclusive, 1), "{report:#?}");
    let why = report.why.expect("a reason");
    let begin = "service web does not pass without any change either (web: it ended with";
    assert!(why.starts_with(begin), "{why}");
}

fn program_gone(ground: &Ground) {
    let mut subject = ground.subject();
    subject.startup.services[0].command.argv[0] = "/bin/ash".to_owned();
    let drift = vec![Edit::new("/bin/ash", Reading::Absent)];
    let report = ground.rehearse(&subject, &What::Drift(drift));
    assert_eq!(report.verdict, Verdict::Fail, "{report:#?}");
    assert_eq!(report.failures[0].changes[0].path.0, b"/bin/ash");
}
