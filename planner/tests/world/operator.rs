//! What an operator does with a plan: every action takes effect at once.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ObjectMeta;
use slipway_api::lease::{Clear, Grant, PolicyReference, Revoke};
use slipway_api::{Phase, RebootLease, RebootLedger, RebootLedgerSpec, Slot};
use slipway_planner::clear::{self, ClearVerdict};
use slipway_planner::snapshot::{CordonState, LedgerState};
use slipway_planner::verify::{self, Conclusion};
use slipway_planner::{Action, FreeBecause, GrantRequest, Plan, breaker, budget, pace};

use super::World;

impl World {
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
                let before = std::mem::replace(&mut view.marks, marks.clone());
                for key in before.protections.difference(&marks.protections) {
                    view.protections
                        .retain(|other, value| other != key || value != "true");
                }
                let added = marks.protections.iter().cloned();
                view.protections
                    .extend(added.map(|key| (key, "true".to_owned())));
                let ours = before.labels;
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
        let mut lease = RebootLease::begin(node, node_uid, policy, requested_at);
        lease.metadata.uid = Some(format!("lease-{}", self.uids));
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
            triggers: request.triggers.clone(),
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
            triggers: slipway_api::policy::Triggers::default(),
            workloads: Vec::new(),
            request: None,
        });
        lease.spec.revoke = Some(Revoke {
            fence: slot.fence,
            reason: "AnswerOwed".into(),
            message: String::new(),
        });
    }
}
