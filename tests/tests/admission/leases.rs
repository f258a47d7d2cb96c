//! The matrix of leases and the ledger: each half has one writer, each move one owner.

use serde_json::{Map, Value, json};
use slipway_api::{Phase, PhaseOwner};

use super::cells::{Act, Answer, Cell, LEASES, LEDGERS, Who};
use super::world::{FENCE, agent, node_in};

const BY_AGENT: &str = "slipway-agent-lease-status";
const BY_OTHERS: &str = "slipway-lease-status";
const SPEC: &str = "slipway-lease-spec";
const DELETE: &str = "slipway-lease-delete";
const DELETE_SLOT: &str = "slipway-lease-delete-slot";
const LEDGER: &str = "slipway-ledger";

fn status(node: &str, status: Value) -> Act {
    let body = Value::Object(Map::from_iter([("status".to_owned(), status)]));
    Act::merge(LEASES, node, body).of("status")
}

/// Each of the 81 moves by the agent and by the operator.
pub(crate) fn moves() -> Vec<Cell> {
    let mut cells = Vec::new();
    for owner in [PhaseOwner::Agent, PhaseOwner::Operator] {
        for from in Phase::ALL {
            for to in Phase::ALL {
                cells.push(a_move(from, to, owner));
            }
        }
    }
    cells
}

fn a_move(from: Phase, to: Phase, owner: PhaseOwner) -> Cell {
    let node = node_in(from);
    let mut change = json!({ "phase": to });
    if to == Phase::Draining && from != Phase::Draining {
        // A terminal lease has had FENCE already; only a higher one could be accepted at all.
        let fence = if from.is_terminal() { FENCE + 1 } else { FENCE };
        change["fence"] = json!(fence);
        change["bootIDBefore"] = json!("before");
    }
    if to == Phase::Rebooted {
        change["bootIDAfter"] = json!("after");
    }
    let (who, policy, words, other) = match owner {
        PhaseOwner::Agent => (
            agent(&node),
            BY_AGENT,
            "an agent may not move a lease",
            PhaseOwner::Operator,
        ),
        PhaseOwner::Operator => (
            Who::Operator,
            BY_OTHERS,
            "the operator may not move a lease",
            PhaseOwner::Agent,
        ),
    };
    let answer = if from.may_become(to, owner) {
        Answer::Allowed
    } else if from.may_become(to, other) {
        Answer::DeniedBy(policy, words)
    } else {
        // The CRD refuses it before the policy is asked.
        Answer::Refused("table of phases")
    };
    Cell::new(who, status(&node, change), answer)
}

/// A grant is accepted with its own fence and the present boot ID, and only while it holds.
pub(crate) fn acceptances() -> Vec<Cell> {
    let denied = |words| Answer::DeniedBy(BY_AGENT, words);
    let own = |node: &str, change, answer| Cell::new(agent(node), status(node, change), answer);
    let accept =
        |fence: i64| json!({ "phase": "Draining", "fence": fence, "bootIDBefore": "before" });
    vec![
        own(
            "pending",
            accept(FENCE + 1),
            denied("an agent accepts only the newest grant"),
        ),
        own(
            "pending",
            accept(FENCE - 1),
            denied("an agent accepts only the newest grant"),
        ),
        own(
            "pending",
            json!({ "phase": "Draining", "fence": FENCE }),
            denied("an agent accepts only the newest grant"),
        ),
        own(
            "revoked",
            accept(FENCE),
            denied("an agent accepts only the newest grant, not revoked"),
        ),
    ]
}

