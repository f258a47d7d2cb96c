//! Others that take nodes away: whose nodes are left alone (F53), and how a node is kept from them
//! while it is rebooted, under the chart's own admission policies (F112).

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use slipway_api::{Phase, names};
use slipway_lab::wait::wait_until;

use crate::world::{BOUND, POLICY, World, is_cordoned};

const CA: &str = names::ANNOTATION_SCALE_DOWN_DISABLED;
const KARPENTER: &str = names::ANNOTATION_DO_NOT_DISRUPT;

async fn patch(world: &World, node: &str, body: Value) -> Result<()> {
    let body = Patch::Merge(body);
    world
        .nodes()
        .patch(node, &PatchParams::default(), &body)
        .await?;
    Ok(())
}

async fn taint(world: &World, node: &str, key: Option<&str>) -> Result<()> {
    let taints = key.map(|key| json!([{ "key": key, "effect": "NoSchedule" }]));
    patch(world, node, json!({ "spec": { "taints": taints } })).await
}

fn kept(node: &Node) -> [Option<&str>; 2] {
    [CA, KARPENTER].map(|key| node.annotations().get(key).map(String::as_str))
}

/// Waits until a node has these annotations of others, and the operator's record of its own or none.
async fn wait_kept(world: &World, node: &str, wanted: [Option<&str>; 2], ours: bool) -> Result<()> {
    wait_until(&format!("{node} to have {wanted:?}"), BOUND, || async {
        let object = world.cluster.node(node).await?;
        let recorded = object
            .annotations()
            .contains_key(names::ANNOTATION_PROTECTIONS);
        let found = kept(&object);
        ensure!(found == wanted && recorded == ours, "{found:?} {recorded}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn f53_nodes_that_others_take_away_are_left_alone_and_those_that_reboot_are_kept_from_them()
-> Result<()> {
    let world = World::start(2).await?;
    world.apply(POLICY).await?;
    // A person's own, which has to be there at the end as it was.
    let theirs = json!({ "metadata": { "annotations": { KARPENTER: "true" } } });
    patch(&world, "n1", theirs).await?;
    taint(&world, "n2", Some("ToBeDeletedByClusterAutoscaler")).await?;
    world.cluster.set_sentinel("n2")?;
    world
        .cluster
        .wait_lease("n2", "to be left alone", BOUND, |lease| {
            let status = lease.status.as_ref();
            status.is_some_and(|status| status.reason == "NodeDisrupted")
        })
        .await?;
    // The other one drains, protected; whoever leads next knows what was written from the Node.
    world.hold_in("n1", Phase::Draining).await?;
    world.cluster.set_sentinel("n1")?;
    let draining = world.cluster.wait_phase("n1", Phase::Draining, BOUND);
    draining.await?;
    wait_kept(&world, "n1", [Some("true"), Some("true")], true).await?;
    world.cluster.kill_operators().await?;
    // Somebody takes it away in the middle: it is called off and undone.
    taint(&world, "n1", Some("karpenter.sh/disrupted")).await?;
    let aborted = world
        .cluster
        .wait_phase("n1", Phase::Aborted, BOUND)
        .await?;
    let revoked = aborted.spec.revoke.as_ref();
    ensure!(revoked.is_some_and(|revoke| revoke.reason == "NodeDisrupted"));
    wait_kept(&world, "n1", [None, Some("true")], false).await?;
    ensure!(!is_cordoned(&world.cluster.node("n1").await?));
    ensure!(world.boots_since_start("n1")? == 0);
    world.release(Phase::Draining).await?;
    // The taint goes, and the node goes.
    world.hold_in("n2", Phase::Rebooted).await?;
    taint(&world, "n2", None).await?;
    let back = world.cluster.wait_phase("n2", Phase::Rebooted, BOUND);
    back.await?;
    wait_kept(&world, "n2", [Some("true"), Some("true")], true).await?;
    world
        .policies()
        .delete("everything", &DeleteParams::default())
        .await?;
    world.assert_rebooted_once("n2").await?;
    wait_kept(&world, "n2", [None, None], false).await?;
    world.stop().await
}
