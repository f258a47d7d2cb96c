//! The matrix of what people write into a lease: each field has a verb of its own, names who writes
//! it, and names the reboot that it speaks of.

use serde_json::{Value, json};

use super::cells::{Act, Answer, Cell, LEASES, Who};
use super::world::FENCE;

const SPEC: &str = "slipway-lease-spec";
const STATUS: &str = "slipway-lease-status";
/// `spec.requestedAt` of every lease of the world.
const NEED: &str = "2026-03-01T00:00:00Z";

fn denied(words: &'static str) -> Answer {
    Answer::DeniedBy(SPEC, words)
}

fn write(who: Who, node: &str, spec: &Value, answer: Answer) -> Cell {
    Cell::new(
        who,
        Act::merge(LEASES, node, json!({ "spec": spec })),
        answer,
    )
}

fn approval(by: &str) -> Value {
    json!({ "approved": { "requestedAt": NEED, "by": by } })
}

fn request(by: &str, after: i64) -> Value {
    json!({ "request": { "afterFence": after, "by": by, "reason": "new firmware" } })
}

fn hold(by: &str) -> Value {
    json!({ "hold": { "by": by, "reason": "debugging" } })
}

fn release(by: &str, fence: i64) -> Value {
    json!({ "release": { "fence": fence, "by": by, "reason": "dead", "force": true } })
}

/// A lease that a person makes.
fn made(spec: &Value, owner: bool) -> Act {
    let mut lease = json!({
        "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease", "metadata": { "name": "new" },
        "spec": { "nodeUID": "u", "requestedAt": NEED },
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        lease["spec"][field] = value.clone();
    }
    if owner {
        let node = json!({ "apiVersion": "v1", "kind": "Node", "name": "new", "uid": "u" });
        lease["metadata"]["ownerReferences"] = json!([node]);
    }
    Act::create(LEASES, lease)
}

/// Those who may, and everybody else.
pub(crate) fn cells() -> Vec<Cell> {
    [verbs(), names(), making(), operator()].concat()
}

#[expect(clippy::too_many_lines, reason = "a table of cells")]
fn verbs() -> Vec<Cell> {
    let rob = || Who::Rebooter;
    let eve = || Who::Editor;
    vec![
        write(rob(), "pending", &approval("rob"), Answer::Allowed),
        write(
            eve(),
            "pending",
            &approval("eve"),
            denied("takes the verb approve"),
        ),
        write(rob(), "completed", &request("rob", FENCE), Answer::Allowed),
        write(rob(), "pending", &request("rob", 0), Answer::Allowed),
        write(
            eve(),
            "completed",
            &request("eve", FENCE),
            denied("takes the verb request"),
        ),
        write(rob(), "draining", &hold("rob"), Answer::Allowed),
        write(
            eve(),
            "draining",
            &hold("eve"),
            denied("takes the verb hold"),
        ),
        write(rob(), "rebooting", &release("rob", FENCE), Answer::Allowed),
        write(rob(), "granted", &release("rob", FENCE), Answer::Allowed),
        write(
            rob(),
            "rebooting",
            &json!({ "release": null }),
            Answer::Allowed,
        ),
        write(
            eve(),
            "rebooting",
            &release("eve", FENCE),
            denied("takes the verb release"),
        ),
        write(
            eve(),
            "rebooting",
            &json!({ "release": null }),
            denied("takes the verb release"),
        ),
        write(
            Who::Admin,
            "rebooting",
            &release("ada", FENCE),
            Answer::Allowed,
        ),
        // Nothing else is theirs.
        write(
            rob(),
            "draining",
            &json!({ "revoke": { "fence": FENCE, "reason": "WindowClosed" } }),
            denied("only Slipway's operator makes leases"),
        ),
        write(
            rob(),
            "pending",
            &json!({ "requestedAt": "2026-03-02T00:00:00Z" }),
            denied("only Slipway's operator makes leases"),
        ),
        Cell::new(
            rob(),
            Act::merge(LEASES, "draining", json!({ "status": { "message": "x" } })).of("status"),
            Answer::Refused("cannot patch"),
        ),
        Cell::new(
            rob(),
            Act::delete(LEASES, "completed"),
            Answer::Refused("cannot delete"),
        ),
    ]
}

/// Whose name it is, and which reboot.
fn names() -> Vec<Cell> {
    let rob = || Who::Rebooter;
    let by = || denied("the field by has to name who writes: rob");
    let another = json!({ "approved": { "requestedAt": "2026-02-01T00:00:00Z", "by": "rob" } });
    let after = || denied("spec.request.afterFence has to be the present status.fence");
    let of = || denied("spec.release.fence has to be that of the present reboot");
    vec![
        write(rob(), "pending", &approval("ada"), by()),
        write(rob(), "completed", &request("ada", FENCE), by()),
        write(rob(), "draining", &hold("ada"), by()),
        write(rob(), "rebooting", &release("eve", FENCE), by()),
        write(
            rob(),
            "pending",
            &another,
            denied("has to be spec.requestedAt"),
        ),
        write(rob(), "completed", &request("rob", FENCE - 1), after()),
        write(rob(), "completed", &request("rob", FENCE + 1), after()),
        write(rob(), "draining", &request("rob", FENCE), after()),
        write(rob(), "rebooting", &release("rob", FENCE - 1), of()),
        write(rob(), "rebooting", &release("rob", FENCE + 1), of()),
    ]
}

/// A node that needs no reboot has no lease yet: whoever asks for one, or holds it, makes it.
fn making() -> Vec<Cell> {
    let rob = || Who::Rebooter;
    let others = || denied("only Slipway's operator makes leases");
    let grant = json!({ "grant": {
        "fence": FENCE, "grantedAt": NEED, "notAfter": "2026-03-01T02:00:00Z",
        "drain": {}, "reboot": {}, "verify": {},
    }, "request": request("rob", 0)["request"] });
    vec![
        Cell::new(rob(), made(&request("rob", 0), true), Answer::Allowed),
        Cell::new(rob(), made(&hold("rob"), true), Answer::Allowed),
        Cell::new(rob(), made(&json!({}), true), others()),
        Cell::new(rob(), made(&grant, true), others()),
        Cell::new(
            rob(),
            made(&request("rob", 0), false),
            denied("a lease has its Node as its owner"),
        ),
        Cell::new(
            Who::Editor,
            made(&request("eve", 0), true),
            denied("takes the verb request"),
        ),
    ]
}

/// The operator is no person, and ends a reboot under way only for one.
fn operator() -> Vec<Cell> {
    let people = || denied("are for people, and the operator is none");
    vec![
        write(Who::Operator, "pending", &approval("ada"), people()),
        write(Who::Operator, "completed", &request("ada", FENCE), people()),
        write(
            Who::Operator,
            "draining",
            &json!({ "release": null }),
            people(),
        ),
        Cell::new(
            Who::Operator,
            Act::merge(
                LEASES,
                "unclear",
                json!({ "status": { "phase": "Failed" } }),
            )
            .of("status"),
            Answer::DeniedBy(STATUS, "only when spec.release names its fence"),
        ),
    ]
}
