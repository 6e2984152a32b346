//! The agent as other machines get it: one file that needs nothing of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{answer, must};
use crate::stop::Stop;
use crate::workspace::{cargo, target_dir};

const NAME: &str = "umbra-agent";
/// Flags from the environment, which those of this build go beside.
const FLAGS: &str = "RUSTFLAGS";

/// How it is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As tests are.
    Dev,
    /// To be used.
    Release,
}

/// Builds it, tries it where nothing else is, and copies it into `to`.
pub(crate) fn agent(profile: Profile, to: Option<&Path>) -> Result<(), Stop> {
    let built = build(profile)?;
    let tried = try_alone(&built)?;
    let bytes = fs::metadata(&built).map_err(|error| failed("look at", &built, &error))?.len();
    let file = match to {
        None => built,
        Some(dir) => {
            let file = dir.join(NAME);
            // Somebody may run the one that is there: it is replaced, not written to.
            let new = dir.join(format!(".{NAME}.new"));
            fs::copy(&built, &new).map_err(|error| failed("write", &new, &error))?;
            fs::rename(&new, &file).map_err(|error| failed("write", &file, &error))?;
            file
        }
    };
    println!("{}: {:.1} MB, {tried}", file.display(), bytes as f64 / 1e6);
    Ok(())
}

fn build(profile: Profile) -> Result<PathBuf, Stop> {
    let target = host()?;
    let mut flags = std::env::var(FLAGS).unwrap_or_default();
    flags.push_str(" -C target-feature=+crt-static");
    let (word, dir) = match profile {
        Profile::Dev => (None, "debug"),
        Profile::Release => (Some("--release"), "release"),
    };
    // With a target named, what runs while building is built as usual.
    let mut args = vec!["build", "--locked", "--package", NAME, "--target", &target];
    args.extend(word);
    must(cargo(&args).env(FLAGS, flags.trim_start()), "cargo build of the agent")?;
    Ok(target_dir().join(&target).join(dir).join(NAME))
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
fn try_alone(program: &Path) -> Result<&'static str, Stop> {
    if !rustix::process::geteuid().is_root() {
        return Ok("not tried in an empty root, which needs root");
    }
    let root = target_dir().join("agent-alone");
    let tried = fs::create_dir_all(&root)
        .and_then(|()| fs::copy(program, root.join(NAME)))
        .and_then(|_| fs::set_permissions(&root, fs::Permissions::from_mode(0o700)))
        .map_err(|error| failed("make", &root, &error))
        .and_then(|()| {
            answer(Command::new("chroot").arg(&root).arg(format!("/{NAME}")).arg("--version"))
        });
    fs::remove_dir_all(&root).map_err(|error| failed("remove", &root, &error))?;
    let (status, said) = tried?;
    if status.success() && said.starts_with(NAME.as_bytes()) {
        return Ok("runs in an empty root");
    }
    Err(Stop::Failed(format!("the agent does not run in an empty root ({status})")))
}

fn failed(doing: &str, path: &Path, error: &std::io::Error) -> Stop {
    Stop::Failed(format!("failed to {doing} {}: {error}", path.display()))
}
