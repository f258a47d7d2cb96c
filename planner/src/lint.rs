//! What is wrong with a policy although it can be obeyed: it would never get anything done.
//!
//! Judged from the policy, the nodes and how long reboots take, whether or not a node needs one
//! now. It changes no decision: it becomes the policy's condition `Feasible`.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use slipway_api::ValidatedPolicy;

use crate::budget;
use crate::forecast::Durations;
use crate::limits::WINDOW_LEFT_AT_CLEAR;
use crate::schedule;
use crate::sentence;
use crate::snapshot::{PolicyView, Snapshot};
use crate::window::Opening;

/// How far ahead windows are looked at: past two monthly ones.
const AHEAD: SignedDuration = SignedDuration::from_hours(63 * 24);
/// Most edges of windows that are looked at.
const EDGES_MAX: usize = 400;
/// A round over all nodes that takes longer than this many times [`AHEAD`], about a year, never
/// ends: new needs come faster.
const ROUND_MAX: i64 = 6;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The selector matches no node.
    NothingSelected,
    /// The budget is 0.
    NoBudget,
    /// No window comes.
    NeverOpen,
    /// Windows come, and freezes cover them all.
    EveryWindowFrozen {
        /// Why, by the freeze that lasts longest.
        why: String,
        /// When that one ends.
        until: Timestamp,
    },
    /// No window is long enough for one reboot.
    WindowTooShort {
        /// The longest window.
        longest: SignedDuration,
        /// What one reboot takes.
        needs: SignedDuration,
    },
    /// Budget and windows are too small for that many nodes.
    NeverFinishes {
        /// Nodes of the policy.
        nodes: usize,
        /// Reboots that fit into a year.
        fit: i64,
    },
}

impl Finding {
    /// Reason of the condition.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NothingSelected => "NothingSelected",
            Self::NoBudget => "NoBudget",
            Self::NeverOpen => "NeverOpen",
            Self::EveryWindowFrozen { .. } => "EveryWindowFrozen",
            Self::WindowTooShort { .. } => "WindowTooShort",
            Self::NeverFinishes { .. } => "NeverFinishes",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingSelected => f.write_str("spec.nodeSelector: no node matches it"),
            Self::NoBudget => {
                f.write_str("spec.budget.maxUnavailable: 0 stops every reboot; write 1 or more")
            }
            Self::NeverOpen => {
                f.write_str("spec.schedule: no window opens within the next nine weeks")
            }
            Self::EveryWindowFrozen { why, until } => write!(
                f,
                "spec.schedule.freezes: every window of the next nine weeks is frozen, the last of them until {until}{}; end the freeze earlier",
                sentence::because(why)
            ),
            Self::WindowTooShort { longest, needs } => write!(
                f,
                "spec.schedule.windows: the longest is {} min, and one reboot takes about {} min; make one longer",
                longest.as_mins(),
                needs.as_mins()
            ),
            Self::NeverFinishes { nodes, fit } => write!(
                f,
                "spec.budget and spec.schedule: about {fit} reboots fit into a year, and {nodes} nodes match; allow more at once or open longer"
            ),
        }
    }
}

/// Everything that is wrong with a policy that can be parsed.
pub fn findings(
    snapshot: &Snapshot,
    policy: &PolicyView,
    durations: Durations,
    now: Timestamp,
) -> Vec<Finding> {
    let Ok(parsed) = &policy.parsed else {
        return Vec::new();
    };
    let limits = budget::limits(snapshot, policy);
    let mut findings = Vec::new();
    if !snapshot.nodes.values().any(|node| policy.selects(node)) {
        findings.push(Finding::NothingSelected);
    } else if limits.allowed == 0 && !limits.matched.is_empty() {
        findings.push(Finding::NoBudget);
    }
    let needs = durations.p50.max(WINDOW_LEFT_AT_CLEAR);
    let Some(open) = open_stretches(parsed, now) else {
        return findings;
    };
    let longest = open.iter().copied().max().unwrap_or_default();
    if longest.is_zero() {
        findings.push(never_open(parsed, now));
    } else if longest < needs {
        findings.push(Finding::WindowTooShort { longest, needs });
    } else if limits.allowed > 0 {
        let in_a_row: i64 = open
            .iter()
            .map(|length| length.as_secs() / needs.as_secs().max(1))
            .sum();
        let at_once = i64::try_from(limits.allowed).unwrap_or(i64::MAX);
        let fit = in_a_row.saturating_mul(at_once).saturating_mul(ROUND_MAX);
        let nodes = limits.matched.len();
        if i64::try_from(nodes).unwrap_or(i64::MAX) > fit {
            findings.push(Finding::NeverFinishes { nodes, fit });
        }
    }
    findings
}

/// Whether it is for want of windows, or because of freezes, that none opens.
fn never_open(policy: &ValidatedPolicy, now: Timestamp) -> Finding {
    let end = now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
    let freezes = policy.freezes.iter();
    let last = freezes
        .filter(|freeze| freeze.start < end && freeze.end > now)
        .max_by_key(|freeze| freeze.end);
    let unfrozen = ValidatedPolicy {
        freezes: Vec::new(),
        ..policy.clone()
    };
    let would_open = open_stretches(&unfrozen, now).is_none_or(|open| !open.is_empty());
    match last.filter(|_| would_open) {
        Some(freeze) => Finding::EveryWindowFrozen {
            why: freeze.reason.clone(),
            until: freeze.end,
        },
        None => Finding::NeverOpen,
    }
}

/// How long each window ahead is; `None` where it is always open.
fn open_stretches(policy: &ValidatedPolicy, now: Timestamp) -> Option<Vec<SignedDuration>> {
    let end = now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
    let mut open = Vec::new();
    let mut time = now;
    for _ in 0..EDGES_MAX {
        let next = match schedule::opening(policy, time) {
            Opening::Always => return None,
            // A window that is open now counts whole.
            Opening::Open { span } => {
                open.push(span.end.duration_since(span.start));
                span.end
            }
            Opening::Closed { next: Some(next) } => next.start,
            Opening::Closed { next: None } => {
                // The planner looks only some days ahead.
                time.saturating_add(SignedDuration::from_hours(7 * 24))
                    .unwrap_or(end)
            }
        };
        if next >= end || next <= time {
            break;
        }
        time = next;
    }
    Some(open)
}
