//! Each promise, broken by a synthetic history, is seen to be broken, and no other one is.

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::json;
use slipway_api::RebootLease;

use super::promises::{Terms, is_finished, judge};
use super::record::{NodeView, PodView, Record};

const NODES: [&str; 3] = ["n1", "n2", "n3"];

fn terms() -> Terms {
    Terms {
        nodes: NODES.map(String::from).to_vec(),
        budget: 2,
        replicas: 2,
        cordoned: ["n3".to_owned()].into(),
    }
}

fn at() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn node(name: &str, boot: u32) -> NodeView {
    NodeView {
        name: name.to_owned(),
        ready: true,
        unschedulable: name == "n3",
        cordoned_by_us: false,
        boot_id: format!("{name}-{boot}"),
    }
}

fn pod(number: u32, ready: bool) -> PodView {
    PodView {
        uid: number.to_string(),
        name: format!("web-{number}"),
        ready,
        went_down: false,
    }
}

fn lease(name: &str, phase: &str) -> Result<RebootLease> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "RebootLease",
        "metadata": { "name": name },
        "spec": { "nodeUID": name, "requestedAt": "2026-01-01T00:00:00Z" },
        "status": { "phase": phase, "fence": 1 },
    }))?)
}

fn begun() -> Record {
    let mut record = Record::default();
    for name in NODES {
        record.node(at(), node(name, 1));
    }
    for number in 1..=3 {
        record.pod(at(), pod(number, true));
    }
    record.begin(at());
    record
}

/// One node after the other is cordoned, goes down, and comes back.
fn reboot(record: &mut Record, name: &str) -> Result<()> {
    let before = node(name, 1);
    let cordoned = NodeView {
        unschedulable: true,
        cordoned_by_us: true,
        ..before
    };
    record.node(at(), cordoned.clone());
    record.ledger([name.to_owned()].into());
    record.lease(at(), lease(name, "Draining")?);
    record.pod(at(), pod(1, false));
    record.pod(at(), pod(1, true));
    record.node(
        at(),
        NodeView {
            ready: false,
            ..cordoned.clone()
        },
    );
    let boot_id = node(name, 2).boot_id;
    record.node(
        at(),
        NodeView {
            boot_id,
            ..cordoned
        },
    );
    record.node(at(), node(name, 2));
    record.lease(at(), lease(name, "Completed")?);
    record.ledger([].into());
    Ok(())
}

fn good() -> Result<Record> {
    let mut record = begun();
    for name in NODES {
        reboot(&mut record, name)?;
    }
    Ok(record)
}

/// The promises that a record breaks.
fn broken(record: &Record) -> Vec<&'static str> {
    judge(record, &terms())
        .into_iter()
        .filter(|verdict| !verdict.kept)
        .map(|verdict| verdict.promise)
        .collect()
}

#[test]
fn a_good_rollout_keeps_every_promise_and_is_finished() -> Result<()> {
    let record = good()?;
    assert_eq!(broken(&record), [""; 0]);
    assert!(is_finished(&record, &terms()));
    Ok(())
}

#[test]
fn a_rollout_under_way_is_not_finished() -> Result<()> {
    let mut record = begun();
    reboot(&mut record, "n1")?;
    assert!(!is_finished(&record, &terms()));
    Ok(())
}

#[test]
fn a_node_that_never_rebooted_is_seen() -> Result<()> {
    let mut record = begun();
    reboot(&mut record, "n1")?;
    reboot(&mut record, "n3")?;
    record.lease(at(), lease("n2", "Completed")?);
    assert_eq!(broken(&record), ["every node rebooted exactly once"]);
    assert!(!is_finished(&record, &terms()));
    Ok(())
}

#[test]
fn a_node_that_rebooted_twice_is_seen() -> Result<()> {
    let mut record = good()?;
    record.node(at(), node("n1", 3));
    assert_eq!(broken(&record), ["every node rebooted exactly once"]);
    Ok(())
}

#[test]
fn one_moment_above_the_budget_is_seen_even_when_it_is_over() -> Result<()> {
    let mut record = good()?;
    // With n3, which a human cordoned, this makes three.
    for name in ["n1", "n2"] {
        record.node(
            at(),
            NodeView {
                ready: name == "n1",
                unschedulable: name == "n1",
                ..node(name, 2)
            },
        );
    }
    for name in ["n1", "n2"] {
        record.node(at(), node(name, 2));
    }
    assert_eq!(
        broken(&record),
        ["never more nodes unavailable than the budget allows"]
    );
    Ok(())
}

