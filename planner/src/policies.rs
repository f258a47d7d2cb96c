//! What each policy's status says: counts, budget, window and conflicts.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use slipway_api::policy::NodeCounts;
use slipway_api::{Phase, RebootLease};

use crate::action::{PolicyVerdict, Verdict};
use crate::blockers::{self, Waits};
use crate::breaker;
use crate::govern::{Governance, candidates};
use crate::index::Index;
use crate::reason::Reason;
use crate::snapshot::{Gap, PolicyView, Snapshot};

/// One verdict per policy, by name.
pub(crate) fn verdicts(
    index: &Index<'_>,
    nodes: &BTreeMap<String, Verdict>,
) -> BTreeMap<String, PolicyVerdict> {
    let ties = ties(index);
    let waits = Waits::of(nodes);
    let mut counted = count(index, nodes);
    let policies = index.snapshot.policies.iter().enumerate();
    policies
        .map(|(place, policy)| {
            let counted = counted.get_mut(place).map(std::mem::take);
            let mut verdict = verdict(index, place, policy, counted.unwrap_or_default());
            verdict.conflicts_with = ties.get(policy.uid.as_str()).cloned().unwrap_or_default();
            verdict.blocked_by =
                (!policy.spec.blockers.is_empty()).then(|| blockers::lines(index, place, &waits));
            (policy.name.clone(), verdict)
        })
        .collect()
}

/// What a policy's nodes are doing.
#[derive(Clone, Debug, Default)]
struct Counted {
    nodes: NodeCounts,
    stuck: Vec<String>,
    failed: Vec<String>,
}

/// By position of the policy, from one walk over all nodes; verdicts are sorted as they are.
fn count(index: &Index<'_>, verdicts: &BTreeMap<String, Verdict>) -> Vec<Counted> {
    let mut all = vec![Counted::default(); index.snapshot.policies.len()];
    for (row, verdict) in index.rows().iter().zip(verdicts.values()) {
        let Some(counted) = row.policy.and_then(|place| all.get_mut(place)) else {
            continue;
        };
        let name = || row.node.name.clone();
        counted.nodes.matched += 1;
        counted.nodes.required += i32::from(row.required);
        if matches!(verdict.reason, Reason::Stuck { .. }) {
            counted.stuck.push(name());
        }
        match row.own_lease().map(RebootLease::phase) {
            None | Some(Phase::Aborted) => {}
            Some(Phase::Pending) => counted.nodes.waiting += 1,
            Some(Phase::Completed) => counted.nodes.completed += 1,
            Some(Phase::Failed) => {
                counted.nodes.failed += 1;
                counted.failed.push(name());
            }
            Some(
                Phase::Granted
                | Phase::Draining
                | Phase::Drained
                | Phase::Rebooting
                | Phase::Rebooted,
            ) => counted.nodes.in_progress += 1,
        }
    }
    all
}

fn verdict(
    index: &Index<'_>,
    place: usize,
    policy: &PolicyView,
    counted: Counted,
) -> PolicyVerdict {
    let limits = index.limits().get(place);
    PolicyVerdict {
        uid: policy.uid.clone(),
        generation: policy.generation,
        nodes: counted.nodes,
        allowed: limits.map_or(0, |limits| limits.allowed),
        in_use: index.in_use(place),
        opening: index.schedule(place).and_then(|schedule| schedule.opening),
        invalid: policy
            .parsed
            .as_ref()
            .err()
            .map(|error| Reason::PolicyInvalid {
                policy: policy.name.clone(),
                message: error.to_string(),
            }),
        conflicts_with: Vec::new(),
        stuck: counted.stuck,
        failed: counted.failed,
        breaker: breaker_of(index.snapshot, policy, index.now),
        blocked_by: None,
        admission: admission(index.snapshot),
        warnings: warnings(policy),
    }
}

fn admission(snapshot: &Snapshot) -> Option<String> {
    let mut gaps = snapshot.gaps.iter();
    let about_admission = |gap: &&Gap| match gap {
        Gap::AdmissionMissing { .. } | Gap::AdmissionUnknown { .. } => true,
        Gap::Unsynced { .. } | Gap::Undecodable { .. } | Gap::ClockSkew { .. } => false,
    };
    gaps.find(about_admission).map(Gap::to_string)
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
pub(crate) fn breaker_wakes(snapshot: &Snapshot, now: Timestamp) -> Vec<Timestamp> {
    snapshot
        .policies
        .iter()
        .filter_map(|policy| match breaker_of(snapshot, policy, now) {
            breaker::State::Open { until, .. } => until,
            breaker::State::Closed | breaker::State::HalfOpen { .. } => None,
        })
        .collect()
}

/// Names of the policies that tie with each over some node, by UID.
fn ties<'a>(index: &Index<'a>) -> BTreeMap<&'a str, Vec<String>> {
    let mut ties: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let contested = index
        .rows()
        .iter()
        .filter(|row| matches!(row.governance, Governance::Conflict));
    for top in contested.map(|row| candidates(index.snapshot, row.node)) {
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
