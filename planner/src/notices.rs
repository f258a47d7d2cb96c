//! What there is to tell people: pure, from leases and conditions alone.
//!
//! Nothing is remembered here. A lease shows every step of its reboot, and a condition since when it
//! holds, so that whoever leads next finds the same notices; what was told already is in the
//! policy's status. Called by the operator, which delivers.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use slipway_api::policy::{Notification, NotificationEvent as Event, NotificationStatus};
use slipway_api::{Phase, RebootLease};

use crate::snapshot::{Need, NodeView, PolicyView, Snapshot};

/// What is older is not told any more: after a long absence of the operator nobody wants to read
/// what happened to each node, and the record of what was told stays small.
pub const TOLD_WITHIN: SignedDuration = SignedDuration::from_hours(1);
/// A blockage is told once it has lasted for this long: alerts come and go.
pub const BLOCKED_FOR: SignedDuration = SignedDuration::from_mins(1);
/// A blockage is not told before so much time has passed since the one that was told last began.
pub const BLOCKED_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// What tells one notice from every other of the same policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeId {
    /// A step of a reboot.
    Reboot {
        /// Its fence.
        fence: i64,
        /// The step.
        event: Event,
    },
    /// A blockage.
    Blocked {
        /// When it began.
        since: Timestamp,
    },
    /// A breaker that opened.
    BreakerOpen {
        /// When.
        since: Timestamp,
    },
}

impl NoticeId {
    /// The event.
    pub const fn event(&self) -> Event {
        match self {
            Self::Reboot { event, .. } => *event,
            Self::Blocked { .. } => Event::Blocked,
            Self::BreakerOpen { .. } => Event::BreakerOpen,
        }
    }

    /// The fence of the reboot; 0 for what is about the policy.
    pub const fn fence(&self) -> i64 {
        match self {
            Self::Reboot { fence, .. } => *fence,
            Self::Blocked { .. } | Self::BreakerOpen { .. } => 0,
        }
    }
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which.
    pub id: NoticeId,
    /// The node; empty for what is about the policy.
    pub node: String,
    /// One word.
    pub reason: String,
    /// A sentence; may be empty.
    pub message: String,
    /// Since the drain began, where that is known.
    pub duration: Option<SignedDuration>,
    /// When it happened.
    pub at: Timestamp,
}

/// Everything recent that could be told of policies which tell anybody, by UID of the policy and in
/// the order in which it happened. Whether a notification is told of it says [`is_for`].
pub fn recent(snapshot: &Snapshot, now: Timestamp) -> BTreeMap<String, Vec<Notice>> {
    let mut all: BTreeMap<String, Vec<Notice>> = telling(snapshot)
        .map(|policy| (policy.uid.clone(), of_policy(policy, now)))
        .collect();
    if all.is_empty() {
        return all;
    }
    for (name, lease) in &snapshot.leases {
        let policy = lease.spec.policy.as_ref();
        let Some(notices) = policy.and_then(|policy| all.get_mut(&policy.uid)) else {
            continue;
        };
        let steps = of_lease(lease, snapshot.nodes.get(name));
        let young = |notice: &Notice| now.duration_since(notice.at) < TOLD_WITHIN;
        notices.extend(steps.into_iter().filter(young).map(|notice| Notice {
            node: name.clone(),
            ..notice
        }));
    }
    for notices in all.values_mut() {
        notices.sort_by_key(|notice| (notice.at, notice.id));
    }
    all
}

/// When something will be to tell that only time brings about.
pub fn wakes(snapshot: &Snapshot) -> impl Iterator<Item = Timestamp> {
    telling(snapshot)
        .filter_map(|policy| condition(policy, "Blocked"))
        .filter_map(|blocked| blocked.last_transition_time.0.checked_add(BLOCKED_FOR).ok())
}

/// True when a notification is told of this: it wants such events, it was there when this happened,
/// and its status does not say that it was told already.
pub fn is_for(
    wanted: &Notification,
    status: &NotificationStatus,
    notice: &Notice,
    now: Timestamp,
) -> bool {
    // Whole seconds, as conditions and status have them.
    wanted.events.contains(&notice.id.event())
        && notice.at.as_second() >= status.since.0.as_second()
        && !was_told(status, &notice.id, now)
}

