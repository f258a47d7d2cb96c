//! After the reboot: is the node back for good?

use jiff::{SignedDuration, Timestamp};
use slipway_api::blockers::{BlockerRule, Probe, verify_query};
use slipway_api::lease::Grant;
use slipway_api::people::Release;
use slipway_api::{Phase, RebootLease, Slot};

use crate::blockers::{Answer, Answered, Answers, young};
use crate::limits::{CALL_MAY_FIRE, RELEASED_KEEPS_SLOT, VERIFY_QUERY_UNANSWERED};
use crate::reason::Reason;
use crate::snapshot::{CordonState, Need, NodeView};

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// Rebooted and verified.
    Complete,
    /// Proved, but of no use, or of harm.
    Fail(Reason),
    /// Not back for long enough. Never a failure by time alone: a node that is not back keeps its
    /// slot (faults.md Q2).
    Wait {
        /// When time alone may change the answer.
        until: Option<Timestamp>,
    },
    /// Back and Ready; what else has to hold does not hold yet.
    Verify {
        /// When time alone changes the answer.
        until: Option<Timestamp>,
        /// What it waits for beside time.
        waits: Vec<Reason>,
    },
}

/// A question by node and fence, and by the name of what is asked.
pub type Question = (String, String);

/// Name of the question behind `verify.podsReadyWithin`.
const PODS: &str = "verify.podsReadyWithin";

/// When the lease entered its present phase.
pub fn entered_at(lease: &RebootLease) -> Option<Timestamp> {
    let status = lease.status.as_ref()?;
    let entered = status
        .transitions
        .iter()
        .rev()
        .find(|entry| entry.phase == status.phase)?;
    Some(entered.at.0)
}

/// Judges a lease in phase Rebooted by its Node, read afresh, and by what was answered to
/// [`questions`].
pub fn judge(
    lease: &RebootLease,
    node: &NodeView,
    answers: &Answers,
    now: Timestamp,
) -> Conclusion {
    let Some(back) = Back::of(lease, node, now) else {
        return Conclusion::Wait { until: None };
    };
    if now < back.ready_long_enough {
        return Conclusion::Wait {
            until: Some(back.ready_long_enough),
        };
    }
    let pods = pods(&back, answers, now);
    if now < back.settled {
        return Conclusion::Verify {
            until: Some(back.settled),
            waits: pods
                .err()
                .into_iter()
                .map(|not_yet| not_yet.reason)
                .collect(),
        };
    }
    if let Need::Required { reason, since, .. } = &node.need
        && back.grant.verify.trigger_cleared
        // What asked for another reboot than this one says nothing about this one.
        && back.grant.triggers.counts_reason(reason)
        // The agent looks again before it writes Rebooted; a need that arose later is a new one.
        // Conditions carry whole seconds.
        && since.as_second() < back.rebooted.as_second()
    {
        return Conclusion::Fail(Reason::Ineffective);
    }
    let open: Vec<NotYet> = [pods, query(&back, answers, now)]
        .into_iter()
        .filter_map(Result::err)
        .collect();
    if let Some(late) = open.iter().find(|not_yet| now >= not_yet.until) {
        return Conclusion::Fail(late.reason.clone());
    }
    if open.is_empty() {
        return Conclusion::Complete;
    }
    Conclusion::Verify {
        until: open.iter().map(|not_yet| not_yet.until).min(),
        waits: open.into_iter().map(|not_yet| not_yet.reason).collect(),
    }
}

/// What has to be asked now to verify this reboot; nothing before its node is back.
pub fn questions(
    lease: &RebootLease,
    node: &NodeView,
    now: Timestamp,
) -> Vec<(Question, BlockerRule)> {
    let Some(back) = Back::of(lease, node, now) else {
        return Vec::new();
    };
    let query = back.query().filter(|_| now >= back.settled);
    let rules = back.pods().into_iter().chain(query);
    rules.map(|rule| (back.question(&rule), rule)).collect()
}

/// A node that is back, Ready under its new boot ID and uncordoned.
struct Back<'a> {
    grant: &'a Grant,
    node: &'a str,
    rebooted: Timestamp,
    since: Timestamp,
    ready_long_enough: Timestamp,
    settled: Timestamp,
}

/// Something that does not hold, and until when that is no failure.
struct NotYet {
    reason: Reason,
    until: Timestamp,
}

impl<'a> Back<'a> {
    fn of(lease: &'a RebootLease, node: &'a NodeView, now: Timestamp) -> Option<Self> {
        let (status, grant) = (lease.status.as_ref()?, lease.spec.grant.as_ref()?);
        let fits = lease.phase() == Phase::Rebooted
            && grant.fence == status.fence
            && lease.spec.node_uid == node.uid;
        // The kubelet's own report of the boot ID: a Ready of before the reboot proves nothing (F12).
        let same_boot = status
            .boot_id_after
            .as_ref()
            .is_some_and(|after| *after == node.boot_id);
        if !fits || !same_boot || !node.ready || node.cordon != CordonState::Absent {
            return None;
        }
        let rebooted = entered_at(lease).unwrap_or(now);
        let since = node
            .ready_since
            .map_or(rebooted, |ready| ready.max(rebooted));
        let later = |by: SignedDuration, than: Timestamp| than.saturating_add(by).unwrap_or(than);
        let ready_long_enough = later(grant.verify.node_ready_for.signed(), since);
        Some(Self {
            grant,
            node: &node.name,
            rebooted,
            since,
            ready_long_enough,
            settled: later(grant.verify.settle.signed(), ready_long_enough),
        })
    }

