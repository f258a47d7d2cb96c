//! Simulated nodes behave as real ones where our programs look: pods run, are evicted and move,
//! machines reboot with a new boot ID, and processes come back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use slipway_client::clock::wall;
use slipway_lab::control_plane::apply::apply_yaml;
use slipway_lab::footprint::process::Meter;
use slipway_lab::footprint::requests::{Requests, agent_user};
use slipway_lab::footprint::table::CONNECTIONS_MOST_MAX;
use slipway_lab::simulated::{Power, SimulatedCluster, SimulatedOptions};
use slipway_lab::wait::wait_until;

const BOUND: Duration = Duration::from_secs(30);
/// How long an agent at rest is listened to.
const SILENCE: Duration = Duration::from_secs(6);

const WORKLOAD: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'localhost/web:1'}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}
";

async fn ready_pods(pods: &Api<Pod>) -> Result<Vec<Pod>> {
    let list = pods.list(&ListParams::default().labels("app=web")).await?;
    let is_ready = |pod: &Pod| {
        let conditions = pod.status.iter().flat_map(|status| &status.conditions);
        pod.metadata.deletion_timestamp.is_none()
            && conditions
                .flatten()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    Ok(list.items.into_iter().filter(is_ready).collect())
}

async fn wait_three(pods: &Api<Pod>, but: Option<&str>) -> Result<Vec<Pod>> {
    wait_until("three ready pods", BOUND, || async {
        let ready = ready_pods(pods).await?;
        let gone = ready.iter().all(|pod| Some(pod.name_any().as_str()) != but);
        Ok((ready.len() == 3 && gone).then_some(ready))
    })
    .await
}

#[tokio::test]
async fn pods_run_move_when_evicted_and_live_through_a_reboot() -> Result<()> {
    let options = SimulatedOptions {
        install: false,
        ..SimulatedOptions::with_nodes(3)
    };
    let cluster = SimulatedCluster::start(options).await?;
    apply_yaml(&cluster.client(), WORKLOAD).await?;
    let pods: Api<Pod> = Api::namespaced(cluster.client(), "default");
    let ready = wait_three(&pods, None).await?;

    let victim = ready.first().context("no pod")?.name_any();
    let eviction: Eviction = serde_json::from_value(json!({ "metadata": { "name": victim } }))?;
    wait_until("the eviction to be allowed", BOUND, || async {
        let body = &PostParams::default();
        let answer: kube::core::Status = pods
            .create_subresource("eviction", &victim, body, &eviction)
            .await?;
        Ok(Some(answer))
    })
    .await?;
    let ready = wait_three(&pods, Some(&victim)).await?;

    let node = ready
        .first()
        .and_then(|pod| pod.spec.as_ref()?.node_name.clone())
        .context("a ready pod without a node")?;
    let before = cluster.node(&node).await?;
    cluster.set_sentinel(&node)?;
    cluster.reboot_by_hand(&node)?;
    wait_until("the machine to go down", BOUND, || async {
        Ok((cluster.power(&node)? == Power::Off).then_some(()))
    })
    .await?;
    let down = cluster.node(&node).await?;
    ensure!(
        !is_ready(&down),
        "a node that is down says that it is Ready"
    );
    wait_until("the machine to boot", BOUND, || async {
        Ok((cluster.boots(&node)?.len() == 2).then_some(()))
    })
    .await?;
    let after = cluster.wait_ready(&node, BOUND).await?;
    ensure!(
        boot_id(&before) != boot_id(&after),
        "the boot ID is the old one"
    );
    ensure!(
        cluster.clear_sentinel(&node).is_err(),
        "the sentinel survived the reboot"
    );
    wait_until(
        "the pods of the rebooted node to be restarted",
        BOUND,
        || async {
            let ready = ready_pods(&pods).await?;
            let restarted = ready.iter().any(|pod| restarts(pod) == 1);
            Ok((ready.len() == 3 && restarted).then_some(()))
        },
    )
    .await
}

#[tokio::test]
async fn agents_run_as_pods_with_their_own_tokens_rest_and_come_back_when_killed() -> Result<()> {
    let mut options = SimulatedOptions::with_nodes(2);
    // Sentinels are noticed by an event.
    let poll = ("SLIPWAY_POLL".to_owned(), "1h".to_owned());
    options.environment.extend([poll]);
    options.control_plane.audit = true;
    options.control_plane.audited_users = vec![agent_user()];
    let cluster = SimulatedCluster::start(options).await?;
    cluster.wait_agents(BOUND).await?;
    assert_rests(&cluster, "n1").await?;
    cluster.set_sentinel("n1")?;
    wait_until("the agent to report", BOUND, || async {
        let node = cluster.node("n1").await?;
        Ok(asks_for_reboot(&node).then_some(()))
    })
    .await?;
    ensure!(!asks_for_reboot(&cluster.node("n2").await?), "n2 asks too");

    let pod = cluster.agent_pod("n1").await?;
    cluster.kill_agent("n1").await?;
    ensure!(!cluster.is_running(&pod), "a killed agent runs");
    cluster.clear_sentinel("n1")?;
    wait_until("the agent to be back and report", BOUND, || async {
        let node = cluster.node("n1").await?;
        Ok((cluster.is_running(&pod) && !asks_for_reboot(&node)).then_some(()))
    })
    .await?;
    ensure!(
        cluster.agent_pod("n1").await? == pod,
        "the pod itself was replaced"
    );
    cluster.stop().await
}

/// One thread, one watch, no heartbeat (docs/design/footprint.md).
async fn assert_rests(cluster: &SimulatedCluster, node: &str) -> Result<()> {
    let pod = cluster.agent_pod(node).await?;
    let port = cluster.control_plane().port();
    let used = wait_until("the agent to have one thread", BOUND, || async {
        let pid = cluster.program_pid(&pod).context("it does not run")?;
        let mut meter = Meter::new(port);
        meter.look(pid)?;
        let used = meter.used();
        // Those that read files at its start end after ten seconds.
        Ok((used.threads == 1).then_some(used))
    })
    .await?;
    ensure!(
        (1..=CONNECTIONS_MOST_MAX).contains(&used.connections),
        "{used:?}"
    );
    let since = wall();
    // Silence is what is looked for, so it takes its time: a heartbeat would be heard.
    tokio::time::sleep(SILENCE).await;
    let logs = cluster.control_plane().audit_logs()?;
    let asked = |within| Requests::of(&logs, node, within);
    let at_rest = asked(since..wall());
    ensure!(at_rest.but_watches() == 0, "{at_rest:?}");
    ensure!(at_rest.watches() <= 1, "{at_rest:?}");
    // Else the log would prove nothing.
    let before = asked(Timestamp::MIN..since);
    ensure!(
        before.watches() > 0 && before.but_watches() > 0,
        "{before:?}"
    );
    Ok(())
}

fn asks_for_reboot(node: &k8s_openapi::api::core::v1::Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| &status.conditions);
    conditions.flatten().any(|condition| {
        condition.type_ == slipway_api::names::CONDITION_REBOOT_REQUIRED
            && condition.status == "True"
    })
}

fn is_ready(node: &k8s_openapi::api::core::v1::Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| &status.conditions);
    conditions
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn boot_id(node: &k8s_openapi::api::core::v1::Node) -> Option<&str> {
    Some(node.status.as_ref()?.node_info.as_ref()?.boot_id.as_str())
}

fn restarts(pod: &Pod) -> i32 {
    let containers = pod
        .status
        .iter()
        .flat_map(|status| &status.container_statuses);
    containers
        .flatten()
        .map(|container| container.restart_count)
        .sum()
}
