//! What to do next, and nothing else: facts in, one action out.
//!
//! Pure: no clock, no client, no log. The table of faults.md G6 is here, row by row; whatever is
//! in no row, or contradicts itself, leads to nothing new. Called once per pass by the agent's
//! loop; every action is carried out by `act`, whose writes all fail if the facts have changed.

#![deny(clippy::wildcard_enum_match_arm)]

mod committed;
mod rules;
#[cfg(test)]
pub(crate) mod tests;
mod uncommitted;
mod way;

use std::time::Duration;

use slipway_api::lease::Grant;
use slipway_api::{Phase, RebootLease};

use crate::facts::{Facts, LeaseView, Mark, Need, Outcome};
use committed::committed;
use rules::{call_may_fire, journal, may_begin, skewed, slot, young};
use uncommitted::uncommitted;

pub use committed::{TRIES_MAX, TRY_PAUSE};
pub use rules::{ANSWERED_MAY_FIRE, CALL_MAY_FIRE, CLEAR_AHEAD, CLEAR_VALID, SKEW_MAX};
pub use way::PATIENCE;

/// How long the API server must have said that it does not know leases before that counts as
/// their deletion; shorter would take a restart with a half-loaded discovery for it.
pub const KIND_MISSING: Duration = Duration::from_mins(5);

/// How long pods may be held before the node is given up uncordoned: a budget that the last reboot
/// has used up recovers once its pods are ready elsewhere.
pub const PREFLIGHT_PATIENCE: Duration = Duration::from_mins(1);

/// When nothing is under way: events wake the agent, this is for those that were lost.
const IDLE: Duration = Duration::from_mins(10);
/// While the kind is missing; the watch rings earlier.
const KIND_RETRY: Duration = Duration::from_secs(30);
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
    /// Ask whether the pods could be evicted, before the node is touched.
    Preflight {
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
    /// Locks that block a shutdown of the machine.
    Inhibited,
    /// The end of `drain.delay`.
    DrainDelay,
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
        LeaseView::KindMissing { .. } => wait(Why::KindMissing, KIND_RETRY),
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
                Mark::Absent => reboot_verified(facts, lease),
                Mark::Ours(_) | Mark::Unreadable => orphan(facts, Some(lease)),
            },
        },
    }
}

/// The operator verifies. A machine that booted once more meanwhile says so: else the operator would
/// wait for ever for the boot ID of a boot that is gone.
fn reboot_verified(facts: &Facts, lease: &RebootLease) -> Action {
    let proved = lease
        .status
        .as_ref()
        .and_then(|status| status.boot_id_after.as_deref());
    if proved == Some(facts.host.boot_id.as_str()) {
        return wait(Why::Verification, IDLE);
    }
    if facts.host.need == Need::Settling || !facts.node.condition_current {
        return wait(Why::Report, SOON);
    }
    Action::MarkRebooted {
        fence: lease.accepted_fence(),
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
    let why = if facts.node.undone == Some(grant.fence) {
        // This very fence was undone already: it is never begun twice.
        Some(Why::Contradictory)
    } else if facts.clocks.api >= grant.not_after.0 {
        Some(Why::GrantExpired)
    } else if skewed(facts) {
        Some(Why::ClockSkew)
    } else if facts.host.need != Need::Required && grant.request.is_none() {
        Some(Why::NotRequired)
    } else if call_may_fire(facts) {
        Some(Why::CallMayFire)
    } else if !may_begin(facts) {
        Some(Why::HostNotReady)
    } else {
        slot(facts, lease, grant.fence).err()
    };
    match why {
        Some(why) => wait(why, SOON),
        None => Action::Accept { fence: grant.fence },
    }
}
