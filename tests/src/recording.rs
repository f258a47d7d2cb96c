//! What happens on a real API server, kept for the invariants of the simulation.
//!
//! Owns the watches that see every version of our objects, of Nodes and of pods, and the join with
//! the audit logs, which know who wrote each. Never changes anything.
//! Called by the suites of faults.

mod audit;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use kube::api::{ApiResource, DynamicObject, ListParams, TypeMeta};
use kube::core::GroupVersionKind;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::fake_api::store::{Author, Event, Key};
use crate::simulated::{SimulatedCluster, Steady};
use crate::wait::wait_until;
use crate::world::{Happening, Judged, judge};

/// How long the watches may take to see what is there.
const BOUND: Duration = Duration::from_secs(30);

/// Group, version, kind and plural of what is watched.
const KINDS: [(&str, &str, &str, &str); 5] = [
    ("", "v1", "Node", "nodes"),
    ("", "v1", "Pod", "pods"),
    ("slipway.dev", "v1alpha1", "RebootLease", "rebootleases"),
    ("slipway.dev", "v1alpha1", "RebootLedger", "rebootledgers"),
    ("slipway.dev", "v1alpha1", "RebootPolicy", "rebootpolicies"),
];

/// One version of an object.
struct Seen {
    version: u64,
    key: Key,
    object: Arc<Value>,
    deleted: bool,
    at: Timestamp,
}

/// A recording that goes on until it is judged or dropped.
pub struct Recording {
    began: Timestamp,
    seen: Arc<Mutex<Vec<Seen>>>,
    client: Client,
    // Dropped, it ends the watches.
    _tasks: JoinSet<()>,
}

