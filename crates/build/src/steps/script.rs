//! What a `run` or `packages` step executes.

use umbra_recipe::{Action, CommandLine, Packages, Step};
use umbra_state::Command;

/// The command of a step that runs one; of any other step, nothing that would be run.
pub(super) fn command(step: &Step) -> Command {
    let line = match &step.action {
        Action::Run(line) => line.clone(),
        Action::Packages(packages) => CommandLine::Shell(install(packages)),
        Action::Copy(_) | Action::Write(_) => CommandLine::Argv(vec!["true".to_owned()]),
    };
    umbra_recipe::command(&line, &quiet_env(step), step.user.as_deref(), step.workdir.as_deref())
        .with_timeout(step.timeout)
}

/// The step's environment on top of one in which Debian's packages ask nothing and start no
/// services (runlevel 1 is "single user": `invoke-rc.d` leaves daemons alone).
fn quiet_env(step: &Step) -> umbra_recipe::Env {
    let defaults = [("DEBIAN_FRONTEND", "noninteractive"), ("RUNLEVEL", "1")];
    let defaults = defaults.map(|(key, value)| (key.to_owned(), value.to_owned()));
    defaults.into_iter().chain(step.env.clone()).collect()
}

fn install(packages: &Packages) -> String {
    let mut script = String::new();
    if packages.update {
        script.push_str("apt-get -q update\n");
    }
    script.push_str("apt-get -q -y -o Dpkg::Use-Pty=0 install");
    if !packages.recommends {
        script.push_str(" --no-install-recommends");
    }
    for name in &packages.names {
        // The recipe's parser admits only what a package or version name may hold.
        script.push(' ');
        script.push_str(name);
    }
    script.push('\n');
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recommended_packages_come_only_when_asked_for() {
        let mut packages =
            Packages { names: vec!["nginx".to_owned()], update: true, recommends: false };
        assert_eq!(
            install(&packages),
            "apt-get -q update\napt-get -q -y -o Dpkg::Use-Pty=0 install \
             --no-install-recommends nginx\n"
        );
        packages.recommends = true;
        packages.update = false;
        assert_eq!(install(&packages), "apt-get -q -y -o Dpkg::Use-Pty=0 install nginx\n");
    }
}