/// What an agent may write into the status of its lease.
pub(crate) fn by_agents() -> Vec<Cell> {
    let denied = |words| Answer::DeniedBy(BY_AGENT, words);
    let own = |node: &str, change, answer| Cell::new(agent(node), status(node, change), answer);
    let note = json!({ "message": "two pods are left" });
    vec![
        own("draining", note.clone(), Answer::Allowed),
        own("n1", json!({ "journalFence": 9 }), Answer::Allowed),
        Cell::new(
            agent("n1"),
            status("draining", note.clone()),
            denied("the agent of node n1 may write the status of that node only"),
        ),
        Cell::new(
            Who::Unbound,
            status("draining", note.clone()),
            denied("the agent's token names no node"),
        ),
        own(
            "draining",
            json!({ "bootIDBefore": "after" }),
            denied("status.bootIDBefore is written when a grant is accepted"),
        ),
        own(
            "rebooting",
            json!({ "phase": "Rebooted", "bootIDBefore": null, "bootIDAfter": "before" }),
            denied("status.bootIDBefore is written when a grant is accepted"),
        ),
        own(
            "unclear",
            json!({ "phase": "Rebooting" }),
            denied("an agent commits only with spec.clear of the same fence"),
        ),
        own(
            "called-off",
            json!({ "phase": "Rebooting" }),
            denied("an agent commits only with spec.clear of the same fence, not revoked"),
        ),
        own("called-off", json!({ "phase": "Aborted" }), Answer::Allowed),
        own(
            "rebooting",
            json!({ "phase": "Rebooted" }),
            denied("a reboot is proved by another boot ID"),
        ),
        own(
            "rebooting",
            json!({ "phase": "Rebooted", "bootIDAfter": "before" }),
            denied("a reboot is proved by another boot ID"),
        ),
        own(
            "draining",
            json!({ "fence": FENCE + 1 }),
            Answer::Refused("status.fence changes only when a grant is accepted"),
        ),
        Cell::new(
            agent("draining"),
            Act::merge(LEASES, "draining", json!({ "spec": { "grant": null } })),
            Answer::Refused("cannot patch"),
        ),
        Cell::new(
            agent("draining"),
            Act::delete(LEASES, "draining"),
            Answer::Refused("cannot delete"),
        ),
        Cell::new(
            agent("draining"),
            Act::merge(LEDGERS, "cluster", json!({ "status": { "slots": [] } })).of("status"),
            Answer::Refused("cannot patch"),
        ),
        Cell::new(agent("n1"), Act::get(LEDGERS, "cluster"), Answer::Allowed),
        Cell::new(agent("n1"), Act::list(LEASES, ""), Answer::Allowed),
    ]
}

fn new_lease(grant: bool) -> Act {
    let mut lease = json!({
        "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease", "metadata": { "name": "new" },
        "spec": { "nodeUID": "u", "requestedAt": "2026-03-01T00:00:00Z" },
    });
    if grant {
        lease["spec"]["grant"] = json!({
            "fence": FENCE, "grantedAt": "2026-03-01T00:00:00Z", "notAfter": "2026-03-01T02:00:00Z",
            "drain": {}, "reboot": {}, "verify": {},
        });
    }
    Act::create(LEASES, lease)
}

/// Who makes leases and writes their spec, and everybody but agents on their status.
pub(crate) fn by_others() -> Vec<Cell> {
    let revoke = json!({ "spec": { "revoke": { "fence": FENCE, "reason": "WindowClosed" } } });
    let revoke = || Act::merge(LEASES, "draining", revoke.clone());
    let label = || {
        let body = json!({ "metadata": { "labels": { "seen": "yes" } } });
        Act::merge(LEASES, "draining", body)
    };
    let note = || status("draining", json!({ "message": "waits" }));
    let spec = |words| Answer::DeniedBy(SPEC, words);
    vec![
        Cell::new(Who::Operator, new_lease(false), Answer::Allowed),
        Cell::new(
            Who::Operator,
            new_lease(true),
            spec("a lease is made without a grant"),
        ),
        Cell::new(Who::Operator, revoke(), Answer::Allowed),
        Cell::new(Who::Operator, note(), Answer::Allowed),
        Cell::new(
            Who::Operator,
            status("draining", json!({ "journalFence": 9 })),
            Answer::DeniedBy(BY_OTHERS, "status.journalFence is the agent's"),
        ),
        Cell::new(
            Who::Operator,
            status("pending", json!({ "phase": "Granted", "fence": FENCE })),
            Answer::Refused("status.fence changes only when a grant is accepted"),
        ),
        Cell::new(
            Who::Operator,
            Act::delete(LEASES, "completed"),
            Answer::Refused("cannot delete"),
        ),
        Cell::new(
            Who::Editor,
            new_lease(false),
            spec("only Slipway's operator makes leases"),
        ),
        Cell::new(
            Who::Editor,
            revoke(),
            spec("only Slipway's operator makes leases"),
        ),
        Cell::new(Who::Editor, label(), Answer::Allowed),
        Cell::new(
            Who::Editor,
            note(),
            Answer::DeniedBy(BY_OTHERS, "only Slipway writes the status of a lease"),
        ),
        Cell::new(
            Who::Editor,
            status("draining", json!({ "phase": "Failed" })),
            Answer::DeniedBy(BY_OTHERS, "only Slipway writes the status of a lease"),
        ),
        Cell::new(Who::Admin, revoke(), Answer::Allowed),
        Cell::new(
            Who::Admin,
            status("draining", json!({ "phase": "Failed" })),
            Answer::Allowed,
        ),
        Cell::new(Who::GarbageCollector, label(), Answer::Allowed),
    ]
}

