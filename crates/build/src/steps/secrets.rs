//! Secrets of a step: shown inside while it runs, in memory only, never in a layer.

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat2};
use umbra_recipe::{SecretSource, Step};
use umbra_shadow::sandbox::Bind;

use crate::error::{BuildError, system};

/// A filesystem in memory that every Linux has.
const MEMORY_DIR: &str = "/dev/shm";

/// The largest value of a secret.
const SECRET_BYTES_MAX: u64 = 1 << 20;

/// A step's secrets, each in a file that exists in memory only. The files lose their names as
/// soon as they are shown inside, or when this is dropped.
pub(super) struct Secrets {
    dir: Option<PathBuf>,
    held: Vec<Held>,
}

struct Held {
    file: PathBuf,
    target: String,
}

impl Secrets {
    /// Reads the values now.
    pub(super) fn take(step: &Step, base_dir: &Path) -> Result<Self, BuildError> {
        let mut secrets = Self { dir: None, held: Vec::new() };
        if step.secrets.is_empty() {
            return Ok(secrets);
        }
        let dir = secrets.dir.insert(memory_dir()?).clone();
        for secret in &step.secrets {
            let refused = |reason: String| BuildError::Secret {
                step: step.name.clone(),
                id: secret.id.clone(),
                reason,
            };
            let value = match &secret.source {
                SecretSource::Env(name) => std::env::var_os(name)
                    .map(std::os::unix::ffi::OsStringExt::into_vec)
                    .ok_or_else(|| refused(format!("${name} is not set")))?,
                SecretSource::File(path) => {
                    let path = base_dir.join(path);
                    let size = fs::metadata(&path).map(|metadata| metadata.len());
                    match size {
                        Ok(size) if size > SECRET_BYTES_MAX => {
                            return Err(refused(format!("{} is too large", path.display())));
                        }
                        _ => fs::read(&path)
                            .map_err(|error| refused(format!("{}: {error}", path.display())))?,
                    }
                }
            };
            let file = dir.join(secrets.held.len().to_string());
            write_private(&file, &value).map_err(system(|| "keep a secret".to_owned()))?;
            secrets.held.push(Held { file, target: secret.target.clone() });
        }
        Ok(secrets)
    }

    /// How they are shown inside.
    pub(super) fn binds(&self) -> Vec<Bind> {
        self.held
            .iter()
            .map(|held| Bind {
                source: held.file.clone(),
                target: held.target.clone(),
                read_only: true,
                required: true,
            })
            .collect()
    }

    /// They are shown: takes their names away.
    pub(super) fn unname(&mut self) {
        if let Some(dir) = self.dir.take()
            && let Err(error) = fs::remove_dir_all(&dir)
        {
            tracing::error!(%error, "could not remove the names of a step's secrets");
        }
    }

    /// Removes the empty files over which the secrets were shown. One that a step filled after
    /// unmounting is not possible: steps cannot unmount.
    pub(super) fn remove_mountpoints(&self, root: &OwnedFd) {
        for held in &self.held {
            let path = Path::new(&held.target);
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = openat2(root, parent, flags, Mode::empty(), ResolveFlags::IN_ROOT);
            let Ok(parent) = opened else { continue };
            let empty = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| stat.st_size == 0);
            if empty && let Err(error) = rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
                tracing::warn!(%error, "could not remove the place of a secret");
            }
        }
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.unname();
    }
}

/// A new directory in memory that only its owner may enter.
fn memory_dir() -> Result<PathBuf, BuildError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = Path::new(MEMORY_DIR).join(format!("umbra-secrets-{}-{number}", std::process::id()));
    let made = fs::DirBuilder::new().mode(0o700).create(&dir);
    made.map_err(system(|| format!("make {} to keep secrets in memory", dir.display())))?;
    Ok(dir)
}

fn write_private(path: &Path, value: &[u8]) -> std::io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?.write_all(value)
}
