//! What stands between a need and a reboot, for one node.
//!
//! Two kinds: a definite no (policy, window, pause), which also calls off a drain under way, and a
//! doubt (something could not be observed), which only makes it wait.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use slipway_api::people::Override;
use slipway_api::policy::{FailureSettings, Mode};
use slipway_api::{RebootLease, ValidatedPolicy, checks};

use crate::backoff;
use crate::breaker;
use crate::disruption;
use crate::govern;
use crate::index::{Index, Row};
use crate::need;
use crate::pace::{self, Needs};
use crate::reason::Reason;
use crate::schedule;
use crate::snapshot::{Gap, LedgerState, Need, NodeView, PolicyView, Snapshot};
use crate::window::Opening;

/// How far a reboot is: what is left to do decides how much time has to be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has not been granted.
    Start,
    /// It was granted; nothing but the reboot itself is certain to be left.
    Finish,
}

/// What definitely forbids a reboot of this node, whichever policy governs it.
pub(crate) fn general(index: &Index<'_>, row: &Row<'_>) -> Vec<Reason> {
    let (snapshot, node) = (index.snapshot, row.node);
    let mut reasons = Vec::new();
    if snapshot
        .ledger
        .present()
        .is_some_and(|ledger| ledger.spec.paused)
    {
        reasons.push(Reason::LedgerPaused);
    }
    if node.deleting {
        reasons.push(Reason::NodeDeleting);
    }
    let lease = row.own_lease();
    if let Some(hold) = lease.and_then(|lease| lease.spec.hold.as_ref()) {
        reasons.push(Reason::Held {
            by: hold.by.clone(),
            why: hold.reason.clone(),
        });
    }
    reasons
}

/// Everything that definitely forbids a reboot of this node to start now, most general first.
pub(crate) fn definite(index: &Index<'_>, row: &Row<'_>, stage: Stage) -> Vec<Reason> {
    let (snapshot, lease) = (index.snapshot, row.own_lease());
    let mut reasons = general(index, row);
    match row
        .policy
        .and_then(|place| Some((place, snapshot.policies.get(place)?)))
    {
        Some((place, policy)) => {
            reasons.extend(of_policy(policy, lease));
            reasons.extend(disruption::refusal(&policy.spec.cooperate, row.node));
            let window = Override::Window;
            let any_time = lease
                .and_then(RebootLease::manual)
                .is_some_and(|request| request.overrides(window));
            if policy.parsed.is_ok() && !any_time {
                let schedule = index.schedule(place);
                reasons.extend(
                    schedule
                        .and_then(|schedule| schedule.refusal(stage))
                        .cloned(),
                );
            }
        }
        None => reasons.extend(govern::refusal(snapshot, row.node)),
    }
    reasons
}

/// What one policy forbids, whatever its schedule says.
fn of_policy(policy: &PolicyView, lease: Option<&RebootLease>) -> Vec<Reason> {
    let request = lease.and_then(RebootLease::manual);
    let name = || policy.name.clone();
    let parsed = match &policy.parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            return vec![Reason::PolicyInvalid {
                policy: name(),
                message: error.to_string(),
            }];
        }
    };
    let mut reasons = Vec::new();
    if policy.spec.paused {
        reasons.push(Reason::PolicyPaused { policy: name() });
    }
    if !parsed.grants() {
        reasons.push(Reason::ObserveMode { policy: name() });
    }
    // Whoever asks for a reboot approves of it.
    let approved = request.is_some() || lease.is_some_and(RebootLease::is_approved);
    if policy.spec.mode == Mode::Approve && !approved {
        reasons.push(Reason::NotApproved { policy: name() });
    }
    reasons
}

/// Why the schedule lets nothing at this stage go on, if it does not.
pub(crate) fn schedule_refusal(
    snapshot: &Snapshot,
    policy: &PolicyView,
    (opening, stage): (Opening, Stage),
    now: Timestamp,
) -> Option<Reason> {
    let parsed = policy.parsed.as_ref().ok()?;
    let needs = needs(snapshot, policy, parsed);
    let needs = match stage {
        Stage::Start => needs.start,
        Stage::Finish => needs.finish,
    };
    schedule::refusal((&policy.name, parsed), opening, needs, now)
}

/// What a reboot of the policy needs until the window ends, by what the ledger remembers.
pub fn needs(snapshot: &Snapshot, policy: &PolicyView, parsed: &ValidatedPolicy) -> Needs {
    let status = snapshot
        .ledger
        .present()
        .and_then(|ledger| ledger.status.as_ref());
    let record = status.and_then(|status| breaker::record(status, &policy.uid));
    pace::needs(parsed, record)
}

