//! Objects that people delete: leases, the ledger, Nodes.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::DeleteParams;
use slipway_api::{Phase, RebootLedger, names};
use slipway_lab::wait::wait_until;

use crate::world::{BOUND, POLICY, World};

#[tokio::test]
async fn f102_a_ledger_deleted_during_a_drain_is_rebuilt_and_nobody_else_goes() -> Result<()> {
    let world = World::start(2).await?;
    world.apply(POLICY).await?;
    world.hold_in("n1", Phase::Draining).await?;
    world.cluster.set_sentinel("n1")?;
    world
        .cluster
        .wait_phase("n1", Phase::Draining, BOUND)
        .await?;
    let ledgers: Api<RebootLedger> = Api::all(world.cluster.client());
    let deleted = ledgers
        .delete(names::LEDGER_NAME, &DeleteParams::default())
        .await;
    // The admission policy refuses it while slots live; then there is nothing to survive.
    if let Err(error) = deleted {
        ensure!(
            error.to_string().contains("slots"),
            "refused for another reason: {error}"
        );
    }
    wait_until("the slot", BOUND, || async {
        Ok(world.holds_slot("n1").await?.then_some(()))
    })
    .await?;
    world.release(Phase::Draining).await?;
    world.assert_rebooted_once("n1").await?;
    world.stop().await
}

#[tokio::test]
async fn f101_a_live_lease_cannot_be_deleted_by_mistake() -> Result<()> {
    let world = World::start(2).await?;
    world.apply(POLICY).await?;
    world.hold_in("n1", Phase::Draining).await?;
    world.cluster.set_sentinel("n1")?;
    world
        .cluster
        .wait_phase("n1", Phase::Draining, BOUND)
        .await?;
    let refused = world.leases().delete("n1", &DeleteParams::default()).await;
    ensure!(refused.is_err(), "a lease was deleted under its slot");
    world.release(Phase::Draining).await?;
    world.assert_rebooted_once("n1").await?;
    world.stop().await
}

#[tokio::test]
async fn f66_a_node_deleted_while_it_drains_gives_its_slot_back_after_the_proof() -> Result<()> {
    let world = World::start(2).await?;
    world.apply(POLICY).await?;
    world.hold_in("n1", Phase::Draining).await?;
    world.cluster.set_sentinel("n1")?;
    world
        .cluster
        .wait_phase("n1", Phase::Draining, BOUND)
        .await?;
    world.cluster.set_sentinel("n2")?;
    world
        .cluster
        .wait_phase("n2", Phase::Pending, BOUND)
        .await?;
    world.cluster.cut_power("n1", None)?;
    let nodes: Api<Node> = Api::all(world.cluster.client());
    nodes.delete("n1", &DeleteParams::default()).await?;
    ensure!(
        world.holds_slot("n1").await?,
        "the slot went with the object"
    );
    world.release(Phase::Draining).await?;
    wait_until(
        "the slot of the former node to be freed",
        BOUND * 2,
        || async { Ok((!world.holds_slot("n1").await?).then_some(())) },
    )
    .await?;
    world.assert_rebooted_once("n2").await?;
    world.stop().await
}
