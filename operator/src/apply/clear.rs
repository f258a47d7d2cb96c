//! The second key (faults.md G8): turned only on evidence gathered afresh, dated by the API
//! server's clock before the first of its reads.

use slipway_api::RebootLease;
use slipway_api::lease::WaitingFor;
use slipway_client::call::CallError;
use slipway_planner::clear::{ClearVerdict, judge};
use slipway_planner::{Reason, Snapshot};

use super::{Context, Done, patch, revoke, skip};
use crate::observe::fresh;

/// Turns the second key, calls the reboot off, or says what it waits for.
pub(super) async fn clear(
    ctx: &Context,
    snapshot: &Snapshot,
    (node, fence): (&str, i64),
) -> Result<Done, CallError> {
    let gathered = fresh::gather(ctx, snapshot, (node, fence)).await?;
    let Some(evidence) = gathered else {
        return skip("the lease does not ask for the key");
    };
    let lease = evidence.lease;
    let present = lease
        .spec
        .clear
        .as_ref()
        .filter(|clear| clear.fence == fence);
    if present.is_some_and(|clear| clear.at.0 >= evidence.at) {
        return skip("turned on younger evidence already");
    }
    // Judged at the time that the key will carry: the window must be open from then on.
    match judge(
        &evidence.snapshot,
        node,
        fence,
        &evidence.pods_left,
        evidence.at,
    ) {
        ClearVerdict::Clear => {
            if let Some(left) = evidence.snapshot.volumes.get(node)
                && !left.is_empty()
            {
                tracing::warn!(
                    node,
                    fence,
                    ?left,
                    "the node is rebooted with volumes attached"
                );
            }
            let lease = note(ctx, lease, &[]).await?;
            ctx.patch_spec(node, &patch::clear(&lease, fence, evidence.at))
                .await?;
            Ok(Done::Applied)
        }
        ClearVerdict::Revoke(reason) => revoke::write(ctx, &lease, fence, &reason).await,
        ClearVerdict::Wait(reason) => {
            note(ctx, lease, std::slice::from_ref(&reason)).await?;
            skip(reason.to_string())
        }
    }
}

/// Writes what the key waits for, if that is another than what stands there. The lease that comes
/// back differs from the one that was read by this write alone: the swap saw to that.
async fn note(
    ctx: &Context,
    lease: RebootLease,
    reasons: &[Reason],
) -> Result<RebootLease, CallError> {
    let waiting: Vec<WaitingFor> = reasons
        .iter()
        .map(Reason::waiting_for)
        .map(|entry| WaitingFor {
            message: patch::cut(&entry.message),
            ..entry
        })
        .collect();
    let noted = lease
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.waiting_for);
    if noted == waiting {
        return Ok(lease);
    }
    let name = lease.metadata.name.clone().unwrap_or_default();
    ctx.patch_status(&name, &patch::waiting(&lease, &waiting))
        .await
}
