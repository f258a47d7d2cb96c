//! The phases of a lease, the legal transitions, and who may make each.
//!
//! One table, obeyed by the operator, the agent, the CRD's own rules and the admission policies
//! (a test compares them). Cleared and revoked are facts of `spec`, not phases.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the reboot that a lease speaks of stands.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Phase {
    /// The node needs a reboot and waits; `status.waitingFor` says for what.
    #[default]
    Pending,
    /// The operator has granted the reboot; the agent has not accepted it yet.
    Granted,
    /// The agent has accepted, cordons and drains.
    Draining,
    /// No pod that has to move is left; waiting for the second key (`spec.clear`).
    Drained,
    /// Committed: the reboot is called, or about to be.
    Rebooting,
    /// Back with a new boot ID and uncordoned; the operator verifies.
    Rebooted,
    /// Rebooted and verified.
    Completed,
    /// Called off before the commit and undone.
    Aborted,
    /// Did not work; `status.reason` says why. Whatever was ours on the node is undone.
    Failed,
}

/// Which program makes a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseOwner {
    /// The operator.
    Operator,
    /// The agent of the lease's own node.
    Agent,
}

use Phase::{Aborted, Completed, Drained, Draining, Failed, Granted, Pending, Rebooted, Rebooting};
use PhaseOwner::{Agent, Operator};

/// Every legal transition and its owner. A write that keeps the phase is legal for both.
pub const TRANSITIONS: &[(Phase, Phase, PhaseOwner)] = &[
    // The grant is written in `spec`; the phase follows so that people see it.
    (Pending, Granted, Operator),
    // Revoked before it was accepted: over at once, nothing to undo.
    (Granted, Pending, Operator),
    // Nothing asks for the reboot any more: no reboot is claimed.
    (Pending, Aborted, Operator),
    // A lease that was deleted under its slot owes an answer (faults.md Q1): only an agent's
    // Aborted ends it.
    (Pending, Draining, Operator),
    // Accept, before the node is touched. The agent may read the grant before the operator
    // has written the phase.
    (Pending, Draining, Agent),
    (Granted, Draining, Agent),
    (Draining, Drained, Agent),
    (Draining, Aborted, Agent),
    (Draining, Failed, Agent),
    (Drained, Rebooting, Agent),
    (Drained, Aborted, Agent),
    (Drained, Failed, Agent),
    (Rebooting, Rebooted, Agent),
    (Rebooting, Failed, Agent),
    (Rebooted, Completed, Operator),
    (Rebooted, Failed, Operator),
    // A human's release: the agent may be gone for good. Whatever it still writes under the phase
    // before fails, and it undoes what is there.
    (Draining, Failed, Operator),
    (Drained, Failed, Operator),
    (Rebooting, Failed, Operator),
    // A new need.
    (Completed, Pending, Operator),
    (Aborted, Pending, Operator),
    (Failed, Pending, Operator),
];

impl Phase {
    /// All phases, in the order of a reboot.
    pub const ALL: [Self; 9] = [
        Pending, Granted, Draining, Drained, Rebooting, Rebooted, Completed, Aborted, Failed,
    ];

    /// True when `owner` may move a lease from `self` to `next`, or keep it where it is.
    pub fn may_become(self, next: Self, owner: PhaseOwner) -> bool {
        self == next || TRANSITIONS.contains(&(self, next, owner))
    }

    /// Completed, Aborted or Failed: nothing more happens for this fence.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Completed | Aborted | Failed)
    }

    /// Accepted and not terminal: the agent is responsible for the node.
    pub const fn is_accepted(self) -> bool {
        matches!(self, Draining | Drained | Rebooting | Rebooted)
    }

    /// The agent has passed the commit point: the reboot can no longer be revoked.
    pub const fn is_committed(self) -> bool {
        matches!(self, Rebooting | Rebooted)
    }

    /// The name as written in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Pending => "Pending",
            Granted => "Granted",
            Draining => "Draining",
            Drained => "Drained",
            Rebooting => "Rebooting",
            Rebooted => "Rebooted",
            Completed => "Completed",
            Aborted => "Aborted",
            Failed => "Failed",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_leads_back_to_pending() {
        for start in Phase::ALL {
            let mut reached = vec![start];
            while let Some(next) = TRANSITIONS
                .iter()
                .find(|(from, to, _)| reached.contains(from) && !reached.contains(to))
            {
                reached.push(next.1);
            }
            assert!(reached.contains(&Pending), "{start} is a dead end");
        }
    }

    #[test]
    fn a_terminal_phase_is_left_only_by_the_operator_and_only_to_pending() {
        for (from, to, owner) in TRANSITIONS.iter().filter(|(from, _, _)| from.is_terminal()) {
            assert_eq!((*to, *owner), (Pending, Operator), "from {from}");
        }
    }

    #[test]
    fn a_committed_reboot_is_never_aborted() {
        for from in Phase::ALL.into_iter().filter(|p| p.is_committed()) {
            assert!(!from.may_become(Aborted, Agent) && !from.may_become(Aborted, Operator));
        }
    }
}
