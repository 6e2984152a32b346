//! Whether the programs that read the files accept them, asked before anything changes: on a
//! view of the root, nobody else's, in which all of them have changed already.

mod map;
mod view;

pub use map::{Known, known};
pub(super) use view::inside;

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::command::{Ended, run};
use super::options::Options;
use super::plan::Plan;
use super::step::Step;

/// What a validator said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// What came of it.
    pub said: Said,
}

/// What came of asking a validator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// It accepts the files.
    Accepts,
    /// It does not.
    Rejects {
        /// Its exit code or signal.
        how: String,
        /// What it printed.
        output: String,
    },
    /// Nobody knows: no evidence, neither way.
    Unknown {
        /// Why, as a sentence after "because".
        why: String,
    },
}

/// Asks every validator of the files that change.
pub(super) fn validate(
    plan: &Plan,
    steps: &[Step],
    options: &Options,
    scratch: &Path,
) -> Vec<Checked> {
    let mut commands: Vec<Vec<String>> = Vec::new();
    for change in &plan.changes {
        let Some(path) = change.place.path() else { continue };
        let is_removed = change.to == super::plan::Aim::Absent;
        let mine = change.checks.iter().filter(|_| !is_removed).cloned();
        for argv in map::of(path, is_removed).into_iter().chain(mine) {
            let Some(path) = path.to_str() else { continue };
            let argv = argv.iter().map(|word| word.replace("{file}", path)).collect();
            if !commands.contains(&argv) {
                commands.push(argv);
            }
        }
    }
    if commands.is_empty() {
        return Vec::new();
    }
    let timeout = Duration::from_millis(options.validate_timeout_ms);
    let asked = view::with_staged(steps, options, scratch, || {
        commands.iter().map(|argv| run(argv, timeout)).collect::<Vec<Ended>>()
    });
    let ended = match asked {
        Ok(ended) => ended,
        Err(why) => {
            let why = format!("the files cannot be shown to it: {why}");
            vec![Ended::NotRun { why }; commands.len()]
        }
    };
    let checked = commands.into_iter().zip(ended).map(|(argv, ended)| {
        let said = match ended {
            Ended::Passed => Said::Accepts,
            // One that rejects what is there, too, says nothing about the change.
            Ended::Failed { how, output } => match as_it_is(&argv, options, timeout) {
                Ended::Passed => Said::Rejects { how, output },
                _ => Said::Unknown { why: format!("it rejects what is there now, too: {output}") },
            },
            Ended::TimedOut => Said::Unknown { why: "it took too long".to_owned() },
            Ended::Missing => Said::Unknown { why: format!("{} is not installed", argv[0]) },
            Ended::NotRun { why } => Said::Unknown { why },
        };
        Checked { argv, said }
    });
    checked.collect()
}

fn as_it_is(argv: &[String], options: &Options, timeout: Duration) -> Ended {
    match options.is_machine {
        true => run(argv, timeout),
        false => inside(&options.root, argv, timeout),
    }
}
