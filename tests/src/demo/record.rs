//! Everything that was seen of a rollout, in the order in which the watches told it. Pure.
//!
//! Fed by [`super::watch`], whatever the nodes are; judged by [`super::promises`].

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use slipway_api::{Phase, RebootLease};

/// A Node as one event of the watch shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Whether its condition Ready is True.
    pub ready: bool,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// Whether it carries our annotation of a cordon.
    pub cordoned_by_us: bool,
    /// `status.nodeInfo.bootID`.
    pub boot_id: String,
}

/// A pod of the workload as one event of the watch shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    /// Its UID.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Whether it is Ready and not being deleted: what a disruption budget counts.
    pub ready: bool,
    /// Whether it was started a second time or ended: it went down with its node.
    pub went_down: bool,
}

/// What is known of one node.
#[derive(Debug, Clone, Default)]
pub struct NodeHistory {
    /// The latest view; `None` once the Node is gone.
    pub last: Option<NodeView>,
    /// Every boot ID seen, in order, without repetitions.
    pub boots: Vec<String>,
}

impl NodeHistory {
    /// How often it has rebooted.
    pub fn reboots(&self) -> usize {
        self.boots.len().saturating_sub(1)
    }
}

/// What is known of one lease.
#[derive(Debug, Clone, Default)]
pub struct LeaseHistory {
    /// The latest view.
    pub last: Option<RebootLease>,
    /// How long it waited for each thing, by reason and object.
    pub waited: BTreeMap<String, SignedDuration>,
    waits: BTreeSet<String>,
    since: Option<Timestamp>,
}

/// The worst value of a count, and when it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extreme {
    /// The count.
    pub count: usize,
    /// When it was first seen.
    pub at: Timestamp,
    /// The names that make it up.
    pub names: Vec<String>,
}

/// The record of one rollout.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// By name.
    pub nodes: BTreeMap<String, NodeHistory>,
    /// By name of their node.
    pub leases: BTreeMap<String, LeaseHistory>,
    /// Nodes that hold a slot of the ledger.
    pub slots: BTreeSet<String>,
    /// Most nodes unavailable at once since the beginning.
    pub most_unavailable: Option<Extreme>,
    /// Fewest ready replicas since the beginning.
    pub fewest_ready: Option<Extreme>,
    /// Pods of the workload that went down with their node.
    pub went_down: BTreeSet<String>,
    pods: BTreeMap<String, PodView>,
    begun: bool,
}

impl Record {
    /// From now on everything counts: the cluster is as the rollout finds it.
    pub fn begin(&mut self, at: Timestamp) {
        self.begun = true;
        self.count_nodes(at);
        self.count_pods(at);
    }

    /// A Node was added or changed.
    pub fn node(&mut self, at: Timestamp, view: NodeView) {
        let history = self.nodes.entry(view.name.clone()).or_default();
        if history.boots.last() != Some(&view.boot_id) && !view.boot_id.is_empty() {
            history.boots.push(view.boot_id.clone());
        }
        history.last = Some(view);
        self.count_nodes(at);
    }

    /// A Node was deleted.
    pub fn node_gone(&mut self, at: Timestamp, name: &str) {
        if let Some(history) = self.nodes.get_mut(name) {
            history.last = None;
        }
        self.count_nodes(at);
    }

    /// A pod of the workload was added or changed.
    pub fn pod(&mut self, at: Timestamp, view: PodView) {
        if view.went_down && self.begun {
            self.went_down.insert(view.name.clone());
        }
        self.pods.insert(view.uid.clone(), view);
        self.count_pods(at);
    }

    /// A pod of the workload was deleted.
    pub fn pod_gone(&mut self, at: Timestamp, uid: &str) {
        self.pods.remove(uid);
        self.count_pods(at);
    }

    /// A lease was added or changed.
    pub fn lease(&mut self, at: Timestamp, lease: RebootLease) {
        let name = lease.metadata.name.clone().unwrap_or_default();
        let history = self.leases.entry(name).or_default();
        if let Some(since) = history.since {
            for wait in &history.waits {
                let sum = history.waited.entry(wait.clone()).or_default();
                *sum += at.duration_since(since);
            }
        }
        history.since = Some(at);
        history.waits = waits_of(&lease);
        history.last = Some(lease);
    }

    /// The ledger was changed: these nodes hold its slots.
    pub fn ledger(&mut self, slots: BTreeSet<String>) {
        self.slots = slots;
    }

    /// The phase of a node's lease.
    pub fn phase(&self, node: &str) -> Option<Phase> {
        let lease = self.leases.get(node)?.last.as_ref()?;
        Some(lease.phase())
    }

    /// How many replicas are ready now.
    pub fn ready_pods(&self) -> usize {
        self.pods.values().filter(|pod| pod.ready).count()
    }

    /// The nodes that are unavailable now: NotReady, unschedulable or gone.
    pub fn unavailable(&self) -> Vec<String> {
        let is_available = |history: &NodeHistory| matches!(&history.last, Some(view) if view.ready && !view.unschedulable);
        self.nodes
            .iter()
            .filter(|(_, history)| !is_available(history))
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn count_nodes(&mut self, at: Timestamp) {
        if !self.begun {
            return;
        }
        let names = self.unavailable();
        let count = names.len();
        if self
            .most_unavailable
            .as_ref()
            .is_none_or(|most| most.count < count)
        {
            self.most_unavailable = Some(Extreme { count, at, names });
        }
    }

    fn count_pods(&mut self, at: Timestamp) {
        if !self.begun {
            return;
        }
        let count = self.ready_pods();
        if self
            .fewest_ready
            .as_ref()
            .is_none_or(|fewest| fewest.count > count)
        {
            let ready = self.pods.values().filter(|pod| pod.ready);
            let names = ready.map(|pod| pod.name.clone()).collect();
            self.fewest_ready = Some(Extreme { count, at, names });
        }
    }
}

/// What a lease waits for now, in a few words each.
fn waits_of(lease: &RebootLease) -> BTreeSet<String> {
    let Some(status) = &lease.status else {
        return BTreeSet::new();
    };
    if status.phase.is_terminal() {
        return BTreeSet::new();
    }
    let named = status.waiting_for.iter().map(|wait| {
        if wait.object.is_empty() {
            wait.kind.clone()
        } else {
            format!("{} {}", wait.kind, wait.object)
        }
    });
    let pods = status.drain.iter().flat_map(|drain| &drain.waiting);
    // The part before the colon says what it is; after it come details that change.
    let brief = |reason: &str| reason.split(": ").next().unwrap_or_default().to_owned();
    named
        .chain(pods.map(|pod| format!("{}: {}", pod.pod, brief(&pod.reason))))
        .collect()
}
