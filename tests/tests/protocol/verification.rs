//! What has to hold after a reboot, each rule by itself on a real API server: without the rule, the
//! reboot would be Completed at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use slipway_api::{Phase, RebootLease, names};
use slipway_client::serve::{Answer, Routes, serve};
use slipway_lab::simulated::Power;
use slipway_lab::wait::wait_until;

use crate::world::{BOUND, POLICY, World, entered};

/// Pods that run only where the node lets them: by its label `cart`.
const CART: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart}
spec:
  replicas: 2
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec:
      nodeSelector: {cart: here}
      containers: [{name: web, image: 'localhost/web:1'}]
";

async fn world(nodes: usize, verify: Value) -> Result<World> {
    let world = World::start(nodes).await?;
    world.apply(POLICY).await?;
    let failure = json!({ "maxFailures": 10, "backoff": "1s", "maxRebootsPerNode": 5 });
    world
        .edit_policy(json!({ "verify": verify, "failure": failure }))
        .await?;
    Ok(world)
}

/// Waits until the reboot with a fence above `after` has failed, and for this reason.
async fn wait_failed(world: &World, node: &str, after: i64, reason: &str) -> Result<RebootLease> {
    let lease = world
        .cluster
        .wait_lease(node, &format!("ended by {reason}"), BOUND, |lease| {
            lease.phase().is_terminal() && lease.accepted_fence() > after
        })
        .await?;
    let status = lease.status.clone().unwrap_or_default();
    ensure!(
        lease.phase() == Phase::Failed && status.reason == reason,
        "{}: {}",
        status.reason,
        status.message
    );
    Ok(lease)
}

#[tokio::test]
async fn a_node_has_to_be_ready_for_long_enough_then_settle_and_ask_for_nothing_more() -> Result<()>
{
    let world = world(1, json!({ "nodeReadyFor": "4s", "settle": "5s" })).await?;
    world.cluster.set_sentinel("n1")?;
    let lease = world.assert_rebooted_once("n1").await?;
    let took = entered(&lease, Phase::Completed)?.duration_since(entered(&lease, Phase::Rebooted)?);
    ensure!(took.as_millis() >= 9000, "verified after {took:#}");
    // Without the wait to settle it would have been four seconds, without the other one five.
    let verify = json!({ "nodeReadyFor": "1s", "settle": "0s" });
    let failure = json!({ "maxRebootsPerNode": 2 });
    world
        .edit_policy(json!({ "verify": verify, "failure": failure }))
        .await?;
    world.cluster.set_off_for("n1", None)?;
    world.cluster.set_sentinel("n1")?;
    wait_until("n1 to be off", BOUND, || async {
        Ok((world.cluster.power("n1")? == Power::Off).then_some(()))
    })
    .await?;
    // It asks again before its agent looks.
    world.cluster.switch_on("n1")?;
    world.cluster.set_sentinel("n1")?;
    wait_failed(&world, "n1", lease.accepted_fence(), "Ineffective").await?;
    world.assert_clean("n1").await?;
    // It counts for the breaker, and as one of the two reboots of this day.
    ensure!(failures(&world).await? == ["Ineffective"]);
    let waits = |lease: &RebootLease| {
        let mut waits = lease.status.iter().flat_map(|status| &status.waiting_for);
        waits.any(|one| one.kind == "TooManyReboots")
    };
    let told = "waiting for the loop guard";
    world.cluster.wait_lease("n1", told, BOUND, waits).await?;
    world.stop().await
}

