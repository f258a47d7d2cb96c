//! What stands between a need and a reboot, for one node.
//!
//! Two kinds: a definite no (policy, window, pause), which also calls off a drain under way, and a
//! doubt (something could not be observed), which only makes it wait.

use jiff::{SignedDuration, Timestamp};
use slipway_api::people::{Override, Request};
use slipway_api::policy::{FailureSettings, Mode};
use slipway_api::{RebootLease, ValidatedPolicy, names};

use crate::backoff;
use crate::breaker;
use crate::govern::{self, governance};
use crate::pace::{self, Needs};
use crate::reason::Reason;
use crate::schedule;
use crate::snapshot::{LedgerState, Need, NodeView, PolicyView, Snapshot};
use crate::window::Opening;

/// How far a reboot is: what is left to do decides how much time has to be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has not been granted.
    Start,
    /// It was granted; nothing but the reboot itself is certain to be left.
    Finish,
}

/// Everything that definitely forbids a reboot of this node to start now, most general first.
pub fn definite(snapshot: &Snapshot, node: &NodeView, stage: Stage, now: Timestamp) -> Vec<Reason> {
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
    if let Some(hold) = lease_of(snapshot, node).and_then(|lease| lease.spec.hold.as_ref()) {
        reasons.push(Reason::Held {
            by: hold.by.clone(),
            why: hold.reason.clone(),
        });
    }
    match governance(snapshot, node).policy() {
        Some(policy) => {
            let lease = lease_of(snapshot, node);
            reasons.extend(of_policy(snapshot, policy, lease, stage, now));
        }
        None => reasons.extend(govern::refusal(snapshot, node)),
    }
    reasons
}

/// The lease of this very node.
fn lease_of<'a>(snapshot: &'a Snapshot, node: &NodeView) -> Option<&'a RebootLease> {
    let lease = snapshot.leases.get(&node.name)?;
    (lease.spec.node_uid == node.uid).then_some(lease)
}

/// The human's request behind the node's present reboot.
pub fn manual<'a>(snapshot: &'a Snapshot, node: &NodeView) -> Option<&'a Request> {
    lease_of(snapshot, node)?.manual()
}

/// What one policy forbids now.
fn of_policy(
    snapshot: &Snapshot,
    policy: &PolicyView,
    lease: Option<&RebootLease>,
    stage: Stage,
    now: Timestamp,
) -> Vec<Reason> {
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
    if request.is_some_and(|request| request.overrides(Override::Window)) {
        return reasons;
    }
    let needs = needs(snapshot, policy, parsed);
    let needs = match stage {
        Stage::Start => needs.start,
        Stage::Finish => needs.finish,
    };
    reasons.extend(schedule::refusal(&policy.name, parsed, needs, now));
    reasons
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
pub fn schedule_wakes(snapshot: &Snapshot, policy: &PolicyView, now: Timestamp) -> Vec<Timestamp> {
    let (Some(opening), Ok(parsed)) = (schedule(policy, now), &policy.parsed) else {
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
        .map(|gap| Reason::NotObserved { gap: gap.clone() })
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
pub fn need_refusal(policy: Option<&PolicyView>, node: &NodeView) -> Option<Reason> {
    match &node.need {
        Need::Unreported => Some(Reason::NotReported),
        Need::NotRequired => Some(Reason::NotRequired),
        Need::Unknown { message } => Some(Reason::CheckFailed {
            message: message.clone(),
        }),
        Need::Required { reason, .. } => {
            let parsed = policy.and_then(|policy| policy.parsed.as_ref().ok())?;
            // A check that only a newer agent knows counts where every check counts.
            let check = names::check_of_reason(reason).unwrap_or(reason);
            (!parsed.counts_check(check)).then(|| Reason::CheckNotCounted {
                policy: policy.map(|policy| policy.name.clone()).unwrap_or_default(),
                check: check.to_owned(),
            })
        }
    }
}

/// What follows from failures of this node, by the policy that governs it.
pub fn failure_settings(snapshot: &Snapshot, node: &NodeView) -> FailureSettings {
    governance(snapshot, node)
        .policy()
        .map(|policy| policy.spec.failure.clone())
        .unwrap_or_default()
}

/// What else a grant has to wait for: the node itself, its agent, its past and other control-plane
/// nodes. The budget is not here: it is decided in the ledger.
pub fn before_grant(
    snapshot: &Snapshot,
    node: &NodeView,
    lease: &RebootLease,
    now: Timestamp,
) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if !node.ready {
        reasons.push(Reason::NodeNotReady);
    }
    if !snapshot.agents.contains(&node.name) {
        reasons.push(Reason::AgentNotReady);
    }
    let settings = failure_settings(snapshot, node);
    reasons.extend(backoff::loop_guard(lease, &settings, now));
    reasons.extend(control_plane_health(snapshot, node));
    reasons
}

/// For a control-plane node: another one that is not Ready (faults.md S8).
pub fn control_plane_health(snapshot: &Snapshot, node: &NodeView) -> Option<Reason> {
    if !node.is_control_plane() {
        return None;
    }
    snapshot
        .nodes
        .values()
        .find(|other| other.name != node.name && other.is_control_plane() && !other.ready)
        .map(|other| Reason::ControlPlaneNotReady {
            node: other.name.clone(),
        })
}
