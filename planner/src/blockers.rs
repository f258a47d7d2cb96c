//! What blockers say about a node: answers that the operator has gathered, judged with their age.
//!
//! A blocker that blocks is a definite no, which also calls off a drain under way; one that was not
//! asked, answered too long ago or could not be asked is a doubt, which only makes nodes wait.

use std::collections::BTreeMap;

use jiff::Timestamp;
use slipway_api::Phase;
use slipway_api::blockers::{BlockerRule, Probe};

use crate::action::Verdict;
use crate::budget::slots;
use crate::limits::{BLOCKER_ANSWER_EARLY, BLOCKER_ANSWER_VALID};
use crate::reason::Reason;
use crate::snapshot::{NodeView, PolicyView, Snapshot};
use crate::verify;

/// Answers by UID of the policy and name of the blocker.
pub type Answers = BTreeMap<(String, String), Answered>;

/// A blocker's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// What was asked: an answer to another question is none.
    pub rule: BlockerRule,
    /// What it says.
    pub answer: Answer,
    /// When it was asked, by our clock.
    pub at: Timestamp,
}

/// What a blocker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nodes may go.
    Clear,
    /// No node may go.
    Blocks {
        /// Why.
        message: String,
    },
    /// These nodes may not go; others may.
    BlocksNodes {
        /// Why, by node.
        nodes: BTreeMap<String, String>,
    },
    /// It could not be asked.
    Failed {
        /// Why.
        message: String,
    },
}

/// A line of `status.blockedBy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The blocker.
    pub blocker: String,
    /// One word.
    pub reason: &'static str,
    /// Why.
    pub message: String,
    /// Nodes that wait for it.
    pub nodes: usize,
}

/// Everything that blockers have against the node, the definite first.
pub fn against(
    snapshot: &Snapshot,
    policy: &PolicyView,
    node: &NodeView,
    now: Timestamp,
) -> Vec<Reason> {
    let rules = policy.parsed.as_ref().map_or(&[][..], |p| &p.blockers);
    let mut reasons: Vec<Reason> = rules
        .iter()
        .filter_map(|rule| objection(snapshot, policy, rule, node, now))
        .collect();
    reasons.sort_by_key(Reason::is_doubt);
    reasons
}

/// The definite no of a blocker, if there is one.
pub fn blocked(
    snapshot: &Snapshot,
    policy: &PolicyView,
    node: &NodeView,
    now: Timestamp,
) -> Option<Reason> {
    let reasons = against(snapshot, policy, node, now);
    reasons.into_iter().find(|reason| !reason.is_doubt())
}

fn objection(
    snapshot: &Snapshot,
    policy: &PolicyView,
    rule: &BlockerRule,
    node: &NodeView,
    now: Timestamp,
) -> Option<Reason> {
    let blocks = |message: String| Reason::Blocked {
        policy: policy.name.clone(),
        blocker: rule.name.clone(),
        message,
    };
    let failed = |message: String| Reason::BlockerFailed {
        policy: policy.name.clone(),
        blocker: rule.name.clone(),
        message,
    };
    if let Probe::Nodes { max_not_ready } = rule.probe {
        return too_many_not_ready(snapshot, node, max_not_ready, now).map(blocks);
    }
    match current(snapshot, policy, rule, now) {
        None => Some(failed("it is being asked".to_owned())),
        Some(Answer::Clear) => None,
        Some(Answer::Blocks { message }) => Some(blocks(message.clone())),
        Some(Answer::BlocksNodes { nodes }) => nodes.get(&node.name).cloned().map(blocks),
        Some(Answer::Failed { .. }) if rule.allows_failure() => None,
        Some(Answer::Failed { message }) => Some(failed(message.clone())),
    }
}

fn current<'a>(
    snapshot: &'a Snapshot,
    policy: &PolicyView,
    rule: &BlockerRule,
    now: Timestamp,
) -> Option<&'a Answer> {
    let key = (policy.uid.clone(), rule.name.clone());
    young(&snapshot.blockers, &key, rule, now).map(|answered| &answered.answer)
}

