//! The main job on real input: builds `examples/web` on live shadows, then the same recipe with
//! a planted fault, which must halt; proves that what the halt offers works, and shows what was
//! measured.
//!
//! ```text
//! setup -> probe the kernel -> compile -> daemon up -> build web            must pass
//!       -> build web-broken   must halt, at the planted step, by the test that knows it
//!       -> diff, exec before / after / in the failed shadow                 must tell the fault
//!       -> a machine with that image drifts: alert, rehearsal, rollback     must end as it began
//!       -> production mirrored to a shadow that is killed                   must not be felt
//!       -> three rollouts under load: a good image, two bad ones            must end as judged
//!       -> table -> daemon down -> nothing of it may be left
//! ```

mod drift;
mod latency;
mod leftovers;
#[path = "../../../crates/cli/benches/load/mod.rs"]
mod load;
mod machine;
mod mirror;
mod rollout;
mod server;
mod story;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::args::DemoOptions;
use crate::packages::Purpose;
use crate::process::{self, heading, must};
use crate::setup;
use crate::stop::Stop;
use crate::workspace::{cargo, root, target_dir};
use leftovers::Belongings;
use server::{Places, Server};
use story::{Failure, Story};

const GOOD: &str = "examples/web/umbra.yaml";
const BROKEN: &str = "examples/web/broken.yaml";
/// Where the fault is planted, and who must find it.
const PLANTED_STEP: &str = "tune limits";
const PLANTED_TEST: &str = "nginx configuration is valid";
const PLANTED_FILE: &str = "/etc/nginx/conf.d/limits.conf";
/// Nothing may be left after so long.
const REST_MAX: Duration = Duration::from_secs(30);
/// Says that a directory is a demo's and may be removed.
const MARKER: &str = "umbra-demo";

/// See the module.
pub(crate) fn demo(options: &DemoOptions) -> Result<(), Stop> {
    let began = Instant::now();
    machine::check_user()?;
    setup::setup(&[Purpose::Build, Purpose::Run])?;
    let dir = prepare(options)?;
    machine::check_kernel(&dir)?;
    heading("compiling umbra");
    must(&mut cargo(&["build", "--locked", "--package", "umbra-cli"]), "cargo build")?;
    let places = Places::new(program(), dir);
    let daemon = Server::daemon(&places)?;

    heading(&format!("umbra build -f {GOOD}"));
    let good = build(&places, GOOD, &[], 0)?;
    heading(&format!("umbra build -f {BROKEN}   (its planted fault must halt it)"));
    let broken = build(&places, BROKEN, &[], 1)?;
    let failure = planted_failure(&broken)?;
    heading("what the halt left can be entered");
    prove(&places, failure)?;
    heading("a machine that runs the image is held against its shadow");
    let alerted = drift::play(&places)?;
    heading("production is mirrored to a shadow, which is killed in the middle");
    let felt = mirror::play(&places)?;
    heading("images are rolled out under load: a good one, and two with faults no test met");
    let rolled = rollout::play(&places)?;
    heading("measured");
    print!("{}", table::table(&good.figures, &broken.figures));
    println!(
        "an edit of the machine -> its alert on the screen: {} ms, of which the file rests 50",
        alerted.as_millis()
    );
    println!("{felt}\n{rolled}");
    close(daemon, &places, options.keep, failure)?;
    println!("\nthe demo went as it must, in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// `umbra`, once it is compiled.
fn program() -> PathBuf {
    target_dir().join("debug/umbra")
}

/// The directory of the demo's daemon, made if it is not there.
fn prepare(options: &DemoOptions) -> Result<PathBuf, Stop> {
    let dir = options.dir.clone().unwrap_or_else(|| target_dir().join("demo"));
    let dir = std::path::absolute(&dir)
        .map_err(|error| Stop::Usage(format!("{} is no path ({error})", dir.display())))?;
    let occupied = fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some());
    if occupied && !dir.join(MARKER).exists() {
        return Err(Stop::Usage(format!("{} holds something that is no demo's", dir.display())));
    }
    let written = |error| {
        Stop::missing(
            format!("{} cannot be written ({error})", dir.display()),
            "name another directory with --dir",
        )
    };
    if occupied && options.fresh {
        server::stop_former(&Places::new(program(), dir.clone()))?;
        fs::remove_dir_all(&dir).map_err(written)?;
    }
    fs::create_dir_all(&dir).map_err(written)?;
    fs::write(dir.join(MARKER), "").map_err(written)?;
    Ok(dir)
}

/// Builds a recipe on this terminal, and reads from the daemon what happened.
fn build(places: &Places, recipe: &str, vars: &[&str], expected: i32) -> Result<Story, Stop> {
    let mut command = places.client(&["build", "-f"]);
    let status = process::status(command.arg(root().join(recipe)).args(vars))?;
    match status.code() {
        Some(code) if code == expected => last_story(places),
        Some(3) => Err(Stop::missing(
            format!("{recipe} could not be built here"),
            "the reason is above; the Debian archive must be reachable (a proxy is taken from \
             http_proxy), and the disk must have 2 GB",
        )),
        _ => Err(Stop::Failed(format!(
            "building {recipe} ended with {status}, expected exit status: {expected}"
        ))),
    }
}

fn last_story(places: &Places) -> Result<Story, Stop> {
    let list = json(places, &["--json", "ls", "--limit", "1"])?;
    let build = list["builds"][0]["id"].as_u64();
    let build = build.ok_or_else(|| Stop::Failed("the daemon lists no build".to_owned()))?;
    Story::parse(&answer(places, &["--json", "log", &build.to_string()])?)
}

fn json(places: &Places, args: &[&str]) -> Result<Value, Stop> {
    let lost = |error| Stop::Failed(format!("the answer of `umbra {}`: {error}", args.join(" ")));
    serde_json::from_slice(&answer(places, args)?).map_err(lost)
}

fn answer(places: &Places, args: &[&str]) -> Result<Vec<u8>, Stop> {
    let (status, text) = process::answer(&mut places.client(args))?;
    if status.success() {
        return Ok(text);
    }
    Err(Stop::Failed(format!("`umbra {}` failed ({status})", args.join(" "))))
}

/// The failure, which must be the one that was planted.
fn planted_failure(story: &Story) -> Result<&Failure, Stop> {
    let found = story.failure.as_ref().filter(|_| story.phase == "halted");
    let failure = found.ok_or_else(|| {
        Stop::Failed(format!("the broken build ended as {:?}, not halted", story.phase))
    })?;
    if failure.step != PLANTED_STEP || failure.test.as_deref() != Some(PLANTED_TEST) {
        return Err(Stop::Failed(format!(
            "the build halted after step {:?} by test {:?}; the fault is planted in {PLANTED_STEP:?} \
             and {PLANTED_TEST:?} must find it",
            failure.step, failure.test
        )));
    }
    Ok(failure)
}

/// Runs what the halt's screen offers; each must show the fault where it is and only there.
fn prove(places: &Places, failure: &Failure) -> Result<(), Stop> {
    let (before, after) = (short(&failure.before), short(&failure.after));
    let shadow = failure.shadow.as_deref();
    let shadow = shadow.ok_or_else(|| Stop::Failed("the failed shadow was not kept".to_owned()))?;
    let diff = ends(places, &["diff", before, after, "--content"], 0)?;
    if !diff.contains(PLANTED_FILE.trim_start_matches('/')) {
        return Err(Stop::Failed(format!("the diff does not show {PLANTED_FILE}")));
    }
    ends(places, &["exec", before, "--", "nginx", "-t"], 0)?;
    ends(places, &["exec", after, "--", "nginx", "-t"], 1)?;
    let file = ends(places, &["exec", shadow, "--", "cat", PLANTED_FILE], 0)?;
    if !file.contains("client_header_timeout 10s\n") {
        return Err(Stop::Failed("the failed shadow does not show the planted fault".to_owned()));
    }
    Ok(())
}

/// Runs `umbra` for a person who watches; it must end with this exit code.
fn ends(places: &Places, args: &[&str], code: i32) -> Result<String, Stop> {
    eprintln!("$ umbra {}", args.join(" "));
    let (status, text) = process::answer(&mut places.client(args))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().for_each(|line| eprintln!("  {line}"));
    match status.code() {
        Some(ended) if ended == code => Ok(text),
        _ => Err(Stop::Failed(format!(
            "`umbra {}` ended with {status}, expected exit status: {code}",
            args.join(" ")
        ))),
    }
}

/// Enough of an id for a person, and for `umbra`.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Ends the daemon and looks for leftovers; or leaves it and says how to use it.
fn close(daemon: Server, places: &Places, keep: bool, failure: &Failure) -> Result<(), Stop> {
    if keep {
        daemon.keep();
        println!("\n{}", kept(places, failure));
        return Ok(());
    }
    let belongings = daemon.pid().map(Belongings::of).transpose()?.unwrap_or_default();
    daemon.stop()?;
    let until = Instant::now() + REST_MAX;
    let mut left = belongings.remaining(&places.dir);
    // What runs instances stays for some seconds after the last of them.
    while !left.is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
        left = belongings.remaining(&places.dir);
    }
    if left.is_empty() {
        println!(
            "\nthe daemon is stopped; no process, mount, interface or control group of it is left"
        );
        return Ok(());
    }
    Err(Stop::Failed(format!("the daemon is stopped and left behind: {}", left.join(", "))))
}

