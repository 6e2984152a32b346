//! States that come from elsewhere: tar archives and OCI images.
//!
//! An archive is read into a tree, never onto a filesystem: whatever it says, there is nowhere
//! to escape to. What it may use up is bounded by [`ImportLimits`].
//!
//! ```text
//!   oci.rs     index, manifest, layers: verified blobs
//!     -> archive.rs   one archive to a list of entries, contents kept as objects
//!       -> apply.rs   entries onto a tree: deletions first, then what is added
//! ```

mod apply;
mod archive;
mod oci;
pub(crate) mod pax;

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use umbra_state::Tree;
use umbra_state::escape::escape;

use crate::error::StoreError;
use crate::lock::Lock;
use crate::stack::deep;
use crate::store::Store;

/// What an import may use up. The defaults hold any image that people make on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportLimits {
    /// Entries in all archives together.
    pub entries_max: u64,
    /// Bytes of all files together, unpacked.
    pub bytes_max: u64,
    /// Bytes of all names, links and attributes together.
    pub metadata_bytes_max: u64,
}

impl Default for ImportLimits {
    fn default() -> Self {
        Self { entries_max: 5_000_000, bytes_max: 1 << 40, metadata_bytes_max: 1 << 30 }
    }
}

/// Why something could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The archive could not be read, or ends early.
    #[error("read the archive")]
    Read(#[source] io::Error),
    /// The archive breaks the format, or a rule of ours.
    #[error("accept /{} from the archive: {why}", escape(path))]
    Archive {
        /// The entry it happened at; empty before the first.
        path: Vec<u8>,
        /// What is wrong.
        why: String,
    },
    /// It would use up more than it may.
    #[error("import more than {limit} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
    /// The store could not take it.
    #[error("keep the content of /{} in the store", escape(path))]
    Store {
        /// The entry.
        path: Vec<u8>,
        /// Why not.
        #[source]
        source: StoreError,
    },
    /// A file of an image layout could not be read.
    #[error("read {}", path.display())]
    Layout {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An image layout does not hold what is wanted, or not what it says.
    #[error("find the image in {}: {why}", path.display())]
    Image {
        /// The layout, or a file in it.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Store {
    /// Reads a tar archive (plain, gzip or zstd; ustar, PAX or GNU) and keeps its contents.
    /// Nanoseconds, attributes (`SCHILY.xattr.*`) and hard links are taken where it has them.
    /// `.wh.` names are names here; they mean deletions in [`Store::import_oci_layout`] only.
    pub fn import_tar(
        &self,
        from: impl Read + Send,
        limits: ImportLimits,
    ) -> Result<Tree, ImportError> {
        let _lock = self.import_lock()?;
        deep(move || {
            let mut budget = limits;
            let mut from = decompressed(from).map_err(ImportError::Read)?;
            let entries = archive::read(&self.inner, &mut from, &mut budget, limits)?;
            apply::entries(Tree::empty(), entries, false)
        })
    }

    /// Reads an image from an OCI image layout (a directory with `index.json` and `blobs/`) and
    /// keeps its contents: the layers of the manifest named `tag`, or of the only one, for this
    /// machine's architecture. Every blob is verified before it counts.
    pub fn import_oci_layout(&self, layout: &Path, tag: Option<&str>) -> Result<Tree, ImportError> {
        let _lock = self.import_lock()?;
        deep(|| oci::import(&self.inner, layout, tag, ImportLimits::default()))
    }

    fn import_lock(&self) -> Result<Lock, ImportError> {
        Lock::shared(&self.inner.root)
            .map_err(|source| ImportError::Store { path: Vec::new(), source })
    }
}

/// What a stream unpacks to, by its first bytes.
fn decompressed<'a>(from: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut from = BufReader::with_capacity(256 << 10, from);
    let mut magic = Vec::new();
    (&mut from).take(4).read_to_end(&mut magic)?;
    let is_gzip = magic.starts_with(&[0x1f, 0x8b]);
    let is_zstd = magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    let whole = BufReader::with_capacity(64 << 10, io::Cursor::new(magic).chain(from));
    Ok(match (is_gzip, is_zstd) {
        (true, _) => Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(whole))),
        (_, true) => Box::new(BufReader::new(zstd::Decoder::with_buffer(whole)?)),
        _ => Box::new(whole),
    })
}
