//! Measuring: builds the benchmark program in release and runs it once.

use std::process::Command;

use crate::packages::Purpose;
use crate::process::{heading, must};
use crate::setup;
use crate::stop::Stop;
use crate::workspace::cargo;

/// Nothing it measures takes longer; a benchmark that hangs must end by itself.
const SECONDS_MAX: &str = "1800";

/// Runs the named benchmarks, or all.
pub(crate) fn bench(names: &[String]) -> Result<(), Stop> {
    if !setup::is_root() {
        return Err(Stop::missing("benchmarks make shadows and need root", "run this as root"));
    }
    setup::setup(&[Purpose::Build, Purpose::Run, Purpose::Test, Purpose::Bench])?;
    heading("building, in release");
    let build = ["bench", "--locked", "--package", "umbra-build", "--bench", "pipeline"];
    must(cargo(&build).arg("--no-run"), "building the benchmarks")?;
    heading("measuring");
    let cargo = cargo(&build);
    let mut bench = Command::new("timeout");
    bench.args(["--kill-after=10", SECONDS_MAX]).arg(cargo.get_program());
    bench.args(cargo.get_args()).args(["--quiet", "--"]).args(names);
    must(bench.current_dir(crate::workspace::root()), "measuring")
}
