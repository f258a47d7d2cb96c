//! A cluster as plain data, with an operator and agents that do what the plan and the protocol say.
//!
//! Owned by the planner's tests: builders for tables, and a stepper for properties.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic fails the test, and a table of cases is long"
)]

mod agent;
pub(crate) mod ahead;
mod operator;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::core::ObjectMeta;
use slipway_api::lease::Transition;
use slipway_api::{
    Phase, RebootLease, RebootLeaseStatus, RebootLedger, RebootLedgerSpec, RebootLedgerStatus,
    Slot, validate_policy,
};
use slipway_planner::snapshot::{LedgerState, Need, NodeView, PolicyView, Snapshot};
use slipway_planner::{Plan, budget};

/// Noon of a Tuesday, in UTC.
pub(crate) const NOON: &str = "2026-11-24T12:00:00Z";

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) snapshot: Snapshot,
    pub(crate) now: Timestamp,
    pub(crate) boots: BTreeMap<String, u32>,
    /// The owners of pods that every grant finds on its node.
    pub(crate) workloads: Vec<slipway_api::Workload>,
    uids: u32,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self {
            snapshot: Snapshot::default(),
            now: NOON.parse().unwrap(),
            boots: BTreeMap::new(),
            workloads: Vec::new(),
            uids: 0,
        };
        world.snapshot.ledger = LedgerState::Present(Box::new(RebootLedger {
            metadata: ObjectMeta {
                name: Some("cluster".into()),
                ..ObjectMeta::default()
            },
            spec: RebootLedgerSpec::default(),
            status: Some(RebootLedgerStatus {
                next_fence: 1,
                ..RebootLedgerStatus::default()
            }),
        }));
        world
    }

    /// Adds a policy; `spec` is YAML as people write it.
    pub(crate) fn policy(mut self, name: &str, spec: &str) -> Self {
        self.add_policy(name, spec);
        self
    }

    pub(crate) fn add_policy(&mut self, name: &str, spec: &str) {
        self.uids += 1;
        let spec: slipway_api::RebootPolicySpec = serde_yaml::from_str(spec).unwrap();
        self.snapshot.policies.push(PolicyView {
            name: name.to_owned(),
            uid: format!("policy-{}", self.uids),
            generation: 1,
            parsed: validate_policy(&spec),
            spec,
            status: None,
            deleting: false,
        });
    }

    pub(crate) fn edit_policy(&mut self, name: &str, spec: &str) {
        let spec: slipway_api::RebootPolicySpec = serde_yaml::from_str(spec).unwrap();
        let policy = self
            .snapshot
            .policies
            .iter_mut()
            .find(|policy| policy.name == name)
            .unwrap();
        policy.parsed = validate_policy(&spec);
        policy.spec = spec;
        policy.generation += 1;
    }

    /// Adds Ready nodes with an agent that need no reboot.
    pub(crate) fn nodes(mut self, names: &[&str]) -> Self {
        for name in names {
            self.uids += 1;
            let node = NodeView {
                name: (*name).to_owned(),
                uid: format!("node-{}", self.uids),
                ready: true,
                ready_since: Some(self.now - SignedDuration::from_hours(1)),
                boot_id: format!("{name}-boot-0"),
                need: Need::NotRequired,
                ..NodeView::default()
            };
            self.snapshot.nodes.insert(node.name.clone(), node);
            self.snapshot.agents.insert((*name).to_owned());
        }
        self
    }

    pub(crate) fn label(mut self, node: &str, key: &str, value: &str) -> Self {
        self.node_mut(node)
            .labels
            .insert(key.to_owned(), value.to_owned());
        self
    }

    /// The nodes need a reboot from now on.
    pub(crate) fn need(mut self, names: &[&str]) -> Self {
        for name in names {
            self.require(name);
        }
        self
    }

    pub(crate) fn require(&mut self, name: &str) {
        let since = self.now;
        self.node_mut(name).need = Need::Required {
            reason: "SentinelFile".into(),
            message: "the file is there".into(),
            since,
        };
    }

    pub(crate) fn node(&self, name: &str) -> &NodeView {
        &self.snapshot.nodes[name]
    }

    pub(crate) fn node_mut(&mut self, name: &str) -> &mut NodeView {
        self.snapshot.nodes.get_mut(name).unwrap()
    }

    pub(crate) fn lease(&self, name: &str) -> &RebootLease {
        &self.snapshot.leases[name]
    }

    pub(crate) fn lease_mut(&mut self, name: &str) -> &mut RebootLease {
        self.snapshot.leases.get_mut(name).unwrap()
    }

    pub(crate) fn phase(&self, name: &str) -> Option<Phase> {
        self.snapshot.leases.get(name).map(RebootLease::phase)
    }

    pub(crate) fn ledger_mut(&mut self) -> &mut RebootLedger {
        match &mut self.snapshot.ledger {
            LedgerState::Present(ledger) => ledger,
            LedgerState::Missing | LedgerState::Unknown => panic!("there is no ledger"),
        }
    }

    pub(crate) fn slots(&self) -> Vec<Slot> {
        self.snapshot
            .ledger
            .present()
            .map(|ledger| budget::slots(ledger).to_vec())
            .unwrap_or_default()
    }

    pub(crate) fn plan(&self) -> Plan {
        slipway_planner::plan(&self.snapshot, self.now)
    }

    pub(crate) fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    pub(crate) fn enter(&mut self, node: &str, phase: Phase, reason: &str) {
        let now = self.now;
        let status = self.lease_mut(node).status.get_or_insert_default();
        status.enter(phase, now);
        reason.clone_into(&mut status.reason);
    }
}

/// A lease status with one transition, for tables.
pub(crate) fn status(phase: Phase, fence: i64, at: Timestamp) -> RebootLeaseStatus {
    RebootLeaseStatus {
        phase,
        fence,
        transitions: vec![Transition {
            phase,
            at: MicroTime(at),
        }],
        ..RebootLeaseStatus::default()
    }
}
