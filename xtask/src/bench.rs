//! Measuring, and the long forms of tests: each builds its program and runs it once.

use std::process::Command;

use crate::alone::{self, Profile, Program};
use crate::packages::Purpose;
use crate::process::{heading, must};
use crate::setup;
use crate::stop::Stop;
use crate::workspace::cargo;

/// Nothing that is measured takes longer; a benchmark that hangs must end by itself.
const SECONDS_MAX: &str = "1800";

/// Tells the test of a killed daemon to try every point, not some.
const EVERY_POINT: &str = "UMBRA_CRASH_EVERY_POINT";

/// Runs what the words name: `fuzz`, `crash`, `disk`, `drift`, `gateway`, `replay`, `rollout`,
/// `tap`, `judge`, benchmarks, or all of these last.
pub(crate) fn bench(words: &[String]) -> Result<(), Stop> {
    match words.split_first() {
        Some((word, rest)) if word == "fuzz" => fuzz(rest),
        Some((word, rest)) if word == "crash" && rest.is_empty() => crash(),
        Some((word, rest)) if word == "disk" && rest.is_empty() => disk(),
        Some((word, rest)) if word == "drift" => drift(rest),
        Some((word, rest)) if word == "gateway" => traffic("gateway", rest),
        Some((word, rest)) if word == "replay" && rest.is_empty() => traffic("replay", rest),
        Some((word, rest)) if word == "judge" && rest.is_empty() => judge(),
        Some((word, rest)) if word == "rollout" && rest.is_empty() => rollout(),
        Some((word, rest)) if word == "tap" && rest.is_empty() => tap(),
        Some((word, rest)) if word == "vm" && rest.len() <= 1 => machines(rest),
        _ => measure(words),
    }
}

/// Tries parsers with hostile bytes, as long as asked for.
fn fuzz(words: &[String]) -> Result<(), Stop> {
    setup::setup(&[Purpose::Build])?;
    heading("fuzzing, in release with every check");
    let run = ["run", "--locked", "--profile", "fuzz", "--package", "umbra-fuzz-targets", "--"];
    must(cargo(&run).args(words), "fuzzing")
}

/// Kills a daemon at every point of a build.
fn crash() -> Result<(), Stop> {
    needs_root()?;
    setup::setup(&[Purpose::Build, Purpose::Run, Purpose::Test])?;
    heading("killing a daemon at every point");
    let build = ["test", "--locked", "--package", "umbra-daemon", "--test", "killed"];
    must(cargo(&build).arg("--no-run"), "building the test")?;
    must(limited(&cargo(&build)).args(["--quiet"]).env(EVERY_POINT, "1"), "killing a daemon")
}

/// A state becomes a disk, beside `mkfs.ext4 -d` and `qemu-img convert`.
fn disk() -> Result<(), Stop> {
    needs_root()?;
    setup::setup(&[Purpose::Build, Purpose::Run, Purpose::Test])?;
    built_and_run("umbra-disk", "disk", &[])
}

/// Drift from end to end, then its parts: watching, collecting, rolling back.
fn drift(words: &[String]) -> Result<(), Stop> {
    needs_root()?;
    setup::setup(&[Purpose::Build, Purpose::Run, Purpose::Bench])?;
    built_and_run("umbra-cli", "drift", words)?;
    if !words.is_empty() {
        return Ok(());
    }
    for example in ["measure_watch", "measure_collect", "measure_rollback"] {
        heading(example);
        let run =
            ["run", "--locked", "--release", "--package", "umbra-drift", "--example", example];
        must(&mut limited(&cargo(&run)), example)?;
    }
    Ok(())
}

/// The gateway beside other proxies and beside itself without a shadow, or what it captures and
/// what is replayed.
fn traffic(name: &str, words: &[String]) -> Result<(), Stop> {
    setup::setup(&[Purpose::Build, Purpose::Test, Purpose::Bench])?;
    built_and_run("umbra-cli", name, words)
}

/// How soon a bad candidate is out of production, how often a good one is, and what judging costs.
fn rollout() -> Result<(), Stop> {
    setup::setup(&[Purpose::Build, Purpose::Test, Purpose::Bench])?;
    built_and_run("umbra-gateway", "rollout", &[])?;
    built_and_run("umbra-cli", "gateway", &["split".to_owned()])
}

/// Virtual machines: booting, forking, and what shows in one that runs.
fn machines(words: &[String]) -> Result<(), Stop> {
    needs_root()?;
    setup::setup(&[Purpose::Build, Purpose::Run, Purpose::Test])?;
    alone::make(Program::Guest, Profile::Release, None)?;
    built_and_run("umbra-shadow", "vm", words)
}

/// A tap beside tcpdump.
fn tap() -> Result<(), Stop> {
    needs_root()?;
    setup::setup(&[Purpose::Build, Purpose::Test, Purpose::Bench])?;
    built_and_run("umbra-gateway", "tap", &[])
}

/// How often the judge is wrong and how soon it is right, where the truth is known.
fn judge() -> Result<(), Stop> {
    setup::setup(&[Purpose::Build])?;
    built_and_run("umbra-judge", "judge", &[])
}

fn built_and_run(package: &str, name: &str, words: &[String]) -> Result<(), Stop> {
    heading("building, in release");
    let bench = ["bench", "--locked", "--package", package, "--bench", name];
    must(cargo(&bench).arg("--no-run"), "building the benchmarks")?;
    heading("measuring");
    must(limited(&cargo(&bench)).args(["--quiet", "--"]).args(words), "measuring")
}

/// Runs the named benchmarks, or all, in release.
fn measure(names: &[String]) -> Result<(), Stop> {
    needs_root()?;
    setup::setup(&[Purpose::Build, Purpose::Run, Purpose::Test, Purpose::Bench])?;
    built_and_run("umbra-build", "pipeline", names)
}

fn needs_root() -> Result<(), Stop> {
    match setup::is_root() {
        true => Ok(()),
        false => Err(Stop::missing("this makes shadows and needs root", "run this as root")),
    }
}

/// A command that is ended when its time is over.
fn limited(command: &Command) -> Command {
    let mut limited = Command::new("timeout");
    limited.args(["--kill-after=10", SECONDS_MAX]).arg(command.get_program());
    limited.args(command.get_args()).current_dir(crate::workspace::root());
    limited
}
