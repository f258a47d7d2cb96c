//! Evictions: budgets that hold, let go, are late, or are two; preconditions; what is left behind.

use serde_json::{Value, json};

use crate::conversation::{
    BUDGETS, Conversation, NODES, PODS, Step, delete, get, merge, post, talk,
};

const POD: &str = "/api/v1/namespaces/default/pods/$X";

fn node() -> Step {
    post(
        NODES,
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "$X"}}),
    )
}

fn pod() -> Step {
    post(
        PODS,
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "$X", "labels": {"a": "$X"}},
        "spec": {"nodeName": "$X", "containers": [{"name": "c", "image": "i"}]}}),
    )
}

fn is(phase: &str, ready: &str) -> Step {
    merge(
        format!("{POD}/status"),
        json!({"status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}}),
    )
}

fn budget(name: &str, spec: &Value) -> Step {
    let mut object = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "$X"}}}});
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    post(BUDGETS, object)
}

fn allows(allowed: i64, (healthy, desired): (i64, i64), observed: i64) -> Step {
    merge(
        format!("{BUDGETS}/$X/status"),
        json!({"status": {"disruptionsAllowed": allowed,
        "currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": 2, "observedGeneration": observed}}),
    )
}

fn evict(options: Value) -> Step {
    let mut body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "$X", "namespace": "default"}});
    if !options.is_null() {
        body["deleteOptions"] = options;
    }
    post(format!("{POD}/eviction"), body)
}

fn rehearsal() -> Step {
    post(
        format!("{POD}/eviction?dryRun=All"),
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "$X"}}),
    )
}

fn by_uid(uid: &str) -> Value {
    json!({"preconditions": {"uid": uid}})
}

fn say(name: &str, steps: Vec<Step>) -> Conversation {
    let mut all = vec![node(), pod()];
    all.extend(steps);
    all.push(get(POD));
    talk(format!("eviction: {name}"), all)
}

pub(crate) fn conversations() -> Vec<Conversation> {
    let none = || evict(Value::Null);
    let after = || get(format!("{BUDGETS}/$X"));
    let two = || budget("$X", &json!({}));
    let mut all = vec![
        talk("eviction: of a missing pod", vec![none()]),
        talk(
            "eviction: under another name",
            vec![
                node(),
                pod(),
                post(
                    format!("{POD}/eviction"),
                    json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "other"}}),
                ),
            ],
        ),
        say("without a budget", vec![is("Running", "True"), none()]),
        say("twice", vec![is("Running", "True"), none(), none()]),
        say("of a pending pod", vec![none()]),
        say(
            "of a pod that has ended",
            vec![is("Succeeded", "False"), none()],
        ),
        say(
            "with no grace",
            vec![
                is("Running", "True"),
                evict(json!({"gracePeriodSeconds": 0})),
            ],
        ),
        say(
            "with a grace",
            vec![
                is("Running", "True"),
                evict(json!({"gracePeriodSeconds": 4})),
            ],
        ),
        say(
            "by uid",
            vec![is("Running", "True"), evict(by_uid("${1/metadata/uid}"))],
        ),
        say(
            "by another uid",
            vec![is("Running", "True"), evict(by_uid("other"))],
        ),
        say(
            "by another uid under a budget",
            vec![
                two(),
                is("Running", "True"),
                allows(1, (2, 1), 1),
                evict(by_uid("other")),
                after(),
            ],
        ),
        say(
            "by uid under a budget",
            vec![
                two(),
                is("Running", "True"),
                allows(1, (2, 1), 1),
                evict(by_uid("${1/metadata/uid}")),
                after(),
            ],
        ),
        say(
            "the budget allows one",
            vec![
                two(),
                is("Running", "True"),
                allows(1, (2, 1), 1),
                none(),
                after(),
            ],
        ),
        say(
            "the budget allows none",
            vec![
                two(),
                is("Running", "True"),
                allows(0, (1, 1), 1),
                none(),
                after(),
            ],
        ),
        say(
            "the budget was never looked at",
            vec![two(), is("Running", "True"), none()],
        ),
        say(
            "the budget has changed since it was looked at",
            vec![
                two(),
                is("Running", "True"),
                allows(1, (2, 1), 1),
                merge(
                    format!("{BUDGETS}/$X"),
                    json!({"spec": {"minAvailable": 2}}),
                ),
                none(),
            ],
        ),
        say(
            "the budget selects others",
            vec![
                budget("$X", &json!({"selector": {"matchLabels": {"a": "other"}}})),
                is("Running", "True"),
                none(),
                after(),
            ],
        ),
        say(
            "the budget selects everything in its namespace by expression",
            vec![
                budget(
                    "$X",
                    &json!({"selector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["$X"]}]}}),
                ),
                is("Running", "True"),
                allows(0, (0, 1), 1),
                none(),
            ],
        ),
        say(
            "two budgets",
            vec![
                two(),
                budget("$X-2", &json!({})),
                is("Running", "True"),
                none(),
            ],
        ),
        say(
            "a pending pod under two budgets",
            vec![two(), budget("$X-2", &json!({})), none()],
        ),
        say(
            "a pod that is not ready under a budget that is satisfied",
            vec![
                two(),
                is("Running", "False"),
                allows(0, (1, 1), 1),
                none(),
                after(),
            ],
        ),
        say(
            "a pod that is not ready under a budget that is not",
            vec![
                two(),
                is("Running", "False"),
                allows(0, (0, 1), 1),
                none(),
                after(),
            ],
        ),
        say(
            "a pod that is not ready is always let go",
            vec![
                budget("$X", &json!({"unhealthyPodEvictionPolicy": "AlwaysAllow"})),
                is("Running", "False"),
                allows(0, (0, 1), 1),
                none(),
                after(),
            ],
        ),
        say(
            "of a pod that is leaving already",
            vec![
                two(),
                is("Running", "True"),
                allows(0, (1, 1), 1),
                delete(POD),
                none(),
                after(),
            ],
        ),
        say(
            "for the sake of trying",
            vec![is("Running", "True"), rehearsal()],
        ),
        say(
            "for the sake of trying under a budget that allows it",
            vec![
                two(),
                is("Running", "True"),
                allows(1, (2, 1), 1),
                rehearsal(),
                after(),
            ],
        ),
        say(
            "for the sake of trying under a budget that does not",
            vec![
                two(),
                is("Running", "True"),
                allows(0, (1, 1), 1),
                rehearsal(),
                after(),
            ],
        ),
    ];
    for allowed in [0, 1, 2] {
        all.push(say(
            &format!("one after the other with {allowed} allowed"),
            vec![
                two(),
                is("Running", "True"),
                allows(allowed, (1 + allowed, 1), 1),
                none(),
                after(),
                none(),
                after(),
            ],
        ));
    }
    all
}
