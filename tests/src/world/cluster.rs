//! The rest of a cluster: kubelets, node health, a workload with its budget, and a scheduler.
//!
//! They act on the server directly and are never at fault: what is tested is what our programs
//! make of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::machine::{Machines, Power};
use super::time::Clock;
use crate::fake_api::json::{number, set, text};
use crate::fake_api::kinds::{self, Kind};
use crate::fake_api::store::Key;
use crate::fake_api::{Answer, FakeApi};

/// Media types of patches.
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
/// How long after its kubelet fell silent a node counts as unknown.
const SILENT: Duration = Duration::from_secs(40);
/// How long a pod takes to start.
const STARTS_IN: Duration = Duration::from_secs(3);
/// How long a pod takes to end.
const ENDS_IN: Duration = Duration::from_secs(2);

/// The cluster's own actors.
pub(super) struct Cluster {
    api: FakeApi,
    machines: Machines,
    clock: Clock,
    replicas: usize,
    next_pod: u64,
    /// Whether pods that are told to end go on for ever.
    pub(super) pods_cling: bool,
    silent_since: BTreeMap<String, Duration>,
    seen: BTreeMap<String, Duration>,
}

impl Cluster {
    /// A cluster with a workload of so many pods.
    pub(super) fn new(api: FakeApi, machines: Machines, clock: Clock, replicas: usize) -> Self {
        Self {
            api,
            machines,
            clock,
            replicas,
            next_pod: 0,
            pods_cling: false,
            silent_since: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Sends a request past every fault.
    pub(super) fn ask(&self, method: &str, uri: &str, body: &Value) -> Answer {
        let media = if uri.contains("fieldManager=kubectl") || uri.ends_with("/status") {
            STRATEGIC
        } else {
            MERGE
        };
        self.api.request(method, uri, media, body)
    }

    /// Makes a Node with its agent's pod.
    pub(super) fn make_node(&self, name: &str, control_plane: bool, pool: &str) {
        let mut labels = json!({"kubernetes.io/hostname": name, "pool": pool});
        if control_plane {
            set(
                &mut labels,
                "",
                slipway_api::names::LABEL_CONTROL_PLANE,
                json!(""),
            );
        }
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels,
            "annotations": {"example.com/owner": "people"}}});
        if self.get("nodes", "", name).is_some() {
            return;
        }
        self.ask("POST", "/api/v1/nodes?fieldManager=kubelet", &node);
        self.ask(
            "PATCH",
            &format!("/api/v1/nodes/{name}"),
            &json!({"spec": {"taints": null}}),
        );
        self.report(name, true);
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": format!("agent-{name}"),
            "labels": {"app.kubernetes.io/component": "agent", "app.kubernetes.io/name": "slipway"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "slipway-agent",
                "uid": "daemon-set", "controller": true}]},
            "spec": {"nodeName": name, "serviceAccountName": "slipway-agent", "containers": [{"name": "agent", "image": "i"}]}});
        let pods = "/api/v1/namespaces/slipway-system/pods";
        let former = format!("{pods}/agent-{name}?gracePeriodSeconds=0");
        self.ask("DELETE", &former, &Value::Null);
        self.ask("POST", pods, &pod);
        self.agent_ready(name, true);
    }

    /// Whether the agent's pod of a node is Ready.
    pub(super) fn agent_ready(&self, name: &str, ready: bool) {
        let ready = if ready { "True" } else { "False" };
        let present = self.get("pods", "slipway-system", &format!("agent-{name}"));
        if present.is_some_and(|pod| text(&pod, "/status/conditions/0/status") == ready) {
            return;
        }
        let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}});
        self.ask(
            "PATCH",
            &format!("/api/v1/namespaces/slipway-system/pods/agent-{name}/status"),
            &status,
        );
    }

    /// An object as it is now, without a request.
    pub(super) fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let key = Key {
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        self.api.store().get(&key).cloned()
    }

    /// What the kubelet says of its node.
    fn report(&self, name: &str, ready: bool) {
        let boot_id = self
            .machines
            .all()
            .get(name)
            .map(|machine| machine.boot_id.clone());
        let Some(present) = self.get("nodes", "", name) else {
            return;
        };
        let conditions = present
            .pointer("/status/conditions")
            .and_then(Value::as_array);
        let was = conditions
            .into_iter()
            .flatten()
            .find(|condition| text(condition, "/type") == "Ready")
            .map_or("", |condition| text(condition, "/status"));
        let status = if ready { "True" } else { "Unknown" };
        if was == status
            && (!ready
                || text(&present, "/status/nodeInfo/bootID")
                    == boot_id.as_deref().unwrap_or_default())
        {
            return;
        }
        let mut condition = json!({"type": "Ready", "status": status, "reason": "Kubelet"});
        if was != status {
            set(
                &mut condition,
                "",
                "lastTransitionTime",
                json!(self.stamp()),
            );
        }
        let mut patch = json!({"status": {"conditions": [condition]}});
        if ready {
            set(
                &mut patch,
                "/status",
                "nodeInfo",
                json!({"bootID": boot_id}),
            );
        }
        self.ask("PATCH", &format!("/api/v1/nodes/{name}/status"), &patch);
    }

    fn stamp(&self) -> String {
        self.clock.wall().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    fn list(&self, kind: &Kind, namespace: &str) -> Vec<Arc<Value>> {
        self.api.store().list(kind, namespace)
    }

    /// Everything that is due.
    pub(super) fn act(&mut self) {
        self.nodes();
        self.collect_garbage();
        let Some(pods) = kinds::find("", "v1", "pods") else {
            return;
        };
        let all = self.list(pods, "default");
        self.workload(&all);
        for pod in &all {
            self.pod(pod);
        }
        let all = self.list(pods, "default");
        self.budget(&all);
    }

    /// A lease made for a Node that is gone already goes as well, a moment later.
    fn collect_garbage(&self) {
        let (Some(nodes), Some(leases)) = (
            kinds::find("", "v1", "nodes"),
            kinds::find("slipway.dev", "v1alpha1", "rebootleases"),
        ) else {
            return;
        };
        let nodes = self.list(nodes, "");
        for lease in self.list(leases, "") {
            let owner = text(&lease, "/metadata/ownerReferences/0/uid");
            let is_it = |node: &Arc<Value>| text(node, "/metadata/uid") == owner;
            if !owner.is_empty() && !nodes.iter().any(is_it) {
                let name = text(&lease, "/metadata/name");
                let uri = format!("/apis/slipway.dev/v1alpha1/rebootleases/{name}");
                self.ask("DELETE", &uri, &Value::Null);
            }
        }
    }

    /// True while the machine runs, with its kubelet.
    fn is_up(&self, node: &str) -> bool {
        let machines = self.machines.all();
        machines.get(node).is_some_and(|machine| {
            !matches!(machine.power, Power::Down(_)) && machine.kubelet_from <= self.clock.elapsed()
        })
    }

    fn nodes(&mut self) {
        let names: Vec<String> = self.machines.all().keys().cloned().collect();
        let now = self.clock.elapsed();
        for name in names {
            if self.is_up(&name) {
                self.silent_since.remove(&name);
                self.report(&name, true);
                continue;
            }
            let since = *self.silent_since.entry(name.clone()).or_insert(now);
            if now.saturating_sub(since) >= SILENT {
                self.report(&name, false);
            }
        }
    }

    /// As many pods as there should be.
    fn workload(&mut self, all: &[Arc<Value>]) {
        let staying = all
            .iter()
            .filter(|pod| text(pod, "/metadata/deletionTimestamp").is_empty());
        for _ in staying.count()..self.replicas {
            let name = format!("web-{}", self.next_pod);
            self.next_pod += 1;
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "replica-set",
                    "controller": true}]},
                "spec": {"containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": 30}});
            self.ask("POST", "/api/v1/namespaces/default/pods", &pod);
        }
    }

    /// Removes a Node, as a person or a cloud does, and with it what was bound to it.
    pub(super) fn remove_node(&self, name: &str) {
        self.ask("DELETE", &format!("/api/v1/nodes/{name}"), &Value::Null);
        let Some(pods) = kinds::find("", "v1", "pods") else {
            return;
        };
        for namespace in ["default", "slipway-system"] {
            for pod in self.list(pods, namespace) {
                if text(&pod, "/spec/nodeName") == name {
                    let pod = text(&pod, "/metadata/name");
                    let uri =
                        format!("/api/v1/namespaces/{namespace}/pods/{pod}?gracePeriodSeconds=0");
                    self.ask("DELETE", &uri, &Value::Null);
                }
            }
        }
    }

    fn pod(&mut self, pod: &Value) {
        let (name, node) = (text(pod, "/metadata/name"), text(pod, "/spec/nodeName"));
        let uri = format!("/api/v1/namespaces/default/pods/{name}");
        let now = self.clock.elapsed();
        let leaving = !text(pod, "/metadata/deletionTimestamp").is_empty();
        if node.is_empty() {
            if let Some(node) = self.free_node() {
                self.ask("PATCH", &uri, &json!({"spec": {"nodeName": node}}));
            }
            return;
        }
        if !self.is_up(node) {
            return;
        }
        let key = format!("{}/{leaving}", text(pod, "/metadata/uid"));
        let since = *self.seen.entry(key.clone()).or_insert(now);
        if leaving && now.saturating_sub(since) >= ENDS_IN && !self.pods_cling {
            self.ask(
                "DELETE",
                &format!("{uri}?gracePeriodSeconds=0"),
                &Value::Null,
            );
            self.seen.remove(&key);
        } else if !leaving
            && text(pod, "/status/phase") == "Pending"
            && now.saturating_sub(since) >= STARTS_IN
        {
            let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
            self.ask("PATCH", &format!("{uri}/status"), &status);
        }
    }

    /// A node that takes pods: the one with the fewest.
    fn free_node(&self) -> Option<String> {
        let nodes = self.list(kinds::find("", "v1", "nodes")?, "");
        let pods = self.list(kinds::find("", "v1", "pods")?, "default");
        let takes = |node: &&Arc<Value>| {
            let ready = node.pointer("/status/conditions").and_then(Value::as_array);
            let ready = ready.into_iter().flatten().any(|condition| {
                text(condition, "/type") == "Ready" && text(condition, "/status") == "True"
            });
            ready && node.pointer("/spec/unschedulable") != Some(&json!(true))
        };
        let name = |node: &Arc<Value>| text(node, "/metadata/name").to_owned();
        nodes.iter().filter(takes).map(name).min_by_key(|node| {
            pods.iter()
                .filter(|pod| text(pod, "/spec/nodeName") == node)
                .count()
        })
    }

    /// What the disruption controller says of the budget.
    fn budget(&self, all: &[Arc<Value>]) {
        let uri = "/apis/policy/v1/namespaces/default/poddisruptionbudgets/web";
        let Some(budget) = self.get("poddisruptionbudgets.policy", "default", "web") else {
            return;
        };
        let healthy = all
            .iter()
            .filter(|pod| {
                let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
                text(pod, "/metadata/deletionTimestamp").is_empty()
                    && conditions.into_iter().flatten().any(|condition| {
                        text(condition, "/type") == "Ready" && text(condition, "/status") == "True"
                    })
            })
            .count();
        let healthy = i64::try_from(healthy).unwrap_or_default();
        let wanted = number(&budget, "/spec/minAvailable");
        let status = json!({
            "currentHealthy": healthy, "desiredHealthy": wanted, "expectedPods": self.replicas,
            "disruptionsAllowed": (healthy - wanted).max(0),
            "observedGeneration": number(&budget, "/metadata/generation")});
        // Written only where it says something else: evictions since are in what it says.
        let said = |key: &String, value: &Value| {
            budget.pointer("/status").and_then(|status| status.get(key)) == Some(value)
        };
        let same = status
            .as_object()
            .is_some_and(|fields| fields.iter().all(|(key, value)| said(key, value)));
        if same && budget.pointer("/status/disruptedPods").is_none() {
            return;
        }
        let mut patch = json!({"status": status});
        set(&mut patch, "/status", "disruptedPods", Value::Null);
        self.ask("PATCH", &format!("{uri}/status"), &patch);
    }
}
