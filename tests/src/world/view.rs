//! What the invariants look at: the objects of ours as plain data, kept up with every write.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use slipway_api::drain_filter::DrainRules;
use slipway_api::lease::CordonRecord;
use slipway_api::names::ANNOTATION_CORDONED;
use slipway_api::{RebootLease, RebootLedger};

use crate::fake_api::json::text;
use crate::fake_api::store::Event;

/// A Node.
#[derive(Clone, Debug, Default)]
pub struct NodeSeen {
    /// Its UID.
    pub uid: String,
    /// Whether it is cordoned, by whomever.
    pub unschedulable: bool,
    /// Our cordon's fence; 0 for one that cannot be read.
    pub cordon: Option<i64>,
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
    /// Since when the ledger is paused.
    pub paused_since: Option<Duration>,
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
            "nodes" => drop(self.nodes.insert(name, node(object))),
            "rebootleases.slipway.dev" if event.deleted => drop(self.leases.remove(&name)),
            "rebootleases.slipway.dev" => match serde_json::from_value(object.clone()) {
                Ok(lease) => drop(self.leases.insert(name, lease)),
                Err(error) => self.unreadable.push(format!("lease {name}: {error}")),
            },
            "rebootledgers.slipway.dev" if event.deleted => self.ledger = None,
            "rebootledgers.slipway.dev" => match serde_json::from_value(object.clone()) {
                Ok(ledger) => self.set_ledger(ledger, now),
                Err(error) => self.unreadable.push(format!("ledger: {error}")),
            },
            "rebootpolicies.slipway.dev" if !event.deleted => self.note_budget(object, now),
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
        // No policy of these histories changes the rules, and the time matters to none of them.
        let rules = DrainRules::of(None, "slipway-system", jiff::Timestamp::UNIX_EPOCH);
        let must_go = serde_json::from_value(object.clone()).is_ok_and(|pod| rules.must_go(&pod));
        let seen = PodSeen {
            node,
            bound_at,
            must_go,
        };
        self.pods.insert(name, seen);
    }
}

fn node(object: &Value) -> NodeSeen {
    let annotations = object.pointer("/metadata/annotations");
    let mark = annotations
        .and_then(|all| all.get(ANNOTATION_CORDONED))
        .and_then(Value::as_str);
    let fence =
        |text: &str| serde_json::from_str::<CordonRecord>(text).map_or(0, |record| record.fence);
    NodeSeen {
        uid: text(object, "/metadata/uid").to_owned(),
        unschedulable: object.pointer("/spec/unschedulable") == Some(&Value::Bool(true)),
        cordon: mark.map(fence),
    }
}
