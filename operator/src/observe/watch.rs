//! One watch: keeps a cache, knows how it fares, wakes the pass.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::core::DeserializeGuard;
use kube::runtime::watcher;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use slipway_client::clock;
use tokio::sync::Notify;

use super::cache::{Cache, Change, Decoded, Same};
use super::trouble::Trouble;
use crate::metrics::Metrics;

/// How soon after an attempt began a refusal or a failed connection would have shown. A watch that
/// has started shows by nothing but silence, where nothing changes.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(7);
/// How long an attempt may go without an answer, at most (the client's read timeout).
const SILENCE_LIMIT: Duration = Duration::from_secs(95);
/// Failures over a longer time show a cluster of the past: nothing new is granted on it.
const STALE_AFTER: Duration = Duration::from_mins(2);
/// First pause after a failure; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(800);
/// Longest pause.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Failures in a row, timed since boot.
#[derive(Clone, Debug)]
struct Failing {
    trouble: Trouble,
    first: Duration,
    last: Duration,
    next_attempt: Duration,
}

/// The objects of one kind, and how well they are seen.
#[derive(Debug)]
pub(crate) struct Watched<V> {
    /// The kind in plural, as in messages.
    pub(crate) kind: &'static str,
    pub(crate) cache: Cache<V>,
    failing: Mutex<Option<Failing>>,
}

impl<V: Same + Clone> Watched<V> {
    pub(crate) fn new(kind: &'static str) -> Arc<Self> {
        Arc::new(Self {
            kind,
            cache: Cache::new(),
            failing: Mutex::new(None),
        })
    }

    /// The failure that goes on now, if one does: silence for longer than `limit` after an attempt
    /// means that it was good.
    fn failing(&self, limit: Duration, now: Duration) -> Option<Failing> {
        let failing = self
            .failing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        failing.filter(|failing| now < failing.next_attempt.saturating_add(limit))
    }

    /// True when what the cache shows may be taken for the present.
    pub(crate) fn is_current(&self, now: Duration) -> bool {
        let stale = self
            .failing(SILENCE_LIMIT, now)
            .is_some_and(|failing| failing.last.saturating_sub(failing.first) > STALE_AFTER);
        self.cache.is_synced() && !stale
    }

    /// What is pending before this kind can be seen, if something is.
    pub(crate) fn pending(&self, now: Duration) -> Option<String> {
        match self.failing(ATTEMPT_LIMIT, now) {
            Some(failing) => Some(format!("{}: {}", self.kind, failing.trouble)),
            None if !self.cache.is_synced() => Some(format!("{}: not listed yet", self.kind)),
            None => None,
        }
    }

    fn failed(&self, trouble: Trouble, pause: Duration, now: Duration) {
        let before = self.failing(SILENCE_LIMIT, now);
        if before.as_ref().map(|before| before.trouble.kind) != Some(trouble.kind) {
            tracing::warn!(kind = self.kind, %trouble, "cannot watch");
        }
        let failing = Failing {
            trouble,
            first: before.map_or(now, |before| before.first),
            last: now,
            next_attempt: now.saturating_add(pause),
        };
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = Some(failing);
    }

    fn works(&self) {
        let before = self
            .failing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if before.is_some() {
            tracing::info!(kind = self.kind, "watched again");
        }
    }
}

/// Follows a watch for ever; failures are retried with a growing, capped and jittered pause.
pub(crate) async fn follow<K, V>(
    watched: Arc<Watched<V>>,
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    convert: fn(K) -> V,
    (wake, metrics): (Arc<Notify>, Metrics),
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    K::DynamicType: Default + Clone + Eq + std::hash::Hash + Debug,
    V: Same + Clone,
{
    let mut events = pin!(watcher(api, config));
    // Not the library's own: that one starts anew with every list that begins, and a list begins
    // before it fails.
    let mut failures = 0;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if !matches!(event, watcher::Event::Init) {
                    failures = 0;
                    watched.works();
                }
                if watched.cache.apply(changed(event, convert)) {
                    wake.notify_one();
                }
            }
            Err(error) => {
                let now = clock::boottime();
                let pause = retry(failures, now);
                if let Some(trouble) = Trouble::of_watch(&error) {
                    metrics.error(trouble.class);
                    watched.failed(trouble, pause, now);
                }
                tokio::time::sleep(pause).await;
                failures = failures.saturating_add(1);
            }
        }
    }
}

