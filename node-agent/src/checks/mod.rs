//! The checks on the host: what asks for a reboot.
//!
//! Owns the reading ([`sentinel`]), the waiting for changes ([`notify`]) and the settling: a change
//! counts once two readings, a while apart, agree (faults.md F15). Called by [`crate::run`], which
//! hands the settled reading to the agent's loop.

pub mod notify;
pub mod sentinel;

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;

pub use sentinel::Reading;

use crate::facts::Need;

/// The settled reading, or `None` while there is none yet.
pub type Settled = Option<Reading>;

/// Publishes every settled change of the sentinels, for ever.
pub async fn watch_sentinels(
    paths: &[PathBuf],
    settle: Duration,
    poll: Duration,
    settled: &watch::Sender<Settled>,
) -> Infallible {
    loop {
        // Watches are set before the reading: a change after it is then an event.
        let changes = notify::Changes::of(paths);
        let first = sentinel::read(paths).await;
        if settled.borrow().as_ref() == Some(&first) {
            changes.wait(poll).await;
            continue;
        }
        tokio::time::sleep(settle).await;
        let second = sentinel::read(paths).await;
        if second.agrees(&first) {
            settled.send_if_modified(|present| {
                let differs = present.as_ref() != Some(&second);
                *present = Some(second);
                differs
            });
        }
    }
}

/// What a settled reading means for a decision.
pub fn need(settled: &Settled) -> Need {
    match settled {
        None => Need::Settling,
        Some(Reading::Required { .. }) => Need::Required,
        Some(Reading::NotRequired) => Need::NotRequired,
        Some(Reading::Unknown { .. }) => Need::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;

    const FAST: Duration = Duration::from_millis(10);
    /// Longer than any test: only an event can wake the watcher.
    const NEVER: Duration = Duration::from_hours(1);

    fn watcher(
        path: &Path,
        poll: Duration,
    ) -> (watch::Receiver<Settled>, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = watch::channel(None);
        let paths = vec![path.to_owned()];
        let sender = Arc::new(sender);
        let task =
            tokio::spawn(
                async move { match watch_sentinels(&paths, FAST, poll, &sender).await {} },
            );
        (receiver, task)
    }

    async fn until(receiver: &mut watch::Receiver<Settled>, wanted: Need) {
        let seen = receiver.wait_for(|settled| need(settled) == wanted);
        tokio::time::timeout(Duration::from_secs(20), seen)
            .await
            .unwrap()
            .unwrap();
    }

    #[tokio::test]
    async fn a_sentinel_is_noticed_by_an_event() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("reboot-required");
        let (mut receiver, task) = watcher(&file, NEVER);
        until(&mut receiver, Need::NotRequired).await;
        std::fs::write(&file, "").unwrap();
        until(&mut receiver, Need::Required).await;
        std::fs::remove_file(&file).unwrap();
        until(&mut receiver, Need::NotRequired).await;
        task.abort();
    }

    #[tokio::test]
    async fn a_directory_that_is_replaced_is_watched_again() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("run");
        let file = directory.join("reboot-required");
        let (mut receiver, task) = watcher(&file, NEVER);
        until(&mut receiver, Need::NotRequired).await;
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(&file, "").unwrap();
        until(&mut receiver, Need::Required).await;
        std::fs::rename(&directory, root.path().join("old")).unwrap();
        until(&mut receiver, Need::NotRequired).await;
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(&file, "").unwrap();
        until(&mut receiver, Need::Required).await;
        task.abort();
    }

    #[tokio::test]
    async fn without_events_the_poll_notices() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("reboot-required");
        let paths = [file.clone()];
        let (sender, mut receiver) = watch::channel(Some(Reading::NotRequired));
        std::fs::write(&file, "").unwrap();
        let watching = watch_sentinels(&paths, FAST, FAST, &sender);
        tokio::select! {
            never = watching => match never {},
            () = until(&mut receiver, Need::Required) => {}
        }
    }
}
