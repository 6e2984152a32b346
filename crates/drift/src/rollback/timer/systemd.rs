//! A timer that the service manager keeps: a transient timer for this boot, and a unit that the
//! next boot starts if it comes to that.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Order, Timer, TimerError, command};

/// Where the boot that follows looks.
const WANTS: &str = "multi-user.target.wants";

/// Has systemd keep watch.
#[derive(Debug)]
pub struct Systemd {
    argv: Vec<String>,
    run: PathBuf,
    control: PathBuf,
    units: PathBuf,
}

impl Systemd {
    /// `{journal}` in `argv` stands for the journal; the program is an absolute path.
    pub fn new(argv: Vec<String>) -> Self {
        Self::with(argv, "systemd-run".into(), "systemctl".into(), "/etc/systemd/system".into())
    }

    /// With its programs and the directory of units elsewhere.
    pub fn with(argv: Vec<String>, run: PathBuf, control: PathBuf, units: PathBuf) -> Self {
        Self { argv, run, control, units }
    }

    /// The unit's file, and the link by which it is started at boot.
    fn unit(&self, id: &str) -> [PathBuf; 2] {
        let name = format!("umbra-revert-{id}.service");
        [self.units.join(&name), self.units.join(WANTS).join(&name)]
    }
}

impl Timer for Systemd {
    fn name(&self) -> &'static str {
        "systemd"
    }

    fn arm(&self, order: &Order) -> Result<(), TimerError> {
        let argv = command(&self.argv, &order.journal);
        let [file, link] = self.unit(&order.id);
        let written = |path: &Path| {
            let path = path.to_owned();
            move |source| TimerError::Unit { path, source }
        };
        fs::write(&file, unit_text(&order.id, &argv)).map_err(written(&file))?;
        let wants = self.units.join(WANTS);
        fs::create_dir_all(&wants).map_err(written(&wants))?;
        match std::os::unix::fs::symlink(&file, &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(written(&link)(error));
            }
            _ => {}
        }
        // The journal may be on another filesystem: the one sync before the commit does not bring
        // this to the disk then. Only these, for others may have written anything beside them.
        for path in [&file, &wants, &self.units] {
            File::open(path).and_then(|held| held.sync_all()).map_err(written(path))?;
        }
        let after_ms = order.after.as_millis();
        let mut arguments: Vec<OsString> = vec![
            format!("--unit=umbra-expire-{}", order.id).into(),
            format!("--on-active={after_ms}ms").into(),
            "--timer-property=AccuracySec=100ms".into(),
            "--collect".into(),
            "--quiet".into(),
            "--".into(),
        ];
        arguments.extend(argv);
        say(&self.run, &arguments)
    }

    fn disarm(&self, id: &str, _journal: &Path) -> Result<(), TimerError> {
        for path in self.unit(id) {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(TimerError::Unit { path, source });
                }
                _ => {}
            }
        }
        // One that has fired is gone: that is no failure.
        let timer = format!("umbra-expire-{id}.timer");
        let _ = say(&self.control, &["--no-ask-password".into(), "stop".into(), timer.into()]);
        Ok(())
    }
}

fn say(program: &Path, arguments: &[OsString]) -> Result<(), TimerError> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(TimerError::Process)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(TimerError::Refused { said })
}

fn unit_text(id: &str, argv: &[OsString]) -> Vec<u8> {
    let mut text = format!(
        "[Unit]\nDescription=Undo the rollback {id} unless it was confirmed\n\n\
         [Service]\nType=oneshot\nExecStart="
    )
    .into_bytes();
    for (index, argument) in argv.iter().enumerate() {
        if index > 0 {
            text.push(b' ');
        }
        text.extend(quoted(argument));
    }
    text.extend_from_slice(b"\n");
    text
}

/// A word as systemd.syntax(7) and systemd.service(5) read it back.
fn quoted(argument: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for byte in argument.as_bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend([b'\\', *byte]),
            b'%' => quoted.extend(b"%%"),
            b'$' => quoted.extend(b"$$"),
            0..=31 => quoted.extend(format!("\\x{byte:02x}").bytes()),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    #[test]
    fn words_are_quoted() {
        let argv = ["/usr/bin/umbra agent".into(), "50%\"$HOME\\\n".into()];
        let text = String::from_utf8(unit_text("x", &argv)).expect("text");
        let line = text.lines().last().expect("a line");
        assert_eq!(line, r#"ExecStart="/usr/bin/umbra agent" "50%%\"$$HOME\\\x0a""#);
    }

    #[test]
    fn this_boot_and_the_next_are_provided_for() {
        let dir = tempfile::tempdir().expect("directory");
        let program = dir.path().join("program");
        let log = dir.path().join("log");
        let script = format!("#!/bin/sh\necho \"$@\" >> {}\n", log.display());
        fs::write(&program, script).expect("script");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("mode");
        let argv = vec!["/bin/revert".to_owned(), "{journal}".to_owned()];
        let units = dir.path().join("units");
        fs::create_dir(&units).expect("directory");
        let timer = Systemd::with(argv, program.clone(), program, units.clone());
        let journal = PathBuf::from("/var/lib/umbra/1");
        let after = Duration::from_secs(120);
        let order = Order { id: "1".to_owned(), journal: journal.clone(), after };
        timer.arm(&order).expect("armed");
        timer.arm(&order).expect("armed twice");
        let boot = units.join("multi-user.target.wants/umbra-revert-1.service");
        let text = fs::read_to_string(&boot).expect("a unit for the next boot");
        assert!(text.contains("ExecStart=\"/bin/revert\" \"/var/lib/umbra/1\""), "{text}");
        timer.disarm("1", &journal).expect("disarmed");
        timer.disarm("1", &journal).expect("disarmed twice");
        assert!(fs::symlink_metadata(&boot).is_err());
        let said = fs::read_to_string(&log).expect("log");
        assert!(said.contains("--unit=umbra-expire-1 --on-active=120000ms"), "{said}");
        assert!(said.contains("-- /bin/revert /var/lib/umbra/1\n"), "{said}");
        assert!(said.contains("stop umbra-expire-1.timer"), "{said}");
    }
}
