//! After the reboot: is the node back for good?

use jiff::{SignedDuration, Timestamp};
use slipway_api::people::Release;
use slipway_api::{Phase, RebootLease, Slot};

use crate::limits::{CALL_MAY_FIRE, RELEASED_KEEPS_SLOT};
use crate::reason::Reason;
use crate::snapshot::{CordonState, Need, NodeView};

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// Rebooted and verified.
    Complete,
    /// Proved, but of no use.
    Fail(Reason),
    /// Not yet. Never a failure by time alone: a node that is not back keeps its slot (faults.md Q2).
    Wait {
        /// When time alone may change the answer.
        until: Option<Timestamp>,
    },
}

/// When the lease entered its present phase.
pub fn entered_at(lease: &RebootLease) -> Option<Timestamp> {
    let status = lease.status.as_ref()?;
    let entered = status
        .transitions
        .iter()
        .rev()
        .find(|entry| entry.phase == status.phase)?;
    Some(entered.at.0)
}

/// Judges a lease in phase Rebooted by its Node, read afresh.
pub fn judge(lease: &RebootLease, node: &NodeView, now: Timestamp) -> Conclusion {
    let waits = Conclusion::Wait { until: None };
    let (Some(status), Some(grant)) = (&lease.status, &lease.spec.grant) else {
        return waits;
    };
    let fits = lease.phase() == Phase::Rebooted
        && grant.fence == status.fence
        && lease.spec.node_uid == node.uid;
    // The kubelet's own report of the boot ID: a Ready of before the reboot proves nothing (F12).
    let same_boot = status
        .boot_id_after
        .as_ref()
        .is_some_and(|after| *after == node.boot_id);
    if !fits || !same_boot || !node.ready || node.cordon != CordonState::Absent {
        return waits;
    }
    let rebooted = entered_at(lease).unwrap_or(now);
    let since = node
        .ready_since
        .map_or(rebooted, |ready| ready.max(rebooted));
    let due = since
        .saturating_add(grant.verify.node_ready_for.signed())
        .and_then(|due| due.saturating_add(grant.verify.settle.signed()))
        .unwrap_or(now);
    if now < due {
        return Conclusion::Wait { until: Some(due) };
    }
    match &node.need {
        // The agent looks again before it writes Rebooted; a need that arose later is a new one.
        // Conditions carry whole seconds.
        Need::Required { since, .. }
            if grant.verify.trigger_cleared && since.as_second() < rebooted.as_second() =>
        {
            Conclusion::Fail(Reason::Ineffective)
        }
        Need::Required { .. } | Need::NotRequired | Need::Unreported | Need::Unknown { .. } => {
            Conclusion::Complete
        }
    }
}

/// Since when the node should be back and is not: past `reboot.timeout` since the commit.
pub fn stuck_since(lease: &RebootLease, now: Timestamp) -> Option<Timestamp> {
    let status = lease.status.as_ref()?;
    let grant = lease.spec.grant.as_ref()?;
    if !status.phase.is_committed() {
        return None;
    }
    let committed = status
        .transitions
        .iter()
        .rev()
        .find(|entry| entry.phase == Phase::Rebooting)?
        .at
        .0;
    let due = stuck_at(committed, grant.reboot.timeout.signed());
    (now >= due).then_some(committed)
}

/// When a reboot committed then counts as stuck.
pub fn stuck_at(committed: Timestamp, timeout: SignedDuration) -> Timestamp {
    committed.saturating_add(timeout).unwrap_or(Timestamp::MAX)
}

/// Until when a release without force has to wait: a reboot call that the machine has accepted may
/// still take effect (faults.md F95).
pub fn release_waits(lease: &RebootLease, release: &Release, now: Timestamp) -> Option<Timestamp> {
    if release.force || lease.phase() != Phase::Rebooting {
        return None;
    }
    // Without a time of the commit it counts from now: later is the safe side.
    let committed = entered_at(lease).unwrap_or(now);
    let until = committed.saturating_add(CALL_MAY_FIRE).unwrap_or(now);
    (now < until).then_some(until)
}

/// When the slot of a reboot that a human gave up is given back although our cordon is still there;
/// `None` for a reboot that was not.
pub fn released_at(lease: &RebootLease, slot: &Slot) -> Option<Timestamp> {
    lease.release_of(slot.fence)?;
    let status = lease.status.as_ref()?;
    let released =
        status.fence == slot.fence && status.phase == Phase::Failed && status.reason == "Released";
    let ended = entered_at(lease).filter(|_| released)?;
    ended.saturating_add(RELEASED_KEEPS_SLOT).ok()
}