impl Recording {
    /// Begins, with a client of the API server itself: past every fault.
    pub fn start(client: Client) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let mut tasks = JoinSet::new();
        for kind in KINDS {
            tasks.spawn(follow(api(&client, kind), kind, Arc::clone(&seen)));
        }
        Self {
            began: Timestamp::now(),
            seen,
            client,
            _tasks: tasks,
        }
    }

    /// Waits until everything that is there was seen, and asks every invariant. The cluster must be at
    /// rest.
    pub async fn judge(self, cluster: &SimulatedCluster) -> Result<Judged> {
        self.wait_complete().await?;
        let written = self.writes(&cluster.control_plane().audit_logs()?);
        let mut all: Vec<(Timestamp, Happening)> = Vec::new();
        for (at, event) in written {
            all.push((at, Happening::Wrote(event)));
        }
        for node in cluster.node_names() {
            all.extend(self.machine(cluster, &node)?);
        }
        // Writes are in their order already; a sort by time keeps it where times are equal.
        all.sort_by_key(|(at, _)| *at);
        let history: Vec<(Duration, i64, Happening)> = all
            .into_iter()
            .map(|(at, happening)| (self.since(at), at.as_second(), happening))
            .collect();
        let judged = judge(&history, true);
        ensure!(judged.our_writes > 0, "nothing of ours was recorded");
        Ok(judged)
    }

    fn since(&self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.began)).unwrap_or_default()
    }

    async fn wait_complete(&self) -> Result<()> {
        for kind in KINDS {
            let api = api(&self.client, kind);
            wait_until(&format!("every version of {}", kind.3), BOUND, || async {
                let present = api.list(&ListParams::default()).await?;
                let seen: BTreeSet<u64> = lock(&self.seen).iter().map(|it| it.version).collect();
                let all = present.items.iter().all(|it| seen.contains(&version(it)));
                Ok(all.then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// Every write with its author, in order. Times never go back, whatever the clocks of the logs say.
    fn writes(&self, logs: &str) -> Vec<(Timestamp, Event)> {
        let authors = audit::read(logs);
        let mut seen = lock(&self.seen);
        seen.sort_by_key(|it| it.version);
        let mut present: BTreeMap<Key, (u64, Arc<Value>)> = BTreeMap::new();
        let mut events = Vec::new();
        let mut last = self.began;
        for one in seen.iter() {
            let before = present.get(&one.key);
            // What a new list repeats is no write.
            if before.is_some_and(|(version, _)| *version >= one.version) {
                continue;
            }
            let written = audit::Write {
                resource: one.key.resource.clone(),
                name: one.key.name.clone(),
                version: one.version,
            };
            let audited = authors.get(&written);
            last = last.max(audited.map_or(one.at, |it| it.at));
            let event = Event {
                version: one.version,
                key: one.key.clone(),
                before: before.map(|(_, object)| Arc::clone(object)),
                after: Arc::clone(&one.object),
                deleted: one.deleted,
                author: Author {
                    user: audited.map(|it| it.user.clone()).unwrap_or_default(),
                    verb: audited.map(|it| it.verb.clone()).unwrap_or_default(),
                    ..Author::default()
                },
            };
            if one.deleted {
                present.remove(&one.key);
            } else {
                present.insert(one.key.clone(), (one.version, Arc::clone(&one.object)));
            }
            events.push((last, event));
        }
        events
    }

    /// What a machine was asked, and what it did.
    fn machine(
        &self,
        cluster: &SimulatedCluster,
        node: &str,
    ) -> Result<Vec<(Timestamp, Happening)>> {
        let now = (Timestamp::now(), Instant::now());
        let wall = |at: Instant| {
            let ago = SignedDuration::try_from(now.1.saturating_duration_since(at));
            now.0.checked_sub(ago.unwrap_or_default())
        };
        let mut boots = Vec::new();
        for boot in cluster.boots(node)? {
            boots.push((wall(boot.at).context("a boot before all time")?, boot.id));
        }
        let calls = cluster.reboot_calls(node)?;
        let mut all = Vec::new();
        for call in &calls {
            let before = boots.iter().rfind(|(at, _)| at <= call);
            let (_, boot_id) = before.context("a call before the first boot")?;
            all.push((
                *call,
                Happening::Called {
                    node: node.to_owned(),
                    boot_id: boot_id.clone(),
                    obeyed: boots.iter().any(|(at, _)| at > call),
                },
            ));
        }
        for pair in boots.windows(2) {
            let [(began, _), (ended, boot_id)] = pair else {
                continue;
            };
            if calls.iter().any(|call| call > began && call < ended) {
                let (node, boot_id) = (node.to_owned(), boot_id.clone());
                all.push((*ended, Happening::Back { node, boot_id }));
            }
        }
        all.retain(|(at, _)| *at >= self.began);
        Ok(all)
    }
}

fn lock(seen: &Arc<Mutex<Vec<Seen>>>) -> MutexGuard<'_, Vec<Seen>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn api(client: &Client, kind: (&str, &str, &str, &str)) -> Api<DynamicObject> {
    let (group, version, kind, plural) = kind;
    let gvk = GroupVersionKind::gvk(group, version, kind);
    Api::all_with(
        client.clone(),
        &ApiResource::from_gvk_with_plural(&gvk, plural),
    )
}

/// As the in-memory server names it.
fn resource((group, _, _, plural): (&str, &str, &str, &str)) -> String {
    if group.is_empty() {
        plural.to_owned()
    } else {
        format!("{plural}.{group}")
    }
}

fn types((group, version, kind, _): (&str, &str, &str, &str)) -> TypeMeta {
    let gvk = GroupVersionKind::gvk(group, version, kind);
    TypeMeta {
        api_version: gvk.api_version(),
        kind: gvk.kind,
    }
}

fn version(object: &DynamicObject) -> u64 {
    let version = object.metadata.resource_version.as_deref();
    version.and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// Notes every version of every object of a kind, for ever.
async fn follow(
    api: Api<DynamicObject>,
    kind: (&str, &str, &str, &str),
    seen: Arc<Mutex<Vec<Seen>>>,
) {
    let resource = resource(kind);
    let mut present: BTreeMap<Key, DynamicObject> = BTreeMap::new();
    let mut listed = BTreeSet::new();
    let mut events = watcher(api, watcher::Config::default())
        .backoff(Steady)
        .boxed();
    let key_of = |object: &DynamicObject| Key {
        resource: resource.clone(),
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: object.metadata.name.clone().unwrap_or_default(),
    };
    while let Some(event) = events.next().await {
        // A server that is away is part of what is tested: the watch is taken up again.
        let Ok(event) = event else { continue };
        match event {
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(mut object) => {
                // Items of lists do not say what they are.
                object.types = Some(types(kind));
                listed.insert(key_of(&object));
                note(&seen, (key_of(&object), &object), false);
                present.insert(key_of(&object), object);
            }
            watcher::Event::InitDone => {
                let gone: Vec<Key> = present
                    .keys()
                    .filter(|key| !listed.contains(key))
                    .cloned()
                    .collect();
                for key in gone {
                    if let Some(object) = present.remove(&key) {
                        note(&seen, (key, &object), true);
                    }
                }
            }
            watcher::Event::Apply(object) => {
                note(&seen, (key_of(&object), &object), false);
                present.insert(key_of(&object), object);
            }
            watcher::Event::Delete(object) => {
                present.remove(&key_of(&object));
                note(&seen, (key_of(&object), &object), true);
            }
        }
    }
}

fn note(seen: &Arc<Mutex<Vec<Seen>>>, (key, object): (Key, &DynamicObject), deleted: bool) {
    // One that went unseen has no version of its own: it was there at its last one.
    let mut version = version(object);
    let mut seen = lock(seen);
    if deleted && seen.iter().any(|it| it.key == key && it.version == version) {
        version += 1;
    }
    seen.push(Seen {
        version,
        key,
        object: Arc::new(serde_json::to_value(object).unwrap_or_else(|_| json!({}))),
        deleted,
        at: Timestamp::now(),
    });
}
