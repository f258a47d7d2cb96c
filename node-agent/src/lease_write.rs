//! Our writes to the lease: each a merge patch of our own fields of `status`.
//!
//! Pure: builds the patches. Every one carries the resourceVersion of the lease that was read
//! *first* in the pass, so a revoke or a newer grant in between makes it fail (faults.md G5).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use serde_json::{Map, Value, json};
use slipway_api::checks::CheckStatus;
use slipway_api::lease::{DrainProgress, MESSAGE_MAX};
use slipway_api::{Phase, RebootLease, RebootLeaseStatus};

use crate::facts::Outcome;
use crate::host::Offer;
use crate::reason;

/// Between how the reboot is called and who puts it off: told at the commit, repeated once it is called.
const WAITS_FOR: &str = ", which waits a while for ";
/// Longest reason that the schema takes.
const REASON_MAX: usize = 64;

/// Accepts a grant: the first write of a reboot, before the node is touched.
pub fn accept(
    lease: &RebootLease,
    boot_id: &str,
    offer: &Offer,
    committed: i64,
    at: Timestamp,
) -> Value {
    let fence = lease.granted_fence();
    let method = offer.method();
    let message = match method {
        Some(method) => format!("accepted; the node is cordoned next, and rebooted by {method}"),
        None => "accepted; the node is cordoned once the host can be rebooted".to_owned(),
    };
    let mut fields = enter(lease, Phase::Draining, at, reason::ACCEPTED, &message);
    fields.insert("rebootMethod".to_owned(), json!(method));
    fields.insert("fence".to_owned(), json!(fence));
    fields.insert("bootIDBefore".to_owned(), json!(boot_id));
    fields.insert("bootIDAfter".to_owned(), Value::Null);
    fields.insert("drain".to_owned(), Value::Null);
    fields.insert("journalFence".to_owned(), json!(committed));
    patch(lease, &fields)
}

/// Adds what the checks say, where it differs from what the lease says.
pub fn with_checks(mut patch: Value, checks: Option<Vec<CheckStatus>>) -> Value {
    if let (Some(checks), Some(status)) = (checks, patch.pointer_mut("/status")) {
        status["checks"] = json!(checks);
    }
    patch
}

/// Tells what the checks say; the phase stays.
pub fn checks(lease: &RebootLease, checks: &[CheckStatus]) -> Value {
    let mut fields = Map::new();
    fields.insert("checks".to_owned(), json!(checks));
    patch(lease, &fields)
}

/// Tells which fence the journal has committed.
pub fn journal(lease: &RebootLease, committed: i64) -> Value {
    let mut fields = Map::new();
    fields.insert("journalFence".to_owned(), json!(committed));
    patch(lease, &fields)
}

/// Shows the progress of the drain; the phase stays.
pub fn progress(lease: &RebootLease, drain: &DrainProgress, why: &str, message: &str) -> Value {
    let mut fields = said(why, message);
    fields.insert("drain".to_owned(), drain_field(drain));
    patch(lease, &fields)
}

/// Says why it waits; the phase stays.
pub fn waits(lease: &RebootLease, why: &str, message: &str) -> Value {
    patch(lease, &said(why, message))
}

/// No pod that must leave is left.
pub fn drained(lease: &RebootLease, drain: &DrainProgress, at: Timestamp) -> Value {
    let left = match drain.waiting.len() {
        0 => String::new(),
        _ => format!(
            " as far as drain.timeout allows, {} pods are left (drain.onTimeout: RebootAnyway)",
            drain.pods
        ),
    };
    let message = format!("drained{left}; waiting for the operator's second key (spec.clear)");
    let mut fields = enter(lease, Phase::Drained, at, reason::DRAINED, &message);
    fields.insert("drain".to_owned(), drain_field(drain));
    patch(lease, &fields)
}

/// The commit point. `at` identifies this very write when its answer is lost: see [`landed`].
pub fn committed(lease: &RebootLease, offer: &Offer, at: Timestamp) -> Value {
    let method = offer.method();
    let by = method.map(|method| format!(" by {method}"));
    let by = by.unwrap_or_default();
    let message = match offer {
        Offer::Ready { delayed_by, .. } if !delayed_by.is_empty() => format!(
            "committed; the reboot is called next{by}{WAITS_FOR}{}",
            delayed_by.join(", ")
        ),
        _ => format!("committed; the reboot is called next{by}"),
    };
    let mut fields = enter(lease, Phase::Rebooting, at, reason::COMMITTED, &message);
    fields.insert("rebootMethod".to_owned(), json!(method));
    fields.insert("journalFence".to_owned(), json!(lease.accepted_fence()));
    patch(lease, &fields)
}

