//! The second key: may a drained node be rebooted right now?

use jiff::Timestamp;
use slipway_api::lease::Grant;
use slipway_api::people::Override;
use slipway_api::{Duration, Phase, RebootLease};

use crate::blockers;
use crate::breaker;
use crate::budget::slots;
use crate::gates::{self, Stage};
use crate::index::{Index, Row};
use crate::reason::Reason;
use crate::snapshot::{CordonState, Gap, Need, Snapshot};

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
    let index = Index::new(fresh, now);
    let Some(row) = index.row(&node.name) else {
        return ClearVerdict::Wait(Reason::LedgerMissing);
    };
    if let Some(reason) = refusal(&index, row) {
        return ClearVerdict::Revoke(reason);
    }
    let doubts = gates::doubts(fresh);
    if let Some(doubt) = doubts.first() {
        return ClearVerdict::Wait(doubt.clone());
    }
    // Nothing definite is left: a blocker that failed is a doubt, else a drain that moves Prometheus
    // away would abort itself, for ever (faults.md Q8).
    if let Some(doubt) = blockers::against(&index, row).into_iter().next() {
        return ClearVerdict::Wait(doubt);
    }
    if let Some(reason) = index.excess().keeps(&node.name) {
        return ClearVerdict::Wait(reason.clone());
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
    if let Some(example) = pods_left.first() {
        return ClearVerdict::Wait(Reason::PodsLeft {
            count: pods_left.len(),
            example: example.clone(),
        });
    }
    let attached = fresh.volumes.get(&node.name).map_or(&[][..], Vec::as_slice);
    match delayed(lease, now).or_else(|| volumes_keep(lease, attached, now)) {
        Some(reason) => ClearVerdict::Wait(reason),
        None => ClearVerdict::Clear,
    }
}

/// `reboot.delay`, which has to be over before the first of the reads that the key rests on.
pub(crate) fn delayed(lease: &RebootLease, now: Timestamp) -> Option<Reason> {
    let until = drained_until(lease, |grant| grant.reboot.delay, now)?;
    Some(Reason::RebootDelay { until })
}

/// `drain.waitForVolumeDetach`: volumes that are left after it go down with the node (F108).
fn volumes_keep(lease: &RebootLease, attached: &[String], now: Timestamp) -> Option<Reason> {
    let until = volumes_awaited_until(lease, now)?;
    attached.first().map(|example| Reason::VolumesAttached {
        count: attached.len(),
        example: example.clone(),
        until,
    })
}

/// Until when volumes that are attached to a drained node are waited for; `None` once they are not.
pub fn volumes_awaited_until(lease: &RebootLease, now: Timestamp) -> Option<Timestamp> {
    drained_until(lease, |grant| grant.drain.wait_for_volume_detach, now)
}

/// The end of a time that begins when the node was drained, while that is still to come.
fn drained_until(
    lease: &RebootLease,
    wait: impl Fn(&Grant) -> Duration,
    now: Timestamp,
) -> Option<Timestamp> {
    let grant = lease.spec.grant.as_ref()?;
    let wait = wait(grant).signed();
    if grant.fence != lease.accepted_fence() || wait.is_zero() {
        return None;
    }
    let steps = lease.status.iter().flat_map(|status| &status.transitions);
    let drained = steps.rev().find(|step| step.phase == Phase::Drained);
    // An agent's clock that is ahead must not make the wait longer; a step that is not told of has
    // only just been taken.
    let since = drained.map_or(now, |step| step.at.0.min(now));
    let until = since.saturating_add(wait).unwrap_or(Timestamp::MAX);
    (now < until).then_some(until)
}

/// A definite no to a reboot that has not been committed, if there is one.
pub(crate) fn refusal(index: &Index<'_>, row: &Row<'_>) -> Option<Reason> {
    let (snapshot, node) = (index.snapshot, row.node);
    let manual = row.own_lease().and_then(RebootLease::manual);
    if policy_unread(index, row).is_some() {
        // What the policy that granted says is not known: only what is no policy's matter counts.
        let mut reasons = gates::general(index, row);
        // How long a node may be up is a policy's word, too.
        let grant = row.own_lease().and_then(|lease| lease.spec.grant.as_ref());
        let by_age = grant.is_some_and(|grant| grant.triggers.max_uptime.is_some());
        if manual.is_none() && !by_age && node.need == Need::NotRequired {
            reasons.push(Reason::NoLongerNeeded);
        }
        reasons.extend(gates::control_plane_health(index, node));
        return reasons.into_iter().next();
    }
    let mut reasons = gates::definite(index, row, Stage::Finish);
    if let Some(reason) = gates::need_refusal(row.governance.policy(), node, index.now)
        && manual.is_none()
    {
        // A check that errs is a doubt for the agent to resolve; a need that has gone is a no.
        if matches!(reason, Reason::NotRequired | Reason::CheckNotCounted { .. }) {
            reasons.push(match reason {
                Reason::NotRequired => Reason::NoLongerNeeded,
                other => other,
            });
        }
    }
    reasons.extend(gates::control_plane_health(index, node));
    let grouped = |policy: &crate::PolicyView| policy.spec.budget.quorum_label.is_some();
    if snapshot.policies.iter().any(grouped) {
        let limits = index.limits().first();
        reasons.extend(limits.and_then(|limits| limits.cluster.quorum_lost(&node.name)));
    }
    reasons.extend(blockers::blocked(index, row));
    reasons.extend(index.excess().calls_off(&node.name).cloned());
    reasons.extend(breaker_opened(index, row));
    reasons.into_iter().next()
}

/// What hides the policy that granted: it does not govern the node as far as is seen, but some
/// policy cannot be read. It may be that one, so nothing is called off by another's word.
pub(crate) fn policy_unread<'a>(index: &Index<'a>, row: &Row<'_>) -> Option<&'a Gap> {
    let granted_by = row.own_lease()?.spec.policy.as_ref()?;
    let governs = row.governance.policy();
    if governs.is_some_and(|policy| policy.uid == granted_by.uid) {
        return None;
    }
    index.snapshot.gaps.iter().find(|gap| match gap {
        Gap::Undecodable { object } => object.starts_with("RebootPolicy "),
        Gap::Unsynced { .. }
        | Gap::ClockSkew { .. }
        | Gap::AdmissionMissing { .. }
        | Gap::AdmissionUnknown { .. } => false,
    })
}

/// A breaker that opened since the grant: only the node that it lets try may go on.
fn breaker_opened(index: &Index<'_>, row: &Row<'_>) -> Option<Reason> {
    let manual = row.own_lease().and_then(RebootLease::manual);
    let asked = manual.is_some_and(|request| request.overrides(Override::Breaker));
    let status = index.snapshot.ledger.present()?.status.as_ref()?;
    let slot = index.slot(row.node)?;
    let policy = index.policy(&slot.policy_uid)?;
    let settings = &policy.spec.failure;
    let refused = breaker::calls_off(status, (&policy.name, slot), settings, index.now);
    refused.filter(|_| !asked)
}
