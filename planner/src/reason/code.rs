//! A reason as machines read it: its word, and what it is about.

use slipway_api::lease::WaitingFor;

use super::Reason;
use crate::snapshot::Gap;

impl Reason {
    /// The word in status, events and metric labels.
    #[expect(clippy::too_many_lines, reason = "a word for each reason")]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotRequired => "NotRequired",
            Self::NotReported => "NotReported",
            Self::CheckFailed { .. } => "CheckFailed",
            Self::NoPolicy => "NoPolicy",
            Self::CheckNotCounted { .. } => "CheckNotCounted",
            Self::PolicyConflict { .. } => "PolicyConflict",
            Self::PolicyInvalid { .. } => "PolicyInvalid",
            Self::PolicyDeleted { .. } => "PolicyDeleted",
            Self::ObserveMode { .. } => "ObserveMode",
            Self::PolicyPaused { .. } => "PolicyPaused",
            Self::LedgerPaused => "LedgerPaused",
            Self::WindowClosed { .. } => "WindowClosed",
            Self::Blocked { .. } => "Blocked",
            Self::BlockerFailed { .. } => "BlockerFailed",
            Self::BreakerOpen { .. } => "BreakerOpen",
            Self::NotApproved { .. } => "NotApproved",
            Self::Held { .. } => "Held",
            Self::Released { .. } => "Released",
            Self::ReleaseWaits { .. } => "ReleaseWaits",
            Self::BudgetUsed { .. } => "BudgetUsed",
            Self::Frozen { .. } => "Frozen",
            Self::CutoffReached { .. } => "CutoffReached",
            Self::CeilingUsed { .. } => "CeilingUsed",
            Self::DomainBudgetUsed { .. } => "DomainBudgetUsed",
            Self::DomainBusy { .. } => "DomainBusy",
            Self::DomainDown { .. } => "DomainDown",
            Self::QuorumBusy { .. } => "QuorumBusy",
            Self::QuorumDown { .. } => "QuorumDown",
            Self::NotMixed { .. } => "NotMixed",
            Self::MinInterval { .. } => "MinInterval",
            Self::CanaryRunning { .. } => "CanaryRunning",
            Self::CanarySoaks { .. } => "CanarySoaks",
            Self::TurnOf { .. } => "TurnOf",
            Self::ControlPlaneBusy { .. } => "ControlPlaneBusy",
            Self::ControlPlaneNotReady { .. } => "ControlPlaneNotReady",
            Self::LedgerFull => "LedgerFull",
            Self::LedgerRebuilt { .. } => "LedgerRebuilt",
            Self::LedgerMissing => "LedgerMissing",
            Self::AdmissionNotProved { .. } => "AdmissionNotProved",
            Self::NotObserved { .. } => "NotObserved",
            Self::AgentNotReady => "AgentNotReady",
            Self::NodeNotReady => "NodeNotReady",
            Self::NodeDeleting => "NodeDeleting",
            Self::NodeDisrupted { .. } => "NodeDisrupted",
            Self::LeaseOfFormerNode => "LeaseOfFormerNode",
            Self::BackingOff { .. } => "BackingOff",
            Self::Undrainable { .. } => "Undrainable",
            Self::DrainCausesBlock { .. } => "DrainCausesBlock",
            Self::TooManyReboots { .. } => "TooManyReboots",
            Self::NextInLine { .. } => "NextInLine",
            Self::SlotHeld => "SlotHeld",
            Self::Granted => "Granted",
            Self::Draining => "Draining",
            Self::Drained => "Drained",
            Self::PodsLeft { .. } => "PodsLeft",
            Self::RebootDelay { .. } => "RebootDelay",
            Self::VolumesAttached { .. } => "VolumesAttached",
            Self::Rebooting => "Rebooting",
            Self::Verifying => "Verifying",
            Self::Stuck { .. } => "Stuck",
            Self::AgentSilent => "AgentSilent",
            Self::Voided => "Voided",
            Self::AnswerOwed => "AnswerOwed",
            Self::JournalAhead => "JournalAhead",
            Self::Ineffective => "Ineffective",
            Self::PodsNotReady { .. } => "PodsNotReady",
            Self::VerifyQuery { .. } => "VerifyQuery",
            Self::Verified => "Verified",
            Self::NoLongerNeeded => "NoLongerNeeded",
            Self::Ended { .. } => "Ended",
        }
    }

    /// What the reason is about, for `status.waitingFor[].object`.
    pub fn object(&self) -> String {
        match self {
            Self::CheckNotCounted { policy, .. }
            | Self::PolicyInvalid { policy, .. }
            | Self::PolicyDeleted { policy }
            | Self::ObserveMode { policy }
            | Self::PolicyPaused { policy }
            | Self::WindowClosed { policy, .. }
            | Self::Frozen { policy, .. }
            | Self::CutoffReached { policy, .. }
            | Self::DomainBudgetUsed { policy, .. }
            | Self::DomainBusy { policy, .. }
            | Self::DomainDown { policy, .. }
            | Self::MinInterval { policy, .. }
            | Self::CanaryRunning { policy }
            | Self::CanarySoaks { policy, .. }
            | Self::BreakerOpen { policy, .. }
            | Self::NotApproved { policy }
            | Self::AdmissionNotProved {
                gap: Gap::AdmissionMissing { policy, .. },
            }
            | Self::BudgetUsed { policy, .. } => policy.clone(),
            Self::PolicyConflict { policies } => policies.join(","),
            Self::Blocked { blocker, .. } | Self::BlockerFailed { blocker, .. } => blocker.clone(),
            Self::ControlPlaneBusy { node }
            | Self::ControlPlaneNotReady { node }
            | Self::QuorumBusy { node, .. }
            | Self::QuorumDown { node, .. }
            | Self::NotMixed { node }
            | Self::TurnOf { node, .. } => node.clone(),
            Self::NextInLine { after } => after.clone(),
            Self::PodsLeft { example, .. } | Self::VolumesAttached { example, .. } => {
                example.clone()
            }
            Self::PodsNotReady { owner, .. } => owner.clone(),
            Self::VerifyQuery { .. } => "spec.verify.promql".to_owned(),
            Self::NodeDisrupted { taint, .. } => (*taint).to_owned(),
            _ => String::new(),
        }
    }

    /// As an entry of `status.waitingFor`.
    pub fn waiting_for(&self) -> WaitingFor {
        WaitingFor {
            kind: self.code().to_owned(),
            object: self.object(),
            message: self.to_string(),
        }
    }
}
