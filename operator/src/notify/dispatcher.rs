//! The task that delivers: one attempt of each notification at a time, all of them side by side.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use slipway_api::policy::{Notification, NotificationStatus, SecretKeyRef};
use slipway_api::template::{Variables, render};
use slipway_client::call::CallError;
use slipway_client::{chain, clock};
use slipway_planner::notices::{Notice, NoticeId};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{Id, JoinSet};

use super::forms::{self, Letter, Services};
use super::lane::{Ended, Job, Lane};
use super::record::{self, Wrote};
use super::send::{ATTEMPT_LIMIT, no_answer, send};
use super::{Key, Notifier, State, Trouble, TroubleKind, find, secret};

/// Attempts at once: each may hold a connection and an answer.
const AT_ONCE: usize = 32;
/// Longest sleep without anything to do.
const SLEEP: Duration = Duration::from_mins(1);
/// Pause after a record that could not be written.
const WRITE_PAUSE: Duration = Duration::from_secs(5);

/// Whether this process may tell anybody anything now.
type MaySend = dyn Fn() -> bool + Send + Sync;

/// Delivers, for ever.
pub struct Dispatcher {
    notifier: Notifier,
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    namespace: String,
    services: Services,
    may_send: Box<MaySend>,
    places: Semaphore,
}

/// What is under way, to know what ended when a task has panicked.
enum Task {
    Of(Key),
    Record(String),
}

/// What has ended.
enum Done {
    Looked(Ended),
    Sent(NoticeId, Ended),
    Wrote(BTreeMap<Key, u64>, Result<Wrote, CallError>),
}