/// The schedule of the policy that governs the node.
pub fn schedule(policy: &PolicyView, now: Timestamp) -> Option<Opening> {
    let parsed = policy.parsed.as_ref().ok()?;
    Some(schedule::opening(parsed, now))
}

/// When a window that is open now no longer leaves enough time: the answer of [`definite`] changes
/// then, before the window's own edge.
pub(crate) fn schedule_wakes(index: &Index<'_>, place: usize) -> Vec<Timestamp> {
    let (snapshot, now) = (index.snapshot, index.now);
    let Some(policy) = snapshot.policies.get(place) else {
        return Vec::new();
    };
    let opening = index.schedule(place).and_then(|schedule| schedule.opening);
    let (Some(opening), Ok(parsed)) = (opening, &policy.parsed) else {
        return Vec::new();
    };
    let needs = needs(snapshot, policy, parsed);
    let last = |needs: SignedDuration| match opening {
        Opening::Open { span } => span
            .end
            .checked_sub(needs)
            .ok()
            .and_then(|time| time.checked_add(SignedDuration::from_millis(1)).ok()),
        Opening::Always | Opening::Closed { .. } => None,
    };
    opening
        .edge()
        .into_iter()
        .chain(last(needs.start))
        .chain(last(needs.finish))
        .filter(|time| *time > now)
        .collect()
}

/// Everything that could not be observed.
pub fn doubts(snapshot: &Snapshot) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = snapshot
        .gaps
        .iter()
        .map(|gap| {
            let gap = gap.clone();
            match gap {
                Gap::AdmissionMissing { .. } | Gap::AdmissionUnknown { .. } => {
                    Reason::AdmissionNotProved { gap }
                }
                Gap::Unsynced { .. } | Gap::Undecodable { .. } | Gap::ClockSkew { .. } => {
                    Reason::NotObserved { gap }
                }
            }
        })
        .collect();
    match &snapshot.ledger {
        LedgerState::Present(ledger) if ledger.status.is_some() => {}
        LedgerState::Present(_) | LedgerState::Missing | LedgerState::Unknown => {
            reasons.push(Reason::LedgerMissing);
        }
    }
    reasons
}

/// Why the node's need does not count, if it does not.
pub fn need_refusal(
    policy: Option<&PolicyView>,
    node: &NodeView,
    now: Timestamp,
) -> Option<Reason> {
    let need = match need::of(policy, node, now) {
        // The policy's own word: nothing that a node says of itself could stand for it.
        Cow::Owned(_) => return None,
        Cow::Borrowed(need) => need,
    };
    match need {
        Need::Unreported => Some(Reason::NotReported),
        Need::NotRequired => Some(Reason::NotRequired),
        Need::Unknown { message } => Some(Reason::CheckFailed {
            message: message.clone(),
        }),
        Need::Required { reason, .. } => {
            let parsed = policy.and_then(|policy| policy.parsed.as_ref().ok())?;
            (!parsed.spec.triggers.counts_reason(reason)).then(|| Reason::CheckNotCounted {
                policy: policy.map(|policy| policy.name.clone()).unwrap_or_default(),
                check: checks::named(reason).collect::<Vec<_>>().join(", "),
            })
        }
    }
}

/// What follows from failures of this node, by the policy that governs it.
pub(crate) fn failure_settings(row: &Row<'_>) -> FailureSettings {
    row.governance
        .policy()
        .map(|policy| policy.spec.failure.clone())
        .unwrap_or_default()
}

/// What else a grant has to wait for: the node itself, its agent, its past and other control-plane
/// nodes. The budget is not here: it is decided in the ledger.
pub(crate) fn before_grant(index: &Index<'_>, row: &Row<'_>, lease: &RebootLease) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if !row.node.ready {
        reasons.push(Reason::NodeNotReady);
    }
    if !index.snapshot.agents.contains(&row.node.name) {
        reasons.push(Reason::AgentNotReady);
    }
    let settings = failure_settings(row);
    reasons.extend(backoff::loop_guard(lease, &settings, index.now));
    reasons.extend(control_plane_health(index, row.node));
    reasons
}

/// For a control-plane node: another one that is not Ready (faults.md S8).
pub(crate) fn control_plane_health(index: &Index<'_>, node: &NodeView) -> Option<Reason> {
    if !node.is_control_plane() {
        return None;
    }
    let mut others = index.control_plane_down().iter();
    others
        .find(|other| **other != node.name)
        .map(|other| Reason::ControlPlaneNotReady {
            node: (*other).to_owned(),
        })
}
