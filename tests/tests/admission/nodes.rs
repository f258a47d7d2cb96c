//! The matrix of Nodes and pods: an agent's rights end at its own node.

use serde_json::{Value, json};

use super::cells::{Act, Answer, Cell, NODES, PODS, Who};
use super::world::agent;

const POLICY: &str = "slipway-agent-node";
const ALL_PODS: &str = "/api/v1/pods";
const SECRETS: &str = "/api/v1/namespaces/slipway-system/secrets";

fn condition(kind: &str) -> Value {
    json!({ "status": { "conditions": [{ "type": kind, "status": "True" }] } })
}

fn annotation(key: &str, value: &Value) -> Value {
    json!({ "metadata": { "annotations": { key: value } } })
}

/// Writes to Nodes.
pub(crate) fn nodes() -> Vec<Cell> {
    let cordon = json!({
        "spec": { "unschedulable": true },
        "metadata": { "annotations": { "slipway.dev/cordoned": "{}" } },
    });
    let label = json!({ "metadata": { "labels": { "pool": "b" } } });
    let denied = |words| Answer::DeniedBy(POLICY, words);
    let own = |act, answer| Cell::new(agent("n1"), act, answer);
    let merge = |body: &Value| Act::merge(NODES, "n1", body.clone());
    let taint = json!({ "spec": { "taints": [{ "key": "a", "effect": "NoExecute" }] } });
    vec![
        own(merge(&cordon), Answer::Allowed),
        own(
            merge(&annotation("slipway.dev/undone", &json!("5"))),
            Answer::Allowed,
        ),
        own(
            Act::merge(NODES, "n2", cordon.clone()),
            denied("the agent of node n1 may write that node only"),
        ),
        Cell::new(
            Who::Unbound,
            merge(&cordon),
            denied("the agent's token names no node"),
        ),
        own(merge(&label), denied("an agent may change no label")),
        own(
            merge(&json!({ "metadata": { "labels": { "pool": null } } })),
            denied("an agent may change no label"),
        ),
        own(
            merge(&json!({ "metadata": { "finalizers": ["example.com/a"] } })),
            denied("an agent may change no label and no other metadata"),
        ),
        own(
            merge(&annotation("example.com/new", &json!("1"))),
            denied("annotations under slipway.dev/ only"),
        ),
        own(
            merge(&annotation("example.com/kept", &json!("2"))),
            denied("annotations under slipway.dev/ only"),
        ),
        own(
            merge(&annotation("example.com/kept", &Value::Null)),
            denied("annotations under slipway.dev/ only"),
        ),
        own(
            merge(&annotation("slipway.dev.example.com/a", &json!("1"))),
            denied("annotations under slipway.dev/ only"),
        ),
        own(
            merge(&taint),
            denied("an agent may change spec.unschedulable only"),
        ),
        own(
            merge(&json!({ "spec": { "providerID": "lab://n2" } })),
            denied("an agent may change spec.unschedulable only"),
        ),
        own(
            merge(&json!({ "spec": { "podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"] } })),
            denied("an agent may change spec.unschedulable only"),
        ),
        own(Act::delete(NODES, "n1"), Answer::Refused("cannot delete")),
        // Policies of ours never stand in the way of others.
        Cell::new(Who::Admin, merge(&label), Answer::Allowed),
        Cell::new(Who::Admin, merge(&taint), Answer::Allowed),
    ]
}

