//! Events about Nodes and policies: for people only. Nothing waits for one, and one that cannot be
//! sent is counted and forgotten.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use slipway_api::{Phase, names};
use slipway_client::clock;
use slipway_planner::PolicyView;
use slipway_planner::check::Violation;
use tokio::sync::mpsc;

use crate::metrics::Metrics;

/// Events that may wait to be sent; more are dropped.
const QUEUE: usize = 256;
/// At most one event per object and reason in this time (faults.md F44).
const QUIET: Duration = Duration::from_mins(1);
/// How long sending one may take.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// Longest note that the API takes, in bytes.
const NOTE_MAX: usize = 1000;

/// Reasons that need a human's attention.
const WARNINGS: &[&str] = &[
    "AgentSilent",
    "AnswerOwed",
    "DrainBlocked",
    "DrainTimeout",
    "Ineffective",
    "Inhibited",
    "JournalAhead",
    "MethodUnavailable",
    "NotRebooted",
    "PodsBlocked",
    "PodsNotReady",
    "PolicyConflict",
    "PolicyInvalid",
    "RebootRefused",
    "Stuck",
    "TooManyReboots",
    "VerifyQuery",
    "Voided",
];

/// One thing to tell.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    regarding: ObjectReference,
    warning: bool,
    reason: String,
    action: String,
    note: String,
}

impl Notice {
    /// About the reboot of a node.
    pub(crate) fn node(name: &str, uid: &str, phase: Phase, reason: &str, message: &str) -> Self {
        Self {
            regarding: reference("v1", "Node", name, uid),
            warning: phase == Phase::Failed || WARNINGS.contains(&reason),
            reason: if reason.is_empty() {
                phase.as_str()
            } else {
                reason
            }
            .to_owned(),
            action: phase.as_str().to_owned(),
            note: if message.is_empty() {
                format!("reboot: {phase}")
            } else {
                format!("reboot: {phase}: {message}")
            },
        }
    }

    /// About a condition of a policy.
    pub(crate) fn policy(policy: &PolicyView, condition: &Condition) -> Self {
        // These are good when True.
        let bad = match condition.type_.as_str() {
            "Ready" | "Feasible" | "Notified" => condition.status != "True",
            "Progressing" => false,
            _ => condition.status == "True",
        };
        let group = format!("{}/v1alpha1", names::GROUP);
        Self {
            regarding: reference(&group, "RebootPolicy", &policy.name, &policy.uid),
            warning: bad,
            reason: match condition.type_.as_str() {
                // `Open` alone says nothing where events of many kinds are listed.
                "BreakerOpen" => format!("Breaker{}", condition.reason),
                _ => condition.reason.clone(),
            },
            action: condition.type_.clone(),
            note: condition.message.clone(),
        }
    }

    /// About a plan that was refused.
    pub(crate) fn refused(uid: &str, violation: &Violation) -> Self {
        let group = format!("{}/v1alpha1", names::GROUP);
        Self {
            regarding: reference(&group, "RebootLedger", names::LEDGER_NAME, uid),
            warning: true,
            reason: "PlanRefused".to_owned(),
            action: "Check".to_owned(),
            note: format!("{}: {}", violation.rule, violation.message),
        }
    }
}

