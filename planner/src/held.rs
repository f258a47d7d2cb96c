//! A node that holds a slot: what happens to its reboot next.

use jiff::Timestamp;
use slipway_api::blockers::BlockerRule;
use slipway_api::lease::Grant;
use slipway_api::people::Release;
use slipway_api::{Phase, RebootLease, Slot};

use crate::action::{Action, FreeBecause};
use crate::breaker;
use crate::clear;
use crate::index::{Index, Row};
use crate::limits::{ACCEPT_LIMIT, CLEAR_REFRESH, GONE_NODE_KEEPS_SLOT};
use crate::reason::Reason;
use crate::snapshot::{CordonState, Gap, NodeView, Snapshot};
use crate::verify::{self, Conclusion, Question};

/// What one slot needs now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    pub(crate) actions: Vec<Action>,
    pub(crate) reason: Option<Reason>,
    /// What a node that is verified waits for.
    pub(crate) waits: Vec<Reason>,
    /// What has to be asked to verify it.
    pub(crate) questions: Vec<(Question, BlockerRule)>,
    pub(crate) wakes: Vec<Timestamp>,
}

impl Held {
    fn because(reason: Reason) -> Self {
        Self {
            reason: Some(reason),
            ..Self::default()
        }
    }

    fn act(action: Action, reason: Reason) -> Self {
        Self {
            actions: vec![action],
            reason: Some(reason),
            ..Self::default()
        }
    }
}

/// How long a drained node without its second key waits before it is looked at again: nothing but
/// time announces that the last pod has gone or a doubt is resolved.
const RETRY_CLEAR: jiff::SignedDuration = jiff::SignedDuration::from_secs(2);

/// Decides for one slot.
pub(crate) fn step(index: &Index<'_>, slot: &Slot) -> Held {
    let (snapshot, now) = (index.snapshot, index.now);
    let row = index.row(&slot.node);
    let Some(row) = row.filter(|row| row.node.uid == slot.node_uid) else {
        return without_node(snapshot, slot, now);
    };
    let node = row.node;
    let Some(lease) = row.lease.filter(|lease| speaks_for(lease, slot)) else {
        if is_unsynced(snapshot) {
            return Held::because(Reason::AnswerOwed);
        }
        return Held::act(
            Action::DemandAnswer { slot: slot.clone() },
            Reason::AnswerOwed,
        );
    };
    if lease.is_over(slot.fence) {
        return over(slot, lease, node, now);
    }
    if let Some(release) = lease.release_of(slot.fence) {
        return released(slot, lease, release, now);
    }
    match lease
        .spec
        .grant
        .as_ref()
        .filter(|grant| grant.fence == slot.fence)
    {
        Some(grant) => {
            let mut held = granted(index, row, lease, grant);
            held.actions.extend(note_stuck(snapshot, slot, &held));
            held
        }
        // Found without its grant: voided, never granted late and never freed as "missing" (G3).
        None => revoke(slot, Reason::Voided),
    }
}

/// The lease may speak for the slot: it is the one the slot was made for, or one that was made
/// anew and has been asked (faults.md Q1).
fn speaks_for(lease: &RebootLease, slot: &Slot) -> bool {
    lease.spec.node_uid == slot.node_uid
        && (lease.metadata.uid.as_deref() == Some(slot.lease_uid.as_str())
            || (lease.accepted_fence() >= slot.fence && lease.granted_fence() >= slot.fence))
}

/// A node that did not come back in time is a failure for the breaker while it holds its slot.
fn note_stuck(snapshot: &Snapshot, slot: &Slot, held: &Held) -> Option<Action> {
    let status = snapshot.ledger.present()?.status.as_ref()?;
    let stuck = matches!(held.reason, Some(Reason::Stuck { .. }));
    (stuck && !slot.policy_uid.is_empty() && !breaker::is_noted(status, slot))
        .then(|| Action::NoteStuck { slot: slot.clone() })
}

fn is_unsynced(snapshot: &Snapshot) -> bool {
    snapshot
        .gaps
        .iter()
        .any(|gap| matches!(gap, Gap::Unsynced { .. } | Gap::Undecodable { .. }))
}

