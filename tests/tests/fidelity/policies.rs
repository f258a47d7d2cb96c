//! RebootPolicies: defaults, and the answer to each mistake.

use serde_json::{Value, json};

use crate::conversation::{Conversation, POLICIES, get, merge, post, talk};

fn made(name: &str, spec: Value) -> Conversation {
    let mut object = json!({"apiVersion": "slipway.dev/v1alpha1", "kind": "RebootPolicy",
        "metadata": {"name": "$X"}, "spec": {"nodeSelector": {}}});
    let Value::Object(parts) = spec else {
        unreachable!("a spec is an object");
    };
    for (key, value) in parts {
        object["spec"][key] = value;
    }
    talk(
        format!("policy with {name}"),
        vec![post(POLICIES, object), get(format!("{POLICIES}/$X"))],
    )
}

pub(crate) fn conversations() -> Vec<Conversation> {
    let window =
        |start: &str, end: &str| json!({"schedule": {"windows": [{"start": start, "end": end}]}});
    let label = |key: &str, value: &str| {
        let mut labels = json!({});
        labels[key] = json!(value);
        json!({"nodeSelector": {"matchLabels": labels}})
    };
    let expression = |operator: &str, values: Value| json!({"nodeSelector": {"matchExpressions": [{"key": "pool", "operator": operator, "values": values}]}});
    let budget = |value: Value| json!({"budget": {"maxUnavailable": value}});
    vec![
        talk(
            "policy: no selector",
            vec![post(
                POLICIES,
                json!({"apiVersion": "slipway.dev/v1alpha1",
            "kind": "RebootPolicy", "metadata": {"name": "$X"}, "spec": {"priority": 1}}),
            )],
        ),
        made(
            "parts that are empty",
            json!({"schedule": {}, "budget": {}, "drain": {}, "reboot": {}, "verify": {}, "triggers": {}}),
        ),
        made("a count", budget(json!(3))),
        made("a percentage", budget(json!("25%"))),
        made("a negative count", budget(json!(-1))),
        made("too high a percentage", budget(json!("101%"))),
        made("a count as a word", budget(json!("three"))),
        made("a budget that is true", budget(json!(true))),
        made("a window", window("22:00", "04:00")),
        made(
            "a window without end",
            json!({"schedule": {"windows": [{"start": "22:00"}]}}),
        ),
        made("a window without length", window("22:00", "22:00")),
        made("a window until midnight", window("22:00", "24:00")),
        made("a start at 24:00", window("24:00", "04:00")),
        made("a start of one digit", window("9:00", "10:00")),
        made(
            "an unknown day",
            json!({"schedule": {"windows": [{"days": ["Foo"]}]}}),
        ),
        made(
            "a zone with a blank",
            json!({"schedule": {"timeZone": "Europe Berlin"}}),
        ),
        made("a duration of days", json!({"drain": {"timeout": "1d"}})),
        made(
            "a duration that is too long",
            json!({"drain": {"timeout": "169h"}}),
        ),
        made(
            "a composed duration",
            json!({"verify": {"nodeReadyFor": "1h30m"}}),
        ),
        made(
            "an unknown action",
            json!({"drain": {"onTimeout": "Explode"}}),
        ),
        made(
            "a grace that is too long",
            json!({"drain": {"gracePeriodSeconds": 90000}}),
        ),
        made("a label", label("example.com/pool", "a")),
        made("a label that no node can have", label("UPPER/pool/x", "a")),
        made("a value that no label has", label("pool", "a b")),
        made("an expression", expression("In", json!(["a", "b"]))),
        made("an expression without values", expression("In", json!([]))),
        made(
            "an expression with values that it does not take",
            expression("Exists", json!(["a"])),
        ),
        made("an unknown operator", expression("Like", json!(["a"]))),
        made(
            "an unknown check",
            json!({"triggers": {"checks": ["kernle"]}}),
        ),
        made("every check", json!({"triggers": {"checks": ["*"]}})),
        made("an unknown field", json!({"dryRun": true})),
        talk(
            "policy: a condition of one type twice",
            vec![
                post(
                    POLICIES,
                    json!({"apiVersion": "slipway.dev/v1alpha1", "kind": "RebootPolicy",
                    "metadata": {"name": "$X"}, "spec": {"nodeSelector": {}}}),
                ),
                merge(
                    format!("{POLICIES}/$X/status"),
                    json!({"status": {"conditions": [
                    {"type": "Ready", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "2026-03-01T00:00:00Z"},
                    {"type": "Ready", "status": "False", "reason": "R", "message": "m", "lastTransitionTime": "2026-03-01T00:00:00Z"}]}}),
                ),
            ],
        ),
        talk(
            "policy: a condition without a reason",
            vec![
                post(
                    POLICIES,
                    json!({"apiVersion": "slipway.dev/v1alpha1", "kind": "RebootPolicy",
                    "metadata": {"name": "$X"}, "spec": {"nodeSelector": {}}}),
                ),
                merge(
                    format!("{POLICIES}/$X/status"),
                    json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
                ),
            ],
        ),
    ]
}
