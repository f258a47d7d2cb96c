//! What every kind must do: each verb with each precondition.

use serde_json::{Value, json};

use crate::conversation::{
    BUDGETS, Conversation, ELECTIONS, LEASES, MAPS, NODES, PODS, POLICIES, Step, answer, delete,
    delete_with, get, merge, post, put, talk,
};
use crate::patches;

/// A kind to talk about: its collection, an object and a change of its spec.
pub(crate) struct Subject {
    pub(crate) word: &'static str,
    pub(crate) path: &'static str,
    pub(crate) object: Value,
    pub(crate) change: Value,
}

impl Subject {
    pub(crate) fn one(&self) -> String {
        format!("{}/$X", self.path)
    }

    pub(crate) fn make(&self) -> Step {
        post(self.path, self.object.clone())
    }

    fn with(&self, metadata: &Value) -> Value {
        let mut object = self.object.clone();
        for (key, value) in metadata.as_object().unwrap() {
            object["metadata"][key] = value.clone();
        }
        object
    }
}

pub(crate) fn subjects() -> Vec<Subject> {
    let subject = |word, path, (version, kind): (&str, &str), rest: Value, change| {
        let mut object = json!({"apiVersion": version, "kind": kind,
            "metadata": {"name": "$X", "labels": {"talk": "$X"}}});
        for (key, value) in rest.as_object().unwrap() {
            object[key] = value.clone();
        }
        Subject {
            word,
            path,
            object,
            change,
        }
    };
    vec![
        subject(
            "node",
            NODES,
            ("v1", "Node"),
            json!({}),
            json!({"spec": {"unschedulable": true}}),
        ),
        subject(
            "pod",
            PODS,
            ("v1", "Pod"),
            json!({"spec": {"containers": [{"name": "c", "image": "i"}]}}),
            json!({"spec": {"activeDeadlineSeconds": 100}}),
        ),
        subject(
            "budget",
            BUDGETS,
            ("policy/v1", "PodDisruptionBudget"),
            json!({"spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "$X"}}}}),
            json!({"spec": {"minAvailable": 2}}),
        ),
        subject(
            "election",
            ELECTIONS,
            ("coordination.k8s.io/v1", "Lease"),
            json!({"spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}}),
            json!({"spec": {"holderIdentity": "b"}}),
        ),
        subject(
            "reboot lease",
            LEASES,
            ("slipway.dev/v1alpha1", "RebootLease"),
            json!({"spec": {"nodeUID": "u", "requestedAt": "2026-03-01T00:00:00Z"}}),
            json!({"spec": {"requestedAt": "2026-03-02T00:00:00Z"}}),
        ),
        subject(
            "policy",
            POLICIES,
            ("slipway.dev/v1alpha1", "RebootPolicy"),
            json!({"spec": {"nodeSelector": {}}}),
            json!({"spec": {"priority": 7}}),
        ),
        subject(
            "config map",
            MAPS,
            ("v1", "ConfigMap"),
            json!({"data": {"a": "b"}}),
            json!({"data": {"a": "c"}}),
        ),
    ]
}

pub(crate) fn conversations() -> Vec<Conversation> {
    subjects()
        .iter()
        .flat_map(|subject| {
            let mut all = reads(subject);
            all.extend(creates(subject));
            all.extend(deletes(subject));
            all.extend(puts(subject));
            all.extend(patches::of(subject));
            all
        })
        .collect()
}

fn reads(s: &Subject) -> Vec<Conversation> {
    let w = s.word;
    vec![
        talk(format!("{w}: made and read"), vec![s.make(), get(s.one())]),
        talk(format!("{w}: a missing one is read"), vec![get(s.one())]),
        talk(
            format!("{w}: listed by label"),
            vec![s.make(), get(format!("{}?labelSelector=talk%3D$X", s.path))],
        ),
        talk(
            format!("{w}: listed by a set of labels"),
            vec![
                s.make(),
                get(format!("{}?labelSelector=talk%20in%20($X,y)", s.path)),
                get(format!(
                    "{}?labelSelector=talk%3D$X,talk%20notin%20($X)",
                    s.path
                )),
            ],
        ),
        talk(
            format!("{w}: listed by name"),
            vec![
                s.make(),
                get(format!("{}?fieldSelector=metadata.name%3D$X", s.path)),
            ],
        ),
        talk(
            format!("{w}: listed by a field that cannot be selected"),
            vec![get(format!("{}?fieldSelector=spec.nothing%3D1", s.path))],
        ),
        talk(
            format!("{w}: read at least as new as its own version"),
            vec![
                s.make(),
                get(format!(
                    "{}?resourceVersion=${{0/metadata/resourceVersion}}",
                    s.one()
                )),
            ],
        ),
        talk(
            format!("{w}: listed from any version"),
            vec![
                s.make(),
                get(s.one()),
                get(format!(
                    "{}?labelSelector=talk%3D$X&resourceVersion=${{0/metadata/resourceVersion}}",
                    s.path
                )),
            ],
        ),
    ]
}

fn creates(s: &Subject) -> Vec<Conversation> {
    let w = s.word;
    let mut wrong_kind = s.object.clone();
    wrong_kind["kind"] = json!("Other");
    let with = |metadata: Value| post(s.path, s.with(&metadata));
    vec![
        talk(format!("{w}: made twice"), vec![s.make(), s.make()]),
        talk(
            format!("{w}: made with a bad name"),
            vec![with(json!({"name": "Not_Right"}))],
        ),
        talk(
            format!("{w}: made without a name"),
            vec![with(json!({"name": null}))],
        ),
        talk(
            format!("{w}: made with a version"),
            vec![with(json!({"resourceVersion": "5"}))],
        ),
        talk(
            format!("{w}: made with a uid and a generation of its own"),
            vec![with(json!({"uid": "mine", "generation": 7})), get(s.one())],
        ),
        talk(
            format!("{w}: made as another kind"),
            vec![post(s.path, wrong_kind)],
        ),
        talk(
            format!("{w}: made on a name"),
            vec![post(s.one(), s.object.clone())],
        ),
        talk(
            format!("{w}: made for the sake of trying"),
            vec![
                post(format!("{}?dryRun=All", s.path), s.object.clone()),
                get(s.one()),
            ],
        ),
    ]
}

fn deletes(s: &Subject) -> Vec<Conversation> {
    let w = s.word;
    let only_if = |key: &str, value: &str| {
        let mut preconditions = json!({});
        preconditions[key] = json!(value);
        delete_with(s.one(), json!({ "preconditions": preconditions }))
    };
    vec![
        talk(
            format!("{w}: deleted"),
            vec![s.make(), delete(s.one()), get(s.one())],
        ),
        talk(
            format!("{w}: a missing one is deleted"),
            vec![delete(s.one())],
        ),
        talk(
            format!("{w}: deleted by its uid"),
            vec![s.make(), only_if("uid", "${0/metadata/uid}"), get(s.one())],
        ),
        talk(
            format!("{w}: deleted by another uid"),
            vec![s.make(), only_if("uid", "other"), get(s.one())],
        ),
        talk(
            format!("{w}: deleted by its version"),
            vec![
                s.make(),
                only_if("resourceVersion", "${0/metadata/resourceVersion}"),
                get(s.one()),
            ],
        ),
        talk(
            format!("{w}: deleted by another version"),
            vec![s.make(), only_if("resourceVersion", "3"), get(s.one())],
        ),
        talk(
            format!("{w}: deleted and made again has another uid"),
            vec![s.make(), delete(s.one()), s.make()],
        ),
        talk(
            format!("{w}: a finalizer holds it"),
            vec![
                post(s.path, s.with(&json!({"finalizers": ["example.com/hold"]}))),
                delete(s.one()),
                get(s.one()),
                delete(s.one()),
                merge(s.one(), json!({"metadata": {"finalizers": null}})),
                get(s.one()),
            ],
        ),
    ]
}

fn puts(s: &Subject) -> Vec<Conversation> {
    let w = s.word;
    let labelled = |mut metadata: Value| {
        metadata["labels"] = json!({"more": "yes"});
        put(s.one(), answer(0, &json!({ "metadata": metadata })))
    };
    let touch = merge(s.one(), json!({"metadata": {"labels": {"touched": "yes"}}}));
    let missing = json!({"resourceVersion": "5"});
    vec![
        talk(
            format!("{w}: replaced"),
            vec![s.make(), labelled(json!({})), get(s.one())],
        ),
        talk(
            format!("{w}: replaced from an old version"),
            vec![s.make(), touch, labelled(json!({}))],
        ),
        talk(
            format!("{w}: replaced without a version"),
            vec![s.make(), labelled(json!({"resourceVersion": null}))],
        ),
        talk(
            format!("{w}: a missing one is replaced"),
            vec![put(s.one(), s.with(&missing))],
        ),
        talk(
            format!("{w}: replaced under another name"),
            vec![s.make(), labelled(json!({"name": "other"}))],
        ),
        talk(
            format!("{w}: replaced with another uid"),
            vec![s.make(), labelled(json!({"uid": "other"}))],
        ),
        talk(
            format!("{w}: replaced by what was read keeps its version"),
            vec![s.make(), put(s.one(), answer(0, &json!({}))), get(s.one())],
        ),
    ]
}
