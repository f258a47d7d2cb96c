//! What the operator may write on Nodes: labels that it records as its own, the soft taint, and
//! annotations of its own. Every node here has the label `state` from the operator, and `pool` from
//! somebody else.

use serde_json::{Value, json};
use slipway_api::names;

use super::cells::{Act, Answer, Cell, NODES, Who};
use super::world::agent;

const POLICY: &str = "slipway-operator-node";
const LOAD_BALANCERS: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Labels as they are to be, and the record with them.
fn marks(labels: &Value, record: &Value) -> Value {
    json!({ "metadata": { "labels": labels, "annotations": { "slipway.dev/labels": record } } })
}

/// Annotations of others that keep autoscalers away. Every node here has Karpenter's from the
/// operator; `n2` has the Cluster Autoscaler's from a person.
pub(crate) fn protections() -> Vec<Cell> {
    const CA: &str = names::ANNOTATION_SCALE_DOWN_DISABLED;
    const KARPENTER: &str = names::ANNOTATION_DO_NOT_DISRUPT;
    const RECORD: &str = names::ANNOTATION_PROTECTIONS;
    let both = format!("{CA}=true,{KARPENTER}=true");
    let cell = |node: &str, key: &str, value: Value, record: Value, answer| {
        let annotations = json!({ key: value, RECORD: record });
        let body = json!({ "metadata": { "annotations": annotations } });
        Cell::new(Who::Operator, Act::merge(NODES, node, body), answer)
    };
    let denied = |words| Answer::DeniedBy(POLICY, words);
    let only = || denied("only as true, where there is none, and records it");
    let ours = || json!(format!("{KARPENTER}=true"));
    let written = || denied("may take away an annotation of others only where it has written it");
    let claims = || denied("may not record an annotation as its own that was there before");
    vec![
        cell("n1", CA, json!("true"), json!(both), Answer::Allowed),
        cell("n1", KARPENTER, Value::Null, Value::Null, Answer::Allowed),
        cell("n1", CA, json!("true"), ours(), only()),
        cell(
            "n1",
            CA,
            json!("false"),
            json!(format!("{CA}=false")),
            only(),
        ),
        cell("n1", KARPENTER, json!("false"), ours(), only()),
        cell("n2", CA, json!("false"), json!(both), only()),
        cell("n2", CA, Value::Null, ours(), written()),
        cell("n2", CA, Value::Null, json!(both), written()),
        cell("n2", CA, json!("true"), json!(both), claims()),
        // An agent has no part in it.
        Cell::new(
            agent("n1"),
            Act::merge(
                NODES,
                "n1",
                json!({ "metadata": { "annotations": { CA: "true" } } }),
            ),
            Answer::DeniedBy("slipway-agent-node", "annotations under slipway.dev/ only"),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table of cells")]
pub(crate) fn nodes() -> Vec<Cell> {
    let cell = |body: &Value, answer| {
        let act = Act::merge(NODES, "n1", body.clone());
        Cell::new(Who::Operator, act, answer)
    };
    let allowed = |body: Value| cell(&body, Answer::Allowed);
    let denied = |body: Value, words| cell(&body, Answer::DeniedBy(POLICY, words));
    let by_agent = |body: Value| {
        let words = "not the operator's records of what it wrote";
        let answer = Answer::DeniedBy("slipway-agent-node", words);
        Cell::new(agent("n1"), Act::merge(NODES, "n1", body), answer)
    };
    let annotation =
        |key: &str, value: Value| json!({ "metadata": { "annotations": { key: value } } });
    let taint = |key: &str, effect: &str| json!({ "spec": { "taints": [{ "key": key, "effect": effect }] } });
    let taints = "the taint slipway.dev/reboot-required:PreferNoSchedule only";
    let spec = "no spec of a node but its own taint; it never cordons";
    vec![
        allowed(marks(
            &json!({ "wave": "1" }),
            &json!("state=rebooting,wave=1"),
        )),
        allowed(marks(&json!({ "state": "done" }), &json!("state=done"))),
        allowed(marks(&json!({ "state": null }), &Value::Null)),
        allowed(marks(
            &json!({ LOAD_BALANCERS: "true" }),
            &json!(format!("{LOAD_BALANCERS}=true,state=rebooting")),
        )),
        // What is somebody else's by now may leave the record.
        allowed(annotation("slipway.dev/labels", Value::Null)),
        allowed(annotation(
            "slipway.dev/reboot-required-since",
            json!("2026-11-24T12:00:00Z"),
        )),
        allowed(annotation(
            "slipway.dev/reboot-in-progress",
            json!("2026-11-24T12:00:00Z"),
        )),
        denied(
            json!({ "metadata": { "finalizers": ["example.com/a"] } }),
            "no metadata of a node but labels and annotations",
        ),
        denied(
            annotation("example.com/new", json!("1")),
            "its own annotations only",
        ),
        denied(
            annotation("example.com/kept", Value::Null),
            "its own annotations only",
        ),
        denied(
            annotation("slipway.dev/cordoned", json!("{}")),
            "its own annotations only",
        ),
        denied(
            annotation("slipway.dev/undone", json!("5")),
            "its own annotations only",
        ),
        denied(
            json!({ "metadata": { "labels": { "wave": "1" } } }),
            "records every label",
        ),
        denied(
            marks(&json!({ "wave": "1" }), &json!("state=rebooting,wave=2")),
            "records every label",
        ),
        denied(
            json!({ "metadata": { "labels": { "pool": null } } }),
            "labels of its own only",
        ),
        denied(
            marks(&json!({ "pool": "b" }), &json!("state=rebooting,pool=b")),
            "labels of its own only",
        ),
        denied(
            annotation("slipway.dev/labels", json!("state=rebooting,pool=a")),
            "may not record a label as its own that was there before",
        ),
        denied(
            marks(
                &json!({ "node-role.kubernetes.io/control-plane": "" }),
                &json!("node-role.kubernetes.io/control-plane=,state=rebooting"),
            ),
            "labels of kubernetes.io and k8s.io are not the operator's",
        ),
        denied(
            marks(
                &json!({ "k8s.io/x": "1" }),
                &json!("k8s.io/x=1,state=rebooting"),
            ),
            "labels of kubernetes.io and k8s.io are not the operator's",
        ),
        denied(json!({ "spec": { "unschedulable": true } }), spec),
        denied(json!({ "spec": { "providerID": "lab://n2" } }), spec),
        denied(taint("a", "NoExecute"), taints),
        denied(taint("slipway.dev/reboot-required", "NoExecute"), taints),
        denied(taint("slipway.dev/reboot-required", "NoSchedule"), taints),
        // An agent must not hand somebody's label to the operator, which would take it away.
        by_agent(annotation("slipway.dev/labels", json!("pool=a"))),
        by_agent(annotation("slipway.dev/labels", Value::Null)),
        by_agent(annotation(names::ANNOTATION_PROTECTIONS, json!("x=true"))),
        by_agent(annotation(names::ANNOTATION_PROTECTIONS, Value::Null)),
        Cell::new(
            Who::Operator,
            Act::delete(NODES, "n1"),
            Answer::Refused("cannot delete"),
        ),
    ]
}
