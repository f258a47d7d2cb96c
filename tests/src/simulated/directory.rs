//! The directory that stands for one host: what survives a reboot, and what does not.
//!
//! Owns its layout, which the simulated host of the agent ([`super::host`]) and the machine
//! ([`super::machine`]) share across processes.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a host does when it is asked to reboot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RebootBehaviour {
    /// It goes down at once.
    #[default]
    Obeys,
    /// It answers that it will not, and does not: an inhibitor.
    Refuses,
    /// It answers that it will, and does not.
    Lies,
    /// It answers that it will, and goes down after so many milliseconds.
    Delays(u64),
    /// It goes down at once, and the answer is an error: the answer was lost.
    LosesItsAnswer,
    /// It says beforehand that a lock blocks its shutdown.
    IsLocked,
    /// It says beforehand that it cannot be rebooted in the way that is wanted.
    Cannot,
}

/// The files of one host.
#[derive(Debug, Clone)]
pub struct HostDirectory {
    root: PathBuf,
}

impl HostDirectory {
    /// Names a directory; makes nothing.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Makes the directories.
    pub fn create(&self) -> Result<()> {
        for directory in [self.run(), self.state()] {
            fs::create_dir_all(&directory)
                .with_context(|| format!("failed to make {}", directory.display()))?;
        }
        Ok(())
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a real host has `/proc/sys/kernel/random/boot_id`.
    pub fn boot_id_file(&self) -> PathBuf {
        self.root.join("boot_id")
    }

    /// Where a real host has `/run`: gone with every reboot.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Where a real host has `/run/reboot-required`.
    pub fn sentinel(&self) -> PathBuf {
        self.run().join("reboot-required")
    }

    /// Where a real host has `/var/lib/slipway`: survives every reboot.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// The present boot ID.
    pub fn boot_id(&self) -> Result<String> {
        let path = self.boot_id_file();
        let text = fs::read_to_string(&path)
            .with_context(|| format!("failed to read {}", path.display()))?;
        Ok(text.trim().to_owned())
    }

    /// Says what the host does from now on when it is asked to reboot.
    pub fn set_behaviour(&self, behaviour: RebootBehaviour) -> Result<()> {
        replace(
            &self.root.join("behaviour"),
            &serde_json::to_string(&behaviour)?,
        )
    }

    /// What the host does when it is asked to reboot.
    pub fn behaviour(&self) -> Result<RebootBehaviour> {
        match fs::read_to_string(self.root.join("behaviour")) {
            Ok(text) => serde_json::from_str(&text).context("failed to read the behaviour"),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(RebootBehaviour::default()),
            Err(error) => Err(error).context("failed to read the behaviour"),
        }
    }

    /// Notes that somebody asked for a reboot, whatever comes of it.
    pub fn record_call(&self) -> Result<()> {
        let line = format!("{}\n", Timestamp::now());
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.calls_file())
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .context("failed to record a reboot call")
    }

    /// How often a reboot was asked for since the host was made.
    pub fn calls(&self) -> Result<usize> {
        Ok(self.call_times()?.len())
    }

    /// When a reboot was asked for, each time.
    pub fn call_times(&self) -> Result<Vec<Timestamp>> {
        let text = match fs::read_to_string(self.calls_file()) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context("failed to read the reboot calls"),
        };
        let times = text.lines().map(str::parse);
        times
            .collect::<Result<_, _>>()
            .context("failed to read the time of a reboot call")
    }

    /// Lets the machine go down after a time.
    pub fn request_reboot(&self, delay: Duration) -> Result<()> {
        replace(&self.request_file(), &delay.as_millis().to_string())
    }

    /// Whether the host is on its way down, whoever asked for it.
    pub fn is_going_down(&self) -> bool {
        self.request_file().exists() || self.pending_file().exists()
    }

    /// The reboot that is to come, by its delay from now; told once for each request.
    pub(super) fn take_request(&self) -> Option<Duration> {
        let pending = self.pending_file();
        // Renamed, so that at every moment one of the two files says that the host goes down.
        fs::rename(self.request_file(), &pending).ok()?;
        let text = fs::read_to_string(&pending).ok()?;
        Some(Duration::from_millis(text.trim().parse().unwrap_or(0)))
    }

    /// Ends a boot: everything in memory is gone.
    pub(super) fn lose_memory(&self) -> Result<()> {
        if let Err(error) = fs::remove_dir_all(self.run())
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error).context("failed to clear run");
        }
        // A request that nobody had read yet is gone like everything else in memory.
        if let Err(error) = fs::remove_file(self.request_file())
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error).context("failed to clear a request");
        }
        Ok(())
    }

    /// Starts a boot: an empty `run` and a boot ID never seen before, which it returns.
    pub(super) fn begin_boot(&self) -> Result<String> {
        self.create()?;
        let id = fs::read_to_string("/proc/sys/kernel/random/uuid")
            .context("failed to draw a boot ID")?;
        replace(&self.boot_id_file(), &id)?;
        Ok(id.trim().to_owned())
    }

    fn calls_file(&self) -> PathBuf {
        self.root.join("reboot-calls")
    }

    fn pending_file(&self) -> PathBuf {
        self.run().join("going-down")
    }

    fn request_file(&self) -> PathBuf {
        self.root.join("reboot-requested")
    }
}

/// Writes a file so that no reader sees half of it.
fn replace(path: &Path, content: &str) -> Result<()> {
    let draft = path.with_extension("draft");
    fs::write(&draft, content)
        .and_then(|()| fs::rename(&draft, path))
        .with_context(|| format!("failed to write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_has_an_id_of_its_own_and_loses_run_but_not_state() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let host = HostDirectory::new(directory.path().join("host"));
        let first = host.begin_boot()?;
        fs::write(host.sentinel(), "")?;
        fs::write(host.state().join("journal"), "1")?;
        host.record_call()?;
        host.request_reboot(Duration::from_millis(7))?;
        assert_eq!(host.take_request(), Some(Duration::from_millis(7)));
        assert_eq!(host.take_request(), None);
        assert!(host.is_going_down());

        host.lose_memory()?;
        let second = host.begin_boot()?;
        assert_ne!(first, second);
        assert_eq!(host.boot_id()?, second);
        assert!(!host.sentinel().exists());
        assert!(!host.is_going_down());
        assert!(host.state().join("journal").exists());
        assert_eq!(host.calls()?, 1);
        Ok(())
    }
}