/// True when the lease shows the commit of `fence` written at `at`, and not another one.
pub fn landed(lease: &RebootLease, fence: i64, at: Timestamp) -> bool {
    let last = lease
        .status
        .as_ref()
        .and_then(|status| status.transitions.last());
    lease.phase() == Phase::Rebooting
        && lease.accepted_fence() == fence
        && last.is_some_and(|last| last.phase == Phase::Rebooting && last.at == MicroTime(at))
}

/// The machine has accepted the reboot call.
pub fn called(lease: &RebootLease) -> Value {
    let status = lease.status.as_ref();
    let method = status.and_then(|status| status.reboot_method.as_deref());
    let by = method.map_or_else(String::new, |method| format!(" by {method}"));
    let waits = status.and_then(|status| status.message.split_once(WAITS_FOR));
    let waits = waits.map_or_else(String::new, |(_, who)| format!("{WAITS_FOR}{who}"));
    let message = format!("the reboot is called{by}{waits}; the machine goes down");
    patch(lease, &said(reason::REBOOT_CALLED, &message))
}

/// Back with another boot ID, and uncordoned.
pub fn rebooted(lease: &RebootLease, boot_id: &str, at: Timestamp) -> Value {
    let message = "rebooted and uncordoned; the operator verifies";
    let mut fields = enter(lease, Phase::Rebooted, at, reason::REBOOTED, message);
    fields.insert("bootIDAfter".to_owned(), json!(boot_id));
    fields.insert("lastRebootAt".to_owned(), json!(Time(at)));
    patch(lease, &fields)
}

/// The reboot ended before it happened, and whatever was ours on the Node is undone.
pub fn retired(lease: &RebootLease, outcome: &Outcome, at: Timestamp) -> Value {
    let Outcome {
        phase,
        reason,
        message,
    } = outcome;
    patch(lease, &enter(lease, *phase, at, reason, message))
}

fn enter(
    lease: &RebootLease,
    phase: Phase,
    at: Timestamp,
    why: &str,
    message: &str,
) -> Map<String, Value> {
    let mut status = RebootLeaseStatus {
        transitions: lease
            .status
            .as_ref()
            .map(|status| status.transitions.clone())
            .unwrap_or_default(),
        ..RebootLeaseStatus::default()
    };
    if phase == Phase::Draining {
        // The list is of the present reboot: what ended is in the history.
        let ended = status
            .transitions
            .iter()
            .rposition(|step| step.phase.is_terminal());
        if let Some(ended) = ended {
            status.transitions.drain(..=ended);
        }
    }
    status.enter(phase, at);
    let mut fields = said(why, message);
    fields.insert("phase".to_owned(), json!(phase));
    fields.insert("transitions".to_owned(), json!(status.transitions));
    fields
}

fn said(why: &str, message: &str) -> Map<String, Value> {
    let clip = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    let mut fields = Map::new();
    fields.insert("reason".to_owned(), json!(clip(why, REASON_MAX)));
    fields.insert("message".to_owned(), json!(clip(message, MESSAGE_MAX)));
    fields
}

/// Lists in a merge patch are replaced whole, but an absent one would be kept: no pod waiting
/// must be written as an empty list.
fn drain_field(drain: &DrainProgress) -> Value {
    json!({
        "total": drain.total,
        "evicted": drain.evicted,
        "pods": drain.pods,
        "waiting": drain.waiting,
    })
}