impl std::fmt::Debug for Dispatcher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Dispatcher").finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// Delivers what `notifier` is offered, while `may_send` says so. Secrets are read in the
    /// namespace.
    pub fn new(
        notifier: Notifier,
        (client, namespace): (Client, &str),
        services: Services,
        may_send: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            notifier,
            inner: Arc::new(Inner {
                client,
                namespace: namespace.to_owned(),
                services,
                may_send: Box::new(may_send),
                places: Semaphore::new(AT_ONCE),
            }),
        }
    }

    /// Delivers, and wakes the pass where a trouble has come or gone. Never ends.
    pub async fn run(self, wake: Arc<Notify>) {
        let mut tasks: JoinSet<Done> = JoinSet::new();
        let mut under_way: BTreeMap<Id, Task> = BTreeMap::new();
        loop {
            let now = clock::boottime();
            if (self.inner.may_send)() {
                self.begin(&mut tasks, &mut under_way, now);
            }
            let sleep = self.next(now);
            tokio::select! {
                () = self.notifier.0.changed.notified() => {}
                () = tokio::time::sleep(sleep) => {}
                Some(ended) = tasks.join_next_with_id(), if !tasks.is_empty() => {
                    let (id, done) = match ended {
                        Ok((id, done)) => (id, Some(done)),
                        // It panicked: tried again later.
                        Err(error) => (error.id(), None),
                    };
                    if let Some(task) = under_way.remove(&id)
                        && self.end(&task, done)
                    {
                        wake.notify_one();
                    }
                }
            }
        }
    }

    fn begin(&self, tasks: &mut JoinSet<Done>, under_way: &mut BTreeMap<Id, Task>, now: Duration) {
        let mut guard = self.notifier.state();
        let state = &mut *guard;
        if !state.ending {
            for (key, lane) in &mut state.lanes {
                let Some(job) = lane.job(now) else { continue };
                lane.begin();
                let inner = Arc::clone(&self.inner);
                let (reference, wanted) = (key.1.clone(), lane.wanted.clone());
                let policy = state.names.get(&key.0).cloned().unwrap_or_default();
                let handle = tasks.spawn(async move {
                    match job {
                        Job::Look => Done::Looked(inner.attempt(&reference, None).await),
                        Job::Send(notice) => {
                            let letter = letter(&policy, &wanted, &notice);
                            let ended = inner.attempt(&reference, Some(&letter)).await;
                            Done::Sent(notice.id, ended)
                        }
                    }
                });
                under_way.insert(handle.id(), Task::Of(key.clone()));
            }
        }
        drop(guard);
        self.note(tasks, under_way, now);
    }

    /// Begins to write the records that have changed.
    fn note(&self, tasks: &mut JoinSet<Done>, under_way: &mut BTreeMap<Id, Task>, now: Duration) {
        let mut guard = self.notifier.state();
        let state = &mut *guard;
        for (uid, name) in &state.names {
            let waits = state.write_after.get(uid).is_some_and(|after| now < *after);
            let lanes = state.lanes.iter().filter(|((of, _), _)| of == uid);
            let is_due =
                state.left_over.contains(uid) || lanes.clone().any(|(_, it)| it.is_dirty());
            if waits || !is_due || state.writing.contains(uid) {
                continue;
            }
            // As they are now: what changes until the write lands is written once more.
            let changes = lanes
                .map(|(key, lane)| (key.clone(), lane.changes()))
                .collect();
            let (notifier, inner) = (self.notifier.clone(), Arc::clone(&self.inner));
            let (name, of) = (name.clone(), uid.clone());
            let handle = tasks.spawn(async move {
                let made = |present: &[NotificationStatus]| notifier.records(&of, present);
                let wrote = record::write(&inner.client, (&name, &of), made).await;
                Done::Wrote(changes, wrote)
            });
            under_way.insert(handle.id(), Task::Record(uid.clone()));
            state.writing.insert(uid.clone());
        }
    }

    fn next(&self, now: Duration) -> Duration {
        let state = self.notifier.state();
        let lanes = state.lanes.values().filter(|lane| !lane.is_busy());
        let due = lanes
            .map(Lane::due)
            .chain(state.write_after.values().copied());
        let due = due.filter(|due| *due > now).min();
        due.map_or(SLEEP, |due| due.saturating_sub(now)).min(SLEEP)
    }

    /// Takes in what has ended; true when a pass should show it.
    fn end(&self, task: &Task, done: Option<Done>) -> bool {
        let mut guard = self.notifier.state();
        match (task, done) {
            (Task::Record(uid), Some(Done::Wrote(changes, result))) => {
                self.end_record(&mut guard, uid, (changes, result));
                false
            }
            (Task::Record(uid), _) => {
                guard.writing.remove(uid);
                let after = clock::boottime() + WRITE_PAUSE;
                guard.write_after.insert(uid.clone(), after);
                false
            }
            (Task::Of(key), done) => self.end_job(&mut guard, key, done),
        }
    }

    fn end_record(
        &self,
        state: &mut State,
        uid: &str,
        (changes, result): (BTreeMap<Key, u64>, Result<Wrote, CallError>),
    ) {
        state.writing.remove(uid);
        state.write_after.remove(uid);
        match result {
            Ok(Wrote::Done | Wrote::Gone) => {
                state.left_over.remove(uid);
                for (key, changes) in changes {
                    if let Some(lane) = state.lanes.get_mut(&key) {
                        lane.wrote(changes);
                    }
                }
            }
            Err(error) => {
                self.notifier.0.metrics.error(error.class());
                tracing::warn!(error = %chain(&error), "cannot note what was told");
                let after = clock::boottime() + WRITE_PAUSE;
                state.write_after.insert(uid.to_owned(), after);
            }
        }
    }

    fn end_job(&self, state: &mut State, key: &Key, done: Option<Done>) -> bool {
        let times = (clock::boottime(), clock::wall());
        let policy = state.names.get(&key.0).cloned().unwrap_or_default();
        let Some(lane) = state.lanes.get_mut(key) else {
            return false;
        };
        let before = (lane.is_known(), lane.trouble().cloned());
        match done {
            Some(Done::Sent(id, ended)) => {
                let (event, fence) = (id.event().as_str(), id.fence());
                let counts = lane.sent(id, ended, times);
                let secret = key.1.name.as_str();
                match lane.trouble().map(|trouble| trouble.message.as_str()) {
                    None => tracing::info!(policy, secret, event, fence, "told"),
                    Some(why) => {
                        tracing::warn!(policy, secret, event, fence, why, "cannot tell");
                    }
                }
                let metrics = &self.notifier.0.metrics;
                metrics.notified(&policy, lane.form(), counts);
            }
            Some(Done::Looked(ended)) => lane.looked(ended, times.0),
            Some(Done::Wrote(..)) | None => lane.forget(times.0),
        }
        before != (lane.is_known(), lane.trouble().cloned())
    }
}

