//! Lists: pages, tokens, versions, and paths that lead nowhere.

use serde_json::{Value, json};

use crate::conversation::{
    Conversation, MAPS, PODS, Step, compaction, delete, get, merge, post, talk,
};

const OWN: &str = "/api/v1/namespaces/$X/configmaps";

fn namespace() -> Step {
    post(
        "/api/v1/namespaces",
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "$X"}}),
    )
}

fn own(suffix: &str) -> Step {
    post(
        OWN,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": suffix}}),
    )
}

fn own_three() -> Vec<Step> {
    vec![namespace(), own("a"), own("b"), own("c")]
}

fn map(suffix: &str) -> Step {
    post(
        MAPS,
        json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("$X-{suffix}"), "labels": {"talk": "$X"}}}),
    )
}

fn three() -> Vec<Step> {
    vec![map("a"), map("b"), map("c")]
}

fn then(mut steps: Vec<Step>, more: Vec<Step>) -> Vec<Step> {
    steps.extend(more);
    steps
}

pub(crate) fn conversations() -> Vec<Conversation> {
    let ours = |more: &str| get(format!("{MAPS}?labelSelector=talk%3D$X{more}"));
    let page = |query: &str| get(format!("{OWN}?{query}"));
    let more = |at: usize, query: &str| {
        get(format!(
            "{OWN}?continue=${{{at}/metadata/continue}}&{query}"
        ))
    };
    vec![
        talk("list: in order", then(three(), vec![ours("")])),
        talk("list: nothing", vec![ours("")]),
        talk("list: a page and the rest", then(own_three(), vec![page("limit=2"), more(4, "limit=2")])),
        talk("list: pages of one", then(own_three(), vec![page("limit=1"), more(4, "limit=1"), more(5, "limit=1")])),
        talk("list: a page that holds everything", then(own_three(), vec![page("limit=3")])),
        talk("list: the second page shows the list of the first", then(own_three(), vec![
            page("limit=1"),
            delete(format!("{OWN}/b")),
            own("d"),
            merge(format!("{OWN}/c"), json!({"data": {"k": "v"}})),
            more(4, "limit=5"),
            page("limit=9"),
        ])),
        talk("list: a token and a version", then(own_three(), vec![page("limit=1"), more(4, "resourceVersion=5")])),
        talk("list: a token that is too old", then(own_three(), vec![page("limit=1"), own("d"), compaction(), own("e"), more(4, "limit=1")])).alone(),
        talk("watch: from a version that is compacted", then(own_three(), vec![
            own("d"), compaction(), own("e"),
            get(format!("{OWN}?watch=1&timeoutSeconds=1&resourceVersion=${{1/metadata/resourceVersion}}")),
        ])).alone(),
        talk("list: a token that is none", vec![ours("&continue=abc")]),
        talk("list: a limit that is none", vec![ours("&limit=abc")]),
        talk("list: a version that is none", vec![ours("&resourceVersion=abc")]),
        talk("list: from version 0", vec![ours("&resourceVersion=0")]),
        talk(
            "read: a version that is none",
            vec![
                post("/api/v1/nodes", json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "$X"}})),
                get("/api/v1/nodes/$X?resourceVersion=abc"),
            ],
        ),
        talk("read: version 0", vec![map("a"), get(format!("{MAPS}/$X-a")), get(format!("{MAPS}/$X-a?resourceVersion=${{0/metadata/resourceVersion}}"))]),
        talk("list: not equal, exists, lacks", then(three(), vec![
            merge(format!("{MAPS}/$X-a"), json!({"metadata": {"labels": {"more": "1"}}})),
            ours(",more"), ours(",!more"), ours(",more!%3D1"), ours(",more%3D%3D1"),
        ])),
        talk("list: by name and another name", then(three(), vec![
            get(format!("{MAPS}?fieldSelector=metadata.name%3D$X-b")),
            get(format!("{MAPS}?fieldSelector=metadata.name%3D$X-b,metadata.name%3D$X-c")),
        ])),
        talk("list: the namespace as a field", then(three(), vec![
            get("/api/v1/configmaps?fieldSelector=metadata.namespace%3Ddefault&labelSelector=talk%3D$X".to_owned()),
        ])),
        talk("path: an unknown kind of ours", vec![get("/apis/slipway.dev/v1alpha1/unknowns/x")]),
        talk("path: an unknown version of ours", vec![get("/apis/slipway.dev/v9/rebootleases/x")]),
        talk("path: an unknown core kind", vec![get("/api/v1/unknowns")]),
        talk("path: an unknown subresource", vec![map("a"), get(format!("{MAPS}/$X-a/status"))]),
        talk("path: a kind of ours in a namespace", vec![get("/apis/slipway.dev/v1alpha1/namespaces/default/rebootleases/x")]),
        talk("path: made in another namespace than the body says", vec![post(PODS, json!({"apiVersion": "v1",
            "kind": "Pod", "metadata": {"name": "$X", "namespace": "other"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}))]),
        talk("body: none", vec![post(MAPS, Value::Null)]),
        talk("body: a list", vec![post(MAPS, json!([]))]),
        talk("name: generated", vec![post(MAPS, json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "$X", "generateName": "other-"}}))]),
    ]
}