fn kept(places: &Places, failure: &Failure) -> String {
    let umbra = |args: &[&str]| -> String {
        let command: Command = places.client(args);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    };
    let shadow = failure.shadow.as_deref().unwrap_or("web");
    format!(
        "the daemon runs on; to use it:\n  export UMBRA_SOCKET={}\n  {}\n  {}\n  {}\n\
         the next `cargo xtask demo` stops it",
        shell_word(&places.socket),
        umbra(&["ls"]),
        umbra(&["shadow", "ls"]),
        umbra(&["shell", shadow]),
    )
}

fn shell_word(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halted(step: &str, test: Option<&str>) -> Story {
        let failure =
            Failure { step: step.into(), test: test.map(str::to_owned), ..Failure::default() };
        Story { phase: "halted".into(), failure: Some(failure), ..Story::default() }
    }

    #[test]
    fn only_the_planted_fault_counts() {
        assert!(planted_failure(&halted(PLANTED_STEP, Some(PLANTED_TEST))).is_ok());
        for other in
            [halted(PLANTED_STEP, None), halted("site", Some(PLANTED_TEST)), Story::default()]
        {
            assert_eq!(planted_failure(&other).map_err(|stop| stop.code()), Err(1));
        }
    }

    #[test]
    fn a_directory_with_something_else_in_it_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("precious"), "").unwrap();
        let options =
            DemoOptions { fresh: true, dir: Some(dir.path().to_owned()), ..DemoOptions::default() };
        assert_eq!(prepare(&options).map_err(|stop| stop.code()), Err(2));
        assert!(dir.path().join("precious").exists());
        fs::remove_file(dir.path().join("precious")).unwrap();
        prepare(&options).unwrap();
        fs::write(dir.path().join("cache"), "").unwrap();
        prepare(&options).unwrap();
        assert!(!dir.path().join("cache").exists(), "a demo's own is forgotten");
    }
}
