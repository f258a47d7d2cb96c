//! A single grant: the node is fit, the policy allows it now, and every blocker agrees.

use std::collections::BTreeSet;

use jiff::Timestamp;
use slipway_api::Phase;
use slipway_api::blockers::Probe;
use slipway_api::people::Override;
use slipway_api::policy::{BreakerReset, Mode};

use super::fleet::Fleet;
use super::limits::frozen;
use super::{Violation, ledger_slots, violation};
use crate::action::GrantRequest;
use crate::blockers::Answer;
use crate::limits::BLOCKER_ANSWER_VALID;
use crate::schedule::opening;
use crate::snapshot::{NodeView, PolicyView, Snapshot};
use crate::window::Opening;

/// Every rule for a single node that this grant would break.
pub(super) fn grant(fleet: &Fleet<'_>, request: &GrantRequest, now: Timestamp) -> Vec<Violation> {
    let snapshot = fleet.snapshot;
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
    found.extend(node_fits(snapshot, request, now));
    match snapshot
        .policies
        .iter()
        .find(|policy| policy.uid == request.policy.uid)
    {
        Some(policy) => {
            found.extend(policy_allows(snapshot, policy, request, now));
            found.extend(nobody_takes_it(snapshot, policy, request));
            found.extend(breaker_allows(snapshot, policy, request, now));
            found.extend(blockers_agree(fleet, policy, name, now));
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

/// The node has been up for longer than the policy that asks allows.
fn old(snapshot: &Snapshot, node: &NodeView, request: &GrantRequest, now: Timestamp) -> bool {
    let mut policies = snapshot.policies.iter();
    let policy = policies.find(|policy| policy.uid == request.policy.uid);
    let most = policy.and_then(|policy| policy.spec.triggers.max_uptime);
    let up = node.booted.map(|at| now.duration_since(at));
    most.zip(up).is_some_and(|(most, up)| up >= most.signed())
}

/// The node needs it, and is fit for it.
fn node_fits(snapshot: &Snapshot, request: &GrantRequest, now: Timestamp) -> Vec<Violation> {
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
        Some(node)
            if (node.need.is_required() || asked || old(snapshot, node, request, now))
                && node.ready
                && !node.deleting => {}
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

/// Nobody else removes, replaces or repairs the node, by the names of their taints.
fn nobody_takes_it(
    snapshot: &Snapshot,
    policy: &PolicyView,
    request: &GrantRequest,
) -> Option<Violation> {
    let node = snapshot.nodes.get(&request.node)?;
    let cooperate = &policy.spec.cooperate;
    let ignored = |taint: &str| {
        (taint.contains("ClusterAutoscaler") && !cooperate.cluster_autoscaler)
            || (taint.starts_with("karpenter.sh/") && !cooperate.karpenter)
            || (taint.starts_with("medik8s.io/") && !cooperate.medik8s)
    };
    let taint = node.signs.iter().find(|sign| !ignored(sign.taint))?.taint;
    Some(violation(
        "F53",
        format!("{} would be granted with the taint {taint}", request.node),
    ))
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
    if (shut || frozen(parsed, now)) && !any_time {
        found.push(violation(
            "S4",
            format!("{node} would be granted outside every window"),
        ));
    }
    found
}

/// Every blocker has said yes lately, or failed where that was written to be a yes.
fn blockers_agree(
    fleet: &Fleet<'_>,
    policy: &PolicyView,
    node: &str,
    now: Timestamp,
) -> Vec<Violation> {
    let snapshot = fleet.snapshot;
    let mut found = Vec::new();
    for rule in policy.parsed.iter().flat_map(|parsed| &parsed.blockers) {
        if let Probe::Nodes { max_not_ready } = rule.probe {
            // Those that Slipway is rebooting are left to the budget here.
            let down = snapshot.nodes.values().filter(|other| {
                !other.ready && other.name != node && !fleet.held.contains(other.name.as_str())
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
                Answer::Blocks { .. } | Answer::PodsNotReady { .. } => false,
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