/// Deleting leases.
pub(crate) fn deletions() -> Vec<Cell> {
    let rebooting = || Answer::DeniedBy(DELETE, "is being rebooted; call it off first");
    let mut cells = vec![
        Cell::new(
            Who::Admin,
            Act::delete(LEASES, "granted"),
            Answer::DeniedBy(DELETE_SLOT, "node granted holds a slot of the RebootLedger"),
        ),
        Cell::new(
            Who::GarbageCollector,
            Act::delete(LEASES, "granted"),
            Answer::Allowed,
        ),
        Cell::new(
            Who::Editor,
            Act::delete_all(LEASES),
            Answer::Refused("denied request"),
        ),
    ];
    for phase in Phase::ALL {
        let node = node_in(phase);
        if phase.is_accepted() {
            cells.push(Cell::new(
                Who::GarbageCollector,
                Act::delete(LEASES, &node),
                Answer::Allowed,
            ));
            for who in [Who::Editor, Who::Admin] {
                // The slot of `draining` is refused as well, and the first refusal is told.
                let answer = if node == "draining" {
                    Answer::Refused("ValidatingAdmissionPolicy 'slipway-lease-delete")
                } else {
                    rebooting()
                };
                cells.push(Cell::new(who, Act::delete(LEASES, &node), answer));
            }
        } else if node != "granted" {
            cells.push(Cell::new(
                Who::Editor,
                Act::delete(LEASES, &node),
                Answer::Allowed,
            ));
        }
    }
    cells
}

/// The ledger: its status is the operator's, its brake everybody's whom RBAC lets.
pub(crate) fn ledger() -> Vec<Cell> {
    let body = json!({ "status": { "slots": [] } });
    let free = || Act::merge(LEDGERS, "cluster", body.clone()).of("status");
    // The world's ledger holds two slots.
    let held = |more: usize| {
        let slots: Vec<Value> = (0..2 + more)
            .map(|number| {
                json!({ "node": format!("x{number}"), "nodeUID": "u", "leaseUID": "l",
                    "policyUID": "p", "fence": FENCE })
            })
            .collect();
        Act::merge(LEDGERS, "cluster", json!({ "status": { "slots": slots } })).of("status")
    };
    let one = Answer::DeniedBy(LEDGER, "one slot of the ledger at a time");
    let paused = json!({ "spec": { "paused": true } });
    let pause = || Act::merge(LEDGERS, "cluster", paused.clone());
    let only = Answer::DeniedBy(LEDGER, "only Slipway's operator writes the status");
    let delete = Answer::DeniedBy(LEDGER, "nodes are being rebooted");
    vec![
        Cell::new(Who::Operator, free(), Answer::Allowed),
        Cell::new(Who::Operator, held(1), Answer::Allowed),
        Cell::new(Who::Operator, held(2), one),
        Cell::new(Who::Admin, held(2), Answer::Allowed),
        Cell::new(Who::Editor, free(), only),
        Cell::new(Who::Admin, free(), Answer::Allowed),
        Cell::new(Who::Editor, pause(), Answer::Allowed),
        Cell::new(Who::Operator, pause(), Answer::Refused("cannot patch")),
        Cell::new(Who::Editor, Act::delete(LEDGERS, "cluster"), delete.clone()),
        Cell::new(Who::Admin, Act::delete(LEDGERS, "cluster"), delete),
        Cell::new(
            Who::Operator,
            Act::delete(LEDGERS, "cluster"),
            Answer::Refused("cannot delete"),
        ),
    ]
}
