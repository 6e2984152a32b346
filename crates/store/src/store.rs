//! The store's folder: opening it, and where its parts are.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use composefs::erofs::format::{FormatConfig, FormatVersion};
use composefs::fsverity::{Algorithm, Sha256HashValue};
use composefs::repository::{Repository, RepositoryConfig};
use rustix::fs::{CWD, Mode, OFlags, openat};
use umbra_state::StateId;

use crate::error::{StoreError, io_error};
use crate::fault::FaultPoints;
use crate::journal::Journal;
use crate::links::LinkCache;
use crate::lock::Lock;
use crate::overlay::support::{ImageSupport, image_support};

/// States and their contents in one folder. Cheap to clone; safe to share between threads and
/// processes.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

/// How a store is opened.
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    /// When written data must be on the disk.
    pub sync: SyncPolicy,
    /// What shows states; found by the kernel's version if not given.
    pub shown_by: Option<ImageSupport>,
    /// Where a test may stop the store.
    pub faults: FaultPoints,
}

/// When written data must be on the disk, so that a power failure cannot take it.
///
/// A killed process needs none of this: the kernel keeps what was written. After a power
/// failure without a sync, the next [`Store::open`] verifies what was written since the last
/// one and removes what did not survive whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncPolicy {
    /// Before a ref gets its new value: what a ref names survives. One `syncfs` per ref.
    #[default]
    OnRef,
    /// Never: for caches and tests.
    Never,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) root: PathBuf,
    repository: Repository<Sha256HashValue>,
    /// `repo/objects`.
    pub(crate) objects: OwnedFd,
    /// `repo/images`.
    pub(crate) images: OwnedFd,
    /// `journal`.
    pub(crate) journal: Journal,
    pub(crate) sync: SyncPolicy,
    pub(crate) shown_by: ImageSupport,
    pub(crate) faults: FaultPoints,
    pub(crate) links: LinkCache,
}

impl Store {
    /// Opens the store in the folder `root`, or makes one there (parents included).
    ///
    /// What an interrupted process left half done is cleaned up first, unless another process
    /// is writing just now.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Self::open_with(root, StoreOptions::default())
    }

    /// See [`Store::open`].
    pub fn open_with(root: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        let failed = |path: &Path| io_error(format!("make {}", path.display()));
        fs::create_dir_all(root).map_err(failed(root))?;
        for part in ["checkouts", "journal", "layers"] {
            let path = root.join(part);
            fs::create_dir_all(&path).map_err(failed(&path))?;
        }
        let repository = open_repository(&root.join("repo"))?;
        for part in ["repo/objects", "repo/images", "repo/images/refs"] {
            let path = root.join(part);
            fs::create_dir_all(&path).map_err(failed(&path))?;
        }
        let inner = Inner {
            objects: open_dir(&root.join("repo/objects"))?,
            images: open_dir(&root.join("repo/images"))?,
            journal: Journal::open(open_dir(&root.join("journal"))?),
            root: root.to_owned(),
            repository,
            sync: options.sync,
            shown_by: options.shown_by.unwrap_or_else(image_support),
            faults: options.faults,
            links: LinkCache::default(),
        };
        let store = Self { inner: Arc::new(inner) };
        if let Some(_alone) = Lock::try_exclusive(&store.inner.root)? {
            crate::journal::recover(&store.inner)?;
            store.remove_stale_checkouts()?;
        }
        Ok(store)
    }

    /// Whether objects and images carry fs-verity, so that the kernel verifies every read.
    pub fn has_verity(&self) -> bool {
        !self.inner.is_insecure()
    }

    /// The EROFS image of a state, for mounting. It exists if [`Store::contains`] says so.
    pub fn image_path(&self, id: StateId) -> PathBuf {
        self.objects_dir().join(crate::object::object_name(id.0))
    }

    /// The folder of content objects, for mounting as a data-only layer.
    pub fn objects_dir(&self) -> PathBuf {
        self.inner.root.join("repo/objects")
    }

    /// A folder on the store's filesystem in which a builder may keep overlay directories. The
    /// store itself never looks into it.
    pub fn layers_dir(&self) -> PathBuf {
        self.inner.root.join("layers")
    }

    /// Keeps the collector out until the guard is dropped. Hold one from before a capture
    /// until the ref is set: what was captured is reachable from no ref in between.
    pub fn pin(&self) -> Result<Pin, StoreError> {
        Ok(Pin { _lock: Lock::shared(&self.inner.root)? })
    }
}

/// See [`Store::pin`].
#[derive(Debug)]
#[must_use = "the collector is kept out only while this lives"]
pub struct Pin {
    _lock: Lock,
}

impl Inner {
    pub(crate) fn is_insecure(&self) -> bool {
        self.repository.is_insecure()
    }
}

fn open_dir(path: &Path) -> Result<OwnedFd, StoreError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map_err(io_error(format!("open {}", path.display())))
}

/// Opens or makes the composefs repository, with fs-verity where the filesystem has it.
fn open_repository(path: &Path) -> Result<Repository<Sha256HashValue>, StoreError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Repository {
        path: path.to_owned(),
        source,
    };
    if path.join("meta.json").exists() {
        return Repository::open_path(CWD, path).map_err(|error| failed(Box::new(error)));
    }
    let mut config = RepositoryConfig::new(Algorithm::SHA256);
    config.erofs_formats = FormatConfig::single(FormatVersion::V1);
    Repository::init_path(CWD, path, config.clone())
        .or_else(|_| Repository::init_path(CWD, path, config.set_insecure()))
        .map(|(repository, _)| repository)
        .map_err(|error| failed(error.into()))
}
