//! An independent judgement of a plan, before every apply, in production too.
//!
//! It repeats none of the planner's code on purpose: a mistake there must not hide itself here.
//! A plan that breaks a rule is not applied; that is a metric and an event, never a crash loop.

mod limits;

use std::collections::BTreeSet;

use jiff::Timestamp;
use slipway_api::blockers::Probe;
use slipway_api::people::Override;
use slipway_api::policy::{BreakerReset, Mode};
use slipway_api::{Phase, Slot};

use crate::action::{Action, FreeBecause, GrantRequest, Plan};
use crate::blockers::Answer;
use crate::limits::{BLOCKER_ANSWER_VALID, GONE_NODE_KEEPS_SLOT};
use crate::schedule::opening;
use crate::snapshot::{CordonState, PolicyView, Snapshot};
use crate::window::Opening;

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
    for request in &grants {
        found.extend(grant(snapshot, request, now));
    }
    found.extend(budgets(snapshot, &grants));
    found.extend(control_plane(snapshot, &grants));
    found.extend(limits::limits(snapshot, &grants, now));
    for action in &plan.actions {
        match action {
            Action::FreeSlot { slot, because } => {
                found.extend(free(snapshot, slot, *because, now));
            }
            Action::Clear { node, fence } => found.extend(clear(snapshot, node, *fence)),
            Action::Revoke { node, fence, .. } => found.extend(revoke(snapshot, node, *fence)),
            _ => {}
        }
    }
    for name in snapshot.nodes.keys() {
        if !plan.verdicts.contains_key(name) {
            found.push(violation("V1", format!("node {name} has no verdict")));
        }
    }
    found
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

fn grant(snapshot: &Snapshot, request: &GrantRequest, now: Timestamp) -> Vec<Violation> {
    let name = &request.node;
    let mut found = Vec::new();
    if !snapshot.gaps.is_empty() {
        found.push(violation(
            "S4",
            format!("{name} would be granted on an incomplete view"),
        ));
    }
    if snapshot
        .ledger
        .present()
        .is_none_or(|ledger| ledger.spec.paused)
    {
        found.push(violation(
            "S4",
            format!("{name} would be granted while all is paused"),
        ));
    }
    if ledger_slots(snapshot).iter().any(|slot| slot.node == *name) {
        found.push(violation("S1d", format!("{name} would hold two slots")));
    }
    found.extend(node_fits(snapshot, request));
    match snapshot
        .policies
        .iter()
        .find(|policy| policy.uid == request.policy.uid)
    {
        Some(policy) => {
            found.extend(policy_allows(snapshot, policy, request, now));
            found.extend(breaker_allows(snapshot, policy, request, now));
            found.extend(blockers_agree(snapshot, policy, name, now));
        }
        None => found.push(violation(
            "S4",
            format!("{name} would be granted by no policy"),
        )),
    }
    let pending = snapshot
        .leases
        .get(name)
        .is_some_and(|lease| lease.phase() == Phase::Pending && lease.open_grant().is_none());
    if !pending {
        found.push(violation(
            "G1",
            format!("{name} would be granted out of phase"),
        ));
    }
    found
}

/// The node needs it, and is fit for it.
fn node_fits(snapshot: &Snapshot, request: &GrantRequest) -> Vec<Violation> {
    let name = &request.node;
    let mut found = Vec::new();
    let node = snapshot
        .nodes
        .get(name)
        .filter(|node| node.uid == request.node_uid);
    let asked = snapshot
        .leases
        .get(name)
        .and_then(|lease| lease.spec.request.as_ref().map(|one| (lease, one)))
        .is_some_and(|(lease, one)| one.after_fence == lease.accepted_fence());
    if snapshot
        .leases
        .get(name)
        .is_some_and(|lease| lease.spec.hold.is_some())
    {
        found.push(violation("S4", format!("{name} would be granted on hold")));
    }
    match node {
        Some(node) if (node.need.is_required() || asked) && node.ready && !node.deleting => {}
        Some(_) | None => {
            found.push(violation(
                "S7",
                format!("{name} would be granted without need or unfit"),
            ));
        }
    }
    if !snapshot.agents.contains(name) {
        found.push(violation(
            "F14",
            format!("{name} would be granted without a Ready agent"),
        ));
    }
    found
}

/// Counts the nodes that failed lately, the slow way round.
fn breaker_allows(
    snapshot: &Snapshot,
    policy: &PolicyView,
    request: &GrantRequest,
    now: Timestamp,
) -> Option<Violation> {
    let settings = &policy.spec.failure;
    let records = snapshot.ledger.present()?.status.as_ref()?.policies.iter();
    let failed: Vec<_> = records
        .filter(|record| record.uid == policy.uid)
        .flat_map(|record| &record.failures)
        .filter(|failure| now.duration_since(failure.at.0) < settings.within.signed())
        .filter(|failure| {
            settings
                .reset_at
                .as_ref()
                .is_none_or(|reset| failure.at.0 > reset.0)
        })
        .collect();
    let nodes: BTreeSet<&str> = failed.iter().map(|failure| failure.node.as_str()).collect();
    let few = nodes.len() < usize::try_from(settings.max_failures).unwrap_or(0).max(1);
    let last = failed.iter().map(|failure| failure.at.0).max();
    let rested = last.is_some_and(|at| now.duration_since(at) >= settings.backoff.signed());
    let mut held = ledger_slots(snapshot).iter();
    let alone = !held.any(|slot| slot.policy_uid == policy.uid);
    let probes = settings.reset == BreakerReset::Automatic && rested && alone;
    let named = request
        .request
        .as_ref()
        .is_some_and(|one| one.overrides.contains(&Override::Breaker));
    (!few && !probes && !named).then(|| {
        violation(
            "S4",
            format!("{} would be granted against an open breaker", request.node),
        )
    })
}

