//! The book-keeping of one drain: which pods were tried, what holds them, what people are told.
//!
//! Pure: the caller lists the pods and sends the evictions. All of it may be lost in a crash; the
//! next list of the node's pods says what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use slipway_api::lease::{DrainProgress, WAITING_PODS_MAX, WaitingPod};

use crate::eviction::Answer;
use crate::reason;

/// Progress is written no more often than this: each write makes the operator's own fail.
const WRITE_PAUSE: Duration = Duration::from_secs(5);
/// Longest reason of a waiting pod that the schema takes.
const WAITING_REASON_MAX: usize = 512;

/// One drain.
#[derive(Debug, Default)]
pub struct Drain {
    /// The grant that it belongs to.
    pub fence: i64,
    seen: BTreeSet<String>,
    evicted: BTreeSet<String>,
    held: BTreeMap<String, Held>,
    written_at: Option<Duration>,
    /// The API server asked for quiet until then.
    quiet_until: Duration,
}

#[derive(Debug)]
struct Held {
    reason: String,
    blocked: bool,
    until: Duration,
}

/// What people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Numbers and names.
    pub progress: DrainProgress,
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

impl Drain {
    /// The drain of a grant.
    pub fn new(fence: i64) -> Self {
        Self {
            fence,
            ..Self::default()
        }
    }

    /// Notes the pods that must leave and returns those to evict now.
    pub fn due<'a>(&mut self, pods: &'a [Pod], boottime: Duration) -> Vec<&'a Pod> {
        let here: BTreeSet<&str> = pods.iter().map(uid).collect();
        self.held.retain(|uid, _| here.contains(uid.as_str()));
        let mut due = Vec::new();
        for pod in pods {
            self.seen.insert(uid(pod).to_owned());
            if leaving(pod) {
                self.evicted.insert(uid(pod).to_owned());
                self.held.remove(uid(pod));
            } else if self
                .held
                .get(uid(pod))
                .is_none_or(|held| held.until <= boottime)
            {
                due.push(pod);
            }
        }
        if boottime < self.quiet_until {
            due.clear();
        }
        due
    }

    /// Notes what an eviction led to.
    pub fn note(&mut self, pod: &Pod, answer: Answer, boottime: Duration) {
        let uid = uid(pod).to_owned();
        match answer {
            Answer::Accepted => {
                self.held.remove(&uid);
                self.evicted.insert(uid);
            }
            Answer::Gone => {
                self.held.remove(&uid);
            }
            Answer::Busy { pause } => {
                let until = boottime.saturating_add(pause);
                self.quiet_until = self.quiet_until.max(until);
                let held = Held {
                    reason: "the API server is busy".to_owned(),
                    blocked: false,
                    until,
                };
                self.held.insert(uid, held);
            }
            Answer::Held {
                reason,
                blocked,
                pause,
            } => {
                let until = boottime.saturating_add(pause);
                let held = Held {
                    reason,
                    blocked,
                    until,
                };
                self.held.insert(uid, held);
            }
        }
    }

    /// What to tell, given the pods still there and what the lease said before.
    pub fn told(&self, pods: &[Pod], before: Option<&DrainProgress>) -> Told {
        let blocked = |pod: &Pod| self.held.get(uid(pod)).is_some_and(|held| held.blocked);
        // The blocked ones first: they are what a person can do something about.
        let mut order: Vec<&Pod> = pods.iter().collect();
        order.sort_by_key(|pod| (!blocked(pod), leaving(pod), name(pod)));
        let waiting: Vec<WaitingPod> = order
            .iter()
            .take(WAITING_PODS_MAX)
            .map(|pod| WaitingPod {
                pod: name(pod),
                reason: self.why(pod),
            })
            .collect();
        let (total, evicted) = self.counts(before);
        let progress = DrainProgress {
            total,
            evicted,
            pods: format!("{}/{total}", pods.len()),
            waiting,
        };
        let stuck = pods.iter().filter(|pod| blocked(pod)).count();
        let (reason, message) = match order.first() {
            None => (
                reason::DRAINING,
                "no pod that must leave is left".to_owned(),
            ),
            Some(first) if stuck > 0 => {
                let text = format!(
                    "pods that cannot leave: {stuck} of {}: {}: {}",
                    pods.len(),
                    name(first),
                    self.why(first)
                );
                (reason::PODS_BLOCKED, text)
            }
            Some(_) => (
                reason::DRAINING,
                format!("pods still leaving: {}", pods.len()),
            ),
        };
        Told {
            progress,
            reason,
            message,
        }
    }

    /// True when `told` is news, and the last write is long enough ago; the first is written at once.
    pub fn worth_writing(
        &self,
        told: &Told,
        before: Option<&DrainProgress>,
        boottime: Duration,
    ) -> bool {
        let paused = |at: Duration| boottime.saturating_sub(at) < WRITE_PAUSE;
        before != Some(&told.progress) && !self.written_at.is_some_and(paused)
    }

    /// Notes that progress was written.
    pub fn written(&mut self, boottime: Duration) {
        self.written_at = Some(boottime);
    }

    /// Total and evicted, never fewer than the lease said before this process started.
    fn counts(&self, before: Option<&DrainProgress>) -> (i32, i32) {
        let number = |set: &BTreeSet<String>| i32::try_from(set.len()).unwrap_or(i32::MAX);
        let total = number(&self.seen).max(before.map_or(0, |drain| drain.total));
        let evicted = number(&self.evicted).max(before.map_or(0, |drain| drain.evicted));
        (total, evicted.min(total))
    }

    fn why(&self, pod: &Pod) -> String {
        if let Some(ends) = &pod.metadata.deletion_timestamp {
            return terminating(pod, ends.0);
        }
        if self.evicted.contains(uid(pod)) {
            return "terminating".to_owned();
        }
        let held = self.held.get(uid(pod));
        held.map_or_else(
            || "about to be evicted".to_owned(),
            |held| held.reason.clone(),
        )
    }
}

