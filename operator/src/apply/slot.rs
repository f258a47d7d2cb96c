//! Slots given back and put back: each on proof read at quorum, each by compare-and-swap.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use slipway_api::{RebootLease, Slot};
use slipway_client::call::CallError;
use slipway_client::clock;
use slipway_planner::breaker::{self, Ending};
use slipway_planner::{CordonState, FreeBecause, budget, pace, verify};

use super::revoke::speaks_for;
use super::{Context, Done, ledger, skip};
use crate::observe::{node_view, read};

/// Gives a slot back. Time is no proof: either the lease says that the fence is over and the Node
/// carries no cordon of ours, or the Node is gone (faults.md S5).
pub(super) async fn free(
    ctx: &Context,
    slot: &Slot,
    because: FreeBecause,
) -> Result<Done, CallError> {
    let mut ending = Ending::Neither;
    let mut ended = None;
    let refused = match because {
        FreeBecause::Over => {
            // The lease first: once it says over, no new cordon of this fence can follow.
            let lease = read::lease(&ctx.client, &slot.node).await?;
            let node = read::node(&ctx.client, &slot.node).await?;
            ending = how_it_ended(slot, lease.as_ref());
            let refused = not_over(slot, lease.as_ref(), node);
            ended = lease;
            refused
        }
        FreeBecause::Released => {
            let lease = read::lease(&ctx.client, &slot.node).await?;
            ending = how_it_ended(slot, lease.as_ref());
            not_released(slot, lease.as_ref(), clock::wall())
        }
        FreeBecause::NodeGone => {
            let node = read::node(&ctx.client, &slot.node).await?;
            node.is_some_and(|node| is_node_of(slot, &node))
                .then_some("the node is there")
        }
    };
    if let Some(why) = refused {
        return skip(why);
    }
    let Some(ledger) = read::ledger(&ctx.client).await? else {
        return skip("there is no ledger");
    };
    let Some(mut status) = budget::free(&ledger, slot) else {
        return skip("the slot is free already");
    };
    // In the same write: whoever grants next sees the failure (faults.md Q10).
    breaker::note_ending(&mut status, slot, &ending);
    pace::note_end(&mut status, slot, ended.as_ref(), clock::wall());
    ledger::write(ctx, &ledger, status).await?;
    tracing::info!(node = slot.node, fence = slot.fence, "slot given back");
    Ok(Done::Applied)
}

fn how_it_ended(slot: &Slot, lease: Option<&RebootLease>) -> Ending {
    lease.map_or(Ending::Neither, |lease| {
        breaker::ending(lease, slot.fence, clock::wall())
    })
}

/// Why no human has given the reboot up, or not long enough ago.
fn not_released(slot: &Slot, lease: Option<&RebootLease>, now: Timestamp) -> Option<&'static str> {
    let Some(lease) = lease.filter(|lease| speaks_for(lease, slot)) else {
        return Some("the lease is missing or owes an answer");
    };
    match verify::released_at(lease, slot) {
        Some(at) if now >= at && lease.is_over(slot.fence) => None,
        Some(_) => Some("the agent may still undo"),
        None => Some("nobody has released it"),
    }
}

fn is_node_of(slot: &Slot, node: &Node) -> bool {
    node.metadata.uid.as_deref() == Some(slot.node_uid.as_str())
}

/// Why the reboot is not proved to be over.
fn not_over(slot: &Slot, lease: Option<&RebootLease>, node: Option<Node>) -> Option<&'static str> {
    let Some(lease) = lease else {
        return Some("the lease is missing and owes an answer");
    };
    if !speaks_for(lease, slot) {
        return Some("the lease was made anew and owes an answer");
    }
    if !lease.is_over(slot.fence) {
        return Some("the reboot is not over");
    }
    // A Node that is gone, or is another one, carries no cordon of this reboot.
    let cordon = node
        .filter(|node| is_node_of(slot, node))
        .map(|node| node_view(node).cordon);
    match cordon {
        None | Some(CordonState::Absent) => None,
        Some(CordonState::Ours(_) | CordonState::Unreadable) => {
            Some("the node carries our cordon still")
        }
    }
}