impl Notifier {
    /// What is to stand in a policy's status, where this stands.
    fn records(&self, uid: &str, present: &[NotificationStatus]) -> Vec<NotificationStatus> {
        let mut state = self.state();
        let mut lanes: Vec<(&SecretKeyRef, &mut Lane)> = state
            .lanes
            .iter_mut()
            .filter(|((of, _), _)| of == uid)
            .map(|((_, key), lane)| (key, lane))
            .collect();
        lanes.sort_by_key(|(_, lane)| lane.index);
        let now = clock::wall();
        lanes
            .into_iter()
            .map(|(key, lane)| lane.adopt(find(present, key), now))
            .collect()
    }
}

impl Inner {
    /// One attempt; without a letter, only whether Secret and URL can be understood.
    async fn attempt(&self, reference: &SecretKeyRef, letter: Option<&Letter>) -> Ended {
        let place = self.places.acquire().await;
        let mut seen = None;
        let attempt = self.try_once(reference, letter, &mut seen);
        let result = tokio::time::timeout(ATTEMPT_LIMIT, attempt).await;
        drop(place);
        let late = |seen: &Option<(&str, String)>| {
            let form = seen.as_ref().map_or("Secret", |(form, _)| *form);
            Trouble::new(TroubleKind::Delivery, format!("{form}: {}", no_answer()))
        };
        let result = result.unwrap_or_else(|_| Err(late(&seen)));
        let trouble = result.err();
        Ended { seen, trouble }
    }

    async fn try_once(
        &self,
        reference: &SecretKeyRef,
        letter: Option<&Letter>,
        seen: &mut Option<(&'static str, String)>,
    ) -> Result<(), Trouble> {
        let held = secret::held(&self.client, &self.namespace, reference).await?;
        let target = forms::parse(&held.url, &self.services).map_err(|why| {
            let (name, key) = (&reference.name, &reference.key);
            Trouble::new(
                TroubleKind::Url,
                format!("the URL under {key} of Secret {name} {why}"),
            )
        })?;
        *seen = Some((target.form(), held.version.clone()));
        match letter {
            // Asked once more: the Secret may have taken its time.
            Some(letter) if (self.may_send)() => {
                send(&target, held.authorities.as_deref(), letter).await
            }
            Some(_) => Err(Trouble::new(TroubleKind::Delivery, "another replica leads")),
            None => Ok(()),
        }
    }
}

fn letter(policy: &str, wanted: &Notification, notice: &Notice) -> Letter {
    let event = notice.id.event();
    let duration = notice.duration.map(|duration| {
        let whole = Duration::try_from(duration).unwrap_or_default();
        slipway_api::Duration(Duration::from_secs(whole.as_secs())).to_string()
    });
    let text = render(
        wanted.templates.text(event),
        &Variables {
            node: &notice.node,
            policy,
            event,
            fence: notice.id.fence(),
            reason: &notice.reason,
            message: &notice.message,
            duration: duration.as_deref().unwrap_or_default(),
        },
    );
    let at: Timestamp = notice.at;
    Letter {
        policy: policy.to_owned(),
        node: notice.node.clone(),
        event,
        fence: notice.id.fence(),
        reason: notice.reason.clone(),
        message: notice.message.clone(),
        text,
        at,
    }
}
