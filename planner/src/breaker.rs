//! The circuit breaker of a policy: what the ledger remembers of its failures, and what follows.
//!
//! The record is changed only by the writes that append and free slots, and that note a node which
//! did not come back; so it is decided in the very ledger that is being replaced (faults.md Q10).

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use slipway_api::ledger::{FAILURES_MAX, POLICIES_MAX};
use slipway_api::policy::{BreakerReset, FailureSettings};
use slipway_api::{Failure, Phase, PolicyRecord, RebootLease, RebootLedgerStatus, Slot};

use crate::backoff;
use crate::reason::Reason;

/// Failures that say something about the reboots of a policy, and not about one node's pods or a
/// human's will: a drain that cannot finish keeps only its own node back (F57).
const COUNTED: [&str; 6] = [
    "Ineffective",
    "PodsNotReady",
    "VerifyQuery",
    "NotRebooted",
    "RebootRefused",
    "Stuck",
];

/// True for the reasons of failures that count.
pub(crate) fn counts(reason: &str) -> bool {
    COUNTED.contains(&reason)
}

/// Where the breaker stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Too few failures to matter.
    #[default]
    Closed,
    /// Nothing is granted.
    Open {
        /// Nodes that failed.
        failures: Vec<String>,
        /// When time alone changes that; `None` when only a human does.
        until: Option<Timestamp>,
    },
    /// One node may try alone, or does.
    HalfOpen {
        /// Nodes that failed.
        failures: Vec<String>,
        /// Its fence, once it was granted.
        probe: Option<i64>,
    },
}

impl State {
    /// The word in conditions and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Closed => "Closed",
            Self::Open { .. } => "Open",
            Self::HalfOpen { .. } => "HalfOpen",
        }
    }
}

/// What the ledger remembers of a policy.
pub fn record<'a>(status: &'a RebootLedgerStatus, policy_uid: &str) -> Option<&'a PolicyRecord> {
    status
        .policies
        .iter()
        .find(|record| record.uid == policy_uid)
}

/// Where the breaker stands by this ledger.
pub fn state(
    status: &RebootLedgerStatus,
    policy_uid: &str,
    settings: &FailureSettings,
    now: Timestamp,
) -> State {
    let Some(record) = record(status, policy_uid) else {
        return State::Closed;
    };
    let since = now
        .checked_sub(settings.within.signed())
        .unwrap_or(Timestamp::MIN);
    let reset = settings
        .reset_at
        .as_ref()
        .map_or(Timestamp::MIN, |time| time.0);
    let counted: Vec<&Failure> = record
        .failures
        .iter()
        .filter(|failure| failure.at.0 > since && failure.at.0 > reset)
        .collect();
    let nodes: BTreeSet<&str> = counted
        .iter()
        .map(|failure| failure.node.as_str())
        .collect();
    if nodes.len() < most(settings) {
        return State::Closed;
    }
    let failures = nodes.into_iter().map(str::to_owned).collect();
    let probe = record
        .probe
        .filter(|fence| status.slots.iter().any(|slot| slot.fence == *fence));
    if probe.is_some() {
        return State::HalfOpen { failures, probe };
    }
    let falls = falls_below(&counted, settings);
    let last = counted.iter().map(|failure| failure.at.0).max();
    let due = last.and_then(|last| last.checked_add(settings.backoff.signed()).ok());
    match (settings.reset, due) {
        (BreakerReset::Automatic, Some(due)) if now >= due => State::HalfOpen {
            failures,
            probe: None,
        },
        (BreakerReset::Automatic, due) => State::Open {
            failures,
            until: [due, falls].into_iter().flatten().min(),
        },
        (BreakerReset::Manual, _) => State::Open {
            failures,
            until: falls,
        },
    }
}

fn most(settings: &FailureSettings) -> usize {
    usize::try_from(settings.max_failures).unwrap_or(0).max(1)
}

/// When so many failures are older than `within` that too few are left.
fn falls_below(counted: &[&Failure], settings: &FailureSettings) -> Option<Timestamp> {
    let nodes: BTreeSet<&str> = counted
        .iter()
        .map(|failure| failure.node.as_str())
        .collect();
    let mut newest: Vec<Timestamp> = nodes
        .iter()
        .filter_map(|node| {
            let of_node = counted.iter().filter(|failure| failure.node == **node);
            of_node.map(|failure| failure.at.0).max()
        })
        .collect();
    newest.sort();
    let surplus = newest.len().checked_sub(most(settings))?;
    // A tick later: a failure counts while it is younger than `within`.
    let tick = SignedDuration::from_millis(1);
    newest
        .get(surplus)?
        .checked_add(settings.within.signed().saturating_add(tick))
        .ok()
}

