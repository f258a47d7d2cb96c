//! The limits over several nodes, counted again from the nodes up.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use slipway_api::people::Override;
use slipway_api::{Phase, PolicyRecord, ValidatedPolicy};

use super::{Violation, ledger_slots, violation};
use crate::action::GrantRequest;
use crate::govern::governance;
use crate::snapshot::{NodeView, PolicyView, Snapshot};

/// Every limit over several nodes that these grants would break.
pub(super) fn limits(
    snapshot: &Snapshot,
    grants: &[&GrantRequest],
    now: Timestamp,
) -> Vec<Violation> {
    let mut found = Vec::new();
    found.extend(ceiling(snapshot, grants));
    for (index, request) in grants.iter().enumerate() {
        let others = down(
            snapshot,
            grants.get(..index).unwrap_or_default(),
            &request.node,
        );
        found.extend(quorum(snapshot, request, &others));
        let policy = snapshot
            .policies
            .iter()
            .find(|policy| policy.uid == request.policy.uid);
        if let Some(policy) = policy {
            found.extend(mixed(
                snapshot,
                policy,
                request,
                grants.get(..index).unwrap_or_default(),
            ));
            if !overrides(request, Override::Budget) {
                found.extend(domains(snapshot, policy, request, &others));
                found.extend(pace(snapshot, policy, request, now));
            }
        }
    }
    found
}

/// A freeze in force.
pub(super) fn frozen(policy: &ValidatedPolicy, now: Timestamp) -> bool {
    let mut freezes = policy.freezes.iter();
    freezes.any(|freeze| freeze.start <= now && now < freeze.end)
}

fn overrides(request: &GrantRequest, what: Override) -> bool {
    let asked = request.request.as_ref();
    asked.is_some_and(|asked| asked.overrides.contains(&what))
}

/// Names of the other nodes that are down, hold a slot, or would.
fn down(snapshot: &Snapshot, grants: &[&GrantRequest], but: &str) -> BTreeSet<String> {
    let broken = snapshot
        .nodes
        .values()
        .filter(|node| !node.ready || node.unschedulable)
        .map(|node| node.name.clone());
    let held = ledger_slots(snapshot).iter().map(|slot| slot.node.clone());
    let asked = grants.iter().map(|grant| grant.node.clone());
    let mut all: BTreeSet<String> = broken.chain(held).chain(asked).collect();
    all.remove(but);
    all
}

fn number(written: &IntOrString, of: usize) -> usize {
    match written {
        IntOrString::Int(count) => usize::try_from(*count).unwrap_or(0),
        IntOrString::String(text) => {
            let percent = text.trim_end_matches('%').parse::<usize>().unwrap_or(0);
            if percent == 0 {
                0
            } else {
                (of * percent / 100).max(1)
            }
        }
    }
}

fn ceiling(snapshot: &Snapshot, grants: &[&GrantRequest]) -> Option<Violation> {
    let ledger = snapshot.ledger.present()?;
    let allowed = number(ledger.spec.max_unavailable.as_ref()?, snapshot.nodes.len());
    let bound: Vec<&GrantRequest> = grants
        .iter()
        .copied()
        .filter(|grant| !overrides(grant, Override::Budget))
        .collect();
    if bound.is_empty() {
        return None;
    }
    let total = down(snapshot, grants, "").len();
    (total > allowed).then(|| violation("S1", format!("{total} of {allowed} nodes of the cluster")))
}

fn quorum(
    snapshot: &Snapshot,
    request: &GrantRequest,
    others: &BTreeSet<String>,
) -> Option<Violation> {
    let node = snapshot.nodes.get(&request.node)?;
    let keys = snapshot
        .policies
        .iter()
        .filter_map(|policy| policy.spec.budget.quorum_label.as_deref());
    for key in keys {
        let Some(value) = node.labels.get(key) else {
            continue;
        };
        let other = snapshot
            .nodes
            .values()
            .find(|other| others.contains(&other.name) && other.labels.get(key) == Some(value));
        if let Some(other) = other {
            let message = format!("{} and {} of {key}={value}", node.name, other.name);
            return Some(violation("S1", message));
        }
    }
    None
}

