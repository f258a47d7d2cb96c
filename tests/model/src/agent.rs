//! One agent: it reads the lease, then everything else, decides, and writes; it may die between any
//! two of these, with a write of it still under way.
//!
//! The lease is read apart from the rest only where the ledger matters. Elsewhere the two reads may
//! be taken for one: nothing that changes the Node follows from a change of the lease by others.

mod weaker;

use slipway_api::{Phase, PhaseOwner};
use weaker::bent;

use crate::decision::{self, Decision};
use crate::fencing;
use crate::property::Flaw;
use crate::rules::{Rule, Rules};
use crate::state::{
    Agent, At, Boot, Call, Ending, Fence, Intent, Journal, Lease, NodeId, Object, State, Write,
};

/// What came of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Landed {
    Yes,
    No,
}

/// What becomes of the reboot call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CallEnds {
    /// The machine has accepted it.
    Accepted,
    /// The machine has refused it.
    Refused,
    /// The agent died after it had noted the call, and before it was made.
    NeverMade,
}

impl<const N: usize> State<N> {
    /// The agent's next step, but for the reboot call; false when it has none.
    pub fn agent_step(&mut self, id: NodeId, rules: Rules) -> bool {
        match self[id].agent {
            Agent::Idle => {
                let lease = self[id].lease;
                match lease.filter(reads_ledger) {
                    Some(lease) => {
                        self[id].agent = Agent::HasLease {
                            lease,
                            is_fresh: true,
                            is_late: false,
                        };
                        true
                    }
                    None => self.agent_decides(id, lease, (true, false), rules),
                }
            }
            Agent::HasLease {
                lease,
                is_fresh,
                is_late,
            } => {
                self[id].agent = Agent::Idle;
                self.agent_decides(id, Some(lease), (is_fresh, is_late), rules);
                true
            }
            Agent::Writes(write) => {
                self.agent_writes(id, write, rules);
                true
            }
            Agent::Committed { is_late, .. } if is_late && rules.hold(Rule::CallInTime) => {
                self[id].agent = Agent::Idle;
                true
            }
            Agent::Committed { .. } => false,
        }
    }

    fn agent_decides(
        &mut self,
        id: NodeId,
        lease: Option<Lease>,
        (lease_is_fresh, is_late): (bool, bool),
        rules: Rules,
    ) -> bool {
        let pass = bent(&self[id], lease, self.is_paused, rules);
        let decision = self.weakened(id, lease, decision::decision(&pass), rules);
        match decision {
            Decision::Wait => false,
            Decision::Evict => {
                self[id].has_pods = false;
                true
            }
            Decision::Write(intent, fence) => {
                if intent == Intent::Commit {
                    self.judge_commit(id, lease, fence);
                    let journal = &mut self[id].journal;
                    let again = journal.committed == fence && journal.boot == Boot::Now;
                    let call = if again { journal.call } else { Call::None };
                    *journal = Journal {
                        committed: fence,
                        boot: Boot::Now,
                        call,
                    };
                }
                self[id].agent = Agent::Writes(Write {
                    intent,
                    fence,
                    lease_is_fresh,
                    node_is_fresh: true,
                    is_late,
                });
                true
            }
        }
    }

    /// S2, S4, S7: what must be true when an agent decides to commit.
    fn judge_commit(&mut self, id: NodeId, lease: Option<Lease>, fence: Fence) {
        let node = self[id];
        let Some(lease) = lease else {
            self.flaw(Flaw::Reboot);
            return;
        };
        let is_cordoned = node.object.mark.is_some_and(|mark| mark.fence == fence)
            && node.object.is_unschedulable;
        let holds_slot = node
            .slot
            .is_some_and(|slot| slot.fence == fence && slot.uid == lease.uid);
        self.require(is_cordoned && !node.has_pods && holds_slot, Flaw::Reboot);
        self.require(lease.before == Boot::Now, Flaw::Reboot);
        self.require(
            lease.clear.is_some_and(|key| !key.evidence_is_old),
            Flaw::Key,
        );
        self.require(!self.is_paused, Flaw::Key);
        self.require(node.needs_reboot, Flaw::Needless);
    }

    fn agent_writes(&mut self, id: NodeId, write: Write, rules: Rules) {
        self[id].agent = Agent::Idle;
        let landed = self.land(id, write, rules);
        let went_on = match (write.intent, landed) {
            (Intent::Retire(ending), Landed::Yes) => Some(Agent::Writes(Write {
                intent: Intent::End(ending),
                ..write
            })),
            (Intent::Commit, Landed::Yes) => Some(Agent::Committed {
                fence: write.fence,
                is_late: write.is_late,
            }),
            (Intent::Commit, Landed::No) if !rules.hold(Rule::CallNeedsCommit) => {
                Some(Agent::Committed {
                    fence: write.fence,
                    is_late: write.is_late,
                })
            }
            _ => None,
        };
        if let Some(agent) = went_on {
            self[id].agent = agent;
        }
    }

    /// A write reaches the API server, whether its sender is alive or not.
    fn land(&mut self, id: NodeId, write: Write, rules: Rules) -> Landed {
        if write.intent.is_of_node() {
            self.land_on_node(id, write, rules)
        } else {
            self.land_on_lease(id, write, rules)
        }
    }

