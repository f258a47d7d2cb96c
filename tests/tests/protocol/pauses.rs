//! What takes its time between the drain and the second key: volumes, and the policy's own delay.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use slipway_api::{Phase, RebootLease};

use crate::world::{BOUND, POLICY, World};

/// What a volume that is attached to a node looks like.
async fn attach(world: &World, node: &str) -> Result<Api<VolumeAttachment>> {
    let api: Api<VolumeAttachment> = Api::all(world.cluster.client());
    let attachment = serde_json::from_value(json!({
        "metadata": {"name": format!("csi-{node}")},
        "spec": {"attacher": "lab.example", "nodeName": node,
            "source": {"persistentVolumeName": format!("pv-{node}")}},
    }))?;
    api.create(&PostParams::default(), &attachment).await?;
    Ok(api)
}

/// The lease of a drained node that waits for this, and has no second key.
async fn wait_kept(world: &World, node: &str, kind: &str) -> Result<String> {
    let lease = world
        .cluster
        .wait_lease(node, &format!("kept by {kind}"), BOUND, |lease| {
            let status = lease.status.as_ref();
            let kept = status.is_some_and(|it| it.waiting_for.iter().any(|it| it.kind == kind));
            kept && lease.phase() == Phase::Drained
        })
        .await?;
    ensure!(lease.spec.clear.is_none(), "the key was turned: {lease:?}");
    let status = lease.status.unwrap_or_default();
    let waits = status.waiting_for.into_iter().find(|it| it.kind == kind);
    Ok(waits.context("it waits for nothing")?.message)
}

/// From the end of the drain to the commit.
fn pause(lease: &RebootLease) -> Result<Duration> {
    let steps = lease.status.as_ref().context("no status")?;
    let at = |phase: Phase| {
        let step = steps.transitions.iter().find(|step| step.phase == phase);
        Ok::<_, anyhow::Error>(step.with_context(|| format!("it was never {phase}"))?.at.0)
    };
    let pause = at(Phase::Rebooting)?.duration_since(at(Phase::Drained)?);
    Ok(Duration::try_from(pause)?)
}

#[tokio::test]
async fn f108_volumes_and_the_delay_hold_the_second_key_and_only_as_long_as_they_may() -> Result<()>
{
    let world = World::start(2).await?;
    world.apply(POLICY).await?;
    let attachments = attach(&world, "n1").await?;
    // The volume of another node keeps nobody.
    attach(&world, "n2").await?;
    world.cluster.set_sentinel("n1")?;
    let told = wait_kept(&world, "n1", "VolumesAttached").await?;
    ensure!(
        told.contains("1 volumes") && told.contains("csi-n1"),
        "{told}"
    );
    attachments
        .delete("csi-n1", &DeleteParams::default())
        .await?;
    let lease = world.assert_rebooted_once("n1").await?;
    ensure!(pause(&lease)? < Duration::from_mins(1), "{lease:?}");

    // A volume that stays goes down with the node, once the time is over; so is the delay's.
    let edit = json!({
        "drain": {"waitForVolumeDetach": "3s"}, "reboot": {"delay": "6s"},
    });
    world.edit_policy(edit).await?;
    world.cluster.set_sentinel("n2")?;
    wait_kept(&world, "n2", "RebootDelay").await?;
    let lease = world.assert_rebooted_once("n2").await?;
    let pause = pause(&lease)?;
    ensure!(pause >= Duration::from_secs(6), "committed after {pause:?}");
    ensure!(
        attachments.get_opt("csi-n2").await?.is_some(),
        "it was detached"
    );
    world.stop().await
}
