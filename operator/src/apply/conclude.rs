//! After the reboot: Completed or Failed, from a Node read afresh. Never by time alone.

use slipway_api::Phase;
use slipway_client::call::CallError;
use slipway_client::clock;
use slipway_planner::Reason;
use slipway_planner::verify::{Conclusion, judge};

use super::{Context, Done, patch, skip};
use crate::observe::{node_view, read};

/// Ends a reboot that is proved.
pub(super) async fn conclude(ctx: &Context, (name, fence): (&str, i64)) -> Result<Done, CallError> {
    let Some(lease) = read::lease(&ctx.client, name).await? else {
        return skip("there is no lease");
    };
    if lease.phase() != Phase::Rebooted || lease.accepted_fence() != fence {
        return skip("the lease is in another phase");
    }
    let Some(node) = read::node(&ctx.client, name).await? else {
        return skip("there is no node");
    };
    let view = node_view(node);
    if view.uid != lease.spec.node_uid {
        return skip("the node is another one");
    }
    let now = clock::wall();
    let answers = ctx.blockers.answers();
    let (phase, reason) = match judge(&lease, &view, &answers, now) {
        Conclusion::Complete => (Phase::Completed, Reason::Verified),
        Conclusion::Fail(reason) => (Phase::Failed, reason),
        Conclusion::Verify { .. } => return skip("what has to hold is not known to hold"),
        Conclusion::Wait { .. } => return skip("the node has not been Ready for long enough"),
    };
    ctx.patch_status(name, &patch::enter(&lease, phase, &reason, now))
        .await?;
    tracing::info!(
        node = name,
        fence,
        phase = phase.as_str(),
        reason = reason.code(),
        "ended"
    );
    Ok(Done::Applied)
}
