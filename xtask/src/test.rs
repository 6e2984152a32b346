//! Everything that must pass: format, lints, all tests, documentation, the programs that go where
//! nothing else is, and the demo from nothing as the end-to-end test.

use std::time::{Duration, Instant};

use crate::alone::{self, Profile, Program};
use crate::args::DemoOptions;
use crate::demo;
use crate::packages::Purpose;
use crate::process::{heading, must, succeeds};
use crate::setup;
use crate::stop::Stop;
use crate::workspace::{cargo, target_dir};

/// See the module. All stages use one profile, so that nothing is built twice.
pub(crate) fn test() -> Result<(), Stop> {
    let began = Instant::now();
    setup::toolchain()?;
    setup::setup(&[Purpose::Build, Purpose::Run, Purpose::Test])?;
    let mut times = Vec::new();
    let mut stage = |name: &'static str, run: &dyn Fn() -> Result<(), Stop>| {
        heading(name);
        let began = Instant::now();
        run()?;
        times.push((name, began.elapsed()));
        Ok(())
    };
    stage("format", &|| must(&mut cargo(&["fmt", "--all", "--check"]), "cargo fmt --check"))?;
    stage("lints", &|| {
        let args = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        must(&mut cargo(&args), "cargo clippy")
    })?;
    // Tests of virtual machines boot it.
    stage("guest alone", &|| alone::make(Program::Guest, Profile::Dev, None))?;
    stage("tests", &tests)?;
    stage("documentation tests", &|| {
        must(
            &mut cargo(&["test", "--doc", "--workspace", "--locked", "--quiet"]),
            "cargo test --doc",
        )
    })?;
    stage("agent alone", &|| alone::make(Program::Agent, Profile::Dev, None))?;
    stage("end to end", &|| {
        let dir = Some(target_dir().join("e2e"));
        demo::demo(&DemoOptions { keep: false, fresh: true, dir })
    })?;
    println!("\n{}", closing_line(&times, began.elapsed()));
    Ok(())
}

/// By nextest, where it is: it runs tests side by side in processes of their own, and ends one
/// that hangs. Otherwise by cargo.
fn tests() -> Result<(), Stop> {
    if succeeds(&mut cargo(&["nextest", "--version"])) {
        let args = ["nextest", "run", "--workspace", "--locked", "--no-fail-fast"];
        return must(&mut cargo(&args), "cargo nextest run");
    }
    eprintln!("cargo-nextest is not installed; cargo test does the same, more slowly");
    let args = ["test", "--workspace", "--lib", "--bins", "--tests", "--locked", "--no-fail-fast"];
    must(&mut cargo(&args), "cargo test")
}

fn closing_line(times: &[(&str, Duration)], total: Duration) -> String {
    let parts: Vec<String> =
        times.iter().map(|(name, time)| format!("{name} {:.0} s", time.as_secs_f64())).collect();
    format!("all tests passed in {:.0} s ({})", total.as_secs_f64(), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_says_what_passed_and_how_long_it_took() {
        let times = [("format", Duration::from_millis(400)), ("tests", Duration::from_secs(61))];
        assert_eq!(
            closing_line(&times, Duration::from_secs(62)),
            "all tests passed in 62 s (format 0 s, tests 61 s)"
        );
    }
}
