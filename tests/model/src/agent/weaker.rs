//! Mutants of the agent: the same functions decide, on bent facts, or their decision is bent.

use slipway_api::Phase;

use crate::decision::{Decision, Pass};
use crate::fencing;
use crate::rules::{Rule, Rules};
use crate::state::{At, Boot, Call, Intent, Lease, Node, NodeId, Slot, State};

impl<const N: usize> State<N> {
    /// A decision as a mutant would make it.
    pub(super) fn weakened(
        &self,
        id: NodeId,
        lease: Option<Lease>,
        decision: Decision,
        rules: Rules,
    ) -> Decision {
        match decision {
            Decision::Write(Intent::Accept, fence)
                if !rules.hold(Rule::AcceptFirst) && self[id].object.mark.is_none() =>
            {
                Decision::Write(Intent::Cordon { early: true }, fence)
            }
            Decision::Write(Intent::Retire(ending), fence) if !rules.hold(Rule::UndoBeforeEnd) => {
                Decision::Write(Intent::End(ending), fence)
            }
            Decision::Write(Intent::Undo, fence)
                if !rules.hold(Rule::UndoBeforeRebooted)
                    && lease.is_some_and(|lease| lease.phase == At(Phase::Rebooting)) =>
            {
                Decision::Write(Intent::MarkRebooted, fence)
            }
            Decision::Write(Intent::MarkRebooted, _)
                if !rules.hold(Rule::SecondBootTold)
                    && lease.is_some_and(|lease| lease.phase == At(Phase::Rebooted)) =>
            {
                Decision::Wait
            }
            Decision::Wait | Decision::Evict | Decision::Write(..) => decision,
        }
    }
}

/// The facts of a pass, as a mutant would see them.
pub(super) fn bent(node: &Node, lease: Option<Lease>, is_paused: bool, rules: Rules) -> Pass {
    let mut pass = Pass {
        lease,
        slot: node.slot,
        is_paused: is_paused && rules.hold(Rule::PauseChecked),
        object: node.object,
        has_pods: node.has_pods && rules.hold(Rule::PodsChecked),
        needs_reboot: node.needs_reboot || !rules.hold(Rule::TriggerReread),
        journal: node.journal,
    };
    if let Some(lease) = &mut pass.lease {
        bend_lease(lease, &mut pass.slot, rules);
        let waits = matches!(lease.phase.0, Phase::Pending | Phase::Granted);
        if waits && !rules.hold(Rule::JournalChecked) {
            pass.journal.committed = 0;
        }
        let may_accept = waits && fencing::has_open_grant(lease);
        if may_accept && !(rules.hold(Rule::AcceptFirst) && rules.hold(Rule::OlderCordonFirst)) {
            pass.object.mark = None;
        }
        if !rules.hold(Rule::OlderCordonFirst)
            && pass
                .object
                .mark
                .is_some_and(|mark| mark.fence != lease.fence)
        {
            pass.object.mark = None;
        }
    }
    pass.object.is_foreign &= rules.hold(Rule::OwnerAsked);
    if !rules.hold(Rule::VetoObeyed) && pass.object.mark.is_some() {
        pass.object.is_unschedulable = true;
    }
    let drains = pass
        .lease
        .is_some_and(|lease| lease.phase.0 == Phase::Draining);
    if drains && !rules.hold(Rule::UndoneIsFinal) {
        pass.object.undone = 0;
    }
    if !rules.hold(Rule::UndoWaitsForCall) && pass.journal.call == Call::Young {
        pass.journal.call = Call::Old;
    }
    pass
}

fn bend_lease(lease: &mut Lease, slot: &mut Option<Slot>, rules: Rules) {
    let is_uncommitted = matches!(lease.phase.0, Phase::Draining | Phase::Drained);
    if is_uncommitted && !rules.hold(Rule::BootCompared) && lease.before != Boot::None {
        lease.before = Boot::Now;
    }
    if is_uncommitted && !rules.hold(Rule::RevokeObeyed) {
        lease.revoke = 0;
    }
    if let Some(key) = &mut lease.clear {
        key.is_old &= rules.hold(Rule::KeyAgeChecked);
    }
    if !rules.hold(Rule::SlotChecked) {
        *slot = Some(Slot::new(lease.grant, lease.uid));
    }
    if let Some(slot) = slot
        && !rules.hold(Rule::SlotUidChecked)
    {
        slot.uid = lease.uid;
    }
}
