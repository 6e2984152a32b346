//! What can be typed.

pub mod capture;
pub mod compare;
pub mod drift;
pub mod gateway;
pub mod instances;
pub mod listening;
pub mod machines;
pub mod replay;
pub mod rollout;
pub mod tap;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use umbra_api::build::{Answer, OnError};

use self::machines::Machines;

/// Shadows of machines: build an image step by step while tests run on live copies of it.
#[derive(Debug, Parser)]
#[command(name = "umbra", version, propagate_version = true, disable_help_subcommand = true)]
pub struct Args {
    /// Where the daemon listens.
    #[arg(long, global = true, env = "UMBRA_SOCKET", hide_env_values = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Where the daemon keeps its state; its socket is inside unless --socket says otherwise.
    #[arg(
        long,
        global = true,
        env = "UMBRA_STATE_DIR",
        hide_env_values = true,
        value_name = "DIR"
    )]
    pub state_dir: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon that owns states, shadows and builds.
    Serve(Machines),
    /// Build an image from a recipe, testing every step on live shadows.
    Build(Build),
    /// Follow a build from its beginning.
    Follow {
        /// Its number; the last one if left out.
        build: Option<u64>,
        /// What to write.
        #[command(flatten)]
        reports: Reports,
    },
    /// Answer a build that asks what to do about a failure.
    Answer {
        /// Its number.
        build: u64,
        /// What it should do.
        #[arg(value_enum)]
        answer: AnswerArg,
    },
    /// Ask a build to end.
    Cancel {
        /// Its number.
        build: u64,
    },
    /// List builds and images.
    Ls {
        /// How many builds.
        #[arg(long, default_value_t = 10)]
        limit: u32,
    },
    /// Show an image's timeline, or what happened in a build.
    Log {
        /// An image's name or a build's number.
        name: String,
        /// Show what the image's tests measured over time instead.
        #[arg(long)]
        metrics: bool,
    },
    /// Show what differs between two states.
    Diff {
        /// The earlier state: an id or its beginning, an image, a ref, `BUILD/STEP` or a step.
        a: String,
        /// The later one.
        b: String,
        /// Only how much.
        #[arg(long, conflicts_with = "content")]
        stat: bool,
        /// Line by line for small text files.
        #[arg(long)]
        content: bool,
    },
    /// List a state's files.
    Files {
        /// The state.
        state: String,
        /// Only what is below this path.
        #[arg(default_value = "/")]
        path: String,
        /// How many at most.
        #[arg(long, default_value_t = 1000)]
        limit: u32,
    },
    /// Open a terminal in a shadow, or in a fresh shadow of a state.
    Shell {
        /// A shadow, or a state as in `umbra diff`.
        place: String,
        /// What to run instead of a shell.
        #[arg(last = true)]
        command: Vec<String>,
        /// Start the recipe's services first.
        #[arg(long)]
        services: bool,
        /// What makes the fresh shadow: sandbox or qemu; without it the recipe's with --services,
        /// else sandbox.
        #[arg(long, value_name = "NAME")]
        provider: Option<String>,
    },
    /// Run a command in a shadow, or in a fresh shadow of a state.
    Exec {
        /// A shadow, or a state as in `umbra diff`.
        place: String,
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<String>,
        /// As which user.
        #[arg(long)]
        user: Option<String>,
        /// In which directory.
        #[arg(long, default_value = "/")]
        workdir: String,
        /// Kill it after so many seconds.
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
        /// Give it this program's standard input.
        #[arg(long)]
        stdin: bool,
        /// Start the recipe's services first.
        #[arg(long)]
        services: bool,
        /// What makes the fresh shadow: sandbox or qemu; without it the recipe's with --services,
        /// else sandbox.
        #[arg(long, value_name = "NAME")]
        provider: Option<String>,
    },
    /// Run a recipe's tests against a state.
    Test {
        /// The state, as in `umbra diff`.
        state: String,
        /// The recipe.
        #[arg(short, long, default_value = "umbra.yaml")]
        file: PathBuf,
        /// Replace one of the recipe's variables.
        #[arg(long = "var", value_name = "KEY=VALUE", value_parser = key_value)]
        vars: Vec<(String, String)>,
        /// Only this test; may be given several times.
        #[arg(long = "only", value_name = "TEST")]
        tests: Vec<String>,
        /// The state that security tests compare with; without one, all they find is the
        /// baseline.
        #[arg(long, value_name = "STATE")]
        baseline: Option<String>,
        /// How to write the results.
        #[arg(long, value_enum, default_value_t = TestFormat::Text)]
        format: TestFormat,
    },
    /// List, create and remove shadows.
    Shadow {
        /// What to do.
        #[command(subcommand)]
        command: Shadow,
    },
    /// List, start and stop instances: what runs services for their users, whether or not the
    /// daemon lives.
    Instances {
        /// What to do.
        #[command(subcommand)]
        command: instances::Instances,
    },
    /// Add, list and remove primaries: machines that are held against their shadows.
    Primary {
        /// What to do.
        #[command(subcommand)]
        command: drift::Primary,
    },
    /// See what differs between primaries and their shadows, and what to do about it.
    Drift {
        /// What to do.
        #[command(subcommand)]
        command: drift::Drift,
    },
    /// Try a drift, its rollback or a reboot on a disposable shadow, and say what would break.
    Rehearse(drift::Rehearse),
    /// Stand in front of production, and mirror what comes to shadows.
    Gateway(gateway::Gateway),
    /// See and change where a gateway sends requests.
    Route {
        /// What to do.
        #[command(subcommand)]
        command: gateway::Route,
    },
    /// Copy production's requests to shadows, whose answers nobody gets.
    Mirror {
        /// What to do.
        #[command(subcommand)]
        command: gateway::Mirror,
    },
    /// Say where a candidate's answers differ from production's more than by noise.
    Compare(compare::Compare),
    /// Keep production's requests in files.
    Capture {
        /// What to do.
        #[command(subcommand)]
        command: capture::Capture,
    },
    /// Send captured requests again.
    Replay(replay::Replay),
    /// Capture requests from what passes an interface.
    Tap(tap::Tap),
    /// Roll out a new image: judged while it gets more and more of the requests.
    Rollout {
        /// What to do.
        #[command(subcommand)]
        command: rollout::Rollout,
    },
    /// Remove states that nothing needs any more.
    Gc {
        /// Only say what would go.
        #[arg(long)]
        dry_run: bool,
    },
    /// Check every state and object in the store.
    Fsck,
    /// Write a state out.
    Export {
        /// The state, as in `umbra diff`.
        state: String,
        /// As what: dir, tar, oci (an image layout), raw or qcow2 (disks that boot).
        #[arg(long, value_name = "FORMAT", default_value = "dir")]
        format: String,
        /// How large a disk is to be, such as 8Gi; with some room if left out.
        #[arg(long, value_name = "SIZE", value_parser = umbra_document::units::size)]
        size: Option<u64>,
        /// Where; must not exist, or be an empty directory.
        #[arg(short, long, value_name = "PATH")]
        output: PathBuf,
    },
    /// Write a recipe to begin with.
    Init {
        /// Where.
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// The image's name; the directory's name if left out.
        #[arg(long)]
        name: Option<String>,
        /// The Debian suite to begin from.
        #[arg(long, default_value = "bookworm")]
        distro: String,
    },
    /// Print the JSON Schema of recipes.
    Schema,
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print this program's version and the daemon's.
    Version,
    /// Print whether the daemon is well.
    Health,
    /// Print what is counted, as Prometheus reads it.
    Metrics,
    /// List what this machine offers, and what lacking it costs.
    Doctor(Machines),
    /// The process that makes sandboxes; started by the daemon.
    #[command(hide = true)]
    Launcher,
    /// The process that reads a primary's parameters; started by the daemon.
    #[command(hide = true)]
    Agent,
    /// The process that keeps instances; started by whoever wants one first.
    #[command(hide = true)]
    Keep,
    /// The process that undoes a rollback nobody confirms; started by a rollback.
    #[command(hide = true)]
    KeepWatch {
        /// The rollback's journal.
        journal: PathBuf,
    },
}

