//! How fast a policy goes: the time between grants, the first nodes of a rollout and the pause after
//! them, and how long its reboots take.
//!
//! All of it is kept in the policy's record in the ledger and changed only by the writes that append
//! and free slots, so that two operators cannot both pass (faults.md Q10).

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use slipway_api::ledger::{REBOOTS_MAX, RebootTime};
use slipway_api::validate::Cutoff;
use slipway_api::{Phase, PolicyRecord, RebootLease, RebootLedgerStatus, Slot, ValidatedPolicy};

use crate::breaker::{change, record};
use crate::limits::{REBOOT_GUESS, WINDOW_LEFT_AT_CLEAR};
use crate::reason::Reason;
use crate::snapshot::PolicyView;

/// What slows a policy down, without the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Time between two grants.
    pub min_interval: SignedDuration,
    /// How many nodes go first, and the pause after them.
    pub canary: Option<(usize, SignedDuration)>,
    /// Since when the node that has waited longest has waited.
    pub oldest_wait: Option<Timestamp>,
}

impl Pace {
    /// Of a policy; `oldest_wait` is of the nodes that it governs.
    pub fn of(policy: &PolicyView, oldest_wait: Option<Timestamp>) -> Self {
        let budget = &policy.spec.budget;
        Self {
            min_interval: budget.min_interval.signed(),
            canary: budget.canary.as_ref().map(|canary| {
                let nodes = usize::try_from(canary.nodes).unwrap_or(1);
                (nodes, canary.soak.signed())
            }),
            oldest_wait,
        }
    }

    /// Why the policy may not grant yet by this ledger, if it may not.
    pub fn refuse(
        &self,
        status: &RebootLedgerStatus,
        (policy, uid): (&str, &str),
        now: Timestamp,
    ) -> Option<Reason> {
        let last = record(status, uid).and_then(|record| record.last_grant_at.as_ref());
        let due = last.and_then(|last| last.0.checked_add(self.min_interval).ok());
        if let Some(until) = due.filter(|due| now < *due) {
            return Some(Reason::MinInterval {
                policy: policy.to_owned(),
                until,
            });
        }
        match self.canary_state(status, uid) {
            CanaryState::None | CanaryState::Goes => None,
            CanaryState::Runs => Some(Reason::CanaryRunning {
                policy: policy.to_owned(),
            }),
            CanaryState::Soaks { until } => (now < until).then(|| Reason::CanarySoaks {
                policy: policy.to_owned(),
                until,
            }),
        }
    }

    fn canary_state(&self, status: &RebootLedgerStatus, uid: &str) -> CanaryState {
        let Some((nodes, soak)) = self.canary else {
            return CanaryState::None;
        };
        let running = status
            .slots
            .iter()
            .filter(|slot| slot.policy_uid == uid && slot.canary)
            .count();
        let present = record(status, uid).filter(|_| !self.begins(status, uid));
        let done = present.map_or(0, |record| {
            usize::try_from(record.canaries_done).unwrap_or(0)
        });
        if done >= nodes {
            let since = present.and_then(|record| record.canary_done_at.as_ref());
            let until = since.and_then(|since| since.0.checked_add(soak).ok());
            return until.map_or(CanaryState::None, |until| CanaryState::Soaks { until });
        }
        if done + running >= nodes {
            CanaryState::Runs
        } else {
            CanaryState::Goes
        }
    }

    /// True when a grant now begins a rollout: none of the policy's nodes holds a slot, and none
    /// that waits now did so when the last reboot ended. Whole seconds, as objects carry them; in
    /// doubt it begins, and the first node goes alone.
    pub(crate) fn begins(&self, status: &RebootLedgerStatus, uid: &str) -> bool {
        let idle = !status.slots.iter().any(|slot| slot.policy_uid == uid);
        let ended = record(status, uid).and_then(|record| record.last_end_at.as_ref());
        idle && match (ended, self.oldest_wait) {
            (Some(ended), Some(oldest)) => oldest.as_second() >= ended.0.as_second(),
            (None, _) | (_, None) => true,
        }
    }

