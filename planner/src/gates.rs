//! What stands between a need and a reboot, for one node.
//!
//! Two kinds: a definite no (policy, window, pause), which also calls off a drain under way, and a
//! doubt (something could not be observed), which only makes it wait.

use jiff::{SignedDuration, Timestamp};
use slipway_api::{RebootLease, names};

use crate::backoff;
use crate::govern::{self, governance};
use crate::limits::WINDOW_LEFT_AT_CLEAR;
use crate::reason::Reason;
use crate::snapshot::{LedgerState, Need, NodeView, PolicyView, Snapshot};
use crate::window::{Opening, opening};

/// Everything that definitely forbids a reboot of this node to start now, most general first.
pub fn definite(snapshot: &Snapshot, node: &NodeView, now: Timestamp) -> Vec<Reason> {
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
    match governance(snapshot, node).policy() {
        Some(policy) => reasons.extend(of_policy(policy, now)),
        None => reasons.extend(govern::refusal(snapshot, node)),
    }
    reasons
}

/// What one policy forbids now.
fn of_policy(policy: &PolicyView, now: Timestamp) -> Vec<Reason> {
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
    let opening = opening(&parsed.windows, &parsed.zone, now);
    if !opening.is_open_for(WINDOW_LEFT_AT_CLEAR, now) {
        reasons.push(Reason::WindowClosed {
            policy: name(),
            opens: opening.opens(),
        });
    }
    reasons
}

/// The schedule of the policy that governs the node.
pub fn schedule(policy: &PolicyView, now: Timestamp) -> Option<Opening> {
    let parsed = policy.parsed.as_ref().ok()?;
    Some(opening(&parsed.windows, &parsed.zone, now))
}

/// When a window that is open now no longer leaves enough time: the answer of [`definite`] changes
/// then, before the window's own edge.
pub fn schedule_wakes(policy: &PolicyView, now: Timestamp) -> Vec<Timestamp> {
    let Some(opening) = schedule(policy, now) else {
        return Vec::new();
    };
    let last_start = match opening {
        Opening::Open { span } => span
            .end
            .checked_sub(WINDOW_LEFT_AT_CLEAR)
            .ok()
            .and_then(|time| time.checked_add(SignedDuration::from_millis(1)).ok()),
        Opening::Always | Opening::Closed { .. } => None,
    };
    opening
        .edge()
        .into_iter()
        .chain(last_start)
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
    reasons.extend(backoff::loop_guard(lease, now));
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