fn without_node(snapshot: &Snapshot, slot: &Slot, now: Timestamp) -> Held {
    let Some(since) = snapshot.gone.get(&slot.node_uid) else {
        return Held::because(Reason::SlotHeld);
    };
    let due = since
        .saturating_add(GONE_NODE_KEEPS_SLOT)
        .unwrap_or(Timestamp::MAX);
    if now < due {
        return Held {
            wakes: vec![due],
            ..Held::because(Reason::SlotHeld)
        };
    }
    let free = Action::FreeSlot {
        slot: slot.clone(),
        because: FreeBecause::NodeGone,
    };
    Held::act(free, Reason::SlotHeld)
}

/// A human gives this reboot up. One that was not accepted is called off; else the lease ends by our
/// hand, because the agent may be gone for good. Whatever the agent still writes then fails.
fn released(slot: &Slot, lease: &RebootLease, release: &Release, now: Timestamp) -> Held {
    let reason = Reason::Released {
        by: release.by.clone(),
        why: release.reason.clone(),
    };
    if lease.accepted_fence() != slot.fence {
        return revoke(slot, reason);
    }
    if let Some(until) = verify::release_waits(lease, release, now) {
        return Held {
            wakes: vec![until],
            ..Held::because(Reason::ReleaseWaits { until })
        };
    }
    let action = Action::Release {
        node: slot.node.clone(),
        fence: slot.fence,
    };
    Held::act(action, reason)
}

fn over(slot: &Slot, lease: &RebootLease, node: &NodeView, now: Timestamp) -> Held {
    match node.cordon {
        CordonState::Absent => Held::act(
            Action::FreeSlot {
                slot: slot.clone(),
                because: FreeBecause::Over,
            },
            Reason::SlotHeld,
        ),
        // The agent removes it; until then the node is down because of us (S1b), unless a human
        // has said that it does not count any more (S5).
        CordonState::Ours(_) | CordonState::Unreadable => match verify::released_at(lease, slot) {
            Some(at) if now >= at => Held::act(
                Action::FreeSlot {
                    slot: slot.clone(),
                    because: FreeBecause::Released,
                },
                Reason::SlotHeld,
            ),
            wake => Held {
                wakes: wake.into_iter().collect(),
                ..Held::because(Reason::SlotHeld)
            },
        },
    }
}

fn revoke(slot: &Slot, reason: Reason) -> Held {
    let action = Action::Revoke {
        node: slot.node.clone(),
        fence: slot.fence,
        reason: reason.clone(),
    };
    Held::act(action, reason)
}

/// A grant that is not over.
fn granted(index: &Index<'_>, row: &Row<'_>, lease: &RebootLease, grant: &Grant) -> Held {
    let (node, now) = (row.node, index.now);
    let fence = grant.fence;
    if lease.is_revoked(fence) {
        // Accepted, else it would be over: the agent undoes and says so.
        return Held::because(revoked_reason(lease));
    }
    let call_off = |reason: Reason| {
        let action = Action::Revoke {
            node: node.name.clone(),
            fence,
            reason: reason.clone(),
        };
        Held::act(action, reason)
    };
    let refusal = || refusal(index, row, lease);
    match lease.phase() {
        Phase::Pending | Phase::Granted | Phase::Completed | Phase::Aborted | Phase::Failed => {
            match refusal().or_else(|| unaccepted(lease, grant, now)) {
                Some(reason) => call_off(reason),
                None => waiting_for_agent(node, lease, grant),
            }
        }
        Phase::Draining => refusal().map_or_else(|| Held::because(Reason::Draining), call_off),
        Phase::Drained => refusal().map_or_else(
            || Held {
                reason: key_waits_for(index, row)
                    .or_else(|| clear::delayed(lease, now))
                    .or(Some(Reason::Drained)),
                ..drained(node, lease, fence, now)
            },
            call_off,
        ),
        Phase::Rebooting => away(lease, grant, now, Reason::Rebooting),
        Phase::Rebooted => rebooted(index, node, lease, grant),
    }
}

/// The definite no, in the words of what happened to the policy.
fn refusal(index: &Index<'_>, row: &Row<'_>, lease: &RebootLease) -> Option<Reason> {
    let snapshot = index.snapshot;
    let reason = clear::refusal(index, row)?;
    let granted_by = lease.spec.policy.as_ref();
    let gone = granted_by.filter(|policy| {
        !snapshot
            .policies
            .iter()
            .any(|present| present.uid == policy.uid && !present.deleting)
    });
    match (&reason, gone) {
        (Reason::NoPolicy, Some(policy)) => Some(Reason::PolicyDeleted {
            policy: policy.name.clone(),
        }),
        _ => Some(reason),
    }
}

