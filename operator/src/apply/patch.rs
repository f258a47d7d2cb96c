//! The bodies of every write to a lease: pure, and each tied to the version that it rests on.
//!
//! Merge patches of our own fields, never server-side apply, which would make a lease that was
//! deleted anew, grant and all (faults.md G2).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::PatchParams;
use serde_json::{Value, json};
use slipway_api::lease::{
    Clear, Grant, HISTORY_MAX, MESSAGE_MAX, Outcome, PolicyReference, Revoke, WaitingFor,
};
use slipway_api::{Phase, RebootLease, names};
use slipway_planner::Reason;
use slipway_planner::backoff::was_rebooted;
use slipway_planner::limits::REBOOTS_PERIOD;

/// Who writes.
pub(crate) fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(names::MANAGER_OPERATOR.to_owned()),
        ..PatchParams::default()
    }
}

/// The version that a write rests on. Without one it names a version that no object has: a write
/// that would land on anything must not be possible.
pub(crate) fn version(metadata: &ObjectMeta) -> String {
    metadata
        .resource_version
        .clone()
        .unwrap_or_else(|| "none-was-read".to_owned())
}

fn spec(lease: &RebootLease, spec: &Value) -> Value {
    json!({"metadata": {"resourceVersion": version(&lease.metadata)}, "spec": spec})
}

fn status(lease: &RebootLease, mut status: Value) -> Value {
    // A status that is not there yet needs its fence: the CRD's rules compare it.
    if lease.status.is_none()
        && let Some(fields) = status.as_object_mut()
    {
        fields.entry("fence").or_insert_with(|| json!(0));
        fields
            .entry("phase")
            .or_insert_with(|| json!(Phase::Pending));
    }
    json!({"metadata": {"resourceVersion": version(&lease.metadata)}, "status": status})
}

/// At most as long as the schema allows.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(MESSAGE_MAX).collect()
}

/// The first key.
pub(crate) fn grant(lease: &RebootLease, grant: &Grant) -> Value {
    spec(lease, &json!({"grant": grant}))
}

/// The second key.
pub(crate) fn clear(lease: &RebootLease, fence: i64, at: Timestamp) -> Value {
    spec(lease, &json!({"clear": Clear { fence, at: Time(at) }}))
}

/// Calls a grant off.
pub(crate) fn revoke(lease: &RebootLease, fence: i64, reason: &Reason) -> Value {
    spec(lease, &json!({"revoke": revocation(fence, reason)}))
}

fn revocation(fence: i64, reason: &Reason) -> Revoke {
    Revoke {
        fence,
        reason: reason.code().to_owned(),
        message: cut(&reason.to_string()),
    }
}

/// A grant that is revoked from its first moment: it only asks for the agent's answer.
pub(crate) fn demand(lease: &RebootLease, grant: &Grant, reason: &Reason) -> Value {
    spec(
        lease,
        &json!({"grant": grant, "revoke": revocation(grant.fence, reason)}),
    )
}

/// Which policy governs the node.
pub(crate) fn point(lease: &RebootLease, policy: Option<&PolicyReference>) -> Value {
    spec(lease, &json!({"policy": policy}))
}

/// When the present need arose.
pub(crate) fn requested(lease: &RebootLease, at: Timestamp) -> Value {
    spec(lease, &json!({"requestedAt": Time(at)}))
}

/// Another phase.
pub(crate) fn enter(lease: &RebootLease, phase: Phase, reason: &Reason, now: Timestamp) -> Value {
    status(lease, entering(lease, phase, reason, now))
}

/// Another phase under a fence that the lease does not know yet (faults.md Q1).
pub(crate) fn enter_fence(
    lease: &RebootLease,
    (phase, fence): (Phase, i64),
    reason: &Reason,
    now: Timestamp,
) -> Value {
    let mut fields = entering(lease, phase, reason, now);
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("fence".to_owned(), json!(fence));
    }
    status(lease, fields)
}

fn entering(lease: &RebootLease, phase: Phase, reason: &Reason, now: Timestamp) -> Value {
    let mut present = lease.status.clone().unwrap_or_default();
    present.enter(phase, now);
    json!({
        "phase": phase,
        "reason": reason.code(),
        "message": cut(&reason.to_string()),
        "transitions": present.transitions,
        "waitingFor": null,
    })
}

