//! Waiting for a condition, with a bound and a message that says what was waited for.
//!
//! Called wherever the lab or a test would otherwise sleep.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep, timeout};

/// How soon a condition is looked at again, at first.
const POLL: Duration = Duration::from_millis(25);
/// And after a long wait: looks of many tests at once are what keeps a server busy.
const POLL_MAX: Duration = Duration::from_millis(250);
/// What the last look found, where that was no error.
const NOT_YET: &str = "it did not hold";

/// Polls a condition until it gives a value, and returns that value.
///
/// `Ok(None)` and errors both mean "not yet": a server that is starting or restarting refuses
/// connections. The error of a wait that ran out names `what`, the bound and the error of the last look.
/// A poll that hangs is cut off with the bound.
pub async fn wait_until<T, F, Fut>(what: &str, bound: Duration, mut condition: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>>>,
{
    let begun = Instant::now();
    let deadline = begun + bound;
    let mut last = String::from(NOT_YET);
    loop {
        match timeout(
            deadline.saturating_duration_since(Instant::now()),
            condition(),
        )
        .await
        {
            Ok(Ok(Some(value))) => return Ok(value),
            Ok(Ok(None)) => NOT_YET.clone_into(&mut last),
            Ok(Err(error)) => last = format!("last error: {error:#}"),
            Err(_) => bail!("waited {bound:?} for {what}: the last look did not return ({last})"),
        }
        let pause = (begun.elapsed() / 10).clamp(POLL, POLL_MAX);
        if Instant::now() + pause >= deadline {
            bail!("waited {bound:?} for {what}: {last}");
        }
        sleep(pause).await;
    }
}
