//! The checks on the host: what asks for a reboot.
//!
//! Owns the trait through which a host is looked at, and the loop that looks: at once when a watched
//! path changes, and every so often. What looks mean, and when they may be believed, is [`board`]'s,
//! which is pure. Called by [`crate::run`], which hands the board to the agent's passes.
//! Nothing here writes anywhere.

pub mod board;
pub mod command;
pub mod installed;
pub mod kernel;
pub mod node_condition;
pub mod notify;
pub mod packages;
pub mod programs;
pub mod sentinel;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use slipway_api::checks::CheckState;
use slipway_api::policy::Triggers;
use slipway_client::simulate;
use tokio::sync::watch;

pub use board::{Board, Look, Reading};

use crate::config::AgentConfig;
use crate::observe::Reader;
use board::{Next, Settler};

/// Longest that a look at files may take: a file system that hangs must not stop the agent (F16).
const LOOK_LIMIT: Duration = Duration::from_secs(30);

/// One check of the host.
pub trait Check: Send + Sync + 'static {
    /// Its name, as policies know it.
    fn name(&self) -> &str;

    /// Looks at the host once, bounded in time; `None` where there is nothing to look at.
    fn look(&self) -> BoxFuture<'_, Look>;

    /// Paths that are looked at again as soon as they change.
    fn watched(&self) -> &[PathBuf] {
        &[]
    }

    /// How often to look when no event comes; `None` for as often as the agent's poll.
    fn every(&self) -> Option<Duration> {
        None
    }

    /// Whether it can be asked between the second key and the reboot. What cannot counts as it was
    /// last settled.
    fn is_quick(&self) -> bool {
        true
    }
}

/// The checks of a host, and how often they look.
#[derive(Clone)]
pub struct Checks {
    all: Vec<Arc<dyn Check>>,
    settle: Duration,
    poll: Duration,
}

impl Checks {
    /// Those of the configuration; `reader` gives a reader of the Node once there is one.
    pub fn of(config: &AgentConfig, reader: watch::Receiver<Option<Reader>>) -> Self {
        let sentinel = sentinel::SentinelFiles::new(&config.sentinels);
        let kernel = kernel::Kernel::new(kernel::Places {
            boot: config.kernels.boot.clone(),
            modules: config.kernels.modules.clone(),
            running: config.kernels.running.clone(),
        });
        let mut all: Vec<Arc<dyn Check>> = vec![Arc::new(kernel), Arc::new(sentinel)];
        let installed = &config.checks;
        if !installed.node_conditions.is_empty() {
            let types = &installed.node_conditions;
            all.push(Arc::new(node_condition::NodeConditions::new(types, reader)));
        }
        let programs: Arc<dyn programs::Programs> = Arc::new(programs::HostPrograms::default());
        if installed.packages {
            all.push(Arc::new(packages::Packages::new(Arc::clone(&programs))));
        }
        for (name, settings) in &installed.commands {
            let programs = Arc::clone(&programs);
            all.push(Arc::new(command::CommandCheck::new(
                name, settings, programs,
            )));
        }
        Self {
            all,
            settle: config.settle,
            poll: config.poll,
        }
    }

    /// A board on which none of them has answered.
    pub fn board(&self) -> Board {
        Board::settling(self.all.iter().map(|check| check.name()))
    }

    /// Looks, for ever, and publishes every settled change.
    pub async fn run(&self, board: &watch::Sender<Board>) -> Infallible {
        let all = self.all.iter();
        // Polled in this order, so that a simulation can be replayed; none waits for another.
        join_all(all.map(|check| Box::pin(self.follow(check.as_ref(), board)))).await;
        std::future::pending().await
    }

    async fn follow(&self, check: &dyn Check, board: &watch::Sender<Board>) -> Infallible {
        let mut settler = Settler::default();
        loop {
            // Watches are set before the look: a change after it is then an event.
            let changes = notify::Changes::of(check.watched());
            match settler.look(check.look().await) {
                Next::Again => tokio::time::sleep(self.settle).await,
                Next::Rest => {
                    board.send_if_modified(|board| board.note(check.name(), settler.settled()));
                    changes.wait(check.every().unwrap_or(self.poll)).await;
                }
            }
        }
    }

    /// Looks once more at what asks: what is settled may be a minute old.
    pub async fn still_required(&self, board: &Board, triggers: &Triggers) -> bool {
        for check in &self.all {
            let name = check.name();
            let mut asks = board.of_state(CheckState::Required);
            if !triggers.counts(name) || !asks.any(|(one, _)| one == name) {
                continue;
            }
            let required = |look: Look| look.is_some_and(|it| it.state == CheckState::Required);
            if !check.is_quick() || required(check.look().await) {
                return true;
            }
        }
        false
    }
}

/// Looks at files off the agent's thread, bounded in time, and never twice at once: threads that wait
/// for a file system that hangs must not pile up.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    busy: Arc<AtomicBool>,
}

/// Ends a look, however it ends.
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Patience {
    pub(crate) async fn look(&self, work: impl FnOnce() -> Look + Send + 'static) -> Look {
        let unknown = |reason: &str| Some(Reading::unknown(reason));
        if self.busy.swap(true, Ordering::AcqRel) {
            return unknown("the file system has not answered the look before this one");
        }
        let ended = Ended(Arc::clone(&self.busy));
        let look = simulate::off_thread(move || {
            let look = work();
            drop(ended);
            look
        });
        match tokio::time::timeout(LOOK_LIMIT, look).await {
            Ok(Ok(look)) => look,
            Ok(Err(_)) => unknown("the check failed"),
            Err(_) => unknown("the file system did not answer within 30s"),
        }
    }
}

/// The path as people on the host know it: the host's directories are mounted below `/host`.
pub(crate) fn shown(path: &std::path::Path) -> String {
    let text = path.to_string_lossy();
    let host = text
        .strip_prefix("/host")
        .filter(|rest| rest.starts_with('/'));
    host.unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests;
