//! An independent judgement of a plan, before every apply, in production too.
//!
//! It repeats none of the planner's code on purpose: a mistake there must not hide itself here.
//! A plan that breaks a rule is not applied; that is a metric and an event, never a crash loop.

mod fleet;
mod grant;
mod limits;
mod marks;

use std::cmp::Ordering;

use jiff::Timestamp;
use slipway_api::{Phase, Slot};

use crate::action::{Action, FreeBecause, GrantRequest, Plan};
use crate::limits::GONE_NODE_KEEPS_SLOT;
use crate::snapshot::{CordonState, Snapshot};
use fleet::Fleet;

/// A rule that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule, by its name in `docs/design/faults.md`.
    pub rule: &'static str,
    /// What would happen.
    pub message: String,
}

/// Every rule that the plan breaks; empty for a plan that may be applied.
pub fn check(snapshot: &Snapshot, plan: &Plan, now: Timestamp) -> Vec<Violation> {
    let mut found = Vec::new();
    let grants: Vec<&GrantRequest> = plan
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Grant(request) => Some(request),
            _ => None,
        })
        .collect();
    if !grants.is_empty() {
        let fleet = Fleet::of(snapshot);
        for request in &grants {
            found.extend(grant::grant(&fleet, request, now));
        }
        found.extend(limits::budgets(&fleet, &grants));
        found.extend(limits::control_plane(snapshot, &grants));
        found.extend(limits::limits(&fleet, &grants, now));
    }
    for action in &plan.actions {
        match action {
            Action::FreeSlot { slot, because } => {
                found.extend(free(snapshot, slot, *because, now));
            }
            Action::Clear { node, fence } => found.extend(clear(snapshot, node, *fence)),
            Action::MarkNode {
                node,
                node_uid,
                marks,
            } => found.extend(marks::mark(snapshot, node, node_uid, marks)),
            Action::Revoke { node, fence, .. } => found.extend(revoke(snapshot, node, *fence)),
            _ => {}
        }
    }
    found.extend(without_verdict(snapshot, plan));
    found
}

/// Nodes and verdicts are sorted alike.
fn without_verdict(snapshot: &Snapshot, plan: &Plan) -> Vec<Violation> {
    let mut judged = plan.verdicts.keys().peekable();
    let missing = snapshot.nodes.keys().filter(|name| {
        loop {
            match judged.peek().map(|other| other.cmp(name)) {
                Some(Ordering::Less) => drop(judged.next()),
                Some(Ordering::Equal) => return false,
                Some(Ordering::Greater) | None => return true,
            }
        }
    });
    missing
        .map(|name| violation("V1", format!("node {name} has no verdict")))
        .collect()
}

fn violation(rule: &'static str, message: String) -> Violation {
    Violation { rule, message }
}

fn ledger_slots(snapshot: &Snapshot) -> &[Slot] {
    snapshot
        .ledger
        .present()
        .and_then(|ledger| ledger.status.as_ref())
        .map_or(&[], |status| &status.slots)
}

fn free(
    snapshot: &Snapshot,
    slot: &Slot,
    because: FreeBecause,
    now: Timestamp,
) -> Option<Violation> {
    let name = &slot.node;
    let node = snapshot
        .nodes
        .get(name)
        .filter(|node| node.uid == slot.node_uid);
    match because {
        FreeBecause::Over => {
            let over = snapshot
                .leases
                .get(name)
                .is_some_and(|lease| lease.is_over(slot.fence));
            let bare = node.is_some_and(|node| node.cordon == CordonState::Absent);
            (!over || !bare)
                .then(|| violation("S5", format!("the slot of {name} would be freed too early")))
        }
        FreeBecause::Released => {
            let lease = snapshot.leases.get(name);
            let named = lease
                .and_then(|lease| lease.spec.release.as_ref())
                .is_some_and(|release| release.fence == slot.fence);
            let over = lease.is_some_and(|lease| lease.is_over(slot.fence));
            (!named || !over).then(|| {
                violation(
                    "S5",
                    format!("the slot of {name} would be freed though nobody released it"),
                )
            })
        }
        FreeBecause::NodeGone => {
            let long_gone = snapshot
                .gone
                .get(&slot.node_uid)
                .is_some_and(|since| now.duration_since(*since) >= GONE_NODE_KEEPS_SLOT);
            (node.is_some() || !long_gone)
                .then(|| violation("S5", format!("the slot of {name} would be freed by guess")))
        }
    }
}

fn clear(snapshot: &Snapshot, node: &str, fence: i64) -> Option<Violation> {
    let drained = snapshot
        .leases
        .get(node)
        .is_some_and(|lease| lease.phase() == Phase::Drained && lease.is_live(fence));
    let held = ledger_slots(snapshot)
        .iter()
        .any(|slot| slot.node == node && slot.fence == fence);
    (!drained || !held).then(|| {
        violation(
            "G8",
            format!("{node} would get the second key without being drained"),
        )
    })
}

fn revoke(snapshot: &Snapshot, node: &str, fence: i64) -> Option<Violation> {
    let committed = snapshot
        .leases
        .get(node)
        .is_some_and(|lease| lease.phase().is_committed() && lease.accepted_fence() == fence);
    committed.then(|| violation("S6", format!("{node} would be revoked after its commit")))
}
