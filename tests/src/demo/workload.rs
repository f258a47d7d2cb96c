//! What the demo puts on the cluster: a workload with a disruption budget, a policy, and a node
//! that a human has cordoned.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::timeout;

use crate::control_plane::apply::apply_yaml;

/// Where the workload runs.
pub const NAMESPACE: &str = "default";
/// Its pods.
pub const SELECTOR: &str = "app=web";
/// Nodes that the policy of the demo lets be unavailable at once. One of them is the node that a
/// human cordoned before: it counts too.
pub const BUDGET: usize = 2;

const CALL_BOUND: Duration = Duration::from_secs(10);
const WORKLOAD: &str = include_str!("../../../examples/demo-workload.yaml");
const POLICY: &str = include_str!("policy.yaml");

/// Applies the workload with a number of replicas.
pub async fn deploy(client: &Client, replicas: usize) -> Result<()> {
    let text = WORKLOAD.replace("replicas: 3", &format!("replicas: {replicas}"));
    apply_yaml(client, &text)
        .await
        .context("failed to apply the workload")?;
    Ok(())
}

/// Applies the policy.
pub async fn apply_policy(client: &Client) -> Result<()> {
    apply_yaml(client, POLICY)
        .await
        .context("failed to apply the policy")?;
    Ok(())
}

/// Cordons a node as `kubectl cordon` does.
pub async fn cordon(client: &Client, node: &str) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let params = PatchParams {
        field_manager: Some("kubectl-cordon".into()),
        ..PatchParams::default()
    };
    let patch = Patch::Strategic(json!({ "spec": { "unschedulable": true } }));
    timeout(CALL_BOUND, nodes.patch(node, &params, &patch))
        .await
        .context("no answer to the cordon")?
        .context("failed to cordon")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_has_the_budget_that_is_judged() {
        assert!(POLICY.contains(&format!("maxUnavailable: {BUDGET}\n")));
    }

    #[test]
    fn the_workload_has_one_place_for_the_number_of_replicas() {
        assert_eq!(WORKLOAD.matches("replicas: 3\n").count(), 1);
    }
}
