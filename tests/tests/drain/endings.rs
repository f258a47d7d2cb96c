//! What comes before the cordon, and what follows from a drain that takes too long.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use slipway_api::{Phase, RebootLease};

use crate::bench::{Scenario, Stage};
use crate::scenario;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario!("a node that cannot be drained is not cordoned", preflight),
        scenario!(
            "a node is cordoned once its pods could leave",
            preflight_passes
        ),
        scenario!(
            "what a policy blocks keeps the node from the cordon",
            preflight_blocks
        ),
        scenario!("a delay holds the cordon", delay),
        scenario!("F57 a drain that takes too long is undone", abort),
        scenario!("F59 a pod that does not end ends the drain", stuck),
        scenario!(
            "a drain that takes too long deletes where that is written",
            force
        ),
        scenario!("what a policy blocks is not deleted either", force_spares),
        scenario!(
            "S2 a node is rebooted with pods on it where that is written",
            anyway
        ),
        scenario!("a drain that is called off is undone", revoked),
        scenario!(
            "a node that is drained waits for the second key",
            second_key
        ),
    ]
}

async fn held(stage: &Stage) -> Result<()> {
    stage.pod("a", json!({})).await?;
    stage.budget("tight", json!({"minAvailable": 1}), 1).await
}

async fn preflight(stage: &Stage) -> Result<()> {
    held(stage).await?;
    stage.grant(json!({})).await?;
    let lease = stage
        .until("the pod to be named", |lease| {
            said(lease).0 == "PodsBlocked"
        })
        .await?;
    let message = said(&lease).1;
    for word in ["not cordoned", "/a: ", "disruption budget tight"] {
        ensure!(message.contains(word), "{message}");
    }
    ensure!(!stage.is_cordoned().await?, "cordoned");
    let message = stage.fails("DrainBlocked").await?;
    ensure!(message.contains("disruption budget tight"), "{message}");
    let node = stage.nodes().get(&stage.name).await?;
    let cordoned = node.spec.and_then(|spec| spec.unschedulable);
    ensure!(cordoned.is_none(), "the node was cordoned at some time");
    Ok(())
}

fn said(lease: &RebootLease) -> (String, String) {
    let status = lease.status.clone().unwrap_or_default();
    (status.reason, status.message)
}

async fn preflight_passes(stage: &Stage) -> Result<()> {
    held(stage).await?;
    stage.grant(json!({})).await?;
    stage
        .until("the pod to be named", |lease| {
            said(lease).0 == "PodsBlocked"
        })
        .await?;
    stage.delete_budget("tight").await?;
    stage.phase(Phase::Drained).await?;
    Ok(())
}

async fn preflight_blocks(stage: &Stage) -> Result<()> {
    stage.pod("a", json!({})).await?;
    stage.grant(json!({"unmanagedPods": "Block"})).await?;
    let message = stage.fails("DrainBlocked").await?;
    ensure!(message.contains("drain.unmanagedPods"), "{message}");
    Ok(())
}

async fn delay(stage: &Stage) -> Result<()> {
    stage.grant(json!({"delay": "6s"})).await?;
    stage.phase(Phase::Draining).await?;
    ensure!(!stage.is_cordoned().await?, "cordoned at once");
    let lease = stage.phase(Phase::Drained).await?;
    let steps = lease
        .status
        .map(|status| status.transitions)
        .unwrap_or_default();
    let at = |phase| {
        let step = steps.iter().find(|step| step.phase == phase);
        step.map(|step| step.at.0).context("no such step")
    };
    let passed = at(Phase::Drained)?.duration_since(at(Phase::Draining)?);
    ensure!(passed.as_secs() >= 6, "cordoned after {passed:?}");
    Ok(())
}

fn quick(on_timeout: &str) -> Value {
    json!({"timeout": "6s", "onTimeout": on_timeout, "preflight": false})
}

async fn abort(stage: &Stage) -> Result<()> {
    held(stage).await?;
    stage.grant(quick("Abort")).await?;
    let message = stage.fails("DrainTimeout").await?;
    ensure!(message.contains("disruption budget tight"), "{message}");
    ensure!(stage.staying().await? == ["a"], "the pod is gone");
    Ok(())
}

async fn stuck(stage: &Stage) -> Result<()> {
    let patient = json!({"spec": {"terminationGracePeriodSeconds": 3600}});
    stage.pod("a", patient).await?;
    stage.grant(quick("Abort")).await?;
    let message = stage.fails("DrainTimeout").await?;
    ensure!(message.contains("terminating"), "{message}");
    Ok(())
}

async fn force(stage: &Stage) -> Result<()> {
    held(stage).await?;
    stage.grant(quick("ForceDelete")).await?;
    stage.told("a", "disruption budget tight").await?;
    stage.phase(Phase::Drained).await?;
    ensure!(stage.staying().await?.is_empty(), "the pod is left");
    Ok(())
}

async fn force_spares(stage: &Stage) -> Result<()> {
    let volumes = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
    stage.pod("data", volumes).await?;
    stage.pod("web", json!({})).await?;
    stage.budget("tight", json!({"minAvailable": 2}), 2).await?;
    let mut drain = quick("ForceDelete");
    drain["emptyDirData"] = json!("Block");
    stage.grant(drain).await?;
    stage.told("web", "disruption budget tight").await?;
    slipway_lab::wait::wait_until("the other pod to go", crate::bench::BOUND, || async {
        Ok((stage.staying().await? == ["data"]).then_some(()))
    })
    .await?;
    stage.told("data", "drain.emptyDirData").await?;
    let lease = stage.lease().await?;
    ensure!(lease.phase() == Phase::Draining, "{}", lease.phase());
    Ok(())
}

async fn anyway(stage: &Stage) -> Result<()> {
    held(stage).await?;
    stage.grant(quick("RebootAnyway")).await?;
    stage.told("a", "disruption budget tight").await?;
    let lease = stage.phase(Phase::Drained).await?;
    let message = said(&lease).1;
    ensure!(message.contains("RebootAnyway"), "{message}");
    ensure!(stage.reboots() == 0, "rebooted without the second key");
    stage.clear().await?;
    stage.phase(Phase::Rebooting).await?;
    slipway_lab::wait::wait_until("the reboot call", crate::bench::BOUND, || async {
        Ok((stage.reboots() == 1).then_some(()))
    })
    .await?;
    ensure!(stage.staying().await? == ["a"], "the pod is gone");
    Ok(())
}

async fn revoked(stage: &Stage) -> Result<()> {
    held(stage).await?;
    stage.grant(json!({"preflight": false})).await?;
    stage.told("a", "disruption budget tight").await?;
    stage.revoke().await?;
    let lease = stage.phase(Phase::Aborted).await?;
    ensure!(said(&lease).0 == "WindowClosed", "{:?}", said(&lease));
    ensure!(!stage.is_cordoned().await?, "left cordoned");
    Ok(())
}

async fn second_key(stage: &Stage) -> Result<()> {
    stage.pod("a", json!({})).await?;
    stage.grant(json!({})).await?;
    stage.phase(Phase::Drained).await?;
    ensure!(stage.reboots() == 0, "rebooted without the second key");
    stage.clear().await?;
    stage.phase(Phase::Rebooting).await?;
    slipway_lab::wait::wait_until("the reboot call", crate::bench::BOUND, || async {
        Ok((stage.reboots() == 1).then_some(()))
    })
    .await
}
