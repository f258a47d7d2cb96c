//! The second key: may a drained node be rebooted right now?

use jiff::Timestamp;
use slipway_api::Phase;
use slipway_api::people::Override;

use crate::blockers;
use crate::breaker;
use crate::budget::{self, slots};
use crate::gates::{self, Stage, manual};
use crate::govern::governance;
use crate::reason::Reason;
use crate::snapshot::{CordonState, NodeView, Snapshot};
use crate::spread::Cluster;

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClearVerdict {
    /// Turn the key.
    Clear,
    /// A definite no: call it off, so that the node is uncordoned undisturbed.
    Revoke(Reason),
    /// Not now, and no reason to call it off.
    Wait(Reason),
}

/// Judges the second key from a snapshot whose parts were all read at quorum just now; `pods_left`
/// are the node's pods that have to move, as namespace/name (faults.md G8).
pub fn judge(
    fresh: &Snapshot,
    node: &str,
    fence: i64,
    pods_left: &[String],
    now: Timestamp,
) -> ClearVerdict {
    let (Some(node), Some(lease)) = (fresh.nodes.get(node), fresh.leases.get(node)) else {
        return ClearVerdict::Wait(Reason::LedgerMissing);
    };
    if lease.phase() != Phase::Drained || !lease.is_live(fence) {
        return ClearVerdict::Wait(Reason::SlotHeld);
    }
    if let Some(reason) = refusal(fresh, node, now) {
        return ClearVerdict::Revoke(reason);
    }
    let doubts = gates::doubts(fresh);
    if let Some(doubt) = doubts.first() {
        return ClearVerdict::Wait(doubt.clone());
    }
    // Nothing definite is left: a blocker that failed is a doubt, else a drain that moves Prometheus
    // away would abort itself, for ever (faults.md Q8).
    if let Some(policy) = governance(fresh, node).policy()
        && let Some(doubt) = blockers::against(fresh, policy, node, now)
            .into_iter()
            .next()
    {
        return ClearVerdict::Wait(doubt);
    }
    let held = fresh
        .ledger
        .present()
        .map_or(&[][..], slots)
        .iter()
        .any(|slot| slot.node == node.name && slot.node_uid == node.uid && slot.fence == fence);
    let cordoned = node.unschedulable
        && matches!(&node.cordon, CordonState::Ours(record) if record.fence == fence);
    if !held || !cordoned {
        // The agent sees the same and gives up, or the slot is about to be restored.
        return ClearVerdict::Wait(Reason::SlotHeld);
    }
    match pods_left.first() {
        Some(example) => ClearVerdict::Wait(Reason::PodsLeft {
            count: pods_left.len(),
            example: example.clone(),
        }),
        None => ClearVerdict::Clear,
    }
}

/// A definite no to a reboot that has not been committed, if there is one.
pub fn refusal(snapshot: &Snapshot, node: &NodeView, now: Timestamp) -> Option<Reason> {
    let mut reasons = gates::definite(snapshot, node, Stage::Finish, now);
    let policy = governance(snapshot, node).policy();
    if let Some(reason) = gates::need_refusal(policy, node)
        && manual(snapshot, node).is_none()
    {
        // A check that errs is a doubt for the agent to resolve; a need that has gone is a no.
        if matches!(reason, Reason::NotRequired | Reason::CheckNotCounted { .. }) {
            reasons.push(match reason {
                Reason::NotRequired => Reason::NoLongerNeeded,
                other => other,
            });
        }
    }
    reasons.extend(gates::control_plane_health(snapshot, node));
    if snapshot
        .policies
        .iter()
        .any(|policy| policy.spec.budget.quorum_label.is_some())
    {
        reasons.extend(Cluster::of(snapshot).quorum_lost(&node.name));
    }
    reasons.extend(policy.and_then(|policy| blockers::blocked(snapshot, policy, node, now)));
    if let (Some(policy), Some(ledger)) = (policy, snapshot.ledger.present()) {
        let limits = budget::limits(snapshot, policy);
        if is_newest_uncommitted(snapshot, node, &limits) {
            reasons.push(Reason::BudgetUsed {
                policy: policy.name.clone(),
                in_use: limits.in_use(slots(ledger)).len(),
                allowed: limits.allowed,
            });
        }
        reasons.extend(breaker_opened(snapshot, node, now));
    }
    reasons.into_iter().next()
}

/// A breaker that opened since the grant: only the node that it lets try may go on.
fn breaker_opened(snapshot: &Snapshot, node: &NodeView, now: Timestamp) -> Option<Reason> {
    let asked = manual(snapshot, node).is_some_and(|request| request.overrides(Override::Breaker));
    let status = snapshot.ledger.present()?.status.as_ref()?;
    let slot = status
        .slots
        .iter()
        .find(|slot| slot.node == node.name && slot.node_uid == node.uid)?;
    let policy = snapshot
        .policies
        .iter()
        .find(|policy| policy.uid == slot.policy_uid)?;
    let refused = breaker::calls_off(status, (&policy.name, slot), &policy.spec.failure, now);
    refused.filter(|_| !asked)
}

/// True when the node is one of those to call off until the budget fits again: the newest of the
/// reboots that can still be called off, as many as are too many.
fn is_newest_uncommitted(
    snapshot: &Snapshot,
    node: &NodeView,
    limits: &budget::PolicyLimits,
) -> bool {
    let Some(ledger) = snapshot.ledger.present() else {
        return false;
    };
    let surplus = limits.surplus(slots(ledger));
    let mut uncommitted: Vec<_> = slots(ledger)
        .iter()
        .filter(|slot| {
            limits
                .in_use(std::slice::from_ref(slot))
                .contains(&slot.node)
                && !limits.beyond.contains(&slot.node)
        })
        .filter(|slot| {
            snapshot.leases.get(&slot.node).is_none_or(|lease| {
                !(lease.phase().is_committed() && lease.accepted_fence() == slot.fence)
            })
        })
        .collect();
    uncommitted.sort_by_key(|slot| std::cmp::Reverse(slot.fence));
    uncommitted
        .iter()
        .take(surplus)
        .any(|slot| slot.node == node.name)
}
