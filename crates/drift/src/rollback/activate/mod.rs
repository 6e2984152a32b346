//! Making changed files count: telling the services that read them, through systemd or, where
//! that does not run, through the scripts that start services.

mod map;
mod sysv;

pub(super) use map::actions;

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::command::{Ended, run};
use super::options::Options;
use crate::config::Apply;
use sysv::Sysv;

/// Something that makes a changed file count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The service manager reads its units again.
    ReadUnits,
    /// The first of these units that there is reads its files again, if it runs.
    Reload(Vec<String>),
    /// The first of these units that there is starts again, if it runs.
    Restart(Vec<String>),
    /// A program and its arguments.
    Command(Vec<String>),
}

/// What was done, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// What.
    pub action: Action,
    /// The program and its arguments that did it, or that found nothing to do; empty if there
    /// was none.
    pub argv: Vec<String>,
    /// How it ended; `None` if nothing was done, because nothing here manages the service or it
    /// does not run.
    pub ended: Option<Ended>,
}

impl Action {
    /// As the configuration says.
    pub fn configured(apply: &Apply) -> Self {
        match apply {
            Apply::Reload(unit) => Self::Reload(vec![unit.clone()]),
            Apply::Restart(unit) => Self::Restart(vec![unit.clone()]),
            Apply::Command(argv) => Self::Command(argv.clone()),
        }
    }

    /// That there was nothing to do, as this command found.
    fn not_done(&self, argv: Vec<String>) -> Activation {
        Activation { action: self.clone(), argv, ended: None }
    }
}

/// Does it all, in order; whether all of it worked.
pub(super) fn activate(actions: &[Action], options: &Options) -> (Vec<Activation>, bool) {
    let timeout = Duration::from_millis(options.activate_timeout_ms);
    let has_systemd = Path::new("/run/systemd/system").is_dir();
    let done = actions.iter().map(|action| match action {
        Action::Command(argv) => {
            let ended = match options.is_machine {
                true => run(argv, timeout),
                false => super::validate::inside(&options.root, argv, timeout),
            };
            Activation { action: action.clone(), argv: argv.clone(), ended: Some(ended) }
        }
        _ if !options.is_machine => action.not_done(Vec::new()),
        _ if has_systemd => systemd(action, timeout),
        _ => Sysv::of_machine().tell(action, timeout),
    });
    let done: Vec<Activation> = done.collect();
    let worked = done.iter().all(Activation::worked);
    (done, worked)
}

impl Activation {
    /// Whether nothing went wrong.
    fn worked(&self) -> bool {
        match (&self.ended, &self.action) {
            (None | Some(Ended::Passed), _) => true,
            // A program of the map that is not installed has nothing to tell the file's service.
            (Some(Ended::Missing), Action::Command(argv)) => map::knows(argv),
            (Some(ended), _) => *ended == Ended::Missing,
        }
    }
}

fn systemd(action: &Action, timeout: Duration) -> Activation {
    let argv = match action {
        Action::ReadUnits => systemctl(&["daemon-reload"]),
        Action::Reload(units) => systemctl(&["try-reload-or-restart", &existing(units)]),
        Action::Restart(units) => systemctl(&["try-restart", &existing(units)]),
        Action::Command(argv) => argv.clone(),
    };
    let ended = Some(run(&argv, timeout));
    Activation { action: action.clone(), argv, ended }
}

fn systemctl(arguments: &[&str]) -> Vec<String> {
    let mut argv = vec!["systemctl".to_owned(), "--no-ask-password".to_owned()];
    argv.extend(arguments.iter().map(|&argument| argument.to_owned()));
    argv
}

/// Distributions name one service differently.
fn existing(units: &[String]) -> String {
    let is_there = |unit: &&String| {
        let argv = systemctl(&["cat", unit]);
        units.len() == 1 || run(&argv, Duration::from_secs(5)) == Ended::Passed
    };
    units.iter().find(is_there).or(units.first()).cloned().unwrap_or_default()
}
