//! Draining and Drained: the node is ours, and everything can still be undone.

use slipway_api::lease::Grant;
use slipway_api::policy::OnDrainTimeout;
use slipway_api::{Phase, RebootLease, RebootLeaseStatus};

use super::rules::{call_may_fire, goes_anyway, may_commit};
use super::way::{self, Way};
use super::{Action, PREFLIGHT_PATIENCE, SOON, Why, wait};
use crate::facts::{Facts, Mark, Need, Outcome, PodsView, Preflight};
use crate::host::Offer;
use crate::reason;

/// Draining or Drained: the node is ours, and everything can still be undone.
pub(super) fn uncommitted(facts: &Facts, lease: &RebootLease) -> Action {
    let fence = lease.accepted_fence();
    let status = lease.status.clone().unwrap_or_default();
    if call_may_fire(facts) {
        // etcd restored from a backup: the lease has forgotten our commit, the journal has not.
        return wait(Why::CallMayFire, SOON);
    }
    // Before the revoke: the reboot is often why nothing asks any more, and is the truer ending.
    if let Some(outcome) = rebooted_elsewhere(facts, &status) {
        return Action::Retire { fence, outcome };
    }
    if let Some(revoke) = lease.spec.revoke.as_ref().filter(|r| r.fence >= fence) {
        let reason = if revoke.reason.is_empty() {
            reason::REVOKED.to_owned()
        } else {
            revoke.reason.clone()
        };
        let outcome = Outcome {
            phase: Phase::Aborted,
            reason,
            message: revoke.message.clone(),
        };
        return Action::Retire { fence, outcome };
    }
    // Between the operator's answer owed (Q1) and its revoke: nothing new.
    let Some(grant) = lease.spec.grant.as_ref().filter(|g| g.fence == fence) else {
        return wait(Why::Contradictory, SOON);
    };
    if status.boot_id_before.is_none() {
        return if facts.clocks.api >= grant.not_after.0 {
            let outcome = expired();
            Action::Retire { fence, outcome }
        } else {
            wait(Why::Contradictory, SOON)
        };
    }
    if let Some(outcome) = ends(facts, &status, grant) {
        return Action::Retire { fence, outcome };
    }
    match &facts.node.mark {
        // An older cordon of ours: its record is undone first, never overwritten.
        Mark::Ours(record) if record.fence != fence => Action::Undo {
            fence: record.fence,
        },
        Mark::Absent => before_cordon(facts, grant),
        Mark::Ours(_) | Mark::Unreadable => cordoned(facts, lease, grant),
    }
}

/// The node is untouched: a delay, and the question whether it could be drained, come first.
fn before_cordon(facts: &Facts, grant: &Grant) -> Action {
    let fence = grant.fence;
    match way::of(facts, grant) {
        Way::Open => {}
        Way::Shut(why) => return wait(why, SOON),
        Way::Ends(outcome) => return Action::Retire { fence, outcome },
    }
    let delay = grant.drain.delay.0;
    let left = delay.saturating_sub(facts.seen.drain_elapsed);
    if !left.is_zero() {
        return wait(Why::DrainDelay, left.min(SOON));
    }
    // Where a drain that takes too long ends by force, pods that are held keep nobody.
    if !grant.drain.preflight || grant.drain.on_timeout != OnDrainTimeout::Abort {
        return Action::Cordon { fence };
    }
    match &facts.seen.preflight {
        Preflight::Passed => Action::Cordon { fence },
        Preflight::Blocked { lasted, message } if *lasted >= PREFLIGHT_PATIENCE => {
            let outcome = Outcome::failed(reason::DRAIN_BLOCKED, message);
            Action::Retire { fence, outcome }
        }
        Preflight::Unknown | Preflight::Blocked { .. } => Action::Preflight { fence },
    }
}

/// The node is cordoned by us: pods first, then the second key.
fn cordoned(facts: &Facts, lease: &RebootLease, grant: &Grant) -> Action {
    let fence = grant.fence;
    let empty = match facts.pods {
        PodsView::NotRead => return wait(Why::Unread, SOON),
        PodsView::Left(left) => left == 0,
    };
    if !empty && !goes_anyway(facts, lease, grant) {
        return Action::Evict { fence };
    }
    match lease.phase() {
        Phase::Draining => Action::MarkDrained { fence },
        Phase::Drained => {
            if let Way::Ends(outcome) = way::of(facts, grant) {
                return Action::Retire { fence, outcome };
            }
            match may_commit(facts, lease, fence) {
                Ok(()) => Action::Commit { fence },
                // Whatever can still leave may leave until the last moment.
                Err(_) if !empty => Action::Evict { fence },
                Err(why) => wait(why, SOON),
            }
        }
        Phase::Pending
        | Phase::Granted
        | Phase::Rebooting
        | Phase::Rebooted
        | Phase::Completed
        | Phase::Aborted
        | Phase::Failed => wait(Why::Contradictory, SOON),
    }
}

