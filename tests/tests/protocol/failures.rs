//! What follows from reboots that fail, each rule by itself on a real API server: the breaker, the
//! probe that closes it, pauses and the loop guard.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use slipway_api::{Failure, Phase, RebootLease};
use slipway_lab::simulated::RebootBehaviour;
use slipway_lab::wait::wait_until;

use crate::world::{BOUND, POLICY, World, entered};

async fn world(nodes: usize, failure: Value) -> Result<World> {
    let world = World::start(nodes).await?;
    world.apply(POLICY).await?;
    world.edit_policy(json!({ "failure": failure })).await?;
    Ok(world)
}

async fn wait_reason(world: &World, node: &str, reason: &str) -> Result<RebootLease> {
    let waits = |lease: &RebootLease| {
        let status = lease.status.as_ref();
        status.is_some_and(|status| {
            status.reason == reason || status.waiting_for.iter().any(|one| one.kind == reason)
        })
    };
    world.cluster.wait_lease(node, reason, BOUND, waits).await
}

/// A node whose host refuses to reboot, until its reboot has failed.
async fn fail(world: &World, node: &str) -> Result<()> {
    let refuses = RebootBehaviour::Refuses;
    world.cluster.set_reboot_behaviour(node, refuses)?;
    world.cluster.set_sentinel(node)?;
    world.cluster.wait_phase(node, Phase::Failed, BOUND).await?;
    world.assert_clean(node).await
}

/// What the ledger counts.
async fn failures(world: &World) -> Result<Vec<Failure>> {
    let status = world.cluster.ledger().await?.status.unwrap_or_default();
    let records = status.policies.into_iter();
    Ok(records.flat_map(|record| record.failures).collect())
}

/// Waits until an Event about the policy has this reason.
async fn wait_event(world: &World, reason: &str) -> Result<()> {
    let events: Api<Event> = Api::namespaced(world.cluster.client(), "default");
    wait_until(&format!("an Event {reason}"), BOUND, || async {
        let all = events.list(&ListParams::default()).await?.items;
        let told = all.iter().any(|event| {
            let about = event.regarding.as_ref().and_then(|one| one.kind.as_deref());
            event.reason.as_deref() == Some(reason) && about == Some("RebootPolicy")
        });
        Ok(told.then_some(()))
    })
    .await
}

#[tokio::test]
async fn an_open_breaker_lets_one_node_try_alone_and_its_success_closes_it() -> Result<()> {
    let spec = json!({ "maxFailures": 1, "backoff": "20s" });
    let world = world(3, spec).await?;
    world
        .edit_policy(json!({ "budget": { "maxUnavailable": 3 } }))
        .await?;
    fail(&world, "n1").await?;
    world.cluster.clear_sentinel("n1")?;
    let failed = failures(&world).await?;
    let [failure] = failed.as_slice() else {
        anyhow::bail!("the ledger counts {failed:?}");
    };
    world.cluster.set_sentinel("n2")?;
    world.cluster.set_sentinel("n3")?;
    wait_reason(&world, "n2", "BreakerOpen").await?;
    wait_event(&world, "BreakerOpen").await?;
    // Two may go at once by the budget; one does, and not before the pause is over.
    world.hold_in("n2", Phase::Rebooting).await?;
    world.hold_in("n3", Phase::Rebooting).await?;
    let probe = wait_until("one node to try", BOUND, || async {
        for node in ["n2", "n3"] {
            if world.holds_slot(node).await? {
                return Ok(Some(node));
            }
        }
        Ok(None)
    })
    .await?;
    let lease = world.wait_reached(probe, Phase::Rebooting).await?;
    let paused = granted_at(&lease)?.duration_since(failure.at.0);
    ensure!(paused.as_millis() >= 20_000, "tried after {paused:#}");
    let other = if probe == "n2" { "n3" } else { "n2" };
    ensure!(!world.holds_slot(other).await?, "two tried at once");
    let tried = world.assert_rebooted_once(probe).await?;
    let next = world.assert_rebooted_once(other).await?;
    // A grant tells its time in whole seconds, cut off.
    let (closed, granted) = (entered(&tried, Phase::Completed)?, granted_at(&next)?);
    ensure!(
        granted.as_second() >= closed.as_second(),
        "the second one went at {granted}, and the first one had proved itself at {closed}"
    );
    ensure!(failures(&world).await?.is_empty(), "it did not close");
    wait_event(&world, "BreakerClosed").await?;
    world.stop().await
}

#[tokio::test]
async fn a_node_that_failed_pauses_and_the_pause_doubles() -> Result<()> {
    let world = world(1, json!({ "maxFailures": 10, "backoff": "3s" })).await?;
    fail(&world, "n1").await?;
    let mut pauses = Vec::new();
    for _ in 0..2 {
        let failed = wait_reason(&world, "n1", "BackingOff").await?;
        let ended = entered(&failed, Phase::Failed)?;
        let again = world
            .cluster
            .wait_lease("n1", "granted again", BOUND, |lease| {
                lease.granted_fence() > failed.granted_fence()
            })
            .await?;
        pauses.push(granted_at(&again)?.duration_since(ended).as_millis());
        world
            .cluster
            .wait_lease("n1", "failed again", BOUND, |lease| {
                lease.phase() == Phase::Failed && lease.accepted_fence() > failed.accepted_fence()
            })
            .await?;
    }
    // A grant tells its time in whole seconds, cut off: less than one is missing.
    ensure!(
        pauses[0] > 2000 && pauses[1] > 5000,
        "paused for {pauses:?}"
    );
    world.stop().await
}

/// When the present reboot was granted.
fn granted_at(lease: &RebootLease) -> Result<jiff::Timestamp> {
    let grant = lease.spec.grant.as_ref();
    Ok(grant.context("no grant")?.granted_at.0)
}

#[tokio::test]
async fn s7_a_node_is_rebooted_so_often_in_a_day_and_no_more_and_never_under_observe() -> Result<()>
{
    let world = world(1, json!({ "maxRebootsPerNode": 1 })).await?;
    world.edit_policy(json!({ "mode": "Observe" })).await?;
    world.cluster.set_sentinel("n1")?;
    wait_reason(&world, "n1", "ObserveMode").await?;
    ensure!(!world.holds_slot("n1").await?, "granted under Observe");
    ensure!(
        world.boots_since_start("n1")? == 0,
        "rebooted under Observe"
    );
    world.edit_policy(json!({ "mode": "Automatic" })).await?;
    world.assert_rebooted_once("n1").await?;
    world.cluster.set_sentinel("n1")?;
    wait_reason(&world, "n1", "TooManyReboots").await?;
    ensure!(!world.holds_slot("n1").await?, "granted once more");
    ensure!(world.boots_since_start("n1")? == 1, "rebooted once more");
    // The limit is what keeps it.
    world
        .edit_policy(json!({ "failure": { "maxRebootsPerNode": 2 } }))
        .await?;
    wait_until("the second reboot", BOUND, || async {
        Ok((world.boots_since_start("n1")? == 2).then_some(()))
    })
    .await?;
    world.stop().await
}