fn revoked_reason(lease: &RebootLease) -> Reason {
    lease
        .spec
        .revoke
        .as_ref()
        .map_or(Reason::Voided, |revoke| Reason::Ended {
            reason: revoke.reason.clone(),
            message: revoke.message.clone(),
        })
}

/// Why a grant that was not accepted yet is called off.
fn unaccepted(lease: &RebootLease, grant: &Grant, now: Timestamp) -> Option<Reason> {
    let journal = lease
        .status
        .as_ref()
        .map_or(0, |status| status.journal_fence);
    if journal >= grant.fence {
        return Some(Reason::JournalAhead);
    }
    (now.duration_since(grant.granted_at.0) >= ACCEPT_LIMIT).then_some(Reason::AgentSilent)
}

fn waiting_for_agent(node: &NodeView, lease: &RebootLease, grant: &Grant) -> Held {
    let deadline = grant
        .granted_at
        .0
        .saturating_add(ACCEPT_LIMIT)
        .unwrap_or(Timestamp::MAX);
    let actions = if lease.phase() == Phase::Pending {
        vec![Action::ShowPhase {
            node: node.name.clone(),
            phase: Phase::Granted,
        }]
    } else {
        Vec::new()
    };
    Held {
        actions,
        reason: Some(Reason::Granted),
        wakes: vec![deadline],
        ..Held::default()
    }
}

/// What the second key waits for, as far as a pass can tell.
fn key_waits_for(index: &Index<'_>, row: &Row<'_>) -> Option<Reason> {
    let unread = clear::policy_unread(index, row);
    let unread = unread.map(|gap| Reason::NotObserved { gap: gap.clone() });
    unread.or_else(|| index.excess().keeps(&row.node.name).cloned())
}

fn drained(node: &NodeView, lease: &RebootLease, fence: i64, now: Timestamp) -> Held {
    let turned = lease
        .spec
        .clear
        .as_ref()
        .filter(|clear| clear.fence == fence);
    let clear = Action::Clear {
        node: node.name.clone(),
        fence,
    };
    let Some(turned) = turned else {
        // Asked for all the same: the answer is what people see in the lease.
        let delay = clear::delayed(lease, now).and_then(|reason| reason.until());
        let again = now.saturating_add(RETRY_CLEAR).unwrap_or(Timestamp::MAX);
        let again = delay.unwrap_or(again);
        return Held {
            wakes: vec![again],
            ..Held::act(clear, Reason::Drained)
        };
    };
    let due = turned
        .at
        .0
        .saturating_add(CLEAR_REFRESH)
        .unwrap_or(Timestamp::MAX);
    if now < due {
        return Held {
            wakes: vec![due],
            ..Held::because(Reason::Drained)
        };
    }
    let again = now.saturating_add(RETRY_CLEAR).unwrap_or(Timestamp::MAX);
    Held {
        wakes: vec![again],
        ..Held::act(clear, Reason::Drained)
    }
}

fn away(lease: &RebootLease, grant: &Grant, now: Timestamp, reason: Reason) -> Held {
    if let Some(since) = verify::stuck_since(lease, now) {
        return Held::because(Reason::Stuck { since });
    }
    let committed = lease
        .status
        .iter()
        .flat_map(|status| status.transitions.iter().rev())
        .find(|entry| entry.phase == Phase::Rebooting)
        .map(|entry| entry.at.0);
    let wakes = committed.map(|at| verify::stuck_at(at, grant.reboot.timeout.signed()));
    Held {
        wakes: wakes.into_iter().collect(),
        ..Held::because(reason)
    }
}

fn rebooted(index: &Index<'_>, node: &NodeView, lease: &RebootLease, grant: &Grant) -> Held {
    let now = index.now;
    let mut held = away(lease, grant, now, Reason::Verifying);
    held.questions = verify::questions(lease, node, now);
    match verify::judge(lease, node, &index.snapshot.blockers, now) {
        Conclusion::Complete | Conclusion::Fail(_) => {
            held.actions.push(Action::Conclude {
                node: node.name.clone(),
                fence: grant.fence,
            });
            held.reason = Some(Reason::Verifying);
        }
        Conclusion::Wait { until } => held.wakes.extend(until),
        // It is back: overdue is something else.
        Conclusion::Verify { until, waits } => {
            held.reason = Some(Reason::Verifying);
            held.waits = waits;
            held.wakes.extend(until);
        }
    }
    held
}
