//! What to do next, and nothing else: facts in, one action out.
//!
//! Pure: no clock, no client, no log. The table of faults.md G6 is here, row by row; whatever is
//! in no row, or contradicts itself, leads to nothing new. Called once per pass by the agent's
//! loop; every action is carried out by `act`, whose writes all fail if the facts have changed.

use std::time::Duration;

use jiff::SignedDuration;
use slipway_api::lease::Grant;
use slipway_api::{Phase, RebootLease, RebootLeaseStatus};

use crate::facts::{Facts, JournalView, LeaseView, LedgerView, Mark, Need, Outcome, PodsView};
use crate::journal::Journal;
use crate::reason;

/// How long a reboot call may take effect after it was made, while no shutdown is seen.
///
/// Shorter, and a node could be uncordoned and reboot with new pods on it.
pub const CALL_MAY_FIRE: Duration = Duration::from_mins(10);
/// How long the second key is valid.
pub const CLEAR_VALID: SignedDuration = SignedDuration::from_secs(60);
/// How far in the future a second key may be before it is not believed.
pub const CLEAR_AHEAD: SignedDuration = SignedDuration::from_secs(5);
/// How far the machine's clock may be off the API server's.
pub const SKEW_MAX: SignedDuration = SignedDuration::from_secs(60);
/// How often a refused reboot is tried.
pub const TRIES_MAX: u32 = 3;
/// Pause after the n-th refusal is n times this: an inhibitor of a package manager may end.
pub const TRY_PAUSE: Duration = Duration::from_secs(5);
/// How long the API server must have said that it does not know leases before that counts as
/// their deletion; shorter would take a restart with a half-loaded discovery for it.
pub const KIND_MISSING: Duration = Duration::from_mins(5);

/// When nothing is under way: events wake the agent, this is for those that were lost.
const IDLE: Duration = Duration::from_mins(10);
/// While a grant waits, or the node is ours: human vetoes must be seen within 5 s (F64).
const SOON: Duration = Duration::from_secs(3);

/// The one thing to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing, until something changes or `within` has passed.
    Wait {
        /// For what.
        why: Why,
        /// Look again no later than this.
        within: Duration,
    },
    /// Write `Draining`: from here on the node is ours to undo.
    Accept {
        /// The grant.
        fence: i64,
    },
    /// Tell the operator which fence the journal has committed.
    ReportJournal {
        /// That fence.
        committed: i64,
    },
    /// Cordon the node, recording what was there.
    Cordon {
        /// The grant.
        fence: i64,
    },
    /// Evict the pods that must leave: one round.
    Evict {
        /// The grant.
        fence: i64,
    },
    /// Write `Drained`.
    MarkDrained {
        /// The grant.
        fence: i64,
    },
    /// Pass the commit point and reboot.
    Commit {
        /// The grant.
        fence: i64,
    },
    /// Show in the lease that the reboot is called.
    MarkCalled {
        /// The grant.
        fence: i64,
    },
    /// Undo what is ours on the Node; the lease is left alone.
    Undo {
        /// The fence that is undone.
        fence: i64,
    },
    /// Undo what is ours on the Node, then end the reboot.
    Retire {
        /// The grant that ends.
        fence: i64,
        /// How.
        outcome: Outcome,
    },
    /// Write `Rebooted`.
    MarkRebooted {
        /// The grant.
        fence: i64,
    },
}

/// What the agent waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing: no grant, nothing of ours on the node.
    Idle,
    /// The lease cannot be read by this version, or contradicts itself.
    Contradictory,
    /// The journal cannot be read: nothing is accepted.
    JournalUnreadable,
    /// The journal has committed this fence or a later one.
    JournalFence,
    /// The grant has run out.
    GrantExpired,
    /// Clocks are too far apart.
    ClockSkew,
    /// The checks do not ask for a reboot, or are not settled.
    NotRequired,
    /// The ledger holds no slot for this grant, or there is no ledger.
    NoSlot,
    /// The ledger is paused.
    Paused,
    /// The machine did not say whether it is going down, or it is.
    HostNotReady,
    /// The operator's second key.
    Clear,
    /// Facts that this pass did not read.
    Unread,
    /// A reboot call may still take effect.
    CallMayFire,
    /// The pause between two tries.
    NextTry,
    /// The checks after a boot, and the Node condition.
    Report,
    /// The operator's verification.
    Verification,
    /// The API server does not serve leases.
    KindMissing,
}

