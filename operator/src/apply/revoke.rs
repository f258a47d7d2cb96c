//! Calling a grant off: by compare-and-swap from a fresh read, so that a commit which was faster
//! makes it fail, and a revoke which was faster makes the commit fail.

use slipway_api::{RebootLease, Slot};
use slipway_client::call::CallError;
use slipway_planner::{Reason, Snapshot, budget};

use super::{Context, Done, patch, skip};
use crate::observe::read;

/// Calls a grant off.
pub(super) async fn revoke(
    ctx: &Context,
    snapshot: &Snapshot,
    (node, fence): (&str, i64),
    reason: &Reason,
) -> Result<Done, CallError> {
    let Some(lease) = read::lease(&ctx.client, node).await? else {
        return skip("there is no lease");
    };
    if let Some(why) = unfit(&lease, fence) {
        return skip(why);
    }
    let planned = snapshot.ledger.present().map_or(&[][..], budget::slots);
    if let Some(slot) = slot_of(planned, node, fence)
        && !speaks_for(&lease, slot)
    {
        return skip("the lease was made anew and owes an answer first");
    }
    if *reason == Reason::Voided && lease.granted_fence() == fence {
        // Seen without its other half only because a cache was late.
        let ledger = read::ledger(&ctx.client).await?;
        let slots = ledger.as_ref().map_or(&[][..], budget::slots);
        if ledger.is_none() || slot_of(slots, node, fence).is_some() {
            return skip("slot and grant are both there");
        }
    }
    write(ctx, &lease, fence, reason).await
}

/// Writes the revoke on the lease that was read.
pub(super) async fn write(
    ctx: &Context,
    lease: &RebootLease,
    fence: i64,
    reason: &Reason,
) -> Result<Done, CallError> {
    let name = lease.metadata.name.as_deref().unwrap_or_default();
    ctx.patch_spec(name, &patch::revoke(lease, fence, reason))
        .await?;
    tracing::info!(node = name, fence, reason = reason.code(), "called off");
    Ok(Done::Applied)
}

/// Why there is nothing to call off.
fn unfit(lease: &RebootLease, fence: i64) -> Option<&'static str> {
    if lease.is_revoked(fence) {
        return Some("revoked already");
    }
    if lease.accepted_fence() == fence && lease.phase().is_committed() {
        return Some("committed already");
    }
    lease.is_over(fence).then_some("over already")
}

fn slot_of<'a>(slots: &'a [Slot], node: &str, fence: i64) -> Option<&'a Slot> {
    slots
        .iter()
        .find(|slot| slot.node == node && slot.fence == fence)
}

/// True when the lease may speak for the slot: it is the one that the slot was made for, or one
/// made anew that was asked. Revoking any other would make it look as if it were over, while its
/// agent still works on the lease that was deleted (faults.md Q1).
pub(super) fn speaks_for(lease: &RebootLease, slot: &Slot) -> bool {
    lease.spec.node_uid == slot.node_uid
        && (lease.metadata.uid.as_deref() == Some(slot.lease_uid.as_str())
            || (lease.accepted_fence() >= slot.fence && lease.granted_fence() >= slot.fence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn lease(uid: &str, spec: &Value, status: &Value) -> RebootLease {
        let mut all = json!({"nodeUID": "u", "requestedAt": "2026-11-24T11:00:00Z"});
        for (key, value) in spec.as_object().into_iter().flatten() {
            all[key] = value.clone();
        }
        serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
            "metadata": {"name": "n", "uid": uid}, "spec": all, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn what_is_committed_over_or_revoked_is_not_called_off() {
        let of = |phase: &str, fence: i64| {
            lease("l", &Value::Null, &json!({"phase": phase, "fence": fence}))
        };
        for phase in ["Draining", "Drained"] {
            assert_eq!(unfit(&of(phase, 3), 3), None, "{phase}");
        }
        for phase in ["Rebooting", "Rebooted", "Completed", "Aborted", "Failed"] {
            assert!(unfit(&of(phase, 3), 3).is_some(), "{phase}");
        }
        // Never accepted: an earlier reboot's end says nothing about it.
        assert_eq!(unfit(&of("Completed", 2), 3), None);
        let revoked = json!({"revoke": {"fence": 3, "reason": "r"}});
        let pending = json!({"phase": "Pending", "fence": 0});
        assert!(unfit(&lease("l", &revoked, &pending), 3).is_some());
        assert_eq!(unfit(&lease("l", &revoked, &pending), 4), None);
    }

    #[test]
    fn q1_a_lease_made_anew_does_not_speak_for_the_slot_before_it_was_asked() {
        let slot = Slot {
            node: "n".into(),
            node_uid: "u".into(),
            lease_uid: "l".into(),
            policy_uid: String::new(),
            fence: 3,
            control_plane: false,
            ..Slot::default()
        };
        let pending = json!({"phase": "Pending", "fence": 0});
        assert!(speaks_for(&lease("l", &Value::Null, &pending), &slot));
        assert!(!speaks_for(&lease("m", &Value::Null, &pending), &slot));
        let draining = json!({"phase": "Draining", "fence": 3});
        assert!(!speaks_for(&lease("m", &Value::Null, &draining), &slot));
        let asked = json!({"grant": {"fence": 3, "grantedAt": "2026-11-24T12:00:00Z",
            "notAfter": "2026-11-24T12:00:00Z", "drain": {}, "reboot": {}, "verify": {}}});
        assert!(speaks_for(&lease("m", &asked, &draining), &slot));
    }
}