fn patch(lease: &RebootLease, fields: &Map<String, Value>) -> Value {
    json!({
        "metadata": {"resourceVersion": lease.metadata.resource_version, "uid": lease.metadata.uid},
        "status": fields,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use slipway_api::policy::RebootMethod;

    /// A lease with grant 7 and this status.
    pub(crate) fn lease(status: &Value) -> RebootLease {
        serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
            "metadata": {"name": "n", "uid": "l", "resourceVersion": "9"},
            "spec": {"nodeUID": "u", "requestedAt": "2026-01-01T00:00:00Z", "grant": {
                "fence": 7, "grantedAt": "2026-01-01T00:00:00Z", "notAfter": "2026-01-01T01:00:00Z",
                "drain": {}, "reboot": {}, "verify": {}}},
            "status": status,
        }))
        .unwrap()
    }

    fn at() -> Timestamp {
        "2026-01-01T00:00:01.123456Z".parse().unwrap()
    }

    fn offer() -> Offer {
        Offer::Ready {
            method: RebootMethod::Signal,
            delayed_by: vec!["kubelet (pid 7): pods".to_owned()],
        }
    }

    #[test]
    fn the_lease_says_by_which_method_and_who_puts_it_off() {
        let mut lease = lease(&json!({"phase": "Drained", "fence": 7}));
        let accepted = accept(&lease, "b", &offer(), 3, at())["status"].clone();
        assert_eq!(accepted["rebootMethod"], "Signal");
        let unknown = accept(&lease, "b", &Offer::NotAsked, 3, at());
        assert!(unknown["status"]["rebootMethod"].is_null());
        let status = committed(&lease, &offer(), at())["status"].clone();
        assert_eq!(status["rebootMethod"], "Signal");
        let said = status["message"].as_str().unwrap();
        assert!(
            said.contains("by Signal") && said.contains("kubelet (pid 7)"),
            "{said}"
        );
        let shown = lease.status.as_mut().unwrap();
        shown.message = said.to_owned();
        shown.reboot_method = Some("Signal".to_owned());
        let called = called(&lease)["status"]["message"].clone();
        assert_eq!(
            called,
            "the reboot is called by Signal, which waits a while for kubelet (pid 7): pods; the machine goes down"
        );
    }

    #[test]
    fn every_write_is_a_compare_and_swap_of_status_only() {
        let lease = lease(&json!({"phase": "Drained", "fence": 7}));
        let drain = DrainProgress::default();
        let outcome = Outcome::failed("Vetoed", "x");
        for patch in [
            accept(&lease, "b", &Offer::NotAsked, 3, at()),
            journal(&lease, 3),
            checks(&lease, &[]),
            with_checks(journal(&lease, 3), Some(Vec::new())),
            progress(&lease, &drain, "Draining", "x"),
            waits(&lease, "ClockSkew", "x"),
            drained(&lease, &drain, at()),
            committed(&lease, &offer(), at()),
            called(&lease),
            rebooted(&lease, "b", at()),
            retired(&lease, &outcome, at()),
        ] {
            assert_eq!(patch["metadata"]["resourceVersion"], "9");
            let keys: Vec<_> = patch.as_object().unwrap().keys().cloned().collect();
            assert_eq!(keys, ["metadata", "status"]);
        }
    }

    #[test]
    fn an_accept_names_the_fence_and_the_boot_and_forgets_the_last_reboot() {
        let old = json!({"phase": "Granted", "fence": 3, "bootIDAfter": "z", "transitions": [
            {"phase": "Completed", "at": "2025-01-01T00:00:00.000000Z"},
            {"phase": "Pending", "at": "2026-01-01T00:00:00.000000Z"}]});
        let patch = accept(&lease(&old), "boot", &offer(), 3, at());
        let status = &patch["status"];
        assert_eq!(
            (&status["phase"], &status["fence"]),
            (&json!("Draining"), &json!(7))
        );
        assert_eq!(status["bootIDBefore"], "boot");
        assert!(status["bootIDAfter"].is_null() && status["drain"].is_null());
        let phases: Vec<_> = status["transitions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| &t["phase"])
            .collect();
        assert_eq!(phases, ["Pending", "Draining"]);
    }

    #[test]
    fn f32_a_commit_whose_answer_was_lost_is_known_by_its_time() {
        let mut lease = lease(&json!({"phase": "Drained", "fence": 7}));
        let status = committed(&lease, &offer(), at())["status"].clone();
        assert!(!landed(&lease, 7, at()));
        let merged = lease.status.as_mut().unwrap();
        merged.phase = Phase::Rebooting;
        merged.transitions = serde_json::from_value(status["transitions"].clone()).unwrap();
        assert!(landed(&lease, 7, at()));
        assert!(!landed(&lease, 8, at()));
        assert!(!landed(
            &lease,
            7,
            at() + jiff::SignedDuration::from_micros(1)
        ));
    }

    #[test]
    fn messages_fit_the_schema() {
        let lease = lease(&json!({"phase": "Draining", "fence": 7}));
        let outcome = Outcome::failed(&"r".repeat(100), "m".repeat(5000));
        let status = retired(&lease, &outcome, at())["status"].clone();
        assert_eq!(status["reason"].as_str().unwrap().len(), REASON_MAX);
        assert_eq!(status["message"].as_str().unwrap().len(), MESSAGE_MAX);
    }
}
