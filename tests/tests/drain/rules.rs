//! Which pods a policy moves, leaves, or waits for.

use anyhow::{Result, ensure};
use kube::api::DeleteParams;
use serde_json::{Value, json};
use slipway_api::Phase;

use crate::bench::{Scenario, Stage, merge};
use crate::scenario;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario!("a pod selector leaves the others", selector),
        scenario!("F58 unmanaged pods block where that is written", unmanaged),
        scenario!("F58 data blocks where that is written", empty_dir),
        scenario!("F58 mirror pods and pods of DaemonSets stay", stay),
        scenario!("pods of a DaemonSet that is named go once", daemon_set),
        scenario!(
            "F59 a pod with a finalizer is waited for and says so",
            finalizer
        ),
        scenario!(
            "F59 a pod that does not end is skipped where that is written",
            skipped
        ),
    ]
}

/// Owned by a controller that nobody runs; the garbage collector must not find it missing, so the
/// owner is the pod's own ServiceAccount.
async fn owned(stage: &Stage, kind: &str) -> Result<Value> {
    let accounts: kube::Api<k8s_openapi::api::apps::v1::DaemonSet> =
        kube::Api::namespaced(stage.client.clone(), &stage.name);
    let set = json!({"metadata": {"name": "set"}, "spec": {
        "selector": {"matchLabels": {"set": "set"}},
        "template": {"metadata": {"labels": {"set": "set"}}, "spec": {
            "nodeSelector": {"no": "node"}, "containers": [{"name": "c", "image": "localhost/none:1"}]}}}});
    let set = accounts
        .create(
            &kube::api::PostParams::default(),
            &serde_json::from_value(set)?,
        )
        .await?;
    Ok(
        json!({"metadata": {"labels": {"set": "other"}, "ownerReferences": [{
        "apiVersion": "apps/v1", "kind": kind, "name": "set", "uid": set.metadata.uid,
        "controller": true}]}}),
    )
}

async fn selector(stage: &Stage) -> Result<()> {
    stage.pod("web", json!({})).await?;
    stage.pod("db", json!({})).await?;
    let selector =
        json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]});
    stage.grant(json!({"podSelector": selector})).await?;
    let lease = stage.phase(Phase::Drained).await?;
    let drain = lease
        .status
        .and_then(|status| status.drain)
        .unwrap_or_default();
    ensure!(drain.total == 1, "{drain:?}");
    ensure!(
        stage.staying().await? == ["db"],
        "{:?}",
        stage.staying().await?
    );
    Ok(())
}

/// Named, not evicted, and the drain ends once somebody has removed it.
async fn blocks(stage: &Stage, drain: Value, words: &str) -> Result<()> {
    stage.grant(drain).await?;
    stage.told("a", words).await?;
    ensure!(stage.staying().await? == ["a"], "it was evicted");
    stage.pods().delete("a", &DeleteParams::default()).await?;
    stage.phase(Phase::Drained).await?;
    Ok(())
}

async fn unmanaged(stage: &Stage) -> Result<()> {
    stage.pod("a", json!({})).await?;
    let drain = json!({"unmanagedPods": "Block", "preflight": false});
    blocks(stage, drain, "drain.unmanagedPods").await
}

async fn empty_dir(stage: &Stage) -> Result<()> {
    let volumes = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
    stage.pod("a", volumes).await?;
    let drain = json!({"emptyDirData": "Block", "preflight": false});
    blocks(stage, drain, "drain.emptyDirData").await
}

async fn stay(stage: &Stage) -> Result<()> {
    stage
        .pod("daemon", owned(stage, "DaemonSet").await?)
        .await?;
    let mirror = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}});
    stage.pod("mirror", mirror).await?;
    stage.pod("web", json!({})).await?;
    stage.grant(json!({})).await?;
    stage.phase(Phase::Drained).await?;
    ensure!(
        stage.staying().await? == ["daemon", "mirror"],
        "{:?}",
        stage.staying().await?
    );
    Ok(())
}

/// Creation times have whole seconds: what comes after this is younger than what was before for certain.
async fn another_second() -> Result<()> {
    let begun = slipway_client::clock::wall().as_second();
    slipway_lab::wait::wait_until("another second", crate::bench::BOUND, || async move {
        Ok((slipway_client::clock::wall().as_second() > begun).then_some(()))
    })
    .await
}

async fn daemon_set(stage: &Stage) -> Result<()> {
    let owned = owned(stage, "DaemonSet").await?;
    stage.pod("first", owned.clone()).await?;
    another_second().await?;
    let drain =
        json!({"daemonSetPods": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}});
    stage.grant(drain).await?;
    stage.phase(Phase::Drained).await?;
    ensure!(stage.staying().await?.is_empty(), "the pod stays");
    // The one that is made in its place.
    another_second().await?;
    let mut second = owned;
    merge(
        &mut second,
        &json!({"metadata": {"labels": {"app": "second"}}}),
    );
    stage.pod("second", second).await?;
    stage.clear().await?;
    stage.phase(Phase::Rebooting).await?;
    ensure!(
        stage.staying().await? == ["second"],
        "the pod made anew was evicted"
    );
    Ok(())
}

fn kept() -> Value {
    json!({"metadata": {"finalizers": ["example.com/keep"]}})
}

async fn finalizer(stage: &Stage) -> Result<()> {
    stage.pod("a", kept()).await?;
    stage.grant(json!({})).await?;
    stage
        .told("a", "kept by the finalizers example.com/keep")
        .await?;
    let patch = json!({"metadata": {"finalizers": null}});
    stage
        .pods()
        .patch(
            "a",
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(patch),
        )
        .await?;
    stage.phase(Phase::Drained).await?;
    Ok(())
}

async fn skipped(stage: &Stage) -> Result<()> {
    stage.pod("a", kept()).await?;
    stage
        .grant(json!({"skipWaitForDeleteTimeout": "2s"}))
        .await?;
    stage.phase(Phase::Drained).await?;
    ensure!(stage.pods().get_opt("a").await?.is_some(), "it has gone");
    Ok(())
}
