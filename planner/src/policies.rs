//! What each policy's status says: counts, budget, window and conflicts.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use slipway_api::Phase;
use slipway_api::policy::NodeCounts;

use crate::action::{PolicyVerdict, Verdict};
use crate::blockers;
use crate::breaker;
use crate::budget::{self, slots};
use crate::gates;
use crate::govern::candidates;
use crate::reason::Reason;
use crate::snapshot::{NodeView, PolicyView, Snapshot};

/// One verdict per policy, by name.
pub fn verdicts(
    snapshot: &Snapshot,
    nodes: &BTreeMap<String, Verdict>,
    now: Timestamp,
) -> BTreeMap<String, PolicyVerdict> {
    snapshot
        .policies
        .iter()
        .map(|policy| (policy.name.clone(), verdict(snapshot, policy, nodes, now)))
        .collect()
}

fn verdict(
    snapshot: &Snapshot,
    policy: &PolicyView,
    verdicts: &BTreeMap<String, Verdict>,
    now: Timestamp,
) -> PolicyVerdict {
    let limits = budget::limits(snapshot, policy);
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
        conflicts_with: conflicts(snapshot, policy),
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

/// Names of the policies that tie with this one over some node.
fn conflicts(snapshot: &Snapshot, policy: &PolicyView) -> Vec<String> {
    let tied: BTreeSet<String> = snapshot
        .nodes
        .values()
        .map(|node| candidates(snapshot, node))
        .filter(|top| top.len() > 1 && top.iter().any(|other| other.uid == policy.uid))
        .flatten()
        .filter(|other| other.uid != policy.uid)
        .map(|other| other.name.clone())
        .collect();
    tied.into_iter().collect()
}
