//! The place where a simulation takes over time and the API server, on its own thread only.
//!
//! Owns one thread-local hook, empty in every program: nothing but the lab's seeded simulation
//! installs one. With it, real operators and agents run on virtual time against an in-memory API
//! server, and a seed replays byte for byte.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use crate::connect::ConnectOptions;

/// What a simulation provides.
pub trait World {
    /// Wall time of the program that asks.
    fn wall(&self) -> Timestamp;
    /// Time since boot of the machine that it runs on.
    fn boottime(&self) -> Duration;
    /// A client for the program that asks.
    fn client(&self, options: &ConnectOptions) -> Client;
    /// What stops the program that asks.
    fn stop(&self) -> Option<Arc<dyn Stop>> {
        None
    }
    /// Changes with every file of a simulated host that is looked at.
    fn files(&self) -> Option<watch::Receiver<u64>> {
        None
    }
}

/// Stops a program as SIGSTOP does: all of it, in the middle of whatever it does.
pub trait Stop: Send + Sync {
    /// Until when it stands still; a time that has passed while it runs.
    fn until(&self) -> Instant;
}

/// A task that stands still while its program is stopped. Outside a simulation nothing stops it.
pub struct Task<F> {
    stop: Option<Arc<dyn Stop>>,
    inner: Pin<Box<F>>,
    wakes: Option<Pin<Box<Sleep>>>,
}

/// A task of the program that calls this: every one that it spawns must be made here, else a stopped
/// program would go on in part.
pub fn task<F: Future>(inner: F) -> Task<F> {
    Task::new(ask(|world| world.stop()).flatten(), inner)
}

impl<F: Future> Task<F> {
    /// A task that this stops.
    pub fn new(stop: Option<Arc<dyn Stop>>, inner: F) -> Self {
        Self {
            stop,
            inner: Box::pin(inner),
            wakes: None,
        }
    }
}

impl<F: Future> Future for Task<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if let Some(until) = self.stop.as_ref().map(|stop| stop.until())
            && until > Instant::now()
        {
            let mut wakes = Box::pin(tokio::time::sleep_until(until));
            if wakes.as_mut().poll(cx).is_pending() {
                self.wakes = Some(wakes);
                return Poll::Pending;
            }
        }
        self.wakes = None;
        self.inner.as_mut().poll(cx)
    }
}

thread_local! {
    static WORLD: RefCell<Option<Rc<dyn World>>> = const { RefCell::new(None) };
}

/// Ends the simulation on this thread when it is dropped.
pub struct Installed(());

impl Drop for Installed {
    fn drop(&mut self) {
        WORLD.with(|world| world.borrow_mut().take());
    }
}

/// Simulates on this thread until the answer is dropped.
#[must_use]
pub fn install(world: Rc<dyn World>) -> Installed {
    WORLD.with(|present| *present.borrow_mut() = Some(world));
    Installed(())
}

/// Asks the world of this thread; `None` in every program.
pub(crate) fn ask<T>(question: impl FnOnce(&dyn World) -> T) -> Option<T> {
    // Cloned first: the answer may itself ask for the time.
    let world = WORLD.with(|world| world.borrow().clone());
    world.map(|world| question(world.as_ref()))
}

/// What changes with the files of a simulated host; `None` in every program. A simulation must not
/// hear of them from the kernel: when it does is not decided by the seed, and what others do in the
/// same directories is heard as well.
#[must_use]
pub fn files() -> Option<watch::Receiver<u64>> {
    ask(|world| world.files()).flatten()
}

/// Runs what may block the thread: elsewhere, but in a simulation at once, because the order in
/// which other threads end cannot be replayed.
///
/// # Errors
/// The work has panicked.
pub async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    if ask(|_| ()).is_some() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Until(Instant);

    impl Stop for Until {
        fn until(&self) -> Instant {
            self.0
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_task_stands_still_even_when_what_it_waits_for_is_there() {
        let begun = Instant::now();
        let stop = Arc::new(Until(begun + Duration::from_mins(1)));
        let work = async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            begun.elapsed()
        };
        let ended = tokio::spawn(Task::new(Some(stop), work)).await.unwrap();
        // It begins once it runs, and then waits for its own second.
        assert_eq!(ended, Duration::from_secs(61));
        assert_eq!(task(async { 7 }).await, 7);
    }
}
