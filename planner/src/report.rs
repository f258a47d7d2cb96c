//! From verdicts to what stands in status: the same words everywhere, and no change without cause.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use slipway_api::RebootPolicyStatus;
use slipway_api::lease::{MESSAGE_MAX, WAITING_FOR_MAX, WaitingFor};
use slipway_api::policy::{BlockedBy, WindowSpan, WindowState};

use crate::action::{PolicyVerdict, Verdict};
use crate::breaker::State;
use crate::reason::Reason;
use crate::window::{Opening, Span};

/// Type of the condition that says whether notifications can be delivered.
pub const NOTIFIED: &str = "Notified";
/// Most names that a condition's message lists.
const NAMES_MAX: usize = 5;

/// The operator's part of a lease's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseReport {
    /// One word.
    pub reason: String,
    /// The same as a sentence.
    pub message: String,
    /// Everything that is waited for.
    pub waiting_for: Vec<WaitingFor>,
}

/// What a lease's status says for a verdict.
pub fn lease(verdict: &Verdict) -> LeaseReport {
    let (reason, message) = match &verdict.reason {
        Reason::Ended { reason, message } => (reason.clone(), message.clone()),
        reason => (reason.code().to_owned(), reason.to_string()),
    };
    let waits = verdict.waiting_for.iter().filter(|reason| is_wait(reason));
    LeaseReport {
        reason,
        message: cut(&message),
        waiting_for: waits
            .take(WAITING_FOR_MAX)
            .map(|reason| {
                let entry = reason.waiting_for();
                WaitingFor {
                    message: cut(&entry.message),
                    ..entry
                }
            })
            .collect(),
    }
}

fn is_wait(reason: &Reason) -> bool {
    !matches!(
        reason,
        Reason::Ended { .. } | Reason::Granted | Reason::NotRequired | Reason::NoLongerNeeded
    )
}

fn cut(text: &str) -> String {
    text.chars().take(MESSAGE_MAX).collect()
}

/// The status of a policy; conditions keep their transition times while their status stays.
pub fn policy_status(
    verdict: &PolicyVerdict,
    present: Option<&RebootPolicyStatus>,
    now: Timestamp,
) -> RebootPolicyStatus {
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let before = present.map_or(&[][..], |status| &status.conditions);
    let conditions = [
        ready(verdict),
        progressing(verdict),
        degraded(verdict),
        conflict(verdict),
        breaker_open(verdict),
    ]
    .into_iter()
    .chain(blocked(verdict))
    .chain(warned(verdict));
    RebootPolicyStatus {
        observed_generation: Some(verdict.generation),
        conditions: conditions
            .into_iter()
            .map(|draft| draft.finish(verdict.generation, before, now))
            .collect(),
        nodes: verdict.nodes,
        allowed: number(verdict.allowed),
        in_use: number(verdict.in_use),
        blocked_by: blocked_by(verdict, present, now),
        window: verdict.opening.map(|opening| match opening {
            Opening::Always | Opening::Open { .. } => WindowState::Open,
            Opening::Closed { .. } => WindowState::Closed,
        }),
        next_window: verdict
            .opening
            .and_then(|opening| match opening {
                Opening::Always => None,
                Opening::Open { span } => Some(span),
                Opening::Closed { next } => next,
            })
            .map(window_span),
        // What is ahead is looked at less often: see crate::outlook.
        forecast: None,
        durations: None,
        // Written by whoever delivers: see [`notified`].
        notifications: present.map_or_else(Vec::new, |status| status.notifications.clone()),
    }
}

