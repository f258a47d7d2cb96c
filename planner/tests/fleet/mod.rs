//! A large fleet as plain data: twenty policies of every kind, nodes at rest, waiting and under way.
//!
//! Owned by the planner's bench and by the test that counts its work.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench or a test ends where its data is wrong"
)]

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use slipway_api::{Phase, RebootLease, RebootLedger, Slot, names, validate_policy};
use slipway_planner::snapshot::{CordonState, LedgerState, Need, NodeView, PolicyView, Snapshot};
use slipway_planner::{Plan, plan};

/// Policies of the fleet, each of a pool of nodes.
const POLICIES: usize = 20;
/// Of so many nodes one has a lease.
const LEASES_EVERY: usize = 50;

/// A fleet.
pub(crate) struct Fleet {
    /// One in fifty has a lease, and of these half are under way.
    pub(crate) snapshot: Snapshot,
    /// What a pass over it decides.
    pub(crate) plan: Plan,
    /// The same, but every node waits for a reboot.
    pub(crate) waiting: Snapshot,
    /// What a pass over that decides.
    pub(crate) waits: Plan,
    /// When it is.
    pub(crate) now: Timestamp,
}

/// The fleet of this size.
pub(crate) fn fleet(nodes: usize) -> Fleet {
    let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    let snapshot = snapshot(nodes, LEASES_EVERY, now);
    let waiting = self::snapshot(nodes, 1, now);
    Fleet {
        plan: plan(&snapshot, now),
        waits: plan(&waiting, now),
        snapshot,
        waiting,
        now,
    }
}

fn snapshot(nodes: usize, leases_every: usize, now: Timestamp) -> Snapshot {
    let mut snapshot = Snapshot {
        policies: (0..POLICIES).map(policy).collect(),
        ..Snapshot::default()
    };
    let mut slots = Vec::new();
    for number in 0..nodes {
        let name = format!("node-{number:06}.example.internal");
        let mut node = node(number, &name, now);
        if number % leases_every == 0 {
            node.need = Need::Required {
                reason: "SentinelFile".to_owned(),
                message: "the file is there".to_owned(),
                since: now - SignedDuration::from_mins(i64::try_from(number % 500).unwrap() + 60),
            };
            let under_way = number % (2 * LEASES_EVERY) == 0 && slots.len() < 500;
            let fence = i64::try_from(slots.len()).unwrap() + 1;
            let lease = lease(&name, &node, under_way.then_some(fence), now);
            if under_way {
                node.unschedulable = true;
                node.cordon = CordonState::Unreadable;
                slots.push(slot(&node, fence));
            }
            snapshot.leases.insert(name.clone(), lease);
        }
        snapshot.agents.insert(name.clone());
        snapshot.nodes.insert(name, node);
    }
    snapshot.ledger = LedgerState::Present(Box::new(ledger(slots)));
    snapshot
}

fn pool(number: usize) -> String {
    format!("pool-{:02}", number / 2 % POLICIES)
}

fn policy(index: usize) -> PolicyView {
    let of_kind = match index % 5 {
        0 => json!({"budget": {"maxUnavailable": "10%"}}),
        1 => json!({"budget": {"maxUnavailable": "5%", "perDomain": {
            "topologyKey": "topology.kubernetes.io/zone", "maxUnavailable": "20%"}}}),
        2 => json!({"schedule": {"timeZone": "Europe/Berlin", "windows": [
            {"start": "09:00", "end": "17:00"}, {"cron": "0 2 * * 6", "duration": "4h"}]}}),
        3 => json!({"budget": {"maxUnavailable": "5%", "quorumLabel": "example.com/group",
            "minInterval": "30s"}}),
        _ => json!({"budget": {"maxUnavailable": 20, "canary": {"nodes": 2, "soak": "10m"}},
            "blockers": [{"name": "fleet", "nodes": {"maxNotReady": 3}}]}),
    };
    let mut spec = json!({"nodeSelector": {"matchLabels": {"example.com/pool": pool(2 * index)}}});
    let parts = of_kind.as_object().unwrap().clone();
    spec.as_object_mut().unwrap().extend(parts);
    let spec = serde_json::from_value(spec).unwrap();
    PolicyView {
        name: format!("policy-{index:02}"),
        uid: format!("3f0c9a52-7d0e-4a7b-9b59-{index:012}"),
        generation: 1,
        parsed: validate_policy(&spec),
        spec,
        status: None,
        deleting: false,
    }
}

fn node(number: usize, name: &str, now: Timestamp) -> NodeView {
    let mut labels: BTreeMap<String, String> = [
        ("example.com/pool", pool(number)),
        ("example.com/rack", format!("rack-{}", number % 97)),
        ("kubernetes.io/arch", "amd64".to_owned()),
        ("kubernetes.io/hostname", name.to_owned()),
        ("kubernetes.io/os", "linux".to_owned()),
        ("node.kubernetes.io/instance-type", "m5.2xlarge".to_owned()),
        ("topology.kubernetes.io/region", "eu-1".to_owned()),
        ("topology.kubernetes.io/zone", format!("eu-1{}", number % 3)),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    if number % 40 == 6 {
        let group = format!("group-{}", number / 120);
        labels.insert("example.com/group".to_owned(), group);
    }
    if number < 3 {
        labels.insert(names::LABEL_CONTROL_PLANE.to_owned(), String::new());
    }
    NodeView {
        name: name.to_owned(),
        uid: format!("9b2f6e1c-1111-4222-8333-{number:012}"),
        labels,
        ready: true,
        ready_since: Some(now - SignedDuration::from_hours(100)),
        boot_id: format!("boot-{number}"),
        need: Need::NotRequired,
        ..NodeView::default()
    }
}

fn slot(node: &NodeView, fence: i64) -> Slot {
    let number = fence.unsigned_abs();
    Slot {
        node: node.name.clone(),
        node_uid: node.uid.clone(),
        lease_uid: format!("lease-{}", node.name),
        policy_uid: format!("3f0c9a52-7d0e-4a7b-9b59-{:012}", number % 20),
        fence,
        ..Slot::default()
    }
}

fn lease(name: &str, node: &NodeView, fence: Option<i64>, now: Timestamp) -> RebootLease {
    let minutes = |ago: i64| (now - SignedDuration::from_mins(ago)).to_string();
    let grant = |fence: i64| {
        json!({"fence": fence, "grantedAt": minutes(4), "notAfter": minutes(-90), "drain": {},
            "reboot": {}, "verify": {}})
    };
    let phase = match fence.map(|fence| fence % 3) {
        None => Phase::Pending,
        Some(0) => Phase::Draining,
        Some(1) => Phase::Drained,
        Some(_) => Phase::Rebooting,
    };
    let status = json!({"phase": phase.as_str(), "fence": fence.unwrap_or(0),
        "transitions": [{"phase": phase.as_str(), "at": format!("{}", now - SignedDuration::from_mins(2))}]});
    serde_json::from_value(json!({
        "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
        "metadata": {"name": name, "uid": format!("lease-{name}")},
        "spec": {"nodeUID": node.uid, "requestedAt": minutes(50), "grant": fence.map(grant)},
        "status": status,
    }))
    .unwrap()
}

fn ledger(slots: Vec<Slot>) -> RebootLedger {
    let mut ledger = RebootLedger::default();
    let mut status = slipway_api::RebootLedgerStatus {
        next_fence: 1_000_000,
        ..slipway_api::RebootLedgerStatus::default()
    };
    status.slots = slots;
    ledger.status = Some(status);
    ledger
}