/// Writes to the status of Nodes.
pub(crate) fn node_status() -> Vec<Cell> {
    let denied = |words| Answer::DeniedBy(POLICY, words);
    let own = |act: Act, answer| Cell::new(agent("n1"), act.of("status"), answer);
    let strategic = |body: Value| Act::strategic(NODES, "n1", body);
    vec![
        own(strategic(condition("RebootRequired")), Answer::Allowed),
        own(
            Act::strategic(NODES, "n2", condition("RebootRequired")),
            denied("the agent of node n1 may write that node only"),
        ),
        own(
            strategic(condition("DiskPressure")),
            denied("an agent may change the condition RebootRequired only"),
        ),
        own(
            strategic(
                json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }] } }),
            ),
            denied("an agent may change the condition RebootRequired only"),
        ),
        // A merge patch replaces the whole list.
        own(
            Act::merge(NODES, "n1", condition("RebootRequired")),
            denied("an agent may change the condition RebootRequired only"),
        ),
        own(
            strategic(json!({ "status": { "capacity": { "cpu": "64" } } })),
            denied("an agent may change the condition RebootRequired only"),
        ),
        own(
            strategic(
                json!({ "status": { "addresses": [{ "type": "Hostname", "address": "a" }] } }),
            ),
            denied("an agent may change the condition RebootRequired only"),
        ),
        own(
            strategic(json!({ "metadata": { "labels": { "pool": "b" } } })),
            denied("an agent may change no label"),
        ),
        own(
            strategic(annotation("example.com/new", &json!("1"))),
            denied("annotations under slipway.dev/ only"),
        ),
        Cell::new(
            Who::Kubelet("n1".into()),
            strategic(condition("DiskPressure")).of("status"),
            Answer::Allowed,
        ),
        Cell::new(
            Who::Operator,
            strategic(condition("RebootRequired")).of("status"),
            Answer::Refused("cannot patch"),
        ),
    ]
}

fn eviction(pod: &str) -> Act {
    let body = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": { "name": pod, "namespace": "default" },
    });
    Act::create(PODS, body).of("eviction")
}