/// Decides.
pub fn decide(facts: &Facts) -> Action {
    match &facts.lease {
        LeaseView::Missing => orphan(facts, None),
        LeaseView::KindMissing { lasted } if *lasted >= KIND_MISSING => orphan(facts, None),
        LeaseView::KindMissing { .. } => wait(Why::KindMissing, SOON),
        LeaseView::Unreadable { .. } => wait(Why::Contradictory, IDLE),
        // The lease speaks of a Node that was deleted and made anew.
        LeaseView::Present(lease) if lease.spec.node_uid != facts.node.uid => orphan(facts, None),
        LeaseView::Present(lease) => match lease.phase() {
            Phase::Pending | Phase::Granted => match (&facts.node.mark, lease.open_grant()) {
                (Mark::Absent, Some(grant)) => accept(facts, lease, grant),
                (Mark::Absent, None) => wait(Why::Idle, IDLE),
                (Mark::Ours(_) | Mark::Unreadable, _) => orphan(facts, Some(lease)),
            },
            Phase::Completed | Phase::Aborted | Phase::Failed => orphan(facts, Some(lease)),
            Phase::Draining | Phase::Drained => uncommitted(facts, lease),
            Phase::Rebooting => committed(facts, lease),
            Phase::Rebooted => match facts.node.mark {
                Mark::Absent => wait(Why::Verification, IDLE),
                Mark::Ours(_) | Mark::Unreadable => orphan(facts, Some(lease)),
            },
        },
    }
}

fn wait(why: Why, within: Duration) -> Action {
    Action::Wait { why, within }
}

/// No work is under way: whatever is ours on the Node goes.
fn orphan(facts: &Facts, lease: Option<&RebootLease>) -> Action {
    let accepted = lease.map_or(0, RebootLease::accepted_fence);
    let fence = match &facts.node.mark {
        Mark::Absent => return wait(Why::Idle, IDLE),
        Mark::Ours(record) => record.fence,
        Mark::Unreadable => accepted,
    };
    // A lease in hand was ended by us after the call could no longer fire; with no lease only the
    // journal knows, and if that is gone too, only time.
    let unknown = lease.is_none() && journal(facts).is_none();
    if call_may_fire(facts) || (unknown && young(facts)) {
        return wait(Why::CallMayFire, SOON);
    }
    Action::Undo { fence }
}

/// A grant waits to be accepted (G5). Any doubt leaves the node alone.
fn accept(facts: &Facts, lease: &RebootLease, grant: &Grant) -> Action {
    let Some(journal) = journal(facts) else {
        return wait(Why::JournalUnreadable, SOON);
    };
    if journal.committed >= grant.fence {
        let reported = lease
            .status
            .as_ref()
            .map_or(0, |status| status.journal_fence);
        return if reported == journal.committed {
            wait(Why::JournalFence, IDLE)
        } else {
            Action::ReportJournal {
                committed: journal.committed,
            }
        };
    }
    let why = if facts
        .node
        .undone
        .is_some_and(|undone| undone >= grant.fence)
    {
        Some(Why::Contradictory)
    } else if facts.clocks.api >= grant.not_after.0 {
        Some(Why::GrantExpired)
    } else if skewed(facts) {
        Some(Why::ClockSkew)
    } else if facts.host.need != Need::Required {
        Some(Why::NotRequired)
    } else if call_may_fire(facts) {
        Some(Why::CallMayFire)
    } else if facts.host.shutdown_pending != Some(false) {
        Some(Why::HostNotReady)
    } else {
        slot(facts, lease, grant.fence).err()
    };
    match why {
        Some(why) => wait(why, SOON),
        None => Action::Accept { fence: grant.fence },
    }
}

