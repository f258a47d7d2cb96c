//! One notification: what waits for it, when it is tried again, and what was told. Pure.
//!
//! Messages of a notification go out one after the other, in order; each notification is a lane of
//! its own, so that a slow target holds up nobody else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use slipway_api::policy::{LAST_ERROR_MAX, Notification, NotificationStatus, TOLD_MAX, Told};
use slipway_planner::notices::{Notice, NoticeId, is_for, was_told};

use super::{Trouble, TroubleKind};

/// Messages that may wait; then the oldest is given up.
pub(super) const QUEUE: usize = 256;
/// Attempts at a message.
pub(super) const TRIES: u32 = 5;
/// A message that has waited for longer is given up: it is no news any more.
const TRIED_FOR: Duration = Duration::from_mins(15);
/// First pause after an attempt that failed; four times as long after each one more.
const PAUSE: Duration = Duration::from_secs(5);
/// Most doublings of the pause, two for each attempt.
const DOUBLINGS_MAX: u32 = 6;
/// How often Secret and URL are looked at while there is nothing to send.
const LOOK: Duration = Duration::from_mins(1);

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// Deliver.
    Send(Notice),
    /// Look whether Secret and URL can be understood.
    Look,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// The form and the version of the Secret, if the Secret could be read and understood.
    pub(super) seen: Option<(&'static str, String)>,
    /// What went wrong.
    pub(super) trouble: Option<Trouble>,
}

/// What became of messages, for the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Delivered.
    pub(crate) delivered: u64,
    /// Attempts that failed.
    pub(crate) failed: u64,
    /// Given up after the last try.
    pub(crate) given_up: u64,
    /// Given up because too many waited.
    pub(crate) dropped: u64,
}

#[derive(Debug)]
struct Waiting {
    notice: Notice,
    queued: Duration,
    tries: u32,
}

/// One notification of a policy.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) wanted: Notification,
    /// Its place in the policy, for people.
    pub(super) index: usize,
    /// What stands, or is to stand, in status.
    record: NotificationStatus,
    queue: VecDeque<Waiting>,
    /// Fences of which there is still something recent.
    recent: BTreeSet<i64>,
    busy: bool,
    /// True once the record was read at quorum: a cache may not show yet what was told.
    adopted: bool,
    failures: u32,
    not_before: Duration,
    looked: Option<Duration>,
    version: Option<String>,
    trouble: Option<Trouble>,
    /// Counts what changed of the record.
    changes: u64,
    written: u64,
}

impl Lane {
    /// A notification that was first seen in a pass at `now`, or was already by another leader.
    pub(super) fn new(
        (index, wanted): (usize, &Notification),
        present: Option<&NotificationStatus>,
        now: Timestamp,
    ) -> Self {
        let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
        Self {
            index,
            wanted: wanted.clone(),
            record: present.cloned().unwrap_or_else(|| NotificationStatus {
                secret: wanted.secret_ref.name.clone(),
                key: wanted.secret_ref.key.clone(),
                form: None,
                since: Time(second),
                last_delivered: None,
                last_error: None,
                pending: 0,
                told: Vec::new(),
                told_blocked: None,
                told_breaker_open: None,
            }),
            queue: VecDeque::new(),
            recent: BTreeSet::new(),
            busy: false,
            adopted: false,
            failures: 0,
            not_before: Duration::ZERO,
            looked: None,
            version: None,
            trouble: None,
            // To be read and written before anything is told.
            changes: 1,
            written: 0,
        }
    }

