//! Drains that cannot finish are undone, and say which pod and which budget is in the way.

use anyhow::{Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use slipway_api::Phase;
use slipway_lab::wait::wait_until;

use crate::world::{BOUND, POLICY, World, is_cordoned, is_ours};

/// Three pods, two of which must always be ready.
const WEB: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'localhost/web:1'}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 2, selector: {matchLabels: {app: web}}}
";

#[tokio::test]
async fn f57_a_budget_that_blocks_for_ever_is_named_and_ends_at_the_timeout_undone() -> Result<()> {
    let world = World::start(2).await?;
    world.apply(POLICY).await?;
    world
        .edit_policy(json!({"drain": {"timeout": "6s"}, "failure": {"maxFailures": 1}}))
        .await?;
    world.hold_in("n1", Phase::Draining).await?;
    world.cluster.set_sentinel("n1")?;
    let named = world
        .cluster
        .wait_lease("n1", "the blocking budget to be named", BOUND, |lease| {
            let status = lease.status.as_ref();
            let waiting = status.and_then(|status| status.drain.as_ref());
            lease.phase() == Phase::Draining
                && serde_json::to_string(&waiting).is_ok_and(|text| text.contains("pinned"))
        })
        .await?;
    ensure!(
        is_cordoned(&world.cluster.node("n1").await?),
        "not cordoned while draining: {named:?}"
    );
    let lease = world.cluster.wait_phase("n1", Phase::Failed, BOUND).await?;
    let status = lease.status.unwrap_or_default();
    ensure!(
        status.reason == "DrainTimeout",
        "the lease says {:?}",
        status.reason
    );
    world.assert_clean("n1").await?;
    ensure!(world.boots_since_start("n1")? == 0, "rebooted undrained");
    // It pauses, and others go on meanwhile: its pods say nothing of them, nor of the breaker.
    world
        .cluster
        .wait_lease("n1", "Undrainable", BOUND, |lease| {
            let mut waits = lease.status.iter().flat_map(|status| &status.waiting_for);
            waits.any(|one| one.kind == "Undrainable")
        })
        .await?;
    world.cluster.set_sentinel("n2")?;
    world.assert_rebooted_once("n2").await?;
    ensure!(world.cluster.lease("n1").await?.phase() == Phase::Failed);
    let pods: Api<Pod> = Api::namespaced(world.cluster.client(), "default");
    let pinned = pods
        .list(&ListParams::default().labels("app=pinned"))
        .await?;
    ensure!(
        pinned
            .items
            .iter()
            .all(|pod| pod.metadata.deletion_timestamp.is_none()),
        "evicted"
    );
    world.stop().await
}

#[tokio::test]
async fn f61_pods_that_tolerate_the_cordon_are_evicted_again_before_the_commit() -> Result<()> {
    let world = World::start(2).await?;
    world.apply(POLICY).await?;
    // Operators are frozen once the node is Drained, so that the second key waits.
    world.cluster.set_sentinel("n1")?;
    world.wait_reached("n1", Phase::Draining).await?;
    let stubborn = "
apiVersion: v1
kind: Pod
metadata: {name: stubborn}
spec:
  nodeName: n1
  containers: [{name: web, image: 'localhost/web:1'}]
";
    world.apply(stubborn).await?;
    world.assert_rebooted_once("n1").await?;
    let pods: Api<Pod> = Api::namespaced(world.cluster.client(), "default");
    let lease = world.cluster.lease("n1").await?;
    let rebooting = lease
        .status
        .iter()
        .flat_map(|status| &status.transitions)
        .find(|transition| transition.phase == Phase::Rebooting)
        .map(|transition| transition.at.0);
    // A pod bound before the commit is gone by then; one bound later was never seen by it.
    if let Some(pod) = pods.get_opt("stubborn").await? {
        let created = pod.metadata.creation_timestamp.map(|time| time.0);
        ensure!(
            created >= rebooting,
            "a pod was on the node when it was rebooted"
        );
    }
    world.stop().await
}

#[tokio::test]
async fn a_deployment_never_has_fewer_pods_than_its_budget_allows() -> Result<()> {
    let world = World::start(3).await?;
    world.apply(WEB).await?;
    wait_replicas(&world, 3).await?;
    world.apply(POLICY).await?;
    let nodes = world.cluster.node_names();
    for node in &nodes {
        world.cluster.set_sentinel(node)?;
    }
    // The fewest that were ever ready, by every event of a watch.
    let deployments: Api<Deployment> = Api::namespaced(world.cluster.client(), "default");
    let only = watcher::Config::default().fields("metadata.name=web");
    let fewest = std::sync::Mutex::new(i32::MAX);
    let watch = watcher(deployments, only)
        .applied_objects()
        .for_each(|event| {
            let ready = event
                .ok()
                .and_then(|one| one.status)
                .and_then(|one| one.ready_replicas);
            let mut fewest = fewest.lock().expect("one thread");
            *fewest = (*fewest).min(ready.unwrap_or(0));
            std::future::ready(())
        });
    let rollout = async {
        for node in &nodes {
            world.assert_rebooted_once(node).await?;
            ensure!(
                !is_ours(&world.cluster.node(node).await?),
                "our annotation stays"
            );
        }
        Ok(())
    };
    tokio::select! {
        () = watch => anyhow::bail!("the watch ended"),
        done = rollout => done?,
    }
    let fewest = *fewest.lock().expect("one thread");
    ensure!(
        (2..=3).contains(&fewest),
        "{fewest} pods were ready at the worst moment"
    );
    world.stop().await
}

async fn wait_replicas(world: &World, count: i32) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(world.cluster.client(), "default");
    wait_until("the Deployment to be ready", BOUND, || async {
        let status = deployments.get("web").await?.status;
        let ready = status.and_then(|status| status.ready_replicas);
        Ok((ready == Some(count)).then_some(()))
    })
    .await
}
