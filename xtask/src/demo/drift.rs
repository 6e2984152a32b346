//! The second act: a machine that runs the image is held against its shadow.
//!
//! The machine is a throw-away root directory with the image's files, and whoever changes it does
//! so in namespaces of its own: nothing of the user's is touched.
//!
//! ```text
//! image written out -> primary add -> somebody edits       an alert with who, at once
//!                   -> check         says what differs
//!                   -> rehearse      says what the drift will break
//!                   -> rollback      puts it back, verified -> check: as its shadow
//! ```

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::ends;
use super::server::Places;
use crate::process::{self, heading};
use crate::stop::Stop;

const PRIMARY: &str = "production";
/// What somebody does to it. Nothing but nginx reads the file, and nginx only when it starts:
/// the machine goes on, until the next restart.
const EDIT: &str = "sed -i 's/listen 443 ssl/listen 443 sll/' /etc/nginx/conf.d/notes.conf";
const EDITED: &str = "/etc/nginx/conf.d/notes.conf";
/// What the command line ends with where something changed, as aide does.
const CHANGED: i32 = 4;
/// An alert that takes longer has not come.
const ALERT_MAX: Duration = Duration::from_secs(20);
/// The lines of one screen come without a pause.
const SCREEN: Duration = Duration::from_millis(100);

/// Plays it. Says how long the alert took.
pub(super) fn play(places: &Places) -> Result<Duration, Stop> {
    let root = places.dir.join("production");
    let written = write_out(places, &root);
    let played = written.and_then(|()| act(places, &root));
    let removed = fs::remove_dir_all(&root);
    let took = played?;
    removed
        .map_err(|error| Stop::Failed(format!("{} cannot be removed ({error})", root.display())))?;
    Ok(took)
}

/// The image's files as a directory that stands for the machine.
fn write_out(places: &Places, root: &Path) -> Result<(), Stop> {
    if root.exists() {
        fs::remove_dir_all(root).map_err(|error| {
            Stop::Failed(format!("{} cannot be removed ({error})", root.display()))
        })?;
    }
    ends(places, &["export", "web", "-o", &root.to_string_lossy()], 0).map(drop)
}

fn act(places: &Places, root: &Path) -> Result<Duration, Stop> {
    // One that an earlier demo was asked to keep.
    process::succeeds(&mut places.client(&["primary", "rm", PRIMARY, "--yes"]));
    let place = root.to_string_lossy().into_owned();
    ends(places, &["primary", "add", PRIMARY, "--root", &place, "--image", "web"], 0)?;
    let watching = Watching::begin(places)?;

    heading("somebody edits the machine, outside of any pipeline");
    let began = Instant::now();
    edit(root)?;
    let took = watching.alert(began)?;
    heading("what differs");
    let check = ends(places, &["drift", "check", PRIMARY], CHANGED)?;
    must_say(&check, &[EDITED, "/usr/bin/sed"])?;
    heading("what it will break, tried on a disposable shadow");
    let rehearsal = ends(places, &["rehearse", "drift", PRIMARY], 1)?;
    must_say(&rehearsal, &["nginx", EDITED])?;
    heading("put back, verified, and nothing lost");
    ends(places, &["drift", "rollback", PRIMARY, "--yes"], 0)?;
    ends(places, &["drift", "check", PRIMARY], 0)?;
    ends(places, &["drift", "log", PRIMARY], 0)?;
    drop(watching);
    ends(places, &["primary", "rm", PRIMARY, "--yes"], 0)?;
    Ok(took)
}

/// Runs the edit on the machine, in namespaces of its own.
fn edit(root: &Path) -> Result<(), Stop> {
    eprintln!("$ {EDIT}");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child"]);
    command.arg(format!("--root={}", root.display())).args(["/bin/sh", "-c", EDIT]);
    let status = process::status(&mut command)?;
    match status.success() {
        true => Ok(()),
        false => Err(Stop::Failed(format!("the edit ended with {status}"))),
    }
}

fn must_say(text: &str, words: &[&str]) -> Result<(), Stop> {
    match words.iter().find(|word| !text.contains(**word)) {
        None => Ok(()),
        Some(word) => Err(Stop::Failed(format!("the answer does not say {word:?}"))),
    }
}

/// `umbra drift watch` at work; dropping it ends it.
struct Watching {
    child: Child,
    lines: Receiver<(Instant, String)>,
}

impl Watching {
    fn begin(places: &Places) -> Result<Self, Stop> {
        eprintln!("$ umbra drift watch {PRIMARY}");
        let mut child = places
            .client(&["drift", "watch", PRIMARY])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Stop::Failed(format!("umbra does not start: {error}")))?;
        let (sender, lines) = channel();
        if let Some(out) = child.stdout.take() {
            std::thread::spawn(move || {
                let lines = BufReader::new(out).lines().map_while(Result::ok);
                for line in lines {
                    eprintln!("  {line}");
                    if sender.send((Instant::now(), line)).is_err() {
                        return;
                    }
                }
            });
        }
        // It follows from the moment the daemon has answered.
        std::thread::sleep(Duration::from_millis(300));
        Ok(Self { child, lines })
    }

    /// How long after `began` the alert about the edit was on the screen.
    fn alert(&self, began: Instant) -> Result<Duration, Stop> {
        let until = began + ALERT_MAX;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok((at, line)) if line.contains(EDITED) => {
                    // The rest of the screen before anything else.
                    while self.lines.recv_timeout(SCREEN).is_ok() {}
                    return Ok(at - began);
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    let message = format!("no alert came within {} s", ALERT_MAX.as_secs());
                    return Err(Stop::Failed(message));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Stop::Failed("`umbra drift watch` ended".to_owned()));
                }
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
