//! Edits as the shadow sees them: all they say, and nothing outside it touched.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use libtest_mimic::Trial;
use umbra_api::blob::Blob;
use umbra_drift::config::Attribute;
use umbra_drift::reading::{Content, Reading, Value};
use umbra_rehearse::{Edit, Report};
use umbra_state::Verdict;

use crate::support::Ground;
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("edits-have-all-that-readings-say", attributes),
        trial("what-an-edit-leaves-open-stays", left_open),
        trial("removed-is-removed", removed),
        trial("kinds-change", kinds),
        trial("links-never-lead-out", links),
        trial("what-cannot-be-made-is-said", untried),
    ]
}

fn reading(content: Option<&str>, attributes: &[(Attribute, &str)]) -> Reading {
    let content = content.map(|text| Content::Bytes(Blob(text.into())));
    let attributes: BTreeMap<_, _> =
        attributes.iter().map(|(name, text)| (*name, Blob((*text).into()))).collect();
    Reading::Present(Value { content, attributes })
}

#[track_caller]
fn check(report: &Report) {
    assert_eq!(report.verdict, Verdict::Pass, "{report:#?}");
}

fn attributes(ground: &Ground) {
    use Attribute::{Group, Mode, Owner, Type};
    let file = [(Type, "file"), (Mode, "4750"), (Owner, "33"), (Group, "44")];
    let dir = [(Type, "directory"), (Mode, "2770"), (Owner, "5"), (Group, "6")];
    let edits = vec![
        Edit::new("/etc/new/file", reading(Some("text"), &file)),
        Edit::new("/etc/new", reading(None, &dir)),
        Edit::new("/etc/link", reading(None, &[(Type, "link"), (Attribute::Link, "new/file")])),
        Edit::new("/etc/pipe", reading(None, &[(Type, "fifo"), (Mode, "0622"), (Owner, "7")])),
    ];
    check(&ground.holds(
        edits,
        "test \"$(stat -c '%a %u %g' /etc/new/file)\" = '4750 33 44'
         test \"$(stat -c '%a %u %g' /etc/new)\" = '2770 5 6'
         test \"$(readlink /etc/link)\" = new/file; test \"$(cat /etc/link)\" = text
         test \"$(stat -c '%F %a %u' /etc/pipe)\" = 'fifo 622 7'",
    ));
}

fn left_open(ground: &Ground) {
    let web = ground.root().join("etc/default/web");
    fs::set_permissions(&web, fs::Permissions::from_mode(0o640)).expect("set");
    chown(&web, Some(12), Some(34)).expect("owned");
    chown(ground.root().join("etc/default"), Some(56), Some(78)).expect("owned");
    chown(ground.root(), Some(9), Some(8)).expect("owned");
    ground.remember();
    check(&ground.holds(
        vec![Edit::new("/etc/default/web", Reading::text("changed\n"))],
        "test \"$(stat -c '%a %u %g' /)\" = '755 9 8'
         test \"$(stat -c '%a %u %g' /etc/default/web)\" = '640 12 34'
         test \"$(stat -c '%u %g' /etc/default)\" = '56 78'
         test \"$(cat /etc/default/web)\" = changed",
    ));
    let digest = Content::digest_of(&fs::read(&web).expect("read"));
    let value = Value {
        content: Some(digest),
        attributes: BTreeMap::from([
            (Attribute::Type, Blob(b"file".to_vec())),
            (Attribute::Mode, Blob(b"0600".to_vec())),
        ]),
    };
    check(&ground.holds(
        vec![Edit::new("/etc/default/web", Reading::Present(value))],
        "test \"$(stat -c '%a %u' /etc/default/web)\" = '600 0'
         grep -q PORT=8080 /etc/default/web",
    ));
}

fn removed(ground: &Ground) {
    check(&ground.holds(
        vec![
            Edit::new("/etc/default/web", Reading::Absent),
            Edit::new("/srv", Reading::Absent),
            Edit::new("/etc/never/was", Reading::Absent),
        ],
        "test ! -e /etc/default/web; test -d /etc/default; test ! -e /srv; test ! -e /etc/never",
    ));
}

fn kinds(ground: &Ground) {
    check(&ground.holds(
        vec![
            Edit::new("/srv", reading(Some("a file"), &[(Attribute::Type, "file")])),
            Edit::new("/etc/default/web", reading(None, &[(Attribute::Type, "directory")])),
            Edit::new("/etc/default/web/in", Reading::text("deep")),
        ],
        "test \"$(cat /srv)\" = 'a file'; test \"$(cat /etc/default/web/in)\" = deep",
    ));
}

fn links(ground: &Ground) {
    let outside = ground.path().join("outside");
    fs::create_dir(&outside).expect("made");
    fs::write(outside.join("file"), "mine").expect("written");
    symlink(&outside, ground.root().join("etc/way-out")).expect("linked");
    symlink(outside.join("file"), ground.root().join("etc/alias")).expect("linked");
    ground.remember();
    let inside = outside.display().to_string();
    let to_outside = [(Attribute::Type, "link"), (Attribute::Link, inside.as_str())];
    let report = ground.holds(
        vec![
            // Over links of the machine: to the same path inside.
            Edit::new("/etc/way-out/file", Reading::text("theirs")),
            Edit::new("/etc/alias", Reading::text("theirs too")),
            // Over a link that another edit makes.
            Edit::new("/etc/made", reading(None, &to_outside)),
            Edit::new("/etc/made/file", Reading::text("theirs")),
        ],
        &format!("grep -q theirs {inside}/file; test -L /etc/alias; test -L /etc/made"),
    );
    assert_eq!(report.untried.len(), 1, "{report:#?}");
    assert_eq!(report.untried[0].path.0, b"/etc/made/file");
    assert_eq!(fs::read_to_string(outside.join("file")).expect("read"), "mine");
    assert_eq!(fs::read_dir(&outside).expect("listed").count(), 1);
}

fn untried(ground: &Ground) {
    let unreadable = Reading::Unreadable { why: "it is secret".to_owned() };
    let digest = Content::digest_of(b"who knows");
    let secret = Reading::Present(Value { content: Some(digest), attributes: BTreeMap::new() });
    let report = ground.holds(
        vec![
            Edit::new("/etc/unreadable", unreadable),
            Edit::new("/etc/default/web", secret),
            Edit::new("relative", Reading::text("x")),
            Edit::new("/etc/passwd/below", Reading::text("x")),
            Edit::new("/etc/dev", reading(None, &[(Attribute::Type, "block")])),
            Edit::new("/etc/odd", reading(Some("x"), &[(Attribute::Mode, "999")])),
            Edit::new("/etc/fine", Reading::text("x")),
        ],
        "test -e /etc/fine",
    );
    let said: Vec<_> = report
        .untried
        .iter()
        .map(|untried| (String::from_utf8_lossy(&untried.path.0), untried.why.as_str()))
        .collect();
    for (path, why) in [
        ("/etc/unreadable", "nobody knows what it says: it is secret"),
        ("/etc/default/web", "only a digest of it is known"),
        ("relative", "it is no path from the root"),
        ("/etc/passwd/below", "it lies in something that is no directory"),
        ("/etc/dev", "sockets and devices are not made in shadows"),
        ("/etc/odd", "nobody can read its mode"),
    ] {
        assert!(said.iter().any(|(p, w)| p == path && *w == why), "{path}: {said:#?}");
    }
    assert_eq!((said.len(), report.verdict), (6, Verdict::Inconclusive));
}
