//! What can be typed about primaries and their drift.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

/// What to do with primaries.
#[derive(Debug, Subcommand)]
pub enum Primary {
    /// Take a machine under care: its configuration gets a shadow at once, and is watched.
    Add {
        /// What to call it.
        name: String,
        /// Its root directory; the whole machine if left out.
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
        /// How it is reached, if it is not this machine.
        #[command(flatten)]
        remote: Remote,
        /// What to watch, as a monitoring_config.yml; what is worth watching if left out.
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The image it runs from: rehearsals run on it.
        #[arg(long)]
        image: Option<String>,
    },
    /// List them.
    Ls,
    /// Show one and how it is watched.
    Show {
        /// Its name; may be left out where there is only one.
        name: Option<String>,
    },
    /// Let go of one, with its shadows and its history.
    Rm {
        /// Its name.
        name: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

/// A machine at the other end of ssh.
#[derive(Debug, clap::Args)]
pub struct Remote {
    /// Another machine: `host`, `user@host` or `ssh://user@host:port`. Its agent is put there if
    /// it is missing or of another version.
    #[arg(long, value_name = "DESTINATION")]
    pub ssh: Option<String>,
    /// An option for ssh, as after its `-o`; may be repeated.
    #[arg(long, value_name = "KEYWORD=VALUE", requires = "ssh")]
    pub ssh_option: Vec<String>,
    /// An agent that is installed there already; none is put there then.
    #[arg(long, value_name = "PATH", requires = "ssh")]
    pub agent: Option<String>,
    /// Where the agent and what it remembers are kept there.
    #[arg(long, value_name = "DIR", requires = "ssh", default_value = umbra_drift::remote::DIR)]
    pub agent_dir: String,
}

/// What to do about drift.
#[derive(Debug, Subcommand)]
pub enum Drift {
    /// Write a monitoring_config.yml with what is worth watching on this machine.
    Init {
        /// For this root directory instead.
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
        /// Where; `-` prints it.
        #[arg(short, long, default_value = "monitoring_config.yml", value_name = "FILE")]
        output: PathBuf,
        /// Write over what is there.
        #[arg(long)]
        force: bool,
    },
    /// Write a monitoring_config.yml out of another tool's configuration.
    ///
    /// What it cannot say as it was said there is told, with its line, and stands as a comment
    /// beside what was written instead.
    Import {
        /// Which tool the file belongs to.
        #[arg(long, value_enum, value_name = "TOOL")]
        from: ImportFrom,
        /// Its configuration: aide.conf, osquery.conf, ossec.conf, goss.yaml.
        file: PathBuf,
        /// Where; `-` prints it.
        #[arg(short, long, default_value = "-", value_name = "FILE")]
        output: PathBuf,
        /// Write over what is there.
        #[arg(long)]
        force: bool,
    },
    /// Follow what happens.
    Watch {
        /// Only to this primary.
        primary: Option<String>,
        /// Begin with what happened since this event.
        #[arg(long, value_name = "NUMBER")]
        from: Option<u64>,
        /// Also receipts and how filesystems are watched.
        #[arg(short, long)]
        verbose: bool,
    },
    /// Read everything again and say what differs.
    Check(Check),
    /// Say what differs as far as is known, without reading again.
    Show(Check),
    /// Say when numbers will be where they must not be, or why nobody can say.
    Forecast {
        /// The primary; may be left out where there is only one.
        primary: Option<String>,
    },
    /// Show a primary's shadows through time.
    Log {
        /// The primary; may be left out where there is only one.
        primary: Option<String>,
    },
    /// Show what differs between two shadows.
    Diff {
        /// The primary.
        primary: String,
        /// `A..B`, or `A` alone for what differs from it now.
        #[arg(value_parser = between)]
        between: Between,
    },
    /// Show who changed a parameter, when, and what else changed with it.
    Blame {
        /// The primary.
        primary: String,
        /// The parameter.
        parameter: String,
        /// How many changes.
        #[arg(long, default_value_t = 10)]
        limit: u32,
    },
    /// Make a drift the new known good.
    Accept {
        /// The primary.
        primary: String,
        /// Which drift.
        #[command(flatten)]
        which: Which,
        /// Why; kept in the timeline.
        #[arg(long)]
        reason: String,
    },
    /// Put back what has drifted: planned and shown first, undone unless it holds.
    Rollback(RollBack),
    /// Say that a rollback that waits is good.
    Confirm {
        /// The primary; may be left out where there is only one.
        primary: Option<String>,
    },
    /// Undo a rollback that waits.
    Abort {
        /// The primary; may be left out where there is only one.
        primary: Option<String>,
    },
    /// List a primary's rollbacks.
    Rollbacks {
        /// The primary; may be left out where there is only one.
        primary: Option<String>,
    },
    /// Print the JSON Schema of monitoring_config.yml.
    Schema,
}

/// Whose configuration is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportFrom {
    /// AIDE: groups of attributes, lines that select.
    Aide,
    /// osquery: file_paths and exclude_paths.
    Osquery,
    /// Wazuh or OSSEC: syscheck.
    Wazuh,
    /// goss: resources that are facts of a machine.
    Goss,
}

/// A look at what differs.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// The primary; may be left out where there is only one.
    pub primary: Option<String>,
    /// Which drift.
    #[command(flatten)]
    pub which: Which,
    /// How to write it.
    #[arg(long, value_enum, default_value_t = DriftFormat::Text)]
    pub format: DriftFormat,
    /// What exit codes mean: aide's bits (1 new, 2 removed, 4 changed), or terraform's (2 for
    /// any difference).
    #[arg(long, value_enum, default_value_t = ExitCodes::Aide)]
    pub exit_code: ExitCodes,
}

