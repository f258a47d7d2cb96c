//! Rebooting: the commit point is passed. Only another boot ID proves a reboot; without one, the
//! call is made again while it may be, or everything is undone once it can no longer take effect.

use std::time::Duration;

use slipway_api::RebootLease;

use super::rules::{call_is_void, call_may_fire, clear, going_down, journal, may_commit, young};
use super::{Action, SOON, Why, wait};
use crate::facts::{Facts, Mark, Need, Outcome};
use crate::journal::Journal;
use crate::reason;

/// How often a refused reboot is tried.
pub const TRIES_MAX: u32 = 3;
/// Pause after the n-th refusal is n times this: an inhibitor of a package manager may end.
pub const TRY_PAUSE: Duration = Duration::from_secs(5);

/// Rebooting: only another boot ID proves a reboot.
pub(super) fn committed(facts: &Facts, lease: &RebootLease) -> Action {
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
    let grant = lease
        .spec
        .grant
        .as_ref()
        .filter(|grant| grant.fence == fence);
    let void = grant.is_some_and(|grant| call_is_void(facts, grant));
    let fires = call_may_fire(facts) && !void;
    // Without our own note of this commit nobody knows whether the call was made.
    if fires || (noted.is_none() && (young(facts) || going_down(facts))) {
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
        None => Outcome::failed(reason::NOT_REBOOTED, stayed_up(journal)),
    }
}

fn stayed_up(journal: Option<&Journal>) -> String {
    let call = journal.and_then(|journal| journal.call.as_ref());
    let what = "the node did not go down: its boot ID is the same";
    match call.and_then(|call| call.answer.as_deref()) {
        Some(answer) => format!("the reboot was called ({answer}), and {what}"),
        None if call.is_some() => format!("the reboot was called, and {what}"),
        None => format!("the reboot was committed, and {what}"),
    }
}

/// A reboot is proved: the cordon goes, then the operator is told.
fn after_boot(facts: &Facts, fence: i64) -> Action {
    if call_may_fire(facts) {
        // etcd restored from a backup: the lease tells of an earlier reboot than the journal does, and
        // a call of this very boot may still take the node down.
        return wait(Why::CallMayFire, SOON);
    }
    if facts.node.mark != Mark::Absent || facts.node.undone != Some(fence) {
        Action::Undo { fence }
    } else if facts.host.need == Need::Settling || !facts.node.condition_current {
        wait(Why::Report, SOON)
    } else {
        Action::MarkRebooted { fence }
    }
}
