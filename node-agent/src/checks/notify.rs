//! Waiting for a path to appear, vanish or change, even when its directories come and go.
//!
//! Owns the inotify watches: one on every existing directory from the root down to the file, each
//! interested in one name only. The kernel tells of all names in them: a busy directory wakes this, and
//! goes no further. inotify is a hint; the poll is what can be relied on, and errors here only make it
//! slower.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use slipway_client::simulate;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// The watches of one wait.
pub struct Changes {
    watcher: Option<AsyncFd<Watcher>>,
    /// Names that matter, by watch descriptor.
    wanted: BTreeMap<i32, Vec<OsString>>,
    /// Stands for the kernel in a simulation.
    simulated: Option<watch::Receiver<u64>>,
}

struct Watcher(Inotify);

impl AsRawFd for Watcher {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Changes {
    /// Sets the watches. Where that fails, only the poll of [`Self::wait`] is left.
    pub fn of(paths: &[PathBuf]) -> Self {
        let mut changes = Self {
            watcher: None,
            wanted: BTreeMap::new(),
            simulated: None,
        };
        // Instances are few, and shared by all that root runs on the host.
        if paths.is_empty() {
            return changes;
        }
        changes.simulated = simulate::files();
        if changes.simulated.is_none() {
            changes.watcher = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)
                .inspect(|inotify| {
                    for path in paths {
                        watch_chain(inotify, path, &mut changes.wanted);
                    }
                })
                .ok()
                .and_then(register);
        }
        changes
    }

    /// Returns when something may have changed, and after `poll` at the latest.
    pub async fn wait(self, poll: Duration) {
        // Whether an event came or the time has passed makes no difference to the caller.
        drop(tokio::time::timeout(poll, self.event()).await);
    }

    async fn event(mut self) {
        if let Some(simulated) = &mut self.simulated {
            // The world ends with the simulation, and every program before it.
            drop(simulated.changed().await);
            return;
        }
        let Some(watcher) = self.watcher.as_ref() else {
            return std::future::pending().await;
        };
        loop {
            let Ok(mut ready) = watcher.readable().await else {
                return std::future::pending().await;
            };
            match watcher.get_ref().0.read_events() {
                Ok(events) if events.iter().any(|event| self.matters(event)) => return,
                Ok(_) => {}
                Err(nix::errno::Errno::EAGAIN) => ready.clear_ready(),
                Err(_) => return std::future::pending().await,
            }
        }
    }

    fn matters(&self, event: &InotifyEvent) -> bool {
        let lost = AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_IGNORED
            | AddWatchFlags::IN_UNMOUNT
            | AddWatchFlags::IN_Q_OVERFLOW;
        if event.mask.intersects(lost) {
            return true;
        }
        let names = self.wanted.get(&event.wd.as_raw());
        let name = event.name.as_deref();
        names.is_some_and(|names| names.iter().any(|wanted| Some(wanted.as_os_str()) == name))
    }
}

#[expect(
    unsafe_code,
    reason = "tokio asks that the descriptor stays open while it is registered"
)]
fn register(inotify: Inotify) -> Option<AsyncFd<Watcher>> {
    // SAFETY: the Watcher owns the descriptor for as long as it lives, the AsyncFd owns the Watcher,
    // and `as_raw_fd` always gives that same descriptor.
    unsafe { AsyncFd::register(Watcher(inotify)) }.ok()
}

fn watch_chain(inotify: &Inotify, path: &Path, wanted: &mut BTreeMap<i32, Vec<OsString>>) {
    let mask = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR;
    let mut child = path;
    while let (Some(directory), Some(name)) = (child.parent(), child.file_name()) {
        // A directory that does not exist is covered by the watch on the one above it.
        if let Ok(descriptor) = inotify.add_watch(directory, mask) {
            let names = wanted.entry(descriptor.as_raw()).or_default();
            names.push(name.to_owned());
            if child == path {
                names.push(list_of_packages(name));
            }
        }
        child = directory;
    }
}

fn list_of_packages(sentinel: &OsStr) -> OsString {
    let mut name = sentinel.to_owned();
    name.push(".pkgs");
    name
}