/// Puts a slot back that a live reboot has lost.
pub(super) async fn restore(ctx: &Context, slot: &Slot) -> Result<Done, CallError> {
    let Some(lease) = read::lease(&ctx.client, &slot.node).await? else {
        return skip("there is no lease");
    };
    let live = lease.metadata.uid.as_deref() == Some(slot.lease_uid.as_str())
        && lease.accepted_fence() == slot.fence
        && lease.phase().is_accepted();
    if !live {
        return skip("the reboot is not live");
    }
    let Some(ledger) = read::ledger(&ctx.client).await? else {
        return skip("there is no ledger");
    };
    let Some(status) = budget::restore(&ledger, slot) else {
        return skip("the node holds a slot");
    };
    ledger::write(ctx, &ledger, status).await?;
    tracing::warn!(node = slot.node, fence = slot.fence, "lost slot put back");
    Ok(Done::Applied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn slot() -> Slot {
        Slot {
            node: "n".into(),
            node_uid: "u".into(),
            lease_uid: "l".into(),
            policy_uid: String::new(),
            fence: 3,
            control_plane: false,
            ..Slot::default()
        }
    }

    fn lease(uid: &str, phase: &str, fence: i64) -> RebootLease {
        serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
            "metadata": {"name": "n", "uid": uid},
            "spec": {"nodeUID": "u", "requestedAt": "2026-11-24T11:00:00Z"},
            "status": {"phase": phase, "fence": fence},
        }))
        .unwrap()
    }

    fn node(uid: &str, annotations: &Value) -> Option<Node> {
        let metadata = json!({"name": "n", "uid": uid, "annotations": annotations});
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    #[test]
    fn s5_a_slot_is_free_only_when_over_was_seen_and_our_cordon_is_gone() {
        let bare = || node("u", &Value::Null);
        for phase in ["Completed", "Aborted", "Failed"] {
            assert_eq!(
                not_over(&slot(), Some(&lease("l", phase, 3)), bare()),
                None,
                "{phase}"
            );
        }
        for phase in ["Draining", "Drained", "Rebooting", "Rebooted"] {
            let found = not_over(&slot(), Some(&lease("l", phase, 3)), bare());
            assert!(found.is_some(), "{phase}");
        }
        // The end of an earlier reboot is no proof.
        assert!(not_over(&slot(), Some(&lease("l", "Completed", 2)), bare()).is_some());
        for text in [r#"{"fence":3,"unschedulableBefore":false}"#, "unreadable"] {
            let cordoned = node("u", &json!({"slipway.dev/cordoned": text}));
            assert!(not_over(&slot(), Some(&lease("l", "Completed", 3)), cordoned).is_some());
        }
    }

    #[test]
    fn s5_a_cordon_that_nobody_undoes_keeps_its_slot_until_a_human_has_released_it() {
        let mut lease = lease("l", "Failed", 3);
        let at = "2026-11-24T12:00:00Z";
        let status = lease.status.as_mut().unwrap();
        status.reason = "Released".into();
        status.transitions = serde_json::from_value(
            json!([{"phase": "Failed", "at": "2026-11-24T12:00:00.000000Z"}]),
        )
        .unwrap();
        let later = at.parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs(60);
        assert!(not_released(&slot(), Some(&lease), later).is_some());
        let release = |fence| json!({"fence": fence, "by": "ada", "reason": "dead"});
        lease.spec.release = Some(serde_json::from_value(release(2)).unwrap());
        assert!(not_released(&slot(), Some(&lease), later).is_some());
        lease.spec.release = Some(serde_json::from_value(release(3)).unwrap());
        assert!(not_released(&slot(), Some(&lease), at.parse().unwrap()).is_some());
        assert_eq!(not_released(&slot(), Some(&lease), later), None);
        lease.status.as_mut().unwrap().reason = "DrainTimeout".into();
        assert!(not_released(&slot(), Some(&lease), later).is_some());
        assert!(not_released(&slot(), None, later).is_some());
    }

    #[test]
    fn q1_a_missing_or_new_lease_is_no_proof() {
        let bare = || node("u", &Value::Null);
        assert!(not_over(&slot(), None, bare()).is_some());
        assert!(not_over(&slot(), Some(&lease("m", "Completed", 0)), bare()).is_some());
        assert!(not_over(&slot(), Some(&lease("m", "Aborted", 3)), bare()).is_some());
    }

    #[test]
    fn the_cordon_of_another_node_of_the_same_name_is_none_of_this_slot() {
        let other = node("v", &json!({"slipway.dev/cordoned": "{}"}));
        assert_eq!(
            not_over(&slot(), Some(&lease("l", "Failed", 3)), other),
            None
        );
        assert_eq!(
            not_over(&slot(), Some(&lease("l", "Failed", 3)), None),
            None
        );
    }
}
