//! What can be typed about a tap.

use std::path::PathBuf;

use clap::Args;

use super::capture::Keeping;

/// A tap on an interface of this machine.
#[derive(Debug, Args)]
pub struct Tap {
    /// What passes this interface; a primary's veth or tap, say.
    #[arg(value_name = "INTERFACE")]
    pub interface: String,
    /// Only what servers at this port are asked; can be given again.
    #[arg(long = "port", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub ports: Vec<u16>,
    /// How many of the connections, from 0.001 to 100.
    #[arg(long, value_name = "PERCENT", default_value = "100")]
    pub percent: String,
    /// End after so long; otherwise Ctrl-C ends it.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub duration: Option<u64>,
    /// Read the interface itself; otherwise the kernel copies to one made for it.
    #[arg(long)]
    pub direct: bool,
    /// What that is to be called; umbra-tap-NUMBER if left out.
    #[arg(long, value_name = "NAME", conflicts_with = "direct")]
    pub mirror_device: Option<String>,
    /// Memory for packets that wait, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 32, value_parser = clap::value_parser!(u32).range(2..=4096))]
    pub ring_memory: u32,
    /// Memory for what is under way, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub memory: u32,
    /// Bytes of a body that are kept; longer ones are cut.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(0..=1 << 30))]
    pub body_bytes: u32,
    /// Keep the requests in this file instead of showing them; `umbra capture show` lists them.
    #[arg(long, value_name = "FILE")]
    pub to_file: Option<PathBuf>,
    /// What of them is kept there.
    #[command(flatten)]
    pub keeping: Keeping,
}
