//! A node without a slot: whether it needs a lease, may be granted a reboot, or is at rest.

use jiff::Timestamp;
use slipway_api::people::Override;
use slipway_api::{Phase, RebootLease, Slot};

use crate::action::{Action, GrantRequest};
use crate::backoff;
use crate::gates;
use crate::govern::Governance;
use crate::index::{Index, Row};
use crate::need;
use crate::reason::Reason;
use crate::snapshot::{LedgerState, Need, NodeView};
use crate::turn::Place;

/// What a node without a slot needs now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resting {
    pub(crate) actions: Vec<Action>,
    /// Everything it waits for, the first one shown first.
    pub(crate) reasons: Vec<Reason>,
    /// Nothing but the budget and the others stands in its way.
    pub(crate) candidate: Option<Candidate>,
    pub(crate) wakes: Vec<Timestamp>,
}

/// A node that may be granted a reboot if the budget allows it.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) request: GrantRequest,
    pub(crate) requested_at: Timestamp,
}

impl Resting {
    fn waits(reasons: Vec<Reason>) -> Self {
        Self {
            reasons,
            ..Self::default()
        }
    }

    fn act(action: Action, reasons: Vec<Reason>) -> Self {
        Self {
            actions: vec![action],
            reasons,
            ..Self::default()
        }
    }
}

/// Decides for a node that holds no slot.
pub(crate) fn step(index: &Index<'_>, row: &Row<'_>) -> Resting {
    // Nearly every node nearly always: waiting for nothing.
    if row.at_rest {
        return Resting::default();
    }
    let (snapshot, node) = (index.snapshot, row.node);
    let Some(lease) = row.lease else {
        return without_lease(index, row);
    };
    if lease.spec.node_uid != node.uid {
        return Resting::waits(vec![Reason::LeaseOfFormerNode]);
    }
    if matches!(snapshot.ledger, LedgerState::Unknown | LedgerState::Missing) {
        // Nothing is concluded from slots that cannot be seen, but how the last reboot ended.
        return match lease.phase() {
            Phase::Completed | Phase::Aborted | Phase::Failed => ended(index, row, lease),
            _ => Resting::waits(vec![Reason::LedgerMissing]),
        };
    }
    let mut resting = match lease.phase() {
        Phase::Draining | Phase::Drained | Phase::Rebooting | Phase::Rebooted => {
            lost_slot(node, lease)
        }
        Phase::Pending | Phase::Granted => unaccepted(index, row, lease),
        Phase::Completed | Phase::Aborted | Phase::Failed => ended(index, row, lease),
    };
    let reference = row.governance.reference();
    if lease.spec.policy != reference && !lease.phase().is_accepted() {
        resting.actions.insert(
            0,
            Action::PointLease {
                node: node.name.clone(),
                policy: reference,
            },
        );
    }
    resting
}

fn without_lease(index: &Index<'_>, row: &Row<'_>) -> Resting {
    let (node, governance) = (row.node, row.governance);
    if let Some(reason) = gates::need_refusal(governance.policy(), node, index.now) {
        return Resting::waits(vec![reason]);
    }
    let reasons = waiting_for(index, row);
    let need = need::of(governance.policy(), node, index.now);
    let Need::Required { since, .. } = need.as_ref() else {
        return Resting::waits(reasons);
    };
    match governance {
        // Nobody asked for this node: nothing is written about it.
        Governance::None => Resting::waits(reasons),
        Governance::Policy(_) | Governance::Conflict => Resting::act(
            Action::CreateLease {
                node: node.name.clone(),
                node_uid: node.uid.clone(),
                policy: governance.reference(),
                requested_at: *since,
            },
            reasons,
        ),
    }
}

/// A live reboot without its slot: the ledger was edited or lost. It gets it back, else the budget
/// would not know of it (S1c).
fn lost_slot(node: &NodeView, lease: &RebootLease) -> Resting {
    let slot = Slot {
        node: node.name.clone(),
        node_uid: node.uid.clone(),
        lease_uid: lease.metadata.uid.clone().unwrap_or_default(),
        policy_uid: lease
            .spec
            .policy
            .as_ref()
            .map(|policy| policy.uid.clone())
            .unwrap_or_default(),
        fence: lease.accepted_fence(),
        control_plane: node.is_control_plane(),
        ..Slot::default()
    };
    Resting::act(Action::RestoreSlot { slot }, vec![Reason::SlotHeld])
}

fn unaccepted(index: &Index<'_>, row: &Row<'_>, lease: &RebootLease) -> Resting {
    let node = row.node;
    if let Some(grant) = lease.open_grant() {
        // A grant without its slot is never accepted: called off, so that it shows (F38).
        let action = Action::Revoke {
            node: node.name.clone(),
            fence: grant.fence,
            reason: Reason::Voided,
        };
        return Resting::act(action, vec![Reason::Voided]);
    }
    if lease.phase() == Phase::Granted {
        let action = Action::ShowPhase {
            node: node.name.clone(),
            phase: Phase::Pending,
        };
        return Resting::act(action, waiting_for(index, row));
    }
    let policy = row.governance.policy();
    let asked = lease.open_request().is_some();
    match gates::need_refusal(policy, node, index.now).filter(|_| !asked) {
        Some(Reason::NotRequired | Reason::CheckNotCounted { .. }) => Resting::act(
            Action::CloseLease {
                node: node.name.clone(),
            },
            vec![Reason::NoLongerNeeded],
        ),
        Some(reason) => Resting::waits(vec![reason]),
        None => pending(index, row, lease),
    }
}

