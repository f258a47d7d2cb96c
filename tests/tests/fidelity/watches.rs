//! Watches: what is shown, in which order, from which version, and under which selector.

use serde_json::{Value, json};

use crate::basics::{Subject, subjects};
use crate::conversation::{
    Conversation, LEASES, MAPS, NODES, PODS, Step, delete, delete_with, get, merge, post, talk,
};

fn watch(path: &str, more: &str) -> Step {
    get(format!(
        "{path}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true{more}"
    ))
}

fn from(step: usize) -> String {
    format!("&resourceVersion=${{{step}/metadata/resourceVersion}}")
}

fn named() -> &'static str {
    "&fieldSelector=metadata.name%3D$X"
}

fn each(s: &Subject) -> Vec<Conversation> {
    let w = s.word;
    let one = format!("{}/$X", s.path);
    let make = post(s.path, s.object.clone());
    let label = |value: &str| merge(one.clone(), json!({"metadata": {"labels": {"n": value}}}));
    vec![
        talk(
            format!("watch {w}: changes after it was made"),
            vec![
                make.clone(),
                label("1"),
                label("2"),
                delete(one.clone()),
                watch(s.path, &format!("{}{}", from(0), named())),
            ],
        ),
        talk(
            format!("watch {w}: no version shows what is there"),
            vec![make.clone(), label("1"), watch(s.path, named())],
        ),
        talk(
            format!("watch {w}: a change that changes nothing is not shown"),
            vec![
                make.clone(),
                label("1"),
                label("1"),
                watch(s.path, &format!("{}{}", from(0), named())),
            ],
        ),
        talk(
            format!("watch {w}: entering and leaving a selection"),
            vec![
                make,
                label("in"),
                merge(
                    one.clone(),
                    json!({"metadata": {"annotations": {"a": "b"}}}),
                ),
                label("out"),
                label("in"),
                watch(
                    s.path,
                    &format!("{}&labelSelector=n%3Din,talk%3D$X", from(0)),
                ),
            ],
        ),
    ]
}

pub(crate) fn conversations() -> Vec<Conversation> {
    let mut all: Vec<Conversation> = subjects().iter().flat_map(each).collect();
    let node = || {
        post(
            NODES,
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "$X"}}),
        )
    };
    let lease = || {
        post(
            LEASES,
            json!({"apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease", "metadata": {"name": "$X"},
        "spec": {"nodeUID": "u", "requestedAt": "2026-03-01T00:00:00Z"}}),
        )
    };
    let pod = |spec: Value| {
        let mut object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "$X"},
            "spec": {"containers": [{"name": "c", "image": "i"}]}});
        for (key, value) in spec.as_object().unwrap() {
            object["spec"][key] = value.clone();
        }
        post(PODS, object)
    };
    let ours = format!("{}{}", from(0), named());
    all.extend([
        talk(
            "watch: from a version that is none",
            vec![watch(NODES, "&resourceVersion=abc")],
        ),
        talk(
            "watch: with a field that cannot be selected",
            vec![watch(NODES, "&fieldSelector=spec.nothing%3D1")],
        ),
        talk(
            "watch: an unknown kind",
            vec![watch("/apis/slipway.dev/v1alpha1/unknowns", "")],
        ),
        talk(
            "watch: status writes are shown",
            vec![
                lease(),
                merge(
                    format!("{LEASES}/$X/status"),
                    json!({"status": {"phase": "Granted"}}),
                ),
                merge(
                    format!("{LEASES}/$X"),
                    json!({"spec": {"requestedAt": "2026-03-09T00:00:00Z"}}),
                ),
                watch(LEASES, &ours),
            ],
        ),
        talk(
            "watch: a finalizer shows the mark and the end",
            vec![
                lease(),
                merge(
                    format!("{LEASES}/$X"),
                    json!({"metadata": {"finalizers": ["example.com/hold"]}}),
                ),
                delete(format!("{LEASES}/$X")),
                merge(
                    format!("{LEASES}/$X"),
                    json!({"metadata": {"finalizers": null}}),
                ),
                watch(LEASES, &ours),
            ],
        ),
        talk(
            "watch: a pod's graceful end",
            vec![
                node(),
                pod(json!({"nodeName": "$X"})),
                merge(
                    format!("{PODS}/$X/status"),
                    json!({"status": {"phase": "Running"}}),
                ),
                delete(format!("{PODS}/$X")),
                delete_with(format!("{PODS}/$X"), json!({"gracePeriodSeconds": 0})),
                watch(
                    "/api/v1/pods",
                    &format!("{}&fieldSelector=spec.nodeName%3D$X", from(1)),
                ),
            ],
        ),
        talk(
            "watch: pods of one node only",
            vec![
                node(),
                pod(json!({})),
                watch(
                    "/api/v1/pods",
                    &format!("{}&fieldSelector=spec.nodeName%3D$X", from(0)),
                ),
            ],
        ),
        talk(
            "watch: deleted and made again",
            vec![
                lease(),
                delete(format!("{LEASES}/$X")),
                lease(),
                watch(LEASES, &ours),
            ],
        ),
        talk(
            "watch: with the initial events",
            vec![
                lease(),
                watch(
                    LEASES,
                    &format!(
                        "{}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
                        named()
                    ),
                ),
            ],
        ),
        talk(
            "watch: from the last version nothing is shown",
            vec![
                lease(),
                merge(
                    format!("{LEASES}/$X"),
                    json!({"metadata": {"labels": {"a": "b"}}}),
                ),
                watch(LEASES, &format!("{}{}", from(1), named())),
            ],
        ),
        talk(
            "watch: config maps of every namespace",
            vec![
                post(
                    MAPS,
                    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "$X"}}),
                ),
                merge(format!("{MAPS}/$X"), json!({"data": {"a": "b"}})),
                watch("/api/v1/configmaps", &ours),
            ],
        ),
    ]);
    all
}
