//! Machines that others are forked from: booted, ready, and stopped, their memory in a file that
//! nobody writes to any more.
//!
//! A template is good for one thing exactly: the same layers, the same kind of shadow. Templates
//! and disks live as long as their provider.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use umbra_state::escape;
use umbra_store::overlay::Layers;

use super::programs;
use super::provider::Boots;
use crate::error::ShadowError;
use crate::provider::{Network, ShadowSpec};
use crate::sandbox::IDS_BASE;
use crate::sandbox::client::MachineKeeper;
use crate::sandbox::maker::{Annex, Maker};
use crate::sandbox::wire::MachineRequest;

/// How much of what a program said is looked at.
const SAID_BYTES_MAX: u64 = 64 << 10;

/// See the module.
pub(super) struct Templates {
    annex: Annex,
    made: Mutex<HashMap<String, Arc<Template>>>,
    disks: Mutex<HashMap<String, Arc<Disk>>>,
    /// Held while one is made: whoever needs the same waits for it.
    making: Mutex<u64>,
}

/// One of them.
pub(super) struct Template {
    pub(super) memory: PathBuf,
    pub(super) saved: Saved,
}

/// What is kept of a machine beside its memory.
pub(super) struct Saved {
    /// Its devices.
    pub(super) state: File,
    pub(super) on_disk: OnDisk,
    pub(super) systemd: bool,
}

impl Template {
    /// What was saved, from its beginning.
    pub(super) fn state(&self) -> Result<File, ShadowError> {
        let path = format!("/proc/self/fd/{}", self.saved.state.as_raw_fd());
        File::open(path).map_err(system("open what a machine is forked from"))
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        // Whoever was forked from it has it open.
        let _ = fs::remove_file(&self.memory);
    }
}

/// What a machine with files of its own is begun with.
#[derive(Clone)]
pub(super) struct OnDisk {
    pub(super) disk: Arc<Disk>,
    pub(super) boots: Boots,
}

/// A disk with the files of some layers.
pub(super) struct Disk(PathBuf);

impl Disk {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Templates {
    pub(super) fn open(maker: &Maker) -> Result<Self, ShadowError> {
        Ok(Self {
            annex: maker.annex("templates")?,
            made: Mutex::default(),
            disks: Mutex::default(),
            making: Mutex::default(),
        })
    }

    /// The one for such a shadow, if it has been made.
    pub(super) fn of(&self, layers: &Layers, spec: &ShadowSpec) -> Option<Arc<Template>> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.get(&key(layers, spec)).cloned()
    }

    /// Makes it from what `make` saves of a shadow of this name, whose memory is in this file.
    pub(super) fn make(
        &self,
        layers: &Layers,
        spec: &ShadowSpec,
        make: impl FnOnce(String, &Path) -> Result<Saved, ShadowError>,
    ) -> Result<(), ShadowError> {
        let mut number = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if self.of(layers, spec).is_some() {
            return Ok(());
        }
        *number += 1;
        let memory = self.annex.dir.path().join(format!("memory-{number}"));
        let file = File::create_new(&memory).map_err(system("make a file for memory"))?;
        chown(&memory, Some(IDS_BASE), Some(IDS_BASE)).map_err(system("give away a file"))?;
        drop(file);
        match make(format!("template.{number}"), &memory) {
            Ok(saved) => {
                let template = Template { memory, saved };
                let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
                made.insert(key(layers, spec), Arc::new(template));
                Ok(())
            }
            Err(error) => {
                let _ = fs::remove_file(&memory);
                Err(error)
            }
        }
    }

    /// The disk with the files of `layers`, which the keeper shows at `tree`.
    pub(super) fn disk(
        &self,
        layers: &Layers,
        keeper: &MachineKeeper,
        tree: &Path,
    ) -> Result<Arc<Disk>, ShadowError> {
        let mut disks = self.disks.lock().unwrap_or_else(PoisonError::into_inner);
        let key = serde_json::to_string(layers).unwrap_or_default();
        if let Some(disk) = disks.get(&key) {
            return Ok(Arc::clone(disk));
        }
        let path = self.annex.dir.path().join(format!("disk-{}.erofs", disks.len()));
        let disk = Arc::new(Disk(path));
        make_disk(disk.path(), keeper, tree)?;
        disks.insert(key, Arc::clone(&disk));
        Ok(disk)
    }

    /// A file that only those have who are given it.
    pub(super) fn nameless(&self) -> Result<File, ShadowError> {
        use rustix::fs::{Mode, OFlags};
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let opened = rustix::fs::open(self.annex.dir.path(), flags, Mode::RUSR | Mode::WUSR);
        opened.map(File::from).map_err(|error| system("make a file")(error.into()))
    }
}

/// What two shadows must have in common to be forked from the same machine.
fn key(layers: &Layers, spec: &ShadowSpec) -> String {
    let network = spec.network != Network::None;
    serde_json::to_string(&(layers, spec.init, &spec.limits, network)).unwrap_or_default()
}

/// Packs the directory `tree`, which the keeper sees, into a disk that QEMU, nobody here, can read.
fn make_disk(path: &Path, keeper: &MachineKeeper, tree: &Path) -> Result<(), ShadowError> {
    let program = programs::MKFS_EROFS
        .find()
        .map_err(|missing| ShadowError::Unsupported(format!("failed to {missing}")))?;
    let words = [
        program.as_os_str(),
        // Inodes with whole times and owners.
        "-Eforce-inode-extended".as_ref(),
        path.as_os_str(),
        tree.as_os_str(),
    ];
    let arguments = words.map(|word| word.to_string_lossy().into_owned()).to_vec();
    let (mut said, says) = std::io::pipe().map_err(system("make a pipe"))?;
    let ran = keeper.ask(&MachineRequest::Run(arguments), &[says.as_fd()]);
    drop(says);
    if let Err(error) = ran {
        let mut end = Vec::new();
        // What it says fits into a pipe, or it is not needed to understand the rest.
        let _ = said.by_ref().take(SAID_BYTES_MAX).read_to_end(&mut end);
        let (why, said) = (umbra_state::chain(&error), escape::line(end.trim_ascii(), 400));
        return Err(ShadowError::Launcher(format!("a disk could not be made ({why}): {said}")));
    }
    let readable = fs::Permissions::from_mode(0o644);
    fs::set_permissions(path, readable).map_err(system("let a disk be read"))
}

fn system(doing: &'static str) -> impl FnOnce(std::io::Error) -> ShadowError {
    move |source| ShadowError::System { doing: doing.to_owned(), source }
}