/// The pause after a failure, up to a quarter longer by chance: replicas must not ask together.
fn retry(failures: u32, now: Duration) -> Duration {
    let pause = (RETRY_MIN * 2_u32.pow(failures.min(6))).min(RETRY_MAX);
    pause + pause * (now.subsec_nanos() % 1000) / 4000
}

fn changed<K: Resource, V>(
    event: watcher::Event<DeserializeGuard<K>>,
    convert: fn(K) -> V,
) -> Change<V> {
    match event {
        watcher::Event::Init => Change::Begin,
        watcher::Event::InitApply(object) => {
            let (name, object) = decoded(object, convert);
            Change::Listed(name, object)
        }
        watcher::Event::InitDone => Change::Done,
        watcher::Event::Apply(object) => {
            let (name, object) = decoded(object, convert);
            Change::Set(name, object)
        }
        watcher::Event::Delete(object) => Change::Gone(decoded(object, convert).0),
    }
}

fn decoded<K: Resource, V>(
    object: DeserializeGuard<K>,
    convert: fn(K) -> V,
) -> (String, Decoded<V>) {
    let name = object.meta().name.clone().unwrap_or_default();
    (name, object.0.map(convert).map_err(|invalid| invalid.error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_client::call::{CallError, ErrorClass};

    fn trouble() -> Trouble {
        Trouble::of_call(&CallError::NoAnswer {
            what: "watch".into(),
        })
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn synced() -> Arc<Watched<u32>> {
        let watched = Watched::new("Nodes");
        watched.cache.apply(Change::Done);
        watched
    }

    #[test]
    fn what_was_never_listed_is_pending() {
        let watched: Arc<Watched<u32>> = Watched::new("Nodes");
        assert_eq!(
            watched.pending(at(1)).as_deref(),
            Some("Nodes: not listed yet")
        );
        assert!(!watched.is_current(at(1)));
    }

    #[test]
    fn a_watch_that_fails_says_so_at_once_and_is_doubted_after_two_minutes() {
        let watched = synced();
        for second in [100, 130, 160, 190, 220] {
            watched.failed(trouble(), at(30), at(second));
        }
        assert!(
            watched
                .pending(at(101))
                .unwrap()
                .contains("cannot be reached")
        );
        assert!(watched.is_current(at(220)));
        watched.failed(trouble(), at(30), at(225));
        assert!(!watched.is_current(at(225)));
    }

    #[test]
    fn silence_after_a_failure_means_that_the_watch_works() {
        let watched = synced();
        watched.failed(trouble(), at(1), at(100));
        assert!(watched.pending(at(107)).is_some());
        assert_eq!(watched.pending(at(108)), None);
        // One failure is no long time, however long ago it was.
        assert!(watched.is_current(at(195)));
        // Nor are two with a working watch in between.
        watched.failed(trouble(), at(1), at(300));
        assert!(watched.is_current(at(301)));
    }

    #[test]
    fn attempts_without_an_answer_are_failures_in_a_row() {
        let watched = synced();
        for second in [100, 190, 280] {
            watched.failed(trouble(), at(2), at(second));
        }
        assert!(!watched.is_current(at(281)));
    }

    #[test]
    fn failures_are_retried_with_a_growing_and_bounded_pause() {
        assert_eq!(retry(0, Duration::ZERO), RETRY_MIN);
        assert_eq!(retry(2, Duration::ZERO), RETRY_MIN * 4);
        for failures in [6, 100, u32::MAX] {
            let longest = retry(failures, Duration::from_nanos(999));
            assert!(longest >= RETRY_MAX && longest < RETRY_MAX * 5 / 4);
        }
    }

    #[test]
    fn an_event_ends_a_failure() {
        let watched = synced();
        watched.failed(trouble(), at(1), at(100));
        watched.works();
        assert_eq!(watched.pending(at(101)), None);
        assert_eq!(trouble().class, ErrorClass::Transient);
    }
}
