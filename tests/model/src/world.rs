//! Machines, people and time: everything that happens without any program of ours.

use slipway_api::Phase;

use crate::fencing;
use crate::property::Flaw;
use crate::state::{Agent, At, Call, Intent, Node, NodeId, Object, Operator, State};

/// What happens to one node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// The accepted reboot call takes effect.
    Fires,
    /// It takes effect, and the need stays.
    FiresInVain,
    /// It is lost.
    CallIsLost,
    /// Ten minutes pass since a call was noted, and nothing happened.
    CallAges,
    /// The kubelet of the present boot reports Ready.
    ComesUp,
    /// The machine is rebooted by somebody else.
    PowerCut,
    /// A human cordons it.
    Cordon,
    /// A human who cordoned it is done.
    Uncordon,
    /// A human uncordons what we cordoned.
    Veto,
    /// Somebody deletes its lease.
    Delete,
    /// Its grant runs out.
    Expires,
    /// Nothing on it asks for a reboot any more.
    Calms,
}

impl Event {
    /// Every one.
    pub const ALL: [Self; 12] = [
        Self::Fires,
        Self::FiresInVain,
        Self::CallIsLost,
        Self::CallAges,
        Self::ComesUp,
        Self::PowerCut,
        Self::Cordon,
        Self::Uncordon,
        Self::Veto,
        Self::Delete,
        Self::Expires,
        Self::Calms,
    ];

    /// True for what comes of itself if one waits; false for faults.
    pub const fn is_progress(self) -> bool {
        match self {
            Self::Fires | Self::CallAges | Self::ComesUp | Self::Uncordon => true,
            Self::FiresInVain
            | Self::CallIsLost
            | Self::PowerCut
            | Self::Cordon
            | Self::Veto
            | Self::Delete
            | Self::Expires
            | Self::Calms => false,
        }
    }
}

impl<const N: usize> State<N> {
    /// Something happens to a node; false when it cannot.
    pub fn happens(&mut self, event: Event, id: NodeId) -> bool {
        let node = self[id];
        let faults = &mut self.faults;
        match event {
            Event::Fires => node.pending > 0 && self.fires(id, false),
            Event::FiresInVain => {
                node.pending > 0 && spend(&mut faults.in_vain) && self.fires(id, true)
            }
            Event::CallIsLost => {
                let lost = node.pending > 0 && spend(&mut faults.lost_calls);
                if lost {
                    self[id].pending = 0;
                }
                lost
            }
            Event::CallAges => {
                // A call that the machine has accepted takes effect within ten minutes or never.
                let ages = node.pending == 0 && node.journal.call == Call::Young;
                if ages {
                    self[id].journal.call = Call::Old;
                }
                ages
            }
            Event::ComesUp => {
                self[id].is_up = true;
                self[id].down = 0;
                if let Some(lease) = &mut self[id].lease {
                    lease.after = lease.after.after_report();
                }
                !node.is_up
            }
            Event::PowerCut => {
                let cut = spend(&mut faults.power_cuts);
                if cut {
                    self.boots(id);
                }
                cut
            }
            Event::Cordon => {
                // One that is cordoned already is not written at all (S3's exception).
                let cordons = !node.object.is_unschedulable && spend(&mut faults.cordons);
                cordons && self.by_human(id, true)
            }
            Event::Uncordon => node.is_wanted && self.by_human(id, false),
            Event::Veto => {
                let vetoes =
                    !node.is_wanted && node.object.is_unschedulable && spend(&mut faults.uncordons);
                vetoes && self.by_human(id, false)
            }
            Event::Delete => {
                let deletes = node.lease.is_some() && spend(&mut faults.deletions);
                if deletes {
                    if let (Some(slot), Some(lease)) = (&mut self[id].slot, node.lease) {
                        slot.was_over |= fencing::speaks_for(&lease, *slot)
                            && fencing::is_over(&lease, slot.fence);
                    }
                    self[id].leases = node.leases.saturating_add(1);
                    self.put_lease(id, None);
                }
                deletes
            }
            Event::Expires => {
                node.lease.is_some_and(|lease| !lease.is_expired)
                    && spend(&mut faults.expiries)
                    && self.expires(id)
            }
            Event::Calms => {
                let calms = node.needs_reboot && !is_too_late(&node) && spend(&mut faults.calms);
                self[id].needs_reboot &= !calms;
                calms
            }
        }
    }

