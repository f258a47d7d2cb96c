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

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference, Time};
use kube::core::ObjectMeta;
use slipway_api::lease::{Clear, CordonRecord, Grant, PolicyReference, Revoke, Transition};
use slipway_api::{
    Phase, RebootLease, RebootLeaseSpec, RebootLeaseStatus, RebootLedger, RebootLedgerSpec,
    RebootLedgerStatus, Slot, validate_policy,
};
use slipway_planner::clear::{self, ClearVerdict};
use slipway_planner::snapshot::{CordonState, LedgerState, Need, NodeView, PolicyView, Snapshot};
use slipway_planner::verify::{self, Conclusion};
use slipway_planner::{Action, FreeBecause, GrantRequest, Plan, breaker, budget, pace};

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

    /// One pass of the operator: plan, check, apply.
    pub(crate) fn pass(&mut self) -> Plan {
        let plan = self.plan();
        let violations = slipway_planner::check::check(&self.snapshot, &plan, self.now);
        assert!(violations.is_empty(), "{violations:?}\n{plan:#?}");
        for action in &plan.actions {
            self.apply(action);
        }
        plan
    }

    /// Passes until nothing is decided any more; fails when that never happens.
    pub(crate) fn settle(&mut self) -> Plan {
        for _ in 0..50 {
            let plan = self.pass();
            if plan.actions.is_empty() {
                return plan;
            }
        }
        panic!(
            "the planner never comes to rest: {:#?}",
            self.plan().actions
        );
    }

    pub(crate) fn apply(&mut self, action: &Action) {
        let now = self.now;
        match action {
            Action::CreateLedger { status } => {
                self.snapshot.ledger = LedgerState::Present(Box::new(RebootLedger {
                    metadata: ObjectMeta::default(),
                    spec: RebootLedgerSpec::default(),
                    status: Some(status.clone()),
                }));
            }
            Action::CreateLease {
                node,
                node_uid,
                policy,
                requested_at,
            } => {
                self.create_lease(node, node_uid, policy.clone(), *requested_at);
            }
            Action::PointLease { node, policy } => {
                self.lease_mut(node).spec.policy.clone_from(policy);
            }
            Action::ReopenLease {
                node, requested_at, ..
            } => {
                let lease = self.lease_mut(node);
                lease.spec.requested_at = Time(*requested_at);
                let status = lease.status.get_or_insert_default();
                status.history.insert(
                    0,
                    slipway_api::lease::Outcome {
                        fence: status.fence,
                        phase: status.phase,
                        reason: status.reason.clone(),
                        at: Time(now),
                    },
                );
                status.history.truncate(5);
                status.enter(Phase::Pending, now);
            }
            Action::CloseLease { node } => self.enter(node, Phase::Aborted, "NoLongerNeeded"),
            Action::Grant(request) => self.grant(request),
            Action::ShowPhase { node, phase } => self.enter(node, *phase, "Granted"),
            Action::Revoke {
                node,
                fence,
                reason,
            } => {
                self.lease_mut(node).spec.revoke = Some(Revoke {
                    fence: *fence,
                    reason: reason.code().to_owned(),
                    message: reason.to_string(),
                });
            }
            Action::Clear { node, fence } => self.turn_second_key(node, *fence),
            Action::Conclude { node, .. } => {
                let view = self.node(node).clone();
                match verify::judge(self.lease(node), &view, &self.snapshot.blockers, now) {
                    Conclusion::Complete => self.enter(node, Phase::Completed, "Verified"),
                    Conclusion::Fail(reason) => self.enter(node, Phase::Failed, reason.code()),
                    Conclusion::Wait { .. } | Conclusion::Verify { .. } => {
                        panic!("concluded too early")
                    }
                }
            }
            Action::FreeSlot { slot, because } => {
                if *because == FreeBecause::Over {
                    assert_eq!(self.node(&slot.node).cordon, CordonState::Absent);
                }
                let status = budget::free(self.snapshot.ledger.present().unwrap(), slot);
                let mut status = status.unwrap();
                pace::note_end(&mut status, slot, self.snapshot.leases.get(&slot.node), now);
                if let Some(lease) = self.snapshot.leases.get(&slot.node) {
                    let ending = breaker::ending(lease, slot.fence, now);
                    breaker::note_ending(&mut status, slot, &ending);
                }
                self.ledger_mut().status = Some(status);
            }
            Action::Release { node, .. } => {
                assert!(
                    self.lease(node).phase().is_accepted(),
                    "released out of phase"
                );
                self.enter(node, Phase::Failed, "Released");
            }
            Action::NoteStuck { slot } => {
                let mut status = self.ledger_mut().status.clone().unwrap();
                let reason = "Stuck".to_owned();
                let stuck = breaker::Ending::Failure { at: now, reason };
                breaker::note_ending(&mut status, slot, &stuck);
                self.ledger_mut().status = Some(status);
            }
            Action::RestoreSlot { slot } => {
                let status = budget::restore(self.snapshot.ledger.present().unwrap(), slot);
                self.ledger_mut().status = Some(status.unwrap());
            }
            Action::DemandAnswer { slot } => self.demand_answer(slot),
            Action::MarkNode { node, marks, .. } => {
                let view = self.node_mut(node);
                let ours = std::mem::replace(&mut view.marks, marks.clone()).labels;
                view.labels
                    .retain(|key, value| ours.get(key) != Some(value));
                view.labels.extend(marks.labels.clone());
            }
        }
    }

    fn create_lease(
        &mut self,
        node: &str,
        node_uid: &str,
        policy: Option<PolicyReference>,
        requested_at: Timestamp,
    ) {
        self.uids += 1;
        let owner = OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: node.into(),
            uid: node_uid.into(),
            ..OwnerReference::default()
        };
        let lease = RebootLease {
            metadata: ObjectMeta {
                name: Some(node.into()),
                uid: Some(format!("lease-{}", self.uids)),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            spec: RebootLeaseSpec {
                node_uid: node_uid.into(),
                policy,
                requested_at: Time(requested_at),
                grant: None,
                clear: None,
                revoke: None,
                approved: None,
                request: None,
                hold: None,
                release: None,
            },
            status: None,
        };
        self.snapshot.leases.insert(node.into(), lease);
    }

    fn grant(&mut self, request: &GrantRequest) {
        let now = self.now;
        let policy = self
            .snapshot
            .policies
            .iter()
            .find(|one| one.uid == request.policy.uid);
        let limits = budget::limits(&self.snapshot, policy.unwrap());
        let ledger = self.snapshot.ledger.present().unwrap();
        // The ledger may have changed earlier in the same pass; then the executor skips.
        let Ok((status, fence)) = budget::append(ledger, request, &limits, now) else {
            return;
        };
        self.ledger_mut().status = Some(status);
        self.lease_mut(&request.node).spec.grant = Some(Grant {
            fence,
            granted_at: Time(now),
            not_after: Time(now + SignedDuration::from_hours(1)),
            drain: request.drain.clone(),
            reboot: request.reboot.clone(),
            verify: request.verify.clone(),
            workloads: self.workloads.clone(),
            request: request.request.clone(),
        });
    }

    fn turn_second_key(&mut self, node: &str, fence: i64) {
        match clear::judge(&self.snapshot, node, fence, &[], self.now) {
            ClearVerdict::Clear => {
                let at = Time(self.now);
                self.lease_mut(node).spec.clear = Some(Clear { fence, at });
            }
            ClearVerdict::Revoke(reason) => {
                let node = node.to_owned();
                self.apply(&Action::Revoke {
                    node,
                    fence,
                    reason,
                });
            }
            ClearVerdict::Wait(_) => {}
        }
    }

    fn demand_answer(&mut self, slot: &Slot) {
        if !self.snapshot.leases.contains_key(&slot.node) {
            let policy = PolicyReference {
                name: "gone".into(),
                uid: slot.policy_uid.clone(),
            };
            self.create_lease(&slot.node, &slot.node_uid, Some(policy), self.now);
        }
        let now = self.now;
        let lease = self.lease_mut(&slot.node);
        let status = lease.status.get_or_insert_default();
        status.fence = slot.fence;
        status.enter(Phase::Draining, now);
        lease.spec.grant = Some(Grant {
            fence: slot.fence,
            granted_at: Time(now),
            not_after: Time(now),
            drain: slipway_api::policy::DrainSettings::default(),
            reboot: slipway_api::policy::RebootSettings::default(),
            verify: slipway_api::policy::VerifySettings::default(),
            workloads: Vec::new(),
            request: None,
        });
        lease.spec.revoke = Some(Revoke {
            fence: slot.fence,
            reason: "AnswerOwed".into(),
            message: String::new(),
        });
    }

    pub(crate) fn enter(&mut self, node: &str, phase: Phase, reason: &str) {
        let now = self.now;
        let status = self.lease_mut(node).status.get_or_insert_default();
        status.enter(phase, now);
        reason.clone_into(&mut status.reason);
    }

    /// The node is rebooted by its agent and comes back; `cured` says whether the need is gone.
    pub(crate) fn reboot(&mut self, name: &str, cured: bool) {
        let need = self.node(name).need.clone();
        // The need is older than the reboot, by the clock of conditions.
        self.wait(1);
        for _ in 0..20 {
            self.agent(name);
            if self.phase(name) == Some(Phase::Rebooted) {
                break;
            }
            self.pass();
        }
        assert_eq!(
            self.phase(name),
            Some(Phase::Rebooted),
            "{:#?}",
            self.plan()
        );
        if !cured {
            self.node_mut(name).need = need;
        }
        self.wait(11);
        self.pass();
    }

    /// One step of a node's agent by the protocol; true when it did something.
    pub(crate) fn agent(&mut self, name: &str) -> bool {
        let Some(lease) = self.snapshot.leases.get(name).cloned() else {
            return self.undo(name);
        };
        let fence = lease.accepted_fence();
        match lease.phase() {
            Phase::Pending | Phase::Granted => {
                if let Some(grant) = lease.open_grant() {
                    self.accept(name, grant.fence);
                    return true;
                }
                self.undo(name)
            }
            Phase::Completed | Phase::Aborted | Phase::Failed => self.undo(name),
            Phase::Draining | Phase::Drained if lease.is_revoked(fence) => {
                self.undo(name);
                // In the words of whoever called it off, as the agent does.
                let reason = lease
                    .spec
                    .revoke
                    .as_ref()
                    .map(|revoke| revoke.reason.clone());
                self.enter(name, Phase::Aborted, &reason.unwrap_or_default());
                true
            }
            Phase::Draining => {
                if self.node(name).cordon == CordonState::Absent {
                    let before = self.node(name).unschedulable;
                    let node = self.node_mut(name);
                    node.cordon = CordonState::Ours(CordonRecord {
                        fence,
                        unschedulable_before: before,
                    });
                    node.unschedulable = true;
                } else {
                    self.enter(name, Phase::Drained, "Drained");
                }
                true
            }
            Phase::Drained => self.commit(name, &lease, fence),
            Phase::Rebooting => self.boot(name),
            Phase::Rebooted => false,
        }
    }

    fn accept(&mut self, name: &str, fence: i64) {
        let boot = self.node(name).boot_id.clone();
        let status = self.lease_mut(name).status.get_or_insert_default();
        status.fence = fence;
        status.boot_id_before = Some(boot);
        status.boot_id_after = None;
        self.enter(name, Phase::Draining, "Accepted");
    }

    fn commit(&mut self, name: &str, lease: &RebootLease, fence: i64) -> bool {
        let fresh = lease.spec.clear.as_ref().is_some_and(|clear| {
            clear.fence == fence && self.now.duration_since(clear.at.0).as_secs() <= 60
        });
        let paused = self
            .snapshot
            .ledger
            .present()
            .is_none_or(|ledger| ledger.spec.paused);
        let held = self
            .slots()
            .iter()
            .any(|slot| slot.node == name && slot.fence == fence);
        if fresh && !paused && held {
            self.enter(name, Phase::Rebooting, "Committed");
            self.node_mut(name).ready = false;
            return true;
        }
        false
    }

    fn boot(&mut self, name: &str) -> bool {
        let boots = self.boots.entry(name.to_owned()).or_default();
        *boots += 1;
        let boot = format!("{name}-boot-{boots}");
        let now = self.now;
        let node = self.node_mut(name);
        node.boot_id.clone_from(&boot);
        node.ready = true;
        node.ready_since = Some(now);
        node.need = Need::NotRequired;
        self.undo(name);
        let status = self.lease_mut(name).status.get_or_insert_default();
        status.boot_id_after = Some(boot);
        status.last_reboot_at = Some(Time(now));
        self.enter(name, Phase::Rebooted, "Rebooted");
        true
    }

    fn undo(&mut self, name: &str) -> bool {
        let node = self.node_mut(name);
        let CordonState::Ours(record) = &node.cordon else {
            return false;
        };
        node.unschedulable = record.unschedulable_before;
        node.cordon = CordonState::Absent;
        true
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
