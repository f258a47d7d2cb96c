//! Editing a policy during a rollout acts within two seconds, and says why.

use anyhow::{Result, ensure};
use kube::api::DeleteParams;
use serde_json::json;
use slipway_api::Phase;
use slipway_lab::wait::wait_until;

use crate::world::{BOUND, EDIT_BOUND, POLICY, World};

/// Starts a rollout whose first node is held in its drain; returns that node.
async fn draining(world: &World) -> Result<&'static str> {
    world.apply(POLICY).await?;
    world.hold_in("n1", Phase::Draining).await?;
    world.cluster.set_sentinel("n1")?;
    world
        .cluster
        .wait_phase("n1", Phase::Draining, BOUND)
        .await?;
    Ok("n1")
}

/// The draining node is called off in time, for this reason, and nobody else goes.
async fn assert_called_off(world: &World, node: &str, reason: &str) -> Result<()> {
    world
        .cluster
        .wait_lease(
            node,
            &format!("called off by {reason}"),
            EDIT_BOUND,
            |lease| {
                lease.spec.revoke.as_ref().is_some_and(|revoke| {
                    revoke.fence == lease.granted_fence()
                        && revoke.reason == reason
                        && !revoke.message.is_empty()
                })
            },
        )
        .await?;
    let lease = world
        .cluster
        .wait_phase(node, Phase::Aborted, BOUND)
        .await?;
    let status = lease.status.unwrap_or_default();
    ensure!(
        status.reason == reason,
        "the lease says {:?}",
        status.reason
    );
    world.assert_clean(node).await?;
    ensure!(world.boots_since_start(node)? == 0, "{node} was rebooted");
    // Another node that needs one now waits, and says for the same.
    world.cluster.set_sentinel("n2")?;
    if reason != "PolicyDeleted" {
        world
            .cluster
            .wait_lease("n2", reason, BOUND, |lease| {
                let status = lease.status.as_ref();
                status.is_some_and(|status| {
                    status.reason == reason
                        || status.waiting_for.iter().any(|wait| wait.kind == reason)
                })
            })
            .await?;
    }
    world.cluster.clear_sentinel("n2")?;
    ensure!(world.boots_since_start("n2")? == 0, "n2 was rebooted");
    ensure!(!world.holds_slot("n2").await?, "n2 was granted");
    Ok(())
}

#[tokio::test]
async fn f45_f47_pausing_closing_and_lowering_stop_within_two_seconds_and_what_drains_is_undone()
-> Result<()> {
    let world = World::start(2).await?;
    let node = draining(&world).await?;
    let closed = json!({"schedule": {"timeZone": "UTC", "windows": [{"days": [yesterday()]}]}});
    let edits = [
        (
            json!({"paused": true}),
            json!({"paused": false}),
            "PolicyPaused",
        ),
        (closed, json!({"schedule": null}), "WindowClosed"),
        (
            json!({"budget": {"maxUnavailable": 0}}),
            json!({"budget": null}),
            "BudgetUsed",
        ),
        (
            json!({"mode": "Observe"}),
            json!({"mode": "Automatic"}),
            "ObserveMode",
        ),
    ];
    for (edit, back, reason) in edits {
        world.edit_policy(edit).await?;
        assert_called_off(&world, node, reason).await?;
        world
            .cluster
            .wait_phase("n2", Phase::Aborted, BOUND)
            .await?;
        world.edit_policy(back).await?;
        let fence = world.cluster.lease(node).await?.accepted_fence();
        world
            .cluster
            .wait_lease(node, "draining again", BOUND, |lease| {
                lease.phase() == Phase::Draining && lease.accepted_fence() > fence
            })
            .await?;
    }
    world.pause_all(true).await?;
    assert_called_off(&world, node, "LedgerPaused").await?;
    world.pause_all(false).await?;
    world.release(Phase::Draining).await?;
    world.assert_rebooted_once("n1").await?;
    world.stop().await
}

/// A day on which no window that starts there reaches into now.
fn yesterday() -> &'static str {
    let today = slipway_client::clock::wall()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .weekday();
    // Two days away: a window of a whole day that starts yesterday would end at today's midnight.
    match today.wrapping_sub(2_i64) {
        jiff::civil::Weekday::Monday => "Mon",
        jiff::civil::Weekday::Tuesday => "Tue",
        jiff::civil::Weekday::Wednesday => "Wed",
        jiff::civil::Weekday::Thursday => "Thu",
        jiff::civil::Weekday::Friday => "Fri",
        jiff::civil::Weekday::Saturday => "Sat",
        jiff::civil::Weekday::Sunday => "Sun",
    }
}

#[tokio::test]
async fn f46_a_deleted_policy_stops_within_two_seconds_and_strands_no_node() -> Result<()> {
    let world = World::start(2).await?;
    let node = draining(&world).await?;
    world
        .policies()
        .delete("everything", &DeleteParams::default())
        .await?;
    assert_called_off(&world, node, "PolicyDeleted").await?;
    // Made anew, it goes on.
    world.release(Phase::Draining).await?;
    world.apply(POLICY).await?;
    world.assert_rebooted_once("n1").await?;
    world.stop().await
}

#[tokio::test]
async fn what_only_the_operator_can_know_is_shown_within_two_seconds_and_nothing_reboots()
-> Result<()> {
    let world = World::start(1).await?;
    world
        .apply(&POLICY.replace(
            "nodeSelector: {}",
            "nodeSelector: {}\n  schedule: {timeZone: Mars/Base}",
        ))
        .await?;
    world.cluster.set_sentinel("n1")?;
    wait_until("Ready=False", EDIT_BOUND, || {
        not_ready(&world, "everything", "spec.schedule.timeZone")
    })
    .await?;
    world
        .cluster
        .wait_lease("n1", "PolicyInvalid", BOUND, |lease| {
            lease
                .status
                .as_ref()
                .is_some_and(|status| status.reason == "PolicyInvalid")
        })
        .await?;
    // A twin of the same priority: both say so, and the node is left alone.
    world
        .edit_policy(json!({"schedule": null, "paused": true}))
        .await?;
    world
        .apply(&POLICY.replace("name: everything", "name: twin"))
        .await?;
    for name in ["everything", "twin"] {
        wait_until("a conflict", EDIT_BOUND, || {
            not_ready(&world, name, "same priority")
        })
        .await?;
    }
    ensure!(!world.holds_slot("n1").await?, "granted in a conflict");
    world
        .policies()
        .delete("everything", &DeleteParams::default())
        .await?;
    world.assert_rebooted_once("n1").await?;
    world.stop().await
}

/// Whether a policy's condition Ready is False with these words in its message.
async fn not_ready(world: &World, policy: &str, words: &str) -> Result<Option<()>> {
    let policy = world.policies().get(policy).await?;
    let conditions = policy
        .status
        .map(|status| status.conditions)
        .unwrap_or_default();
    let found = conditions
        .iter()
        .any(|one| one.type_ == "Ready" && one.status == "False" && one.message.contains(words));
    Ok(found.then_some(()))
}