    /// Takes up what there is to tell.
    pub(super) fn offer(
        &mut self,
        notices: &[Notice],
        (now, wall): (Duration, Timestamp),
    ) -> Counts {
        self.recent = notices.iter().map(|notice| notice.id.fence()).collect();
        let mut counts = Counts::default();
        for notice in notices {
            let waits = self.queue.iter().any(|it| it.notice.id == notice.id);
            if waits || !is_for(&self.wanted, &self.record, notice, wall) {
                continue;
            }
            if self.queue.len() >= QUEUE {
                // The first one may be under way.
                let oldest = usize::from(self.busy);
                if let Some(dropped) = self.queue.remove(oldest) {
                    self.tell(dropped.notice.id);
                    counts.dropped += 1;
                }
            }
            self.queue.push_back(Waiting {
                notice: notice.clone(),
                queued: now,
                tries: 0,
            });
        }
        counts
    }

    /// What is to be done now; `None` while something is under way or it is not time yet.
    pub(super) fn job(&self, now: Duration) -> Option<Job> {
        if self.busy {
            return None;
        }
        match self.queue.front() {
            Some(first) if self.adopted && now >= self.not_before => {
                Some(Job::Send(first.notice.clone()))
            }
            Some(_) | None if now >= self.due_to_look() => Some(Job::Look),
            Some(_) | None => None,
        }
    }

    /// When there will be something to do.
    pub(super) fn due(&self) -> Duration {
        let look = self.due_to_look();
        if self.queue.is_empty() || !self.adopted {
            return look;
        }
        look.min(self.not_before)
    }

    fn due_to_look(&self) -> Duration {
        self.looked.map_or(Duration::ZERO, |looked| looked + LOOK)
    }

    /// A job has begun.
    pub(super) fn begin(&mut self) {
        self.busy = true;
    }

    /// True while a job is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// A job has ended without a result.
    pub(super) fn forget(&mut self, now: Duration) {
        self.busy = false;
        self.not_before = now + PAUSE;
        self.looked = Some(now);
    }

    /// A look has ended.
    pub(super) fn looked(&mut self, ended: Ended, now: Duration) {
        self.busy = false;
        self.looked = Some(now);
        let is_new = self.read(ended.seen);
        if is_new {
            // What failed may go now.
            self.not_before = now;
            self.failures = 0;
        }
        let of_delivery = self
            .trouble
            .as_ref()
            .is_some_and(|it| it.kind == TroubleKind::Delivery);
        // A look says nothing about a target that does not answer.
        if is_new || !of_delivery || ended.trouble.is_some() {
            self.note(ended.trouble);
        }
    }

    /// An attempt has ended.
    pub(super) fn sent(
        &mut self,
        id: NoticeId,
        ended: Ended,
        (now, wall): (Duration, Timestamp),
    ) -> Counts {
        self.busy = false;
        self.looked = Some(now);
        self.read(ended.seen);
        let mut counts = Counts::default();
        if ended.trouble.is_none() {
            counts.delivered = 1;
            self.failures = 0;
            self.not_before = Duration::ZERO;
            self.queue.retain(|waiting| waiting.notice.id != id);
            let second = Timestamp::from_second(wall.as_second()).unwrap_or(wall);
            self.record.last_delivered = Some(Time(second));
            self.tell(id);
        } else {
            counts.failed = 1;
            self.failures = self.failures.saturating_add(1);
            self.not_before = now + pause(self.failures);
            if let Some(tried) = self.queue.iter_mut().find(|it| it.notice.id == id) {
                tried.tries += 1;
            }
            counts.given_up = self.give_up(now);
        }
        self.note(ended.trouble);
        // What goes out at once is never pending.
        let waiting = if self.failures == 0 {
            0
        } else {
            self.queue.len()
        };
        let pending = i32::try_from(waiting).unwrap_or(i32::MAX);
        self.changes += u64::from(pending != self.record.pending);
        self.record.pending = pending;
        counts
    }

    fn give_up(&mut self, now: Duration) -> u64 {
        let is_over = |waiting: &Waiting| {
            waiting.tries >= TRIES || now.saturating_sub(waiting.queued) >= TRIED_FOR
        };
        let mut given_up = 0;
        while self.queue.front().is_some_and(is_over) {
            if let Some(first) = self.queue.pop_front() {
                self.tell(first.notice.id);
                given_up += 1;
            }
        }
        given_up
    }

