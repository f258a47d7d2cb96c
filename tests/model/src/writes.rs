//! The API server: which writes it takes, and whose copies they make old.

use slipway_api::PhaseOwner;

use crate::fencing;
use crate::property::Flaw;
use crate::state::{Agent, Lease, Node, NodeId, Object, Operator, Slot, State};

impl<const N: usize> State<N> {
    /// Writes a lease; true when the API server takes it. A write that its rules refuse is a flaw
    /// of whoever tried it: those rules are there for what no program does.
    pub fn write_lease(&mut self, id: NodeId, owner: PhaseOwner, next: Lease) -> bool {
        let Some(present) = self[id].lease else {
            return false;
        };
        if !fencing::may_become(&present, &next, owner) || !is_admitted(&present, &next) {
            self.flaw(Flaw::Backwards);
            return false;
        }
        // A write that changes nothing keeps the version.
        if present != next {
            self.put_lease(id, Some(next));
        }
        true
    }

    /// Makes, replaces or deletes a lease.
    pub fn put_lease(&mut self, id: NodeId, lease: Option<Lease>) {
        let node = &mut self[id];
        node.lease = lease;
        match &mut node.agent {
            Agent::HasLease { is_fresh, .. } => *is_fresh = false,
            Agent::Writes(write) => write.lease_is_fresh = false,
            Agent::Idle | Agent::Committed { .. } => {}
        }
        if let Some(flight) = &mut node.flight {
            flight.lease_is_fresh = false;
        }
        for operator in &mut self.operators {
            match operator {
                Operator::Grants { node, is_fresh, .. }
                | Operator::Appends { node, is_fresh, .. }
                | Operator::Granted { node, is_fresh, .. }
                | Operator::Clears { node, is_fresh, .. }
                | Operator::Concludes { node, is_fresh, .. }
                | Operator::Reopens { node, is_fresh, .. }
                | Operator::AsksPhase { node, is_fresh, .. }
                | Operator::AsksKeys { node, is_fresh, .. }
                    if *node == id =>
                {
                    *is_fresh = false;
                }
                _ => {}
            }
        }
    }

    /// Writes a Node. One that changes nothing keeps the version, so that others' writes still land.
    pub fn write_node(&mut self, id: NodeId, object: Object) {
        let node = &mut self[id];
        if node.object == object {
            return;
        }
        // Whoever uncordons a node lets pods onto it.
        node.has_pods |= node.object.is_unschedulable && !object.is_unschedulable;
        node.object = object;
        if let Agent::Writes(write) = &mut node.agent {
            write.node_is_fresh = false;
        }
        if let Some(flight) = &mut node.flight {
            flight.node_is_fresh = false;
        }
    }

    /// Removes a slot, and judges whether it may go (S5).
    pub fn remove_slot(&mut self, id: NodeId) {
        let node = &self[id];
        if let Some(slot) = node.slot {
            let is_proved = is_proved_over(node, slot);
            let is_answered = node.lease.is_some_and(|lease| lease.uid != slot.uid);
            self.require(is_proved, Flaw::Slot);
            // The lease was deleted under the reboot: what is left to say is that nothing of ours
            // is on the node. That it is Ready again nobody proves; the budget's list counts it.
            if is_answered {
                self[id].down = 0;
            }
        }
        self[id].slot = None;
    }
}

fn is_proved_over(node: &Node, slot: Slot) -> bool {
    let is_over = node.lease.is_some_and(|lease| {
        fencing::speaks_for(&lease, slot) && fencing::is_over(&lease, slot.fence)
    });
    (is_over || slot.was_over) && node.object.mark.is_none_or(|mark| mark.fence != slot.fence)
}

/// The rules of the CRD, which hold even for a write without a version (G9). They are CEL, tested
/// against the real API server by the suite of the control plane.
fn is_admitted(old: &Lease, new: &Lease) -> bool {
    let grant = new.grant == old.grant || new.grant > old.grant.max(old.revoke);
    let revoke = new.revoke == old.revoke
        || (new.revoke > old.revoke && !(old.phase.0.is_committed() && new.revoke >= old.fence));
    let clear = match (old.clear, new.clear) {
        (Some(old), Some(new)) => {
            new.fence > old.fence || (new.fence == old.fence && (old.is_old || !new.is_old))
        }
        (None, _) => true,
        (Some(_), None) => false,
    };
    let accepts = new.phase.0 == slipway_api::Phase::Draining && old.phase != new.phase;
    let fence = if accepts {
        new.fence > old.fence
    } else {
        new.fence == old.fence
    };
    grant && revoke && clear && fence
}
