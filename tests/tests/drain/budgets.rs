//! Budgets: what lets go, what holds, and what the lease says of it.

use anyhow::{Result, ensure};
use serde_json::json;
use slipway_api::Phase;

use crate::bench::{Scenario, Stage};
use crate::scenario;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario!("a node without pods is drained", nothing),
        scenario!("pods without a budget leave", no_budget),
        scenario!("a budget with room lets its pods go", room),
        scenario!(
            "one disruption goes, the next is named with the numbers",
            one_of_two
        ),
        scenario!("a budget that is deleted holds nothing any more", freed),
        scenario!("F60 two budgets on a pod are named", two_budgets),
        scenario!("a finished pod needs no budget", finished),
        scenario!("a broken pod leaves where its budget says so", broken),
        scenario!(
            "a broken pod is held by a budget that is short",
            broken_and_held
        ),
        scenario!(
            "F60 a namespace that goes takes its pods along",
            namespace_goes
        ),
        scenario!(
            "a pod made anew under its name is evicted as well",
            made_anew
        ),
        scenario!("each pod gets the grace that the policy says", grace),
    ]
}

fn no_preflight() -> serde_json::Value {
    json!({"preflight": false})
}

async fn nothing(stage: &Stage) -> Result<()> {
    stage.grant(json!({})).await?;
    stage.phase(Phase::Drained).await?;
    ensure!(stage.is_cordoned().await?, "not cordoned");
    Ok(())
}

async fn no_budget(stage: &Stage) -> Result<()> {
    for pod in ["a", "b", "c"] {
        stage.pod(pod, json!({})).await?;
    }
    stage.grant(json!({})).await?;
    let lease = stage.phase(Phase::Drained).await?;
    let drain = lease
        .status
        .and_then(|status| status.drain)
        .unwrap_or_default();
    ensure!((drain.total, drain.evicted) == (3, 3), "{drain:?}");
    ensure!(stage.staying().await?.is_empty(), "pods are left");
    Ok(())
}

async fn room(stage: &Stage) -> Result<()> {
    for pod in ["a", "b"] {
        stage.pod(pod, json!({})).await?;
    }
    stage.budget("loose", json!({"minAvailable": 0}), 2).await?;
    stage.grant(json!({})).await?;
    stage.phase(Phase::Drained).await?;
    Ok(())
}

async fn one_of_two(stage: &Stage) -> Result<()> {
    for pod in ["a", "b"] {
        stage.pod(pod, json!({})).await?;
    }
    stage.budget("tight", json!({"minAvailable": 1}), 2).await?;
    stage.grant(json!({})).await?;
    // Until the disruption controller has counted again, the API server knows no numbers.
    let numbers = "needs 1 healthy pods and has 1";
    let lease = stage
        .until("one pod to be held, with the numbers", |lease| {
            let status = lease.status.clone().unwrap_or_default();
            let evicted = status.drain.is_some_and(|drain| drain.evicted == 1);
            status.reason == "PodsBlocked" && evicted && status.message.contains(numbers)
        })
        .await?;
    let message = lease
        .status
        .map(|status| status.message)
        .unwrap_or_default();
    ensure!(message.contains("disruption budget tight"), "{message}");
    ensure!(stage.staying().await?.len() == 1, "both or none went");
    Ok(())
}

async fn freed(stage: &Stage) -> Result<()> {
    stage.pod("a", json!({})).await?;
    stage.budget("tight", json!({"minAvailable": 1}), 1).await?;
    stage.grant(no_preflight()).await?;
    stage.told("a", "disruption budget tight").await?;
    stage.delete_budget("tight").await?;
    stage.phase(Phase::Drained).await?;
    Ok(())
}

async fn two_budgets(stage: &Stage) -> Result<()> {
    stage.pod("a", json!({})).await?;
    for budget in ["one", "two"] {
        stage.budget(budget, json!({"minAvailable": 0}), 1).await?;
    }
    stage.grant(no_preflight()).await?;
    stage.told("a", "several PodDisruptionBudgets").await?;
    stage.delete_budget("two").await?;
    stage.phase(Phase::Drained).await?;
    Ok(())
}

async fn finished(stage: &Stage) -> Result<()> {
    stage
        .pod("a", json!({"status": {"phase": "Succeeded"}}))
        .await?;
    stage
        .pod("b", json!({"status": {"phase": "Failed"}}))
        .await?;
    stage.budget("tight", json!({"minAvailable": 1}), 0).await?;
    stage.grant(json!({"unmanagedPods": "Block"})).await?;
    stage.phase(Phase::Drained).await?;
    Ok(())
}

fn not_ready() -> serde_json::Value {
    json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}})
}

async fn broken(stage: &Stage) -> Result<()> {
    stage.pod("a", not_ready()).await?;
    let spec = json!({"minAvailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow"});
    stage.budget("tight", spec, 0).await?;
    stage.grant(json!({})).await?;
    stage.phase(Phase::Drained).await?;
    Ok(())
}

async fn broken_and_held(stage: &Stage) -> Result<()> {
    stage.pod("a", not_ready()).await?;
    stage.budget("tight", json!({"minAvailable": 1}), 0).await?;
    stage.grant(no_preflight()).await?;
    stage.told("a", "needs 1 healthy pods and has 0").await?;
    Ok(())
}

async fn namespace_goes(stage: &Stage) -> Result<()> {
    stage.pod("a", json!({})).await?;
    stage.budget("tight", json!({"minAvailable": 1}), 1).await?;
    stage.grant(no_preflight()).await?;
    stage.told("a", "disruption budget tight").await?;
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> =
        kube::Api::all(stage.client.clone());
    namespaces
        .delete(&stage.name, &kube::api::DeleteParams::default())
        .await?;
    stage.phase(Phase::Drained).await?;
    Ok(())
}

async fn made_anew(stage: &Stage) -> Result<()> {
    let first = stage.pod("a", json!({})).await?;
    stage.grant(json!({})).await?;
    stage.phase(Phase::Drained).await?;
    // It tolerates the cordon, as a pod with a nodeName does; no second key was given yet.
    let second = stage.pod("a", json!({})).await?;
    ensure!(first.metadata.uid != second.metadata.uid, "the same pod");
    slipway_lab::wait::wait_until("the pod to go again", crate::bench::BOUND, || async {
        Ok(stage.staying().await?.is_empty().then_some(()))
    })
    .await?;
    let lease = stage.lease().await?;
    ensure!(lease.phase() == Phase::Drained, "the phase changed (F61)");
    Ok(())
}

async fn grace(stage: &Stage) -> Result<()> {
    let patient = json!({"spec": {"terminationGracePeriodSeconds": 30}});
    stage.pod("a", patient).await?;
    stage
        .grant(json!({"gracePeriodSeconds": 77, "preflight": false}))
        .await?;
    stage.told("a", "terminating, its time is up at").await?;
    let pod = stage.pods().get("a").await?;
    let grace = pod.metadata.deletion_grace_period_seconds;
    ensure!(grace == Some(77), "its grace is {grace:?}");
    Ok(())
}