/// What to build, and how.
#[derive(Debug, clap::Args)]
pub struct Build {
    /// The recipe.
    #[arg(short, long, default_value = "umbra.yaml")]
    pub file: PathBuf,
    /// Replace one of the recipe's variables.
    #[arg(long = "var", value_name = "KEY=VALUE", value_parser = key_value)]
    pub vars: Vec<(String, String)>,
    /// Stop well after this step.
    #[arg(long, value_name = "STEP")]
    pub until: Option<String>,
    /// Run every step, whatever is cached.
    #[arg(long)]
    pub no_cache: bool,
    /// What to do at a failure, instead of what the recipe says.
    #[arg(long, value_enum)]
    pub on_error: Option<OnErrorArg>,
    /// Print the build's number and do not follow it.
    #[arg(long)]
    pub detach: bool,
    /// What to write.
    #[command(flatten)]
    pub reports: Reports,
}

/// What to write besides the screen.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Reports {
    /// Write the tests' results as JUnit XML.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write the security findings as SARIF.
    #[arg(long, value_name = "FILE")]
    pub sarif: Option<PathBuf>,
    /// Show what the steps print.
    #[arg(short, long)]
    pub verbose: bool,
}

/// What to do with shadows.
#[derive(Debug, Subcommand)]
pub enum Shadow {
    /// List them.
    Ls,
    /// Make an ephemeral one of a state.
    Create {
        /// The state, as in `umbra diff`.
        #[arg(long)]
        from: String,
        /// Its name.
        #[arg(long)]
        name: Option<String>,
        /// When it goes by itself: 90s, 30m, 2h or 1d.
        #[arg(long, value_parser = seconds)]
        ttl: Option<u64>,
        /// Start the recipe's services in it; they run as long as it is there.
        #[arg(long)]
        services: bool,
        /// What makes it: sandbox or qemu; without it the recipe's with --services, else sandbox.
        #[arg(long, value_name = "NAME")]
        provider: Option<String>,
    },
    /// Take one of a primary's configuration as it is now.
    Take {
        /// The primary; may be left out where there is only one.
        primary: Option<String>,
        /// A word to find it by; may be given several times.
        #[arg(long = "label", value_name = "WORD", value_parser = label)]
        labels: Vec<String>,
        /// Never let it go by itself.
        #[arg(long)]
        keep: bool,
    },
    /// Remove some.
    Rm {
        /// Their names.
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// See [`OnError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnErrorArg {
    /// Stop and keep what can be entered.
    Halt,
    /// Freeze and ask.
    Ask,
    /// Go on; the verdict stays a failure.
    Continue,
}

impl From<OnErrorArg> for OnError {
    fn from(arg: OnErrorArg) -> Self {
        match arg {
            OnErrorArg::Halt => Self::Halt,
            OnErrorArg::Ask => Self::Ask,
            OnErrorArg::Continue => Self::Continue,
        }
    }
}

/// See [`Answer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AnswerArg {
    /// Stop the build.
    Halt,
    /// Go on as if the test had passed.
    Continue,
    /// Run the step again.
    Retry,
}

