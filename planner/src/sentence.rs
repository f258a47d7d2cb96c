//! Each reason as a sentence, which ends with what clears it where something has to.

use std::fmt;

use crate::reason::Reason;
use crate::snapshot::Gap;

impl fmt::Display for Reason {
    #[expect(
        clippy::too_many_lines,
        reason = "one sentence per reason, and a table of them reads best whole"
    )]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRequired => f.write_str("nothing asks for a reboot"),
            Self::NotReported => f.write_str("no agent has reported on this node yet"),
            Self::CheckFailed { message } => write!(f, "a check on the host failed: {message}"),
            Self::NoPolicy => f.write_str(
                "a reboot is required, but no RebootPolicy selects this node; label it or write a policy",
            ),
            Self::CheckNotCounted { policy, check } => write!(
                f,
                "{check} asks for a reboot, but policy {policy} does not count it (spec.triggers.checks)"
            ),
            Self::PolicyConflict { policies } => write!(
                f,
                "policies {} select this node with the same priority; give one a higher spec.priority",
                policies.join(" and ")
            ),
            Self::PolicyInvalid { policy, message } => {
                write!(f, "policy {policy} cannot be obeyed: {message}")
            }
            Self::PolicyDeleted { policy } => write!(f, "policy {policy} was deleted"),
            Self::ObserveMode { policy } => {
                write!(f, "policy {policy} only observes (spec.mode: Observe)")
            }
            Self::PolicyPaused { policy } => write!(f, "policy {policy} is paused (spec.paused)"),
            Self::LedgerPaused => {
                f.write_str("all reboots are paused (spec.paused of RebootLedger cluster)")
            }
            Self::WindowClosed { policy, opens: Some(opens) } => {
                write!(f, "no window of policy {policy} is open; the next opens at {opens}")
            }
            Self::WindowClosed { policy, opens: None } => {
                write!(f, "no window of policy {policy} is open, and none comes")
            }
            Self::Blocked { policy, blocker, message } => {
                write!(f, "blocker {blocker} of policy {policy} blocks: {message}")
            }
            Self::BlockerFailed { policy, blocker, message } => {
                write!(f, "blocker {blocker} of policy {policy} has no answer: {message}")
            }
            Self::BreakerOpen { policy, failures, until } => breaker(f, policy, failures, *until),
            Self::NotApproved { policy } => write!(
                f,
                "policy {policy} wants each reboot approved (spec.mode: Approve); kubectl reboot approve does it"
            ),
            Self::Held { by, why } => write!(f, "held by {by}{}", because(why)),
            Self::Released { by, why } => write!(f, "given up by {by}{}", because(why)),
            Self::ReleaseWaits { until } => write!(
                f,
                "a release without force takes effect at {until}: the reboot may still be about to happen"
            ),
            Self::BudgetUsed { policy, in_use, allowed } => write!(
                f,
                "{in_use} of {allowed} nodes that policy {policy} allows are unavailable or being rebooted"
            ),
            Self::Frozen { policy, why, until } if why.is_empty() => {
                write!(f, "policy {policy} is frozen until {until}")
            }
            Self::Frozen { policy, why, until } => {
                write!(f, "policy {policy} is frozen until {until}: {why}")
            }
            Self::CutoffReached { policy, needs, ends } => write!(
                f,
                "a reboot needs {needs:#}, but policy {policy} allows them only until {ends} (spec.schedule.cutoff)"
            ),
            Self::CeilingUsed { in_use, allowed } => write!(
                f,
                "{in_use} of {allowed} nodes that the cluster allows are unavailable or being rebooted (spec.maxUnavailable of RebootLedger cluster)"
            ),
            Self::DomainBudgetUsed { policy, domain, in_use, allowed } => write!(
                f,
                "{in_use} of {allowed} nodes that policy {policy} allows in domain {domain:?} are unavailable or being rebooted"
            ),
            Self::DomainBusy { policy, domain } => {
                write!(f, "policy {policy} finishes domain {domain:?} first")
            }
            Self::DomainDown { policy, domain, node } => write!(
                f,
                "{node} in domain {domain:?} is unavailable, and policy {policy} allows no further domain at once"
            ),
            Self::QuorumBusy { group, node } => {
                write!(f, "{node} of the same quorum group {group} is being rebooted")
            }
            Self::QuorumDown { group, node } => {
                write!(f, "{node} of the same quorum group {group} is unavailable")
            }
            Self::NotMixed { node } => write!(
                f,
                "{node} is being rebooted, and control-plane nodes do not go together with workers (spec.budget.controlPlaneWithWorkers)"
            ),
            Self::MinInterval { policy, until } => write!(
                f,
                "policy {policy} grants the next reboot at {until} at the earliest (spec.budget.minInterval)"
            ),
            Self::CanaryRunning { policy } => {
                write!(f, "the first nodes of this rollout of policy {policy} go alone")
            }
            Self::CanarySoaks { policy, until } => write!(
                f,
                "the first nodes of this rollout of policy {policy} are back; the others follow at {until}"
            ),
            Self::TurnOf { node, until } => write!(
                f,
                "{node} was passed too often and goes first; waited for until {until} at most"
            ),
            Self::ControlPlaneBusy { node } => {
                write!(f, "control-plane node {node} is being rebooted; they go one at a time")
            }
            Self::ControlPlaneNotReady { node } => {
                write!(f, "control-plane node {node} is not Ready")
            }
            Self::LedgerFull => f.write_str("1000 reboots are under way, the most that fit the ledger"),
            Self::LedgerRebuilt { until } => {
                write!(f, "the lost ledger was rebuilt; grants start again at {until}")
            }
            Self::LedgerMissing => f.write_str("the RebootLedger cannot be read"),
            Self::NotObserved { gap } | Self::AdmissionNotProved { gap } => write!(f, "{gap}"),
            Self::AgentNotReady => f.write_str("no Ready agent runs on this node"),
            Self::NodeNotReady => f.write_str("the node is not Ready, so a reboot could not be verified"),
            Self::NodeDeleting => f.write_str("the node is being deleted"),
            Self::NodeDisrupted { by, taint } => {
                write!(f, "the node has the taint {taint}: {by} takes it away")
            }
            Self::LeaseOfFormerNode => f.write_str(
                "the lease is of a former node of this name; Kubernetes is about to remove it",
            ),
            Self::BackingOff { until, failures } => {
                write!(f, "{failures} failures in a row; tried again at {until}")
            }
            Self::Undrainable { until, failures } => write!(
                f,
                "{failures} drains in a row could not finish, so others go first; tried again at {until}"
            ),
            Self::DrainCausesBlock { until, drains } => write!(
                f,
                "a blocker called {drains} drains in a row off, so the drain itself may cause what it sees; tried again at {until}"
            ),
            Self::TooManyReboots { reboots, until } => write!(
                f,
                "rebooted {reboots} times within a day (spec.failure.maxRebootsPerNode); not again before {until}"
            ),
            Self::NextInLine { after } => write!(f, "{after} goes first"),
            Self::SlotHeld => f.write_str("the slot of the last reboot is being given back"),
            Self::Granted => f.write_str("granted; the agent is about to accept"),
            Self::Draining => f.write_str("the agent drains the node"),
            Self::Drained => f.write_str("drained; everything is checked once more"),
            Self::PodsLeft { count, example } => {
                write!(f, "{count} pods have to leave first, {example} among them")
            }
            Self::RebootDelay { until } => {
                write!(f, "drained; spec.reboot.delay of the policy lasts until {until}")
            }
            Self::VolumesAttached {
                count,
                example,
                until,
            } => write!(
                f,
                "{count} volumes are still attached to the node, {example} among them; they are waited for until {until}"
            ),
            Self::Rebooting => f.write_str("the reboot has been called"),
            Self::Verifying => f.write_str("rebooted; it has to be Ready for a while"),
            Self::Stuck { since } => write!(
                f,
                "not back since {since}; its slot stays held until it is, or its Node object is deleted"
            ),
            Self::AgentSilent => f.write_str("the agent did not accept the grant within 5 minutes"),
            Self::Voided => f.write_str("a slot was found without its grant; it is called off"),
            Self::AnswerOwed => f.write_str(
                "the lease was deleted during a reboot; the agent's answer is awaited before anything else",
            ),
            Self::JournalAhead => {
                f.write_str("the journal on the host knows a later reboot; granted anew with a higher fence")
            }
            Self::Ineffective => f.write_str("rebooted, but the host still asks for a reboot"),
            Self::PodsNotReady { message, .. } => {
                write!(f, "rebooted, and pods that ran on the node are not ready again: {message}")
            }
            Self::VerifyQuery { message } => {
                write!(f, "rebooted, and the query of spec.verify.promql does not agree: {message}")
            }
            Self::Verified => f.write_str("rebooted and verified"),
            Self::NoLongerNeeded => f.write_str("nothing asks for the reboot any more"),
            Self::Ended { message, .. } => f.write_str(message),
        }
    }
}

