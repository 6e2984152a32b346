//! A state as an OCI image layout: one layer, its configuration and manifest, named by digest.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use umbra_state::StateId;

use super::ExportError;
use crate::error::StoreError;
use crate::store::Store;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

impl Store {
    /// Writes a state into the empty directory `dir` as an OCI image layout with a single image,
    /// tagged `tag`, for this machine's architecture. Equal states give equal digests. Gives
    /// back the paths of sockets, which an archive cannot hold.
    pub fn export_oci_layout(
        &self,
        id: StateId,
        dir: &Path,
        tag: &str,
    ) -> Result<Vec<Vec<u8>>, ExportError> {
        let failed = |source: io::Error| {
            let doing = format!("write the image layout {}", dir.display());
            ExportError::Store(StoreError::Io { doing, source })
        };
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(failed)?;
        let (layer, left_out) = self.write_layer(id, &blobs)?;
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {"Labels": {"umbra.state": id.to_string()}},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", layer.content)]},
        });
        let config = write_json(&blobs, CONFIG, &config).map_err(failed)?;
        let layer = json!({
            "mediaType": LAYER,
            "digest": format!("sha256:{}", layer.blob),
            "size": layer.size,
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": [layer],
        });
        let mut manifest = write_json(&blobs, MANIFEST, &manifest).map_err(failed)?;
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(dir.join("index.json"), index.to_string()).map_err(failed)?;
        fs::write(dir.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())
            .map_err(failed)?;
        Ok(left_out)
    }

    fn write_layer(
        &self,
        id: StateId,
        blobs: &Path,
    ) -> Result<(LayerDigests, Vec<Vec<u8>>), ExportError> {
        let failed = |source: io::Error| {
            let doing = format!("write a layer to {}", blobs.display());
            ExportError::Store(StoreError::Io { doing, source })
        };
        let unnamed = blobs.join("layer.partial");
        let file = BufWriter::new(File::create(&unnamed).map_err(failed)?);
        // No name and no time in the gzip header: the same state gives the same bytes.
        let packed = GzEncoder::new(Hashed::new(file), Compression::fast());
        let mut content = Hashed::new(packed);
        let left_out = self.export_tar(id, &mut content)?;
        let (packed, content) = content.finish();
        let (mut file, blob) = packed.finish().map_err(failed)?.finish();
        file.flush().map_err(failed)?;
        let size = file.get_ref().metadata().map_err(failed)?.len();
        fs::rename(&unnamed, blobs.join(&blob)).map_err(failed)?;
        Ok((LayerDigests { content, blob, size }, left_out))
    }
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
