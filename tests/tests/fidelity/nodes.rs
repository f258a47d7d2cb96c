//! Nodes: our cordon and its undo, whose cordon it is, conditions merged by type.

use serde_json::{Value, json};

use crate::conversation::{
    Conversation, LEASES, MAPS, NODES, Step, delete, get, merge, post, put, strategic, talk,
};

const ONE: &str = "/api/v1/nodes/$X";
const STATUS: &str = "/api/v1/nodes/$X/status";

fn node() -> Step {
    post(
        NODES,
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "$X", "labels": {"talk": "$X"}}}),
    )
}

fn by(manager: &str) -> String {
    format!("{ONE}?fieldManager={manager}")
}

fn cordon(version: &str) -> Value {
    json!({"metadata": {"resourceVersion": version,
        "annotations": {"slipway.dev/cordoned": "{\"fence\":7,\"unschedulableBefore\":false}"}},
        "spec": {"unschedulable": true}})
}

fn undo(version: &str) -> Value {
    json!({"metadata": {"resourceVersion": version,
        "annotations": {"slipway.dev/cordoned": null, "slipway.dev/undone": "7"}},
        "spec": {"unschedulable": null}})
}

fn conditions(list: Value) -> Value {
    json!({"status": {"conditions": list}})
}

pub(crate) fn conversations() -> Vec<Conversation> {
    let mut all = cordons();
    all.extend(condition_lists());
    all.extend(owners());
    all
}

fn cordons() -> Vec<Conversation> {
    let version = |at: usize| format!("${{{at}/metadata/resourceVersion}}");
    let flag = |value: Value| json!({"spec": {"unschedulable": value}});
    vec![
        talk(
            "cordon: ours and its undo",
            vec![
                node(),
                merge(by("slipway-agent"), cordon(&version(0))),
                merge(by("slipway-agent"), undo(&version(1))),
                get(ONE),
            ],
        ),
        talk(
            "cordon: one in flight fails after the undo",
            vec![
                node(),
                merge(by("slipway-agent"), undo(&version(0))),
                merge(by("slipway-agent"), cordon(&version(0))),
            ],
        ),
        talk(
            "cordon: an undo that changes nothing would let a late cordon land",
            vec![
                node(),
                merge(
                    by("slipway-agent"),
                    json!({"metadata": {"resourceVersion": version(0), "annotations": {"slipway.dev/cordoned": null}}}),
                ),
                merge(by("slipway-agent"), cordon(&version(0))),
            ],
        ),
        talk(
            "cordon: a human who cordons a node that we cordoned writes nothing",
            vec![
                node(),
                merge(by("slipway-agent"), cordon(&version(0))),
                strategic(by("kubectl-cordon"), flag(json!(true))),
                get(ONE),
            ],
        ),
        talk(
            "cordon: after a human's uncordon and cordon it is theirs",
            vec![
                node(),
                merge(by("slipway-agent"), cordon(&version(0))),
                strategic(by("kubectl"), flag(json!(false))),
                strategic(by("kubectl"), flag(json!(true))),
            ],
        ),
        talk(
            "cordon: ours over a human's leaves theirs",
            vec![
                node(),
                strategic(by("kubectl"), flag(json!(true))),
                merge(by("slipway-agent"), cordon(&version(1))),
            ],
        ),
        talk(
            "cordon: a human's cordon and uncordon leave no owner",
            vec![
                node(),
                strategic(by("kubectl"), flag(json!(true))),
                strategic(by("kubectl"), flag(Value::Null)),
            ],
        ),
        talk(
            "cordon: false is the same as absent",
            vec![
                node(),
                strategic(by("kubectl"), flag(json!(false))),
                get(ONE),
            ],
        ),
        talk(
            "cordon: by replacing the node",
            vec![
                node(),
                put(
                    by("someone"),
                    json!({"apiVersion": "v1", "kind": "Node",
                    "metadata": {"name": "$X", "labels": {"talk": "$X"}, "resourceVersion": version(0)}, "spec": {"unschedulable": true}}),
                ),
            ],
        ),
        talk(
            "cordon: made cordoned",
            vec![post(
                format!("{NODES}?fieldManager=maker"),
                json!({"apiVersion": "v1", "kind": "Node",
                "metadata": {"name": "$X", "labels": {"talk": "$X"}}, "spec": {"unschedulable": true}}),
            )],
        ),
        talk(
            "taints: a patch replaces the list",
            vec![
                node(),
                strategic(
                    ONE,
                    json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}),
                ),
                strategic(
                    ONE,
                    json!({"spec": {"taints": [{"key": "b", "effect": "NoExecute", "value": "v"}]}}),
                ),
                strategic(ONE, json!({"spec": {"taints": null}})),
            ],
        ),
        talk(
            "annotations: emptied ones go",
            vec![
                node(),
                merge(
                    ONE,
                    json!({"metadata": {"annotations": {"a": "1", "b": "2"}}}),
                ),
                merge(ONE, json!({"metadata": {"annotations": {"a": null}}})),
                merge(ONE, json!({"metadata": {"annotations": {"b": null}}})),
            ],
        ),
    ]
}

