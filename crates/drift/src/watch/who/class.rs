//! Whether a change was to be expected from the kind of program that made it.
//!
//! Programs count only where nobody but root can put them, so that naming a file `dpkg`
//! explains nothing. The class says who; that the bytes are the package's is another
//! question, to be asked of the package's own list.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Origin, Program};

/// What kind of program made a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A package manager, by its name.
    PackageManager(String),
    /// A configuration manager, by its name.
    ConfigurationManager(String),
    /// Anybody else.
    Unexplained,
}

const PACKAGE_MANAGERS: [&str; 16] = [
    "dpkg",
    "apt",
    "apt-get",
    "aptitude",
    "unattended-upgrade",
    "unattended-upgrades",
    "rpm",
    "dnf",
    "dnf5",
    "yum",
    "zypper",
    "pacman",
    "apk",
    "packagekitd",
    "snapd",
    "rpm-ostree",
];

const CONFIGURATION_MANAGERS: [&str; 11] = [
    "puppet",
    "chef-client",
    "cinc-client",
    "salt-minion",
    "salt-call",
    "cf-agent",
    "ansible-playbook",
    "ansible-pull",
    "cloud-init",
    "rudder",
    "bundlewrap",
];

const UNITS: [(&str, &str); 3] = [
    ("apt-daily-upgrade.service", "unattended-upgrade"),
    ("apt-daily.service", "apt"),
    ("dnf-automatic.service", "dnf"),
];

/// Directories only root writes to.
const SYSTEM: [&str; 6] = ["/usr/bin", "/usr/sbin", "/usr/lib", "/bin", "/sbin", "/opt"];

/// The class of a chain, the writer first. A package manager below a configuration
/// manager is what the change is explained by.
///
/// `system` is the root of a system beside this machine's whose programs count as well.
pub fn classify<'a>(
    chain: impl Iterator<Item = &'a Program> + Clone,
    origin: &Origin,
    system: Option<&Path>,
) -> Class {
    let named = |program: &Program, names: &[&str]| named(program, names, system);
    if let Some(name) = chain.clone().find_map(|program| named(program, &PACKAGE_MANAGERS)) {
        return Class::PackageManager(name);
    }
    let unit = origin.unit.as_deref().unwrap_or_default();
    if let Some((_, name)) = UNITS.iter().find(|(known, _)| *known == unit) {
        return Class::PackageManager((*name).to_owned());
    }
    let mut managers = chain.filter_map(|program| named(program, &CONFIGURATION_MANAGERS));
    managers.next().map_or(Class::Unexplained, Class::ConfigurationManager)
}

/// The name of `program` if it is one of these and lies where only root can put it, on this
/// machine or in `system`.
pub(crate) fn named(program: &Program, names: &[&str], system: Option<&Path>) -> Option<String> {
    let files = [program.script.as_deref(), program.exe.as_deref()];
    files.into_iter().flatten().filter(|file| in_system(file, system)).find_map(|file| {
        let name = file.file_name()?.to_str()?;
        names.contains(&name).then(|| name.to_owned())
    })
}

fn in_system(file: &Path, system: Option<&Path>) -> bool {
    let below = |file: &Path| SYSTEM.iter().any(|directory| file.starts_with(directory));
    let inside = system.and_then(|root| file.strip_prefix(root).ok());
    below(file) || inside.is_some_and(|inside| below(&Path::new("/").join(inside)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(exe: &str, script: Option<&str>) -> Program {
        Program { pid: 1, exe: Some(exe.into()), script: script.map(Into::into) }
    }

    #[test]
    fn the_chain_decides_and_only_system_programs_count() {
        #[track_caller]
        fn check(chain: &[Program], unit: Option<&str>, class: Class) {
            let origin = Origin { unit: unit.map(str::to_owned), ..Origin::default() };
            assert_eq!(classify(chain.iter(), &origin, Some(Path::new("/srv/root"))), class);
        }
        let package = |name: &str| Class::PackageManager(name.to_owned());
        let shell = program("/usr/bin/dash", Some("/var/lib/dpkg/info/nginx.postinst"));
        check(&[shell.clone(), program("/usr/bin/dpkg", None)], None, package("dpkg"));
        check(&[shell.clone(), program("/tmp/dpkg", None)], None, Class::Unexplained);
        check(&[program("/srv/root/usr/bin/dpkg", None)], None, package("dpkg"));
        check(&[program("/srv/root/tmp/dpkg", None)], None, Class::Unexplained);
        check(&[program("/srv/other/usr/bin/dpkg", None)], None, Class::Unexplained);
        check(std::slice::from_ref(&shell), Some("apt-daily.service"), package("apt"));
        let salt = program("/usr/bin/python3", Some("/usr/bin/salt-minion"));
        let by_salt = Class::ConfigurationManager("salt-minion".to_owned());
        check(&[shell.clone(), salt.clone()], None, by_salt);
        check(&[program("/usr/bin/dpkg", None), salt], None, package("dpkg"));
        check(&[], None, Class::Unexplained);
    }
}
