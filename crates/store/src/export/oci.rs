//! A state as an OCI image layout: a layer for each step that made it, configuration and
//! manifest, named by digest.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use umbra_state::{StateId, Tree};

use super::ExportError;
use super::layer::{Layer, not_held};
use super::tar::{Part, write_archive};
use crate::error::StoreError;
use crate::lock::Lock;
use crate::stack::deep;
use crate::store::Store;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Layers beyond this number are refused by container engines; what comes before is one layer.
const LAYERS_MAX: usize = 100;

/// A state that became an image, and the states it was made through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// From the first on.
    pub earlier: Vec<Made>,
    /// The image.
    pub last: Made,
}

/// A state and what made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The state.
    pub state: StateId,
    /// By what, in words; a step's name.
    pub by: String,
}

impl Lineage {
    /// A state of which no more is known.
    pub fn alone(state: StateId) -> Self {
        Self { earlier: Vec::new(), last: Made { state, by: format!("state {state}") } }
    }

    /// As many as an image may have layers, the last ones.
    fn states(&self) -> impl Iterator<Item = &Made> {
        let skipped = (self.earlier.len() + 1).saturating_sub(LAYERS_MAX);
        self.earlier.iter().skip(skipped).chain([&self.last])
    }
}

impl Store {
    /// Writes a state into the empty directory `dir` as an OCI image layout with a single image,
    /// tagged `tag`, for this machine's architecture: a layer for each state of its lineage that
    /// differs from the one before. Equal lineages give equal digests. Gives back the paths that
    /// an image cannot hold: sockets, and names that begin like a mark.
    pub fn export_oci_layout(
        &self,
        lineage: &Lineage,
        dir: &Path,
        tag: &str,
    ) -> Result<Vec<Vec<u8>>, ExportError> {
        let failed = |source: io::Error| {
            let doing = format!("write the image layout {}", dir.display());
            ExportError::Store(StoreError::Io { doing, source })
        };
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(failed)?;
        let written = self.write_layers(lineage, &blobs)?;
        let digests = written.layers.iter().map(|layer| format!("sha256:{}", layer.content));
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {"Labels": {"umbra.state": lineage.last.state.to_string()}},
            "rootfs": {"type": "layers", "diff_ids": digests.collect::<Vec<_>>()},
            "history": written.history,
        });
        let config = write_json(&blobs, CONFIG, &config).map_err(failed)?;
        let layers = written.layers.iter().map(|layer| {
            let digest = format!("sha256:{}", layer.blob);
            json!({"mediaType": LAYER, "digest": digest, "size": layer.size})
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": layers.collect::<Vec<_>>(),
        });
        let mut manifest = write_json(&blobs, MANIFEST, &manifest).map_err(failed)?;
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(dir.join("index.json"), index.to_string()).map_err(failed)?;
        fs::write(dir.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())
            .map_err(failed)?;
        Ok(written.left_out)
    }

    fn write_layers(&self, lineage: &Lineage, blobs: &Path) -> Result<Layers, ExportError> {
        let _lock = Lock::shared(&self.inner.root).map_err(ExportError::Store)?;
        let mut written = Layers::default();
        let mut before: Option<Tree> = None;
        for made in lineage.states() {
            let after = self.load(made.state).map_err(ExportError::Store)?;
            let layer = before.as_ref().map(|before| deep(|| Layer::between(before, &after)));
            let is_empty = layer.as_ref().is_some_and(Layer::is_empty);
            written.history.push(match is_empty {
                true => json!({"created_by": made.by, "empty_layer": true}),
                false => json!({"created_by": made.by}),
            });
            if !is_empty {
                let part = layer.as_ref().map_or(Part::FirstLayer, Part::Layer);
                written.layers.push(self.write_layer(&after, part, blobs)?);
            }
            before = Some(after);
        }
        if let Some(image) = before {
            written.left_out = deep(|| not_held(&image));
        }
        Ok(written)
    }

    fn write_layer(
        &self,
        tree: &Tree,
        part: Part<'_>,
        blobs: &Path,
    ) -> Result<LayerDigests, ExportError> {
        let failed = |source: io::Error| {
            let doing = format!("write a layer to {}", blobs.display());
            ExportError::Store(StoreError::Io { doing, source })
        };
        let unnamed = blobs.join("layer.partial");
        let file = BufWriter::new(File::create(&unnamed).map_err(failed)?);
        // No name and no time in the gzip header: the same state gives the same bytes.
        let packed = GzEncoder::new(Hashed::new(file), Compression::fast());
        let mut content = Hashed::new(packed);
        deep(|| write_archive(&self.inner, tree, part, &mut content))?;
        let (packed, content) = content.finish();
        let (mut file, blob) = packed.finish().map_err(failed)?.finish();
        file.flush().map_err(failed)?;
        let size = file.get_ref().metadata().map_err(failed)?.len();
        fs::rename(&unnamed, blobs.join(&blob)).map_err(failed)?;
        Ok(LayerDigests { content, blob, size })
    }
}

/// What is known of an image's layers when they are written.
#[derive(Default)]
struct Layers {
    layers: Vec<LayerDigests>,
    /// One entry for each state.
    history: Vec<serde_json::Value>,
    left_out: Vec<Vec<u8>>,
}

/// SHA-256 of a layer before and after packing, in hexadecimal.
struct LayerDigests {
    content: String,
    blob: String,
    size: u64,
}

/// Writes a blob and returns the descriptor by which others refer to it.
fn write_json(
    blobs: &Path,
    media_type: &str,
    value: &serde_json::Value,
) -> io::Result<serde_json::Value> {
    let bytes = value.to_string().into_bytes();
    let digest = hex(&Sha256::digest(&bytes));
    fs::write(blobs.join(&digest), &bytes)?;
    let digest = format!("sha256:{digest}");
    Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
}

/// What Go calls this machine's architecture, as images do.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Passes bytes on and hashes them.
struct Hashed<W> {
    to: W,
    hash: Sha256,
}

impl<W: Write> Hashed<W> {
    fn new(to: W) -> Self {
        Self { to, hash: Sha256::new() }
    }

    fn finish(self) -> (W, String) {
        (self.to, hex(&self.hash.finalize()))
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
