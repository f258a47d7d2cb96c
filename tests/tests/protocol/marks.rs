//! What the operator writes on Nodes, under the chart's own admission policies: the soft taint,
//! labels and annotations, and that all of it is taken away again.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use slipway_api::{Phase, names};
use slipway_lab::wait::wait_until;

use crate::world::{BOUND, POLICY, World, is_cordoned};

/// A taint of somebody else.
const THEIRS: &str = "example.com/theirs";
const STATE: &str = "example.com/reboot";

fn taints(node: &Node) -> Vec<&str> {
    let taints = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten());
    taints.map(|taint| taint.key.as_str()).collect()
}

/// Waits until a node has the soft taint or not, and the label with this value or none.
async fn wait_marked(world: &World, node: &str, tainted: bool, state: Option<&str>) -> Result<()> {
    let what = format!("{node} to be marked {tainted} {state:?}");
    wait_until(&what, BOUND, || async {
        let object = world.cluster.node(node).await?;
        let taint = taints(&object).contains(&names::TAINT_REBOOT_REQUIRED);
        let label = object.labels().get(STATE).map(String::as_str);
        ensure!(
            taint == tainted && label == state,
            "tainted {taint}, labelled {label:?}"
        );
        Ok(Some(()))
    })
    .await
}

/// Nothing of the operator's is on a node, and everything of others is.
async fn wait_bare(world: &World, node: &str) -> Result<()> {
    wait_marked(world, node, false, None).await?;
    wait_until(&format!("{node} to be bare"), BOUND, || async {
        let object = world.cluster.node(node).await?;
        ensure!(taints(&object).contains(&THEIRS), "{:?}", taints(&object));
        ensure!(object.labels().get("pool").map(String::as_str) == Some("a"));
        // The agent's own two stay: the last fence that it undid, and the boot that it reports.
        let agents = [names::ANNOTATION_UNDONE, names::ANNOTATION_BOOT];
        let mut ours = object.annotations().keys();
        let left =
            ours.find(|key| key.starts_with("slipway.dev/") && !agents.contains(&key.as_str()));
        ensure!(left.is_none(), "{left:?}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn f65_marks_follow_each_node_and_leave_nothing_behind_whatever_ends_first() -> Result<()> {
    let world = World::start(2).await?;
    for node in ["n1", "n2"] {
        let theirs = json!([{ "key": THEIRS, "effect": "PreferNoSchedule" }]);
        // `pool` is a label that the policy wants to write as well, and must not.
        let patch =
            json!({ "metadata": { "labels": { "pool": "a" } }, "spec": { "taints": theirs } });
        world
            .nodes()
            .patch(node, &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
    }
    world.apply(POLICY).await?;
    let metadata = json!({
        "labelsWhileRebooting": { STATE: "in-progress", "pool": "rebooting" },
        "labelsAfter": { STATE: "done" },
        "annotate": true,
    });
    world
        .edit_policy(json!({ "cordon": { "softTaint": true }, "nodeMetadata": metadata }))
        .await?;
    world.hold_in("n1", Phase::Draining).await?;
    world.cluster.set_sentinel("n1")?;
    world
        .cluster
        .wait_phase("n1", Phase::Draining, BOUND)
        .await?;
    world.cluster.set_sentinel("n2")?;
    wait_marked(&world, "n1", true, Some("in-progress")).await?;
    wait_marked(&world, "n2", true, None).await?;
    let node = world.cluster.node("n2").await?;
    ensure!(taints(&node).contains(&THEIRS) && !is_cordoned(&node));
    ensure!(
        node.annotations()
            .contains_key(names::ANNOTATION_REQUIRED_SINCE)
    );
    // Another operator knows from the Nodes alone what is its own.
    world.cluster.kill_operators().await?;
    world.edit_policy(json!({ "cordon": null })).await?;
    wait_marked(&world, "n1", false, Some("in-progress")).await?;
    wait_marked(&world, "n2", false, None).await?;
    world
        .edit_policy(json!({ "cordon": { "softTaint": true } }))
        .await?;
    world.release(Phase::Draining).await?;
    for node in ["n1", "n2"] {
        world.assert_rebooted_once(node).await?;
        wait_marked(&world, node, false, Some("done")).await?;
    }
    world
        .policies()
        .delete("everything", &DeleteParams::default())
        .await?;
    wait_bare(&world, "n1").await?;
    wait_bare(&world, "n2").await?;
    world.stop().await
}
