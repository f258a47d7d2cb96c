//! Reboots that a human gave up, and nodes that did not come back: what only the operator can write
//! when an agent may be gone for good.

use slipway_api::people::Release;
use slipway_api::{Phase, RebootLease, Slot};
use slipway_client::call::CallError;
use slipway_client::clock;
use slipway_planner::breaker::{self, Ending};
use slipway_planner::{Reason, budget, verify};

use super::revoke::speaks_for;
use super::{Context, Done, ledger, patch, skip};
use crate::observe::read;

/// Ends the lease of a reboot that a human gave up. Its agent's next write under the phase before
/// fails then, and the agent undoes what is there.
pub(super) async fn release(ctx: &Context, (name, fence): (&str, i64)) -> Result<Done, CallError> {
    let Some(lease) = read::lease(&ctx.client, name).await? else {
        return skip("there is no lease");
    };
    let now = clock::wall();
    let release = match releasable(&lease, fence) {
        Ok(release) => release,
        Err(why) => return skip(why),
    };
    if let Some(until) = verify::release_waits(&lease, release, now) {
        return skip(format!("the reboot may still happen until {until}"));
    }
    let reason = Reason::Released {
        by: release.by.clone(),
        why: release.reason.clone(),
    };
    ctx.patch_status(name, &patch::enter(&lease, Phase::Failed, &reason, now))
        .await?;
    tracing::warn!(
        node = name,
        fence,
        by = release.by,
        why = release.reason,
        force = release.force,
        "given up by a human"
    );
    Ok(Done::Applied)
}

/// The release that may take effect now, but for the time since the commit.
fn releasable(lease: &RebootLease, fence: i64) -> Result<&Release, &'static str> {
    if lease.accepted_fence() != fence || !lease.phase().is_accepted() {
        return Err("the reboot is not under way");
    }
    lease.release_of(fence).ok_or("the release was withdrawn")
}

/// Counts a node that did not come back in time as a failure, while it still holds its slot.
pub(super) async fn note_stuck(ctx: &Context, slot: &Slot) -> Result<Done, CallError> {
    let Some(lease) = read::lease(&ctx.client, &slot.node).await? else {
        return skip("there is no lease");
    };
    let now = clock::wall();
    let stuck = speaks_for(&lease, slot)
        && lease.accepted_fence() == slot.fence
        && verify::stuck_since(&lease, now).is_some();
    if !stuck {
        return skip("the node is back");
    }
    let Some(ledger) = read::ledger(&ctx.client).await? else {
        return skip("there is no ledger");
    };
    let Some(mut status) = ledger
        .status
        .clone()
        .filter(|_| budget::slots(&ledger).contains(slot))
    else {
        return skip("the slot is gone");
    };
    if breaker::is_noted(&status, slot) {
        return skip("noted already");
    }
    let reason = "Stuck".to_owned();
    breaker::note_ending(&mut status, slot, &Ending::Failure { at: now, reason });
    ledger::write(ctx, &ledger, status).await?;
    tracing::warn!(node = slot.node, fence = slot.fence, "not back in time");
    Ok(Done::Applied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lease(phase: &str, fence: i64, released: i64) -> RebootLease {
        serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
            "metadata": {"name": "n", "uid": "l"},
            "spec": {"nodeUID": "u", "requestedAt": "2026-11-24T11:00:00Z",
                "release": {"fence": released, "by": "ada", "reason": "dead"}},
            "status": {"phase": phase, "fence": fence},
        }))
        .unwrap()
    }

    #[test]
    fn f106_a_release_ends_the_very_reboot_that_it_names_and_no_other() {
        for phase in ["Draining", "Drained", "Rebooting", "Rebooted"] {
            assert!(releasable(&lease(phase, 3, 3), 3).is_ok(), "{phase}");
            assert!(releasable(&lease(phase, 3, 2), 3).is_err(), "{phase}");
            assert!(releasable(&lease(phase, 4, 3), 3).is_err(), "{phase}");
        }
        for phase in ["Pending", "Granted", "Completed", "Aborted", "Failed"] {
            assert!(releasable(&lease(phase, 3, 3), 3).is_err(), "{phase}");
        }
    }
}
