//! The programs that go where nothing else is, each one file that needs nothing: the agent, for
//! other machines, and a guest's first process, for virtual ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::{answer, must};
use crate::stop::Stop;
use crate::workspace::{cargo, target_dir};

/// Flags from the environment, which those of this build go beside.
const FLAGS: &str = "RUSTFLAGS";

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Agent,
    Guest,
}

/// How it is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As tests are.
    Dev,
    /// To be used.
    Release,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Agent => "umbra-agent",
            Self::Guest => "umbra-guest",
        }
    }

    /// What it is asked to see that it runs, and how it ends then.
    fn trial(self) -> (&'static [&'static str], i32) {
        match self {
            Self::Agent => (&["--version"], 0),
            // It is of use to nobody but a kernel, and says so.
            Self::Guest => (&[], 2),
        }
    }
}

/// Builds it, tries it where nothing else is, and copies it into `to`.
pub(crate) fn make(program: Program, profile: Profile, to: Option<&Path>) -> Result<(), Stop> {
    let built = build(program, profile)?;
    let tried = try_alone(program, &built)?;
    let bytes = fs::metadata(&built).map_err(|error| failed("look at", &built, &error))?.len();
    let file = match to {
        None => built,
        Some(dir) => {
            let name = program.name();
            let file = dir.join(name);
            // Somebody may run the one that is there: it is replaced, not written to.
            let new = dir.join(format!(".{name}.new"));
            fs::copy(&built, &new).map_err(|error| failed("write", &new, &error))?;
            fs::rename(&new, &file).map_err(|error| failed("write", &file, &error))?;
            file
        }
    };
    println!("{}: {:.1} MB, {tried}", file.display(), bytes as f64 / 1e6);
    Ok(())
}

fn build(program: Program, profile: Profile) -> Result<PathBuf, Stop> {
    let target = host()?;
    let mut flags = std::env::var(FLAGS).unwrap_or_default();
    // Nobody debugs it where it goes, and what it weighs goes there too.
    flags.push_str(" -C target-feature=+crt-static -C strip=debuginfo");
    let (word, dir) = match profile {
        Profile::Dev => (None, "debug"),
        Profile::Release => (Some("--release"), "release"),
    };
    let name = program.name();
    // With a target named, what runs while building is built as usual.
    let mut args = vec!["build", "--locked", "--package", name, "--target", &target];
    args.extend(word);
    must(cargo(&args).env(FLAGS, flags.trim_start()), &format!("cargo build of {name}"))?;
    Ok(target_dir().join(&target).join(dir).join(name))
}

/// The target this machine builds for by itself.
fn host() -> Result<String, Stop> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let (_, said) = answer(Command::new(rustc).arg("-vV"))?;
    let said = String::from_utf8_lossy(&said);
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Stop::Failed("rustc does not say its host".to_owned()))
}

/// Runs it in a directory that has nothing else.
fn try_alone(program: Program, built: &Path) -> Result<&'static str, Stop> {
    if !rustix::process::geteuid().is_root() {
        return Ok("not tried in an empty root, which needs root");
    }
    let name = program.name();
    let root = target_dir().join(format!("{name}-alone"));
    let (arguments, code) = program.trial();
    let tried = fs::create_dir_all(&root)
        .and_then(|()| fs::copy(built, root.join(name)))
        .and_then(|_| fs::set_permissions(&root, fs::Permissions::from_mode(0o700)))
        .map_err(|error| failed("make", &root, &error))
        .and_then(|()| {
            let mut chroot = Command::new("chroot");
            chroot.arg(&root).arg(format!("/{name}")).args(arguments);
            answer(chroot.stderr(Stdio::null()))
        });
    fs::remove_dir_all(&root).map_err(|error| failed("remove", &root, &error))?;
    let (status, _) = tried?;
    // What cannot be started there ends with another code.
    if status.code() == Some(code) {
        return Ok("runs in an empty root");
    }
    Err(Stop::Failed(format!("{name} does not run in an empty root ({status})")))
}

fn failed(doing: &str, path: &Path, error: &std::io::Error) -> Stop {
    Stop::Failed(format!("failed to {doing} {}: {error}", path.display()))
}