#[test]
fn a_node_that_is_deleted_counts_as_unavailable() -> Result<()> {
    let mut record = good()?;
    record.node_gone(at(), "n1");
    record.node_gone(at(), "n2");
    assert!(broken(&record).contains(&"never more nodes unavailable than the budget allows"));
    Ok(())
}

#[test]
fn one_moment_with_too_few_replicas_is_seen_even_when_it_is_over() -> Result<()> {
    let mut record = good()?;
    record.pod(at(), pod(1, false));
    record.pod_gone(at(), "2");
    record.pod(at(), pod(1, true));
    record.pod(at(), pod(4, true));
    assert_eq!(
        broken(&record),
        ["never fewer replicas ready than the disruption budget wants"]
    );
    Ok(())
}

#[test]
fn a_pod_that_went_down_with_its_node_is_seen() -> Result<()> {
    let mut record = good()?;
    record.pod(
        at(),
        PodView {
            went_down: true,
            ..pod(1, true)
        },
    );
    record.pod_gone(at(), "1");
    assert_eq!(
        broken(&record),
        ["no pod of the workload went down with its node"]
    );
    Ok(())
}

#[test]
fn a_cordon_left_behind_is_seen() -> Result<()> {
    let mut record = good()?;
    record.node(
        at(),
        NodeView {
            unschedulable: true,
            ..node("n1", 2)
        },
    );
    assert_eq!(broken(&record), ["no cordon of ours is left behind"]);
    Ok(())
}

#[test]
fn an_annotation_left_behind_is_seen_even_on_a_node_that_a_human_cordoned() -> Result<()> {
    let mut record = good()?;
    record.node(
        at(),
        NodeView {
            cordoned_by_us: true,
            ..node("n3", 2)
        },
    );
    assert_eq!(broken(&record), ["no cordon of ours is left behind"]);
    Ok(())
}

#[test]
fn a_humans_cordon_that_was_removed_is_seen() -> Result<()> {
    let mut record = good()?;
    record.node(
        at(),
        NodeView {
            unschedulable: false,
            ..node("n3", 2)
        },
    );
    assert_eq!(broken(&record), ["what a human cordoned stays cordoned"]);
    Ok(())
}

#[test]
fn a_lease_that_is_not_completed_is_seen() -> Result<()> {
    let mut record = good()?;
    record.lease(at(), lease("n1", "Failed")?);
    assert_eq!(broken(&record), ["every lease is Completed"]);
    Ok(())
}

#[test]
fn a_slot_that_was_kept_is_seen() -> Result<()> {
    let mut record = good()?;
    record.ledger(["n1".to_owned()].into());
    assert_eq!(broken(&record), ["every slot of the ledger is given back"]);
    assert!(!is_finished(&record, &terms()));
    Ok(())
}

#[test]
fn a_record_of_nothing_keeps_no_promise_about_counts() {
    let broken = broken(&Record::default());
    assert!(broken.contains(&"never more nodes unavailable than the budget allows"));
    assert!(broken.contains(&"never fewer replicas ready than the disruption budget wants"));
}

#[test]
fn what_was_before_the_beginning_does_not_count() -> Result<()> {
    let mut record = Record::default();
    record.pod(at(), pod(1, false));
    for name in NODES {
        record.node(
            at(),
            NodeView {
                ready: false,
                ..node(name, 1)
            },
        );
    }
    for name in NODES {
        record.node(at(), node(name, 1));
    }
    for number in 1..=3 {
        record.pod(at(), pod(number, true));
    }
    record.begin(at());
    for name in NODES {
        reboot(&mut record, name)?;
    }
    assert_eq!(broken(&record), [""; 0]);
    Ok(())
}

#[test]
fn the_time_spent_waiting_is_added_up_for_each_thing() -> Result<()> {
    let mut record = begun();
    let mut waiting = lease("n1", "Pending")?;
    let status = waiting.status.as_mut().context("no status")?;
    status.waiting_for = serde_json::from_value(json!([
        { "kind": "BudgetUsed", "object": "demo", "message": "2 of 2" }
    ]))?;
    let second = |seconds| Timestamp::from_second(seconds);
    record.lease(second(0)?, waiting.clone());
    record.lease(second(3)?, waiting);
    record.lease(second(5)?, lease("n1", "Granted")?);
    record.lease(second(9)?, lease("n1", "Draining")?);
    let waited = &record.leases.get("n1").context("no lease")?.waited;
    assert_eq!(waited.len(), 1);
    let budget = waited.get("BudgetUsed demo").context("not added up")?;
    assert_eq!(budget.as_secs(), 5);
    Ok(())
}