fn pending(index: &Index<'_>, row: &Row<'_>, lease: &RebootLease) -> Resting {
    let (node, policy) = (row.node, row.governance.policy());
    let mut reasons = waiting_for(index, row);
    reasons.extend(gates::before_grant(index, row, lease));
    let wakes = wakes_of(&reasons);
    let candidate = policy
        .filter(|_| reasons.is_empty())
        .map(|policy| Candidate {
            request: GrantRequest {
                node: node.name.clone(),
                node_uid: node.uid.clone(),
                lease_uid: lease.metadata.uid.clone().unwrap_or_default(),
                policy: policy.reference(),
                control_plane: node.is_control_plane(),
                place: Place::default(),
                drain: policy.spec.drain.clone(),
                reboot: policy.spec.reboot.clone(),
                verify: policy.spec.verify.clone(),
                triggers: policy.spec.triggers.clone(),
                request: lease.open_request().cloned(),
            },
            requested_at: lease.spec.requested_at.0,
        });
    Resting {
        reasons,
        candidate,
        wakes,
        ..Resting::default()
    }
}

fn ended(index: &Index<'_>, row: &Row<'_>, lease: &RebootLease) -> Resting {
    let (node, now) = (row.node, index.now);
    let outcome = outcome(lease);
    let request = lease.open_request();
    let policy = row.governance.policy();
    let needed = gates::need_refusal(policy, node, now).is_none();
    let since = new_need(&need::of(policy, node, now), lease).filter(|_| needed);
    let Some(since) = since.or_else(|| request.map(|_| now)) else {
        return Resting::waits(vec![outcome]);
    };
    // An approval of the ended reboot must not count for this one (F106): it names another time.
    let since = if since.as_second() > lease.spec.requested_at.0.as_second() {
        since
    } else {
        later(now, lease.spec.requested_at.0)
    };
    // Approval is asked for once the lease waits again: it has to name the new time.
    let mut waits = waiting_for(index, row);
    waits.retain(|reason| !matches!(reason, Reason::NotApproved { .. }));
    let settings = gates::failure_settings(row);
    let pause = backoff::pause(lease, &settings, now);
    waits.extend(pause.filter(|_| !request.is_some_and(|one| one.overrides(Override::Backoff))));
    if waits.is_empty() {
        let action = Action::ReopenLease {
            node: node.name.clone(),
            fence: lease.accepted_fence(),
            requested_at: since,
        };
        return Resting::act(action, vec![outcome]);
    }
    let wakes = wakes_of(&waits);
    let reasons = std::iter::once(outcome).chain(waits).collect();
    Resting {
        reasons,
        wakes,
        ..Resting::default()
    }
}

/// `now`, but never in the same second as `before`: conditions and approvals carry whole seconds.
fn later(now: Timestamp, before: Timestamp) -> Timestamp {
    if now.as_second() > before.as_second() {
        return now;
    }
    before
        .checked_add(jiff::SignedDuration::from_secs(1))
        .unwrap_or(now)
}

fn outcome(lease: &RebootLease) -> Reason {
    let (reason, message) = lease.status.as_ref().map_or_else(
        || (String::new(), String::new()),
        |status| (status.reason.clone(), status.message.clone()),
    );
    Reason::Ended { reason, message }
}

/// When the need arose that a lease which has ended does not speak of yet.
///
/// After a completed reboot the Node in our cache may still be that of before: only a need that is
/// younger than the reboot is a new one. Conditions carry whole seconds.
pub(crate) fn new_need(need: &Need, lease: &RebootLease) -> Option<Timestamp> {
    let Need::Required { since, .. } = need else {
        return None;
    };
    let rebooted = lease
        .status
        .as_ref()
        .and_then(|status| status.last_reboot_at.as_ref());
    match (lease.phase(), rebooted) {
        (Phase::Completed, Some(rebooted)) if since.as_second() < rebooted.0.as_second() => None,
        _ => Some(*since),
    }
}

/// What a node waits for before its own state and the budget are asked.
fn waiting_for(index: &Index<'_>, row: &Row<'_>) -> Vec<Reason> {
    let mut reasons = gates::definite(index, row, gates::Stage::Start);
    reasons.extend(gates::doubts(index.snapshot));
    reasons
}

fn wakes_of(reasons: &[Reason]) -> Vec<Timestamp> {
    reasons
        .iter()
        .filter_map(|reason| match reason {
            Reason::BackingOff { until, .. }
            | Reason::Undrainable { until, .. }
            | Reason::DrainCausesBlock { until, .. }
            | Reason::TooManyReboots { until, .. } => Some(*until),
            _ => None,
        })
        .collect()
}