fn condition_lists() -> Vec<Conversation> {
    let ready =
        json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "m"});
    let needed = json!({"type": "RebootRequired", "status": "True", "reason": "SentinelFile", "message": "m",
        "lastTransitionTime": "2026-03-01T00:00:00Z", "lastHeartbeatTime": "2026-03-01T00:00:00Z"});
    vec![
        talk(
            "condition: a strategic patch adds one beside another",
            vec![
                node(),
                strategic(STATUS, conditions(json!([ready]))),
                strategic(STATUS, conditions(json!([needed]))),
            ],
        ),
        talk(
            "condition: a strategic patch changes one in place",
            vec![
                node(),
                strategic(STATUS, conditions(json!([ready, needed]))),
                strategic(
                    STATUS,
                    conditions(json!([{"type": "Ready", "status": "False"}])),
                ),
            ],
        ),
        talk(
            "condition: a strategic patch removes one",
            vec![
                node(),
                strategic(STATUS, conditions(json!([ready, needed]))),
                strategic(
                    STATUS,
                    conditions(json!([{"type": "Ready", "$patch": "delete"}])),
                ),
            ],
        ),
        talk(
            "condition: a merge patch replaces the list",
            vec![
                node(),
                strategic(STATUS, conditions(json!([ready, needed]))),
                merge(
                    STATUS,
                    conditions(json!([{"type": "Other", "status": "True"}])),
                ),
            ],
        ),
        talk(
            "condition: the same patch again keeps the version",
            vec![
                node(),
                strategic(STATUS, conditions(json!([needed]))),
                strategic(STATUS, conditions(json!([needed]))),
            ],
        ),
        talk(
            "condition: written on the node itself it is ignored",
            vec![node(), strategic(ONE, conditions(json!([needed])))],
        ),
        talk(
            "condition: a label comes along with a status write",
            vec![
                node(),
                merge(STATUS, json!({"metadata": {"annotations": {"a": "b"}}})),
            ],
        ),
    ]
}

fn owners() -> Vec<Conversation> {
    let dependent = |uid: &str| {
        json!({"apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease", "metadata": {"name": "$X",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "$X", "uid": uid}]},
            "spec": {"nodeUID": uid, "requestedAt": "2026-03-01T00:00:00Z"}})
    };
    vec![
        talk(
            "owner: kept in the dependent",
            vec![
                node(),
                post(LEASES, dependent("${0/metadata/uid}")),
                get(format!("{LEASES}/$X")),
            ],
        ),
        talk(
            "owner: deleted and made again under another uid",
            vec![node(), delete(ONE), node(), get(ONE)],
        ),
        talk(
            "owner: references are replaced by a merge patch",
            vec![
                node(),
                post(
                    MAPS,
                    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "$X",
                    "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "$X", "uid": "${0/metadata/uid}"}]}}),
                ),
                merge(
                    format!("{MAPS}/$X"),
                    json!({"metadata": {"ownerReferences": null}}),
                ),
            ],
        ),
    ]
}