/// Adds the condition `Notified`: how many notifications can be delivered, or the reason and a
/// sentence of one that cannot.
pub fn notified(
    status: &mut RebootPolicyStatus,
    present: Option<&RebootPolicyStatus>,
    stand: Result<usize, (&'static str, String)>,
    now: Timestamp,
) {
    let holds = stand.is_ok();
    let (reason, message) = match stand {
        Ok(1) => ("InOrder", "the notification can be delivered".to_owned()),
        Ok(count) => (
            "InOrder",
            format!("all {count} notifications can be delivered"),
        ),
        Err(trouble) => trouble,
    };
    let draft = Draft {
        kind: NOTIFIED,
        holds,
        reason,
        message,
    };
    let before = present.map_or(&[][..], |status| &status.conditions);
    let generation = status.observed_generation.unwrap_or_default();
    let condition = draft.finish(generation, before, now);
    status.conditions.push(condition);
}

fn window_span(span: Span) -> WindowSpan {
    WindowSpan {
        start: Time(span.start),
        end: Time(span.end),
    }
}

struct Draft {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Draft {
    fn finish(self, generation: i64, before: &[Condition], now: Timestamp) -> Condition {
        let status = if self.holds { "True" } else { "False" };
        let since = before
            .iter()
            .find(|other| other.type_ == self.kind && other.status == status)
            // Whole seconds, as the API server keeps them: else every pass would differ.
            .map_or_else(|| whole_seconds(now), |other| other.last_transition_time.0);
        Condition {
            type_: self.kind.to_owned(),
            status: status.to_owned(),
            reason: self.reason.to_owned(),
            message: cut(&self.message),
            last_transition_time: Time(since),
            observed_generation: Some(generation),
        }
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn ready(verdict: &PolicyVerdict) -> Draft {
    let draft = |holds, reason, message| Draft {
        kind: "Ready",
        holds,
        reason,
        message,
    };
    match (&verdict.invalid, verdict.conflicts_with.as_slice()) {
        (Some(reason), _) => draft(false, "Invalid", reason.to_string()),
        (None, [_, ..]) => {
            let others = list(&verdict.conflicts_with);
            draft(
                false,
                "Conflict",
                format!("same priority as {others} on some nodes"),
            )
        }
        (None, []) if verdict.nodes.matched == 0 => draft(
            true,
            "NoNodes",
            "no node matches spec.nodeSelector".to_owned(),
        ),
        (None, []) => draft(
            true,
            "InForce",
            format!("governs {} nodes", verdict.nodes.matched),
        ),
    }
}

fn progressing(verdict: &PolicyVerdict) -> Draft {
    let nodes = &verdict.nodes;
    let draft = |holds, reason, message| Draft {
        kind: "Progressing",
        holds,
        reason,
        message,
    };
    if nodes.in_progress > 0 {
        let message = format!("{} under way, {} waiting", nodes.in_progress, nodes.waiting);
        return draft(true, "Rebooting", message);
    }
    if nodes.waiting > 0 {
        return draft(true, "Waiting", format!("{} nodes wait", nodes.waiting));
    }
    draft(false, "Idle", "no node waits for a reboot".to_owned())
}

fn degraded(verdict: &PolicyVerdict) -> Draft {
    let draft = |holds, reason, message| Draft {
        kind: "Degraded",
        holds,
        reason,
        message,
    };
    if let Some(gap) = &verdict.admission {
        let message = format!("nothing is granted: {gap}");
        return draft(true, "AdmissionNotProved", message);
    }
    if !verdict.stuck.is_empty() {
        return draft(
            true,
            "Stuck",
            format!("not back in time: {}", list(&verdict.stuck)),
        );
    }
    if !verdict.failed.is_empty() {
        return draft(
            true,
            "Failed",
            format!("last reboot failed: {}", list(&verdict.failed)),
        );
    }
    draft(false, "Healthy", "no reboot has failed".to_owned())
}

fn conflict(verdict: &PolicyVerdict) -> Draft {
    let holds = !verdict.conflicts_with.is_empty();
    let (reason, message) = if holds {
        let others = list(&verdict.conflicts_with);
        (
            "SamePriority",
            format!(
                "{others} select some of the same nodes with the same priority; those nodes are left alone; change a spec.priority"
            ),
        )
    } else {
        (
            "None",
            "no other policy of the same priority shares a node".to_owned(),
        )
    };
    Draft {
        kind: "Conflict",
        holds,
        reason,
        message,
    }
}

fn breaker_open(verdict: &PolicyVerdict) -> Draft {
    let draft = |holds, reason, message| Draft {
        kind: "BreakerOpen",
        holds,
        reason,
        message,
    };
    match &verdict.breaker {
        State::Closed => draft(
            false,
            "Closed",
            "fewer reboots have failed than spec.failure allows".to_owned(),
        ),
        State::Open { failures, until } => {
            let then = until.map_or_else(
                || "nothing is granted until spec.failure.resetAt is set".to_owned(),
                |until| {
                    format!("nothing is granted before {until}, unless spec.failure.resetAt is set")
                },
            );
            draft(
                true,
                "Open",
                format!("reboots failed of {}; {then}", list(failures)),
            )
        }
        State::HalfOpen { failures, probe } => {
            let then = match probe {
                Some(fence) => format!("one node is being tried alone (fence {fence})"),
                None => "one node will be tried alone".to_owned(),
            };
            draft(
                true,
                "HalfOpen",
                format!("reboots failed of {}; {then}", list(failures)),
            )
        }
    }
}

/// Only of a policy with blockers: others have nothing to say about them.
fn blocked(verdict: &PolicyVerdict) -> Option<Draft> {
    let lines = verdict.blocked_by.as_ref()?;
    let first = lines.iter().find(|line| line.reason != "FailedAllowed");
    let (reason, message) = match first {
        Some(line) => (
            line.reason,
            format!("blocker {}: {}", line.blocker, line.message),
        ),
        None => ("Clear", "no blocker keeps a node waiting".to_owned()),
    };
    Some(Draft {
        kind: "Blocked",
        holds: first.is_some(),
        reason,
        message,
    })
}

/// What was written and is obeyed, but may never let a node go. Absent where there is nothing.
fn warned(verdict: &PolicyVerdict) -> Option<Draft> {
    let first = verdict.warnings.first()?;
    let more = verdict.warnings.len().saturating_sub(1);
    let message = match more {
        0 => first.clone(),
        more => format!("{first}; and {more} more"),
    };
    Some(Draft {
        kind: "Warning",
        holds: true,
        reason: "BlocksItself",
        message,
    })
}

fn blocked_by(
    verdict: &PolicyVerdict,
    present: Option<&RebootPolicyStatus>,
    now: Timestamp,
) -> Vec<BlockedBy> {
    let before = present.map_or(&[][..], |status| &status.blocked_by);
    let lines = verdict.blocked_by.iter().flatten();
    lines
        .map(|line| BlockedBy {
            blocker: line.blocker.clone(),
            reason: line.reason.to_owned(),
            message: cut(&line.message),
            since: before
                .iter()
                .find(|other| other.blocker == line.blocker && other.reason == line.reason)
                .map_or_else(|| Time(whole_seconds(now)), |other| other.since.clone()),
            nodes: i32::try_from(line.nodes).unwrap_or(i32::MAX),
        })
        .collect()
}

fn list(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_MAX).map(String::as_str).collect();
    let more = names.len().saturating_sub(shown.len());
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
