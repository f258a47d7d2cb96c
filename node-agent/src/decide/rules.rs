//! The rules that more than one row of the table needs.

use std::time::Duration;

use jiff::SignedDuration;
use slipway_api::lease::Grant;
use slipway_api::{RebootLease, drain_filter};

use super::Why;
use super::way::{self, Way};
use crate::facts::{Facts, JournalView, LedgerView, Mark, Need, PodsView};
use crate::journal::Journal;

/// How long a reboot call may take effect after it was made, while no shutdown is seen.
///
/// Shorter, and a node could be uncordoned and reboot with new pods on it.
pub const CALL_MAY_FIRE: Duration = Duration::from_mins(10);
/// The same at least, where the call was answered and the machine says that it is not going down.
pub const ANSWERED_MAY_FIRE: Duration = Duration::from_secs(30);
/// How long the second key is valid.
pub const CLEAR_VALID: SignedDuration = SignedDuration::from_secs(60);
/// How far in the future a second key may be before it is not believed.
pub const CLEAR_AHEAD: SignedDuration = SignedDuration::from_secs(5);
/// How far the machine's clock may be off the API server's.
pub const SKEW_MAX: SignedDuration = SignedDuration::from_secs(60);

/// Everything of G5 that must hold at the commit point.
pub(super) fn may_commit(facts: &Facts, lease: &RebootLease, fence: i64) -> Result<(), Why> {
    if !clear(facts, lease, fence) {
        return Err(Why::Clear);
    }
    if skewed(facts) {
        return Err(Why::ClockSkew);
    }
    let journal = journal(facts).ok_or(Why::JournalUnreadable)?;
    if journal.committed > fence {
        return Err(Why::JournalFence);
    }
    let in_force = match &facts.node.mark {
        Mark::Ours(record) => {
            record.fence == fence
                && facts.node.unschedulable
                && (record.unschedulable_before || !facts.node.foreign_cordon)
        }
        Mark::Absent | Mark::Unreadable => false,
    };
    let empty = match facts.pods {
        PodsView::NotRead => false,
        PodsView::Left(0) => true,
        PodsView::Left(_) => {
            let grant = lease.spec.grant.as_ref().filter(|g| g.fence == fence);
            grant.is_some_and(|grant| goes_anyway(facts, lease, grant))
        }
    };
    if !in_force || !empty {
        return Err(Why::Unread);
    }
    // A human's request needs nothing on the host that asks.
    let asked = lease.manual().is_some();
    if facts.host.need != Need::Required && !asked {
        return Err(Why::NotRequired);
    }
    if !is_up(facts) {
        return Err(Why::HostNotReady);
    }
    let grant = lease.spec.grant.as_ref().filter(|g| g.fence == fence);
    match grant.map(|grant| way::of(facts, grant)) {
        Some(Way::Open) => {}
        Some(Way::Shut(why)) => return Err(why),
        Some(Way::Ends(_)) | None => return Err(Why::HostNotReady),
    }
    slot(facts, lease, fence)
}

/// True when the drain has had its time, and the policy then reboots with pods on the node. An agent
/// that was away all that time has not drained yet: its first round shows in the lease.
pub(super) fn goes_anyway(facts: &Facts, lease: &RebootLease, grant: &Grant) -> bool {
    let passed = SignedDuration::try_from(facts.seen.drain_elapsed);
    let tried = lease
        .status
        .as_ref()
        .is_some_and(|status| status.drain.is_some());
    tried && drain_filter::goes_anyway(grant, passed.unwrap_or_default())
}

/// True when the second key is valid, and younger than the last pod that came back.
pub(super) fn clear(facts: &Facts, lease: &RebootLease, fence: i64) -> bool {
    let Some(clear) = lease.spec.clear.as_ref().filter(|c| c.fence == fence) else {
        return false;
    };
    let age = facts.clocks.api.duration_since(clear.at.0);
    let returned = facts.seen.pods_returned;
    age <= CLEAR_VALID && age >= -CLEAR_AHEAD && returned.is_none_or(|at| clear.at.0 > at)
}

pub(super) fn slot(facts: &Facts, lease: &RebootLease, fence: i64) -> Result<(), Why> {
    let ledger = match &facts.ledger {
        LedgerView::Present(ledger) => ledger,
        LedgerView::Missing => return Err(Why::NoSlot),
        LedgerView::NotRead => return Err(Why::Unread),
    };
    if ledger.spec.paused {
        return Err(Why::Paused);
    }
    let name = lease.metadata.name.as_deref().unwrap_or_default();
    let uid = lease.metadata.uid.as_deref().unwrap_or_default();
    let slots = ledger.status.iter().flat_map(|status| &status.slots);
    let ours = slots.into_iter().any(|slot| {
        slot.node == name
            && slot.node_uid == facts.node.uid
            && slot.lease_uid == uid
            && slot.fence == fence
    });
    if ours { Ok(()) } else { Err(Why::NoSlot) }
}

pub(super) fn journal(facts: &Facts) -> Option<&Journal> {
    match &facts.journal {
        JournalView::Readable(journal) => Some(journal),
        JournalView::Unreadable { .. } => None,
    }
}

/// True while a reboot call that the journal knows may still take this boot down.
pub(super) fn call_may_fire(facts: &Facts) -> bool {
    let call = journal(facts).and_then(|journal| journal.call.as_ref());
    call.is_some_and(|call| {
        let passed = facts.clocks.boottime.saturating_sub(call.at());
        call.boot_id == facts.host.boot_id && (passed < CALL_MAY_FIRE || going_down(facts))
    })
}

/// True when the call was answered, and the machine says that nothing comes of it although the time
/// that the policy gives it is over (F09): no need to wait for as long as a doubt would take.
pub(super) fn call_is_void(facts: &Facts, grant: &Grant) -> bool {
    let Some(journal) = journal(facts).filter(|journal| journal.committed == grant.fence) else {
        return false;
    };
    let limit = grant.reboot.timeout.0.max(ANSWERED_MAY_FIRE);
    journal.call.as_ref().is_some_and(|call| {
        call.answer.is_some()
            && facts.host.shutdown_pending == Some(false)
            && facts.clocks.boottime.saturating_sub(call.at()) >= limit
    })
}

/// True when the machine is not going down, as far as the way of its reboot can tell: one that needs
/// no bus must work on a machine that has none.
fn is_up(facts: &Facts) -> bool {
    match facts.host.shutdown_pending {
        Some(pending) => !pending,
        None => facts.host.offer.is_blind(),
    }
}

/// The same for the acceptance: a machine that cannot be rebooted is accepted, so that the lease says
/// why, and is not touched.
pub(super) fn may_begin(facts: &Facts) -> bool {
    let cannot = facts.host.offer.problem().is_some();
    is_up(facts) || (cannot && facts.host.shutdown_pending.is_none())
}

pub(super) fn going_down(facts: &Facts) -> bool {
    facts.host.shutdown_pending == Some(true)
}

/// True while a call made before this process started could still take effect.
pub(super) fn young(facts: &Facts) -> bool {
    facts.clocks.boottime.saturating_sub(facts.clocks.started) < CALL_MAY_FIRE
}

pub(super) fn skewed(facts: &Facts) -> bool {
    facts.clocks.api.duration_since(facts.clocks.wall).abs() > SKEW_MAX
}
