//! Makes a Debian or Ubuntu machine ready: says what is missing, then installs it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::packages::{self, Need, Purpose};
use crate::process::{heading, must, succeeds};
use crate::stop::Stop;
use crate::workspace;

/// Package lists older than this may name versions the archive no longer has.
const LISTS_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Installs what is missing for these purposes. Silent where nothing is.
pub(crate) fn setup(purposes: &[Purpose]) -> Result<(), Stop> {
    let missing = packages::missing(purposes);
    if missing.is_empty() {
        return Ok(());
    }
    heading("setup: Debian packages that are missing here");
    eprint!("{}", packages::described(&missing));
    match hindrance(is_root(), has_apt()) {
        None => install(&missing)?,
        Some(why) => return Err(cannot_install(&missing, why)),
    }
    let still = packages::missing(purposes);
    if still.is_empty() {
        return Ok(());
    }
    let names = packages::names(&still).join(", ");
    Err(Stop::missing(
        format!("apt-get installed the packages, but {names} does not show"),
        "look at its output above",
    ))
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn has_apt() -> bool {
    Path::new("/usr/bin/apt-get").exists()
}

fn hindrance(root: bool, apt: bool) -> Option<&'static str> {
    match (root, apt) {
        (_, false) => Some("this is no Debian or Ubuntu (there is no apt-get)"),
        (false, true) => Some("only root can install them"),
        (true, true) => None,
    }
}

fn cannot_install(missing: &[Need], why: &str) -> Stop {
    let names = packages::names(missing).join(" ");
    Stop::missing(
        format!("{} Debian packages are missing and {why}", missing.len()),
        format!("run `apt-get install {names}` as root, or install what they contain"),
    )
}

fn install(missing: &[Need]) -> Result<(), Stop> {
    if lists_are_old() {
        must_reach(apt().args(["-q", "update"]), "apt-get update")?;
    }
    let mut install = apt();
    install.args(["-q", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0", "install"]);
    must_reach(install.args(packages::names(missing)), "apt-get install")
}

fn must_reach(command: &mut Command, what: &str) -> Result<(), Stop> {
    must(command, what).map_err(|stop| match stop {
        Stop::Failed(what) => Stop::missing(
            what,
            "see its output above; is the package archive reachable from this machine?",
        ),
        other => other,
    })
}

fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    // What this program answers goes to standard output; apt's story does not.
    apt.stdout(std::io::stderr());
    apt
}

fn lists_are_old() -> bool {
    let newest = |dir: &str| {
        let files = std::fs::read_dir(dir).ok()?.flatten();
        let lists = files.filter(|file| file.file_name().to_string_lossy().contains("_Packages"));
        lists.filter_map(|file| file.metadata().ok()?.modified().ok()).max()
    };
    let newest = newest("/var/lib/apt/lists");
    newest
        .is_none_or(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > LISTS_AGE_MAX))
}

/// The toolchain's parts that a minimal installation leaves out.
pub(crate) fn toolchain() -> Result<(), Stop> {
    for (part, sub) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if succeeds(workspace::cargo(&[sub, "--version"]).env_remove("RUSTFLAGS")) {
            continue;
        }
        return Err(Stop::missing(
            format!("the Rust toolchain has no {part}"),
            format!("run `rustup component add {part}`"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_on_a_debian_installs() {
        assert_eq!(hindrance(true, true), None);
        assert!(hindrance(false, true).is_some_and(|why| why.contains("root")));
        assert!(hindrance(true, false).is_some_and(|why| why.contains("apt-get")));
    }

    #[test]
    fn a_machine_that_cannot_be_set_up_is_told_what_to_do() {
        let missing = packages::missing(&[]);
        let stop = cannot_install(&missing, "only root can install them");
        assert_eq!(stop.code(), 3);
        assert!(stop.to_string().contains("apt-get install"), "{stop}");
    }
}
