//! Writes that read one object, decide by it alone, and swap it.

use slipway_api::Phase;

use super::{Stroke, granted, may_revoke};
use crate::fencing;
use crate::rules::{Rule, Rules};
use crate::state::{At, Lease, NodeId, Slot, State};

impl<const N: usize> State<N> {
    /// A write that is one step; false when the executor refuses.
    pub fn strikes(&mut self, stroke: Stroke, id: NodeId, rules: Rules) -> bool {
        let node = self[id];
        match (stroke, node.lease, node.slot) {
            // For a need, or for the answer owed under a slot.
            (Stroke::Create, None, slot) if node.needs_reboot || slot.is_some() => {
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
                    self.put_lease(
                        id,
                        Some(Lease {
                            phase: At(Phase::Failed),
                            ..lease
                        }),
                    );
                }
                is_away
            }
            _ => false,
        }
    }

    pub(super) fn moves(&mut self, id: NodeId, phase: Phase) -> bool {
        self.writes_spec(id, true, |lease| Lease {
            phase: At(phase),
            ..lease
        })
    }

    fn calls_off(&mut self, id: NodeId, lease: &Lease, slot: Slot, rules: Rules) -> bool {
        let fence = slot.fence;
        let is_fit = may_revoke(lease, fence)
            || (!rules.hold(Rule::RevokeVersion)
                && lease.phase.0.is_committed()
                && !fencing::is_revoked(lease, fence));
        let speaks = fencing::speaks_for(lease, slot) || !rules.hold(Rule::RevokeNeedsSpeaker);
        // A write that is refused is a step as well: it is a flaw.
        let revoked = |lease| Lease {
            revoke: fence,
            ..lease
        };
        is_fit && speaks && (self.writes_spec(id, true, revoked) || self.flaw.is_some())
    }
}
