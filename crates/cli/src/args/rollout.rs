//! What can be typed about rollouts.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use umbra_api::rollout::Candidate;

/// A new image for a service, judged while it gets more and more of the requests.
#[derive(Debug, Subcommand)]
pub enum Rollout {
    /// Begin one, and follow it where somebody watches.
    Start(Start),
    /// Say how one stands; the last one if none is named.
    Status {
        /// Which one.
        #[command(flatten)]
        which: Which,
    },
    /// List rollouts, the last ones first.
    Ls {
        /// How many.
        #[arg(long, default_value_t = 10)]
        limit: u32,
    },
    /// Follow one to its end; the exit code says how it ended.
    Watch {
        /// Which one.
        #[command(flatten)]
        which: Which,
    },
    /// Go on with the next step, whatever this one waits for. Not past what was found worse.
    Promote {
        /// Which one.
        #[command(flatten)]
        which: Which,
        /// Skip every step that is left.
        #[arg(long)]
        full: bool,
    },
    /// End one: everything goes to the previous image again.
    Abort {
        /// Which one.
        #[command(flatten)]
        which: Which,
    },
    /// Stay at the weight it has. What is found worse is taken back all the same.
    Pause {
        /// Which one.
        #[command(flatten)]
        which: Which,
    },
    /// Go on after a pause.
    Resume {
        /// Which one.
        #[command(flatten)]
        which: Which,
    },
    /// Begin one again that ended without success.
    Retry {
        /// Which one.
        #[command(flatten)]
        which: Which,
    },
    /// Return from one that succeeded to the image from before, by the same steps.
    Undo {
        /// Which one.
        #[command(flatten)]
        which: Which,
    },
    /// Show the evidence: what was counted, what was decided, when and why.
    Explain {
        /// Which one.
        #[command(flatten)]
        which: Which,
    },
    /// Judge again what a gateway kept, and say whether every decision comes out the same.
    ///
    /// Ends with 0 if it does, with 1 if not, with 4 where nothing was decided, and with
    /// 3 if the file cannot be read.
    Replay {
        /// The file; `umbra rollout explain` names it.
        journal: PathBuf,
    },
    /// Check a file that says how to roll out, and name all that is wrong with it.
    Check {
        /// The file.
        #[arg(default_value = "rollout.yaml")]
        file: PathBuf,
    },
    /// Print the JSON Schema of such files.
    Schema,
}

/// A rollout to be.
#[derive(Debug, Args)]
pub struct Start {
    /// The service, whose route at the gateway is called so if the file names no other.
    pub service: String,
    /// What is to replace the image in production.
    #[command(flatten)]
    pub candidate: What,
    /// The file that says how; the usual steps if left out.
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The gateway's control socket; the one in the daemon's state directory if left out.
    #[arg(long, value_name = "SOCKET")]
    pub gateway: Option<PathBuf>,
    /// Follow it to its end also where nobody watches.
    #[arg(long, conflicts_with = "detach")]
    pub watch: bool,
    /// Print its number and do not follow it.
    #[arg(long)]
    pub detach: bool,
}

/// Either an image or what runs already.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct What {
    /// An image, or a state as in `umbra diff`; instances of it are run.
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// An instance that you run yourself, with https:// or h2c:// in front if it speaks that; can
    /// be given again.
    #[arg(long = "candidate", value_name = "HOST:PORT")]
    pub candidates: Vec<String>,
}

impl What {
    /// As the daemon takes it.
    pub fn into_candidate(self) -> Candidate {
        match self.image {
            Some(image) => Candidate::Image(image),
            None => Candidate::Targets(self.candidates),
        }
    }
}

/// Which rollout.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// Its number, or its service, of which the last one is meant. May be left out where only one
    /// can be meant.
    #[arg(value_name = "SERVICE|ID")]
    pub rollout: Option<String>,
}