/// True when the status says that this was told, or that it is too early to tell it.
pub fn was_told(status: &NotificationStatus, id: &NoticeId, now: Timestamp) -> bool {
    match id {
        NoticeId::Reboot { fence, event } => status
            .told
            .iter()
            .any(|told| told.fence == *fence && told.events.contains(event)),
        NoticeId::Blocked { since } => status
            .told_blocked
            .as_ref()
            .is_some_and(|told| *since <= told.0 || now.duration_since(told.0) < BLOCKED_AGAIN),
        NoticeId::BreakerOpen { since } => status
            .told_breaker_open
            .as_ref()
            .is_some_and(|told| *since <= told.0),
    }
}

fn telling(snapshot: &Snapshot) -> impl Iterator<Item = &PolicyView> {
    let policies = snapshot.policies.iter();
    policies.filter(|policy| !policy.deleting && !policy.spec.notifications.is_empty())
}

fn condition<'a>(policy: &'a PolicyView, kind: &str) -> Option<&'a Condition> {
    let conditions = policy.status.as_ref().map(|status| &status.conditions);
    conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == kind && condition.status == "True")
}

fn of_policy(policy: &PolicyView, now: Timestamp) -> Vec<Notice> {
    let notice = |id, condition: &Condition| Notice {
        id,
        node: String::new(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        duration: None,
        at: condition.last_transition_time.0,
    };
    let lasting = |condition: &&Condition| {
        now.duration_since(condition.last_transition_time.0) >= BLOCKED_FOR
    };
    let blocked = condition(policy, "Blocked").filter(lasting).map(|blocked| {
        let since = blocked.last_transition_time.0;
        notice(NoticeId::Blocked { since }, blocked)
    });
    let open = condition(policy, "BreakerOpen").map(|open| {
        let since = open.last_transition_time.0;
        notice(NoticeId::BreakerOpen { since }, open)
    });
    blocked.into_iter().chain(open).collect()
}

/// The steps of the present reboot, and the ends of those before it.
fn of_lease(lease: &RebootLease, node: Option<&NodeView>) -> Vec<Notice> {
    let Some(status) = &lease.status else {
        return Vec::new();
    };
    let notice = |fence, event, at| Notice {
        id: NoticeId::Reboot { fence, event },
        node: String::new(),
        reason: String::new(),
        message: String::new(),
        duration: None,
        at,
    };
    let mut notices = Vec::new();
    let mut begun = None;
    for step in &status.transitions {
        let (Some(event), at) = (event(step.phase), step.at.0) else {
            continue;
        };
        if event == Event::Draining {
            begun = Some(at);
            // Called off: nobody need know of a drain that has ended before it was told, nor of an
            // answer that was demanded (faults.md Q1), which is no drain.
            if lease.is_revoked(status.fence) {
                continue;
            }
        }
        let (reason, message) = match node.map(|node| &node.need) {
            Some(Need::Required {
                reason, message, ..
            }) if !step.phase.is_terminal() => (reason.clone(), message.clone()),
            _ if step.phase == status.phase => (status.reason.clone(), status.message.clone()),
            _ => (String::new(), String::new()),
        };
        notices.push(Notice {
            reason,
            message,
            duration: begun
                .filter(|_| step.phase.is_terminal())
                .map(|begun| at.duration_since(begun)),
            ..notice(status.fence, event, at)
        });
    }
    for outcome in status.history.iter().filter(|outcome| outcome.fence > 0) {
        if let Some(event) = event(outcome.phase) {
            notices.push(Notice {
                reason: outcome.reason.clone(),
                ..notice(outcome.fence, event, outcome.at.0)
            });
        }
    }
    notices.retain(|notice| notice.id.fence() > 0);
    notices
}

/// The event that entering a phase is.
const fn event(phase: Phase) -> Option<Event> {
    match phase {
        Phase::Draining => Some(Event::Draining),
        Phase::Rebooting => Some(Event::Rebooting),
        Phase::Completed => Some(Event::Completed),
        Phase::Failed => Some(Event::Failed),
        Phase::Pending | Phase::Granted | Phase::Drained | Phase::Rebooted | Phase::Aborted => None,
    }
}