/// Lets pods of the Deployment onto a node, or not.
async fn admit(world: &World, node: &str, admitted: bool) -> Result<()> {
    let label = admitted.then_some("here");
    let patch = Patch::Merge(json!({ "metadata": { "labels": { "cart": label } } }));
    world
        .nodes()
        .patch(node, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

async fn wait_carts(world: &World) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(world.cluster.client(), "default");
    wait_until("both pods to be ready", BOUND, || async {
        let status = deployments.get("cart").await?.status;
        let ready = status.and_then(|status| status.ready_replicas);
        Ok((ready == Some(2)).then_some(()))
    })
    .await
}

#[tokio::test]
async fn the_pods_that_ran_on_a_node_have_to_be_ready_again_within_their_time() -> Result<()> {
    let world = world(1, json!({ "nodeReadyFor": "1s", "podsReadyWithin": "10m" })).await?;
    admit(&world, "n1", true).await?;
    world.apply(CART).await?;
    wait_carts(&world).await?;
    world.cluster.set_sentinel("n1")?;
    let lease = world.wait_reached("n1", Phase::Draining).await?;
    let grant = lease.spec.grant.context("no grant")?;
    let [owner] = grant.workloads.as_slice() else {
        anyhow::bail!("{:?}", grant.workloads);
    };
    ensure!(owner.kind == "ReplicaSet" && owner.ready == 2, "{owner:?}");
    // Nowhere to go any more.
    admit(&world, "n1", false).await?;
    let waits = |lease: &RebootLease| {
        let waits = lease.status.iter().flat_map(|status| &status.waiting_for);
        let mut waits = waits.filter(|one| one.kind == "PodsNotReady");
        waits.any(|one| one.message.contains("0 of 2") && one.object.contains("default/cart"))
    };
    let lease = world
        .cluster
        .wait_lease("n1", "waiting for the pods", BOUND, waits)
        .await?;
    ensure!(lease.phase() == Phase::Rebooted && world.holds_slot("n1").await?);
    admit(&world, "n1", true).await?;
    let lease = world.assert_rebooted_once("n1").await?;
    // The same, and nobody helps.
    wait_carts(&world).await?;
    world
        .edit_policy(json!({ "verify": { "podsReadyWithin": "4s" } }))
        .await?;
    world.cluster.set_sentinel("n1")?;
    world
        .cluster
        .wait_lease("n1", "draining again", BOUND, |now| {
            now.accepted_fence() > lease.accepted_fence()
        })
        .await?;
    admit(&world, "n1", false).await?;
    let failed = wait_failed(&world, "n1", lease.accepted_fence(), "PodsNotReady").await?;
    let took = entered(&failed, Phase::Failed)?.duration_since(entered(&failed, Phase::Rebooted)?);
    ensure!(took.as_millis() >= 4000, "failed after {took:#}");
    world.assert_clean("n1").await?;
    ensure!(failures(&world).await? == ["PodsNotReady"]);
    world.stop().await
}

/// Reasons of the failures that the ledger counts.
async fn failures(world: &World) -> Result<Vec<String>> {
    let status = world.cluster.ledger().await?.status.unwrap_or_default();
    let failures = status
        .policies
        .into_iter()
        .flat_map(|record| record.failures);
    Ok(failures.map(|failure| failure.reason).collect())
}

/// Answers queries like a Prometheus: with a series, or with none.
#[derive(Default)]
struct Queries {
    trouble: AtomicBool,
    asked: AtomicUsize,
}

impl Queries {
    async fn serve(self: &Arc<Self>) -> Result<SocketAddr> {
        let queries = Arc::clone(self);
        let routes: Routes = Arc::new(move |path: &str| {
            if path != "/api/v1/query" {
                return Answer::not_found();
            }
            queries.asked.fetch_add(1, Ordering::Relaxed);
            let series = json!([{ "metric": {}, "value": [1_795_000_000, "1"] }]);
            let trouble = queries.trouble.load(Ordering::Relaxed);
            let result = if trouble { series } else { json!([]) };
            let data = json!({ "resultType": "vector", "result": result });
            Answer {
                status: 200,
                content_type: "application/json",
                body: json!({ "status": "success", "data": data }).to_string(),
            }
        });
        let (address, _) = serve(SocketAddr::from(([127, 0, 0, 1], 0)), routes).await?;
        Ok(address)
    }
}

#[tokio::test]
async fn a_query_has_to_agree_and_is_asked_only_about_nodes_that_are_back() -> Result<()> {
    let queries = Arc::new(Queries::default());
    let address = queries.serve().await?;
    let promql = json!({ "url": format!("http://{address}"), "query": "errors > 1" });
    let world = world(1, json!({ "nodeReadyFor": "1s", "promql": promql })).await?;
    queries.trouble.store(true, Ordering::Relaxed);
    world.hold_in("n1", Phase::Draining).await?;
    world.cluster.set_sentinel("n1")?;
    world
        .cluster
        .wait_phase("n1", Phase::Draining, BOUND)
        .await?;
    ensure!(
        queries.asked.load(Ordering::Relaxed) == 0,
        "asked before the reboot"
    );
    world.release(Phase::Draining).await?;
    let failed = wait_failed(&world, "n1", 0, "VerifyQuery").await?;
    ensure!(queries.asked.load(Ordering::Relaxed) > 0);
    world.assert_clean("n1").await?;
    // Counted by the write that gave the slot back.
    ensure!(failures(&world).await? == ["VerifyQuery"]);
    queries.trouble.store(false, Ordering::Relaxed);
    world.cluster.set_sentinel("n1")?;
    world
        .cluster
        .wait_lease("n1", "verified by the query", BOUND, |lease| {
            lease.phase() == Phase::Completed && lease.accepted_fence() > failed.accepted_fence()
        })
        .await?;
    world.stop().await
}

/// The node that the leading operator runs on.
async fn leaders_node(world: &World) -> Result<String> {
    let client = world.cluster.client();
    let leases: Api<Lease> = Api::namespaced(client.clone(), names::NAMESPACE);
    let pods: Api<Pod> = Api::namespaced(client, names::NAMESPACE);
    wait_until("a leader", BOUND, || async {
        let lease = leases.get("slipway-operator").await?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity);
        let Some(pod) = pods.get_opt(&holder.unwrap_or_default()).await? else {
            return Ok(None);
        };
        let spec = pod.spec.unwrap_or_default();
        let told = spec
            .containers
            .iter()
            .flat_map(|one| one.env.iter().flatten())
            .any(|variable| {
                let source = variable.value_from.as_ref();
                let field = source.and_then(|source| source.field_ref.as_ref());
                variable.name == "SLIPWAY_NODE_NAME"
                    && field.is_some_and(|field| field.field_path == "spec.nodeName")
            });
        ensure!(told, "the pod does not tell its program where it runs");
        Ok(spec.node_name)
    })
    .await
}

#[tokio::test]
async fn the_node_of_the_leading_operator_goes_last() -> Result<()> {
    let world = World::start(3).await?;
    world.apply(POLICY).await?;
    world.edit_policy(json!({ "paused": true })).await?;
    let own = leaders_node(&world).await?;
    let nodes = world.cluster.node_names();
    // First in every other order: it waits longest.
    world.cluster.set_sentinel(&own)?;
    world
        .cluster
        .wait_phase(&own, Phase::Pending, BOUND)
        .await?;
    for node in nodes.iter().filter(|node| **node != own) {
        world.cluster.set_sentinel(node)?;
        world
            .cluster
            .wait_phase(node, Phase::Pending, BOUND)
            .await?;
    }
    ensure!(
        leaders_node(&world).await? == own,
        "another one leads meanwhile"
    );
    world.edit_policy(json!({ "paused": false })).await?;
    for node in &nodes {
        world.assert_rebooted_once(node).await?;
    }
    let mut last = (i64::MIN, String::new());
    for node in &nodes {
        let fence = world.cluster.lease(node).await?.accepted_fence();
        last = last.max((fence, node.clone()));
    }
    ensure!(
        last.1 == own,
        "{} went last, and the leader was on {own}",
        last.1
    );
    world.stop().await
}
