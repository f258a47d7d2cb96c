//! A lease that was deleted under its slot owes an answer (faults.md Q1).
//!
//! The agent may still be at work, or its reboot pending, whatever became of the object. So the
//! lease is made anew, put into Draining under the slot's fence, and given a grant that is revoked
//! from its first moment: only the agent's own Aborted ends it. Every step is a compare-and-swap,
//! and each pass goes on from where the last one, or another operator, stopped.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use slipway_api::lease::Grant;
use slipway_api::policy::{DrainSettings, RebootSettings, Triggers, VerifySettings};
use slipway_api::{Phase, RebootLease, Slot};
use slipway_client::call::CallError;
use slipway_client::clock;
use slipway_planner::limits::NOT_AFTER_MARGIN;
use slipway_planner::{Reason, budget};

use super::revoke::speaks_for;
use super::{Context, Done, lease, patch, skip};
use crate::observe::read;

/// What is missing before the agent can answer.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// The phase Pending: the lease tells of an earlier reboot that has ended.
    Reopen,
    /// The phase Draining under the slot's fence.
    Phase,
    /// The grant and its revoke.
    Keys,
    /// Nothing.
    Nothing(&'static str),
}

/// Asks the agent for its answer.
pub(super) async fn demand(ctx: &Context, slot: &Slot) -> Result<Done, CallError> {
    let now = clock::wall();
    // The lease first, the ledger after it: a grant made in between then fails the swap below. The
    // other way round it could be written over, and the node would wait for ever.
    let mut lease = match read::lease(&ctx.client, &slot.node).await? {
        Some(lease) => lease,
        None if !is_held(ctx, slot).await? => return skip("the slot or its node is gone"),
        None => {
            tracing::warn!(
                node = slot.node,
                fence = slot.fence,
                "the lease was deleted"
            );
            let made = RebootLease::begin(&slot.node, &slot.node_uid, None, now);
            lease::post(ctx, &made).await?
        }
    };
    if !is_held(ctx, slot).await? {
        return skip("the slot or its node is gone");
    }
    let mut next = next(&lease, slot);
    if next == Next::Reopen {
        let body = patch::enter(&lease, Phase::Pending, &Reason::AnswerOwed, now);
        lease = ctx.patch_status(&slot.node, &body).await?;
        next = Next::Phase;
    }
    if next == Next::Phase {
        let to = (Phase::Draining, slot.fence);
        let body = patch::enter_fence(&lease, to, &Reason::AnswerOwed, now);
        lease = ctx.patch_status(&slot.node, &body).await?;
        next = Next::Keys;
    }
    match next {
        Next::Reopen | Next::Phase | Next::Keys => {
            let body = patch::demand(&lease, &grant(slot.fence, now), &Reason::AnswerOwed);
            ctx.patch_spec(&slot.node, &body).await?;
            Ok(Done::Applied)
        }
        Next::Nothing(why) => skip(why),
    }
}

/// True while the ledger holds the slot and its node exists, both read at quorum.
async fn is_held(ctx: &Context, slot: &Slot) -> Result<bool, CallError> {
    let ledger = read::ledger(&ctx.client).await?;
    if !ledger.is_some_and(|ledger| budget::slots(&ledger).contains(slot)) {
        return Ok(false);
    }
    let node = read::node(&ctx.client, &slot.node).await?;
    let uid = node.and_then(|node| node.metadata.uid);
    Ok(uid.as_deref() == Some(slot.node_uid.as_str()))
}

fn next(lease: &RebootLease, slot: &Slot) -> Next {
    if lease.spec.node_uid != slot.node_uid {
        return Next::Nothing("the lease is of another node");
    }
    if speaks_for(lease, slot) {
        return Next::Nothing("the lease speaks for the slot");
    }
    match (lease.accepted_fence() == slot.fence, lease.phase()) {
        (true, phase) if phase.is_accepted() => Next::Keys,
        (false, Phase::Pending) if lease.accepted_fence() < slot.fence => Next::Phase,
        // Made anew, and ended under an older fence while an operator slept between lease and ledger.
        (false, Phase::Completed | Phase::Aborted | Phase::Failed | Phase::Granted)
            if lease.accepted_fence() < slot.fence && lease.open_grant().is_none() =>
        {
            Next::Reopen
        }
        _ => Next::Nothing("the lease is in a phase that cannot be asked"),
    }
}

fn grant(fence: i64, now: Timestamp) -> Grant {
    Grant {
        fence,
        granted_at: Time(now),
        not_after: Time(now.saturating_add(NOT_AFTER_MARGIN).unwrap_or(now)),
        drain: DrainSettings::default(),
        reboot: RebootSettings::default(),
        verify: VerifySettings::default(),
        triggers: Triggers::default(),
        workloads: Vec::new(),
        request: None,
    }
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

    fn lease(uid: &str, granted: bool, status: &Value) -> RebootLease {
        let mut spec = json!({"nodeUID": "u", "requestedAt": "2026-11-24T11:00:00Z"});
        if granted {
            spec["grant"] = json!(grant(3, "2026-11-24T12:00:00Z".parse().unwrap()));
        }
        serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
            "metadata": {"name": "n", "uid": uid}, "spec": spec, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn q1_each_step_goes_on_from_where_the_last_one_stopped() {
        let draining = json!({"phase": "Draining", "fence": 3});
        assert_eq!(next(&lease("m", false, &Value::Null), &slot()), Next::Phase);
        assert_eq!(next(&lease("m", false, &draining), &slot()), Next::Keys);
        assert!(matches!(
            next(&lease("m", true, &draining), &slot()),
            Next::Nothing(_)
        ));
    }

    #[test]
    fn nothing_is_demanded_of_the_lease_that_the_slot_was_made_for() {
        assert!(matches!(
            next(&lease("l", false, &Value::Null), &slot()),
            Next::Nothing(_)
        ));
    }

    #[test]
    fn f100_a_lease_that_ended_an_earlier_reboot_is_reopened_before_it_is_asked() {
        for phase in ["Completed", "Aborted", "Failed"] {
            let ended = json!({"phase": phase, "fence": 2});
            assert_eq!(
                next(&lease("m", false, &ended), &slot()),
                Next::Reopen,
                "{phase}"
            );
        }
        let later = json!({"phase": "Completed", "fence": 4});
        assert!(matches!(
            next(&lease("m", false, &later), &slot()),
            Next::Nothing(_)
        ));
    }

    #[test]
    fn a_later_fence_is_never_overwritten() {
        let later = json!({"phase": "Draining", "fence": 4});
        assert!(matches!(
            next(&lease("m", false, &later), &slot()),
            Next::Nothing(_)
        ));
    }
}
