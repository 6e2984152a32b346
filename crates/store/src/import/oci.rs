//! Images in an OCI image layout.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use umbra_state::Tree;

use super::{ImportError, ImportLimits, apply, archive, decompressed};
use crate::store::Inner;

/// Largest index or manifest that is read, in bytes.
const DOCUMENT_MAX: u64 = 4 << 20;
/// Indexes may lead to indexes, this often.
const NESTED_MAX: u32 = 4;
/// More layers than overlay filesystems stack; each costs a walk over the whole tree.
const LAYERS_MAX: usize = 500;
const TAG: &str = "org.opencontainers.image.ref.name";

#[derive(Debug, Deserialize)]
struct Descriptor {
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
    platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

/// An index has `manifests`, a manifest has `layers`.
#[derive(Debug, Deserialize)]
struct Document {
    manifests: Option<Vec<Descriptor>>,
    layers: Option<Vec<Descriptor>>,
}

/// See [`crate::Store::import_oci_layout`].
pub(super) fn import(
    store: &Inner,
    layout: &Path,
    tag: Option<&str>,
    limits: ImportLimits,
) -> Result<Tree, ImportError> {
    let layout = Layout { folder: layout };
    let mut tree = Tree::empty();
    let mut budget = limits;
    for layer in layout.layers(tag)? {
        let path = layout.blob(&layer)?;
        let failed = |source| ImportError::Layout { path: path.clone(), source };
        let file = open(&path).map_err(failed)?;
        let mut verified = Verified::new(file.take(layer.size.saturating_add(1)));
        let entries = {
            let mut from = decompressed(&mut verified).map_err(ImportError::Read)?;
            let entries = archive::read(store, &mut from, &mut budget, limits)?;
            io::copy(&mut from.take(1 << 30), &mut io::sink()).map_err(ImportError::Read)?;
            entries
        };
        io::copy(&mut verified, &mut io::sink()).map_err(failed)?;
        layout.check(&layer, &path, verified.count, verified.finish())?;
        tree = apply::entries(tree, entries, true)?;
    }
    Ok(tree)
}

struct Layout<'a> {
    folder: &'a Path,
}

impl Layout<'_> {
    /// The layers of the wanted manifest, lowest first.
    fn layers(&self, tag: Option<&str>) -> Result<Vec<Descriptor>, ImportError> {
        let index = self.folder.join("index.json");
        let bytes = self.read(&index)?;
        let mut document = parse(&index, &bytes)?;
        let mut tag = tag;
        for _ in 0..NESTED_MAX {
            if let Some(layers) = document.layers {
                return match layers.len() {
                    0..=LAYERS_MAX => Ok(layers),
                    many => {
                        let why = format!("it has {many} layers, more than {LAYERS_MAX}");
                        Err(ImportError::Image { path: self.folder.to_owned(), why })
                    }
                };
            }
            let manifests = document.manifests.unwrap_or_default();
            let chosen = choose(manifests, tag.take())
                .map_err(|why| ImportError::Image { path: self.folder.to_owned(), why })?;
            let path = self.blob(&chosen)?;
            let bytes = self.read(&path)?;
            self.check(&chosen, &path, bytes.len() as u64, hex(Sha256::digest(&bytes)))?;
            document = parse(&path, &bytes)?;
        }
        let why = "its indexes are nested too deeply".to_owned();
        Err(ImportError::Image { path: self.folder.to_owned(), why })
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, ImportError> {
        let failed = |source| ImportError::Layout { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = open(path).map_err(failed)?;
        file.take(DOCUMENT_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > DOCUMENT_MAX {
            let why = "it is larger than 4 MiB".to_owned();
            return Err(ImportError::Image { path: path.to_owned(), why });
        }
        Ok(bytes)
    }

    /// Where a blob is. Its digest is checked first: it becomes part of a path.
    fn blob(&self, blob: &Descriptor) -> Result<PathBuf, ImportError> {
        let digits = blob.digest.strip_prefix("sha256:").unwrap_or_default();
        if digits.len() != 64 || !digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            let shown: String = blob.digest.chars().take(100).collect();
            let why = format!("it names a blob {shown:?}, which is no sha256 digest");
            return Err(ImportError::Image { path: self.folder.to_owned(), why });
        }
        Ok(self.folder.join("blobs/sha256").join(digits))
    }

    fn check(
        &self,
        blob: &Descriptor,
        path: &Path,
        size: u64,
        digest: String,
    ) -> Result<(), ImportError> {
        let wrong = |why: String| ImportError::Image { path: path.to_owned(), why };
        if size != blob.size {
            return Err(wrong(format!("it should have {} bytes", blob.size)));
        }
        if blob.digest != format!("sha256:{digest}") {
            return Err(wrong(format!("its content has the digest sha256:{digest}")));
        }
        Ok(())
    }
}

/// Opens a regular file: anything else may keep its reader waiting for ever.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(CWD, path, flags, Mode::empty())?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Document, ImportError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ImportError::Image { path: path.to_owned(), why: error.to_string() })
}

/// The manifest of this name, or the only one; among several, the one for this machine.
fn choose(mut manifests: Vec<Descriptor>, tag: Option<&str>) -> Result<Descriptor, String> {
    if let Some(tag) = tag {
        let tags: Vec<String> =
            manifests.iter().filter_map(|m| m.annotations.get(TAG).cloned()).collect();
        manifests.retain(|m| m.annotations.get(TAG).is_some_and(|found| found == tag));
        if manifests.is_empty() {
            return Err(format!("it has no image named {tag:?}, only {tags:?}"));
        }
    }
    if manifests.len() > 1 {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let fits =
            |platform: &Platform| platform.os == "linux" && platform.architecture == architecture;
        manifests.retain(|m| m.platform.as_ref().is_none_or(fits));
    }
    match (manifests.pop(), manifests.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err("it has no image for this machine".into()),
        (Some(_), others) => Err(format!("it has {} images: name one", others + 1)),
    }
}

/// Hashes what passes.
struct Verified<R> {
    from: R,
    sha: Sha256,
    count: u64,
}

impl<R: Read> Verified<R> {
    fn new(from: R) -> Self {
        Self { from, sha: Sha256::new(), count: 0 }
    }

    fn finish(self) -> String {
        hex(self.sha.finalize())
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.sha.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
