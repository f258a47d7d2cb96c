//! Pauses after failures, and the guard against a node that reboots for ever.

use jiff::{SignedDuration, Timestamp};
use slipway_api::policy::FailureSettings;
use slipway_api::{Phase, RebootLease};

use crate::limits::{
    BACKOFF_DOUBLINGS_MAX, BACKOFF_MAX, BACKOFF_NOT_REBOOTED, BLOCKED_DRAINS_MAX, REBOOTS_PERIOD,
};
use crate::reason::Reason;

/// The word by which a blocker calls a drain off: [`Reason::Blocked`]'s code.
const BLOCKED: &str = "Blocked";

/// When a lease in a terminal phase ended.
pub fn ended_at(lease: &RebootLease) -> Option<Timestamp> {
    let status = lease.status.as_ref()?;
    status
        .transitions
        .iter()
        .rev()
        .find(|transition| transition.phase == status.phase)
        .map(|transition| transition.at.0)
}

/// The pause that a failed lease still has to keep, if any.
pub fn pause(lease: &RebootLease, settings: &FailureSettings, now: Timestamp) -> Option<Reason> {
    let status = lease.status.as_ref()?;
    if status.phase == Phase::Aborted {
        return called_off_again(lease, settings, now);
    }
    if status.phase != Phase::Failed {
        return None;
    }
    // What was called off in between says nothing; a reboot that worked ends the row.
    let earlier = status
        .history
        .iter()
        .take_while(|outcome| outcome.phase != Phase::Completed)
        .filter(|outcome| outcome.phase == Phase::Failed)
        .count();
    let failures = earlier + 1;
    let first = first_pause(&status.reason, settings)?;
    let doublings = u32::try_from(earlier)
        .unwrap_or(u32::MAX)
        .min(BACKOFF_DOUBLINGS_MAX);
    let length = first
        .saturating_mul(2_i32.saturating_pow(doublings))
        .min(BACKOFF_MAX.max(first));
    // Without a time of ending the pause counts from now: later is the safe side.
    let until = ended_at(lease).unwrap_or(now).saturating_add(length).ok()?;
    let reason = if matches!(status.reason.as_str(), "DrainTimeout" | "DrainBlocked") {
        Reason::Undrainable { until, failures }
    } else {
        Reason::BackingOff { until, failures }
    };
    (now < until).then_some(reason)
}

/// The pause of a node whose drains a blocker has called off several times in a row: each drain may
/// bring about the very thing that the blocker sees, for ever (faults.md Q8). Nobody's failure.
fn called_off_again(
    lease: &RebootLease,
    settings: &FailureSettings,
    now: Timestamp,
) -> Option<Reason> {
    let status = lease.status.as_ref()?;
    let blocked = |phase: Phase, reason: &str| phase == Phase::Aborted && reason == BLOCKED;
    if !blocked(status.phase, &status.reason) {
        return None;
    }
    let earlier = status
        .history
        .iter()
        .take_while(|outcome| blocked(outcome.phase, &outcome.reason))
        .count();
    let surplus = (earlier + 1).checked_sub(BLOCKED_DRAINS_MAX)?;
    let doublings = u32::try_from(surplus).unwrap_or(BACKOFF_DOUBLINGS_MAX);
    let first = settings.backoff.signed();
    let length = first
        .saturating_mul(2_i32.saturating_pow(doublings.min(BACKOFF_DOUBLINGS_MAX)))
        .min(BACKOFF_MAX.max(first));
    let until = ended_at(lease).unwrap_or(now).saturating_add(length).ok()?;
    (now < until).then_some(Reason::DrainCausesBlock {
        until,
        drains: earlier + 1,
    })
}

/// The first pause after a failure; `None` for endings that are nobody's failure.
fn first_pause(reason: &str, settings: &FailureSettings) -> Option<SignedDuration> {
    let backoff = settings.backoff.signed();
    match reason {
        "NoLongerNeeded" | "RebootedElsewhere" => None,
        "NotRebooted" | "RebootRefused" => Some(backoff.min(BACKOFF_NOT_REBOOTED)),
        _ => Some(backoff),
    }
}

/// True when an outcome means that the node was rebooted by us, or may have been: one that a person
/// gave up ends before anybody knows whether its machine went down.
pub fn was_rebooted(phase: Phase, reason: &str) -> bool {
    phase == Phase::Completed
        || (phase == Phase::Failed
            && matches!(
                reason,
                "Ineffective" | "PodsNotReady" | "VerifyQuery" | "Released"
            ))
}

/// The loop guard: as many reboots within the period as there may be.
pub fn loop_guard(
    lease: &RebootLease,
    settings: &FailureSettings,
    now: Timestamp,
) -> Option<Reason> {
    let status = lease.status.as_ref()?;
    let present = was_rebooted(status.phase, &status.reason)
        .then(|| ended_at(lease))
        .flatten();
    let past = status
        .history
        .iter()
        .filter(|outcome| was_rebooted(outcome.phase, &outcome.reason))
        .map(|outcome| outcome.at.0);
    let mut recent: Vec<Timestamp> = present
        .into_iter()
        .chain(past)
        .filter(|at| now.duration_since(*at) < REBOOTS_PERIOD)
        .collect();
    recent.sort();
    // The oldest of the newest that may be has to leave the period.
    let most = usize::try_from(settings.max_reboots_per_node)
        .unwrap_or(0)
        .max(1);
    let index = recent.len().checked_sub(most)?;
    let until = recent.get(index)?.saturating_add(REBOOTS_PERIOD).ok()?;
    Some(Reason::TooManyReboots {
        reboots: recent.len(),
        until,
    })
}
