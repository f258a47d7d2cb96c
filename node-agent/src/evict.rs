//! One round of a drain, and the question before it whether the node could be drained at all.
//!
//! Owns which pods are asked about in a round and how many at once. What an answer means is in
//! [`crate::eviction`], what is remembered of it in [`crate::drain`].

use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use slipway_api::drain_filter::{DrainRules, PodVerdict};
use slipway_api::lease::Grant;
use slipway_api::policy::OnDrainTimeout;
use slipway_api::{Phase, RebootLease};
use slipway_client::{chain, clock};

use crate::act::AGAIN;
use crate::error::PassError;
use crate::eviction::{self, Answer};
use crate::pass::{Agent, Observed};
use crate::{drain, lease_write, reason};

/// Between two rounds of a drain.
pub(crate) const ROUND: Duration = Duration::from_secs(2);
/// Between two questions before the cordon, while pods are held.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How many evictions are under way at once.
const EVICTIONS_AT_ONCE: usize = 16;
/// No new evictions after this: a revoke or a veto must be seen (F64).
const ROUND_MAX: Duration = Duration::from_secs(3);
/// Most pods named in a message.
const NAMED_MAX: usize = 3;

impl Agent {
    /// One round of the drain.
    pub(crate) async fn evict(
        &mut self,
        lease: &RebootLease,
        fence: i64,
        observed: &Observed,
    ) -> Result<Duration, PassError> {
        let begun = clock::boottime();
        let pods = &observed.pods;
        let grant = lease.spec.grant.as_ref().filter(|g| g.fence == fence);
        let blocked = blocked(&self.rules(Some(lease), observed.facts.clocks.api), pods);
        for (pod, answer) in blocked {
            self.memory.drain(fence).note(pod, answer, begun);
        }
        let grace = grant.and_then(|grant| grant.drain.grace_period_seconds);
        // An agent that was away all that time evicts first: its rounds show in the lease.
        let tried = lease
            .status
            .as_ref()
            .is_some_and(|status| status.drain.is_some());
        let passed = observed.facts.seen.drain_elapsed;
        let deletes = tried && grant.is_some_and(|grant| deletes(grant, passed));
        let due = self.memory.drain(fence).due(pods, begun);
        for batch in due.chunks(EVICTIONS_AT_ONCE) {
            let client = &self.reader.pod_client;
            let ask = async |pod: &Pod| {
                if deletes {
                    eviction::delete(client, pod, grace).await
                } else {
                    eviction::evict(client, pod, grace).await
                }
            };
            let answers = join_all(batch.iter().map(|pod| ask(pod))).await;
            let busy = answers.iter().any(is_busy);
            let drain = self.memory.drain(fence);
            for (pod, answer) in batch.iter().zip(answers) {
                drain.note(pod, answer, clock::boottime());
            }
            if busy || clock::boottime().saturating_sub(begun) >= ROUND_MAX {
                break;
            }
        }
        self.tell(lease, fence, pods).await?;
        Ok(ROUND)
    }

    /// Writes the progress, where it is news.
    async fn tell(
        &mut self,
        lease: &RebootLease,
        fence: i64,
        pods: &[Pod],
    ) -> Result<(), PassError> {
        let before = lease
            .status
            .as_ref()
            .and_then(|status| status.drain.as_ref());
        let now = clock::boottime();
        let drain = self.memory.drain(fence);
        let told = drain.told(pods, before);
        if !drain.worth_writing(&told, before, now) {
            return Ok(());
        }
        drain.written(now);
        // Pods that come back to a drained node are news, but not another phase (F61).
        let why = if lease.phase() == Phase::Drained && told.reason == reason::DRAINING {
            reason::DRAINED
        } else {
            told.reason
        };
        self.write_lease(lease_write::progress(
            lease,
            &told.progress,
            why,
            &told.message,
        ))
        .await
    }

