//! The control groups of machines: one for each machine, in every hierarchy.
//!
//! systemd-nspawn shows a machine the group it was started in as the root of all groups, so what
//! the machine's own init and kubelet make lies below. Groups are not removed with their last
//! process, hence the names: they say which process of ours they belong to.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::namespace::is_alive;

const ROOT: &str = "/sys/fs/cgroup";
/// What all our groups' names begin with; then comes the identity of the process.
const PREFIX: &str = "slipway-lab-";
/// How often a group that is still in use is tried again: killed processes leave it a moment later.
const ATTEMPTS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(10);

/// A machine's groups; dropping them removes them.
#[derive(Debug)]
pub(super) struct Groups {
    directories: Vec<PathBuf>,
}

impl Groups {
    /// Makes the groups of a machine of the process with this identity.
    pub(super) fn make(id: &str, machine: &str) -> Result<Self> {
        let name = format!("{PREFIX}{id}.{machine}");
        let mut groups = Self {
            directories: Vec::new(),
        };
        for hierarchy in hierarchies()? {
            let directory = hierarchy.join(&name);
            fs::create_dir_all(&directory)
                .with_context(|| format!("failed to make {}", directory.display()))?;
            groups.directories.push(directory.clone());
            // A group of this controller takes no process before it has both.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let parent = hierarchy.join(file);
                if parent.is_file() {
                    fs::copy(&parent, directory.join(file))
                        .with_context(|| format!("failed to set {file}"))?;
                }
            }
        }
        Ok(groups)
    }

    /// The groups, as one word each.
    pub(super) fn words(&self) -> String {
        let words: Vec<String> = self
            .directories
            .iter()
            .map(|directory| directory.display().to_string())
            .collect();
        words.join(" ")
    }

    /// Removes what the last boot of the machine left below.
    pub(super) fn clear(&self) {
        for directory in &self.directories {
            for child in children(directory) {
                remove(&child);
            }
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for directory in &self.directories {
            remove(directory);
        }
    }
}

/// Removes the groups of processes that have ended, and says how many there were.
pub(super) fn remove_leftovers() -> Result<usize> {
    let mut removed = 0;
    for hierarchy in hierarchies()? {
        for group in children(&hierarchy) {
            let name = group.file_name().unwrap_or_default().to_string_lossy();
            let Some(rest) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let id = rest.split_once('.').map_or(rest, |(id, _)| id);
            if !is_alive(id) {
                remove(&group);
                removed += 1;
            }
        }
    }
    Ok(removed)
}

/// The groups of living processes, by which tests see what is there.
pub fn of_process(id: &str) -> Result<Vec<PathBuf>> {
    let prefix = format!("{PREFIX}{id}.");
    Ok(hierarchies()?
        .iter()
        .flat_map(|hierarchy| children(hierarchy))
        .filter(|group| {
            group
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
        })
        .collect())
}

/// The mounted hierarchies: one of version 2, or one for each controller of version 1.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").is_file() {
        return Ok(vec![root.to_owned()]);
    }
    let found = children(root);
    anyhow::ensure!(!found.is_empty(), "no control groups are mounted at {ROOT}");
    Ok(found)
}

/// The directories below, not following links (`cpu` may be a link to `cpu,cpuacct`).
fn children(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Removes a group and those below it. One that stays is removed by a later lab.
fn remove(group: &Path) {
    for child in children(group) {
        remove(&child);
    }
    for _ in 0..ATTEMPTS {
        match fs::remove_dir(group) {
            Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => thread::sleep(PAUSE),
            _ => return,
        }
    }
}