/// A new need: back to Pending, with the outcome in the history. The fence stays: it never falls.
pub(crate) fn reopen(lease: &RebootLease, now: Timestamp) -> Value {
    let mut present = lease.status.clone().unwrap_or_default();
    let mut history = vec![outcome(lease, now)];
    history.append(&mut present.history);
    trim(&mut history, now);
    present.transitions.clear();
    present.enter(Phase::Pending, now);
    status(
        lease,
        json!({
            "phase": Phase::Pending,
            "reason": "",
            "message": "",
            "transitions": present.transitions,
            "history": history,
            "waitingFor": null,
            "drain": null,
            "bootIDBefore": null,
        }),
    )
}

/// Cuts the history to its length. Reboots of the last day stay longest: the loop guard counts them,
/// and a row of reboots that were called off must not make it forget (faults.md S7).
fn trim(history: &mut Vec<Outcome>, now: Timestamp) {
    while history.len() > HISTORY_MAX {
        let counts = |outcome: &Outcome| {
            was_rebooted(outcome.phase, &outcome.reason)
                && now.duration_since(outcome.at.0) < REBOOTS_PERIOD
        };
        let oldest = history.iter().rposition(|outcome| !counts(outcome));
        history.remove(oldest.unwrap_or(HISTORY_MAX));
    }
}

/// How the reboot ended. One that ended before it was granted has no fence, although the lease
/// keeps that of an earlier one.
fn outcome(lease: &RebootLease, now: Timestamp) -> Outcome {
    let present = lease.status.clone().unwrap_or_default();
    let since_pending = present
        .transitions
        .iter()
        .rev()
        .take_while(|entry| entry.phase != Phase::Pending);
    let accepted = since_pending.clone().any(|entry| entry.phase.is_accepted());
    Outcome {
        fence: if accepted { present.fence } else { 0 },
        phase: present.phase,
        reason: present.reason,
        at: Time(present.transitions.last().map_or(now, |entry| entry.at.0)),
    }
}

/// What people read: reason, message and what is waited for.
pub(crate) fn report(
    lease: &RebootLease,
    reason: &str,
    message: &str,
    waiting_for: &[WaitingFor],
) -> Value {
    let waiting_for = if waiting_for.is_empty() {
        Value::Null
    } else {
        json!(waiting_for)
    };
    status(
        lease,
        json!({"reason": reason, "message": message, "waitingFor": waiting_for}),
    )
}

/// A patch of the status that changes nothing yet.
pub(crate) fn nothing(lease: &RebootLease) -> Value {
    status(lease, json!({}))
}

