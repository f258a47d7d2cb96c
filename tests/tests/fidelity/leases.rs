//! RebootLeases: schema, defaults, and every rule against going back.

use serde_json::{Value, json};
use slipway_api::Phase;

use crate::conversation::{Conversation, LEASES, Step, get, merge, post, put, talk};

const ONE: &str = "/apis/slipway.dev/v1alpha1/rebootleases/$X";
const STATUS: &str = "/apis/slipway.dev/v1alpha1/rebootleases/$X/status";

fn lease(spec: &Value) -> Step {
    let mut object = json!({"apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
        "metadata": {"name": "$X"}, "spec": {"nodeUID": "u", "requestedAt": "2026-03-01T00:00:00Z"}});
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    post(LEASES, object)
}

fn grant(fence: i64) -> Value {
    json!({"grant": {"fence": fence, "grantedAt": "2026-03-01T00:00:00Z", "notAfter": "2026-03-02T00:00:00Z",
        "drain": {}, "reboot": {}, "verify": {}}})
}

fn spec(patch: Value) -> Step {
    merge(ONE, json!({ "spec": patch }))
}

fn status(patch: Value) -> Step {
    merge(STATUS, json!({ "status": patch }))
}

fn clear(fence: i64, at: &str) -> Value {
    json!({"clear": {"fence": fence, "at": at}})
}

fn revoke(fence: i64) -> Value {
    json!({"revoke": {"fence": fence, "reason": "R"}})
}

pub(crate) fn conversations() -> Vec<Conversation> {
    let mut all = schema();
    all.extend(fences());
    all.extend(moves());
    all
}

fn schema() -> Vec<Conversation> {
    let bare = |spec: Value| {
        post(
            LEASES,
            json!({"apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
            "metadata": {"name": "$X"}, "spec": spec}),
        )
    };
    let long = "x".repeat(65);
    let nine: Vec<Value> = (0..9)
        .map(|n| json!({"kind": format!("k{n}"), "message": "m"}))
        .collect();
    vec![
        talk(
            "lease: no spec",
            vec![post(
                LEASES,
                json!({"apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease", "metadata": {"name": "$X"}}),
            )],
        ),
        talk("lease: an empty spec", vec![bare(json!({}))]),
        talk("lease: a spec of another type", vec![bare(json!("text"))]),
        talk(
            "lease: a node UID of another type",
            vec![bare(
                json!({"nodeUID": 5, "requestedAt": "2026-03-01T00:00:00Z"}),
            )],
        ),
        talk(
            "lease: an empty node UID",
            vec![bare(
                json!({"nodeUID": "", "requestedAt": "2026-03-01T00:00:00Z"}),
            )],
        ),
        talk(
            "lease: a node UID that is too long",
            vec![bare(
                json!({"nodeUID": long, "requestedAt": "2026-03-01T00:00:00Z"}),
            )],
        ),
        talk(
            "lease: no date",
            vec![bare(json!({"nodeUID": "u", "requestedAt": "yesterday"}))],
        ),
        talk(
            "lease: unknown fields are dropped",
            vec![lease(
                &json!({"unknown": 1, "policy": {"name": "p", "uid": "q", "more": true}}),
            )],
        ),
        talk(
            "lease: a null counts as absent",
            vec![lease(&json!({"policy": null, "clear": null}))],
        ),
        talk(
            "lease: a grant gets its defaults",
            vec![lease(&grant(1)), get(ONE)],
        ),
        talk("lease: a grant with fence 0", vec![lease(&grant(0))]),
        talk(
            "lease: a grant with a negative duration",
            vec![lease(&json!({"grant": {"fence": 1,
            "grantedAt": "2026-03-01T00:00:00Z", "notAfter": "2026-03-02T00:00:00Z",
            "drain": {"timeout": "-5m"}, "reboot": {}, "verify": {}}}))],
        ),
        talk(
            "lease: an unknown phase",
            vec![lease(&json!({})), status(json!({"phase": "Bogus"}))],
        ),
        talk(
            "lease: a status gets its defaults",
            vec![lease(&json!({})), status(json!({"reason": "R"}))],
        ),
        talk(
            "lease: a negative fence",
            vec![lease(&json!({})), status(json!({"fence": -1}))],
        ),
        talk(
            "lease: too many things waited for",
            vec![lease(&json!({})), status(json!({"waitingFor": nine}))],
        ),
        talk(
            "lease: a reason that is too long",
            vec![lease(&json!({})), status(json!({"reason": long}))],
        ),
        talk(
            "lease: a null removes a part of the status",
            vec![
                lease(&json!({})),
                status(json!({"drain": {"total": 1, "evicted": 0}})),
                status(json!({"drain": null})),
            ],
        ),
        talk(
            "lease: the node UID never changes",
            vec![lease(&json!({})), spec(json!({"nodeUID": "v"}))],
        ),
        talk(
            "lease: another node UID by replacing it",
            vec![
                lease(&json!({})),
                put(
                    ONE,
                    json!({"apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
                "metadata": {"name": "$X", "resourceVersion": "${0/metadata/resourceVersion}"},
                "spec": {"nodeUID": "w", "requestedAt": "2026-03-01T00:00:00Z"}}),
                ),
            ],
        ),
    ]
}