    /// Asked by node and fence: an answer about an earlier reboot is none.
    fn question(&self, rule: &BlockerRule) -> Question {
        let reboot = format!("{}#{}", self.node, self.grant.fence);
        (reboot, rule.name.clone())
    }

    fn pods(&self) -> Option<BlockerRule> {
        let asks =
            !self.grant.workloads.is_empty() && !self.grant.verify.pods_ready_within.is_zero();
        asks.then(|| BlockerRule {
            name: PODS.to_owned(),
            probe: Probe::Workloads(self.grant.workloads.clone()),
            warning: None,
        })
    }

    /// One whose address cannot be read is none: its policy is not Ready, and grants nothing.
    fn query(&self) -> Option<BlockerRule> {
        verify_query(self.grant.verify.promql.as_ref()?).ok()
    }

    fn answer<'b>(
        &self,
        rule: &BlockerRule,
        answers: &'b Answers,
        now: Timestamp,
    ) -> Option<&'b Answered> {
        young(answers, &self.question(rule), rule, now)
    }
}

/// The pods that ran on the node are ready again.
fn pods(back: &Back<'_>, answers: &Answers, now: Timestamp) -> Result<(), NotYet> {
    let Some(rule) = back.pods() else {
        return Ok(());
    };
    let within = back.grant.verify.pods_ready_within.signed();
    let until = back.since.saturating_add(within).unwrap_or(Timestamp::MAX);
    let not_yet = |owner: &str, message: &str, until| {
        Err(NotYet {
            reason: Reason::PodsNotReady {
                owner: owner.to_owned(),
                message: message.to_owned(),
            },
            until,
        })
    };
    match back
        .answer(&rule, answers, now)
        .map(|answered| &answered.answer)
    {
        Some(Answer::Clear) => Ok(()),
        Some(Answer::PodsNotReady { owner, message }) => not_yet(owner, message, until),
        Some(Answer::Blocks { message } | Answer::Failed { message }) => {
            not_yet("", message, until)
        }
        // Not asked yet, or not by this operator: that is nobody's failure.
        Some(Answer::BlocksNodes { .. }) | None => {
            not_yet("", "they are being looked at", Timestamp::MAX)
        }
    }
}

/// The query has an empty answer, asked once the node has settled.
fn query(back: &Back<'_>, answers: &Answers, now: Timestamp) -> Result<(), NotYet> {
    let Some(rule) = back.query() else {
        return Ok(());
    };
    let not_yet = |message: &str, until| {
        let message = message.to_owned();
        Err(NotYet {
            reason: Reason::VerifyQuery { message },
            until,
        })
    };
    let answered = back
        .answer(&rule, answers, now)
        .filter(|answered| answered.at >= back.settled);
    match answered.map(|answered| &answered.answer) {
        Some(Answer::Clear) => Ok(()),
        Some(Answer::Failed { .. }) if rule.allows_failure() => Ok(()),
        Some(Answer::Blocks { message } | Answer::PodsNotReady { message, .. }) => {
            not_yet(message, back.settled)
        }
        Some(Answer::Failed { message }) => {
            let until = back.settled.saturating_add(VERIFY_QUERY_UNANSWERED);
            not_yet(message, until.unwrap_or(Timestamp::MAX))
        }
        Some(Answer::BlocksNodes { .. }) | None => not_yet("it is being asked", Timestamp::MAX),
    }
}

/// Since when the node should be back and is not: past `reboot.timeout` since the commit.
pub fn stuck_since(lease: &RebootLease, now: Timestamp) -> Option<Timestamp> {
    let status = lease.status.as_ref()?;
    let grant = lease.spec.grant.as_ref()?;
    if !status.phase.is_committed() {
        return None;
    }
    let committed = status
        .transitions
        .iter()
        .rev()
        .find(|entry| entry.phase == Phase::Rebooting)?
        .at
        .0;
    let due = stuck_at(committed, grant.reboot.timeout.signed());
    (now >= due).then_some(committed)
}

/// When a reboot committed then counts as stuck.
pub fn stuck_at(committed: Timestamp, timeout: SignedDuration) -> Timestamp {
    committed.saturating_add(timeout).unwrap_or(Timestamp::MAX)
}

/// Until when a release without force has to wait: a reboot call that the machine has accepted may
/// still take effect (faults.md F95).
pub fn release_waits(lease: &RebootLease, release: &Release, now: Timestamp) -> Option<Timestamp> {
    if release.force || lease.phase() != Phase::Rebooting {
        return None;
    }
    // Without a time of the commit it counts from now: later is the safe side.
    let committed = entered_at(lease).unwrap_or(now);
    let until = committed.saturating_add(CALL_MAY_FIRE).unwrap_or(now);
    (now < until).then_some(until)
}

/// When the slot of a reboot that a human gave up is given back although our cordon is still there;
/// `None` for a reboot that was not.
pub fn released_at(lease: &RebootLease, slot: &Slot) -> Option<Timestamp> {
    lease.release_of(slot.fence)?;
    let status = lease.status.as_ref()?;
    let released =
        status.fence == slot.fence && status.phase == Phase::Failed && status.reason == "Released";
    let ended = entered_at(lease).filter(|_| released)?;
    ended.saturating_add(RELEASED_KEEPS_SLOT).ok()
}
