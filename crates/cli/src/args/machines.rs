//! What virtual machines are to be made of.

use std::path::{Path, PathBuf};

use umbra_daemon::machines::MachineOptions;

/// What virtual machines are to be made of.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Machines {
    /// The kernel that virtual machines boot; its modules are in /lib/modules, or below the
    /// directory its boot/ is in. Without it the image's own, this machine's, or Debian's.
    #[arg(long, env = "UMBRA_KERNEL", hide_env_values = true, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// The first process of virtual machines; the umbra-guest beside this program if left out.
    #[arg(long, env = "UMBRA_GUEST", hide_env_values = true, value_name = "FILE")]
    pub guest: Option<PathBuf>,
    /// Translate what virtual machines run, also where KVM could run it.
    #[arg(
        long,
        env = "UMBRA_TRANSLATE",
        hide_env_values = true,
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    pub translate: bool,
}

impl Machines {
    /// With what is beside `program` where nothing was named.
    pub fn options(self, program: &Path) -> MachineOptions {
        let Self { kernel, guest, translate } = self;
        let beside = MachineOptions::beside(program);
        MachineOptions { kernel, guest: guest.unwrap_or(beside.guest), translate }
    }
}
