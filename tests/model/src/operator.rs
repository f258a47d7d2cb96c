//! The operators: what their executors do, step by step, on caches as old as can be.
//!
//! An executor that reads one object, decides by it alone and writes it by compare-and-swap is one
//! step: whoever is faster makes it fail, and a failure changes nothing. The others are cut wherever
//! another program can act in between. An operator may stop for good anywhere, which is how a crash,
//! a lost answer and a lost leadership look to everybody else.

mod steps;
mod strokes;

use slipway_api::Phase;

use crate::fencing;
use crate::planning::{self, Advice};
use crate::rules::{Rule, Rules};
use crate::state::{At, Fence, Lease, NodeId, Operator, Slot, State};

/// What an operator sets out to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Job {
    /// Grant a reboot.
    Grant,
    /// Give or refresh the second key.
    Clear,
    /// End a reboot that is proved.
    Conclude,
    /// Free a slot.
    Free,
    /// Reopen a lease.
    Reopen,
    /// Ask for the answer that a deleted lease owes.
    Demand,
    /// Put a lost slot back.
    Restore,
    /// Call off a grant that its cache shows without a slot.
    Void,
}

impl Job {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Grant,
        Self::Clear,
        Self::Conclude,
        Self::Free,
        Self::Reopen,
        Self::Demand,
        Self::Restore,
        Self::Void,
    ];

    /// True when the planner, seeing everything as it is, would set out to do this.
    pub const fn is_advised(self, advice: &Advice) -> bool {
        match self {
            Self::Grant => advice.grant,
            Self::Clear => advice.clear,
            Self::Conclude => advice.conclude,
            Self::Free => advice.free,
            Self::Reopen => advice.reopen,
            Self::Demand => advice.demand,
            Self::Restore => advice.restore,
            Self::Void => false,
        }
    }
}

/// A write of any operator that is one step.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stroke {
    /// Makes a missing lease.
    Create,
    /// Closes a lease whose need has gone.
    Close,
    /// Shows a grant, or its end, in the phase.
    Show,
    /// Calls off a grant because its slot was found without it (G3).
    Void,
    /// Calls off a grant because of a definite no.
    Revoke,
    /// Repairs a slot without its grant by writing the grant: only in mutants.
    GrantLate,
    /// Frees a slot because time has passed or its lease is missing: only in mutants.
    FreeByGuess,
    /// Ends a committed reboot because time has passed: only in mutants.
    EndByTime,
}

impl Stroke {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Create,
        Self::Close,
        Self::Show,
        Self::Void,
        Self::Revoke,
        Self::GrantLate,
        Self::FreeByGuess,
        Self::EndByTime,
    ];
}

impl<const N: usize> State<N> {
    /// The first read of a job: what the operator then holds, if its executor does not refuse.
    pub fn sets_out(&self, job: Job, id: NodeId, allowed: usize, rules: Rules) -> Option<Operator> {
        let node = &self[id];
        let lease = node.lease.as_ref();
        match job {
            Job::Grant => {
                let lease = lease.filter(|lease| is_fit_for_grant(lease))?;
                let taken = self.nodes.iter().filter(|node| node.slot.is_some()).count();
                // Kept only where a mutant counts by it.
                let had_room = !rules.hold(Rule::LimitInLedger) && taken < allowed;
                let (node, uid, is_fresh) = (id, lease.uid, true);
                Some(Operator::Grants {
                    node,
                    uid,
                    is_fresh,
                    had_room,
                })
            }
            Job::Clear => self.gathers(id, allowed, rules),
            Job::Conclude => {
                let lease = lease.filter(|lease| lease.phase == At(Phase::Rebooted))?;
                let judged = advice(self, id, allowed).conclusion;
                let is_guessed = !rules.hold(Rule::NotReadyWaits)
                    || (!rules.hold(Rule::ReadyOfThisBoot) && node.object.mark.is_none());
                let is_good = judged.or_else(|| is_guessed.then_some(true))?;
                let (node, fence, is_fresh) = (id, lease.fence, true);
                Some(Operator::Concludes {
                    node,
                    fence,
                    is_good,
                    is_fresh,
                })
            }
            Job::Free => {
                let slot = node.slot?;
                let lease = lease.filter(|lease| is_over(lease, slot, rules))?;
                (speaks_for(lease, slot, rules)).then_some(Operator::SawOver {
                    node: id,
                    fence: slot.fence,
                })
            }
            Job::Reopen => {
                let lease = lease.filter(|lease| lease.phase.0.is_terminal())?;
                let is_free = node.slot.is_none() || !rules.hold(Rule::ReopenAfterFree);
                let (node_id, fence, is_fresh) = (id, lease.fence, true);
                (is_free && node.needs_reboot).then_some(Operator::Reopens {
                    node: node_id,
                    fence,
                    is_fresh,
                })
            }
            Job::Demand => self.looks_for_debt(id, rules),
            Job::Restore => {
                let lease = lease.filter(|lease| lease.phase.0.is_accepted())?;
                let restores = Operator::Restores {
                    node: id,
                    fence: lease.fence,
                    uid: lease.uid,
                };
                node.slot.is_none().then_some(restores)
            }
            Job::Void => {
                let lease = lease.filter(|lease| fencing::has_open_grant(lease))?;
                (!rules.hold(Rule::LeasesBeforeLedger)).then_some(Operator::Voids {
                    node: id,
                    fence: lease.grant,
                })
            }
        }
    }

