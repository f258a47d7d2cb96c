//! What is kept between runs, and how it is told whether it is still right.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The repository's root, as cargo says when it runs this: clones share build products, and a program
/// that another one has built names that one's place.
pub(crate) fn root() -> PathBuf {
    let said = std::env::var_os("CARGO_MANIFEST_DIR");
    let here = said.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().unwrap_or(&here).to_path_buf()
}

/// The cache directory: `SLIPWAY_CACHE`, else `$HOME/.cache/slipway`. Outside the checkout, so that
/// a clean clone finds what another one has built.
pub(crate) fn directory() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(directory) = set("SLIPWAY_CACHE") {
        return Ok(directory.into());
    }
    let home = set("HOME").context("neither SLIPWAY_CACHE nor HOME is set")?;
    Ok(Path::new(&home).join(".cache/slipway"))
}

/// A number that changes when any file below `paths`, or one of `words`, does.
pub(crate) fn fingerprint(paths: &[&Path], words: &[&str]) -> Result<String> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    words.hash(&mut hasher);
    for file in files {
        file.strip_prefix(root()).unwrap_or(&file).hash(&mut hasher);
        fs::read(&file)
            .with_context(|| format!("failed to read {}", file.display()))?
            .hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries =
        fs::read_dir(path).with_context(|| format!("failed to read {}", path.display()))?;
    for entry in entries {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}

/// True when `mark` says that the thing it stands beside was made from `fingerprint`.
pub(crate) fn is_current(mark: &Path, fingerprint: &str) -> bool {
    fs::read_to_string(mark).is_ok_and(|present| present == fingerprint)
}