impl From<AnswerArg> for Answer {
    fn from(arg: AnswerArg) -> Self {
        match arg {
            AnswerArg::Halt => Self::Halt,
            AnswerArg::Continue => Self::Continue,
            AnswerArg::Retry => Self::Retry,
        }
    }
}

/// How results of tests are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TestFormat {
    /// For people.
    Text,
    /// As JSON.
    Json,
    /// As JUnit XML.
    Junit,
    /// Security findings as SARIF.
    Sarif,
}

fn label(text: &str) -> Result<String, String> {
    let good = !text.is_empty() && text.len() <= 64 && !text.contains(char::is_whitespace);
    if good { Ok(text.to_owned()) } else { Err("expected a word of at most 64 letters".into()) }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".into()),
    }
}

/// A number with s, m, h or d.
fn seconds(text: &str) -> Result<u64, String> {
    let expected = || "expected a time such as 90s, 30m, 2h or 1d".to_owned();
    let unit = text.chars().last().ok_or_else(expected)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(expected()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| expected())?;
    number.checked_mul(factor).filter(|seconds| *seconds > 0).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("2h"), Ok(7200));
        for text in ["", "s", "9", "0s", "-1s", "1w", "99999999999999999999d", "1ä"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_variable_needs_a_name() {
        assert_eq!(key_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(key_value("=b").is_err());
        assert!(key_value("b").is_err());
    }
}
