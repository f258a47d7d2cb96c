//! What ends each reason: for people, and for the forecast.

use jiff::Timestamp;

use crate::reason::Reason;

impl Reason {
    /// What clears it, as a sentence for the documentation.
    #[expect(
        clippy::too_many_lines,
        reason = "one sentence per reason, and a table of them reads best whole"
    )]
    pub const fn clears(&self) -> &'static str {
        match self {
            Self::NotReported => {
                "The agent's first report. Look at the agent's pod on the node if none comes."
            }
            Self::CheckFailed { .. } => {
                "The check answers again. The message is the agent's own; look at the node."
            }
            Self::NoPolicy => {
                "A policy whose spec.nodeSelector matches the node, or a label on it."
            }
            Self::CheckNotCounted { .. } => "Adding the check to spec.triggers.checks, or `*`.",
            Self::PolicyConflict { .. } => "A higher spec.priority on one of the policies named.",
            Self::PolicyInvalid { .. } => "Mending the field of the policy that the message names.",
            Self::PolicyDeleted { .. } => {
                "Nothing has to: the node is uncordoned, and waits for another policy."
            }
            Self::ObserveMode { .. } => "spec.mode: Automatic on the policy.",
            Self::PolicyPaused { .. } => "`kubectl reboot resume POLICY` (spec.paused: false).",
            Self::LedgerPaused => "`kubectl reboot resume --all`.",
            Self::WindowClosed { .. } => "Time: the next window. Or another spec.schedule.",
            Self::Frozen { .. } => "Time: the end of the freeze (spec.schedule.freezes).",
            Self::CutoffReached { .. } => {
                "Time: the next window. Or a longer window, or a shorter spec.schedule.cutoff."
            }
            Self::CeilingUsed { .. } => {
                "Other nodes becoming available again, or a higher spec.maxUnavailable of the RebootLedger."
            }
            Self::DomainBudgetUsed { .. } => {
                "Other nodes of the domain becoming available again, or a higher spec.budget.perDomain.maxUnavailable."
            }
            Self::DomainBusy { .. } => {
                "The end of the rollout in the other domain, or a higher spec.budget.perDomain.domainsAtOnce."
            }
            Self::DomainDown { .. } => {
                "The other domain's node becoming available again, or a higher spec.budget.perDomain.domainsAtOnce."
            }
            Self::QuorumBusy { .. } => "The end of the other node's reboot.",
            Self::QuorumDown { .. } => "The other node of the group being Ready and uncordoned.",
            Self::NotMixed { .. } => {
                "The end of the other reboots, or spec.budget.controlPlaneWithWorkers: true."
            }
            Self::MinInterval { .. } => "Time: spec.budget.minInterval since the last grant.",
            Self::CanaryRunning { .. } => "The first nodes being back and verified.",
            Self::CanarySoaks { .. } => "Time: spec.budget.canary.soak after the first nodes.",
            Self::TurnOf { .. } => "The other node's turn, or an hour.",
            Self::Blocked { .. } => {
                "What the blocker names ending, or the blocker leaving spec.blockers."
            }
            Self::BlockerFailed { .. } => {
                "The blocker answering; the message says why it does not. Or its onError: Allow."
            }
            Self::BudgetUsed { .. } => {
                "Other nodes becoming available again, or a higher spec.budget.maxUnavailable."
            }
            Self::ControlPlaneBusy { .. } => "The end of the other control-plane node's reboot.",
            Self::ControlPlaneNotReady { .. } => "The other control-plane node being Ready.",
            Self::LedgerFull => "The end of any reboot.",
            Self::LedgerRebuilt { .. } => "Time: two minutes after the ledger was rebuilt.",
            Self::LedgerMissing => "The ledger being readable; the operator makes it anew if lost.",
            Self::NotObserved { .. } => "The operator seeing again what the message names.",
            Self::AdmissionNotProved { .. } => {
                "The chart's admission policies and their bindings being as shipped: install the chart again."
            }
            Self::AgentNotReady => "A Ready agent pod on the node.",
            Self::NodeNotReady => "The node being Ready.",
            Self::NodeDeleting => "The end of the deletion.",
            Self::NodeDisrupted { .. } => {
                "The taint leaving the node, or the node being replaced. Or the field of spec.cooperate that makes it count."
            }
            Self::LeaseOfFormerNode => "Kubernetes' garbage collector, within moments.",
            Self::BackingOff { .. } => "Time. Each failure in a row doubles the pause.",
            Self::BreakerOpen { .. } => {
                "The success of one node that is rebooted alone, or spec.failure.resetAt."
            }
            Self::NotApproved { .. } => "`kubectl reboot approve NODE`, or spec.mode: Automatic.",
            Self::Held { .. } => "`kubectl reboot unhold NODE` (removes spec.hold of the lease).",
            Self::ReleaseWaits { .. } => "Time: ten minutes after the commit. Or force.",
            Self::Undrainable { .. } => {
                "Time. Look at the disruption budgets of the pods that did not leave."
            }
            Self::DrainCausesBlock { .. } => {
                "Time. Compare what the blocker asks with what a drain moves; another query may be needed."
            }
            Self::TooManyReboots { .. } => {
                "Time. Find out why the host keeps asking: the reboot does not help."
            }
            Self::NextInLine { .. } => "The other node's turn, which is now.",
            Self::SlotHeld => "The agent removing our cordon, or the Node object being deleted.",
            Self::Granted => "The agent accepting, within seconds.",
            Self::Draining => "The end of the drain.",
            Self::Drained => "The last checks, within seconds.",
            Self::PodsLeft { .. } => "The pods leaving the node.",
            Self::RebootDelay { .. } => "Time: spec.reboot.delay since the drain.",
            Self::VolumesAttached { .. } => {
                "The volumes being detached, or spec.drain.waitForVolumeDetach since the drain."
            }
            Self::Rebooting => "The node coming back.",
            Self::Verifying => "The node being Ready for spec.verify.nodeReadyFor.",
            Self::Stuck { .. } => {
                "The node coming back, or its Node object being deleted. Time never does."
            }
            Self::AgentSilent => "Nothing has to: the node waits again. Look at its agent.",
            Self::Voided => "Nothing has to: the node waits again.",
            Self::AnswerOwed => "The agent's answer. The node's agent has to be running.",
            Self::JournalAhead => "Nothing has to: it is granted anew with a higher fence.",
            Self::Ineffective => "A pause, then it is tried again. Look at the host.",
            Self::PodsNotReady { .. } => {
                "The pods of the owner named being ready within spec.verify.podsReadyWithin, anywhere. Once failed: a pause, then it is tried again."
            }
            Self::VerifyQuery { .. } => {
                "An empty answer to the query of spec.verify.promql. Once failed: a pause, then it is tried again."
            }
            Self::Verified => "Nothing has to: the reboot is done.",
            Self::NotRequired | Self::NoLongerNeeded => "Nothing has to: the node is fine.",
            Self::Released { .. } | Self::Ended { .. } => {
                "A new need, once the pause after a failure is over."
            } // Its own sentence says what clears it.
        }
    }

    /// True when time or the progress of other nodes ends it, with nobody's doing: such a node has
    /// a place in the forecast.
    pub const fn passes(&self) -> bool {
        matches!(
            self,
            Self::WindowClosed { .. }
                | Self::BlockerFailed { .. }
                | Self::BudgetUsed { .. }
                | Self::Frozen { .. }
                | Self::CutoffReached { .. }
                | Self::CeilingUsed { .. }
                | Self::DomainBudgetUsed { .. }
                | Self::DomainBusy { .. }
                | Self::QuorumBusy { .. }
                | Self::NotMixed { .. }
                | Self::MinInterval { .. }
                | Self::CanaryRunning { .. }
                | Self::CanarySoaks { .. }
                | Self::TurnOf { .. }
                | Self::ControlPlaneBusy { .. }
                | Self::LedgerFull
                | Self::LedgerRebuilt { .. }
                | Self::BackingOff { .. }
                | Self::Undrainable { .. }
                | Self::DrainCausesBlock { .. }
                | Self::TooManyReboots { .. }
                | Self::NextInLine { .. }
                | Self::SlotHeld
                | Self::Granted
                | Self::Draining
                | Self::Drained
                | Self::PodsLeft { .. }
                | Self::RebootDelay { .. }
                | Self::VolumesAttached { .. }
                | Self::Rebooting
                | Self::Verifying
                | Self::PodsNotReady { .. }
                | Self::VerifyQuery { .. }
                | Self::Voided
                | Self::JournalAhead
                | Self::Ended { .. }
        )
    }

    /// When time alone ends it, where that is known.
    pub const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::LedgerRebuilt { until }
            | Self::Frozen { until, .. }
            | Self::MinInterval { until, .. }
            | Self::CanarySoaks { until, .. }
            | Self::RebootDelay { until }
            | Self::BackingOff { until, .. }
            | Self::Undrainable { until, .. }
            | Self::DrainCausesBlock { until, .. }
            | Self::TooManyReboots { until, .. } => Some(*until),
            _ => None,
        }
    }
}
