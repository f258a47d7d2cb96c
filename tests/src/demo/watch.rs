//! The watches that fill a [`Record`]: Nodes, leases, the ledger, and the workload's pods.
//!
//! The same for every kind of node: all they look at is the API.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::TryStreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use slipway_api::{RebootLease, RebootLedger, names};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::record::{NodeView, PodView, Record};
use super::workload;
use crate::simulated::Steady;

/// A record that watches keep up to date until it is dropped.
pub struct Monitor {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    record: Mutex<Record>,
    changed: Notify,
}

impl Monitor {
    /// Starts the watches.
    pub fn start(client: &Client) -> Self {
        let shared = Arc::new(Shared::default());
        let everything = watcher::Config::default();
        let workload = watcher::Config::default().labels(workload::SELECTOR);
        let pods = Api::<Pod>::namespaced(client.clone(), workload::NAMESPACE);
        let tasks = vec![
            follow(
                shared.clone(),
                Api::<Node>::all(client.clone()),
                everything.clone(),
            ),
            follow(
                shared.clone(),
                Api::<RebootLease>::all(client.clone()),
                everything.clone(),
            ),
            follow(
                shared.clone(),
                Api::<RebootLedger>::all(client.clone()),
                everything,
            ),
            follow(shared.clone(), pods, workload),
        ];
        Self { shared, tasks }
    }

    /// The record as it is now; held for a moment only.
    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.shared.lock()
    }

    /// Returns when something has changed since the last call.
    pub async fn changed(&self) {
        self.shared.changed.notified().await;
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A kind that the record knows.
trait Observed: Sized {
    /// What tells this object from others of its kind, for ever.
    fn key(&self) -> String;
    /// It was added or changed.
    fn seen(self, record: &mut Record, at: Timestamp);
    /// The object with this key is gone.
    fn gone(record: &mut Record, key: &str, at: Timestamp);
}

impl Observed for Node {
    fn key(&self) -> String {
        self.name_any()
    }

    fn seen(self, record: &mut Record, at: Timestamp) {
        record.node(at, view_of_node(&self));
    }

    fn gone(record: &mut Record, key: &str, at: Timestamp) {
        record.node_gone(at, key);
    }
}

impl Observed for Pod {
    fn key(&self) -> String {
        self.uid().unwrap_or_default()
    }

    fn seen(self, record: &mut Record, at: Timestamp) {
        record.pod(at, view_of_pod(&self));
    }

    fn gone(record: &mut Record, key: &str, at: Timestamp) {
        record.pod_gone(at, key);
    }
}

impl Observed for RebootLease {
    fn key(&self) -> String {
        self.name_any()
    }

    fn seen(self, record: &mut Record, at: Timestamp) {
        record.lease(at, self);
    }

    fn gone(_: &mut Record, _: &str, _: Timestamp) {}
}

impl Observed for RebootLedger {
    fn key(&self) -> String {
        self.name_any()
    }

    fn seen(self, record: &mut Record, _: Timestamp) {
        let slots = self.status.into_iter().flat_map(|status| status.slots);
        record.ledger(slots.map(|slot| slot.node).collect());
    }

    fn gone(record: &mut Record, _: &str, _: Timestamp) {
        record.ledger(BTreeSet::new());
    }
}

fn follow<K>(shared: Arc<Shared>, api: Api<K>, config: watcher::Config) -> JoinHandle<()>
where
    K: Observed + Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
{
    tokio::spawn(async move {
        let mut events = pin!(watcher(api, config).backoff(Steady));
        let mut known = BTreeSet::new();
        let mut listed = BTreeSet::new();
        loop {
            match events.try_next().await {
                Ok(Some(event)) => {
                    let mut record = shared.lock();
                    take(&mut record, event, &mut known, &mut listed);
                }
                Ok(None) => return,
                // Before Slipway is installed its kinds are not served; and servers restart.
                Err(error) => tracing::debug!("a watch of the demo: {error}"),
            }
            shared.changed.notify_one();
        }
    })
}

fn take<K: Observed>(
    record: &mut Record,
    event: Event<K>,
    known: &mut BTreeSet<String>,
    listed: &mut BTreeSet<String>,
) {
    let at = Timestamp::now();
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => {
            listed.insert(object.key());
            object.seen(record, at);
        }
        Event::InitDone => {
            for key in known.difference(listed) {
                K::gone(record, key, at);
            }
            known.clone_from(listed);
        }
        Event::Apply(object) => {
            known.insert(object.key());
            object.seen(record, at);
        }
        Event::Delete(object) => {
            known.remove(&object.key());
            K::gone(record, &object.key(), at);
        }
    }
}

fn view_of_node(node: &Node) -> NodeView {
    let status = node.status.as_ref();
    let mut conditions = status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let info = status.and_then(|status| status.node_info.as_ref());
    NodeView {
        name: node.name_any(),
        ready: conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        unschedulable: node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true),
        cordoned_by_us: node.annotations().contains_key(names::ANNOTATION_CORDONED),
        boot_id: info.map(|info| info.boot_id.clone()).unwrap_or_default(),
    }
}

fn view_of_pod(pod: &Pod) -> PodView {
    let status = pod.status.as_ref();
    let mut conditions = status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let mut containers = status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten());
    let phase = status.and_then(|status| status.phase.as_deref());
    let stays = pod.metadata.deletion_timestamp.is_none();
    PodView {
        uid: pod.uid().unwrap_or_default(),
        name: pod.name_any(),
        ready: stays
            && conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        // One that was evicted ends too, but by then it is being deleted.
        went_down: containers.any(|container| container.restart_count > 0)
            || (stays && matches!(phase, Some("Failed" | "Succeeded"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn went_down(deleted: Option<&str>, status: &Value) -> bool {
        let pod = json!({
            "metadata": { "name": "web", "deletionTimestamp": deleted },
            "status": status,
        });
        view_of_pod(&serde_json::from_value(pod).unwrap()).went_down
    }

    #[test]
    fn a_pod_that_ends_without_being_deleted_went_down_with_its_node() {
        let ended = json!({ "phase": "Failed", "reason": "Terminated" });
        assert!(went_down(None, &ended));
        assert!(!went_down(Some("2026-01-01T00:00:00Z"), &ended));
        assert!(!went_down(None, &json!({ "phase": "Running" })));
    }

    #[test]
    fn a_pod_that_was_started_again_went_down_with_its_node() {
        let container = json!({
            "name": "web", "image": "web", "imageID": "", "ready": true, "restartCount": 1,
        });
        let status = json!({ "phase": "Running", "containerStatuses": [container] });
        assert!(went_down(None, &status));
    }
}
