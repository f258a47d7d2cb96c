//! The whole of Slipway on real kubelets, installed as a user installs it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use slipway_api::names;
use slipway_lab::images::{Image, static_program};
use slipway_lab::machines::{Cluster, ClusterOptions};
use slipway_lab::wait::wait_until;

const BOUND: Duration = Duration::from_mins(2);
const CALL_BOUND: Duration = Duration::from_secs(10);

const WORKLOAD_AND_POLICY: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: localhost/web:1
        imagePullPolicy: Never
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: slipway.dev/v1alpha1
kind: RebootPolicy
metadata: {name: all}
spec:
  nodeSelector: {}
  budget: {maxUnavailable: 1}
";

pub(crate) async fn a_machine_that_asks_is_drained_rebooted_and_given_back() -> Result<()> {
    let options = ClusterOptions::new(2)?
        .with_image(Image::operator(&static_program("slipway-operator")?))
        .with_image(Image::agent(&static_program("slipway-node-agent")?));
    let cluster = Cluster::start(options).await?;
    let result = is_rebooted_and_given_back(&cluster).await;
    if result.is_err() {
        explain(&cluster).await;
    }
    result?;
    cluster.stop();
    Ok(())
}

/// Prints what tells why a scenario failed.
pub(crate) async fn explain(cluster: &Cluster) {
    for arguments in [
        &[
            "get",
            "nodes,pods,rebootleases,rebootpolicies",
            "-A",
            "-o=wide",
        ][..],
        &["get", "rebootleases", "-o=yaml"],
        &[
            "logs",
            "-n=slipway-system",
            "--prefix",
            "--tail=25",
            "-l=app.kubernetes.io/name=slipway",
        ],
    ] {
        println!(
            "{}",
            cluster
                .kubectl(arguments)
                .await
                .unwrap_or_else(|error| format!("{error:#}"))
        );
    }
    for machine in cluster.machines() {
        println!("{}", machine.diagnose().await);
    }
}

async fn is_rebooted_and_given_back(cluster: &Cluster) -> Result<()> {
    let started = Instant::now();
    let install = slipway_lab::chart::repository().join("examples/install.yaml");
    cluster.apply_file(&install).await?;
    cluster.apply(WORKLOAD_AND_POLICY).await?;
    wait_until("agents and operators to be Ready", BOUND, || async {
        let sets: Api<DaemonSet> = Api::namespaced(cluster.client()?, names::NAMESPACE);
        let sets = tokio::time::timeout(CALL_BOUND, sets.get("slipway-agent")).await??;
        let agents = sets.status.map_or(0, |status| status.number_ready);
        let operators: Api<Deployment> = Api::namespaced(cluster.client()?, names::NAMESPACE);
        let operator =
            tokio::time::timeout(CALL_BOUND, operators.get("slipway-operator")).await??;
        let operators = operator.status.and_then(|status| status.ready_replicas);
        ensure!(
            agents == 2 && operators == Some(2),
            "{agents} agents and {operators:?} operators are Ready"
        );
        Ok(Some(()))
    })
    .await?;
    println!("    installed and Ready in {:?}", started.elapsed());

    let started = Instant::now();
    let machine = cluster.machine(1)?;
    let before = machine.boot_id().context("n1 is not up")?;
    let workload = workload_on(cluster, "n1").await?;
    machine.write_file("/run/reboot-required", "").await?;
    wait_until("n1 to go down", BOUND, || async {
        Ok((machine.boots() > 1).then_some(()))
    })
    .await?;
    println!("    n1 went down after {:?}", started.elapsed());
    let left = workload_on(cluster, "n1").await?;
    ensure!(
        left.iter().all(|name| !workload.contains(name)),
        "n1 was rebooted with {left:?} on it"
    );
    cluster.wait_rebooted(1, &before).await?;
    wait_until("n1 to be given back", BOUND, || async {
        let nodes: Api<Node> = Api::all(cluster.client()?);
        let node = tokio::time::timeout(CALL_BOUND, nodes.get("n1")).await??;
        let cordoned = node
            .spec
            .is_some_and(|spec| spec.unschedulable == Some(true));
        Ok((!cordoned).then_some(()))
    })
    .await?;
    println!("    n1 was given back after {:?}", started.elapsed());
    ensure!(
        machine.boots() == 2,
        "n1 was rebooted {} times",
        machine.boots() - 1
    );
    ensure!(cluster.machine(2)?.boots() == 1, "n2 was rebooted as well");
    Ok(())
}

/// The pods of the workload that are not over, on a node.
async fn workload_on(cluster: &Cluster, node: &str) -> Result<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(cluster.client()?, "default");
    let wanted = ListParams::default()
        .labels("app=web")
        .fields(&format!("spec.nodeName={node},status.phase=Running"));
    let list = tokio::time::timeout(CALL_BOUND, pods.list(&wanted)).await??;
    Ok(list.iter().map(ResourceExt::name_any).collect())
}
