//! A lab: the place that machines are started in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use nix::fcntl::Flock;

use super::namespace::{self, machines_directory};
use super::{cgroups, setup};

/// How many labs this process has opened: each has a directory of logs of its own.
static OPENED: AtomicUsize = AtomicUsize::new(0);

/// What machines of one process share: the image, memory for their disks, and a place for logs.
///
/// Logs stay until a later process opens a lab. Everything else ends with the process.
#[derive(Debug)]
pub struct Lab {
    id: String,
    image: PathBuf,
    scratch: PathBuf,
    logs: PathBuf,
    /// Else a setup with another recipe would remove the image below running machines.
    _held: Flock<fs::File>,
}

impl Lab {
    /// Opens the lab of this process, and removes what killed ones left behind. Labs may follow each
    /// other; machines of two labs at once must differ in their numbers.
    ///
    /// [`super::enter_lab_namespace`] must have been called.
    pub fn open() -> Result<Arc<Self>> {
        let namespace = namespace::current()?;
        let image = setup::image()?;
        let held = setup::hold_image(&image)?;
        ensure!(
            image.is_dir(),
            "the machines' file system is not built: run the setup"
        );
        remove_leftovers()?;
        let count = OPENED.fetch_add(1, Ordering::Relaxed);
        let logs = logs_directory()?
            .join(&namespace.id)
            .join(count.to_string());
        fs::create_dir_all(&logs).with_context(|| format!("failed to make {}", logs.display()))?;
        Ok(Arc::new(Self {
            id: namespace.id.clone(),
            image,
            scratch: namespace.scratch.clone(),
            logs,
            _held: held,
        }))
    }

    /// What tells this lab's control groups from those of other processes.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The directory of the machines' consoles and event logs.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// The root file system that machines are started from, shared and never written.
    pub(super) fn image(&self) -> &Path {
        &self.image
    }

    /// Memory for the machines' disks.
    pub(super) fn scratch(&self) -> &Path {
        &self.scratch
    }
}

fn logs_directory() -> Result<PathBuf> {
    Ok(machines_directory()?.join("logs"))
}

/// Removes control groups and logs of processes that have ended, and says how many there were.
pub fn remove_leftovers() -> Result<usize> {
    let mut removed = cgroups::remove_leftovers()?;
    for entry in fs::read_dir(logs_directory()?)
        .into_iter()
        .flatten()
        .flatten()
    {
        if !namespace::is_alive(&entry.file_name().to_string_lossy()) {
            setup::remove_tree(&entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}
