//! Services: whether systemd or an old init would start them, and whether they run.

use umbra_state::Command;

use super::world::World;
use super::{Facts, Resource};
use crate::target::{ProbeError, root};

const NAMES_MAX: usize = 10_000;

/// Where unit files are, the most important first.
const UNIT_DIRS: [&str; 4] =
    ["etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];

pub(super) fn observe(resource: &Resource, world: &World<'_>) -> Result<Facts, ProbeError> {
    let mut facts = Facts::new();
    if resource.wants("enabled") {
        facts.insert("enabled", is_enabled(&resource.id, world)?.into());
    }
    if resource.wants("running") {
        facts.insert("running", is_running(&resource.id, world)?.into());
    }
    Ok(facts)
}

/// Enabled means that a target wants it, or that an init runs its script when it starts.
fn is_enabled(name: &str, world: &World<'_>) -> Result<bool, ProbeError> {
    let unit = unit_name(name);
    let directory = world.target.root();
    for dir in ["etc/systemd/system", "usr/lib/systemd/system"] {
        let names = root::read_dir(directory, dir.as_bytes(), NAMES_MAX)?.unwrap_or_default();
        let wanting = |name: &&Vec<u8>| name.ends_with(b".wants") || name.ends_with(b".requires");
        for target in names.iter().filter(wanting) {
            let link = [dir.as_bytes(), b"/", target, b"/", unit.as_bytes()].concat();
            if root::stat(directory, &link)?.is_some() {
                return Ok(true);
            }
        }
    }
    let runs_script =
        |script: &[u8]| script.len() > 3 && script[0] == b'S' && &script[3..] == name.as_bytes();
    for level in ["2", "3", "5"] {
        let dir = format!("etc/rc{level}.d");
        let scripts = root::read_dir(directory, dir.as_bytes(), NAMES_MAX)?.unwrap_or_default();
        if scripts.iter().any(|script| runs_script(script)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Asks systemd where it is PID 1, else looks for the process the unit starts.
fn is_running(name: &str, world: &World<'_>) -> Result<bool, ProbeError> {
    if root::stat(world.target.root(), b"run/systemd/system")?.is_some() {
        let unit = unit_name(name);
        let asked = world.run(Command::new(["systemctl", "is-active", "--", &unit]), None)?;
        match asked.stdout.trim_ascii() {
            b"active" | b"reloading" => return Ok(true),
            b"inactive" | b"failed" | b"activating" | b"deactivating" => return Ok(false),
            // No systemd answers: the directory is a leftover of a build.
            _ => {}
        }
    }
    let process = match program(name, world)? {
        Some(program) => program,
        None => name.trim_end_matches(".service").to_owned(),
    };
    Ok(super::kernel::is_process_running(&process, world.processes()?))
}

/// The program that a unit's `ExecStart=` runs.
fn program(name: &str, world: &World<'_>) -> Result<Option<String>, ProbeError> {
    for dir in UNIT_DIRS {
        let path = format!("{dir}/{}", unit_name(name));
        // A masked unit is a link to /dev/null, which is no file to read.
        let Ok(Some(unit)) = world.file(path.as_bytes()) else { continue };
        return Ok(exec_start(&String::from_utf8_lossy(&unit)));
    }
    Ok(None)
}

fn exec_start(unit: &str) -> Option<String> {
    let mut service = false;
    for line in unit.lines().map(str::trim) {
        if line.starts_with('[') {
            service = line == "[Service]";
        } else if let (true, Some(command)) = (service, line.strip_prefix("ExecStart=")) {
            let command = command.trim_start_matches(['-', '@', ':', '+', '!', ' ']);
            let program = command.split_whitespace().next()?.trim_matches('"');
            return program.rsplit('/').next().map(str::to_owned);
        }
    }
    None
}

fn unit_name(name: &str) -> String {
    let known = [".service", ".socket", ".timer", ".target", ".mount", ".path"];
    match known.iter().any(|suffix| name.ends_with(suffix)) {
        true => name.to_owned(),
        false => format!("{name}.service"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_of_a_unit() {
        for (unit, expected) in [
            ("[Service]\nExecStart=/usr/sbin/nginx -g 'daemon on;'\n", Some("nginx")),
            ("[Unit]\nExecStart=/no\n[Service]\nExecStart=-/usr/sbin/sshd -D\n", Some("sshd")),
            ("[Service]\nType=oneshot\n", None),
        ] {
            assert_eq!(exec_start(unit).as_deref(), expected, "{unit}");
        }
        assert_eq!(unit_name("nginx"), "nginx.service");
        assert_eq!(unit_name("apt-daily.timer"), "apt-daily.timer");
    }
}
