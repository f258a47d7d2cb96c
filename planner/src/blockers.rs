//! What blockers say about a node: answers that the operator has gathered, judged with their age.
//!
//! A blocker that blocks is a definite no, which also calls off a drain under way; one that was not
//! asked, answered too long ago or could not be asked is a doubt, which only makes nodes wait.

use std::collections::BTreeMap;

use jiff::Timestamp;
use slipway_api::blockers::{BlockerRule, Probe};

use crate::action::Verdict;
use crate::index::{Index, Row};
use crate::limits::{BLOCKER_ANSWER_EARLY, BLOCKER_ANSWER_VALID};
use crate::reason::Reason;
use crate::snapshot::{NodeView, PolicyView, Snapshot};

/// What is said of a blocker that has not answered yet.
const BEING_ASKED: &str = "it is being asked";

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
    /// Owners of pods do not have them ready.
    PodsNotReady {
        /// The first of them, as [`slipway_api::Workload`] is printed.
        owner: String,
        /// Why, for all of them.
        message: String,
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

/// Everything that the blockers of its policy have against the node, the definite first.
pub(crate) fn against(index: &Index<'_>, row: &Row<'_>) -> Vec<Reason> {
    let place = row.policy;
    let Some((place, policy)) = place.zip(row.governance.policy()) else {
        return Vec::new();
    };
    let mut reasons: Vec<Reason> = index
        .answers(place)
        .iter()
        .filter_map(|(rule, answer)| objection(index, (policy, rule), *answer, row.node))
        .collect();
    reasons.sort_by_key(Reason::is_doubt);
    reasons
}

/// True when a blocker keeps the node for a time that nobody can foretell: it says no, or does not
/// answer. One that is only being asked does not.
pub(crate) fn keeps(index: &Index<'_>, row: &Row<'_>) -> bool {
    against(index, row).iter().any(
        |reason| !matches!(reason, Reason::BlockerFailed { message, .. } if message == BEING_ASKED),
    )
}

/// The definite no of a blocker, if there is one.
pub(crate) fn blocked(index: &Index<'_>, row: &Row<'_>) -> Option<Reason> {
    let reasons = against(index, row);
    reasons.into_iter().find(|reason| !reason.is_doubt())
}

/// A blocker with its answer, where that counts.
pub(crate) type Asked<'a> = (&'a BlockerRule, Option<&'a Answer>);

/// A policy's blockers with the answers that count.
pub(crate) fn answers<'a>(
    snapshot: &'a Snapshot,
    policy: &'a PolicyView,
    now: Timestamp,
) -> Vec<Asked<'a>> {
    let rules = policy.parsed.as_ref().map_or(&[][..], |p| &p.blockers);
    let rules = rules.iter();
    rules
        .map(|rule| (rule, current(snapshot, policy, rule, now)))
        .collect()
}

fn objection(
    index: &Index<'_>,
    (policy, rule): (&PolicyView, &BlockerRule),
    answer: Option<&Answer>,
    node: &NodeView,
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
        return too_many_not_ready(index, node, max_not_ready).map(blocks);
    }
    match answer {
        None => Some(failed(BEING_ASKED.to_owned())),
        Some(Answer::Clear) => None,
        Some(Answer::Blocks { message } | Answer::PodsNotReady { message, .. }) => {
            Some(blocks(message.clone()))
        }
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

fn too_many_not_ready(index: &Index<'_>, node: &NodeView, allowed: usize) -> Option<String> {
    let mut others = index.down().iter().filter(|other| **other != node.name);
    let first = *others.next()?;
    let own = index.down().binary_search(&node.name.as_str()).is_ok();
    let count = index.down().len() - usize::from(own);
    let of = |count: usize| if count == 1 { "node is" } else { "nodes are" };
    (count > allowed).then(|| {
        format!(
            "{count} other {} not Ready, {first} among them; {allowed} may be",
            of(count)
        )
    })
}

/// What nodes wait for of one blocker.
#[derive(Clone, Copy, Debug)]
struct Waiting<'v> {
    first: &'v Reason,
    nodes: usize,
    last: usize,
}

/// Nodes that wait for blockers, by names of the policy and of the blocker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waits<'v>(BTreeMap<(&'v str, &'v str), Waiting<'v>>);

impl<'v> Waits<'v> {
    /// From the verdicts of a pass.
    pub(crate) fn of(verdicts: &'v BTreeMap<String, Verdict>) -> Self {
        let mut waits = Self::default();
        for (place, verdict) in verdicts.values().enumerate() {
            for first in &verdict.waiting_for {
                let (Reason::Blocked {
                    policy, blocker, ..
                }
                | Reason::BlockerFailed {
                    policy, blocker, ..
                }) = first
                else {
                    continue;
                };
                let key = (policy.as_str(), blocker.as_str());
                let waiting = waits.0.entry(key).or_insert(Waiting {
                    first,
                    nodes: 0,
                    last: usize::MAX,
                });
                // A node counts once.
                waiting.nodes += usize::from(waiting.last != place);
                waiting.last = place;
            }
        }
        waits
    }
}

/// What a policy's status says of its blockers.
pub(crate) fn lines(index: &Index<'_>, place: usize, waits: &Waits<'_>) -> Vec<Line> {
    let Some(policy) = index.snapshot.policies.get(place) else {
        return Vec::new();
    };
    let mut lines: Vec<Line> = index
        .answers(place)
        .iter()
        .filter_map(|(rule, answer)| {
            let waiting = waits.0.get(&(policy.name.as_str(), rule.name.as_str()));
            line(rule, *answer, waiting.copied())
        })
        .collect();
    lines.sort_by(|one, other| one.blocker.cmp(&other.blocker));
    lines
}

fn line(rule: &BlockerRule, answer: Option<&Answer>, waiting: Option<Waiting<'_>>) -> Option<Line> {
    let make = |reason: &'static str, message: String| {
        Some(Line {
            blocker: rule.name.clone(),
            reason,
            message,
            nodes: waiting.map_or(0, |waiting| waiting.nodes),
        })
    };
    match answer {
        Some(Answer::Failed { message }) if rule.allows_failure() => make(
            "FailedAllowed",
            format!("{message}; nodes go all the same (onError: Allow)"),
        ),
        Some(Answer::Failed { message }) => make("BlockerFailed", message.clone()),
        Some(Answer::Blocks { message } | Answer::PodsNotReady { message, .. }) => {
            make("Blocked", message.clone())
        }
        Some(Answer::BlocksNodes { .. } | Answer::Clear) | None => {
            match waiting.map(|waiting| waiting.first) {
                Some(Reason::Blocked { message, .. }) => make("Blocked", message.clone()),
                Some(Reason::BlockerFailed { message, .. }) => {
                    make("BlockerFailed", message.clone())
                }
                _ => None,
            }
        }
    }
}
