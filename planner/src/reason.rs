//! Why: the one enum behind lease status, conditions, events, metric labels, CLI and documents.

mod code;

use jiff::{SignedDuration, Timestamp};

use crate::snapshot::Gap;

/// Why a node is where it is, or why a reboot was called off.
///
/// [`Reason::code`] is the word in status and metrics; `Display` is the sentence, which ends with
/// what clears it where something has to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nothing asks for a reboot.
    NotRequired,
    /// The agent has not reported yet.
    NotReported,
    /// A check on the host failed.
    CheckFailed {
        /// The agent's words.
        message: String,
    },
    /// No policy selects the node.
    NoPolicy,
    /// The policy counts none of the checks that ask.
    CheckNotCounted {
        /// The policy.
        policy: String,
        /// Their names.
        check: String,
    },
    /// Several policies of the same priority select the node.
    PolicyConflict {
        /// Their names, sorted.
        policies: Vec<String>,
    },
    /// The policy cannot be obeyed.
    PolicyInvalid {
        /// The policy.
        policy: String,
        /// Which field, and why.
        message: String,
    },
    /// The policy that granted is gone.
    PolicyDeleted {
        /// The policy.
        policy: String,
    },
    /// The policy only observes.
    ObserveMode {
        /// The policy.
        policy: String,
    },
    /// The policy is paused.
    PolicyPaused {
        /// The policy.
        policy: String,
    },
    /// Everything is paused.
    LedgerPaused,
    /// No window is open, or not for long enough.
    WindowClosed {
        /// The policy.
        policy: String,
        /// When the next one opens.
        opens: Option<Timestamp>,
    },
    /// A blocker says no.
    Blocked {
        /// The policy.
        policy: String,
        /// The blocker's name.
        blocker: String,
        /// What it says.
        message: String,
    },
    /// A blocker could not be asked, or has not answered yet.
    BlockerFailed {
        /// The policy.
        policy: String,
        /// The blocker's name.
        blocker: String,
        /// Why.
        message: String,
    },
    /// Too many reboots of the policy have failed.
    BreakerOpen {
        /// The policy.
        policy: String,
        /// The nodes whose reboots failed.
        failures: Vec<String>,
        /// When time alone changes that.
        until: Option<Timestamp>,
    },
    /// The policy wants a human's approval for each reboot.
    NotApproved {
        /// The policy.
        policy: String,
    },
    /// A human keeps the node from being rebooted.
    Held {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// A human gave the reboot up.
    Released {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// A release without force of a reboot that was committed a moment ago.
    ReleaseWaits {
        /// Until when a reboot call may still take effect.
        until: Timestamp,
    },
    /// As many nodes are unavailable as may be.
    BudgetUsed {
        /// The policy.
        policy: String,
        /// Nodes unavailable or being rebooted.
        in_use: usize,
        /// The budget as a number.
        allowed: usize,
    },
    /// A freeze is in force.
    Frozen {
        /// The policy.
        policy: String,
        /// Why, in the words of whoever wrote it.
        why: String,
        /// When it ends.
        until: Timestamp,
    },
    /// What starts now could not finish before the window ends or a freeze begins.
    CutoffReached {
        /// The policy.
        policy: String,
        /// What a reboot needs.
        needs: SignedDuration,
        /// When the window ends or the freeze begins.
        ends: Timestamp,
    },
    /// As many nodes of the cluster are unavailable as the ledger allows.
    CeilingUsed {
        /// Nodes unavailable or being rebooted.
        in_use: usize,
        /// The ceiling as a number.
        allowed: usize,
    },
    /// As many nodes of the domain are unavailable as may be.
    DomainBudgetUsed {
        /// The policy.
        policy: String,
        /// The domain.
        domain: String,
        /// Nodes unavailable or being rebooted.
        in_use: usize,
        /// The budget as a number.
        allowed: usize,
    },
    /// Another domain was begun and is not finished.
    DomainBusy {
        /// The policy.
        policy: String,
        /// That domain.
        domain: String,
    },
    /// A node of another domain is unavailable.
    DomainDown {
        /// The policy.
        policy: String,
        /// That domain.
        domain: String,
        /// That node.
        node: String,
    },
    /// Another node of the same quorum group is being rebooted.
    QuorumBusy {
        /// Label and value.
        group: String,
        /// That node.
        node: String,
    },
    /// Another node of the same quorum group is unavailable.
    QuorumDown {
        /// Label and value.
        group: String,
        /// That node.
        node: String,
    },
    /// Control-plane nodes and workers do not go together.
    NotMixed {
        /// The node that is being rebooted.
        node: String,
    },
    /// The last grant of the policy is too young.
    MinInterval {
        /// The policy.
        policy: String,
        /// When the next one may be.
        until: Timestamp,
    },
    /// The first nodes of the rollout are under way.
    CanaryRunning {
        /// The policy.
        policy: String,
    },
    /// The first nodes of the rollout are back; a pause shows whether they are well.
    CanarySoaks {
        /// The policy.
        policy: String,
        /// When the pause ends.
        until: Timestamp,
    },
    /// A node that was passed too often goes first.
    TurnOf {
        /// That node.
        node: String,
        /// Until when it is waited for at most.
        until: Timestamp,
    },
    /// Another control-plane node is being rebooted.
    ControlPlaneBusy {
        /// That node.
        node: String,
    },
    /// Another control-plane node is not Ready.
    ControlPlaneNotReady {
        /// That node.
        node: String,
    },
    /// The ledger holds as many slots as it can.
    LedgerFull,
    /// The ledger was rebuilt a moment ago.
    LedgerRebuilt {
        /// When grants start again.
        until: Timestamp,
    },
    /// The ledger is missing or unreadable.
    LedgerMissing,
    /// It is not proved that the admission policies bound our identities.
    AdmissionNotProved {
        /// What is missing.
        gap: Gap,
    },
    /// Something could not be observed.
    NotObserved {
        /// What.
        gap: Gap,
    },
    /// No Ready agent runs on the node.
    AgentNotReady,
    /// The node is not Ready.
    NodeNotReady,
    /// The node is being deleted.
    NodeDeleting,
    /// Somebody else takes the node away, or has declared it out of service.
    NodeDisrupted {
        /// Who.
        by: &'static str,
        /// The taint that says so.
        taint: &'static str,
    },
    /// The lease still speaks of a node that was deleted and made anew.
    LeaseOfFormerNode,
    /// A pause after failures.
    BackingOff {
        /// Until when.
        until: Timestamp,
        /// Failures in a row.
        failures: usize,
    },
    /// A pause after drains that could not finish.
    Undrainable {
        /// Until when.
        until: Timestamp,
        /// Failures in a row.
        failures: usize,
    },
    /// A pause after drains that a blocker called off.
    DrainCausesBlock {
        /// Until when.
        until: Timestamp,
        /// Drains in a row that it called off.
        drains: usize,
    },
    /// Rebooted as often as a node may be in a day.
    TooManyReboots {
        /// How often it was.
        reboots: usize,
        /// When the next one may be.
        until: Timestamp,
    },
    /// Others are first; one node per pass and policy.
    NextInLine {
        /// Who goes first.
        after: String,
    },
    /// A slot of an earlier reboot is being given back.
    SlotHeld,
    /// Granted; the agent has not accepted yet.
    Granted,
    /// The agent drains the node.
    Draining,
    /// Drained; the checks before the second key are under way.
    Drained,
    /// Pods that have to move are still, or again, on the node.
    PodsLeft {
        /// How many.
        count: usize,
        /// One of them, as namespace/name.
        example: String,
    },
    /// The policy wants a pause between the drain and the reboot.
    RebootDelay {
        /// When it ends.
        until: Timestamp,
    },
    /// Volumes are still attached to the drained node.
    VolumesAttached {
        /// How many.
        count: usize,
        /// Name of one `VolumeAttachment`.
        example: String,
        /// Until when they are waited for.
        until: Timestamp,
    },
    /// The reboot has been called.
    Rebooting,
    /// Rebooted; waiting for the node to be Ready for long enough.
    Verifying,
    /// The node should be back and is not. Its slot stays held.
    Stuck {
        /// Since when it has been away.
        since: Timestamp,
    },
    /// The agent did not accept in time.
    AgentSilent,
    /// A slot without its grant was found; it is called off, never granted late.
    Voided,
    /// The lease was deleted while its reboot was under way; the agent's answer is awaited.
    AnswerOwed,
    /// The agent's journal has committed a fence at or above the granted one.
    JournalAhead,
    /// Rebooted, and the need is still there.
    Ineffective,
    /// Rebooted, and pods that ran on the node are not ready again.
    PodsNotReady {
        /// One of their owners.
        owner: String,
        /// How many of its pods are ready.
        message: String,
    },
    /// Rebooted, and the query of the policy's verification says that something is wrong.
    VerifyQuery {
        /// What it says.
        message: String,
    },
    /// Rebooted and verified.
    Verified,
    /// Nothing asks for the reboot any more.
    NoLongerNeeded,
    /// The last reboot ended as its status says.
    Ended {
        /// The status' own word.
        reason: String,
        /// The status' own sentence.
        message: String,
    },
}

impl Reason {
    /// True when it says that something could not be known, as opposed to a definite no: a drained
    /// node then waits instead of being called off (faults.md G8).
    pub const fn is_doubt(&self) -> bool {
        matches!(
            self,
            Self::NotObserved { .. }
                | Self::AdmissionNotProved { .. }
                | Self::LedgerMissing
                | Self::PodsLeft { .. }
                | Self::BlockerFailed { .. }
        )
    }

    /// When it ends by time alone, for reasons that are found while granting.
    pub(crate) fn ends(&self) -> Option<Timestamp> {
        match self {
            Self::MinInterval { until, .. }
            | Self::CanarySoaks { until, .. }
            | Self::TurnOf { until, .. } => Some(*until),
            _ => None,
        }
    }
}
