//! The place where a simulation takes over time and the API server, on its own thread only.
//!
//! Owns one thread-local hook, empty in every program: nothing but the lab's seeded simulation
//! installs one. With it, real operators and agents run on virtual time against an in-memory API
//! server, and a seed replays byte for byte.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;

use crate::connect::ConnectOptions;

/// What a simulation provides.
pub trait World {
    /// Wall time of the program that asks.
    fn wall(&self) -> Timestamp;
    /// Time since boot of the machine that it runs on.
    fn boottime(&self) -> Duration;
    /// A client for the program that asks.
    fn client(&self, options: &ConnectOptions) -> Client;
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
