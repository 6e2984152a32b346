//! The distribution's kernel for virtual machines, fetched with its package manager, which
//! proves where it is from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::KernelError;
use crate::qemu::child::{self, At, Ending};
use crate::qemu::programs::{APT_CACHE, APT_GET, DPKG_DEB, Places, Program};

/// Packages that depend on the newest kernel for virtual machines: Debian's and Ubuntu's.
const NEWEST: [&str; 2] = ["linux-image-cloud-amd64", "linux-image-virtual"];

/// How the packages' names begin that a kernel is in; in some distributions the modules are in
/// one of their own.
const BEGINNINGS: [&str; 2] = ["linux-image-", "linux-modules-"];

/// One depends on the next: the newest, the kernel, its modules.
const DEPTH_MAX: usize = 3;

/// How long looking up may take, and how long fetching and unpacking.
const LOOKING_MAX: Duration = Duration::from_secs(60);
const FETCHING_MAX: Duration = Duration::from_secs(600);

/// Fetches the packages and unpacks them into a directory.
pub(super) fn fetch(dir: &Path, places: &Places) -> Result<(), KernelError> {
    let packages = newest(places)?;
    tracing::info!(?packages, "fetch a kernel for virtual machines");
    let mut download = program(&APT_GET, places)?;
    download.arg("download").args(&packages).current_dir(dir);
    output(&mut download, FETCHING_MAX)?;
    for archive in archives(dir)? {
        let mut unpack = program(&DPKG_DEB, places)?;
        unpack.arg("-x").arg(&archive).arg(dir);
        output(&mut unpack, FETCHING_MAX)?;
        fs::remove_file(&archive)?;
    }
    Ok(())
}

/// The packages of the newest kernel.
fn newest(places: &Places) -> Result<Vec<String>, KernelError> {
    for name in NEWEST {
        let mut packages = Vec::new();
        let mut looked_at = vec![name.to_owned()];
        for _ in 0..DEPTH_MAX {
            let mut next = Vec::new();
            for package in looked_at {
                next.extend(parts(&depends(&package, places)?));
            }
            next.retain(|package| !packages.contains(package));
            packages.extend(next.iter().cloned());
            looked_at = next;
        }
        if !packages.is_empty() {
            return Ok(packages);
        }
    }
    let names = NEWEST.join(", ");
    Err(KernelError::Fetch(format!("apt knows none of {names} (apt-get update?)")))
}

/// What a package depends on, in apt's words.
fn depends(package: &str, places: &Places) -> Result<String, KernelError> {
    let mut show = program(&APT_CACHE, places)?;
    show.args(["show", "--no-all-versions", package]);
    let finished = child::run(&mut show, LOOKING_MAX, &|_| false)?;
    // A package that is not known is an error to apt, and says nothing.
    let text = String::from_utf8_lossy(&finished.stdout).into_owned();
    let fields = text.lines().filter_map(|line| line.strip_prefix("Depends: "));
    Ok(fields.collect::<Vec<_>>().join(", "))
}

/// Those of a list of dependencies that are parts of a kernel: the first of alternatives, and
/// no package that itself only depends on the newest.
fn parts(depends: &str) -> impl Iterator<Item = String> + use<'_> {
    let named = depends.split(',').filter_map(|part| part.split(['|', '(']).next());
    named.map(str::trim).filter(|name| is_part(name)).map(str::to_owned)
}

fn is_part(name: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+.-".contains(&byte);
    let release = BEGINNINGS.iter().find_map(|beginning| name.strip_prefix(beginning));
    let release = release.map(|release| release.trim_start_matches("unsigned-"));
    name.len() <= 100
        && name.bytes().all(plain)
        && release.is_some_and(|release| release.starts_with(|first: char| first.is_ascii_digit()))
}

fn program(program: &Program, places: &Places) -> Result<Command, KernelError> {
    let mut command = Command::new(program.find_in(places)?);
    // Their messages are read.
    command.env("LC_ALL", "C.UTF-8");
    Ok(command)
}

fn output(command: &mut Command, patience: Duration) -> Result<Vec<u8>, KernelError> {
    let finished = child::run(command, patience, &|_| false)?;
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy();
    match finished.ending {
        Ending::Exited(status) if status.success() => Ok(finished.stdout),
        Ending::Exited(status) => {
            let said = child::line(&finished.stderr, At::Last, 300);
            Err(KernelError::Fetch(format!("{name}: {said} ({status})")))
        }
        Ending::Enough | Ending::Late => {
            let seconds = patience.as_secs();
            Err(KernelError::Fetch(format!("{name} took more than {seconds} s")))
        }
    }
}

fn archives(dir: &Path) -> Result<Vec<PathBuf>, KernelError> {
    let mut archives = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "deb") {
            archives.push(path);
        }
    }
    archives.sort_unstable();
    Ok(archives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(depends: &str, expected: &[&str]) {
        assert_eq!(parts(depends).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_kernels_parts_are_found_among_dependencies() {
        check(
            "linux-image-6.1.0-57-cloud-amd64 (= 6.1.192-3)",
            &["linux-image-6.1.0-57-cloud-amd64"],
        );
        check(
            "linux-image-6.12.48+deb13-cloud-amd64 (= 6.12.48-1)",
            &["linux-image-6.12.48+deb13-cloud-amd64"],
        );
        check(
            "kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool",
            &[],
        );
        check(
            "linux-image-6.8.0-60-generic, linux-headers-virtual (= 6.8.0-60.63)",
            &["linux-image-6.8.0-60-generic"],
        );
        check(
            "kmod, linux-modules-6.8.0-60-generic, linux-base | x",
            &["linux-modules-6.8.0-60-generic"],
        );
        check("linux-image-amd64, linux-image-../x, linux-image-6 --option", &[]);
    }
}
