//! Pods: how they are found by node, and how they leave.

use serde_json::{Value, json};

use crate::conversation::{
    Conversation, NODES, PODS, Step, delete, delete_with, get, merge, post, talk,
};

const ONE: &str = "/api/v1/namespaces/default/pods/$X";

fn node() -> Step {
    post(
        NODES,
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "$X"}}),
    )
}

fn pod(name: &str, spec: &Value) -> Step {
    let mut object = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"talk": "$X"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    post(PODS, object)
}

fn bound() -> Step {
    pod("$X", &json!({"nodeName": "$X"}))
}

fn running() -> Step {
    merge(
        format!("{ONE}/status"),
        json!({"status": {"phase": "Running"}}),
    )
}

pub(crate) fn conversations() -> Vec<Conversation> {
    let grace = |seconds: i64| delete_with(ONE, json!({"gracePeriodSeconds": seconds}));
    vec![
        talk(
            "pod: without containers",
            vec![post(
                PODS,
                json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "$X"}, "spec": {}}),
            )],
        ),
        talk(
            "pod: listed by node in every namespace",
            vec![
                node(),
                bound(),
                pod("$X-other", &json!({})),
                get("/api/v1/pods?fieldSelector=spec.nodeName%3D$X"),
            ],
        ),
        talk(
            "pod: listed by node and label",
            vec![
                node(),
                bound(),
                get("/api/v1/pods?fieldSelector=spec.nodeName%3D$X&labelSelector=talk!%3D$X"),
            ],
        ),
        talk(
            "pod: listed by another node",
            vec![
                node(),
                bound(),
                get(format!("{PODS}?fieldSelector=spec.nodeName%3D$X-2")),
            ],
        ),
        talk(
            "pod: listed by phase",
            vec![
                node(),
                bound(),
                running(),
                get(format!(
                    "{PODS}?fieldSelector=status.phase%3DRunning,metadata.name%3D$X"
                )),
                get(format!(
                    "{PODS}?fieldSelector=status.phase!%3DRunning,metadata.name%3D$X"
                )),
            ],
        ),
        talk(
            "pod: an unbound one leaves at once",
            vec![pod("$X", &json!({})), delete(ONE), get(ONE)],
        ),
        talk(
            "pod: a bound one is marked",
            vec![node(), bound(), running(), delete(ONE), get(ONE)],
        ),
        talk(
            "pod: marked twice keeps its version",
            vec![node(), bound(), running(), delete(ONE), delete(ONE)],
        ),
        talk(
            "pod: marked, then removed with no grace",
            vec![node(), bound(), running(), delete(ONE), grace(0), get(ONE)],
        ),
        talk(
            "pod: removed with no grace",
            vec![node(), bound(), running(), grace(0), get(ONE)],
        ),
        talk(
            "pod: marked with a grace",
            vec![node(), bound(), running(), grace(7), get(ONE)],
        ),
        talk(
            "pod: a mark is brought forward",
            vec![node(), bound(), running(), grace(30), grace(5), get(ONE)],
        ),
        talk(
            "pod: a mark is not put off",
            vec![node(), bound(), running(), grace(5), grace(30), get(ONE)],
        ),
        talk(
            "pod: its own grace",
            vec![
                node(),
                pod(
                    "$X",
                    &json!({"nodeName": "$X", "terminationGracePeriodSeconds": 3}),
                ),
                running(),
                delete(ONE),
            ],
        ),
        talk(
            "pod: one that has ended leaves at once",
            vec![
                node(),
                bound(),
                merge(
                    format!("{ONE}/status"),
                    json!({"status": {"phase": "Succeeded"}}),
                ),
                delete(ONE),
                get(ONE),
            ],
        ),
        talk(
            "pod: a finalizer holds one that was removed",
            vec![
                node(),
                bound(),
                running(),
                merge(
                    ONE,
                    json!({"metadata": {"finalizers": ["example.com/hold"]}}),
                ),
                grace(0),
                get(ONE),
                merge(ONE, json!({"metadata": {"finalizers": null}})),
                get(ONE),
            ],
        ),
    ]
}
