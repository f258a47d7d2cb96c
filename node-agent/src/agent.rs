//! The loop: a pass at every event, a rest in between, and a longer one after a failure.
//!
//! Owns when passes are made, never what they do. Events are the agent's own lease, a settled
//! change of the checks, and the time that the last decision asked for.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::Api;
use kube::api::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use slipway_api::RebootLease;
use slipway_client::{CallError, chain};
use tokio::sync::Notify;

use crate::backoff::{self, Backoff};
use crate::health::{self, Health};
use crate::observe::Reader;
use crate::pass::Agent;

/// After a failure even an event waits this long: an API server that flaps would be hammered.
const EVENT_PAUSE: Duration = Duration::from_secs(1);
/// A rest as long as this is not for anything in particular.
const IDLE: Duration = Duration::from_mins(1);
/// How many passes in a row may ask for the next one at once.
const AGAIN_MAX: u32 = 20;
/// The API server ends the watch after this; a connection that died silently is noticed then.
const WATCH_SECONDS: u32 = 60;

impl Agent {
    /// Passes, for ever.
    pub(crate) async fn passes(mut self, lease_changed: &Notify) -> Infallible {
        let mut backoff = Backoff::default();
        let mut in_a_row = 0_u32;
        loop {
            let rest = match Box::pin(self.pass()).await {
                Ok(rest) => {
                    backoff.reset();
                    self.health.good(health::PASS);
                    rest
                }
                Err(error) if error.is_conflict() => {
                    tracing::debug!(error = %chain(&error), "changed meanwhile");
                    backoff.conflicted()
                }
                Err(error) => {
                    self.health.bad(health::PASS, chain(&error));
                    let rest = backoff.failed();
                    tokio::time::sleep(rest.min(EVENT_PAUSE)).await;
                    rest.saturating_sub(EVENT_PAUSE)
                }
            };
            in_a_row = if rest.is_zero() {
                in_a_row.saturating_add(1)
            } else {
                0
            };
            // A decision that repeats itself is a fault of ours; it must not become a load.
            let rest = if in_a_row > AGAIN_MAX {
                EVENT_PAUSE
            } else {
                rest
            };
            // Agents that started together must not ask together for ever.
            let rest = if rest >= IDLE {
                backoff::jittered(rest)
            } else {
                rest
            };
            self.rest(rest, lease_changed).await;
        }
    }

    async fn rest(&mut self, rest: Duration, lease_changed: &Notify) {
        tokio::select! {
            biased;
            () = tokio::time::sleep(rest) => {}
            () = lease_changed.notified() => {}
            // An error says that the checks have ended, and with them this program.
            _ = self.board.changed() => {}
        }
    }
}

/// Watches our own lease and rings at every event. Only metadata: what matters is read anew.
pub(crate) async fn watch_lease(
    reader: &Reader,
    health: &Health,
    lease_changed: &Arc<Notify>,
) -> Infallible {
    let api: Api<PartialObjectMeta<RebootLease>> = Api::all(reader.client.clone());
    let ours = watcher::Config::default()
        .fields(&format!("metadata.name={}", reader.node_name))
        .timeout(WATCH_SECONDS);
    loop {
        let mut events = watcher(api.clone(), ours.clone()).default_backoff().boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(_) => {
                    health.good(health::WATCH);
                    lease_changed.notify_one();
                }
                Err(error) => {
                    if let Some(problem) = watch_problem(error) {
                        health.bad(health::WATCH, problem);
                    }
                }
            }
        }
        // The stream never ends by itself.
        tokio::time::sleep(EVENT_PAUSE).await;
    }
}

/// What to say of a watch that failed; nothing of one that only has to be listed anew.
fn watch_problem(error: watcher::Error) -> Option<String> {
    let what = "watch the RebootLease";
    let source = match error {
        watcher::Error::WatchError(status) if status.code == 410 => return None,
        watcher::Error::WatchError(status) => kube::Error::Api(status),
        watcher::Error::InitialListFailed(source)
        | watcher::Error::WatchStartFailed(source)
        | watcher::Error::WatchFailed(source) => source,
        watcher::Error::NoResourceVersion => return Some(error.to_string()),
    };
    let error = CallError::api(what, source);
    Some(crate::error::told(&error, "RebootLeases", "rebootleases"))
}