    fn land_on_node(&mut self, id: NodeId, write: Write, rules: Rules) -> Landed {
        let object = self[id].object;
        let is_cordon = matches!(write.intent, Intent::Cordon { .. });
        let mut seen = object;
        let (rule, written) = if is_cordon {
            seen.is_unschedulable &= rules.hold(Rule::BeforeRecorded);
            if !rules.hold(Rule::OlderCordonFirst) {
                seen.mark = None;
            }
            let is_foreign = object.is_foreign && object.is_unschedulable;
            let after = decision::cordoned(seen, write.fence);
            (
                Rule::CordonVersion,
                after.map(|after| Object {
                    is_foreign,
                    ..after
                }),
            )
        } else {
            seen.is_foreign &= rules.hold(Rule::OwnerAsked);
            let after = decision::undone(seen, write.fence);
            let undone = |after: Object| {
                if rules.hold(Rule::UndoChanges) {
                    after.undone
                } else {
                    object.undone
                }
            };
            (
                Rule::UndoVersion,
                after.map(|after| Object {
                    undone: undone(after),
                    ..after
                }),
            )
        };
        if !write.node_is_fresh && rules.hold(rule) {
            return Landed::No;
        }
        if is_cordon {
            self.require(object.undone != write.fence, Flaw::Again);
        }
        if let Some(object) = written {
            self.write_node(id, object);
        }
        Landed::Yes
    }

    fn land_on_lease(&mut self, id: NodeId, write: Write, rules: Rules) -> Landed {
        let Some(lease) = self[id].lease else {
            return Landed::No;
        };
        let is_versioned = match write.intent {
            Intent::Accept => rules.hold(Rule::AcceptVersion),
            Intent::Commit => rules.hold(Rule::CommitVersion),
            _ => true,
        };
        if !write.lease_is_fresh && is_versioned {
            return Landed::No;
        }
        // A write that is under way while the machine boots speaks of the boot before.
        let boot = if write.is_late {
            Boot::Earlier
        } else {
            Boot::Now
        };
        let next = match write.intent {
            Intent::Accept => Lease {
                phase: At(Phase::Draining),
                fence: write.fence,
                before: boot,
                after: Boot::None,
                ..lease
            },
            Intent::MarkDrained => Lease {
                phase: At(Phase::Drained),
                ..lease
            },
            Intent::Commit => Lease {
                phase: At(Phase::Rebooting),
                ..lease
            },
            Intent::End(Ending::Aborted) => Lease {
                phase: At(Phase::Aborted),
                ..lease
            },
            Intent::End(Ending::Failed) => Lease {
                phase: At(Phase::Failed),
                ..lease
            },
            Intent::MarkRebooted => Lease {
                phase: At(Phase::Rebooted),
                after: boot,
                ..lease
            },
            Intent::Cordon { .. } | Intent::Undo | Intent::Retire(_) => lease,
        };
        if write.intent == Intent::Commit {
            self.require(!fencing::is_revoked(&lease, write.fence), Flaw::Key);
        }
        if self.write_lease(id, PhaseOwner::Agent, next) {
            Landed::Yes
        } else {
            Landed::No
        }
    }

    /// The reboot call, noted in the journal before it is made.
    pub fn agent_calls(&mut self, id: NodeId, ends: CallEnds, rules: Rules) -> bool {
        let Agent::Committed { fence, is_late } = self[id].agent else {
            return false;
        };
        if is_late && rules.hold(Rule::CallInTime) {
            return false;
        }
        let node = &mut self[id];
        node.agent = Agent::Idle;
        node.journal.call = match ends {
            CallEnds::Accepted | CallEnds::NeverMade => Call::Young,
            CallEnds::Refused => Call::None,
        };
        if ends == CallEnds::Accepted {
            node.pending = fence;
            let said = node.lease.zip(node.slot).is_none_or(|(lease, slot)| {
                lease.uid != slot.uid
                    || (lease.phase == At(Phase::Rebooting) && lease.fence == fence)
            });
            self.require(said, Flaw::Reboot);
            self.require(!is_late, Flaw::Key);
        }
        true
    }

    /// The agent's process dies; what it has sent may still be under way.
    pub fn agent_dies(&mut self, id: NodeId, is_sent: bool) -> bool {
        let node = &mut self[id];
        match node.agent {
            Agent::Writes(write) if is_sent && node.flight.is_none() => {
                let is_late = false;
                node.flight = Some(Write { is_late, ..write });
            }
            Agent::HasLease { .. } | Agent::Writes(_) | Agent::Committed { .. } if !is_sent => {}
            _ => return false,
        }
        node.agent = Agent::Idle;
        true
    }

    /// What a dead agent had sent lands, or is refused.
    pub fn flight_lands(&mut self, id: NodeId, rules: Rules) -> bool {
        let Some(write) = self[id].flight.take() else {
            return false;
        };
        self.land(id, write, rules);
        true
    }
}

/// Whether the agent's pass reads the ledger: see [`decision::reads_ledger`].
fn reads_ledger(lease: &Lease) -> bool {
    match lease.phase.0 {
        Phase::Pending | Phase::Granted => fencing::has_open_grant(lease),
        Phase::Drained | Phase::Rebooting => lease.clear.map_or(0, |key| key.fence) == lease.fence,
        Phase::Draining | Phase::Rebooted | Phase::Completed | Phase::Aborted | Phase::Failed => {
            false
        }
    }
}
