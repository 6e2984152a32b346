//! What the pipeline costs, measured on this machine's own kernel: `cargo xtask bench [NAME...]`.
//!
//! Comparisons run side by side in one process and are printed as ratios: absolute times depend
//! on the machine, which is named in the first lines.
//!
//! | name | measures |
//! |---|---|
//! | `step` | a small step's end to a test process on a shadow; against rsync |
//! | `tree` | the same on a tree of ten times the entries; system calls on unchanged files |
//! | `sandbox` | a state to the first command in a new sandbox; 200 at once |
//! | `freeze` | a test's failure to the build standing still |
//! | `package` | the nginx package step, its ingestion, and apt-get against a plain chroot |

mod freeze;
mod machine;
mod package;
mod place;
mod sandbox;
mod stats;
mod step;
mod traced;
mod tree;

use std::process::ExitCode;

/// Any failure: a benchmark has nobody who could handle one.
type Failure = Box<dyn std::error::Error>;

type Benchmark = (&'static str, fn() -> Result<(), Failure>);

const BENCHMARKS: [Benchmark; 5] = [
    ("step", step::small_step),
    ("tree", step::ten_times_the_tree),
    ("sandbox", sandbox::sandboxes),
    ("freeze", freeze::freeze),
    ("package", package::package_step),
];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).peekable();
    match args.peek().map(String::as_str) {
        // The provider starts its own program as the launcher.
        Some("launcher") => {
            let code = umbra_shadow::sandbox::launcher::main();
            return ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX));
        }
        Some(traced::ARGUMENT) => return exit(traced::child()),
        _ => {}
    }
    // Cargo adds a flag of its own.
    let names: Vec<String> = args.filter(|arg| !arg.starts_with("--")).collect();
    if let Some(name) = names.iter().find(|name| !BENCHMARKS.iter().any(|(known, _)| known == name))
    {
        let known: Vec<&str> = BENCHMARKS.iter().map(|(known, _)| *known).collect();
        eprintln!("there is no benchmark {name:?}; there are: {}", known.join(", "));
        return ExitCode::from(2);
    }
    machine::describe();
    for (name, run) in BENCHMARKS {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            println!("\n{name}");
            if let Err(error) = run() {
                return exit(Err(error));
            }
        }
    }
    ExitCode::SUCCESS
}

fn exit(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark failed: {}", words(&*error));
            ExitCode::FAILURE
        }
    }
}

fn words(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