fn policy_allows(
    snapshot: &Snapshot,
    policy: &PolicyView,
    request: &GrantRequest,
    now: Timestamp,
) -> Vec<Violation> {
    let node = &request.node;
    let mut found = Vec::new();
    let Ok(parsed) = &policy.parsed else {
        return vec![violation(
            "S4",
            format!("{node} would be granted by a broken policy"),
        )];
    };
    let lease = snapshot.leases.get(node);
    let approved = request.request.is_some()
        || lease.is_some_and(|lease| {
            let spec = &lease.spec;
            let named = spec
                .approved
                .as_ref()
                .map(|one| one.requested_at.0.as_second());
            named == Some(spec.requested_at.0.as_second())
        });
    let grants = match policy.spec.mode {
        Mode::Automatic => true,
        Mode::Approve => approved,
        Mode::Observe => false,
    };
    if policy.spec.paused || policy.deleting || !grants {
        found.push(violation(
            "S4",
            format!("policy {} does not grant now", policy.name),
        ));
    }
    let any_time = request
        .request
        .as_ref()
        .is_some_and(|one| one.overrides.contains(&Override::Window));
    let shut = matches!(opening(parsed, now), Opening::Closed { .. });
    if (shut || limits::frozen(parsed, now)) && !any_time {
        found.push(violation(
            "S4",
            format!("{node} would be granted outside every window"),
        ));
    }
    found
}

/// Every blocker has said yes lately, or failed where that was written to be a yes.
fn blockers_agree(
    snapshot: &Snapshot,
    policy: &PolicyView,
    node: &str,
    now: Timestamp,
) -> Vec<Violation> {
    let mut found = Vec::new();
    for rule in policy.parsed.iter().flat_map(|parsed| &parsed.blockers) {
        if let Probe::Nodes { max_not_ready } = rule.probe {
            // Those that Slipway is rebooting are left to the budget here.
            let slots = ledger_slots(snapshot);
            let down = snapshot.nodes.values().filter(|other| {
                !other.ready && other.name != node && slots.iter().all(|s| s.node != other.name)
            });
            if down.count() > max_not_ready {
                found.push(violation(
                    "S4",
                    format!("{node}: other nodes are not Ready"),
                ));
            }
            continue;
        }
        let key = (policy.uid.clone(), rule.name.clone());
        let agrees = snapshot.blockers.get(&key).is_some_and(|answered| {
            let old = now.duration_since(answered.at) > BLOCKER_ANSWER_VALID;
            let says_yes = match &answered.answer {
                Answer::Clear => true,
                Answer::Blocks { .. } => false,
                Answer::BlocksNodes { nodes } => !nodes.contains_key(node),
                Answer::Failed { .. } => rule.allows_failure(),
            };
            says_yes && !old && answered.rule == *rule
        });
        if !agrees {
            let message = format!("{node} would be granted against blocker {}", rule.name);
            found.push(violation("S4", message));
        }
    }
    found
}

/// Counts slots and grants per policy the slow way round: from the nodes up.
fn budgets(snapshot: &Snapshot, grants: &[&GrantRequest]) -> Vec<Violation> {
    let mut found = Vec::new();
    for policy in &snapshot.policies {
        let asked: Vec<&&GrantRequest> = grants
            .iter()
            .filter(|grant| grant.policy.uid == policy.uid)
            .collect();
        if asked.is_empty() {
            continue;
        }
        if asked.len() > 1 {
            let message = format!("policy {} would grant {} at once", policy.name, asked.len());
            found.push(violation("F67", message));
        }
        let selected: Vec<_> = snapshot
            .nodes
            .values()
            .filter(|node| policy.selects(node))
            .collect();
        let allowed = policy
            .parsed
            .as_ref()
            .map_or(0, |parsed| parsed.budget.resolve(selected.len()));
        let down = selected
            .iter()
            .filter(|node| !node.ready || node.unschedulable);
        let slots = ledger_slots(snapshot)
            .iter()
            .filter(|slot| slot.policy_uid == policy.uid);
        let total: BTreeSet<&str> = slots
            .map(|slot| slot.node.as_str())
            .chain(asked.iter().map(|grant| grant.node.as_str()))
            .collect();
        let governed_down = down
            .filter(|node| {
                crate::govern::governance(snapshot, node)
                    .policy()
                    .is_some_and(|other| other.uid == policy.uid)
            })
            .map(|node| node.name.as_str());
        let with_down: BTreeSet<&str> = total.iter().copied().chain(governed_down).collect();
        let beyond = asked.iter().any(|grant| {
            grant
                .request
                .as_ref()
                .is_some_and(|one| one.overrides.contains(&Override::Budget))
        });
        if with_down.len() > allowed && !beyond {
            let message = format!("policy {} allows {allowed}", policy.name);
            found.push(violation("S1", message));
        }
    }
    found
}

fn control_plane(snapshot: &Snapshot, grants: &[&GrantRequest]) -> Option<Violation> {
    let held = ledger_slots(snapshot)
        .iter()
        .filter(|slot| slot.control_plane)
        .count();
    let asked: Vec<_> = grants.iter().filter(|grant| grant.control_plane).collect();
    let busy = !asked.is_empty() && held + asked.len() > 1;
    busy.then(|| violation("S8", "two control-plane nodes would go at once".to_owned()))
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