/// Until when it may take its time, and what keeps it after that: for whoever wonders at a pod that
/// does not go (F59).
fn terminating(pod: &Pod, ends: Timestamp) -> String {
    let finalizers = pod.metadata.finalizers.iter().flatten();
    let named: Vec<&str> = finalizers.map(String::as_str).take(3).collect();
    let kept = if named.is_empty() {
        String::new()
    } else {
        format!(", kept by the finalizers {}", named.join(", "))
    };
    let text = format!("terminating, its time is up at {ends}{kept}");
    text.chars().take(WAITING_REASON_MAX).collect()
}

fn leaving(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

pub(crate) fn name(pod: &Pod) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    format!(
        "{}/{}",
        part(&pod.metadata.namespace),
        part(&pod.metadata.name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const T0: Duration = Duration::from_secs(100);

    fn pod(name: &str, leaving: bool) -> Pod {
        let mut metadata = json!({"name": name, "namespace": "default", "uid": name});
        if leaving {
            metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        serde_json::from_value(json!({"metadata": metadata, "spec": {"containers": []}})).unwrap()
    }

    fn blocked() -> Answer {
        Answer::Held {
            reason: "budget web".into(),
            blocked: true,
            pause: Duration::from_secs(5),
        }
    }

    fn names(due: &[&Pod]) -> Vec<String> {
        due.iter().map(|pod| name(pod)).collect()
    }

    #[test]
    fn a_pod_that_leaves_is_not_evicted_again() {
        let mut drain = Drain::new(7);
        let pods = [pod("a", false), pod("b", true)];
        assert_eq!(names(&drain.due(&pods, T0)), ["default/a"]);
    }

    #[test]
    fn a_held_pod_is_tried_again_after_its_pause_only() {
        let mut drain = Drain::new(7);
        let pods = [pod("a", false)];
        drain.note(&pods[0], blocked(), T0);
        assert!(drain.due(&pods, T0 + Duration::from_secs(4)).is_empty());
        assert_eq!(drain.due(&pods, T0 + Duration::from_secs(5)).len(), 1);
    }

    #[test]
    fn blocked_pods_are_told_first_and_by_what_holds_them() {
        let mut drain = Drain::new(7);
        let pods = [pod("a", true), pod("z", false)];
        drain.due(&pods, T0);
        drain.note(&pods[1], blocked(), T0);
        let told = drain.told(&pods, None);
        assert_eq!(told.reason, reason::PODS_BLOCKED);
        assert_eq!(told.progress.waiting[0].pod, "default/z");
        assert_eq!(told.progress.waiting[0].reason, "budget web");
        assert_eq!(
            (told.progress.pods.as_str(), told.progress.evicted),
            ("2/2", 1)
        );
    }

    #[test]
    fn f33_a_busy_api_server_is_left_alone_by_every_eviction() {
        let mut drain = Drain::new(7);
        let pods = [pod("a", false), pod("b", false)];
        let pause = Duration::from_secs(7);
        drain.note(&pods[0], Answer::Busy { pause }, T0);
        assert!(drain.due(&pods, T0 + Duration::from_secs(6)).is_empty());
        assert_eq!(drain.due(&pods, T0 + pause).len(), 2);
    }

    #[test]
    fn f59_a_pod_that_does_not_go_says_what_keeps_it() {
        let mut kept = pod("a", true);
        kept.metadata.finalizers = Some(vec!["example.com/keep".into()]);
        let told = Drain::new(7).told(&[kept], None);
        let why = told.progress.waiting[0].reason.as_str();
        assert!(why.contains("2026-01-01T00:00:00Z"), "{why}");
        assert!(why.ends_with("finalizers example.com/keep"), "{why}");
    }

    #[test]
    fn counts_never_fall_when_the_agent_restarts() {
        let before = DrainProgress {
            total: 12,
            evicted: 10,
            ..DrainProgress::default()
        };
        let mut drain = Drain::new(7);
        let pods = [pod("a", false)];
        drain.due(&pods, T0);
        let told = drain.told(&pods, Some(&before));
        assert_eq!((told.progress.total, told.progress.evicted), (12, 10));
        assert_eq!(told.progress.pods, "1/12");
    }

    #[test]
    fn f34_progress_is_written_on_change_and_five_seconds_apart() {
        let mut drain = Drain::new(7);
        let pods = [pod("a", false), pod("b", false)];
        drain.due(&pods, T0);
        let told = drain.told(&pods, None);
        assert!(drain.worth_writing(&told, None, T0));
        drain.written(T0);
        assert!(!drain.worth_writing(&told, Some(&told.progress), T0 + Duration::from_secs(9)));
        let less = drain.told(&pods[..1], Some(&told.progress));
        assert!(!drain.worth_writing(&less, Some(&told.progress), T0 + Duration::from_secs(4)));
        assert!(drain.worth_writing(&less, Some(&told.progress), T0 + Duration::from_secs(5)));
    }
}
