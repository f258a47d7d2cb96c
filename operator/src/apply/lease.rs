//! The life of a lease apart from its keys: made, pointed at its policy, closed, reopened.

use jiff::Timestamp;
use kube::api::PostParams;
use slipway_api::lease::PolicyReference;
use slipway_api::{Phase, RebootLease, Slot, names};
use slipway_client::call::{CallError, bounded};
use slipway_client::clock;
use slipway_planner::{Reason, budget};

use super::{Context, Done, patch, skip};
use crate::observe::read;

/// Makes a lease by POST, without a grant: one that exists already is left as it is.
pub(super) async fn create(
    ctx: &Context,
    node: &str,
    node_uid: &str,
    policy: Option<&PolicyReference>,
    requested_at: Timestamp,
) -> Result<Done, CallError> {
    let lease = RebootLease::begin(node, node_uid, policy.cloned(), requested_at);
    post(ctx, &lease).await?;
    Ok(Done::Applied)
}

pub(super) async fn post(ctx: &Context, lease: &RebootLease) -> Result<RebootLease, CallError> {
    let params = PostParams {
        field_manager: Some(names::MANAGER_OPERATOR.to_owned()),
        ..PostParams::default()
    };
    bounded("make the lease", ctx.leases().create(&params, lease)).await
}

/// Notes which policy governs the node.
pub(super) async fn point(
    ctx: &Context,
    node: &str,
    policy: Option<&PolicyReference>,
) -> Result<Done, CallError> {
    let Some(lease) = read::lease(&ctx.client, node).await? else {
        return skip("there is no lease");
    };
    // While a reboot is under way the lease says which policy asked for it.
    if lease.phase().is_accepted() || lease.open_grant().is_some() {
        return skip("a reboot is under way");
    }
    if lease.spec.policy.as_ref() == policy {
        return skip("noted already");
    }
    ctx.patch_spec(node, &patch::point(&lease, policy)).await?;
    Ok(Done::Applied)
}

/// Ends a lease whose need has gone before anything was granted.
pub(super) async fn close(ctx: &Context, node: &str) -> Result<Done, CallError> {
    let Some(lease) = read::lease(&ctx.client, node).await? else {
        return skip("there is no lease");
    };
    if lease.phase() != Phase::Pending || lease.open_grant().is_some() {
        return skip("the lease is not waiting");
    }
    let body = patch::enter(
        &lease,
        Phase::Aborted,
        &Reason::NoLongerNeeded,
        clock::wall(),
    );
    ctx.patch_status(node, &body).await?;
    Ok(Done::Applied)
}

/// A new need: from the end of a reboot back to Pending. Only after a read of the ledger, made
/// after the end was seen, shows no slot for the node (faults.md G4): else the slot of the ended
/// reboot would be taken for that of the next.
pub(super) async fn reopen(
    ctx: &Context,
    (node, fence): (&str, i64),
    requested_at: Timestamp,
) -> Result<Done, CallError> {
    let Some(lease) = read::lease(&ctx.client, node).await? else {
        return skip("there is no lease");
    };
    if !lease.phase().is_terminal() || lease.accepted_fence() != fence {
        return skip("the lease has not ended");
    }
    let Some(ledger) = read::ledger(&ctx.client).await? else {
        return skip("there is no ledger");
    };
    if holds_slot(budget::slots(&ledger), &lease) {
        return skip("the slot is not given back yet");
    }
    // The time first: a crash in between leaves an ended lease, which is reopened again.
    let lease = ctx
        .patch_spec(node, &patch::requested(&lease, requested_at))
        .await?;
    ctx.patch_status(node, &patch::reopen(&lease, clock::wall()))
        .await?;
    Ok(Done::Applied)
}

fn holds_slot(slots: &[Slot], lease: &RebootLease) -> bool {
    slots.iter().any(|slot| {
        Some(slot.node.as_str()) == lease.metadata.name.as_deref()
            || slot.node_uid == lease.spec.node_uid
    })
}

/// Shows an open grant in the phase, or the end of one that was never accepted.
pub(super) async fn show(ctx: &Context, node: &str, phase: Phase) -> Result<Done, CallError> {
    let Some(lease) = read::lease(&ctx.client, node).await? else {
        return skip("there is no lease");
    };
    let Some(reason) = shown(&lease, phase) else {
        return skip("the lease has moved on");
    };
    ctx.patch_status(node, &patch::enter(&lease, phase, &reason, clock::wall()))
        .await?;
    Ok(Done::Applied)
}

/// The reason to show, if the phase is what the spec says.
fn shown(lease: &RebootLease, phase: Phase) -> Option<Reason> {
    match (lease.phase(), phase, lease.open_grant()) {
        (Phase::Pending, Phase::Granted, Some(_)) => Some(Reason::Granted),
        (Phase::Granted, Phase::Pending, None) => Some(Reason::SlotHeld),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn lease(spec: &Value, status: &Value) -> RebootLease {
        let mut all = json!({"nodeUID": "u", "requestedAt": "2026-11-24T11:00:00Z"});
        for (key, value) in spec.as_object().into_iter().flatten() {
            all[key] = value.clone();
        }
        serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
            "metadata": {"name": "n", "uid": "l"}, "spec": all, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_phase_is_shown_only_as_the_spec_has_it() {
        let grant = json!({"grant": {"fence": 3, "grantedAt": "2026-11-24T12:00:00Z",
            "notAfter": "2026-11-24T12:00:00Z", "drain": {}, "reboot": {}, "verify": {}}});
        let mut revoked = grant.clone();
        revoked["revoke"] = json!({"fence": 3, "reason": "r"});
        let status = |phase: &str| json!({"phase": phase, "fence": 2});
        assert!(shown(&lease(&grant, &status("Pending")), Phase::Granted).is_some());
        assert!(shown(&lease(&revoked, &status("Pending")), Phase::Granted).is_none());
        assert!(shown(&lease(&revoked, &status("Granted")), Phase::Pending).is_some());
        assert!(shown(&lease(&grant, &status("Granted")), Phase::Pending).is_none());
        assert!(shown(&lease(&grant, &status("Draining")), Phase::Granted).is_none());
    }

    #[test]
    fn g4_a_slot_by_name_or_uid_keeps_an_ended_lease_where_it_is() {
        let slot = |node: &str, uid: &str| Slot {
            node: node.into(),
            node_uid: uid.into(),
            lease_uid: String::new(),
            policy_uid: String::new(),
            fence: 1,
            control_plane: false,
            ..Slot::default()
        };
        let lease = lease(&Value::Null, &Value::Null);
        assert!(holds_slot(&[slot("n", "other")], &lease));
        assert!(holds_slot(&[slot("other", "u")], &lease));
        assert!(!holds_slot(&[slot("m", "v")], &lease));
    }
}
