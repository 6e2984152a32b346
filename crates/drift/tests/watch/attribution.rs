//! Who changed it, when the process is long gone.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use umbra_drift::watch::Seen;
use umbra_drift::watch::who::{Class, Known, Writer};

use crate::support::{Watched, directory, writers};
use crate::trial;

const WRITERS: usize = 200;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("attribution::short_lived_writers_and_a_late_reader", late_reader),
        trial("attribution::a_living_writer_shows_itself", living_writer),
        trial("attribution::a_script_is_named_beside_its_interpreter", script),
    ]
}

fn late_reader() {
    let (_keep, root) = directory();
    let mut watched = Watched::new(&root);
    for number in 0..WRITERS {
        let file = root.join(number.to_string());
        let status =
            Command::new("sh").args(["-c", "echo 1 > \"$0\""]).arg(&file).status().expect("shell");
        assert!(status.success());
    }
    // The point of this test: every writer is gone when the first event is read.
    std::thread::sleep(Duration::from_millis(100));
    watched.until(|watched| watched.changes.len() >= WRITERS);
    let shell = fs::canonicalize("/bin/sh").expect("shell");
    let shell = shell.file_name().expect("name").to_string_lossy().into_owned();
    let known = watched.changes.iter().filter(|change| writers(change) == [shell.clone()]).count();
    assert_eq!(known, WRITERS);
}

fn living_writer() {
    let (_keep, root) = directory();
    let mut watched = Watched::new(&root);
    let file = root.join("f");
    let mut writer = Command::new("sh")
        .args(["-c", "echo 1 > \"$0\"; read wait"])
        .arg(&file)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("shell");
    let change = watched.change(&file);
    drop(writer.stdin.take());
    writer.wait().expect("shell");
    let shown = only_writer(&change.seen);
    assert_eq!((shown.known, shown.uid), (Known::Alive, Some(0)));
    assert_eq!(shown.pid, writer.id().cast_signed());
    assert_eq!(shown.argv.last().map(AsRef::as_ref), Some(file.as_path()));
    assert_eq!(shown.class, Class::Unexplained);
    assert_eq!(shown.parents[0].pid, std::process::id().cast_signed());
}

fn script() {
    let (_keep, root) = directory();
    let (_other, outside) = directory();
    let script = outside.join("configure");
    fs::write(&script, "#!/bin/sh\necho 1 > \"$1\"\n").expect("script");
    fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("mode");
    let mut watched = Watched::new(&root);
    let status = Command::new(&script).arg(root.join("f")).status().expect("script");
    assert!(status.success());
    let change = watched.change(&root.join("f"));
    assert_eq!(only_writer(&change.seen).program.script.as_ref(), Some(&script));
}

fn only_writer(seen: &Seen) -> &Writer {
    match seen {
        Seen::Events(chain) => {
            assert_eq!(chain.writers.len(), 1, "{chain:#?}");
            &chain.writers[0]
        }
        other => panic!("{other:?}"),
    }
}
