//! A daemon of the real program.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// This `program` in the directory of a project, with its state there and nothing of whoever runs
/// the test.
pub(crate) fn umbra(program: impl AsRef<OsStr>, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(dir)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("UMBRA_STATE_DIR", dir.join("state"));
    command
}

/// Runs `umbra serve`, which `umbra` is the program for, until it listens.
pub(crate) fn serve(mut umbra: Command) -> Child {
    umbra.arg("serve").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut daemon = umbra.spawn().unwrap();
    let mut story = BufReader::new(daemon.stderr.take().unwrap());
    let (mut line, mut seen) = (String::new(), String::new());
    while !line.contains("listening") {
        line.clear();
        let count = story.read_line(&mut line).unwrap();
        seen.push_str(&line);
        assert!(count > 0, "the daemon ended: {seen}");
    }
    // What it says later is read, so that it never waits for its reader.
    std::thread::spawn(move || std::io::copy(&mut story, &mut std::io::sink()));
    daemon
}