fn reference(api_version: &str, kind: &str, name: &str, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(api_version.to_owned()),
        kind: Some(kind.to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

/// The queue's entrance: never waits.
#[derive(Debug)]
pub(crate) struct Events {
    queue: mpsc::Sender<Notice>,
    told: BTreeMap<(String, String), Duration>,
    metrics: Metrics,
}

impl Events {
    /// The entrance, and what is to be handed to [`deliver`].
    pub(crate) fn new(metrics: Metrics) -> (Self, mpsc::Receiver<Notice>) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (
            Self {
                queue,
                told: BTreeMap::new(),
                metrics,
            },
            receiver,
        )
    }

    /// Sends a notice unless the same was told a moment ago or the queue is full.
    pub(crate) fn send(&mut self, notice: Notice) {
        let now = clock::boottime();
        if self.is_due(&notice, now) && self.queue.try_send(notice).is_err() {
            self.metrics.event_dropped();
        }
    }

    fn is_due(&mut self, notice: &Notice, now: Duration) -> bool {
        self.told
            .retain(|_, told| now.saturating_sub(*told) < QUIET);
        let about = notice.regarding.uid.clone().unwrap_or_default();
        let key = (about, notice.reason.clone());
        self.told.insert(key, now).is_none()
    }
}

/// Delivers notices one by one until the entrance is gone.
pub(crate) async fn deliver(
    client: Client,
    identity: String,
    mut queue: mpsc::Receiver<Notice>,
    metrics: Metrics,
) {
    let reporter = Reporter {
        controller: names::MANAGER_OPERATOR.to_owned(),
        instance: Some(identity),
    };
    let recorder = Recorder::new(client, reporter);
    while let Some(notice) = queue.recv().await {
        let event = Event {
            type_: if notice.warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: notice.reason,
            note: Some(short(notice.note)),
            action: notice.action,
            secondary: None,
        };
        let publish = recorder.publish(&event, &notice.regarding);
        if !matches!(tokio::time::timeout(SEND_LIMIT, publish).await, Ok(Ok(()))) {
            metrics.event_dropped();
        }
    }
}

fn short(mut note: String) -> String {
    while note.len() > NOTE_MAX {
        note.pop();
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(reason: &str) -> Notice {
        Notice::node("n", "u", Phase::Pending, reason, "m")
    }

    #[test]
    fn f44_the_same_is_told_at_most_once_a_minute() {
        let (mut events, _queue) = Events::new(Metrics::new(false).unwrap());
        let at = Duration::from_secs;
        assert!(events.is_due(&notice("a"), at(100)));
        assert!(!events.is_due(&notice("a"), at(159)));
        assert!(events.is_due(&notice("b"), at(101)));
        assert!(events.is_due(&notice("a"), at(230)));
    }

    #[test]
    fn a_full_queue_drops_and_never_waits() {
        let (mut events, queue) = Events::new(Metrics::new(false).unwrap());
        drop(queue);
        events.send(notice("a"));
        assert!(
            events
                .metrics
                .render()
                .contains("slipway_events_dropped_total 1")
        );
    }

    #[test]
    fn failures_are_warnings_and_progress_is_not() {
        assert!(Notice::node("n", "u", Phase::Failed, "Vetoed", "").warning);
        assert!(Notice::node("n", "u", Phase::Rebooting, "Stuck", "").warning);
        assert!(!Notice::node("n", "u", Phase::Draining, "Draining", "").warning);
    }

    /// Reason of the notice of a condition, and whether it is a warning.
    fn told(kind: &str, status: &str, reason: &str) -> (String, bool) {
        let policy: slipway_api::RebootPolicy = serde_json::from_value(serde_json::json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootPolicy",
            "metadata": {"name": "p", "uid": "u"}, "spec": {"nodeSelector": {}},
        }))
        .unwrap();
        let condition = serde_json::from_value(serde_json::json!({
            "type": kind, "status": status, "reason": reason, "message": "m",
            "lastTransitionTime": "2026-11-24T12:00:00Z",
        }));
        let view = slipway_planner::objects::policy_view(&policy);
        let notice = Notice::policy(&view, &condition.unwrap());
        (notice.reason, notice.warning)
    }

    #[test]
    fn a_condition_is_a_warning_in_its_bad_state_only() {
        let table = [
            ("Ready", "False"),
            ("Feasible", "False"),
            ("Notified", "False"),
            ("Degraded", "True"),
            ("Conflict", "True"),
            ("BreakerOpen", "True"),
        ];
        for (kind, bad) in table {
            for status in ["True", "False"] {
                assert_eq!(told(kind, status, "R").1, status == bad, "{kind}={status}");
            }
        }
        assert!(!told("Progressing", "True", "R").1);
    }

    #[test]
    fn a_breaker_that_opens_or_closes_is_told_by_name() {
        let told = |status, reason| told("BreakerOpen", status, reason);
        assert_eq!(told("True", "Open"), ("BreakerOpen".to_owned(), true));
        assert_eq!(
            told("True", "HalfOpen"),
            ("BreakerHalfOpen".to_owned(), true)
        );
        assert_eq!(told("False", "Closed"), ("BreakerClosed".to_owned(), false));
    }

    #[test]
    fn a_note_is_cut_at_a_character() {
        let note = short("ü".repeat(800));
        assert!(note.len() <= NOTE_MAX && note.chars().all(|c| c == 'ü'));
    }
}
