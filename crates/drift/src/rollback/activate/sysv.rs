//! Services told without systemd: by service(8) and the scripts that start them.

use std::path::Path;
use std::time::Duration;

use super::super::command::{Ended, run};
use super::{Action, Activation};

/// The scripts, and the program that runs them.
pub(super) struct Sysv<'a> {
    scripts: &'a Path,
    program: &'a str,
}

impl Sysv<'_> {
    pub(super) fn of_machine() -> Self {
        Self { scripts: Path::new("/etc/init.d"), program: "service" }
    }

    /// Has the first of the action's services that has a script read its files again or start
    /// again, if it runs: what does not run reads them when it begins.
    pub(super) fn tell(&self, action: &Action, timeout: Duration) -> Activation {
        let (units, verb) = match action {
            // Every script has it: Debian's policy asks for it, and for no plain `reload`.
            Action::Reload(units) => (units, "force-reload"),
            Action::Restart(units) => (units, "restart"),
            Action::ReadUnits | Action::Command(_) => return action.not_done(Vec::new()),
        };
        let Some(name) = units.iter().find_map(|unit| self.script(unit)) else {
            return action.not_done(Vec::new());
        };
        let argv = |verb: &str| [self.program, name, verb].map(str::to_owned).to_vec();
        match run(&argv("status"), timeout) {
            Ended::Passed => {
                let ended = Some(run(&argv(verb), timeout));
                Activation { action: action.clone(), argv: argv(verb), ended }
            }
            Ended::Missing => action.not_done(Vec::new()),
            _ => action.not_done(argv("status")),
        }
    }

    /// The name of the script that starts a unit's service.
    fn script<'u>(&self, unit: &'u str) -> Option<&'u str> {
        let name = unit.strip_suffix(".service").unwrap_or(unit);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+.@".contains(&byte);
        let sound = !name.starts_with(['-', '.']) && !name.is_empty() && name.bytes().all(plain);
        (sound && self.scripts.join(name).is_file()).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// What is done of an action where `runs` and `stopped` have scripts.
    #[track_caller]
    fn check(action: &Action, expected: &str, ended: Option<Ended>) {
        let dir = tempfile::tempdir().expect("directory");
        for name in ["runs", "stopped"] {
            fs::write(dir.path().join(name), "").expect("script");
        }
        let program = dir.path().join("service");
        let script = "#!/bin/sh\n[ \"$1\" = runs ] || exit 3\n[ \"$2\" != restart ] || exit 7\n";
        fs::write(&program, script).expect("program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("mode");
        let program = program.display().to_string();
        let sysv = Sysv { scripts: dir.path(), program: &program };
        let done = sysv.tell(action, Duration::from_secs(10));
        let said = done.argv.join(" ");
        assert_eq!(said.strip_prefix(&program).unwrap_or(&said).trim(), expected);
        assert_eq!(done.ended, ended);
    }

    fn units(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn reload(names: &[&str]) -> Action {
        Action::Reload(units(names))
    }

    #[test]
    fn what_runs_is_told() {
        let passed = Some(Ended::Passed);
        check(&reload(&["other.service", "runs.service"]), "runs force-reload", passed);
        let how = "exit code 7".to_owned();
        let failed = Some(Ended::Failed { how, output: String::new() });
        check(&Action::Restart(units(&["runs.service"])), "runs restart", failed);
        check(&reload(&["stopped.service"]), "stopped status", None);
        for unit in ["other.service", "../runs", "-runs", ".", ""] {
            check(&reload(&[unit]), "", None);
        }
        check(&Action::ReadUnits, "", None);
    }
}
