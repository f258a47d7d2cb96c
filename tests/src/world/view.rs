//! What the invariants look at: the objects of ours as plain data, kept up with every write.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use slipway_api::lease::CordonRecord;
use slipway_api::names::{ANNOTATION_CORDONED, NAMESPACE, SERVICE_ACCOUNT_OPERATOR};
use slipway_api::{RebootLease, RebootLedger};

use super::gates::CRON;
use crate::fake_api::json::text;
use crate::fake_api::store::Event;

/// Where a pod says that it blocks.
const BLOCKING: &str = "/metadata/labels/blocks";

/// A Node.
#[derive(Clone, Debug, Default)]
pub struct NodeSeen {
    /// Its UID.
    pub uid: String,
    /// Whether it is cordoned, by whomever.
    pub unschedulable: bool,
    /// Since when it is not cordoned; `None` while it is.
    pub open_since: Option<Duration>,
    /// Our cordon's fence; 0 for one that cannot be read.
    pub cordon: Option<i64>,
    /// Since when its kubelet is not Ready; `None` while it is.
    pub unready_since: Option<Duration>,
    /// The boot that its kubelet tells of, and since when.
    pub boot: (String, Duration),
    /// Whether it is of the control plane.
    pub control_plane: bool,
}

/// A pod.
#[derive(Clone, Debug)]
pub struct PodSeen {
    /// The node that it is bound to; empty for none.
    pub node: String,
    /// When it was bound.
    pub bound_at: Duration,
    /// Whether a drain must move it.
    pub must_go: bool,
}

/// Gates of a policy that people have closed, since when.
#[derive(Clone, Debug, Default)]
pub struct Gates {
    /// It has the windows of the simulation.
    pub windows_since: Option<Duration>,
    /// It asks for pods that block.
    pub asks_since: Option<Duration>,
}

/// Everything.
#[derive(Debug, Default)]
pub struct View {
    /// Nodes by name.
    pub nodes: BTreeMap<String, NodeSeen>,
    /// Leases by name.
    pub leases: BTreeMap<String, RebootLease>,
    /// The ledger.
    pub ledger: Option<RebootLedger>,
    /// Pods by name.
    pub pods: BTreeMap<String, PodSeen>,
    /// The highest budget of each policy in the last minutes, by UID: when, and how many.
    pub budgets: BTreeMap<String, Vec<(Duration, usize)>>,
    /// Gates by UID of their policy.
    pub gates: BTreeMap<String, Gates>,
    /// Since when there is a pod that blocks.
    pub blocked_since: Option<Duration>,
    /// Since when the ledger is paused.
    pub paused_since: Option<Duration>,
    /// When the ledger was last lost.
    pub ledger_lost: Option<Duration>,
    /// Objects that could not be read.
    pub unreadable: Vec<String>,
}

impl View {
    /// Takes a write in.
    pub fn take(&mut self, event: &Event, now: Duration) {
        let name = event.key.name.clone();
        let object = event.after.as_ref();
        match event.key.resource.as_str() {
            "nodes" if event.deleted => drop(self.nodes.remove(&name)),
            "nodes" => {
                let seen = node(object, self.nodes.get(&name), now);
                self.nodes.insert(name, seen);
            }
            "rebootleases.slipway.dev" if event.deleted => drop(self.leases.remove(&name)),
            "rebootleases.slipway.dev" => match serde_json::from_value(object.clone()) {
                Ok(lease) => drop(self.leases.insert(name, lease)),
                Err(error) => self.unreadable.push(format!("lease {name}: {error}")),
            },
            "rebootledgers.slipway.dev" if event.deleted => {
                self.ledger = None;
                self.ledger_lost = Some(now);
                self.paused_since = None;
            }
            "rebootledgers.slipway.dev" => match serde_json::from_value(object.clone()) {
                Ok(ledger) => self.set_ledger(ledger, now),
                Err(error) => self.unreadable.push(format!("ledger: {error}")),
            },
            "rebootpolicies.slipway.dev" if event.deleted => {
                self.gates.remove(text(object, "/metadata/uid"));
            }
            "rebootpolicies.slipway.dev" => {
                self.note_budget(object, now);
                self.note_gates(object, now);
            }
            "pods" if event.key.namespace == "batch" => {
                let blocks = !event.deleted && !text(object, BLOCKING).is_empty();
                self.blocked_since = blocks.then(|| self.blocked_since.unwrap_or(now));
            }
            "pods" if event.deleted => drop(self.pods.remove(&name)),
            "pods" => self.note_pod(name, object, now),
            _ => {}
        }
    }

