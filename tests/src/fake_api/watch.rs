//! WATCH: history first, then what happens, until the time is over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::answer::Answer;
use super::path::Call;
use super::select::Selector;
use super::store::{Event, Store};

/// How long a watch lasts when nobody says otherwise.
const LASTS: Duration = Duration::from_mins(30);
/// How often a bookmark is sent.
const BOOKMARK_EVERY: Duration = Duration::from_mins(1);
/// How long before its end a watch sends a last one.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

/// One watch.
pub(super) struct Watch {
    call: Call,
    selector: Selector,
    /// Lines to be sent before anything else.
    queue: VecDeque<Bytes>,
    receiver: Option<mpsc::UnboundedReceiver<Arc<Event>>>,
    /// The resourceVersion up to which everything was sent.
    version: u64,
    ends: Instant,
    bookmark: Option<Instant>,
    /// Until when nothing is shown: the server's cache lags behind.
    stalled: Option<Instant>,
    faults: Option<Arc<dyn super::Network>>,
}

/// Opens a watch.
///
/// # Errors
/// 400 for a selector or a version that cannot be read.
pub(super) fn open(
    store: &mut Store,
    call: &Call,
    faults: Option<Arc<dyn super::Network>>,
) -> Result<Watch, Answer> {
    let selector = Selector::read(
        call.kind,
        call.param("labelSelector"),
        call.param("fieldSelector"),
    )?;
    let asked = call.param("resourceVersion");
    let initial = call.param("sendInitialEvents") == "true";
    let from = match asked {
        "" | "0" => None,
        version if initial => version.parse::<u64>().ok().and(None),
        version => Some(version.parse::<u64>().map_err(|_| {
            let wrong = super::read::not_a_version(version);
            Answer::failure(500, "", &wrong, &Value::Null)
        })?),
    };
    let lasts = call.param("timeoutSeconds").parse().ok();
    let ends = Instant::now() + lasts.map_or(LASTS, Duration::from_secs);
    let bookmarks = matches!(call.param("allowWatchBookmarks"), "1" | "true");
    let mut watch = Watch {
        call: call.clone(),
        selector,
        queue: VecDeque::new(),
        receiver: None,
        version: store.version(),
        ends,
        bookmark: None,
        stalled: None,
        faults,
    };
    watch.bookmark = bookmarks.then(|| watch.next_bookmark());
    let start = from.unwrap_or_else(|| store.version());
    let Some((past, receiver)) = store.follow(start) else {
        watch
            .queue
            .push_back(too_old(from.unwrap_or_default(), store.compacted()));
        return Ok(watch);
    };
    watch.receiver = Some(receiver);
    if from.is_none() {
        for object in store.list(call.kind, &call.namespace) {
            if watch.selector.selects(&object) {
                watch.queue.push_back(line("ADDED", &object));
            }
        }
        if initial {
            let mut mark = watch.bookmark_object(store.version());
            let end = json!({"k8s.io/initial-events-end": "true"});
            super::json::set(&mut mark, "/metadata", "annotations", end);
            watch.queue.push_back(line("BOOKMARK", &mark));
        }
    }
    for event in past {
        watch.take(&event);
    }
    Ok(watch)
}

impl Watch {
    fn next_bookmark(&self) -> Instant {
        let before_end = self.ends.checked_sub(BOOKMARK_BEFORE_END);
        let last = before_end.unwrap_or(self.ends);
        let next = Instant::now() + BOOKMARK_EVERY;
        if Instant::now() < last {
            next.min(last)
        } else {
            next
        }
    }

    fn bookmark_object(&self, version: u64) -> Value {
        let kind = self.call.kind;
        json!({"kind": kind.kind, "apiVersion": kind.api_version(),
            "metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null}})
    }

    /// Puts the event's line into the queue, where this watch is to see it.
    fn take(&mut self, event: &Event) {
        self.version = event.version;
        let here = event.key.resource == self.call.kind.resource()
            && (self.call.namespace.is_empty() || event.key.namespace == self.call.namespace);
        if !here {
            return;
        }
        let was = event
            .before
            .as_ref()
            .is_some_and(|before| self.selector.selects(before));
        let is = !event.deleted && self.selector.selects(&event.after);
        let line = match (was, is) {
            (false, false) => return,
            (false, true) => line("ADDED", &event.after),
            (true, true) => line("MODIFIED", &event.after),
            (true, false) => line("DELETED", &gone(event)),
        };
        let times = self
            .faults
            .as_ref()
            .map_or(1, |faults| faults.event_copies(event));
        self.queue.extend((0..times).map(|_| line.clone()));
        let delay = self.faults.as_ref().map_or(Duration::ZERO, |faults| {
            faults.event_delay(&self.call, event)
        });
        if !delay.is_zero() {
            self.stalled = Some(Instant::now() + delay);
        }
    }

    /// The next line; `None` when the watch is over.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(until) = self.stalled.take() {
                tokio::time::sleep_until(until.min(self.ends)).await;
            }
            if let Some(line) = self.queue.pop_front() {
                return Some(line);
            }
            let receiver = self.receiver.as_mut()?;
            let until = self.bookmark.map_or(self.ends, |mark| mark.min(self.ends));
            tokio::select! {
                biased;
                event = receiver.recv() => match event {
                    Some(event) => self.take(&event),
                    None => return None,
                },
                () = tokio::time::sleep_until(until) => {
                    if Instant::now() >= self.ends {
                        return None;
                    }
                    self.bookmark = Some(self.next_bookmark());
                    return Some(line("BOOKMARK", &self.bookmark_object(self.version)));
                }
            }
        }
    }
}

/// An object that leaves a selection is shown as it was, under its new version.
fn gone(event: &Event) -> Value {
    let shown = event.before.as_ref().unwrap_or(&event.after);
    let mut object = shown.as_ref().clone();
    let version = json!(event.version.to_string());
    super::json::set(&mut object, "/metadata", "resourceVersion", version);
    object
}

fn line(kind: &str, object: &Value) -> Bytes {
    let mut text = json!({"type": kind, "object": object}).to_string();
    text.push('\n');
    Bytes::from(text)
}

fn too_old(version: u64, oldest: u64) -> Bytes {
    let message = format!("too old resource version: {version} ({oldest})");
    line("ERROR", &Answer::expired(&message).body)
}