fn breaker(
    f: &mut fmt::Formatter<'_>,
    policy: &str,
    failures: &[String],
    until: Option<jiff::Timestamp>,
) -> fmt::Result {
    let names: Vec<&str> = failures.iter().take(5).map(String::as_str).collect();
    write!(
        f,
        "the breaker of policy {policy} is open: reboots of {} failed; ",
        names.join(", ")
    )?;
    match until {
        Some(until) => write!(f, "next change at {until}, or set spec.failure.resetAt"),
        None => f.write_str("one node has to succeed alone first, or set spec.failure.resetAt"),
    }
}

/// What follows a sentence where a person has said why.
pub(crate) fn because(why: &str) -> String {
    if why.is_empty() {
        String::new()
    } else {
        format!(": {why}")
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsynced { kind } => write!(f, "{kind} have not been listed yet"),
            Self::Undecodable { object } => write!(f, "{object} cannot be decoded"),
            Self::ClockSkew { seconds } => {
                write!(
                    f,
                    "the operator's clock is {seconds} s away from the API server's"
                )
            }
            Self::AdmissionMissing { policy, why } => {
                write!(f, "admission policy {policy} is not in force: {why}")
            }
            Self::AdmissionUnknown { why } => {
                write!(
                    f,
                    "it is not known whether the admission policies are in force: {why}"
                )
            }
        }
    }
}
