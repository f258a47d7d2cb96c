//! A ledger that is missing: made new, or rebuilt from what leases and Nodes still tell.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use slipway_api::lease::Outcome;
use slipway_api::ledger::{FAILURES_MAX, POLICIES_MAX, SLOTS_MAX};
use slipway_api::{Failure, Phase, PolicyRecord, RebootLease, RebootLedgerStatus, Slot};

use crate::backoff;
use crate::breaker;
use crate::limits::REBUILT_LEDGER_WAITS;
use crate::snapshot::{CordonState, NodeView, Snapshot};

/// What a new ledger starts with.
///
/// On a fresh cluster it is empty and grants at once. Where leases or cordons of ours exist, the
/// ledger was lost: every node that may be down because of us gets its slot back, the fences go on
/// above every one that is known, and nothing is granted for a while (faults.md Q16).
pub fn initial(snapshot: &Snapshot, now: Timestamp) -> RebootLedgerStatus {
    let slots: Vec<Slot> = snapshot
        .nodes
        .values()
        .filter_map(|node| slot_of(node, snapshot.leases.get(&node.name)))
        .take(SLOTS_MAX)
        .collect();
    let known = snapshot.leases.values().map(highest_fence);
    let cordons = snapshot.nodes.values().map(|node| match &node.cordon {
        CordonState::Ours(record) => record.fence,
        CordonState::Absent | CordonState::Unreadable => 0,
    });
    let highest = known.chain(cordons).max().unwrap_or(0);
    let fresh = highest == 0 && slots.is_empty();
    RebootLedgerStatus {
        next_fence: highest.saturating_add(1),
        slots,
        policies: records(snapshot),
        passed: Vec::new(),
        grants_not_before: (!fresh)
            .then(|| Time(now.saturating_add(REBUILT_LEDGER_WAITS).unwrap_or(now))),
    }
}

/// What leases still tell of each policy: when it last granted, and which reboots have failed. The
/// rest is forgotten, which makes it slower, never faster: a rollout begins anew with its first
/// nodes, and a breaker that a success had closed may be open again.
fn records(snapshot: &Snapshot) -> Vec<PolicyRecord> {
    let mut records: BTreeMap<&str, PolicyRecord> = BTreeMap::new();
    for (node, lease) in &snapshot.leases {
        let (Some(policy), Some(grant)) = (&lease.spec.policy, &lease.spec.grant) else {
            continue;
        };
        let record = records.entry(&policy.uid).or_default();
        let last = record.last_grant_at.as_ref().map(|last| last.0);
        record.last_grant_at =
            Some(Time(last.map_or(grant.granted_at.0, |last| {
                last.max(grant.granted_at.0)
            })));
        record.failures.extend(last_failure(node, lease));
    }
    let records = records.into_iter().map(|(uid, mut record)| {
        uid.clone_into(&mut record.uid);
        record.failures.sort_by_key(|failure| failure.at.0);
        let surplus = record.failures.len().saturating_sub(FAILURES_MAX);
        record.failures.drain(..surplus);
        record
    });
    records.take(POLICIES_MAX).collect()
}

/// The node's newest failure that counts for the breaker, if its lease tells of one.
fn last_failure(node: &str, lease: &RebootLease) -> Option<Failure> {
    let status = lease.status.as_ref()?;
    let present = backoff::ended_at(lease).map(|at| Outcome {
        fence: status.fence,
        phase: status.phase,
        reason: status.reason.clone(),
        at: Time(at),
    });
    present
        .iter()
        .chain(&status.history)
        .filter(|outcome| outcome.phase == Phase::Failed && breaker::counts(&outcome.reason))
        .max_by_key(|outcome| outcome.at.0)
        .map(|outcome| Failure {
            node: node.to_owned(),
            fence: outcome.fence,
            at: outcome.at.clone(),
            reason: outcome.reason.clone(),
        })
}

/// When a rebuilt ledger starts to grant.
pub fn wake(snapshot: &Snapshot) -> Option<Timestamp> {
    let ledger = snapshot.ledger.present()?;
    Some(ledger.status.as_ref()?.grants_not_before.as_ref()?.0)
}

fn highest_fence(lease: &RebootLease) -> i64 {
    let status = lease.status.as_ref();
    [
        lease.granted_fence(),
        lease.accepted_fence(),
        lease.spec.revoke.as_ref().map_or(0, |revoke| revoke.fence),
        status.map_or(0, |status| status.journal_fence),
    ]
    .into_iter()
    .max()
    .unwrap_or(0)
}

fn slot_of(node: &NodeView, lease: Option<&RebootLease>) -> Option<Slot> {
    let lease = lease.filter(|lease| lease.spec.node_uid == node.uid);
    let cordoned = match &node.cordon {
        CordonState::Ours(record) => Some(record.fence),
        CordonState::Unreadable => Some(1),
        CordonState::Absent => None,
    };
    let live = lease
        .map(|lease| lease.granted_fence().max(lease.accepted_fence()))
        .filter(|fence| *fence > 0)
        .filter(|fence| lease.is_some_and(|lease| !lease.is_over(*fence)));
    let fence = live.or(cordoned)?;
    Some(Slot {
        node: node.name.clone(),
        node_uid: node.uid.clone(),
        lease_uid: lease
            .and_then(|lease| lease.metadata.uid.clone())
            .unwrap_or_default(),
        policy_uid: lease
            .and_then(|lease| lease.spec.policy.as_ref())
            .map(|policy| policy.uid.clone())
            .unwrap_or_default(),
        fence,
        control_plane: node.is_control_plane(),
        ..Slot::default()
    })
}