/// The answer to this very question, if it is young enough to count.
pub(crate) fn young<'a>(
    answers: &'a Answers,
    key: &(String, String),
    rule: &BlockerRule,
    now: Timestamp,
) -> Option<&'a Answered> {
    let answered = answers.get(key)?;
    let age = now.duration_since(answered.at);
    let young = age <= BLOCKER_ANSWER_VALID && age >= -BLOCKER_ANSWER_EARLY;
    (young && answered.rule == *rule).then_some(answered)
}

fn too_many_not_ready(
    snapshot: &Snapshot,
    node: &NodeView,
    allowed: usize,
    now: Timestamp,
) -> Option<String> {
    let mut down = snapshot
        .nodes
        .values()
        .filter(|other| other.name != node.name && !other.ready)
        .filter(|other| !is_away(snapshot, other, now));
    let first = down.next()?.name.clone();
    let count = down.count() + 1;
    let of = |count: usize| if count == 1 { "node is" } else { "nodes are" };
    (count > allowed).then(|| {
        format!(
            "{count} other {} not Ready, {first} among them; {allowed} may be",
            of(count)
        )
    })
}

/// True for a node that Slipway has rebooted and that is not overdue: the budget counts it.
fn is_away(snapshot: &Snapshot, node: &NodeView, now: Timestamp) -> bool {
    let held = snapshot
        .ledger
        .present()
        .map_or(&[][..], slots)
        .iter()
        .any(|slot| slot.node == node.name && slot.node_uid == node.uid);
    held && snapshot.leases.get(&node.name).is_some_and(|lease| {
        matches!(lease.phase(), Phase::Rebooting | Phase::Rebooted)
            && verify::stuck_since(lease, now).is_none()
    })
}

/// What a policy's status says of its blockers.
pub fn lines(
    snapshot: &Snapshot,
    policy: &PolicyView,
    verdicts: &BTreeMap<String, Verdict>,
    now: Timestamp,
) -> Vec<Line> {
    let rules = policy.parsed.as_ref().map_or(&[][..], |p| &p.blockers);
    let mut lines: Vec<Line> = rules
        .iter()
        .filter_map(|rule| line(snapshot, policy, rule, verdicts, now))
        .collect();
    lines.sort_by(|one, other| one.blocker.cmp(&other.blocker));
    lines
}

fn line(
    snapshot: &Snapshot,
    policy: &PolicyView,
    rule: &BlockerRule,
    verdicts: &BTreeMap<String, Verdict>,
    now: Timestamp,
) -> Option<Line> {
    let waiting: Vec<&Reason> = verdicts
        .values()
        .filter_map(|verdict| {
            verdict
                .waiting_for
                .iter()
                .find(|reason| names(reason, policy, rule))
        })
        .collect();
    let make = |reason: &'static str, message: String| {
        Some(Line {
            blocker: rule.name.clone(),
            reason,
            message,
            nodes: waiting.len(),
        })
    };
    match current(snapshot, policy, rule, now) {
        Some(Answer::Failed { message }) if rule.allows_failure() => make(
            "FailedAllowed",
            format!("{message}; nodes go all the same (onError: Allow)"),
        ),
        Some(Answer::Failed { message }) => make("BlockerFailed", message.clone()),
        Some(Answer::Blocks { message }) => make("Blocked", message.clone()),
        Some(Answer::BlocksNodes { .. } | Answer::Clear) | None => match waiting.first() {
            Some(Reason::Blocked { message, .. }) => make("Blocked", message.clone()),
            Some(Reason::BlockerFailed { message, .. }) => make("BlockerFailed", message.clone()),
            _ => None,
        },
    }
}

fn names(reason: &Reason, of: &PolicyView, rule: &BlockerRule) -> bool {
    match reason {
        Reason::Blocked {
            policy, blocker, ..
        }
        | Reason::BlockerFailed {
            policy, blocker, ..
        } => *policy == of.name && *blocker == rule.name,
        _ => false,
    }
}