/// Pods, evictions, and what nobody of ours may see.
/// With `agent.forceDelete`: the node's name is lent for deleting its own pods as well.
pub(crate) fn deletions() -> Vec<Cell> {
    let n1 = "system:node:n1";
    let own = |act, answer| Cell::new(agent("n1"), act, answer);
    vec![
        own(Act::delete(PODS, "pod-n1"), Answer::Allowed).on_behalf_of(n1),
        own(
            Act::delete(PODS, "pod-n2"),
            Answer::Refused("can only delete pods with spec.nodeName set to itself"),
        )
        .on_behalf_of(n1),
        own(
            Act::delete(PODS, "pod-n2"),
            Answer::Refused("cannot impersonate"),
        )
        .on_behalf_of("system:node:n2"),
        own(
            Act::delete(PODS, "pod-n1"),
            Answer::Refused("cannot delete"),
        ),
        own(Act::delete_all(PODS), Answer::Refused("cannot")).on_behalf_of(n1),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table of cells")]
pub(crate) fn pods() -> Vec<Cell> {
    let n1 = "system:node:n1";
    let own = |act, answer| Cell::new(agent("n1"), act, answer);
    let impersonation = Answer::Refused("cannot impersonate");
    vec![
        own(eviction("pod-n1"), Answer::Allowed).on_behalf_of(n1),
        own(
            eviction("pod-n2"),
            Answer::Refused("can only evict pods with spec.nodeName set to itself"),
        )
        .on_behalf_of(n1),
        own(eviction("pod-n1"), Answer::Refused("cannot create")),
        own(eviction("pod-n2"), impersonation.clone()).on_behalf_of("system:node:n2"),
        Cell::new(Who::Unbound, eviction("pod-n1"), impersonation.clone()).on_behalf_of(n1),
        own(eviction("pod-n1"), impersonation.clone()).on_behalf_of("ada"),
        own(eviction("pod-n1"), impersonation.clone())
            .on_behalf_of("system:serviceaccount:slipway-system:slipway-operator"),
        own(eviction("pod-n2"), impersonation.clone())
            .on_behalf_of(n1)
            .with_group("system:masters"),
        own(Act::list(ALL_PODS, ""), Answer::Refused("can only list")).on_behalf_of(n1),
        own(
            Act::list(ALL_PODS, "spec.nodeName=n2"),
            Answer::Refused("can only list"),
        )
        .on_behalf_of(n1),
        own(Act::list(ALL_PODS, "spec.nodeName=n1"), Answer::Allowed).on_behalf_of(n1),
        own(
            Act::list(ALL_PODS, "spec.nodeName=n1"),
            Answer::Refused("cannot list"),
        ),
        own(Act::get(PODS, "pod-n1"), Answer::Allowed).on_behalf_of(n1),
        own(Act::get(PODS, "pod-n2"), Answer::Refused("forbidden")).on_behalf_of(n1),
        // The node itself might do all of these; its name is lent for reading and evicting only.
        own(Act::delete(PODS, "pod-n1"), impersonation.clone()).on_behalf_of(n1),
        own(
            Act::strategic(NODES, "n1", condition("Ready")).of("status"),
            impersonation.clone(),
        )
        .on_behalf_of(n1),
        own(Act::get(SECRETS, "any"), impersonation).on_behalf_of(n1),
        own(Act::get(SECRETS, "any"), Answer::Refused("cannot get")),
        own(Act::list(NODES, ""), Answer::Refused("cannot list")),
        own(
            Act::list("/apis/slipway.dev/v1alpha1/rebootpolicies", ""),
            Answer::Refused("cannot list"),
        ),
        Cell::new(Who::Operator, Act::list(ALL_PODS, ""), Answer::Allowed),
        Cell::new(
            Who::Operator,
            eviction("pod-n1"),
            Answer::Refused("cannot create"),
        ),
        Cell::new(
            Who::Operator,
            eviction("pod-n1"),
            Answer::Refused("cannot impersonate"),
        )
        .on_behalf_of(n1),
        Cell::new(
            Who::Operator,
            Act::delete(PODS, "pod-n1"),
            Answer::Refused("cannot delete"),
        ),
        // What blockers present to Prometheus lies in the operator's own namespace, and nowhere else.
        Cell::new(
            Who::Operator,
            Act::get(SECRETS, "any"),
            Answer::Refused("not found"),
        ),
        Cell::new(
            Who::Operator,
            Act::list(SECRETS, ""),
            Answer::Refused("cannot list"),
        ),
        Cell::new(
            Who::Operator,
            Act::get("/api/v1/namespaces/default/secrets", "any"),
            Answer::Refused("cannot get"),
        ),
    ]
}

/// What changes where constrained impersonation is not served: agents evict as themselves, but only
/// while their node holds a slot.
pub(crate) fn fallback() -> Vec<Cell> {
    const FALLBACK: &str = "slipway-agent-eviction-fallback";
    vec![
        Cell::new(agent("draining"), eviction("pod-draining"), Answer::Allowed),
        // An Eviction names no node: whose pod it is cannot be told. This is the weaker mode.
        Cell::new(agent("draining"), eviction("pod-n2"), Answer::Allowed),
        Cell::new(
            agent("n1"),
            eviction("pod-n1"),
            Answer::DeniedBy(FALLBACK, "node n1 holds no slot of the RebootLedger"),
        ),
        Cell::new(
            Who::Unbound,
            eviction("pod-draining"),
            Answer::DeniedBy(FALLBACK, "the agent's token names no node"),
        ),
        Cell::new(
            agent("n1"),
            Act::list(ALL_PODS, "spec.nodeName=n1"),
            Answer::Allowed,
        ),
        Cell::new(
            agent("draining"),
            eviction("pod-draining"),
            Answer::Refused("cannot impersonate"),
        )
        .on_behalf_of("system:node:draining"),
        Cell::new(
            agent("draining"),
            Act::delete(PODS, "pod-draining"),
            Answer::Refused("cannot delete"),
        ),
        Cell::new(
            Who::Operator,
            eviction("pod-draining"),
            Answer::Refused("cannot create"),
        ),
    ]
}
