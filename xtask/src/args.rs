//! What can be typed.

use std::path::PathBuf;

use crate::alone::{Profile, Program};
use crate::stop::Stop;

pub(crate) const HELP: &str = "\
cargo xtask COMMAND

  setup            install the Debian packages that are missing, after saying which
  test             setup, then format, lints, all tests and the demo as end-to-end test
  demo             setup, then build examples/web on live shadows, see a fault halt it, a drift
                   put back, and production served while its shadow dies
    --keep           leave the demo's daemon running and say how to use it
    --fresh          forget what earlier runs cached
    --dir DIR        keep the demo's states there instead of target/demo
  agent [DIR]      build the agent for other machines, which needs nothing of them, try it
                   in an empty root, and copy it to DIR
  guest [DIR]      build the first process of virtual machines, likewise; umbra finds it beside
                   its own program
    --dev          as tests have it, for those that are run by hand
  bench [NAME...]  measure, in release; without a name, everything
  bench disk       a state becomes a disk that boots, beside mkfs.ext4 and qemu-img
  bench fuzz [TARGET...] [SECONDS]
                   try parsers with hostile bytes, each so long (60)
  bench gateway [peers] [http2] [faults] [bodies]
                   the gateway beside nginx and HAProxy, and with shadows that misbehave
  bench judge      how often the judge is wrong, how soon it is right, in simulation
  bench replay     whether a replay keeps its schedule, and a capture everything
  bench rollout    how soon a bad candidate is out of production, and what judging costs
  bench tap        a tap beside tcpdump
  bench crash      kill a daemon at every point of a build; `test` tries some
  help             this

Exit codes: 0 good, 1 bad, 2 usage, 3 the machine lacks something, 130 interrupted.
";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Task {
    Help,
    Setup,
    Test,
    Demo(DemoOptions),
    Alone(Program, Profile, Option<PathBuf>),
    Bench { names: Vec<String> },
}

/// How the demo is to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DemoOptions {
    /// Leave the daemon running.
    pub(crate) keep: bool,
    /// Remove what earlier runs left before beginning.
    pub(crate) fresh: bool,
    /// The daemon's state directory; `None` is the default one.
    pub(crate) dir: Option<PathBuf>,
}

pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Task, Stop> {
    let mut args = args;
    let Some(command) = args.next() else { return Ok(Task::Help) };
    match command.as_str() {
        "help" | "-h" | "--help" => nothing_more(args, Task::Help),
        "setup" => nothing_more(args, Task::Setup),
        "test" => nothing_more(args, Task::Test),
        "demo" => Ok(Task::Demo(demo(args)?)),
        "agent" => alone(args, Program::Agent),
        "guest" => alone(args, Program::Guest),
        "bench" => Ok(Task::Bench { names: args.collect() }),
        other => Err(Stop::Usage(format!("there is no command {other:?}"))),
    }
}

fn alone(mut args: impl Iterator<Item = String>, program: Program) -> Result<Task, Stop> {
    let mut profile = Profile::Release;
    let mut word = args.next();
    if word.as_deref() == Some("--dev") {
        profile = Profile::Dev;
        word = args.next();
    }
    nothing_more(args, Task::Alone(program, profile, word.map(PathBuf::from)))
}

fn demo(mut args: impl Iterator<Item = String>) -> Result<DemoOptions, Stop> {
    let mut options = DemoOptions::default();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--keep" => options.keep = true,
            "--fresh" => options.fresh = true,
            "--dir" => {
                let dir =
                    args.next().ok_or_else(|| Stop::Usage("--dir needs a path".to_owned()))?;
                options.dir = Some(dir.into());
            }
            other => return Err(Stop::Usage(format!("demo knows no {other:?}"))),
        }
    }
    Ok(options)
}

fn nothing_more(mut args: impl Iterator<Item = String>, task: Task) -> Result<Task, Stop> {
    match args.next() {
        None => Ok(task),
        Some(extra) => Err(Stop::Usage(format!("{extra:?} is one word too many"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Task, Stop> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn lines_become_tasks() {
        assert_eq!(parsed(""), Ok(Task::Help));
        assert_eq!(parsed("test"), Ok(Task::Test));
        let options = DemoOptions { keep: true, fresh: true, dir: Some("/x".into()) };
        assert_eq!(parsed("demo --keep --dir /x --fresh"), Ok(Task::Demo(options)));
        let agent = Task::Alone(Program::Agent, Profile::Release, Some("/x".into()));
        assert_eq!(parsed("agent /x"), Ok(agent));
        let guest = |profile| Ok(Task::Alone(Program::Guest, profile, None));
        assert_eq!(parsed("guest"), guest(Profile::Release));
        assert_eq!(parsed("guest --dev"), guest(Profile::Dev));
        assert_eq!(parsed("bench step"), Ok(Task::Bench { names: vec!["step".to_owned()] }));
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for line in
            ["tests", "test now", "demo --kepp", "demo --dir", "agent a b", "guest --dev a b"]
        {
            assert_eq!(parsed(line).map_err(|stop| stop.code()), Err(2), "{line}");
        }
    }
}
