//! `umbra-agent agent`: speaks with a daemon over its standard input and output.
//!
//! `umbra-agent keep-watch JOURNAL` is what a rollback's timer runs. The program `umbra` has the
//! same two words.

use std::path::Path;
use std::process::ExitCode;

use umbra_agent::session::{Program, converse, keep_watch};
use umbra_state::chain;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let done = match &arguments[..] {
        [word] if word == "agent" => speak().map_err(|error| error.to_string()),
        [word, journal] if word == "keep-watch" => {
            keep_watch(Path::new(journal)).map_err(|error| chain(&error))
        }
        [word] if word == "--version" => {
            println!("umbra-agent {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        _ => {
            eprintln!("usage: umbra-agent agent | keep-watch JOURNAL; a daemon starts it");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("umbra-agent: {why}");
            ExitCode::from(3)
        }
    }
}

fn speak() -> std::io::Result<()> {
    let name = concat!("umbra-agent ", env!("CARGO_PKG_VERSION"));
    let program = Program::of_process(name, &["keep-watch"])?;
    let from = std::io::BufReader::new(std::io::stdin());
    converse(from, std::io::stdout(), program)
}
