//! What may never happen, what must happen somewhere, and what must stay possible for ever.
//!
//! Invariants by their names in `docs/design/faults.md`. Those of states are judged here; those of
//! steps are noted by the step itself as a [`Flaw`].

use slipway_api::Phase;

use crate::explore::Goal;
use crate::fencing;
use crate::state::{Agent, Boot, Node, State};

/// What a step did that may never be done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Flaw {
    /// S2: committed, called or rebooted without everything that a reboot needs.
    Reboot,
    /// S4: committed or called on old evidence, after a revoke, or while paused.
    Key,
    /// S5: a slot disappeared whose reboot was not over, or whose cordon was on.
    Slot,
    /// S6: a fence fell, or a phase moved off the table or by the wrong program.
    Backwards,
    /// S7: a reboot that nothing asked for, or a second one for the same need.
    Needless,
    /// S9: a cordon was made again after its undo.
    Again,
}

/// An invariant of states, by name.
pub type Invariant<const N: usize> = (&'static str, fn(&State<N>, usize) -> bool);

/// Every invariant; the second argument is the budget.
pub fn invariants<const N: usize>() -> Vec<Invariant<N>> {
    vec![
        ("S1 no more slots than the budget", |state, allowed| {
            // One that was put back may be too many: it stops grants, and takes no node down.
            let granted = |node: &&Node| node.slot.is_some_and(|slot| !slot.is_restored);
            state.nodes.iter().filter(granted).count() <= allowed
        }),
        (
            "S1b whoever is down because of us holds its slot",
            |state, _| state.nodes.iter().all(holds_its_slot),
        ),
        ("S1c an accepted grant has its slot", |state, _| {
            state.nodes.iter().all(has_slot_of_phase)
        }),
        (
            "S2 a reboot comes only to a node that is ready for it",
            |state, _| state.flaw != Some(Flaw::Reboot) && state.nodes.iter().all(is_ready_to_fall),
        ),
        ("S3 what a human wants stays", |state, _| {
            state
                .nodes
                .iter()
                .all(|node| !node.is_wanted || node.object.is_unschedulable)
        }),
        ("S4 a reboot rests on both keys", |state, _| {
            state.flaw != Some(Flaw::Key)
        }),
        ("S5 a slot goes only when its reboot is over", |state, _| {
            state.flaw != Some(Flaw::Slot)
        }),
        ("S6 nothing moves backwards", |state, _| {
            state.flaw != Some(Flaw::Backwards)
        }),
        ("S7 no needless reboot", |state, _| {
            state.flaw != Some(Flaw::Needless)
        }),
        ("S9 no cordon after its undo", |state, _| {
            state.flaw != Some(Flaw::Again)
        }),
    ]
}

/// S1b.
fn holds_its_slot(node: &Node) -> bool {
    let holds = |fence| node.slot.is_some_and(|slot| slot.fence == fence);
    node.object.mark.is_none_or(|mark| holds(mark.fence))
        && (node.pending == 0 || holds(node.pending))
        && (node.down == 0 || holds(node.down))
}

/// S1c. A lease that was only asked for its answer, never accepted (no boot ID), may find its slot
/// freed meanwhile by an operator that saw it over before the lease was deleted: no agent works on it.
fn has_slot_of_phase(node: &Node) -> bool {
    node.lease.is_none_or(|lease| {
        let is_asked = lease.phase.0 == Phase::Draining && lease.before == Boot::None;
        is_asked
            || !lease.phase.0.is_accepted()
            || node.slot.is_some_and(|slot| slot.fence == lease.fence)
    })
}

/// S2, for as long as a reboot call may take effect: our cordon is in force, and the lease, while
/// it is the one that the call was made under, says Rebooting.
fn is_ready_to_fall(node: &Node) -> bool {
    if node.pending == 0 {
        return true;
    }
    let cordoned = node
        .object
        .mark
        .is_some_and(|mark| mark.fence == node.pending)
        && (node.object.is_unschedulable || node.is_loosened);
    let said = node.lease.is_none_or(|lease| {
        node.slot.is_none_or(|slot| slot.uid != lease.uid)
            || (lease.phase.0 == Phase::Rebooting && lease.fence == node.pending)
    });
    cordoned && said
}

/// S9 in a state where nothing more will happen by itself.
pub fn is_clean<const N: usize>(state: &State<N>) -> bool {
    state
        .nodes
        .iter()
        .all(|node| node.object.mark.is_none() && node.object.is_unschedulable == node.is_wanted)
}

/// The end that must stay reachable: every node rebooted, proved and clean.
pub fn is_done<const N: usize>(state: &State<N>) -> bool {
    is_clean(state)
        && state.nodes.iter().all(|node| {
            !node.needs_reboot
                && node.slot.is_none()
                && node.pending == 0
                && node.is_up
                && node.agent == Agent::Idle
                && node.lease.is_none_or(|lease| lease.phase.0.is_terminal())
        })
}

fn in_phase<const N: usize>(state: &State<N>, phase: Phase) -> bool {
    state
        .nodes
        .iter()
        .any(|node| node.lease.is_some_and(|lease| lease.phase.0 == phase))
}

/// What every configuration must reach: a model in which nothing happens proves nothing.
pub fn goals<const N: usize>() -> Vec<Goal<State<N>>> {
    vec![
        ("Granted is shown", |state| in_phase(state, Phase::Granted)),
        ("a node drains", |state| in_phase(state, Phase::Draining)),
        ("a node is drained", |state| in_phase(state, Phase::Drained)),
        ("a node commits", |state| in_phase(state, Phase::Rebooting)),
        ("a node is back", |state| in_phase(state, Phase::Rebooted)),
        ("a reboot completes", |state| {
            in_phase(state, Phase::Completed)
        }),
        ("a reboot is called", |state| {
            state.nodes.iter().any(|node| node.pending != 0)
        }),
        ("a slot is appended on a lease read long ago", |state| {
            state.nodes.iter().any(|node| {
                node.slot.zip(node.lease).is_some_and(|(slot, lease)| {
                    lease.grant < slot.fence && fencing::is_revoked(&lease, slot.fence)
                })
            })
        }),
        ("every node is rebooted and clean", is_done),
    ]
}

/// What a configuration with this fault must reach as well.
pub fn goals_of_faults<const N: usize>(faults: crate::state::Faults) -> Vec<Goal<State<N>>> {
    let mut goals: Vec<Goal<State<N>>> = Vec::new();
    if faults.revokes > 0 {
        goals.push(("a reboot is aborted", |state| {
            in_phase(state, Phase::Aborted)
        }));
    }
    if faults.deletions > 0 {
        goals.push(("a lease made anew gives the answer owed", |state| {
            state.nodes.iter().any(|node| {
                node.slot.zip(node.lease).is_some_and(|(slot, lease)| {
                    slot.uid != lease.uid
                        && lease.phase.0 == Phase::Aborted
                        && lease.fence == slot.fence
                })
            })
        }));
    }
    if faults.crashes > 0 && faults.revokes > 0 {
        goals.push(("a cordon lands after its sender's death", |state| {
            state.nodes.iter().any(|node| {
                node.object.mark.is_some()
                    && node.lease.is_some_and(|lease| {
                        fencing::is_revoked(&lease, lease.fence) && lease.phase.0 == Phase::Draining
                    })
            })
        }));
    }
    if faults.cordons > 0 {
        goals.push(("a human's cordon is found under ours", |state| {
            state
                .nodes
                .iter()
                .any(|node| node.is_wanted && node.object.mark.is_some())
        }));
    }
    if faults.uncordons > 0 || faults.power_cuts > 0 || faults.expiries > 0 || faults.calms > 0 {
        goals.push(("a reboot fails", |state| in_phase(state, Phase::Failed)));
    }
    if faults.pauses > 0 {
        goals.push(("a drained node is paused", |state| {
            state.is_paused && in_phase(state, Phase::Drained)
        }));
    }
    goals
}
