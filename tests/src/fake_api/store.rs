//! The objects, one history of their changes, and whoever follows it.
//!
//! Owns resourceVersions, UIDs and the order of everything. Decides nothing about what may be
//! written.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::json::{number, set, text};
use super::kinds::Kind;

/// The first resourceVersion; everything before it counts as compacted.
const FIRST_VERSION: u64 = 100;

/// Where an object lies: resource, namespace, name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `plural.group`.
    pub resource: String,
    /// Empty for cluster-wide kinds.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// The key of an object of a kind.
    pub fn of(kind: &Kind, namespace: &str, name: &str) -> Self {
        let namespace = if kind.namespaced { namespace } else { "" };
        Self {
            resource: kind.resource(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// Every object.
pub type Objects = BTreeMap<Key, Arc<Value>>;

/// Who changes something, as the request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author {
    /// User; empty for the server itself and for tests.
    pub user: String,
    /// Field manager.
    pub manager: String,
    /// `POST pods/eviction` and the like.
    pub verb: String,
}

/// One change.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its resourceVersion.
    pub version: u64,
    /// What changed.
    pub key: Key,
    /// The object before; `None` when it is new.
    pub before: Option<Arc<Value>>,
    /// The object after, or as it last was when it is gone.
    pub after: Arc<Value>,
    /// True when it is gone.
    pub deleted: bool,
    /// Who did it.
    pub author: Author,
}

/// Changes as they come.
pub type Events = mpsc::UnboundedReceiver<Arc<Event>>;

/// Told of every change, with everything as it is after it.
pub type Observer = Box<dyn FnMut(&Objects, &Event) + Send>;

/// The state of the server.
pub struct Store {
    objects: Objects,
    version: u64,
    compacted: u64,
    history: Vec<Arc<Event>>,
    followers: Vec<mpsc::UnboundedSender<Arc<Event>>>,
    observer: Option<Observer>,
    seed: u64,
    clock: super::Clock,
}

impl Store {
    /// An empty server.
    pub fn new(clock: super::Clock, seed: u64) -> Self {
        Self {
            objects: BTreeMap::new(),
            version: FIRST_VERSION,
            compacted: FIRST_VERSION,
            history: Vec::new(),
            followers: Vec::new(),
            observer: None,
            seed,
            clock,
        }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The time as objects carry it.
    pub fn stamp(&self) -> String {
        self.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// The resourceVersion of the last change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Changes up to this one are forgotten.
    pub fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Every object.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// The objects of a kind, in order; of one namespace unless it is empty.
    pub fn list(&self, kind: &Kind, namespace: &str) -> Vec<Arc<Value>> {
        let resource = kind.resource();
        let first = Key {
            resource: resource.clone(),
            namespace: namespace.to_owned(),
            name: String::new(),
        };
        self.objects
            .range(first..)
            .take_while(|(key, _)| {
                key.resource == resource && (namespace.is_empty() || key.namespace == namespace)
            })
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    /// Everything as it was at a resourceVersion that is not compacted.
    pub fn at(&self, version: u64) -> Objects {
        let mut objects = self.objects.clone();
        for event in self.history.iter().rev() {
            if event.version <= version {
                break;
            }
            match &event.before {
                Some(before) => objects.insert(event.key.clone(), Arc::clone(before)),
                None => objects.remove(&event.key),
            };
        }
        objects
    }

    /// A new UID; the same seed gives the same ones.
    pub fn uid(&mut self) -> String {
        let (high, low) = (self.random(), self.random());
        let hex = format!("{high:016x}{low:016x}");
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        format!(
            "{}-{}-4{}-8{}-{}",
            part(0, 8),
            part(8, 12),
            part(13, 16),
            part(17, 20),
            part(20, 32)
        )
    }

    /// The next number of a sequence that the seed fixes (splitmix64).
    pub fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Puts an object, as new or in place of the present one, and gives it its resourceVersion.
    pub fn put(&mut self, key: Key, mut object: Value, author: &Author) -> Arc<Value> {
        self.version += 1;
        let version = json!(self.version.to_string());
        set(&mut object, "/metadata", "resourceVersion", version);
        let object = Arc::new(object);
        let before = self.objects.insert(key.clone(), Arc::clone(&object));
        self.tell(key, before, &object, false, author);
        object
    }

    /// Removes an object, and everything that it owns.
    pub fn remove(&mut self, key: &Key, author: &Author) {
        let Some(before) = self.objects.remove(key) else {
            return;
        };
        self.version += 1;
        let mut last = before.as_ref().clone();
        let version = json!(self.version.to_string());
        set(&mut last, "/metadata", "resourceVersion", version);
        let uid = text(&before, "/metadata/uid").to_owned();
        self.tell(key.clone(), Some(before), &Arc::new(last), true, author);
        self.collect(&uid);
    }

    /// The garbage collector: what only this owner had goes with it.
    fn collect(&mut self, uid: &str) {
        let orphans: Vec<Key> = self
            .objects
            .iter()
            .filter(|(_, object)| {
                let owners = object.pointer("/metadata/ownerReferences");
                let owners = owners.and_then(Value::as_array);
                owners.is_some_and(|all| {
                    !all.is_empty() && all.iter().all(|owner| text(owner, "/uid") == uid)
                })
            })
            .map(|(key, _)| key.clone())
            .collect();
        let author = Author {
            user: "system:serviceaccount:kube-system:generic-garbage-collector".to_owned(),
            ..Author::default()
        };
        for key in orphans {
            self.remove(&key, &author);
        }
    }

    fn tell(
        &mut self,
        key: Key,
        before: Option<Arc<Value>>,
        after: &Arc<Value>,
        deleted: bool,
        author: &Author,
    ) {
        let event = Arc::new(Event {
            version: self.version,
            key,
            before,
            after: Arc::clone(after),
            deleted,
            author: author.clone(),
        });
        self.history.push(Arc::clone(&event));
        self.followers
            .retain(|follower| follower.send(Arc::clone(&event)).is_ok());
        if let Some(observer) = self.observer.as_mut() {
            observer(&self.objects, &event);
        }
    }

    /// Follows every change from now on, and gets those after `version` first; `None` when they
    /// are forgotten.
    pub fn follow(&mut self, version: u64) -> Option<(Vec<Arc<Event>>, Events)> {
        if version < self.compacted {
            return None;
        }
        let past = self
            .history
            .iter()
            .rev()
            .take_while(|event| event.version > version);
        let mut past: Vec<_> = past.map(Arc::clone).collect();
        past.reverse();
        let (sender, receiver) = mpsc::unbounded_channel();
        self.followers.push(sender);
        Some((past, receiver))
    }

    /// Ends every watch, as a server that restarts does.
    pub fn close_watches(&mut self) {
        self.followers.clear();
    }

    /// Forgets all history: whoever comes with an older resourceVersion is told 410.
    pub fn compact(&mut self) {
        self.compacted = self.version;
        self.history.clear();
    }

    /// Sets who is told of every change.
    pub fn observe(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }
}

/// The generation of an object.
pub fn generation(object: &Value) -> i64 {
    number(object, "/metadata/generation")
}
