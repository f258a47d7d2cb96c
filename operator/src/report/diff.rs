//! What differs between a report and what stands in status: pure. No difference, no write.

use serde_json::{Value, json};
use slipway_api::{RebootLease, RebootPolicyStatus};
use slipway_planner::report::LeaseReport;

use crate::apply::patch;

/// The patch that makes the lease's status say this, if it does not.
///
/// The reason of a reboot that has ended is the record of it: it stays, whatever keeps the next one.
pub(super) fn lease_diff(lease: &RebootLease, report: &LeaseReport) -> Option<Value> {
    let present = lease.status.as_ref();
    let waits = present.map_or(&[][..], |status| &status.waiting_for) != report.waiting_for;
    if lease.phase().is_terminal() {
        return waits.then(|| patch::waiting(lease, &report.waiting_for));
    }
    let same = present
        .is_some_and(|status| status.reason == report.reason && status.message == report.message);
    (waits || !same)
        .then(|| patch::report(lease, &report.reason, &report.message, &report.waiting_for))
}

/// The patch that makes the policy's status this one, if it is not.
pub(super) fn policy_diff(
    present: Option<&RebootPolicyStatus>,
    status: &RebootPolicyStatus,
) -> Option<Value> {
    if present == Some(status) {
        return None;
    }
    let mut fields = json!(status);
    // What is absent has to be taken away: a merge patch keeps what it does not name.
    if let Some(fields) = fields.as_object_mut() {
        // What was told is written by whoever tells: a copy that is older must never replace it.
        fields.remove("notifications");
        for optional in ["observedGeneration", "blockedBy", "window", "nextWindow"] {
            fields.entry(optional).or_insert(Value::Null);
        }
    }
    Some(json!({ "status": fields }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_api::lease::WaitingFor;
    use slipway_api::policy::WindowState;

    fn lease(status: &Value) -> RebootLease {
        serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
            "metadata": {"name": "n", "uid": "l", "resourceVersion": "7"},
            "spec": {"nodeUID": "u", "requestedAt": "2026-11-24T11:00:00Z"},
            "status": status,
        }))
        .unwrap()
    }

    fn report() -> LeaseReport {
        LeaseReport {
            reason: "NoPolicy".into(),
            message: "m".into(),
            waiting_for: vec![WaitingFor {
                kind: "NoPolicy".into(),
                object: String::new(),
                message: "m".into(),
            }],
        }
    }

    #[test]
    fn s12_a_report_that_stands_there_already_is_not_written() {
        let standing = lease(
            &json!({"phase": "Pending", "fence": 0, "reason": "NoPolicy",
            "message": "m", "waitingFor": [{"kind": "NoPolicy", "message": "m"}]}),
        );
        assert_eq!(lease_diff(&standing, &report()), None);
        let status = RebootPolicyStatus::default();
        assert_eq!(policy_diff(Some(&status), &status), None);
    }

    #[test]
    fn any_difference_is_written_whole_and_tied_to_the_version_read() {
        for status in [
            Value::Null,
            json!({"phase": "Pending", "fence": 0, "reason": "Other", "message": "m"}),
            json!({"phase": "Pending", "fence": 0, "reason": "NoPolicy", "message": "m"}),
        ] {
            let body = lease_diff(&lease(&status), &report()).unwrap();
            assert_eq!(body["metadata"]["resourceVersion"], "7");
            assert_eq!(body["status"]["reason"], "NoPolicy");
            assert_eq!(body["status"]["waitingFor"].as_array().unwrap().len(), 1);
        }
    }

    #[test]
    fn the_reason_of_an_ended_reboot_is_never_overwritten() {
        let ended = lease(
            &json!({"phase": "Failed", "fence": 3, "reason": "Ineffective",
            "message": "why"}),
        );
        let body = lease_diff(&ended, &report()).unwrap();
        let written: Vec<&String> = body["status"].as_object().unwrap().keys().collect();
        assert_eq!(written, ["waitingFor"]);
    }

    #[test]
    fn a_report_never_writes_what_was_told() {
        let told = |window| -> RebootPolicyStatus {
            serde_json::from_value(json!({"window": window, "notifications": [
                {"secret": "slack", "key": "url", "since": "2026-11-24T11:00:00Z"},
            ]}))
            .unwrap()
        };
        let body = policy_diff(Some(&told("Open")), &told("Closed")).unwrap();
        assert_eq!(body["status"]["window"], "Closed");
        assert!(body["status"].get("notifications").is_none());
    }

    #[test]
    fn a_window_that_is_gone_is_taken_away() {
        let open = RebootPolicyStatus {
            window: Some(WindowState::Open),
            ..RebootPolicyStatus::default()
        };
        let body = policy_diff(Some(&open), &RebootPolicyStatus::default()).unwrap();
        assert_eq!(body["status"]["window"], Value::Null);
        assert_eq!(body["status"]["nextWindow"], Value::Null);
        let body = policy_diff(None, &open).unwrap();
        assert_eq!(body["status"]["window"], "Open");
    }
}
