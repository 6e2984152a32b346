//! `umbra-agent`: speaks with a daemon over its standard input and output.

use std::process::ExitCode;

fn main() -> ExitCode {
    let program = concat!("umbra-agent ", env!("CARGO_PKG_VERSION"));
    let from = std::io::BufReader::new(std::io::stdin());
    match umbra_agent::converse(from, std::io::stdout().lock(), program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("umbra-agent: {error}");
            ExitCode::from(3)
        }
    }
}