/// What is waited for, alone: while the agent is at work, reason and message are the agent's.
pub(crate) fn waiting(lease: &RebootLease, waiting_for: &[WaitingFor]) -> Value {
    let waiting_for = if waiting_for.is_empty() {
        Value::Null
    } else {
        json!(waiting_for)
    };
    status(lease, json!({"waitingFor": waiting_for}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    fn lease(status: &Value) -> RebootLease {
        serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
            "metadata": {"name": "n", "uid": "l", "resourceVersion": "7"},
            "spec": {"nodeUID": "u", "requestedAt": "2026-11-24T11:00:00Z"},
            "status": status,
        }))
        .unwrap()
    }

    fn transition(phase: &str) -> Value {
        json!({"phase": phase, "at": "2026-11-24T11:30:00.000000Z"})
    }

    #[test]
    fn every_patch_carries_the_version_that_was_read() {
        let lease = lease(&Value::Null);
        let patches = [
            clear(&lease, 3, now()),
            revoke(&lease, 3, &Reason::Voided),
            point(&lease, None),
            requested(&lease, now()),
            enter(&lease, Phase::Granted, &Reason::Granted, now()),
            reopen(&lease, now()),
            report(&lease, "r", "m", &[]),
            waiting(&lease, &[]),
        ];
        for patch in patches {
            assert_eq!(
                patch["metadata"],
                json!({"resourceVersion": "7"}),
                "{patch}"
            );
        }
    }

    #[test]
    fn a_write_without_a_version_cannot_land() {
        let mut lease = lease(&Value::Null);
        lease.metadata.resource_version = None;
        let patch = revoke(&lease, 3, &Reason::Voided);
        assert_eq!(patch["metadata"]["resourceVersion"], "none-was-read");
    }

    #[test]
    fn a_patch_touches_nothing_but_its_own_fields() {
        let lease = lease(&json!({"phase": "Drained", "fence": 3}));
        assert_eq!(
            clear(&lease, 3, now())["spec"],
            json!({"clear": {"fence": 3, "at": "2026-11-24T12:00:00Z"}})
        );
        assert_eq!(waiting(&lease, &[])["status"], json!({"waitingFor": null}));
        assert_eq!(
            revoke(&lease, 3, &Reason::LedgerPaused)["spec"]["revoke"]["reason"],
            "LedgerPaused"
        );
    }

    #[test]
    fn the_first_status_says_phase_and_fence() {
        let first = report(&lease(&Value::Null), "NoPolicy", "m", &[]);
        assert_eq!(first["status"]["phase"], "Pending");
        assert_eq!(first["status"]["fence"], 0);
        let later = report(
            &lease(&json!({"phase": "Failed", "fence": 2})),
            "r",
            "m",
            &[],
        );
        assert!(later["status"].get("phase").is_none() && later["status"].get("fence").is_none());
    }

    #[test]
    fn entering_a_phase_keeps_the_steps_before_it_and_the_fence() {
        let lease = lease(&json!({"phase": "Rebooted", "fence": 3,
            "transitions": [transition("Rebooted")]}));
        let patch = enter(&lease, Phase::Completed, &Reason::Verified, now());
        assert_eq!(patch["status"]["phase"], "Completed");
        assert_eq!(patch["status"]["transitions"].as_array().unwrap().len(), 2);
        assert!(patch["status"].get("fence").is_none());
    }

    #[test]
    fn q1_an_answer_is_demanded_under_a_grant_that_is_revoked_in_the_same_write() {
        let lease = lease(&Value::Null);
        let granted = Grant {
            fence: 9,
            granted_at: Time(now()),
            not_after: Time(now()),
            drain: slipway_api::policy::DrainSettings::default(),
            reboot: slipway_api::policy::RebootSettings::default(),
            verify: slipway_api::policy::VerifySettings::default(),
            triggers: slipway_api::policy::Triggers::default(),
            workloads: Vec::new(),
            request: None,
        };
        let patch = demand(&lease, &granted, &Reason::AnswerOwed);
        assert_eq!(patch["spec"]["grant"]["fence"], 9);
        assert_eq!(patch["spec"]["revoke"]["fence"], 9);
        let entered = enter_fence(&lease, (Phase::Draining, 9), &Reason::AnswerOwed, now());
        assert_eq!(entered["status"]["fence"], 9);
        assert_eq!(entered["status"]["phase"], "Draining");
    }

    #[test]
    fn a_new_need_moves_the_outcome_to_a_bounded_history_and_keeps_the_fence() {
        let old: Vec<Value> = (1..=5)
            .map(
                |fence| json!({"fence": fence, "phase": "Completed", "at": "2026-11-01T00:00:00Z"}),
            )
            .collect();
        let steps = ["Draining", "Rebooting", "Failed"].map(transition);
        let lease = lease(&json!({
            "phase": "Failed", "fence": 6, "reason": "Ineffective", "history": old,
            "bootIDBefore": "b", "transitions": steps,
        }));
        let patch = reopen(&lease, now());
        let history = patch["status"]["history"].as_array().unwrap();
        assert_eq!(history.len(), HISTORY_MAX);
        assert_eq!(history[0]["fence"], 6);
        assert_eq!(history[0]["reason"], "Ineffective");
        assert!(patch["status"].get("fence").is_none());
        assert_eq!(patch["status"]["transitions"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn s7_reboots_of_the_last_day_outlive_a_row_of_reboots_that_were_called_off() {
        let outcome = |fence: i64, phase: &str| {
            json!({"fence": fence, "phase": phase,
            "at": "2026-11-24T08:00:00Z"})
        };
        let old = [
            outcome(6, "Aborted"),
            outcome(5, "Aborted"),
            outcome(4, "Completed"),
            outcome(3, "Aborted"),
            outcome(2, "Completed"),
        ];
        let steps = ["Draining", "Aborted"].map(transition);
        let lease = lease(&json!({
            "phase": "Aborted", "fence": 7, "history": old, "transitions": steps,
        }));
        let patch = reopen(&lease, now());
        let history = patch["status"]["history"].as_array().unwrap();
        let fences: Vec<i64> = history
            .iter()
            .filter_map(|one| one["fence"].as_i64())
            .collect();
        assert_eq!(fences, [7, 6, 5, 4, 2]);
    }

    #[test]
    fn a_reboot_that_ended_before_its_grant_has_no_fence_in_the_history() {
        let steps = ["Pending", "Aborted"].map(transition);
        let lease = lease(&json!({"phase": "Aborted", "fence": 6, "transitions": steps}));
        assert_eq!(reopen(&lease, now())["status"]["history"][0]["fence"], 0);
    }
}
