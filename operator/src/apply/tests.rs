//! Which requests an executor makes, and how often.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_client::stand_in;
use slipway_planner::{NodeView, Snapshot, objects};

use super::grant::tests::{granted, lease, request};
use super::*;
use crate::election;
use crate::observe::fresh;

fn context(client: Client) -> Context {
    let (_, leadership) = election::candidate(client.clone(), "slipway-system", "a".to_owned());
    Context {
        client,
        namespace: "slipway-system".to_owned(),
        leadership,
        stop: watch::channel(false).1,
        blockers: Blockers::new(),
        metrics: Metrics::new(false).unwrap(),
        admission: Admission::new(false),
    }
}

fn begun() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn policy() -> Value {
    json!({
        "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootPolicy",
        "metadata": {"name": "p", "uid": "pu", "generation": 1},
        "spec": {"nodeSelector": {}},
    })
}

/// One node that waits, under one policy.
fn snapshot() -> Snapshot {
    let node = NodeView {
        name: "n".to_owned(),
        uid: "u".to_owned(),
        ready: true,
        ..NodeView::default()
    };
    Snapshot {
        policies: vec![objects::policy_view(
            &serde_json::from_value(policy()).unwrap(),
        )],
        nodes: [("n".to_owned(), node)].into(),
        ..Snapshot::default()
    }
}

/// What is there, but for the lease.
fn read(path: &str) -> Value {
    let list = |items: &[Value]| json!({"metadata": {}, "items": items});
    if path.ends_with("/rebootpolicies") {
        list(&[policy()])
    } else if path.contains("/rebootledgers/") {
        json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLedger",
            "metadata": {"name": "cluster", "resourceVersion": "5"}, "spec": {},
            "status": {"nextFence": 3, "slots": []},
        })
    } else if path.ends_with("/nodes/n") {
        json!({"metadata": {"name": "n", "uid": "u"}})
    } else {
        list(&[])
    }
}

/// Grants a reboot to a lease with this spec; returns what became of it, and the writes that were
/// tried, of which those of the lease meet a conflict.
async fn grant_to(spec: Value) -> (Result<Done, CallError>, Vec<String>) {
    let writes = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&writes);
    let client = stand_in::client(begun(), move |method, path| {
        let of_lease = path.ends_with("/rebootleases/n");
        if method != "GET" {
            let mut noted = noted.lock().unwrap();
            noted.push(format!("{method} {path}"));
        }
        if of_lease && method == "PATCH" {
            let refusal = json!({"kind": "Status", "status": "Failure", "reason": "Conflict",
                "code": 409, "message": "the object has been modified"});
            return (409, refusal);
        }
        if of_lease {
            let lease = lease("l", &spec, &Value::Null);
            return (200, serde_json::to_value(lease).unwrap());
        }
        (200, read(path))
    });
    let answer = grant::grant(&context(client), &snapshot(), &request()).await;
    let writes = writes.lock().unwrap().clone();
    (answer, writes)
}

#[tokio::test]
async fn g2_a_grant_that_meets_a_newer_lease_is_forgotten() {
    let (answer, writes) = grant_to(Value::Null).await;
    assert!(answer.is_err_and(|error| error.is_conflict()));
    let [slot, grant] = writes.as_slice() else {
        panic!("{writes:?}");
    };
    assert!(slot.ends_with("/rebootledgers/cluster/status"), "{slot}");
    assert!(grant.ends_with("/rebootleases/n"), "{grant}");
}

#[tokio::test]
async fn g1_a_lease_that_does_not_wait_any_more_takes_no_slot() {
    let held = json!({"hold": {"by": "ada"}});
    let (answer, writes) = grant_to(held).await;
    assert_eq!(
        answer.unwrap(),
        Done::Skipped("the node is held".to_owned())
    );
    assert_eq!(writes, Vec::<String>::new());
}

#[tokio::test]
async fn q5_a_second_key_is_dated_before_the_first_read_that_it_rests_on() {
    let client = stand_in::client(begun(), |_, path| {
        if path.ends_with("/rebootleases/n") {
            let drained = json!({"phase": "Drained", "fence": 2});
            let lease = lease("l", &granted(2), &drained);
            return (200, serde_json::to_value(lease).unwrap());
        }
        (200, read(path))
    });
    let evidence = fresh::gather(&context(client), &snapshot(), ("n", 2)).await;
    let evidence = evidence.unwrap().unwrap();
    assert_eq!(evidence.at, begun());
}
