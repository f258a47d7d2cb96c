//! Pods that must not be disturbed.

use std::collections::BTreeMap;

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use slipway_planner::blockers::Answer;

use crate::bench::Bench;

async fn pod(bench: &Bench, name: &str, node: &str) -> Result<()> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"runtime": "long"}},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
    }))?;
    let pods: Api<Pod> = Api::namespaced(bench.api.client("admin"), "default");
    pods.create(&PostParams::default(), &pod).await?;
    Ok(())
}

async fn finish(bench: &Bench, name: &str, phase: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(bench.api.client("admin"), "default");
    let patch = Patch::Merge(json!({"status": {"phase": phase}}));
    pods.patch_status(name, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

#[tokio::test]
async fn running_pods_keep_their_node_or_everybody_waiting_and_finished_ones_nobody() -> Result<()>
{
    let bench = Bench::start();
    let node = "pods: {selector: {matchLabels: {runtime: long}}}";
    let cluster = "pods: {selector: {matchLabels: {runtime: long}}, scope: Cluster}";
    let other = "pods: {selector: {matchExpressions: [{key: runtime, operator: DoesNotExist}]}}";
    bench.clear(node).await?;
    pod(&bench, "a", "n1").await?;
    pod(&bench, "b", "n2").await?;
    let waits = |names: &[(&str, &str)]| {
        let nodes: BTreeMap<String, String> = names
            .iter()
            .map(|(node, pod)| ((*node).to_owned(), format!("pod default/{pod} runs")))
            .collect();
        Answer::BlocksNodes { nodes }
    };
    assert_eq!(bench.ask(node).await?.0, waits(&[("n1", "a"), ("n2", "b")]));
    bench.blocks(cluster, "pod default/a runs").await?;
    bench.clear(other).await?;
    finish(&bench, "a", "Succeeded").await?;
    assert_eq!(bench.ask(node).await?.0, waits(&[("n2", "b")]));
    finish(&bench, "b", "Failed").await?;
    bench.clear(node).await?;
    bench.clear(cluster).await
}