fn fences() -> Vec<Conversation> {
    let say = |name: &str, made: Value, steps: Vec<Step>| {
        let mut all = vec![lease(&made)];
        all.extend(steps);
        all.push(get(ONE));
        talk(format!("fence: {name}"), all)
    };
    let accept = |fence: i64| status(json!({"phase": "Draining", "fence": fence}));
    let to = |phase: &str| status(json!({ "phase": phase }));
    let (noon, later) = ("2026-03-01T12:00:00Z", "2026-03-01T12:00:01Z");
    vec![
        say("a grant grows", grant(3), vec![spec(grant(4))]),
        say("a grant does not fall", grant(3), vec![spec(grant(2))]),
        say(
            "a grant is not changed under its fence",
            grant(3),
            vec![spec(json!({"grant": {"notAfter": "2026-04-01T00:00:00Z"}}))],
        ),
        say(
            "a grant is not taken away",
            grant(3),
            vec![spec(json!({"grant": null}))],
        ),
        say(
            "a grant may follow a revoke",
            revoke(3),
            vec![spec(grant(4))],
        ),
        say(
            "a revoked fence is not granted",
            revoke(3),
            vec![spec(grant(3))],
        ),
        say(
            "a grant above and its revoke in one write",
            json!({}),
            vec![merge(
                ONE,
                json!({"spec": {"grant": grant(5)["grant"], "revoke": revoke(5)["revoke"]}}),
            )],
        ),
        say("a clear comes", grant(3), vec![spec(clear(3, noon))]),
        say(
            "a clear is refreshed",
            clear(3, noon),
            vec![spec(clear(3, later))],
        ),
        say(
            "a clear at the same time",
            clear(3, noon),
            vec![spec(clear(3, noon))],
        ),
        say(
            "a clear does not go back in time",
            clear(3, later),
            vec![spec(clear(3, noon))],
        ),
        say(
            "a clear of a higher fence may be older",
            clear(3, later),
            vec![spec(clear(4, noon))],
        ),
        say(
            "a clear of a lower fence",
            clear(3, noon),
            vec![spec(clear(2, later))],
        ),
        say(
            "a clear is not taken away",
            clear(3, noon),
            vec![spec(json!({"clear": null}))],
        ),
        say("a revoke grows", revoke(3), vec![spec(revoke(4))]),
        say("a revoke does not fall", revoke(3), vec![spec(revoke(2))]),
        say(
            "a revoke is not taken away",
            revoke(3),
            vec![spec(json!({"revoke": null}))],
        ),
        say(
            "a revoke may change its reason",
            revoke(3),
            vec![spec(json!({"revoke": {"reason": "S"}}))],
        ),
        say(
            "status.fence changes at accept",
            grant(3),
            vec![to("Granted"), accept(3)],
        ),
        say(
            "status.fence does not change otherwise",
            grant(3),
            vec![to("Granted"), status(json!({"fence": 3}))],
        ),
        say(
            "status.fence does not fall",
            grant(3),
            vec![accept(3), status(json!({"fence": 2}))],
        ),
        say(
            "status is not taken away",
            grant(3),
            vec![accept(3), merge(STATUS, json!({"status": null}))],
        ),
        say(
            "a fence is accepted once",
            grant(3),
            vec![accept(3), to("Aborted"), to("Pending"), accept(3)],
        ),
        say(
            "a higher fence is accepted after",
            grant(3),
            vec![accept(3), to("Aborted"), to("Pending"), accept(4)],
        ),
        say(
            "a draining node is revoked",
            grant(3),
            vec![accept(3), spec(revoke(3))],
        ),
        say(
            "a committed reboot is not revoked",
            grant(3),
            vec![accept(3), to("Drained"), to("Rebooting"), spec(revoke(3))],
        ),
        say(
            "a revoke of an older fence comes late",
            grant(3),
            vec![accept(3), to("Drained"), to("Rebooting"), spec(revoke(2))],
        ),
        say(
            "a rebooted node is not revoked",
            grant(3),
            vec![
                accept(3),
                to("Drained"),
                to("Rebooting"),
                to("Rebooted"),
                spec(revoke(3)),
            ],
        ),
        say(
            "revoke against commit: the later one fails",
            grant(3),
            vec![
                accept(3),
                to("Drained"),
                spec(revoke(3)),
                merge(
                    STATUS,
                    json!({"metadata": {"resourceVersion": "${2/metadata/resourceVersion}"}, "status": {"phase": "Rebooting"}}),
                ),
            ],
        ),
        say(
            "two rules broken at once",
            json!({"grant": grant(3)["grant"], "revoke": revoke(2)["revoke"]}),
            vec![merge(
                ONE,
                json!({"spec": {"grant": grant(1)["grant"], "revoke": {"fence": 1}}}),
            )],
        ),
    ]
}

/// Every move between two phases.
fn moves() -> Vec<Conversation> {
    let mut all = Vec::new();
    for from in Phase::ALL {
        for to in Phase::ALL {
            let accepts = to == Phase::Draining && from != Phase::Draining;
            all.push(talk(
                format!("phase: {from} to {to}"),
                vec![
                    lease(&json!({})),
                    status(json!({ "phase": from })),
                    status(json!({"phase": to, "fence": i64::from(accepts)})),
                ],
            ));
        }
    }
    all
}
