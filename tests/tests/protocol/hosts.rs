//! Hosts that refuse, lie, answer late, or are rebooted by somebody else.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use slipway_api::{Phase, names};
use slipway_lab::simulated::RebootBehaviour;
use slipway_lab::wait::wait_until;

use crate::world::{BOUND, POLICY, World, is_cordoned};

#[tokio::test]
async fn f08_a_refused_reboot_is_undone_and_named_and_others_go_on() -> Result<()> {
    let world = World::start(2).await?;
    world.apply(POLICY).await?;
    world
        .cluster
        .set_reboot_behaviour("n1", RebootBehaviour::Refuses)?;
    world.cluster.set_sentinel("n1")?;
    let lease = world.cluster.wait_phase("n1", Phase::Failed, BOUND).await?;
    ensure!(world.reason("n1").await? == "RebootRefused", "{lease:?}");
    world.assert_clean("n1").await?;
    ensure!(
        world.boots_since_start("n1")? == 0,
        "booted although it refused"
    );
    world.cluster.set_sentinel("n2")?;
    world.assert_rebooted_once("n2").await?;
    // Mended, it is tried again by itself.
    world
        .cluster
        .set_reboot_behaviour("n1", RebootBehaviour::Obeys)?;
    world
        .cluster
        .wait_phase("n1", Phase::Completed, BOUND * 2)
        .await?;
    world.stop().await
}

#[tokio::test]
async fn f08_a_host_that_cannot_be_rebooted_is_left_alone_and_a_locked_one_until_it_is_free()
-> Result<()> {
    let world = World::start(2).await?;
    world.apply(POLICY).await?;
    let cluster = &world.cluster;
    cluster.set_reboot_behaviour("n1", RebootBehaviour::Cannot)?;
    cluster.set_reboot_behaviour("n2", RebootBehaviour::IsLocked)?;
    cluster.set_sentinel("n1")?;
    let lease = cluster.wait_phase("n1", Phase::Failed, BOUND).await?;
    let status = lease.status.unwrap_or_default();
    ensure!(
        status.reason == "MethodUnavailable" && status.message.contains("was told that it cannot"),
        "{status:?}"
    );
    ensure!(status.drain.is_none(), "it was drained: {status:?}");
    world.assert_clean("n1").await?;
    ensure!(world.boots_since_start("n1")? == 0, "it was booted");

    cluster.set_sentinel("n2")?;
    let lease = cluster
        .wait_lease("n2", "Inhibited", BOUND, |lease| {
            let status = lease.status.as_ref();
            status.is_some_and(|status| status.reason == "Inhibited")
        })
        .await?;
    let status = lease.status.unwrap_or_default();
    ensure!(status.message.contains("the test"), "{status:?}");
    ensure!(
        status.phase == Phase::Draining && status.drain.is_none(),
        "{status:?}"
    );
    ensure!(!is_cordoned(&cluster.node("n2").await?), "it was cordoned");
    cluster.set_reboot_behaviour("n2", RebootBehaviour::Obeys)?;
    let lease = world.assert_rebooted_once("n2").await?;
    let method = lease.status.and_then(|status| status.reboot_method);
    ensure!(method.as_deref() == Some("Logind"), "{method:?}");
    world.stop().await
}

#[tokio::test]
async fn an_answer_that_is_lost_or_late_still_ends_in_one_proven_reboot() -> Result<()> {
    let world = World::start(2).await?;
    world.apply(POLICY).await?;
    world
        .cluster
        .set_reboot_behaviour("n1", RebootBehaviour::LosesItsAnswer)?;
    world
        .cluster
        .set_reboot_behaviour("n2", RebootBehaviour::Delays(4000))?;
    world.cluster.set_sentinel("n1")?;
    world.assert_rebooted_once("n1").await?;
    world.cluster.set_sentinel("n2")?;
    world.assert_rebooted_once("n2").await?;
    world.stop().await
}

