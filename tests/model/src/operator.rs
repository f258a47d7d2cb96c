//! The operators: what their executors do, step by step, on caches as old as can be.
//!
//! An executor that reads one object, decides by it alone and writes it by compare-and-swap is one
//! step: whoever is faster makes it fail, and a failure changes nothing. The others are cut wherever
//! another program can act in between. An operator may stop for good anywhere, which is how a crash,
//! a lost answer and a lost leadership look to everybody else.

use slipway_api::{Phase, PhaseOwner};

use crate::fencing;
use crate::planning::{self, Advice};
use crate::rules::{Rule, Rules};
use crate::state::{At, Fence, Key, Lease, NodeId, Operator, Slot, State};

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
    /// Call off a grant that its cache shows without a slot.
    Void,
}

impl Job {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::Grant,
        Self::Clear,
        Self::Conclude,
        Self::Free,
        Self::Reopen,
        Self::Demand,
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
                Some(Operator::Grants { node, uid, is_fresh, had_room })
            }
            Job::Clear => self.gathers(id, allowed, rules),
            Job::Conclude => {
                let lease = lease.filter(|lease| lease.phase == At(Phase::Rebooted))?;
                let judged = advice(self, id, allowed).conclusion;
                let is_good = judged.or((!rules.hold(Rule::NotReadyWaits)).then_some(true))?;
                let (node, fence, is_fresh) = (id, lease.fence, true);
                Some(Operator::Concludes { node, fence, is_good, is_fresh })
            }
            Job::Free => {
                let slot = node.slot?;
                let lease = lease.filter(|lease| is_over(lease, slot, rules))?;
                (speaks_for(lease, slot, rules))
                    .then_some(Operator::SawOver { node: id, fence: slot.fence })
            }
            Job::Reopen => {
                let lease = lease.filter(|lease| lease.phase.0.is_terminal())?;
                let is_free = node.slot.is_none() || !rules.hold(Rule::ReopenAfterFree);
                let (node_id, fence, is_fresh) = (id, lease.fence, true);
                (is_free && node.needs_reboot)
                    .then_some(Operator::Reopens { node: node_id, fence, is_fresh })
            }
            Job::Demand => {
                let slot = node.slot?;
                let owes = lease.is_none_or(|lease| !speaks_for(lease, slot, rules));
                owes.then_some(Operator::SawDebt { node: id, fence: slot.fence, uid: slot.uid })
            }
            Job::Void => {
                let lease = lease.filter(|lease| fencing::has_open_grant(lease))?;
                (!rules.hold(Rule::LeasesBeforeLedger))
                    .then_some(Operator::Voids { node: id, fence: lease.grant })
            }
        }
    }

    fn gathers(&self, id: NodeId, allowed: usize, rules: Rules) -> Option<Operator> {
        let lease = self[id].lease.filter(|lease| lease.phase == At(Phase::Drained))?;
        let is_asked = fencing::is_live(&lease, lease.fence);
        let may = advice(self, id, allowed).may_clear || !rules.hold(Rule::KeyNeedsEvidence);
        // Younger evidence is there already.
        let is_due = lease.clear.is_none_or(|key| key.fence != lease.fence || key.is_old);
        (is_asked && may && is_due).then_some(Operator::Clears {
            node: id,
            fence: lease.fence,
            is_old: false,
            is_fresh: true,
        })
    }

    /// The next call of an operator; what it holds afterwards is in its place.
    pub fn operator_step(&mut self, place: usize, allowed: usize, rules: Rules) -> bool {
        let Some(operator) = self.operators.get(place).copied() else {
            return false;
        };
        self.hold(place, Operator::Idle);
        let next = match operator {
            Operator::Idle => return false,
            Operator::Grants { .. } | Operator::Appends { .. } => {
                self.appends(operator, allowed, rules)
            }
            Operator::Granted { node, fence, is_fresh } => {
                self.writes_grant((node, fence), is_fresh, rules);
                Operator::Idle
            }
            Operator::Clears { node, fence, is_old, is_fresh } => {
                let is_dated_old = is_old && rules.hold(Rule::KeyDatedByEvidence);
                let key = Key { fence, is_old: is_dated_old, evidence_is_old: is_old };
                self.writes_spec(node, is_fresh, |lease| Lease { clear: Some(key), ..lease });
                Operator::Idle
            }
            Operator::Concludes { node, is_good, is_fresh, .. } => {
                let phase = if is_good { Phase::Completed } else { Phase::Failed };
                self.writes_spec(node, is_fresh, |lease| Lease { phase: At(phase), ..lease });
                Operator::Idle
            }
            Operator::Reopens { node, is_fresh, .. } => {
                let pending = At(Phase::Pending);
                self.writes_spec(node, is_fresh, |lease| Lease { phase: pending, ..lease });
                Operator::Idle
            }
            Operator::SawOver { node, fence } => {
                let is_bare = self[node].object.mark.is_none()
                    || !rules.hold(Rule::FreeWithoutCordon);
                if is_bare { Operator::Frees { node, fence } } else { Operator::Idle }
            }
            Operator::Frees { node, fence } => {
                self.frees(node, fence, rules);
                Operator::Idle
            }
            Operator::SawDebt { .. }
            | Operator::AsksPhase { .. }
            | Operator::AsksKeys { .. } => self.demands(operator, rules),
            Operator::Voids { node, fence } => {
                self.voids_from_cache(node, fence);
                Operator::Idle
            }
        };
        self.hold(place, next);
        true
    }

    fn hold(&mut self, place: usize, operator: Operator) {
        if let Some(held) = self.operators.get_mut(place) {
            *held = operator;
        }
    }

    /// G1: the slot, by compare-and-swap on the ledger alone.
    fn appends(&mut self, operator: Operator, allowed: usize, rules: Rules) -> Operator {
        match operator {
            Operator::Grants { node, uid, is_fresh, .. } if !rules.hold(Rule::LedgerVersion) => {
                let bit = |id: NodeId| u8::from(self[id].slot.is_some()) << id.0;
                let slots = Self::ids().map(bit).sum();
                let fits = planning::append(self, (node, uid), allowed).is_some();
                if fits { Operator::Appends { node, uid, is_fresh, slots } } else { Operator::Idle }
            }
            Operator::Grants { node, uid, is_fresh, had_room } => {
                let limit = if had_room { N } else { allowed };
                self.append(node, (uid, is_fresh), limit)
            }
            Operator::Appends { node, uid, is_fresh, slots } => {
                // A blind PUT: slots that were appended since are gone, removed ones are back.
                for id in Self::ids().filter(|id| slots >> id.0 & 1 == 0 && *id != node) {
                    self[id].slot = None;
                }
                self.append(node, (uid, is_fresh), N)
            }
            other => other,
        }
    }

    fn append(&mut self, id: NodeId, (uid, is_fresh): (u8, bool), limit: usize) -> Operator {
        match planning::append(self, (id, uid), limit) {
            Some(slot) => {
                self[id].slot = Some(slot);
                Operator::Granted { node: id, fence: slot.fence, is_fresh }
            }
            None => Operator::Idle,
        }
    }

    /// G2.
    fn writes_grant(&mut self, (id, fence): (NodeId, Fence), is_fresh: bool, rules: Rules) {
        if self[id].lease.is_none() && !rules.hold(Rule::GrantNeedsLease) {
            let made = Lease { grant: fence, ..Lease::new(self[id].leases) };
            self.put_lease(id, Some(made));
            return;
        }
        let is_versioned = rules.hold(Rule::GrantVersion) && rules.hold(Rule::GrantNeedsLease);
        self.writes_spec(id, is_fresh || !is_versioned, |lease| granted(lease, fence));
    }

    fn writes_spec(&mut self, id: NodeId, is_fresh: bool, next: impl Fn(Lease) -> Lease) -> bool {
        let Some(lease) = self[id].lease.filter(|_| is_fresh) else {
            return false;
        };
        self.write_lease(id, PhaseOwner::Operator, next(lease))
    }

    /// S5, G4.
    fn frees(&mut self, id: NodeId, fence: Fence, rules: Rules) {
        let Some(slot) = self[id].slot else {
            return;
        };
        let asked = Slot { fence, ..slot };
        if planning::frees(self, id, asked) || !rules.hold(Rule::FreeExactly) {
            self.remove_slot(id);
        }
    }

    /// Q1: the lease made anew, then its phase, then the revoked grant.
    fn demands(&mut self, operator: Operator, rules: Rules) -> Operator {
        match operator {
            Operator::SawDebt { node, fence, uid } => {
                let Some(lease) = self[node].lease else {
                    let made = Lease::new(self[node].leases);
                    self.put_lease(node, Some(made));
                    return Operator::AsksPhase { node, fence, is_fresh: true };
                };
                if speaks_for(&lease, Slot { fence, uid, was_over: false }, rules) {
                    Operator::Idle
                } else {
                    self.next_demand((node, fence), &lease, rules)
                }
            }
            Operator::AsksPhase { node, fence, is_fresh } => {
                if !rules.hold(Rule::DemandByPhase) {
                    return self.ask_keys((node, fence), is_fresh);
                }
                let asked = At(Phase::Draining);
                let is_taken = self.writes_spec(node, is_fresh, |lease| Lease {
                    phase: asked,
                    fence,
                    ..lease
                });
                if is_taken {
                    Operator::AsksKeys { node, fence, is_fresh: true }
                } else {
                    Operator::Idle
                }
            }
            Operator::AsksKeys { node, fence, is_fresh } => {
                self.ask_keys((node, fence), is_fresh)
            }
            other => other,
        }
    }

    fn next_demand(
        &mut self,
        (node, fence): (NodeId, Fence),
        lease: &Lease,
        rules: Rules,
    ) -> Operator {
        let is_fresh = true;
        match (lease.fence == fence, lease.phase.0) {
            (true, phase) if phase.is_accepted() => {
                self.demands(Operator::AsksKeys { node, fence, is_fresh }, rules)
            }
            (false, Phase::Pending) if lease.fence < fence => {
                self.demands(Operator::AsksPhase { node, fence, is_fresh }, rules)
            }
            _ => Operator::Idle,
        }
    }

    fn ask_keys(&mut self, (id, fence): (NodeId, Fence), is_fresh: bool) -> Operator {
        self.writes_spec(id, is_fresh, |lease| Lease { revoke: fence, ..granted(lease, fence) });
        Operator::Idle
    }

    fn voids_from_cache(&mut self, id: NodeId, fence: Fence) {
        let Some(lease) = self[id].lease.filter(|lease| may_revoke(lease, fence)) else {
            return;
        };
        let is_whole =
            lease.grant == fence && self[id].slot.is_some_and(|slot| slot.fence == fence);
        if !is_whole {
            self.writes_spec(id, true, |lease| Lease { revoke: fence, ..lease });
        }
    }

    /// A write that is one step; false when the executor refuses.
    pub fn strikes(&mut self, stroke: Stroke, id: NodeId, rules: Rules) -> bool {
        let node = self[id];
        match (stroke, node.lease, node.slot) {
            (Stroke::Create, None, _) if node.needs_reboot => {
                let made = Lease::new(node.leases);
                self.put_lease(id, Some(made));
                true
            }
            (Stroke::Close, Some(lease), _) => {
                let is_idle = lease.phase == At(Phase::Pending)
                    && !fencing::has_open_grant(&lease)
                    && !node.needs_reboot;
                is_idle && self.moves(id, Phase::Aborted)
            }
            (Stroke::Show, Some(lease), _) => {
                match (lease.phase.0, fencing::has_open_grant(&lease)) {
                    (Phase::Pending, true) => self.moves(id, Phase::Granted),
                    (Phase::Granted, false) => self.moves(id, Phase::Pending),
                    _ => false,
                }
            }
            (Stroke::Void, Some(lease), Some(slot)) if rules.hold(Rule::Repair) => {
                lease.grant != slot.fence && self.calls_off(id, &lease, slot, rules)
            }
            (Stroke::Revoke, Some(lease), Some(slot)) => {
                lease.grant == slot.fence && self.calls_off(id, &lease, slot, rules)
            }
            (Stroke::GrantLate, Some(lease), Some(slot)) => {
                !rules.hold(Rule::RepairIsVoid)
                    && lease.grant < slot.fence
                    && !fencing::is_revoked(&lease, slot.fence)
                    && self.writes_spec(id, true, |lease| granted(lease, slot.fence))
            }
            (Stroke::FreeByGuess, lease, Some(_)) => {
                let is_guessed = !rules.hold(Rule::TimeFreesNothing)
                    || (!rules.hold(Rule::MissingFreesNothing) && lease.is_none());
                if is_guessed {
                    self[id].slot = None;
                }
                is_guessed
            }
            (Stroke::EndByTime, Some(lease), _) if !rules.hold(Rule::TimeEndsNothing) => {
                let is_away = lease.phase == At(Phase::Rebooting);
                if is_away {
                    // As if the table of phases allowed it.
                    self.put_lease(id, Some(Lease { phase: At(Phase::Failed), ..lease }));
                }
                is_away
            }
            _ => false,
        }
    }

    fn moves(&mut self, id: NodeId, phase: Phase) -> bool {
        self.writes_spec(id, true, |lease| Lease { phase: At(phase), ..lease })
    }

    fn calls_off(&mut self, id: NodeId, lease: &Lease, slot: Slot, rules: Rules) -> bool {
        let fence = slot.fence;
        let is_fit = may_revoke(lease, fence)
            || (!rules.hold(Rule::RevokeVersion)
                && lease.phase.0.is_committed()
                && !fencing::is_revoked(lease, fence));
        let speaks = fencing::speaks_for(lease, slot) || !rules.hold(Rule::RevokeNeedsSpeaker);
        // A write that is refused is a step as well: it is a flaw.
        let revoked = |lease| Lease { revoke: fence, ..lease };
        is_fit && speaks && (self.writes_spec(id, true, revoked) || self.flaw.is_some())
    }
}

fn advice<const N: usize>(state: &State<N>, id: NodeId, allowed: usize) -> Advice {
    let advice = planning::advice(state, allowed);
    advice.get(usize::from(id.0)).copied().unwrap_or_default()
}

fn granted(lease: Lease, fence: Fence) -> Lease {
    Lease { grant: fence, is_expired: false, ..lease }
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
