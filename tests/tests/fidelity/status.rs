//! The status subresource: neither half writes the other's.

use serde_json::json;

use crate::conversation::{
    BUDGETS, Conversation, LEASES, NODES, PODS, POLICIES, answer, get, merge, post, put, talk,
};

pub(crate) fn conversations() -> Vec<Conversation> {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "$X", "labels": {"talk": "$X"}}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "$X", "labels": {"talk": "$X"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "$X", "labels": {"talk": "$X"}}, "spec": {"minAvailable": 1}});
    let lease = json!({"apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
        "metadata": {"name": "$X", "labels": {"talk": "$X"}}, "spec": {"nodeUID": "u", "requestedAt": "2026-03-01T00:00:00Z"}});
    let policy = json!({"apiVersion": "slipway.dev/v1alpha1", "kind": "RebootPolicy",
        "metadata": {"name": "$X", "labels": {"talk": "$X"}}, "spec": {"nodeSelector": {}}});
    let condition = json!({"conditions": [{"type": "T", "status": "True", "reason": "R",
        "message": "m", "lastTransitionTime": "2026-03-01T00:00:00Z"}]});
    let counts = json!({"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1,
        "expectedPods": 2, "observedGeneration": 1});
    let pending = json!({"phase": "Granted", "reason": "r"});
    let cases = [
        (
            "node",
            NODES,
            node,
            condition.clone(),
            json!({"unschedulable": true}),
        ),
        (
            "pod",
            PODS,
            pod,
            json!({"phase": "Running"}),
            json!({"activeDeadlineSeconds": 9}),
        ),
        (
            "budget",
            BUDGETS,
            budget,
            counts,
            json!({"minAvailable": 2}),
        ),
        (
            "reboot lease",
            LEASES,
            lease,
            pending,
            json!({"requestedAt": "2026-03-05T00:00:00Z"}),
        ),
        (
            "policy",
            POLICIES,
            policy,
            condition,
            json!({"priority": 5}),
        ),
    ];
    let mut all = Vec::new();
    for (word, path, object, status, spec) in cases {
        let one = format!("{path}/$X");
        let sub = format!("{one}/status");
        let make = post(path, object.clone());
        let mut with_status = object.clone();
        with_status["status"] = status.clone();
        let new = json!({"new": "label"});
        let replaced = answer(
            0,
            &json!({"metadata": {"labels": new}, "status": status, "spec": spec}),
        );
        let both =
            json!({"status": status, "spec": spec, "metadata": {"labels": {"new": "label"}}});
        let say = |what: &str, steps| talk(format!("{word} status: {what}"), steps);
        all.extend([
            say("made with one", vec![post(path, with_status), get(&one)]),
            say("read by itself", vec![make.clone(), get(&sub)]),
            say("read of a missing object", vec![get(&sub)]),
            say("patched", vec![make.clone(), merge(&sub, json!({"status": status})), get(&one)]),
            say(
                "the same patch twice keeps the version",
                vec![
                    make.clone(),
                    merge(&sub, json!({"status": status})),
                    merge(&sub, json!({"status": status})),
                ],
            ),
            say("patched on a missing object", vec![merge(&sub, json!({"status": status}))]),
            say(
                "patched from an old version",
                vec![
                    make.clone(),
                    merge(&one, json!({"metadata": {"labels": {"a": "b"}}})),
                    merge(&sub, json!({"metadata": {"resourceVersion": "${0/metadata/resourceVersion}"}, "status": status})),
                ],
            ),
            say(
                "a status write makes a stale write of the object fail",
                vec![
                    make.clone(),
                    merge(&sub, json!({"status": status})),
                    merge(&one, json!({"metadata": {"resourceVersion": "${0/metadata/resourceVersion}", "labels": {"a": "b"}}})),
                ],
            ),
            say("a patch of the object leaves it", vec![make.clone(), merge(&one, json!({"status": status}))]),
            say("a patch of it leaves the rest", vec![make.clone(), merge(&sub, both)]),
            say("replaced", vec![make.clone(), put(&sub, replaced.clone()), get(&one)]),
            say("replacing the object leaves it", vec![make.clone(), put(&one, replaced)]),
            say(
                "patched with another uid",
                vec![make.clone(), merge(&sub, json!({"metadata": {"uid": "other"}, "status": status}))],
            ),
            say(
                "patched with version and uid",
                vec![make, merge(&sub, json!({"metadata": {"uid": "${0/metadata/uid}",
                    "resourceVersion": "${0/metadata/resourceVersion}"}, "status": status}))],
            ),
        ]);
    }
    all
}