    fn expires(&mut self, id: NodeId) -> bool {
        if let Some(lease) = &mut self[id].lease {
            lease.is_expired = true;
        }
        true
    }

    /// S2, S7: the node goes down because of us.
    fn fires(&mut self, id: NodeId, is_in_vain: bool) -> bool {
        let node = self[id];
        self.require(node.needs_reboot, Flaw::Needless);
        let is_empty = !node.has_pods || node.is_loosened;
        self.require(is_empty, Flaw::Reboot);
        self[id].down = node.pending;
        self[id].needs_reboot = is_in_vain;
        self.boots(id);
        true
    }

    fn boots(&mut self, id: NodeId) {
        let node = &mut self[id];
        let was_up = node.is_up;
        node.is_up = false;
        node.pending = 0;
        node.agent = Agent::Idle;
        node.journal.boot = node.journal.boot.aged(false);
        node.journal.call = Call::None;
        if let Some(lease) = &mut node.lease {
            // Nobody compares these with what the kubelet reports.
            lease.before = lease.before.aged(false);
            lease.after = lease.after.aged(was_up);
        }
        if let Some(flight) = &mut node.flight {
            flight.is_late = true;
        }
    }

    fn by_human(&mut self, id: NodeId, is_cordon: bool) -> bool {
        let object = Object {
            is_unschedulable: is_cordon,
            is_foreign: is_cordon,
            ..self[id].object
        };
        self.write_node(id, object);
        let node = &mut self[id];
        node.is_wanted = is_cordon;
        let is_too_late = is_too_late(node);
        node.is_loosened |= !is_cordon && is_too_late;
        true
    }

    /// More than a minute passes; false when nobody would notice.
    pub fn minute_passes(&mut self) -> bool {
        let before = *self;
        for node in &mut self.nodes {
            if let Some(key) = node.lease.as_mut().and_then(|lease| lease.clear.as_mut()) {
                (key.is_old, key.evidence_is_old) = (true, true);
            }
            match &mut node.agent {
                Agent::HasLease { is_late, .. } | Agent::Committed { is_late, .. } => {
                    *is_late = true;
                }
                Agent::Writes(write) => write.is_late = true,
                Agent::Idle => {}
            }
        }
        for operator in &mut self.operators {
            if let Operator::Clears { is_old, .. } = operator {
                *is_old = true;
            }
        }
        *self != before
    }

    /// The brake for everything is set or released.
    pub fn brake(&mut self, is_set: bool) -> bool {
        let moves = self.is_paused != is_set && (!is_set || spend(&mut self.faults.pauses));
        if moves {
            self.is_paused = is_set;
        }
        moves
    }
}

/// The commit is decided, or has passed: what a human does now, or what becomes of the need, comes
/// too late.
fn is_too_late(node: &Node) -> bool {
    let is_committing = match node.agent {
        Agent::Writes(write) => write.intent == Intent::Commit,
        Agent::Committed { .. } => true,
        Agent::Idle | Agent::HasLease { .. } => false,
    };
    let is_committed = node
        .lease
        .is_some_and(|lease| lease.phase == At(Phase::Rebooting));
    let is_sent = node
        .flight
        .is_some_and(|flight| flight.intent == Intent::Commit);
    is_committing || is_committed || is_sent || node.pending > 0
}

fn spend(left: &mut u8) -> bool {
    let is_left = *left > 0;
    *left = left.saturating_sub(1);
    is_left
}
