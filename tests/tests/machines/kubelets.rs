//! Real kubelets: they become Ready, run pods, and come back from a reboot.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use slipway_lab::machines::{Cluster, ClusterOptions, boot_id};
use slipway_lab::wait::wait_until;

const POD_BOUND: Duration = Duration::from_mins(1);
const CALL_BOUND: Duration = Duration::from_secs(10);

const WORKLOAD: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 2
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: topology.kubernetes.io/zone
        whenUnsatisfiable: DoNotSchedule
        labelSelector: {matchLabels: {app: web}}
      containers:
      - name: web
        image: localhost/web:1
        imagePullPolicy: Never
        resources: {limits: {memory: 64Mi, cpu: 200m}}
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
";

pub(crate) async fn kubelets_run_a_workload_and_come_back_from_a_reboot() -> Result<()> {
    let options = ClusterOptions::new(4)?
        .with_label(1, "topology.kubernetes.io/zone", "a")
        .with_label(2, "topology.kubernetes.io/zone", "a")
        .with_label(3, "topology.kubernetes.io/zone", "b")
        .with_label(4, "topology.kubernetes.io/zone", "b");
    let started = Instant::now();
    let cluster = Cluster::start(options).await?;
    println!(
        "    4 nodes Ready {:?} after their start, {:?} with the control plane",
        cluster.took(),
        started.elapsed()
    );
    let started = Instant::now();
    cluster.apply(WORKLOAD).await?;
    wait_available(&cluster, 4).await?;
    println!("    4 pods ready in {:?}", started.elapsed());

    let started = Instant::now();
    let before = cluster.machine(1)?.reboot().await?;
    let after = cluster.wait_rebooted(1, &before).await?;
    println!("    n1 rebooted and Ready again in {:?}", started.elapsed());
    let nodes: Api<Node> = Api::all(cluster.client()?);
    let node = tokio::time::timeout(CALL_BOUND, nodes.get("n1")).await??;
    ensure!(
        boot_id(&node) == Some(after.as_str()),
        "the node shows another boot id"
    );
    ensure!(
        cluster
            .kubectl(&["get", "events", "-A"])
            .await?
            .contains("Rebooted"),
        "the kubelet told nobody of the reboot"
    );
    wait_available(&cluster, 4).await?;
    println!(
        "    all pods ready again {:?} after the reboot",
        started.elapsed()
    );
    cluster.stop();
    Ok(())
}

async fn wait_available(cluster: &Cluster, pods: i32) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client()?, "default");
    let waited = wait_until("the pods to be available", POD_BOUND, || async {
        let web = tokio::time::timeout(CALL_BOUND, deployments.get("web")).await??;
        let status = web.status.context("no status")?;
        Ok((status.available_replicas == Some(pods)).then_some(()))
    })
    .await;
    if waited.is_err() {
        println!(
            "{}",
            cluster
                .kubectl(&["get", "pods,events", "-A", "-o=wide"])
                .await?
        );
    }
    waited
}
