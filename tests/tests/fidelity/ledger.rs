//! The ledger: one object, compared and swapped.

use serde_json::{Value, json};

use crate::conversation::{Conversation, LEDGERS, Step, get, merge, post, put, talk};

const ONE: &str = "/apis/slipway.dev/v1alpha1/rebootledgers/cluster";
const STATUS: &str = "/apis/slipway.dev/v1alpha1/rebootledgers/cluster/status";

fn ledger() -> Step {
    post(
        LEDGERS,
        json!({"apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLedger",
        "metadata": {"name": "cluster"}, "spec": {}}),
    )
}

fn slot(node: &str, fence: i64) -> Value {
    json!({"node": node, "nodeUID": "u", "leaseUID": "l", "policyUID": "p", "fence": fence})
}

fn swap(at: usize, status: Value) -> Step {
    put(
        STATUS,
        json!({"apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLedger",
        "metadata": {"name": "cluster", "resourceVersion": format!("${{{at}/metadata/resourceVersion}}")},
        "spec": {}, "status": status}),
    )
}

pub(crate) fn conversations() -> Vec<Conversation> {
    let status = |status: Value| merge(STATUS, json!({ "status": status }));
    let all = vec![
        talk("ledger: made", vec![ledger(), get(ONE), ledger()]),
        talk(
            "ledger: another name",
            vec![post(
                LEDGERS,
                json!({"apiVersion": "slipway.dev/v1alpha1",
            "kind": "RebootLedger", "metadata": {"name": "$X"}, "spec": {}}),
            )],
        ),
        talk(
            "ledger: a slot is appended",
            vec![
                ledger(),
                swap(0, json!({"nextFence": 2, "slots": [slot("a", 1)]})),
                get(ONE),
            ],
        ),
        talk(
            "ledger: two appends from one version",
            vec![
                ledger(),
                swap(0, json!({"nextFence": 2, "slots": [slot("a", 1)]})),
                swap(0, json!({"nextFence": 2, "slots": [slot("b", 1)]})),
                get(ONE),
            ],
        ),
        talk(
            "ledger: appended and freed",
            vec![
                ledger(),
                swap(0, json!({"nextFence": 2, "slots": [slot("a", 1)]})),
                swap(1, json!({"nextFence": 2})),
            ],
        ),
        talk(
            "ledger: the same again keeps the version",
            vec![
                ledger(),
                swap(0, json!({"nextFence": 2, "slots": [slot("a", 1)]})),
                swap(1, json!({"nextFence": 2, "slots": [slot("a", 1)]})),
            ],
        ),
        talk(
            "ledger: one node twice",
            vec![
                ledger(),
                swap(
                    0,
                    json!({"nextFence": 3, "slots": [slot("a", 1), slot("a", 2)]}),
                ),
            ],
        ),
        talk(
            "ledger: no next fence",
            vec![ledger(), swap(0, json!({"slots": [slot("a", 1)]}))],
        ),
        talk(
            "ledger: a next fence of 0",
            vec![ledger(), swap(0, json!({"nextFence": 0}))],
        ),
        talk(
            "ledger: the next fence does not fall",
            vec![
                ledger(),
                status(json!({"nextFence": 5})),
                status(json!({"nextFence": 4})),
            ],
        ),
        talk(
            "ledger: the next fence is not taken away",
            vec![
                ledger(),
                status(json!({"nextFence": 5})),
                merge(STATUS, json!({"status": null})),
            ],
        ),
        talk(
            "ledger: paused between read and swap",
            vec![
                ledger(),
                merge(ONE, json!({"spec": {"paused": true}})),
                swap(0, json!({"nextFence": 2, "slots": [slot("a", 1)]})),
            ],
        ),
        talk(
            "ledger: a swap of the status leaves the pause",
            vec![
                ledger(),
                merge(ONE, json!({"spec": {"paused": true}})),
                swap(1, json!({"nextFence": 2})),
            ],
        ),
        talk(
            "ledger: a slot without its lease",
            vec![
                ledger(),
                swap(
                    0,
                    json!({"nextFence": 2, "slots": [{"node": "a", "nodeUID": "u", "policyUID": "p", "fence": 1}]}),
                ),
            ],
        ),
        talk(
            "ledger: paused is a word",
            vec![ledger(), merge(ONE, json!({"spec": {"paused": "yes"}}))],
        ),
        talk(
            "ledger: replaced without a version",
            vec![
                ledger(),
                put(
                    STATUS,
                    json!({"apiVersion": "slipway.dev/v1alpha1",
            "kind": "RebootLedger", "metadata": {"name": "cluster"}, "spec": {}, "status": {"nextFence": 2}}),
                ),
            ],
        ),
    ];
    all.into_iter().map(Conversation::alone).collect()
}
