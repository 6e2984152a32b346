//! The `umbra` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    umbra_cli::run()
}
