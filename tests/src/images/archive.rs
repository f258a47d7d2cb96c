//! The bytes of an OCI archive.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::Image;

/// The directories of the empty base: runtimes mount over them, programs expect them.
const DIRECTORIES: [(&str, u32); 7] = [
    ("etc", 0o755),
    ("tmp", 0o1777),
    ("proc", 0o755),
    ("sys", 0o755),
    ("dev", 0o755),
    ("run", 0o755),
    ("var", 0o755),
];
/// Both users that pods of the lab run as.
const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\nnonroot:x:65532:65532:nonroot:/:/bin/sh\n";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Content with its digest: taken once, as it costs seconds for a layer in a build for tests.
struct Blob {
    digest: String,
    content: Vec<u8>,
}

impl Blob {
    fn new(content: Vec<u8>) -> Self {
        Self {
            digest: sha256(&content),
            content,
        }
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({
            "mediaType": media_type,
            "digest": format!("sha256:{}", self.digest),
            "size": self.content.len(),
        })
    }
}

/// The archive of some images.
pub(super) fn build(images: &[Image]) -> Result<Vec<u8>> {
    // Keyed by digest: ordered, and what two images share is written once.
    let mut blobs = BTreeMap::new();
    let mut manifests = Vec::new();
    for image in images {
        let layer = Blob::new(layer(image)?);
        let config = Blob::new(to_bytes(&config(image, &layer))?);
        let manifest = Blob::new(to_bytes(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(CONFIG),
            "layers": [layer.descriptor(LAYER)],
        }))?);
        let mut entry = manifest.descriptor(MANIFEST);
        let tag = image.name.rsplit(':').next().unwrap_or_default();
        if let Some(entry) = entry.as_object_mut() {
            entry.insert(
                "annotations".into(),
                json!({
                    "io.containerd.image.name": image.name,
                    "org.opencontainers.image.ref.name": tag,
                }),
            );
        }
        manifests.push(entry);
        for blob in [layer, config, manifest] {
            blobs.insert(blob.digest, blob.content);
        }
    }
    let index = to_bytes(&json!({ "schemaVersion": 2, "manifests": manifests }))?;

    let mut archive = Builder::new(Vec::new());
    file(
        &mut archive,
        "oci-layout",
        br#"{"imageLayoutVersion":"1.0.0"}"#,
        0o644,
    )?;
    file(&mut archive, "index.json", &index, 0o644)?;
    for (digest, blob) in blobs {
        file(
            &mut archive,
            &format!("blobs/sha256/{digest}"),
            &blob,
            0o644,
        )?;
    }
    archive.into_inner().context("failed to finish an archive")
}

fn layer(image: &Image) -> Result<Vec<u8>> {
    let binary = fs::read(&image.binary)
        .with_context(|| format!("failed to read {}", image.binary.display()))?;
    let mut layer = Builder::new(Vec::new());
    for (name, mode) in DIRECTORIES {
        let mut header = header(mode, 0, EntryType::Directory);
        layer.append_data(&mut header, name, std::io::empty())?;
    }
    let mut link = header(0o777, 0, EntryType::Symlink);
    layer.append_link(&mut link, "var/run", "/run")?;
    file(&mut layer, "etc/passwd", PASSWD.as_bytes(), 0o644)?;
    file(
        &mut layer,
        image.path.trim_start_matches('/'),
        &binary,
        0o755,
    )?;
    layer.into_inner().context("failed to finish a layer")
}

fn config(image: &Image, layer: &Blob) -> Value {
    json!({
        "architecture": architecture(),
        "os": "linux",
        "config": { "Entrypoint": image.entrypoint, "Env": ["PATH=/bin:/"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", layer.digest)] },
        "history": [{ "created_by": "slipway-lab" }],
    })
}

/// This machine's architecture by its name in OCI.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn to_bytes(value: &Value) -> Result<Vec<u8>> {
    serde_json::to_vec(value).context("failed to write JSON")
}

/// A header with nothing in it that differs from run to run.
fn header(mode: u32, size: u64, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn file<W: Write>(archive: &mut Builder<W>, path: &str, data: &[u8], mode: u32) -> Result<()> {
    let size = u64::try_from(data.len())?;
    archive
        .append_data(&mut header(mode, size, EntryType::Regular), path, data)
        .with_context(|| format!("failed to append {path}"))
}

/// A digest in hexadecimal.
pub(crate) fn sha256(data: &[u8]) -> String {
    Sha256::digest(data)
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_binary_gives_the_same_archive() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let binary = directory.path().join("program");
        fs::write(&binary, b"not really a program")?;
        let images = [Image::of("one", &binary), Image::operator(&binary)];
        let first = build(&images)?;
        // A later modification time must not show.
        fs::write(&binary, b"not really a program")?;
        assert_eq!(first, build(&images)?);
        Ok(())
    }

    #[test]
    fn every_digest_of_the_index_names_a_blob() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let binary = directory.path().join("program");
        fs::write(&binary, b"program")?;
        let archive = build(&[Image::agent(&binary)])?;
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(&archive[..]).entries()? {
            let mut entry = entry?;
            let path = entry.path()?.to_string_lossy().into_owned();
            let mut content = Vec::new();
            std::io::copy(&mut entry, &mut content)?;
            files.insert(path, content);
        }
        let blob = |descriptor: &Value| -> Vec<u8> {
            let digest = descriptor["digest"].as_str().expect("a digest");
            let hex = digest.strip_prefix("sha256:").expect("sha256");
            let blob = files[&format!("blobs/sha256/{hex}")].clone();
            assert_eq!(sha256(&blob), hex);
            assert_eq!(descriptor["size"], blob.len());
            blob
        };
        let index: Value = serde_json::from_slice(&files["index.json"])?;
        let entry = &index["manifests"][0];
        assert_eq!(
            entry["annotations"]["io.containerd.image.name"],
            "localhost/slipway-agent:1"
        );
        let manifest: Value = serde_json::from_slice(&blob(entry))?;
        let config: Value = serde_json::from_slice(&blob(&manifest["config"]))?;
        assert_eq!(config["config"]["Entrypoint"], json!(["/slipway-agent"]));
        let layer = blob(&manifest["layers"][0]);
        assert_eq!(
            config["rootfs"]["diff_ids"][0],
            format!("sha256:{}", sha256(&layer))
        );
        Ok(())
    }
}
