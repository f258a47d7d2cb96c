//! What the admission policies refuse: dry runs of writes that RBAC lets the operator make and that
//! one of them has to refuse.
//!
//! Nothing is ever written: each is a dry run, rests on the version that was read, and would at
//! worst cordon a node, or make something that holds reboots up. The operator proves the policies
//! that bound the operator; each agent proves those that bound agents. The policies about deleting
//! leases bound neither, and neither may delete: they are read only.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::ClusterResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use slipway_api::{RebootLease, RebootLedger, names};
use slipway_client::admission::proof;
use slipway_client::call::{CallError, bounded};

use super::Missing;
use crate::apply::patch;
use crate::observe::read;

/// Name of the lease that is asked for and must never be.
const PROBE: &str = "slipway-admission-probe";

/// The policies that let something through which they must refuse. What needs an object that is not
/// there yet is not asked: without nodes, leases and a ledger nothing is granted either.
pub(super) async fn probe(client: &Client) -> Result<Vec<Missing>, CallError> {
    let node = first::<Node>(client).await?;
    let lease = first::<RebootLease>(client).await?;
    let ledger = read::ledger(client).await?;
    let mut missing = Vec::new();
    let mut add = |policy: &str, answer| -> Result<(), CallError> {
        let why = proof(policy, answer)?.missing();
        missing.extend(why.map(|why| Missing::new(policy, &why)));
        Ok(())
    };
    if let Some(node) = node {
        let answer = patched::<Node>(client, &node.metadata, cordon(&node), false).await;
        add("slipway-operator-node", answer)?;
    }
    add("slipway-lease-spec", make_granted(client).await)?;
    if let Some(lease) = lease {
        let answer = patched::<RebootLease>(client, &lease.metadata, committed(&lease), true);
        add("slipway-lease-status", answer.await)?;
    }
    if let Some(ledger) = ledger.filter(|ledger| ledger.status.is_some()) {
        let answer = patched::<RebootLedger>(client, &ledger.metadata, two_slots(&ledger), true);
        add("slipway-ledger", answer.await)?;
    }
    Ok(missing)
}

async fn first<K>(client: &Client) -> Result<Option<K>, CallError>
where
    K: Resource<Scope = ClusterResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let one = ListParams::default().limit(1);
    let list = bounded("list an object to prove admission with", api.list(&one)).await?;
    Ok(list.items.into_iter().next())
}

async fn patched<K>(
    client: &Client,
    metadata: &ObjectMeta,
    mut body: Value,
    status: bool,
) -> Result<(), CallError>
where
    K: Resource<Scope = ClusterResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let name = metadata.name.as_deref().unwrap_or_default();
    let params = PatchParams {
        dry_run: true,
        ..patch::params()
    };
    // A stale version is a conflict, not an answer: then it is asked again.
    if let Some(fields) = body.as_object_mut() {
        let version = json!({"resourceVersion": patch::version(metadata)});
        fields.insert("metadata".to_owned(), version);
    }
    let body = Patch::Merge(&body);
    let what = "try what admission must refuse";
    let answer = if status {
        bounded(what, api.patch_status(name, &params, &body)).await
    } else {
        bounded(what, api.patch(name, &params, &body)).await
    };
    answer.map(drop)
}

/// The operator never cordons; the other way round where it is cordoned, for it must be a change.
fn cordon(node: &Node) -> Value {
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable);
    json!({"spec": {"unschedulable": !cordoned.unwrap_or_default()}})
}

/// What the host has committed is its agent's to tell.
fn committed(lease: &RebootLease) -> Value {
    let status = lease.status.clone().unwrap_or_default();
    let one_more = status.journal_fence.saturating_add(1);
    json!({"status": {"phase": status.phase, "fence": status.fence, "journalFence": one_more}})
}

/// Each slot is taken by a write of its own.
fn two_slots(ledger: &RebootLedger) -> Value {
    let present = ledger.status.iter().flat_map(|status| &status.slots);
    let more = ["1", "2"].map(|number| {
        json!({"node": format!("{PROBE}-{number}"), "nodeUID": PROBE, "leaseUID": PROBE,
            "policyUID": "", "fence": 1})
    });
    let slots: Vec<Value> = present.map(|slot| json!(slot)).chain(more).collect();
    json!({"status": {"slots": slots}})
}

/// A lease is made without a grant: one made with it would rest on no version.
async fn make_granted(client: &Client) -> Result<(), CallError> {
    let api: Api<RebootLease> = Api::all(client.clone());
    let params = PostParams {
        dry_run: true,
        field_manager: Some(names::MANAGER_OPERATOR.to_owned()),
    };
    let Ok(lease) = serde_json::from_value(granted()) else {
        // A mistake in this file, which its test finds.
        return Ok(());
    };
    let what = "try what admission must refuse";
    bounded(what, api.create(&params, &lease)).await.map(drop)
}

fn granted() -> Value {
    let time = "2026-01-01T00:00:00Z";
    json!({
        "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease", "metadata": {"name": PROBE},
        "spec": {"nodeUID": PROBE, "requestedAt": time, "grant": {
            "fence": 1, "grantedAt": time, "notAfter": time, "drain": {}, "reboot": {}, "verify": {},
        }},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lease_that_is_asked_for_can_be_read() {
        assert!(serde_json::from_value::<RebootLease>(granted()).is_ok());
    }

    #[test]
    fn f80_what_is_tried_always_changes_something() {
        for cordoned in [None, Some(false), Some(true)] {
            let node: Node = serde_json::from_value(json!({
                "metadata": {"name": "n"}, "spec": {"unschedulable": cordoned},
            }))
            .unwrap();
            let tried = &cordon(&node)["spec"]["unschedulable"];
            assert_eq!(tried, &json!(!cordoned.unwrap_or_default()));
        }
        let mut lease: RebootLease = serde_json::from_value(granted()).unwrap();
        assert_eq!(committed(&lease)["status"]["journalFence"], 1);
        lease.status = Some(slipway_api::RebootLeaseStatus {
            journal_fence: 7,
            fence: 5,
            ..slipway_api::RebootLeaseStatus::default()
        });
        let tried = committed(&lease);
        assert_eq!(tried["status"]["journalFence"], 8);
        assert_eq!(tried["status"]["fence"], 5);
        let ledger: RebootLedger = serde_json::from_value(json!({
            "metadata": {"name": "cluster"}, "spec": {}, "status": {"nextFence": 3, "slots": [
                {"node": "a", "nodeUID": "u", "leaseUID": "l", "policyUID": "p", "fence": 2},
            ]},
        }))
        .unwrap();
        let tried = two_slots(&ledger);
        assert_eq!(tried["status"]["slots"].as_array().unwrap().len(), 3);
        assert_eq!(tried["status"]["slots"][0]["node"], "a");
    }
}