/// Draining or Drained: the node is ours, and everything can still be undone.
fn uncommitted(facts: &Facts, lease: &RebootLease) -> Action {
    let fence = lease.accepted_fence();
    let status = lease.status.clone().unwrap_or_default();
    if call_may_fire(facts) {
        // etcd restored from a backup: the lease has forgotten our commit, the journal has not.
        return wait(Why::CallMayFire, SOON);
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
        Mark::Absent => Action::Cordon { fence },
        Mark::Ours(_) | Mark::Unreadable => cordoned(facts, lease, fence),
    }
}

/// The node is cordoned by us: pods first, then the second key.
fn cordoned(facts: &Facts, lease: &RebootLease, fence: i64) -> Action {
    match facts.pods {
        PodsView::NotRead => return wait(Why::Unread, SOON),
        PodsView::Left(0) => {}
        PodsView::Left(_) => return Action::Evict { fence },
    }
    match lease.phase() {
        Phase::Draining => Action::MarkDrained { fence },
        Phase::Drained => match may_commit(facts, lease, fence) {
            Ok(()) => Action::Commit { fence },
            Err(why) => wait(why, SOON),
        },
        Phase::Pending
        | Phase::Granted
        | Phase::Rebooting
        | Phase::Rebooted
        | Phase::Completed
        | Phase::Aborted
        | Phase::Failed => wait(Why::Contradictory, SOON),
    }
}

