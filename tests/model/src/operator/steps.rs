//! What an operator does after it has set out: one call at a time.

use slipway_api::{Phase, PhaseOwner};

use super::{granted, may_revoke, next_demand, speaks_for};
use crate::planning;
use crate::rules::{Rule, Rules};
use crate::state::{At, Fence, Key, Lease, NodeId, Operator, Slot, State};

impl<const N: usize> State<N> {
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
            Operator::SawOver { node, fence } => self.sees_cordon(node, fence, rules),
            Operator::SawDebt { .. } | Operator::AsksPhase { .. } | Operator::AsksKeys { .. } => {
                self.demands(operator, rules)
            }
            last => {
                self.makes_last_call(last, rules);
                Operator::Idle
            }
        };
        self.hold(place, next);
        true
    }

    /// A call after which the operator holds nothing.
    fn makes_last_call(&mut self, operator: Operator, rules: Rules) {
        match operator {
            Operator::Granted {
                node,
                fence,
                is_fresh,
            } => {
                self.writes_grant((node, fence), is_fresh, rules);
            }
            Operator::Clears {
                node,
                fence,
                is_old,
                is_fresh,
            } => {
                let is_dated_old = is_old && rules.hold(Rule::KeyDatedByEvidence);
                let key = Key {
                    fence,
                    is_old: is_dated_old,
                    evidence_is_old: is_old,
                };
                self.writes_spec(node, is_fresh, |lease| Lease {
                    clear: Some(key),
                    ..lease
                });
            }
            Operator::Concludes {
                node,
                is_good,
                is_fresh,
                ..
            } => {
                let phase = if is_good {
                    Phase::Completed
                } else {
                    Phase::Failed
                };
                self.writes_spec(node, is_fresh, |lease| Lease {
                    phase: At(phase),
                    ..lease
                });
            }
            Operator::Reopens { node, is_fresh, .. } => {
                let pending = At(Phase::Pending);
                self.writes_spec(node, is_fresh, |lease| Lease {
                    phase: pending,
                    ..lease
                });
            }
            Operator::Frees { node, fence } => self.frees(node, fence, rules),
            Operator::Restores { node, fence, uid } => {
                let restored = Slot {
                    is_restored: true,
                    ..Slot::new(fence, uid)
                };
                self[node].slot.get_or_insert(restored);
            }
            Operator::Voids { node, fence } => self.voids_from_cache(node, fence),
            Operator::Idle
            | Operator::Grants { .. }
            | Operator::Appends { .. }
            | Operator::SawOver { .. }
            | Operator::SawDebt { .. }
            | Operator::AsksPhase { .. }
            | Operator::AsksKeys { .. } => {}
        }
    }

    /// S5: the Node after the lease.
    fn sees_cordon(&self, node: NodeId, fence: Fence, rules: Rules) -> Operator {
        let is_bare = self[node].object.mark.is_none() || !rules.hold(Rule::FreeWithoutCordon);
        if is_bare {
            Operator::Frees { node, fence }
        } else {
            Operator::Idle
        }
    }

    fn hold(&mut self, place: usize, operator: Operator) {
        if let Some(held) = self.operators.get_mut(place) {
            *held = operator;
        }
    }

    /// G1: the slot, by compare-and-swap on the ledger alone.
    fn appends(&mut self, operator: Operator, allowed: usize, rules: Rules) -> Operator {
        match operator {
            Operator::Grants {
                node,
                uid,
                is_fresh,
                ..
            } if !rules.hold(Rule::LedgerVersion) => {
                let bit = |id: NodeId| u8::from(self[id].slot.is_some()) << id.0;
                let slots = Self::ids().map(bit).sum();
                let fits = planning::append(self, (node, uid), allowed).is_some();
                if fits {
                    Operator::Appends {
                        node,
                        uid,
                        is_fresh,
                        slots,
                    }
                } else {
                    Operator::Idle
                }
            }
            Operator::Grants {
                node,
                uid,
                is_fresh,
                had_room,
            } => {
                let limit = if had_room { N } else { allowed };
                self.append(node, (uid, is_fresh), limit)
            }
            Operator::Appends {
                node,
                uid,
                is_fresh,
                slots,
            } => {
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
                Operator::Granted {
                    node: id,
                    fence: slot.fence,
                    is_fresh,
                }
            }
            None => Operator::Idle,
        }
    }

    /// G2.
    fn writes_grant(&mut self, (id, fence): (NodeId, Fence), is_fresh: bool, rules: Rules) {
        if self[id].lease.is_none() && !rules.hold(Rule::GrantNeedsLease) {
            let made = Lease {
                grant: fence,
                ..Lease::new(self[id].leases)
            };
            self.put_lease(id, Some(made));
            return;
        }
        let is_versioned = rules.hold(Rule::GrantVersion) && rules.hold(Rule::GrantNeedsLease);
        self.writes_spec(id, is_fresh || !is_versioned, |lease| granted(lease, fence));
    }

    pub(super) fn writes_spec(
        &mut self,
        id: NodeId,
        is_fresh: bool,
        next: impl Fn(Lease) -> Lease,
    ) -> bool {
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
                    return Operator::AsksPhase {
                        node,
                        fence,
                        is_fresh: true,
                    };
                };
                if speaks_for(&lease, Slot::new(fence, uid), rules) {
                    Operator::Idle
                } else {
                    self.demands(next_demand((node, fence), &lease, rules), rules)
                }
            }
            Operator::AsksPhase {
                node,
                fence,
                is_fresh,
            } => {
                if !rules.hold(Rule::DemandByPhase) {
                    return self.ask_keys((node, fence), is_fresh);
                }
                if self[node]
                    .lease
                    .is_some_and(|lease| lease.phase != At(Phase::Pending))
                {
                    let is_taken = is_fresh && self.moves(node, Phase::Pending);
                    let next = Operator::AsksPhase {
                        node,
                        fence,
                        is_fresh: true,
                    };
                    return if is_taken { next } else { Operator::Idle };
                }
                let asked = At(Phase::Draining);
                let is_taken = self.writes_spec(node, is_fresh, |lease| Lease {
                    phase: asked,
                    fence,
                    ..lease
                });
                if is_taken {
                    Operator::AsksKeys {
                        node,
                        fence,
                        is_fresh: true,
                    }
                } else {
                    Operator::Idle
                }
            }
            Operator::AsksKeys {
                node,
                fence,
                is_fresh,
            } => self.ask_keys((node, fence), is_fresh),
            other => other,
        }
    }

    fn ask_keys(&mut self, (id, fence): (NodeId, Fence), is_fresh: bool) -> Operator {
        self.writes_spec(id, is_fresh, |lease| Lease {
            revoke: fence,
            ..granted(lease, fence)
        });
        Operator::Idle
    }

    fn voids_from_cache(&mut self, id: NodeId, fence: Fence) {
        let Some(lease) = self[id].lease.filter(|lease| may_revoke(lease, fence)) else {
            return;
        };
        let is_whole =
            lease.grant == fence && self[id].slot.is_some_and(|slot| slot.fence == fence);
        if !is_whole {
            self.writes_spec(id, true, |lease| Lease {
                revoke: fence,
                ..lease
            });
        }
    }
}