    /// Notes a grant, before its slot is appended; true when it is one of the first of a rollout.
    pub fn note_grant(
        &self,
        status: &mut RebootLedgerStatus,
        uid: &str,
        domains: Vec<String>,
        now: Timestamp,
    ) -> bool {
        let is_canary = matches!(self.canary_state(status, uid), CanaryState::Goes);
        let begins = self.begins(status, uid);
        change(status, uid, |record| {
            record.last_grant_at = Some(Time(now));
            record.domains = domains;
            if begins {
                record.canaries_done = 0;
                record.canary_done_at = None;
            }
        });
        is_canary
    }
}

enum CanaryState {
    /// There are none, or their pause is not known: nothing to wait for.
    None,
    /// The next node is one of them.
    Goes,
    /// As many as there are to be are under way.
    Runs,
    /// They are back; the pause ends then.
    Soaks { until: Timestamp },
}

/// Notes that the reboot of a slot has ended, with the lease that tells how.
pub fn note_end(
    status: &mut RebootLedgerStatus,
    slot: &Slot,
    lease: Option<&RebootLease>,
    now: Timestamp,
) {
    if slot.policy_uid.is_empty() {
        return;
    }
    let took = lease.and_then(|lease| completed(lease, slot.fence));
    change(status, &slot.policy_uid, |record| {
        record.last_end_at = Some(Time(now));
        let Some(took) = took else { return };
        if slot.canary {
            record.canaries_done = record.canaries_done.saturating_add(1);
            record.canary_done_at = Some(Time(now));
        }
        record.reboots.push(took);
        let surplus = record.reboots.len().saturating_sub(REBOOTS_MAX);
        record.reboots.drain(..surplus);
    });
}

/// How long the reboot with this fence took, if it was completed.
fn completed(lease: &RebootLease, fence: i64) -> Option<RebootTime> {
    let status = lease.status.as_ref()?;
    if status.fence != fence || status.phase != Phase::Completed {
        return None;
    }
    let entered = |phase| {
        let mut entries = status.transitions.iter().rev();
        entries
            .find(|entry| entry.phase == phase)
            .map(|entry| entry.at.0)
    };
    let ended = entered(Phase::Completed)?;
    let granted = lease
        .spec
        .grant
        .as_ref()
        .filter(|grant| grant.fence == fence)?;
    let total = ended.duration_since(granted.granted_at.0).as_secs();
    let called = entered(Phase::Rebooting);
    let away = called.map_or(total, |called| ended.duration_since(called).as_secs());
    Some(RebootTime {
        total: total.max(0),
        away: away.max(0),
    })
}

/// The time that a reboot needs before the window ends or a freeze begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// From the grant on.
    pub start: SignedDuration,
    /// From the second key on.
    pub finish: SignedDuration,
}

/// What a reboot of this policy needs, by its cutoff and its record.
pub fn needs(policy: &ValidatedPolicy, record: Option<&PolicyRecord>) -> Needs {
    let nine_of_ten = |of: fn(&RebootTime) -> i64| {
        percentile(record.map_or(&[][..], |record| &record.reboots), of, 90)
    };
    let start = match policy.cutoff {
        Cutoff::Fixed(length) => length,
        Cutoff::Auto => {
            nine_of_ten(|took| took.total).unwrap_or_else(|| policy.spec.reboot.timeout.signed())
        }
    }
    .max(WINDOW_LEFT_AT_CLEAR);
    let finish = nine_of_ten(|took| took.away).unwrap_or(REBOOT_GUESS);
    Needs {
        start,
        finish: finish.min(start).max(WINDOW_LEFT_AT_CLEAR),
    }
}

/// The time that so many of a hundred reboots did not exceed.
pub fn percentile(
    reboots: &[RebootTime],
    of: fn(&RebootTime) -> i64,
    percent: usize,
) -> Option<SignedDuration> {
    let mut seconds: Vec<i64> = reboots.iter().map(of).collect();
    seconds.sort_unstable();
    let rank = (seconds.len() * percent).div_ceil(100).checked_sub(1)?;
    seconds.get(rank).copied().map(SignedDuration::from_secs)
}