    fn set_ledger(&mut self, ledger: RebootLedger, now: Duration) {
        self.paused_since = match (ledger.spec.paused, self.paused_since) {
            (true, None) => Some(now),
            (true, since) => since,
            (false, _) => None,
        };
        self.ledger = Some(ledger);
    }

    fn note_budget(&mut self, object: &Value, now: Duration) {
        let most = object
            .pointer("/spec/budget/maxUnavailable")
            .and_then(Value::as_u64)
            .and_then(|most| usize::try_from(most).ok())
            .unwrap_or(1);
        let uid = text(object, "/metadata/uid").to_owned();
        let all = self.budgets.entry(uid).or_default();
        if all.last().map(|(_, last)| *last) != Some(most) {
            all.push((now, most));
        }
    }

    fn note_gates(&mut self, object: &Value, now: Duration) {
        let gates = self
            .gates
            .entry(text(object, "/metadata/uid").to_owned())
            .or_default();
        let cron = text(object, "/spec/schedule/windows/0/cron");
        gates.windows_since = (cron == CRON).then(|| gates.windows_since.unwrap_or(now));
        let asks = object.pointer("/spec/blockers/0/pods").is_some();
        gates.asks_since = asks.then(|| gates.asks_since.unwrap_or(now));
    }

    /// The highest budget of a policy that a writer may have read within `age`.
    pub fn budget(&self, policy_uid: &str, now: Duration, age: Duration) -> Option<usize> {
        let all = self.budgets.get(policy_uid)?;
        let oldest = now.saturating_sub(age);
        // The one in force at `oldest`, and everything after it.
        let first = all.iter().rposition(|(at, _)| *at <= oldest).unwrap_or(0);
        all.iter().skip(first).map(|(_, most)| *most).max()
    }

    fn note_pod(&mut self, name: String, object: &Value, now: Duration) {
        let node = text(object, "/spec/nodeName").to_owned();
        let bound_at = match self.pods.get(&name) {
            Some(before) if before.node == node => before.bound_at,
            _ => now,
        };
        // By a rule of its own: the drain's filter is what is tested.
        let owner = text(object, "/metadata/ownerReferences/0/kind");
        let account = text(object, "/spec/serviceAccountName");
        let operator =
            text(object, "/metadata/namespace") == NAMESPACE && account == SERVICE_ACCOUNT_OPERATOR;
        let must_go = owner != "DaemonSet" && !operator;
        let seen = PodSeen {
            node,
            bound_at,
            must_go,
        };
        self.pods.insert(name, seen);
    }
}

fn node(object: &Value, before: Option<&NodeSeen>, now: Duration) -> NodeSeen {
    let annotations = object.pointer("/metadata/annotations");
    let mark = annotations
        .and_then(|all| all.get(ANNOTATION_CORDONED))
        .and_then(Value::as_str);
    let fence =
        |text: &str| serde_json::from_str::<CordonRecord>(text).map_or(0, |record| record.fence);
    let unschedulable = object.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let ready = conditions.into_iter().flatten().any(|condition| {
        text(condition, "/type") == "Ready" && text(condition, "/status") == "True"
    });
    let since = |was: Option<Duration>| Some(was.unwrap_or(now));
    let boot_id = text(object, "/status/nodeInfo/bootID");
    let boot = match before {
        Some(before) if before.boot.0 == boot_id => before.boot.clone(),
        _ => (boot_id.to_owned(), now),
    };
    let label = slipway_api::names::LABEL_CONTROL_PLANE;
    NodeSeen {
        uid: text(object, "/metadata/uid").to_owned(),
        unschedulable,
        open_since: (!unschedulable)
            .then(|| since(before.and_then(|before| before.open_since)))
            .flatten(),
        cordon: mark.map(fence),
        unready_since: (!ready)
            .then(|| since(before.and_then(|before| before.unready_since)))
            .flatten(),
        boot,
        control_plane: object
            .pointer("/metadata/labels")
            .is_some_and(|labels| labels.get(label).is_some()),
    }
}
