//! What each policy's status says: counts, budget, window and conflicts.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use slipway_api::Phase;
use slipway_api::policy::NodeCounts;

use crate::action::{PolicyVerdict, Verdict};
use crate::blockers;
use crate::breaker;
use crate::budget::{self, PolicyLimits, slots};
use crate::gates;
use crate::govern::{Governance, candidates, governance};
use crate::reason::Reason;
use crate::snapshot::{NodeView, PolicyView, Snapshot};

/// One verdict per policy, by name.
pub fn verdicts(
    snapshot: &Snapshot,
    nodes: &BTreeMap<String, Verdict>,
    now: Timestamp,
) -> BTreeMap<String, PolicyVerdict> {
    // Once for all of them: each look at the nodes costs every node times every policy.
    let uids = snapshot.policies.iter().map(|policy| policy.uid.as_str());
    let limits = budget::limits_of(snapshot, &uids.collect());
    let ties = ties(snapshot);
    let of = |policy: &PolicyView| {
        let limits = limits.get(&policy.uid).cloned().unwrap_or_default();
        let mut verdict = verdict(snapshot, policy, &limits, nodes, now);
        verdict.conflicts_with = ties.get(policy.uid.as_str()).cloned().unwrap_or_default();
        verdict
    };
    snapshot
        .policies
        .iter()
        .map(|policy| (policy.name.clone(), of(policy)))
        .collect()
}

fn verdict(
    snapshot: &Snapshot,
    policy: &PolicyView,
    limits: &PolicyLimits,
    verdicts: &BTreeMap<String, Verdict>,
    now: Timestamp,
) -> PolicyVerdict {
    let in_use = limits
        .in_use(snapshot.ledger.present().map_or(&[], slots))
        .len();
    let governed: Vec<&NodeView> = limits
        .matched
        .iter()
        .filter_map(|name| snapshot.nodes.get(name))
        .collect();
    let stuck = governed
        .iter()
        .filter(|node| {
            verdicts
                .get(&node.name)
                .is_some_and(|verdict| matches!(verdict.reason, Reason::Stuck { .. }))
        })
        .map(|node| node.name.clone())
        .collect();
    let failed = names_in_phase(snapshot, &governed, Phase::Failed);
    PolicyVerdict {
        uid: policy.uid.clone(),
        generation: policy.generation,
        nodes: counts(snapshot, &governed),
        allowed: limits.allowed,
        in_use,
        opening: gates::schedule(policy, now),
        invalid: policy
            .parsed
            .as_ref()
            .err()
            .map(|error| Reason::PolicyInvalid {
                policy: policy.name.clone(),
                message: error.to_string(),
            }),
        conflicts_with: Vec::new(),
        stuck,
        failed,
        breaker: breaker_of(snapshot, policy, now),
        blocked_by: (!policy.spec.blockers.is_empty())
            .then(|| blockers::lines(snapshot, policy, verdicts, now)),
        warnings: warnings(policy),
    }
}

fn warnings(policy: &PolicyView) -> Vec<String> {
    let rules = policy.parsed.as_ref().map_or(&[][..], |p| &p.blockers);
    rules
        .iter()
        .filter_map(|rule| rule.warning.clone())
        .collect()
}

fn breaker_of(snapshot: &Snapshot, policy: &PolicyView, now: Timestamp) -> breaker::State {
    let ledger = snapshot.ledger.present();
    ledger
        .and_then(|ledger| ledger.status.as_ref())
        .map(|status| breaker::state(status, &policy.uid, &policy.spec.failure, now))
        .unwrap_or_default()
}

/// When time alone changes where a breaker stands.
pub fn breaker_wakes(snapshot: &Snapshot, now: Timestamp) -> Vec<Timestamp> {
    snapshot
        .policies
        .iter()
        .filter_map(|policy| match breaker_of(snapshot, policy, now) {
            breaker::State::Open { until, .. } => until,
            breaker::State::Closed | breaker::State::HalfOpen { .. } => None,
        })
        .collect()
}

fn names_in_phase(snapshot: &Snapshot, nodes: &[&NodeView], phase: Phase) -> Vec<String> {
    nodes
        .iter()
        .filter(|node| lease_phase(snapshot, node) == Some(phase))
        .map(|node| node.name.clone())
        .collect()
}

fn lease_phase(snapshot: &Snapshot, node: &NodeView) -> Option<Phase> {
    let lease = snapshot.leases.get(&node.name)?;
    (lease.spec.node_uid == node.uid).then(|| lease.phase())
}

fn counts(snapshot: &Snapshot, nodes: &[&NodeView]) -> NodeCounts {
    let in_phase = |wanted: &dyn Fn(Phase) -> bool| {
        let count = nodes
            .iter()
            .filter(|node| lease_phase(snapshot, node).is_some_and(wanted))
            .count();
        i32::try_from(count).unwrap_or(i32::MAX)
    };
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    NodeCounts {
        matched: count(nodes.len()),
        required: count(nodes.iter().filter(|node| node.need.is_required()).count()),
        waiting: in_phase(&|phase| phase == Phase::Pending),
        in_progress: in_phase(&|phase| phase == Phase::Granted || phase.is_accepted()),
        completed: in_phase(&|phase| phase == Phase::Completed),
        failed: in_phase(&|phase| phase == Phase::Failed),
    }
}

/// Names of the policies that tie with each over some node, by UID.
fn ties(snapshot: &Snapshot) -> BTreeMap<&str, Vec<String>> {
    let mut ties: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let contested = snapshot
        .nodes
        .values()
        .filter(|node| matches!(governance(snapshot, node), Governance::Conflict));
    for top in contested.map(|node| candidates(snapshot, node)) {
        for policy in &top {
            let others = top.iter().filter(|other| other.uid != policy.uid);
            let names = others.map(|other| other.name.clone());
            ties.entry(&policy.uid).or_default().extend(names);
        }
    }
    ties.into_iter()
        .map(|(uid, names)| (uid, names.into_iter().collect()))
        .collect()
}
