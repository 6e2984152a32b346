//! What can be said about instances.

use clap::Subcommand;

/// What to do with instances.
#[derive(Debug, Subcommand)]
pub enum Instances {
    /// List them: where each is, and whether it runs.
    Ls,
    /// Start one from an image, with the recipe's services, and wait until they are ready.
    Start {
        /// Its name, unique among all instances.
        name: String,
        /// What it shows: an image, or a state as in `umbra diff`.
        #[arg(long, value_name = "IMAGE")]
        image: String,
        /// The port its service listens at.
        #[arg(long)]
        port: u16,
        /// The service it is one of; the image's name if left out.
        #[arg(long)]
        service: Option<String>,
    },
    /// Print the end of what its services printed.
    Logs {
        /// Which.
        name: String,
        /// How many bytes of each service at most.
        #[arg(long, default_value_t = 16 << 10)]
        bytes: u64,
    },
    /// Begin one anew: a fresh view of its state, at the same address.
    Restart {
        /// Which.
        name: String,
    },
    /// End some for good.
    Stop {
        /// Which.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        names: Vec<String>,
        /// All of them, and the process that keeps them. Needs no daemon.
        #[arg(long)]
        all: bool,
    },
}
