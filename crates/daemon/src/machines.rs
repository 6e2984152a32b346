//! Virtual machines, made ready when the first is wanted: that fetches a kernel where this machine
//! has none, and tries whether KVM works.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use umbra_shadow::probe;
use umbra_shadow::provider::Reaped;
use umbra_shadow::qemu::{self, QemuConfig, QemuProvider};
use umbra_shadow::{Provider, ShadowError};

use crate::config::Config;
use crate::shadows::Rare;

/// What recipes call their provider.
pub const NAME: &str = "qemu";

/// What virtual machines are to be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineOptions {
    /// The kernel they boot, if it is to be this one.
    pub kernel: Option<PathBuf>,
    /// Their first process.
    pub guest: PathBuf,
    /// Translate what they run, also where KVM could run it.
    pub translate: bool,
}

impl MachineOptions {
    /// Whatever kernel there is, and the first process beside this program.
    pub fn beside(program: &Path) -> Self {
        Self { kernel: None, guest: program.with_file_name("umbra-guest"), translate: false }
    }
}

/// The provider, to be opened. `launcher` is as for sandboxes.
pub(crate) fn provider(config: &Config, launcher: &Path, options: MachineOptions) -> Rare {
    let (dir, cache) = (config.machines(), config.kernels());
    let launcher = launcher.to_path_buf();
    let remains = {
        let (dir, launcher) = (dir.clone(), launcher.clone());
        move || remains(&dir, &launcher)
    };
    let open = move || {
        tracing::info!("making virtual machines ready");
        let MachineOptions { kernel, guest, translate } = options.clone();
        probe::check_guest(&guest).map_err(ShadowError::Unsupported)?;
        let (dir, cache, launcher) = (dir.clone(), cache.clone(), launcher.clone());
        let config = QemuConfig { dir, cache, launcher, guest, kernel, translate };
        let provider = QemuProvider::open(config)?;
        for missing in &provider.capabilities().missing {
            tracing::warn!(missing, "about virtual machines");
        }
        Ok(Arc::new(provider) as Arc<dyn Provider>)
    };
    Rare::new(open, remains)
}

/// Removes what is left of a killed daemon's machines. Where nothing is, nothing is started.
fn remains(dir: &Path, launcher: &Path) -> Result<Reaped, ShadowError> {
    let are = are_there(dir).map_err(|source| {
        let doing = format!("look into {}", dir.display());
        ShadowError::System { doing, source }
    })?;
    if are { qemu::reap(dir, launcher) } else { Ok(Reaped::default()) }
}

/// Whether there are directories in it.
fn are_there(dir: &Path) -> io::Result<bool> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        if entry?.file_type()?.is_dir() {
            return Ok(true);
        }
    }
    Ok(false)
}
