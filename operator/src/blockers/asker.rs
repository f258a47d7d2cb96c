//! The task that asks: each blocker by itself, within its timeout, a few at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use slipway_api::blockers::{BlockerRule, Probe};
use slipway_client::clock;
use slipway_planner::blockers::{Answer, Answered};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{Id, JoinSet};

use super::fetch::{AllowedUrl, Fetcher};
use super::{
    Blockers, Key, Trouble, alertmanager, answered, http, pods, prometheus, promql, workloads,
};
use crate::metrics::Metrics;

/// Questions at once: each may hold an answer of 1 MiB.
const AT_ONCE: usize = 8;
/// How long a question to the API server may take.
const PODS_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks what is wanted, for ever.
#[derive(Debug)]
pub struct Asker {
    blockers: Blockers,
    inner: Arc<Inner>,
    metrics: Metrics,
}

struct Inner {
    client: Client,
    fetcher: Fetcher,
    places: Semaphore,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Inner").finish_non_exhaustive()
    }
}

/// A question that has been answered.
struct Told {
    answered: Answered,
    asked: Duration,
}

impl Asker {
    /// An asker of what `blockers` wants; `allowed` are the addresses that may be asked, empty for
    /// any.
    pub fn new(
        blockers: Blockers,
        (client, namespace): (Client, &str),
        allowed: Vec<AllowedUrl>,
        metrics: Metrics,
    ) -> Self {
        let fetcher = Fetcher::new(client.clone(), namespace, allowed);
        Self {
            blockers,
            inner: Arc::new(Inner {
                client,
                fetcher,
                places: Semaphore::new(AT_ONCE),
            }),
            metrics,
        }
    }

    /// Asks, and wakes the pass where an answer differs from the one before. Never ends.
    pub async fn run(self, wake: Arc<Notify>) {
        let mut questions: JoinSet<Told> = JoinSet::new();
        let mut busy: BTreeMap<Id, Key> = BTreeMap::new();
        loop {
            let asked: BTreeSet<Key> = busy.values().cloned().collect();
            let (due, next) = self.blockers.due(&asked, clock::boottime());
            for (key, rule) in due {
                let inner = Arc::clone(&self.inner);
                let handle = questions.spawn(async move { inner.ask(rule).await });
                busy.insert(handle.id(), key);
            }
            tokio::select! {
                () = self.blockers.0.changed.notified() => {}
                () = tokio::time::sleep(next) => {}
                Some(ended) = questions.join_next_with_id(), if !questions.is_empty() => {
                    let (id, told) = match ended {
                        Ok((id, told)) => (id, Some(told)),
                        // It panicked: asked again, and its place is free.
                        Err(error) => (error.id(), None),
                    };
                    if let (Some(key), Some(told)) = (busy.remove(&id), told)
                        && self.tell(key, told)
                    {
                        wake.notify_one();
                    }
                }
            }
        }
    }

    /// Keeps an answer; true when a pass should look at it.
    fn tell(&self, key: Key, told: Told) -> bool {
        let Told { answered, asked } = told;
        let outcome = match &answered.answer {
            Answer::Clear => "clear",
            Answer::Blocks { .. } | Answer::BlocksNodes { .. } | Answer::PodsNotReady { .. } => {
                "blocks"
            }
            Answer::Failed { .. } => "failed",
        };
        let kind = answered.rule.probe.kind();
        self.metrics.blocker_asked(kind, outcome);
        let blocker = key.1.clone();
        let news = self.blockers.take(key, answered, asked);
        if news {
            tracing::info!(blocker, kind, outcome, "answered");
        }
        news
    }
}

impl Inner {
    async fn ask(&self, rule: BlockerRule) -> Told {
        let place = self.places.acquire().await;
        // From here on: an answer is as old as its question.
        let (asked, at): (Duration, Timestamp) = (clock::boottime(), clock::wall());
        let limit = rule
            .probe
            .endpoint()
            .map_or(PODS_TIMEOUT, |endpoint| endpoint.timeout.0);
        let answer = tokio::time::timeout(limit, self.question(&rule.probe)).await;
        drop(place);
        let answer = answer.unwrap_or_else(|_| {
            let limit = slipway_api::Duration(limit);
            Err(Trouble::new(format!("no answer within {limit}")))
        });
        Told {
            answered: answered(rule, answer, at),
            asked,
        }
    }

    async fn question(&self, probe: &Probe) -> Result<Answer, Trouble> {
        match probe {
            Probe::Prometheus {
                endpoint,
                alerts,
                firing_only,
            } => prometheus::ask(&self.fetcher, endpoint, alerts, *firing_only).await,
            Probe::Promql { endpoint, query } => promql::ask(&self.fetcher, endpoint, query).await,
            Probe::Alertmanager {
                endpoint,
                matchers,
                alerts,
            } => alertmanager::ask(&self.fetcher, endpoint, matchers, alerts).await,
            Probe::Pods(blocker) => pods::ask(&self.client, blocker).await,
            Probe::Http { endpoint } => http::ask(&self.fetcher, endpoint).await,
            Probe::Workloads(workloads) => workloads::ask(&self.client, workloads).await,
            Probe::Nodes { .. } => Err(Trouble::new("nodes are watched, not asked about")),
        }
    }
}
