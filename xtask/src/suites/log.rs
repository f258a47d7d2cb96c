//! What one suite prints, kept apart from what runs beside it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cache;
use crate::command::show;

/// A file that takes the output of a suite's commands.
pub(super) struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// An empty log of a suite; what an earlier run left is gone.
    pub(super) fn create(suite: &str) -> Result<Self> {
        let directory = cache::directory()?.join("logs");
        fs::create_dir_all(&directory).context("failed to make the directory of logs")?;
        let path = directory.join(format!("{suite}.log"));
        let file =
            File::create(&path).with_context(|| format!("failed to create {}", path.display()))?;
        Ok(Self { path, file })
    }

    /// Runs a command to its end, with both of its outputs in this log.
    pub(super) fn run(&self, command: &mut Command) -> Result<()> {
        let shown = show(command);
        let to = || {
            let file = self.file.try_clone();
            file.with_context(|| format!("failed to write to {}", self.path.display()))
        };
        let status = command
            .stdin(Stdio::null())
            .stdout(to()?)
            .stderr(to()?)
            .status()
            .with_context(|| format!("failed to start {shown}"))?;
        if !status.success() {
            bail!("{shown}: {status}");
        }
        Ok(())
    }

    /// All that was printed so far.
    pub(super) fn text(&self) -> String {
        fs::read(&self.path).map_or_else(
            |error| format!("{} cannot be read: {error}\n", self.path.display()),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }
}
