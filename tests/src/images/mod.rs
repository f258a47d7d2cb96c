//! OCI images of the lab, made by hand: no registry, no builder.
//!
//! Owns the archive of one static binary on an empty base, as `ctr images import` reads it. The same
//! binary and name give the same bytes.
//! Never builds a binary: callers give paths. Called by [`crate::machines`], the demo and `xtask`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

mod archive;

pub(crate) use archive::sha256;

use crate::cache;

/// Where `cargo xtask images` puts statically linked programs, below Cargo's target directory.
const STATIC_PROGRAMS: &str = "x86_64-unknown-linux-gnu/lab";

/// An image of one static binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The name in pod specs, such as `localhost/web:1`. A host and a tag are needed: without them
    /// the container runtime would look for the image in a registry.
    pub name: String,
    /// The binary, statically linked: the image holds nothing else that could run.
    pub binary: PathBuf,
    /// Where the binary lies in the image; its last part is the name it is started under.
    pub path: String,
    /// The entry point.
    pub entrypoint: Vec<String>,
}

impl Image {
    /// An image `localhost/NAME:1` of a binary at `/NAME`, started without arguments.
    pub fn of(name: &str, binary: &Path) -> Self {
        let path = format!("/{name}");
        Self {
            name: format!("localhost/{name}:1"),
            binary: binary.to_owned(),
            entrypoint: vec![path.clone()],
            path,
        }
    }

    /// `localhost/pause:1`, the sandbox of every pod.
    pub fn pause() -> Result<Self> {
        Ok(Self::of("pause", &cache::lab_tool_binary()?))
    }

    /// `localhost/web:1`: answers HTTP on port 8080 until it is told to end.
    pub fn web() -> Result<Self> {
        Ok(Self::of("web", &cache::lab_tool_binary()?))
    }

    /// `localhost/slipway-operator:1`, from a statically linked operator.
    pub fn operator(binary: &Path) -> Self {
        Self::of("slipway-operator", binary)
    }

    /// `localhost/slipway-agent:1`, from a statically linked node agent.
    pub fn agent(binary: &Path) -> Self {
        Self::of("slipway-agent", binary)
    }

    /// Writes the image as an OCI archive.
    pub fn write(&self, archive: &Path) -> Result<()> {
        write_archive(archive, std::slice::from_ref(self))
    }
}

/// The path of a statically linked program of ours: in `SLIPWAY_STATIC_PROGRAMS` where that is set,
/// else where `cargo xtask images` puts it, in the target directory that this program lies in.
pub fn static_program(name: &str) -> Result<PathBuf> {
    let directory = match std::env::var_os("SLIPWAY_STATIC_PROGRAMS") {
        Some(directory) if !directory.is_empty() => directory.into(),
        _ => {
            let own = std::env::current_exe().context("failed to find this program")?;
            own.ancestors()
                .map(|ancestor| ancestor.join(STATIC_PROGRAMS))
                .find(|directory| directory.is_dir())
                .context("no statically linked programs are built: cargo xtask images")?
        }
    };
    let path = directory.join(name);
    ensure!(
        path.is_file(),
        "{} is not built: cargo xtask images",
        path.display()
    );
    Ok(path)
}

/// Writes one OCI archive that holds several images; layers that are the same are held once.
pub fn write_archive(archive: &Path, images: &[Image]) -> Result<()> {
    let bytes = archive::build(images)?;
    fs::write(archive, bytes).with_context(|| format!("failed to write {}", archive.display()))
}
