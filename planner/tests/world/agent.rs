//! What an agent and its machine do next, by the protocol.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use slipway_api::lease::CordonRecord;
use slipway_api::{Phase, RebootLease};
use slipway_planner::snapshot::{CordonState, Need};

use super::World;

impl World {
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
