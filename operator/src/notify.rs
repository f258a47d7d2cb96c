//! Notifications: people are told what happens, off every reboot's way.
//!
//! The planner finds what there is to tell in leases and conditions ([`slipway_planner::notices`]);
//! this delivers it, and notes in the policy's status what was told. Nothing ever waits for it: the
//! pass hands over what it saw and goes on. Every queue, attempt and answer is bounded.
//!
//! # Guarantees
//! What is delivered is noted at once, by compare-and-swap, and not told again by the next leader.
//! A leader that dies between the two has its successor tell it once more: better twice than never.
//! What fails five times, or for fifteen minutes, is given up, and counted.
//!
//! # Secrets
//! URLs are read from Secrets for each attempt and are never kept, logged or shown: troubles are
//! sentences of ours, which know neither address, user, password, token nor answer.

mod dispatcher;
mod forms;
mod lane;
mod record;
mod secret;
mod send;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use slipway_api::RebootPolicyStatus;
use slipway_api::policy::{NotificationStatus, SecretKeyRef};
use slipway_client::clock;
use slipway_planner::report::{NOTIFIED, notified};
use slipway_planner::{PolicyView, Snapshot, notices};
use tokio::sync::Notify;

use crate::metrics::Metrics;
use lane::Lane;

pub use dispatcher::Dispatcher;
pub use forms::Services;
pub(crate) use lane::Counts;

/// UID of the policy, and the Secret's key.
type Key = (String, SecretKeyRef);

/// What is to be told; clones share it.
#[derive(Clone, Debug)]
pub struct Notifier(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    lanes: BTreeMap<Key, Lane>,
    /// Names of policies by UID.
    names: BTreeMap<String, String>,
    /// Policies whose status speaks of notifications that are gone.
    left_over: BTreeSet<String>,
    /// Policies whose record is being written.
    writing: BTreeSet<String>,
    /// Records that could not be written wait until then.
    write_after: BTreeMap<String, Duration>,
    /// Nothing new is begun.
    ending: bool,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    kind: TroubleKind,
    /// A sentence without anything of the URL or of what was answered.
    message: String,
}

/// Where it went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TroubleKind {
    /// The Secret is missing, or does not hold what it should.
    Secret,
    /// The URL cannot be understood.
    Url,
    /// The target could not be reached or refuses.
    Delivery,
}

impl Trouble {
    fn new(kind: TroubleKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

impl TroubleKind {
    /// Reason of the condition.
    const fn reason(self) -> &'static str {
        match self {
            Self::Secret => "SecretUnusable",
            Self::Url => "UrlNotUnderstood",
            Self::Delivery => "DeliveryFailed",
        }
    }

    /// The field that it is about.
    const fn field(self) -> &'static str {
        match self {
            Self::Secret | Self::Url => ".secretRef",
            Self::Delivery => "",
        }
    }
}

impl Notifier {
    /// Nothing to tell yet.
    pub fn new(metrics: Metrics) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            changed: Notify::new(),
            metrics,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up what a pass saw. Only a leader's pass calls this.
    pub fn offer(&self, snapshot: &Snapshot, now: Timestamp) {
        let recent = notices::recent(snapshot, now);
        let times = (clock::boottime(), now);
        let mut guard = self.state();
        let state = &mut *guard;
        let mut wanted = BTreeSet::new();
        state.names.clear();
        for policy in &snapshot.policies {
            let status = policy.status.as_ref();
            let noted = status.map_or(&[][..], |status| &status.notifications);
            let notices = recent.get(&policy.uid).map_or(&[][..], Vec::as_slice);
            let spec = policy.spec.notifications.iter().enumerate();
            for (index, one) in spec.filter(|_| !policy.deleting) {
                let key = (policy.uid.clone(), one.secret_ref.clone());
                let present = find(noted, &key.1);
                let lanes = state.lanes.entry(key.clone());
                let lane = lanes.or_insert_with(|| Lane::new((index, one), present, now));
                lane.index = index;
                lane.wanted.clone_from(one);
                let counts = lane.offer(notices, times);
                self.0.metrics.notified(&policy.name, lane.form(), counts);
                wanted.insert(key);
            }
            let of = |one: &NotificationStatus| SecretKeyRef {
                name: one.secret.clone(),
                key: one.key.clone(),
            };
            let left_over = |one| !wanted.contains(&(policy.uid.clone(), of(one)));
            if noted.iter().any(left_over) {
                state.left_over.insert(policy.uid.clone());
            }
            state.names.insert(policy.uid.clone(), policy.name.clone());
        }
        let names = &state.names;
        state.left_over.retain(|uid| names.contains_key(uid));
        state.write_after.retain(|uid, _| names.contains_key(uid));
        state.lanes.retain(|key, _| wanted.contains(key));
        drop(guard);
        self.0.changed.notify_one();
    }

    /// Adds the condition `Notified` to the status of a policy that tells anybody.
    pub fn add(&self, policy: &PolicyView, status: &mut RebootPolicyStatus, now: Timestamp) {
        let all = policy.spec.notifications.len();
        if all == 0 {
            return;
        }
        let state = self.state();
        let lanes: Vec<&Lane> = state
            .lanes
            .iter()
            .filter(|((uid, _), _)| *uid == policy.uid)
            .map(|(_, lane)| lane)
            .collect();
        let first = lanes
            .iter()
            .filter_map(|lane| lane.trouble().map(|trouble| (lane.index, trouble)))
            .min_by_key(|(index, _)| *index);
        let stand = match first {
            Some((index, trouble)) => {
                let field = format!("spec.notifications[{index}]{}", trouble.kind.field());
                Err((
                    trouble.kind.reason(),
                    format!("{field}: {}", trouble.message),
                ))
            }
            None if lanes.len() == all && lanes.iter().all(|lane| lane.is_known()) => Ok(all),
            None => {
                // Not looked at yet, by this leader: what stands there stays.
                drop(lanes);
                drop(state);
                let before = policy.status.as_ref().map(|status| &status.conditions);
                let before = before.into_iter().flatten();
                status
                    .conditions
                    .extend(before.filter(|it| it.type_ == NOTIFIED).cloned());
                return;
            }
        };
        drop(lanes);
        drop(state);
        notified(status, policy.status.as_ref(), stand, now);
    }

    /// Begins nothing new, and waits until what is under way has ended and is noted: else the next
    /// leader would tell it again.
    pub(crate) async fn finish(&self) {
        self.state().ending = true;
        loop {
            let changed = self.0.changed.notified();
            let is_quiet = {
                let state = self.state();
                let busy = state.lanes.values().any(|it| it.is_busy() || it.is_dirty());
                !busy && state.writing.is_empty()
            };
            if is_quiet {
                return;
            }
            // The dispatcher uses up notifications of its own: look again before long.
            drop(tokio::time::timeout(Duration::from_millis(50), changed).await);
        }
    }
}

fn find<'a>(all: &'a [NotificationStatus], key: &SecretKeyRef) -> Option<&'a NotificationStatus> {
    all.iter()
        .find(|one| one.secret == key.name && one.key == key.key)
}