/// Somebody else's reboot (F13): the boot ID is not the one that the grant was accepted with.
fn rebooted_elsewhere(facts: &Facts, status: &RebootLeaseStatus) -> Option<Outcome> {
    let before = status.boot_id_before.as_deref()?;
    (before != facts.host.boot_id).then(|| {
        let message = "the node was rebooted by somebody else before this reboot was committed";
        Outcome::failed(reason::REBOOTED_ELSEWHERE, message)
    })
}

/// Why an uncommitted reboot must end now, if it must.
fn ends(facts: &Facts, status: &RebootLeaseStatus, grant: &Grant) -> Option<Outcome> {
    if let Some(outcome) = undone(facts, grant.fence) {
        return Some(outcome);
    }
    if let Some(message) = veto(facts, status, grant.fence) {
        return Some(Outcome::failed(reason::VETOED, message));
    }
    if facts.clocks.api >= grant.not_after.0 {
        return Some(expired());
    }
    if facts.host.need == Need::NotRequired && grant.request.is_none() {
        let message = "nothing on the node asks for a reboot any more";
        return Some(Outcome::failed(reason::NO_LONGER_NEEDED, message));
    }
    let limit = grant.drain.limit();
    let late = limit.is_some_and(|limit| facts.seen.drain_elapsed >= limit);
    let aborts = match grant.drain.on_timeout {
        OnDrainTimeout::Abort => true,
        // Both end when the grant does, if what they do is of no use.
        OnDrainTimeout::ForceDelete | OnDrainTimeout::RebootAnyway => false,
    };
    // A node that was never cordoned was never drained, whatever is to follow from a long drain.
    let untouched = facts.node.mark == Mark::Absent;
    if untouched && matches!(facts.host.offer, Offer::Inhibited { .. }) {
        // Locks keep it, for as long as the policy lets them: no drain has begun.
        return None;
    }
    (status.phase == Phase::Draining && late && (aborts || untouched))
        .then(|| Outcome::failed(reason::DRAIN_TIMEOUT, timeout_message(status, grant)))
}

fn expired() -> Outcome {
    let message = "the grant ran out before the reboot was committed";
    Outcome::failed(reason::EXPIRED, message)
}

/// A fence whose undo is on the Node is never cordoned again; only its ending is still owed.
fn undone(facts: &Facts, fence: i64) -> Option<Outcome> {
    if facts.node.undone != Some(fence) || facts.node.mark != Mark::Absent {
        return None;
    }
    let known = facts.seen.outcome.as_ref().filter(|(of, _)| *of == fence);
    let forgotten = "undone; the agent was restarted before it could say why";
    Some(known.map_or_else(
        || Outcome::failed(reason::NOT_REBOOTED, forgotten),
        |(_, outcome)| outcome.clone(),
    ))
}

/// What a human did that says no (F64).
fn veto(facts: &Facts, status: &RebootLeaseStatus, fence: i64) -> Option<&'static str> {
    match &facts.node.mark {
        Mark::Unreadable => {
            Some("our annotation on the node was changed; the cordon is left as it is")
        }
        Mark::Absent => {
            let was_there = status.phase == Phase::Drained
                || status.drain.is_some()
                || facts.seen.cordoned == Some(fence);
            was_there
                .then_some("our annotation was removed from the node; the cordon is left as it is")
        }
        Mark::Ours(record) if record.fence != fence => None,
        Mark::Ours(_) if !facts.node.unschedulable => Some("the node was uncordoned by a human"),
        Mark::Ours(record) if facts.node.foreign_cordon && !record.unschedulable_before => {
            Some("the node was uncordoned and cordoned again by somebody else; that cordon stays")
        }
        Mark::Ours(_) => None,
    }
}

fn timeout_message(status: &RebootLeaseStatus, grant: &Grant) -> String {
    let waiting = status.drain.iter().flat_map(|drain| &drain.waiting);
    let named: Vec<String> = waiting
        .take(3)
        .map(|pod| format!("{} ({})", pod.pod, pod.reason))
        .collect();
    let pods = if named.is_empty() {
        "pods were left".to_owned()
    } else {
        format!("still there: {}", named.join(", "))
    };
    format!("the drain took longer than {}: {pods}", grant.drain.timeout)
}
