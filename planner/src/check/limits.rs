//! The limits over several nodes, counted again from the nodes up.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use slipway_api::people::Override;
use slipway_api::{Phase, PolicyRecord, ValidatedPolicy};

use super::fleet::Fleet;
use super::{Violation, ledger_slots, violation};
use crate::action::GrantRequest;
use crate::snapshot::{NodeView, PolicyView, Snapshot};

/// Every limit over several nodes that these grants would break.
pub(super) fn limits(
    fleet: &Fleet<'_>,
    grants: &[&GrantRequest],
    now: Timestamp,
) -> Vec<Violation> {
    let snapshot = fleet.snapshot;
    let mut found = Vec::new();
    found.extend(ceiling(fleet, grants));
    let mut down: BTreeSet<&str> = fleet.broken.union(&fleet.held).copied().collect();
    for (index, request) in grants.iter().enumerate() {
        // Names of the other nodes that are down, hold a slot, or would.
        let own = down.take(request.node.as_str());
        found.extend(quorum(snapshot, request, &down));
        if let Some((policy, nodes)) = fleet.policy(&request.policy.uid) {
            found.extend(mixed(
                snapshot,
                policy,
                request,
                grants.get(..index).unwrap_or_default(),
            ));
            if !overrides(request, Override::Budget) {
                let node = snapshot.nodes.get(&request.node);
                found.extend(node.and_then(|node| domains((policy, nodes), node, &down)));
                found.extend(pace(fleet, policy, request, now));
            }
        }
        down.extend(own);
        down.insert(&request.node);
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

fn ceiling(fleet: &Fleet<'_>, grants: &[&GrantRequest]) -> Option<Violation> {
    let snapshot = fleet.snapshot;
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
    let asked = grants.iter().map(|grant| grant.node.as_str());
    let used: BTreeSet<&str> = fleet
        .broken
        .union(&fleet.held)
        .copied()
        .chain(asked)
        .collect();
    let total = used.len();
    (total > allowed).then(|| violation("S1", format!("{total} of {allowed} nodes of the cluster")))
}

fn quorum(
    snapshot: &Snapshot,
    request: &GrantRequest,
    others: &BTreeSet<&str>,
) -> Option<Violation> {
    let node = snapshot.nodes.get(&request.node)?;
    let keys = snapshot
        .policies
        .iter()
        .filter_map(|policy| policy.spec.budget.quorum_label.as_deref());
    for key in keys {
        let Some(value) = node.label(key) else {
            continue;
        };
        let others = others.iter().filter_map(|name| snapshot.nodes.get(*name));
        let other = { others }.find(|other| other.label(key) == Some(value));
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
    (policy, governed): (&PolicyView, &[&NodeView]),
    node: &NodeView,
    others: &BTreeSet<&str>,
) -> Option<Violation> {
    let written = policy.spec.budget.per_domain.as_ref()?;
    let domain = |node| NodeView::label(node, &written.topology_key).unwrap_or_default();
    let own = domain(node);
    let size = governed.iter().filter(|node| domain(node) == own).count();
    let used: Vec<&str> = governed
        .iter()
        .filter(|node| others.contains(node.name.as_str()))
        .map(|node| domain(node))
        .collect();
    let here = used.iter().filter(|other| **other == own).count() + 1;
    if here > number(&written.max_unavailable, size) {
        return Some(violation("S1", format!("{here} nodes of domain {own}")));
    }
    let mut all: BTreeSet<&str> = used.into_iter().collect();
    all.insert(own);
    let most = usize::try_from(written.domains_at_once).unwrap_or(0);
    (all.len() > most).then(|| violation("S1", format!("{} domains at once", all.len())))
}

fn pace(
    fleet: &Fleet<'_>,
    policy: &PolicyView,
    request: &GrantRequest,
    now: Timestamp,
) -> Option<Violation> {
    let snapshot = fleet.snapshot;
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
    if !goes_on(fleet, policy, record) {
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
fn goes_on(fleet: &Fleet<'_>, policy: &PolicyView, record: &PolicyRecord) -> bool {
    let snapshot = fleet.snapshot;
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
    let nodes = fleet
        .policy(&policy.uid)
        .map_or(&[][..], |(_, nodes)| nodes);
    holds || nodes.iter().any(|node| waited(node))
}

/// Counts slots and grants per policy the slow way round: from the nodes up.
pub(super) fn budgets(fleet: &Fleet<'_>, grants: &[&GrantRequest]) -> Vec<Violation> {
    let snapshot = fleet.snapshot;
    let mut found = Vec::new();
    let nodes = fleet.selected.iter().zip(&fleet.governed);
    for (policy, (selected, nodes)) in snapshot.policies.iter().zip(nodes) {
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
        let allowed = policy
            .parsed
            .as_ref()
            .map_or(0, |parsed| parsed.budget.resolve(*selected));
        let slots = ledger_slots(snapshot)
            .iter()
            .filter(|slot| slot.policy_uid == policy.uid);
        let total: BTreeSet<&str> = slots
            .map(|slot| slot.node.as_str())
            .chain(asked.iter().map(|grant| grant.node.as_str()))
            .collect();
        let governed_down = nodes
            .iter()
            .filter(|node| !node.ready || node.unschedulable)
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

/// Two control-plane nodes that would go at once.
pub(super) fn control_plane(snapshot: &Snapshot, grants: &[&GrantRequest]) -> Option<Violation> {
    let held = ledger_slots(snapshot)
        .iter()
        .filter(|slot| slot.control_plane)
        .count();
    let asked: Vec<_> = grants.iter().filter(|grant| grant.control_plane).collect();
    let busy = !asked.is_empty() && held + asked.len() > 1;
    busy.then(|| violation("S8", "two control-plane nodes would go at once".to_owned()))
}
