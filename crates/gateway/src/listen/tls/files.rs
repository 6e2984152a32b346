//! The files certificates and keys are in, and how it is seen that they changed.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::pair::{Pair, PairError};

/// A file of certificates or a key is no longer.
const BYTES_MAX: u64 = 1 << 20;
/// There are no more certificates.
const PAIRS_MAX: usize = 1_000;

/// Where certificates and keys are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Files of certificates, each with that of its key.
    pub pairs: Vec<(PathBuf, PathBuf)>,
    /// A directory with `NAME.crt` beside `NAME.key`, in the order of their names.
    pub dir: Option<PathBuf>,
}

/// Why files are of no use.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// One cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// What is in them.
    #[error("serve TLS with {} and {}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// Its key's.
        key: PathBuf,
        /// What is wrong.
        #[source]
        source: PairError,
    },
    /// No files.
    #[error("find certificates in {}: there is no NAME.crt beside a NAME.key", dir.display())]
    Empty {
        /// Where.
        dir: PathBuf,
    },
    /// More than anybody has.
    #[error("read certificates: there are more than {PAIRS_MAX}")]
    Many,
}

/// What tells a file from what it was before: which it is, how long, and since when.
pub(super) type Stamps = Vec<(PathBuf, Option<(u64, u64, u64, i64, i64)>)>;

impl Sources {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty() && self.dir.is_none()
    }

    /// All of them, and what tells them from what they will be.
    pub(super) fn read(&self) -> Result<(Stamps, Vec<Pair>), FilesError> {
        let files = self.files()?;
        if files.len() > PAIRS_MAX {
            return Err(FilesError::Many);
        }
        // Before they are read: what changes meanwhile is read again.
        let stamps = stamps(&files);
        let pairs = files.into_iter().map(|(certificate, key)| {
            let read = Pair::read(&certificate, &whole(&certificate)?, &whole(&key)?);
            read.map_err(|source| FilesError::Pair { certificate, key, source })
        });
        Ok((stamps, pairs.collect::<Result<_, _>>()?))
    }

    /// How the files are now, those that are not there among them.
    pub(super) fn stamps(&self) -> Stamps {
        stamps(&self.files().unwrap_or_default())
    }

    fn files(&self) -> Result<Vec<(PathBuf, PathBuf)>, FilesError> {
        let mut files = self.pairs.clone();
        if let Some(dir) = &self.dir {
            let found = in_directory(dir)
                .map_err(|source| FilesError::Read { path: dir.clone(), source })?;
            if found.is_empty() && files.is_empty() {
                return Err(FilesError::Empty { dir: dir.clone() });
            }
            files.extend(found);
        }
        Ok(files)
    }
}

fn in_directory(dir: &Path) -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let certificate = entry?.path();
        let key = certificate.with_extension("key");
        if certificate.extension().is_some_and(|ends| ends == "crt") && key.exists() {
            found.push((certificate, key));
        }
    }
    found.sort();
    Ok(found)
}

fn stamps(files: &[(PathBuf, PathBuf)]) -> Stamps {
    let both = files.iter().flat_map(|(certificate, key)| [certificate, key]);
    both.map(|path| {
        let stamp = fs::metadata(path).ok().map(|metadata| stamp(&metadata));
        (path.clone(), stamp)
    })
    .collect()
}

fn stamp(metadata: &Metadata) -> (u64, u64, u64, i64, i64) {
    let (mtime, nanos) = (metadata.mtime(), metadata.mtime_nsec());
    (metadata.dev(), metadata.ino(), metadata.len(), mtime, nanos)
}

fn whole(path: &Path) -> Result<Vec<u8>, FilesError> {
    let read = || {
        let mut bytes = Vec::new();
        // Before it is opened: that of a pipe waits.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        File::open(path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(io::Error::other("it has more than 1 MiB"));
        }
        Ok(bytes)
    };
    read().map_err(|source| FilesError::Read { path: path.to_owned(), source })
}