#[tokio::test]
async fn f13_a_node_that_somebody_else_reboots_while_it_drains_is_undone_and_not_rebooted_again()
-> Result<()> {
    let world = World::start(2).await?;
    world.apply(POLICY).await?;
    world.hold_in("n1", Phase::Draining).await?;
    world.cluster.set_sentinel("n1")?;
    world
        .cluster
        .wait_phase("n1", Phase::Draining, BOUND)
        .await?;
    world.cluster.reboot_by_hand("n1")?;
    world
        .cluster
        .wait_lease("n1", "RebootedElsewhere", BOUND, |lease| {
            lease.phase() == Phase::Failed
                && lease
                    .status
                    .as_ref()
                    .is_some_and(|status| status.reason == "RebootedElsewhere")
        })
        .await?;
    world.assert_clean("n1").await?;
    world.release(Phase::Draining).await?;
    ensure!(
        world.boots_since_start("n1")? == 1,
        "rebooted a second time"
    );
    world.stop().await
}

#[tokio::test]
async fn f12_a_power_cut_holds_the_slot_until_the_node_is_back() -> Result<()> {
    let world = World::start(2).await?;
    world.apply(POLICY).await?;
    world.hold_in("n1", Phase::Draining).await?;
    // The other one asks later: it must not have had its turn before.
    let (held, other) = ("n1", "n2");
    world.cluster.set_sentinel(held)?;
    world.wait_reached(held, Phase::Draining).await?;
    world.cluster.set_sentinel(other)?;
    world.cluster.cut_power(held, None)?;
    world.release(Phase::Draining).await?;
    // The other one must not go while the first is down: its lease says so.
    world
        .cluster
        .wait_lease(other, "to wait for the budget", BOUND, |lease| {
            lease
                .status
                .as_ref()
                .is_some_and(|status| status.reason == "BudgetUsed")
        })
        .await?;
    ensure!(
        world.boots_since_start(other)? == 0,
        "{other} went down as well"
    );
    world.cluster.switch_on(held)?;
    world.assert_rebooted_once(other).await?;
    world.assert_clean(held).await?;
    world.stop().await
}

async fn is_ready(pods: &Api<Pod>, name: &str) -> Result<bool> {
    let status = pods.get(name).await?.status.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let ready = |kind: &str, status: &str| kind == "Ready" && status == "True";
    Ok({ conditions.iter() }.any(|condition| ready(&condition.type_, &condition.status)))
}

#[tokio::test]
async fn f19_a_second_agent_of_a_node_waits_and_takes_over_when_the_first_one_ends() -> Result<()> {
    let world = World::start(1).await?;
    world.apply(POLICY).await?;
    // The second agent's pod is nobody's, so a drain would evict it.
    let pinned = json!({ "matchLabels": { "app": "pinned" } });
    world
        .edit_policy(json!({ "drain": { "podSelector": pinned } }))
        .await?;
    let client = world.cluster.client();
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), names::NAMESPACE);
    let pods: Api<Pod> = Api::namespaced(client, names::NAMESPACE);
    let set = sets.get(names::SERVICE_ACCOUNT_AGENT).await?;
    let template = set.spec.context("no spec")?.template;
    let mut second = Pod {
        spec: template.spec,
        ..Pod::default()
    };
    second.metadata.name = Some("second".to_owned());
    // Not the DaemonSet's own, which would have one of them go.
    let component = names::COMPONENT_AGENT.to_owned();
    second.metadata.labels = Some([(names::LABEL_COMPONENT.to_owned(), component)].into());
    second.spec.as_mut().context("no spec")?.node_name = Some("n1".to_owned());
    let second = pods.create(&PostParams::default(), &second).await?;
    let uid = second.uid().context("no UID")?;
    wait_until("the second agent to wait", BOUND, || async {
        let said = world.cluster.pod_log(&uid, 50);
        Ok(said
            .contains("another agent runs on this host")
            .then_some(()))
    })
    .await?;
    // The first one goes on alone, as far as it is let.
    world.hold_in("n1", Phase::Draining).await?;
    world.cluster.set_sentinel("n1")?;
    let draining = world.cluster.wait_phase("n1", Phase::Draining, BOUND);
    draining.await?;
    ensure!(!is_ready(&pods, "second").await?, "two agents are Ready");
    // It ends in the middle, and the other one goes on where it was.
    sets.delete(names::SERVICE_ACCOUNT_AGENT, &DeleteParams::background())
        .await?;
    wait_until("the second agent to take over", BOUND, || async {
        Ok(is_ready(&pods, "second").await?.then_some(()))
    })
    .await?;
    world.release(Phase::Draining).await?;
    world.assert_rebooted_once("n1").await?;
    world.stop().await
}