    /// True when Secret or URL are others than before.
    fn read(&mut self, seen: Option<(&'static str, String)>) -> bool {
        let (form, version) = match seen {
            Some((form, version)) => (Some(form), version),
            None => (None, String::new()),
        };
        if form.is_some() && self.record.form.as_deref() != form {
            self.record.form = form.map(str::to_owned);
            self.changes += 1;
        }
        let before = self.version.replace(version);
        before.is_some() && before != self.version
    }

    fn note(&mut self, trouble: Option<Trouble>) {
        let told = trouble
            .as_ref()
            .map(|it| it.message.chars().take(LAST_ERROR_MAX).collect());
        self.changes += u64::from(told != self.record.last_error);
        self.record.last_error = told;
        self.trouble = trouble;
    }

    /// Notes that something was told, or given up: it is not told again.
    fn tell(&mut self, id: NoticeId) {
        self.changes += 1;
        match id {
            NoticeId::Reboot { fence, event } => {
                let told = self.record.told.iter_mut().find(|told| told.fence == fence);
                match told {
                    Some(told) => told.events.push(event),
                    None => self.record.told.push(Told {
                        fence,
                        events: vec![event],
                    }),
                }
            }
            NoticeId::Blocked { since } => self.record.told_blocked = Some(Time(since)),
            NoticeId::BreakerOpen { since } => self.record.told_breaker_open = Some(Time(since)),
        }
    }

    /// What is wrong, if anything is.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// The form, once it is known.
    pub(super) fn form(&self) -> Option<&str> {
        self.record.form.as_deref()
    }

    /// True once Secret and URL were looked at.
    pub(super) fn is_known(&self) -> bool {
        self.looked.is_some() || self.trouble.is_some()
    }

    /// True while the record differs from what was written.
    pub(super) fn is_dirty(&self) -> bool {
        self.changes != self.written
    }

    /// Which state of the record this is.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The record was written as it was at `changes`.
    pub(super) fn wrote(&mut self, changes: u64) {
        self.written = changes;
    }

    /// Takes in what stands in status, which another leader may have written, and gives what is to
    /// stand there.
    pub(super) fn adopt(
        &mut self,
        present: Option<&NotificationStatus>,
        now: Timestamp,
    ) -> NotificationStatus {
        self.adopted = true;
        let mut told: BTreeMap<i64, BTreeSet<_>> = BTreeMap::new();
        let before = present.map_or(&[][..], |present| &present.told);
        for one in self.record.told.iter().chain(before) {
            if self.recent.contains(&one.fence) {
                told.entry(one.fence).or_default().extend(&one.events);
            }
        }
        let record = &mut self.record;
        let surplus = told.len().saturating_sub(TOLD_MAX);
        record.told = told
            .into_iter()
            .skip(surplus)
            .map(|(fence, events)| Told {
                fence,
                events: events.into_iter().collect(),
            })
            .collect();
        if let Some(present) = present {
            record.since = present.since.clone().min(record.since.clone());
            let delivered = present.last_delivered.clone();
            record.last_delivered = record.last_delivered.take().max(delivered);
            let blocked = present.told_blocked.clone();
            record.told_blocked = record.told_blocked.take().max(blocked);
            let open = present.told_breaker_open.clone();
            record.told_breaker_open = record.told_breaker_open.take().max(open);
        }
        let record = &self.record;
        self.queue
            .retain(|waiting| !was_told(record, &waiting.notice.id, now));
        self.record.clone()
    }
}

/// The pause after so many failures in a row.
fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).saturating_mul(2);
    PAUSE * 2_u32.pow(doublings.min(DOUBLINGS_MAX))
}

#[cfg(test)]
#[path = "lane/tests.rs"]
mod tests;