    /// Asks for every pod, by evictions that are only rehearsed, whether it could leave now.
    pub(crate) async fn preflight(
        &mut self,
        lease: &RebootLease,
        fence: i64,
        observed: &Observed,
    ) -> Result<Duration, PassError> {
        let begun = clock::boottime();
        let rules = self.rules(Some(lease), observed.facts.clocks.api);
        let pods = match self.reader.pods(&rules).await {
            Ok(pods) => pods,
            Err(error) => {
                let message = format!("the pods of the node cannot be listed: {}", chain(&error));
                self.say_waiting(lease, reason::PODS_BLOCKED, &message)
                    .await?;
                return Ok(ASK_AGAIN);
            }
        };
        let mut held: Vec<(&Pod, Answer)> = blocked(&rules, &pods);
        let evictable: Vec<&Pod> = pods
            .iter()
            .filter(|pod| rules.judge(pod) == PodVerdict::Evict)
            .collect();
        let grace = lease
            .spec
            .grant
            .as_ref()
            .and_then(|grant| grant.drain.grace_period_seconds);
        let mut asked_all = true;
        for batch in evictable.chunks(EVICTIONS_AT_ONCE) {
            let client = &self.reader.pod_client;
            let calls = batch
                .iter()
                .map(|pod| eviction::could_evict(client, pod, grace));
            let answers = join_all(calls).await;
            let busy = answers.iter().any(is_busy);
            held.extend(batch.iter().copied().zip(answers));
            // What was not asked is not known to be free.
            if busy || clock::boottime().saturating_sub(begun) >= ROUND_MAX.saturating_mul(3) {
                asked_all = held.len() >= pods.len();
                break;
            }
        }
        let names = named(&held);
        let doubtful = !asked_all || held.iter().any(|(_, answer)| is_doubt(answer));
        if names.is_empty() {
            if doubtful {
                return Ok(ASK_AGAIN);
            }
            self.memory.note_preflight(fence, None, clock::boottime());
            return Ok(AGAIN);
        }
        let message = format!(
            "not cordoned: pods that cannot leave: {} of {}: {}",
            names.len(),
            pods.len(),
            names
                .iter()
                .take(NAMED_MAX)
                .cloned()
                .collect::<Vec<_>>()
                .join("; ")
        );
        self.memory
            .note_preflight(fence, Some(message.clone()), clock::boottime());
        self.say_waiting(lease, reason::PODS_BLOCKED, &message)
            .await?;
        Ok(ASK_AGAIN)
    }
}

/// True when the drain has had its time, and the policy then deletes what is left.
fn deletes(grant: &Grant, passed: Duration) -> bool {
    let late = grant.drain.limit().is_some_and(|limit| passed >= limit);
    late && grant.drain.on_timeout == OnDrainTimeout::ForceDelete
}

/// The pods that only a person may remove.
fn blocked<'a>(rules: &DrainRules<'_>, pods: &'a [Pod]) -> Vec<(&'a Pod, Answer)> {
    let held = |pod: &'a Pod| match rules.judge(pod) {
        PodVerdict::Blocks(because) => Some((pod, eviction::blocked(because.as_str()))),
        PodVerdict::Evict | PodVerdict::Leaving | PodVerdict::Stays(_) => None,
    };
    pods.iter().filter_map(held).collect()
}

fn is_busy(answer: &Answer) -> bool {
    matches!(answer, Answer::Busy { .. })
}

/// No answer that says anything about the pod.
fn is_doubt(answer: &Answer) -> bool {
    match answer {
        Answer::Busy { .. } => true,
        Answer::Held { blocked, .. } => !blocked,
        Answer::Accepted | Answer::Gone => false,
    }
}

/// The pods that are held, and by what.
fn named(answers: &[(&Pod, Answer)]) -> Vec<String> {
    let held = answers.iter().filter_map(|(pod, answer)| match answer {
        Answer::Held {
            reason,
            blocked: true,
            ..
        } => Some(format!("{}: {reason}", drain::name(pod))),
        Answer::Held { .. } | Answer::Busy { .. } | Answer::Accepted | Answer::Gone => None,
    });
    held.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_are_deleted_only_where_that_is_written_and_only_after_the_timeout() {
        let grant = |on_timeout: &str, timeout: &str| -> Grant {
            serde_json::from_value(json!({
                "fence": 7, "grantedAt": "2026-01-01T00:00:00Z", "notAfter": "2026-01-01T01:00:00Z",
                "drain": {"onTimeout": on_timeout, "timeout": timeout}, "reboot": {}, "verify": {},
            }))
            .unwrap()
        };
        let passed = Duration::from_mins(10);
        assert!(deletes(&grant("ForceDelete", "10m"), passed));
        assert!(!deletes(&grant("ForceDelete", "11m"), passed));
        assert!(!deletes(&grant("ForceDelete", "0s"), passed));
        assert!(!deletes(&grant("RebootAnyway", "10m"), passed));
        assert!(!deletes(&grant("Abort", "10m"), passed));
    }

    #[test]
    fn only_what_waits_for_somebody_is_named_and_what_failed_is_a_doubt() {
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": {"containers": []}}),
        )
        .unwrap();
        let failed = Answer::Held {
            reason: "no answer".into(),
            blocked: false,
            pause: ROUND,
        };
        let held = eviction::blocked("budget web");
        let answers = [(&pod, Answer::Accepted), (&pod, failed), (&pod, held)];
        assert_eq!(named(&answers), ["shop/p: budget web"]);
        let doubts = answers.iter().filter(|(_, answer)| is_doubt(answer));
        assert_eq!(doubts.count(), 1);
        assert!(is_doubt(&Answer::Busy { pause: ROUND }));
    }
}