fn mixed(
    snapshot: &Snapshot,
    policy: &PolicyView,
    request: &GrantRequest,
    earlier: &[&GrantRequest],
) -> Option<Violation> {
    if policy.spec.budget.control_plane_with_workers {
        return None;
    }
    let held = ledger_slots(snapshot).iter().map(|slot| slot.control_plane);
    let asked = earlier.iter().map(|grant| grant.control_plane);
    let mixes = held
        .chain(asked)
        .any(|other| other != request.control_plane);
    mixes.then(|| {
        violation(
            "S8",
            format!("{} and a node of the other kind", request.node),
        )
    })
}

fn domains(
    snapshot: &Snapshot,
    policy: &PolicyView,
    request: &GrantRequest,
    others: &BTreeSet<String>,
) -> Option<Violation> {
    let written = policy.spec.budget.per_domain.as_ref()?;
    let domain = |node: &NodeView| {
        let value = node.labels.get(&written.topology_key);
        value.cloned().unwrap_or_default()
    };
    let governed: Vec<&NodeView> = snapshot
        .nodes
        .values()
        .filter(|node| {
            let by = governance(snapshot, node).policy();
            by.is_some_and(|by| by.uid == policy.uid)
        })
        .collect();
    let own = domain(snapshot.nodes.get(&request.node)?);
    let size = governed.iter().filter(|node| domain(node) == own).count();
    let used: Vec<String> = governed
        .iter()
        .filter(|node| others.contains(&node.name))
        .map(|node| domain(node))
        .collect();
    let here = used.iter().filter(|other| **other == own).count() + 1;
    if here > number(&written.max_unavailable, size) {
        return Some(violation("S1", format!("{here} nodes of domain {own}")));
    }
    let mut all: BTreeSet<String> = used.into_iter().collect();
    all.insert(own);
    let most = usize::try_from(written.domains_at_once).unwrap_or(0);
    (all.len() > most).then(|| violation("S1", format!("{} domains at once", all.len())))
}

fn pace(
    snapshot: &Snapshot,
    policy: &PolicyView,
    request: &GrantRequest,
    now: Timestamp,
) -> Option<Violation> {
    let status = snapshot.ledger.present()?.status.as_ref()?;
    let mut records = status.policies.iter();
    let record = records.find(|record| record.uid == policy.uid)?;
    let name = &request.node;
    let interval = policy.spec.budget.min_interval.signed();
    let last = record.last_grant_at.as_ref();
    if last.is_some_and(|last| now.duration_since(last.0) < interval) {
        return Some(violation(
            "F107",
            format!("{name} would be granted too early"),
        ));
    }
    let canary = policy.spec.budget.canary.as_ref()?;
    if !goes_on(snapshot, policy, record) {
        return None;
    }
    let running = ledger_slots(snapshot)
        .iter()
        .filter(|slot| slot.policy_uid == policy.uid && slot.canary)
        .count();
    let running = i32::try_from(running).unwrap_or(i32::MAX);
    let done = record.canaries_done;
    let soaks = record
        .canary_done_at
        .as_ref()
        .is_some_and(|since| now.duration_since(since.0) < canary.soak.signed());
    let early = if done < canary.nodes {
        done.saturating_add(running) >= canary.nodes
    } else {
        soaks
    };
    early.then(|| violation("F107", format!("{name} would not wait for the first nodes")))
}

/// True while a rollout is under way for certain: a slot is held, or somebody waited already when
/// the last reboot ended.
fn goes_on(snapshot: &Snapshot, policy: &PolicyView, record: &PolicyRecord) -> bool {
    let holds = ledger_slots(snapshot)
        .iter()
        .any(|slot| slot.policy_uid == policy.uid);
    let Some(ended) = record.last_end_at.as_ref() else {
        return holds;
    };
    let waited = |node: &NodeView| {
        node.ready
            && snapshot.leases.get(&node.name).is_some_and(|lease| {
                lease.spec.node_uid == node.uid
                    && lease.phase() == Phase::Pending
                    && lease.spec.requested_at.0.as_second() < ended.0.as_second()
            })
    };
    let governed = |node: &NodeView| {
        let by = governance(snapshot, node).policy();
        by.is_some_and(|by| by.uid == policy.uid)
    };
    holds
        || snapshot
            .nodes
            .values()
            .any(|node| waited(node) && governed(node))
}
