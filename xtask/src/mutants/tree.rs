//! A copy of the tree at a place that never changes, so that cargo builds only what has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::bank::{self, Mutant};
use crate::cache;
use crate::command::output;

/// The crates whose roots answer which mutant runs.
const ANSWERING: [&str; 2] = ["crds/src/lib.rs", "client/src/lib.rs"];

/// Copies the tree with every mutant in it; returns where it is.
pub(crate) fn prepare(mutants: &[Mutant]) -> Result<PathBuf> {
    let root = cache::root();
    let copy = cache::directory()?.join("mutants/tree");
    let mut changed = bank::apply(&root, mutants)?;
    for file in ANSWERING {
        let text = match changed.remove(file) {
            Some(text) => text,
            None => fs::read_to_string(root.join(file))
                .with_context(|| format!("failed to read {file}"))?,
        };
        changed.insert(file.to_owned(), format!("{text}{}", bank::ANSWER));
    }
    let files = files(&root)?;
    for file in &files {
        put(&root, &copy, file, &changed)?;
    }
    sweep(&copy, &copy, &files)?;
    Ok(copy)
}

/// Every file that git knows or would take.
fn files(root: &Path) -> Result<BTreeSet<String>> {
    let mut command = Command::new("git");
    command.current_dir(root).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ]);
    let listed = output(&mut command)?;
    let named = listed.split('\0').filter(|file| !file.is_empty());
    Ok(named
        .filter(|file| root.join(file).is_file())
        .map(str::to_owned)
        .collect())
}

/// Writes a file only where it differs: cargo goes by the time of the last change.
fn put(root: &Path, copy: &Path, file: &str, changed: &BTreeMap<String, String>) -> Result<()> {
    let wanted = match changed.get(file) {
        Some(text) => text.clone().into_bytes(),
        None => fs::read(root.join(file)).with_context(|| format!("failed to read {file}"))?,
    };
    let path = copy.join(file);
    if fs::read(&path).is_ok_and(|present| present == wanted) {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).context("failed to make a directory of the copy")?;
    }
    fs::write(&path, wanted).with_context(|| format!("failed to write {}", path.display()))
}

/// Removes what is not in the tree any more.
fn sweep(copy: &Path, directory: &Path, files: &BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(directory).context("failed to list the copy")? {
        let path = entry?.path();
        if path.is_dir() {
            sweep(copy, &path, files)?;
            continue;
        }
        let name = path.strip_prefix(copy).unwrap_or(&path).to_string_lossy();
        if !files.contains(name.as_ref()) {
            fs::remove_file(&path).with_context(|| format!("failed to remove {name}"))?;
        }
    }
    Ok(())
}