/// Why the policy may not grant by this ledger, if it may not. A probe goes alone: never while
/// another node of the policy holds a slot.
pub fn refuse(
    status: &RebootLedgerStatus,
    (policy, policy_uid): (&str, &str),
    settings: &FailureSettings,
    now: Timestamp,
) -> Option<Reason> {
    let open = |failures: Vec<String>, until| Reason::BreakerOpen {
        policy: policy.to_owned(),
        failures,
        until,
    };
    match state(status, policy_uid, settings, now) {
        State::Closed => None,
        State::Open { failures, until } => Some(open(failures, until)),
        State::HalfOpen { failures, probe } => {
            let busy = probe.is_some()
                || status
                    .slots
                    .iter()
                    .any(|slot| slot.policy_uid == policy_uid);
            busy.then(|| open(failures, None))
        }
    }
}

/// Why a reboot that was granted may not be committed, if it may not: only the probe may.
pub fn calls_off(
    status: &RebootLedgerStatus,
    (policy, slot): (&str, &Slot),
    settings: &FailureSettings,
    now: Timestamp,
) -> Option<Reason> {
    let (failures, until) = match state(status, &slot.policy_uid, settings, now) {
        State::Closed => return None,
        State::HalfOpen { probe, .. } if probe == Some(slot.fence) => return None,
        State::Open { failures, until } => (failures, until),
        State::HalfOpen { failures, .. } => (failures, None),
    };
    Some(Reason::BreakerOpen {
        policy: policy.to_owned(),
        failures,
        until,
    })
}

/// Notes in the record that this grant is the one that an open breaker lets try.
pub fn note_grant(
    status: &mut RebootLedgerStatus,
    (policy_uid, fence): (&str, i64),
    settings: &FailureSettings,
    now: Timestamp,
) {
    if let State::HalfOpen { probe: None, .. } = state(status, policy_uid, settings, now) {
        change(status, policy_uid, |record| record.probe = Some(fence));
    }
}

/// How the reboot of a slot ended, for the breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Proved and verified.
    Success,
    /// A failure that counts.
    Failure {
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// Neither: called off, or nobody's failure.
    Neither,
}

/// How the reboot with this fence ended, by its lease.
pub fn ending(lease: &RebootLease, fence: i64, now: Timestamp) -> Ending {
    let Some(status) = lease.status.as_ref().filter(|status| status.fence == fence) else {
        return Ending::Neither;
    };
    match status.phase {
        Phase::Completed => Ending::Success,
        Phase::Failed if counts(&status.reason) => Ending::Failure {
            at: backoff::ended_at(lease).unwrap_or(now),
            reason: status.reason.clone(),
        },
        _ => Ending::Neither,
    }
}

/// Notes how the reboot of this slot ended. Each fence counts once; the success of the probe closes
/// the breaker, and that of a node which was granted before it opened does not.
pub fn note_ending(status: &mut RebootLedgerStatus, slot: &Slot, ending: &Ending) {
    if slot.policy_uid.is_empty() {
        return;
    }
    match ending {
        Ending::Success => {
            let probed = record(status, &slot.policy_uid)
                .is_some_and(|record| record.probe == Some(slot.fence));
            if probed {
                change(status, &slot.policy_uid, |record| record.failures.clear());
            }
        }
        Ending::Failure { at, reason } => {
            if is_noted(status, slot) {
                return;
            }
            let failure = Failure {
                node: slot.node.clone(),
                fence: slot.fence,
                at: Time(*at),
                reason: reason.clone(),
            };
            change(status, &slot.policy_uid, |record| {
                // Nodes are counted, so the newest failure of each is enough.
                record.failures.retain(|other| other.node != slot.node);
                record.failures.push(failure);
                let surplus = record.failures.len().saturating_sub(FAILURES_MAX);
                record.failures.drain(..surplus);
            });
        }
        Ending::Neither => {}
    }
}

/// True when this slot's reboot counts as a failure already.
pub fn is_noted(status: &RebootLedgerStatus, slot: &Slot) -> bool {
    record(status, &slot.policy_uid).is_some_and(|record| {
        record
            .failures
            .iter()
            .any(|failure| failure.fence == slot.fence)
    })
}

/// Changes the record of a policy, made where there is none. The oldest makes room when there are
/// too many: those of policies that are gone are the ones that no longer change.
pub(crate) fn change(
    status: &mut RebootLedgerStatus,
    policy_uid: &str,
    change: impl FnOnce(&mut PolicyRecord),
) {
    let found = status
        .policies
        .iter()
        .position(|record| record.uid == policy_uid);
    if let Some(record) = found.and_then(|position| status.policies.get_mut(position)) {
        change(record);
        return;
    }
    let mut record = PolicyRecord {
        uid: policy_uid.to_owned(),
        ..PolicyRecord::default()
    };
    change(&mut record);
    let surplus = (status.policies.len() + 1).saturating_sub(POLICIES_MAX);
    status.policies.drain(..surplus);
    status.policies.push(record);
}