    fn gathers(&self, id: NodeId, allowed: usize, rules: Rules) -> Option<Operator> {
        let lease = self[id]
            .lease
            .filter(|lease| lease.phase == At(Phase::Drained))?;
        let is_asked = fencing::is_live(&lease, lease.fence);
        let may = advice(self, id, allowed).may_clear || !rules.hold(Rule::KeyNeedsEvidence);
        // Younger evidence is there already.
        let is_due = lease
            .clear
            .is_none_or(|key| key.fence != lease.fence || key.is_old);
        (is_asked && may && is_due).then_some(Operator::Clears {
            node: id,
            fence: lease.fence,
            is_old: false,
            is_fresh: true,
        })
    }

    /// Q1. Lease, then ledger, and the writes carry the lease's version: as good as one look.
    fn looks_for_debt(&self, id: NodeId, rules: Rules) -> Option<Operator> {
        let Slot { fence, uid, .. } = self[id].slot?;
        let lease = self[id].lease;
        let owes = lease.is_none_or(|lease| !speaks_for(&lease, Slot::new(fence, uid), rules));
        if !owes {
            return None;
        }
        if !rules.hold(Rule::DemandReadsLeaseFirst) {
            return Some(Operator::SawDebt {
                node: id,
                fence,
                uid,
            });
        }
        Some(next_demand((id, fence), &lease?, rules)).filter(|next| *next != Operator::Idle)
    }
}

/// What is missing before the agent can answer.
fn next_demand((node, fence): (NodeId, Fence), lease: &Lease, rules: Rules) -> Operator {
    let is_fresh = true;
    match (lease.fence == fence, lease.phase.0) {
        (true, phase) if phase.is_accepted() => Operator::AsksKeys {
            node,
            fence,
            is_fresh,
        },
        (false, Phase::Pending) if lease.fence < fence => Operator::AsksPhase {
            node,
            fence,
            is_fresh,
        },
        (false, phase)
            if lease.fence < fence
                && !phase.is_accepted()
                && !fencing::has_open_grant(lease)
                && rules.hold(Rule::DemandReopens) =>
        {
            Operator::AsksPhase {
                node,
                fence,
                is_fresh,
            }
        }
        _ => Operator::Idle,
    }
}

fn advice<const N: usize>(state: &State<N>, id: NodeId, allowed: usize) -> Advice {
    let advice = planning::advice(state, allowed);
    advice.get(usize::from(id.0)).copied().unwrap_or_default()
}

fn granted(lease: Lease, fence: Fence) -> Lease {
    Lease {
        grant: fence,
        is_expired: false,
        ..lease
    }
}

/// A lease at rest, as the executor of a grant wants it.
fn is_fit_for_grant(lease: &Lease) -> bool {
    lease.phase == At(Phase::Pending)
        && !fencing::has_open_grant(lease)
        && (lease.grant == 0 || fencing::is_over(lease, lease.grant))
}

/// Something is left to call off, as the executor of a revoke wants it.
fn may_revoke(lease: &Lease, fence: Fence) -> bool {
    let is_committed = lease.fence == fence && lease.phase.0.is_committed();
    !fencing::is_revoked(lease, fence) && !is_committed && !fencing::is_over(lease, fence)
}

fn is_over(lease: &Lease, slot: Slot, rules: Rules) -> bool {
    let by_phase = !rules.hold(Rule::OverByFence) && lease.phase.0.is_terminal();
    fencing::is_over(lease, slot.fence) || by_phase
}

fn speaks_for(lease: &Lease, slot: Slot, rules: Rules) -> bool {
    fencing::speaks_for(lease, slot) || !rules.hold(Rule::AnswerOwed)
}