/// Why an uncommitted reboot must end now, if it must.
fn ends(facts: &Facts, status: &RebootLeaseStatus, grant: &Grant) -> Option<Outcome> {
    let before = status.boot_id_before.as_deref();
    if before.is_some_and(|before| before != facts.host.boot_id) {
        let message = "the node was rebooted by somebody else before this reboot was committed";
        return Some(Outcome::failed(reason::REBOOTED_ELSEWHERE, message));
    }
    if let Some(outcome) = undone(facts, grant.fence) {
        return Some(outcome);
    }
    if let Some(message) = veto(facts, status, grant.fence) {
        return Some(Outcome::failed(reason::VETOED, message));
    }
    if facts.clocks.api >= grant.not_after.0 {
        return Some(expired());
    }
    if facts.host.need == Need::NotRequired {
        let message = "nothing on the node asks for a reboot any more";
        return Some(Outcome::failed(reason::NO_LONGER_NEEDED, message));
    }
    let limit = grant.drain.timeout;
    let late = !limit.is_zero() && facts.seen.drain_elapsed >= limit.0;
    (status.phase == Phase::Draining && late)
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

/// Rebooting: only another boot ID proves a reboot.
fn committed(facts: &Facts, lease: &RebootLease) -> Action {
    let fence = lease.accepted_fence();
    let status = lease.status.clone().unwrap_or_default();
    let noted = journal(facts).filter(|journal| journal.committed == fence);
    let before = status.boot_id_before.as_deref();
    let Some(before) = before.or_else(|| noted.map(|journal| journal.boot_id.as_str())) else {
        return wait(Why::Contradictory, SOON);
    };
    if before != facts.host.boot_id {
        return after_boot(facts, fence);
    }
    // Without our own note of this commit nobody knows whether the call was made.
    if call_may_fire(facts) || (noted.is_none() && (young(facts) || going_down(facts))) {
        let called = noted.is_some_and(|journal| journal.call.is_some());
        return if called && status.reason == reason::COMMITTED {
            Action::MarkCalled { fence }
        } else {
            wait(Why::CallMayFire, SOON)
        };
    }
    if going_down(facts) {
        return wait(Why::CallMayFire, SOON);
    }
    match noted {
        Some(journal) if journal.call.is_none() => retry(facts, lease, journal),
        Some(_) | None => Action::Retire {
            fence,
            outcome: not_rebooted(noted),
        },
    }
}

/// The call was refused, or never made: again while the second key is fresh.
fn retry(facts: &Facts, lease: &RebootLease, journal: &Journal) -> Action {
    let fence = journal.committed;
    let may =
        journal.refusals < TRIES_MAX && !lease.is_revoked(fence) && clear(facts, lease, fence);
    if !may {
        return Action::Retire {
            fence,
            outcome: not_rebooted(Some(journal)),
        };
    }
    let pause = TRY_PAUSE.saturating_mul(journal.refusals);
    if facts.clocks.boottime < journal.refused_at().saturating_add(pause) {
        return wait(Why::NextTry, Duration::from_secs(1));
    }
    match may_commit(facts, lease, fence) {
        Ok(()) => Action::Commit { fence },
        // The second key runs out within a minute, and with it this waiting.
        Err(why) => wait(why, Duration::from_secs(1)),
    }
}

fn not_rebooted(journal: Option<&Journal>) -> Outcome {
    match journal.filter(|journal| journal.refusals > 0) {
        Some(journal) => Outcome::failed(reason::REBOOT_REFUSED, journal.refusal.clone()),
        None => Outcome::failed(
            reason::NOT_REBOOTED,
            "the reboot was committed, and the node did not go down",
        ),
    }
}

/// A reboot is proved: the cordon goes, then the operator is told.
fn after_boot(facts: &Facts, fence: i64) -> Action {
    if facts.node.mark != Mark::Absent || facts.node.undone != Some(fence) {
        Action::Undo { fence }
    } else if facts.host.need == Need::Settling || !facts.node.condition_current {
        wait(Why::Report, SOON)
    } else {
        Action::MarkRebooted { fence }
    }
}

/// Everything of G5 that must hold at the commit point.
fn may_commit(facts: &Facts, lease: &RebootLease, fence: i64) -> Result<(), Why> {
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
    if !in_force || facts.pods != PodsView::Left(0) {
        return Err(Why::Unread);
    }
    if facts.host.need != Need::Required {
        return Err(Why::NotRequired);
    }
    if facts.host.shutdown_pending != Some(false) {
        return Err(Why::HostNotReady);
    }
    slot(facts, lease, fence)
}

/// True when the second key is valid, and younger than the last pod that came back.
fn clear(facts: &Facts, lease: &RebootLease, fence: i64) -> bool {
    let Some(clear) = lease.spec.clear.as_ref().filter(|c| c.fence == fence) else {
        return false;
    };
    let age = facts.clocks.api.duration_since(clear.at.0);
    let returned = facts.seen.pods_returned;
    age <= CLEAR_VALID && age >= -CLEAR_AHEAD && returned.is_none_or(|at| clear.at.0 > at)
}

fn slot(facts: &Facts, lease: &RebootLease, fence: i64) -> Result<(), Why> {
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

fn journal(facts: &Facts) -> Option<&Journal> {
    match &facts.journal {
        JournalView::Readable(journal) => Some(journal),
        JournalView::Unreadable { .. } => None,
    }
}

/// True while a reboot call that the journal knows may still take this boot down.
fn call_may_fire(facts: &Facts) -> bool {
    let call = journal(facts).and_then(|journal| journal.call.as_ref());
    call.is_some_and(|call| {
        let passed = facts.clocks.boottime.saturating_sub(call.at());
        call.boot_id == facts.host.boot_id && (passed < CALL_MAY_FIRE || going_down(facts))
    })
}

fn going_down(facts: &Facts) -> bool {
    facts.host.shutdown_pending == Some(true)
}

/// True while a call made before this process started could still take effect.
fn young(facts: &Facts) -> bool {
    facts.clocks.boottime.saturating_sub(facts.clocks.started) < CALL_MAY_FIRE
}

fn skewed(facts: &Facts) -> bool {
    facts.clocks.api.duration_since(facts.clocks.wall).abs() > SKEW_MAX
}

#[cfg(test)]
mod tests;
