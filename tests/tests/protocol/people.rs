//! What people do by hand stays, and is understood.

use anyhow::{Result, ensure};
use slipway_api::Phase;
use slipway_lab::wait::wait_until;

use crate::world::{BOUND, POLICY, World, is_cordoned, is_ours};

#[tokio::test]
async fn f62_a_node_that_a_human_had_cordoned_is_rebooted_and_stays_cordoned() -> Result<()> {
    let world = World::start(2).await?;
    world.cordon_by_hand("n1", true).await?;
    world.apply(POLICY).await?;
    world.cluster.set_sentinel("n1")?;
    world
        .cluster
        .wait_phase("n1", Phase::Completed, BOUND)
        .await?;
    let node = world.cluster.node("n1").await?;
    ensure!(is_cordoned(&node), "the human's cordon is gone");
    ensure!(!is_ours(&node), "our annotation stays");
    ensure!(world.boots_since_start("n1")? == 1, "not rebooted once");
    world.stop().await
}

#[tokio::test]
async fn f64_an_uncordon_by_hand_during_the_drain_is_a_veto() -> Result<()> {
    let world = World::start(2).await?;
    world.apply(POLICY).await?;
    world.hold_in("n1", Phase::Draining).await?;
    world.cluster.set_sentinel("n1")?;
    world
        .cluster
        .wait_phase("n1", Phase::Draining, BOUND)
        .await?;
    wait_until("the cordon", BOUND, || async {
        Ok(is_cordoned(&world.cluster.node("n1").await?).then_some(()))
    })
    .await?;
    world.cordon_by_hand("n1", false).await?;
    world
        .cluster
        .wait_lease("n1", "Vetoed", BOUND, |lease| {
            lease.phase() == Phase::Failed
                && lease
                    .status
                    .as_ref()
                    .is_some_and(|status| status.reason == "Vetoed")
        })
        .await?;
    world.assert_clean("n1").await?;
    ensure!(
        world.boots_since_start("n1")? == 0,
        "rebooted against a veto"
    );
    world.stop().await
}

#[tokio::test]
async fn s3_a_cordon_by_hand_after_an_uncordon_by_hand_stays() -> Result<()> {
    let world = World::start(2).await?;
    world.apply(POLICY).await?;
    world.hold_in("n1", Phase::Draining).await?;
    world.cluster.set_sentinel("n1")?;
    world
        .cluster
        .wait_phase("n1", Phase::Draining, BOUND)
        .await?;
    wait_until("the cordon", BOUND, || async {
        Ok(is_cordoned(&world.cluster.node("n1").await?).then_some(()))
    })
    .await?;
    // Both between two looks of the agent (Q15): managedFields tell whose it is.
    world.cluster.suspend_agent("n1").await?;
    world.cordon_by_hand("n1", false).await?;
    world.cordon_by_hand("n1", true).await?;
    world.cluster.resume_agent("n1").await?;
    world
        .edit_policy(serde_json::json!({"paused": true}))
        .await?;
    world
        .cluster
        .wait_lease("n1", "to end", BOUND, |lease| lease.phase().is_terminal())
        .await?;
    wait_until("our annotation to go", BOUND, || async {
        Ok((!is_ours(&world.cluster.node("n1").await?)).then_some(()))
    })
    .await?;
    ensure!(
        is_cordoned(&world.cluster.node("n1").await?),
        "a human's cordon was removed"
    );
    world.stop().await
}