/// A rollback.
#[derive(Debug, clap::Args)]
pub struct RollBack {
    /// The primary.
    pub primary: String,
    /// Which drift.
    #[command(flatten)]
    pub which: Which,
    /// Only this key of the one file named with --path.
    #[arg(long, requires = "paths")]
    pub key: Option<String>,
    /// To this shadow instead of the known good one.
    #[arg(long, value_name = "SHADOW")]
    pub to: Option<u64>,
    /// Only show what would be done.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// Where primary, known good and target are three different things, the target counts.
    #[arg(long)]
    pub overwrite: bool,
    /// Undo it unless `umbra drift confirm` comes within this time: 90s, 30m, 2h.
    #[arg(long, value_name = "TIME", value_parser = super::seconds)]
    pub confirm_timeout: Option<u64>,
    /// Begin although a package manager is at work.
    #[arg(long)]
    pub force: bool,
    /// Try it on a disposable shadow first, and do nothing unless that passes.
    #[arg(long, conflicts_with = "dry_run")]
    pub rehearse: bool,
    /// The recipe for that, as in `umbra rehearse`.
    #[arg(long, value_name = "FILE", requires = "rehearse")]
    pub recipe: Option<PathBuf>,
}

/// A rehearsal.
#[derive(Debug, clap::Args)]
pub struct Rehearse {
    /// What is tried.
    #[arg(value_enum)]
    pub what: Rehearsed,
    /// The primary; may be left out where there is only one.
    pub primary: Option<String>,
    /// Which drift.
    #[command(flatten)]
    pub which: Which,
    /// Try the drift and its rollback, in either order.
    #[arg(long)]
    pub both: bool,
    /// To this shadow instead of the known good one.
    #[arg(long, value_name = "SHADOW")]
    pub to: Option<u64>,
    /// The recipe whose services run and whose tests must hold; that of the build which made
    /// the primary's image if left out.
    #[arg(long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    /// What makes the shadow it is tried on: sandbox, which it is if left out, or qemu, a machine
    /// with a kernel of its own.
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
}

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Rehearsed {
    /// What has drifted.
    Drift,
    /// Putting it back.
    Rollback,
    /// Starting the machine with what has drifted.
    Reboot,
}

/// Which drift is meant; all of it where nothing is said.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Which {
    /// Only this parameter; may be given several times.
    #[arg(short, long = "parameter", value_name = "NAME")]
    pub parameters: Vec<String>,
    /// Only what lies at this path or below; may be given several times.
    #[arg(long = "path", value_name = "PATH")]
    pub paths: Vec<String>,
}

/// How drift is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DriftFormat {
    /// For people.
    Text,
    /// As JSON.
    Json,
    /// A line of JSON for each.
    Ndjson,
    /// As aide reports.
    Aide,
    /// As `rpm -V` does.
    Rpm,
    /// As SARIF.
    Sarif,
}

/// What exit codes mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExitCodes {
    /// Bits: 1 something is new, 2 something is gone, 4 something changed.
    Aide,
    /// 0 nothing differs, 1 it could not be said, 2 something differs.
    Terraform,
}

/// Two shadows, or one and what is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Between {
    /// The earlier.
    pub from: u64,
    /// The later; `None` for now.
    pub to: Option<u64>,
}

fn between(text: &str) -> Result<Between, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| expected());
    fn expected() -> String {
        "expected two shadows such as 3..5, or one".to_owned()
    }
    match text.split_once("..") {
        None => Ok(Between { from: number(text)?, to: None }),
        Some((from, "")) => Ok(Between { from: number(from)?, to: None }),
        Some((from, to)) => Ok(Between { from: number(from)?, to: Some(number(to)?) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shadows_are_named_by_number() {
        assert_eq!(between("3..5"), Ok(Between { from: 3, to: Some(5) }));
        assert_eq!(between("3.."), Ok(Between { from: 3, to: None }));
        assert_eq!(between("3"), Ok(Between { from: 3, to: None }));
        for text in ["", "..", "a..b", "3...5", "-1"] {
            assert!(between(text).is_err(), "{text}");
        }
    }
}
