//! Every way to reboot a host, from the agent's own pod as the chart makes it, on real kubelets: one
//! node for each way, all at once; one whose method lies, and one that is locked for a while.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use slipway_api::{Phase, RebootLease, RebootLeaseStatus, names};
use slipway_lab::chart;
use slipway_lab::images::{Image, static_program};
use slipway_lab::machines::{Cluster, ClusterOptions};
use slipway_lab::wait::wait_until;

/// Seven kubelets reboot at once, and systemd gives each service that does not stop 90 s.
const BOUND: Duration = Duration::from_mins(6);
const CALL_BOUND: Duration = Duration::from_secs(10);
/// The node that the operator runs on; it is never rebooted.
const OPERATOR_NODE: u8 = 7;

/// What is tried on each node: its number, the method that its policy names, and the end.
const NODES: [(u8, &str, Expected); 6] = [
    (1, "Logind", Expected::RebootedBy("Logind")),
    (2, "Systemctl", Expected::RebootedBy("Systemctl")),
    (3, "Signal", Expected::RebootedBy("Signal")),
    (4, "restart", Expected::RebootedBy("restart")),
    (5, "liar", Expected::Failed("NotRebooted", "liar: accepted")),
    (6, "Auto", Expected::RebootedBy("Logind")),
];
/// The node with a lock that blocks its shutdown.
const LOCKED: u8 = 6;

#[derive(Clone, Copy)]
enum Expected {
    RebootedBy(&'static str),
    Failed(&'static str, &'static str),
}

pub(crate) async fn every_method_reboots_its_host_and_one_that_lies_is_found_out() -> Result<()> {
    let mut options = ClusterOptions::new(OPERATOR_NODE)?
        .with_image(Image::operator(&static_program("slipway-operator")?))
        .with_image(Image::agent(&static_program("slipway-node-agent")?));
    for (number, method, _) in NODES {
        options = options.with_label(number, "method", method);
    }
    let cluster = Cluster::start(options).await?;
    let result = methods(&cluster).await;
    if result.is_err() {
        crate::slipway::explain(&cluster).await;
    }
    result?;
    cluster.stop();
    Ok(())
}

async fn methods(cluster: &Cluster) -> Result<()> {
    install(cluster, "privileged").await?;
    let policies: Vec<String> = NODES.iter().map(|(_, method, _)| policy(method)).collect();
    cluster.apply(&policies.join("---\n")).await?;
    lock(cluster).await?;
    let started = Instant::now();
    try_join_all(NODES.map(|(number, _, expected)| ends(cluster, number, expected))).await?;
    println!(
        "    every method came to its end in {:?}",
        started.elapsed()
    );

    // With less, the agent can still signal, and says of the rest that it cannot, before it touches
    // anything.
    install(cluster, "signal").await?;
    let again = [
        (2, Expected::Failed("MethodUnavailable", "Systemctl")),
        (3, Expected::RebootedBy("Signal")),
        (4, Expected::Failed("MethodUnavailable", "no such method")),
    ];
    try_join_all(again.map(|(number, expected)| ends(cluster, number, expected))).await?;

    install(cluster, "logind").await?;
    let last = [
        (1, Expected::RebootedBy("Logind")),
        (3, Expected::Failed("MethodUnavailable", "hostPID")),
    ];
    try_join_all(last.map(|(number, expected)| ends(cluster, number, expected))).await?;
    println!(
        "    every profile can what it should after {:?}",
        started.elapsed()
    );
    Ok(())
}

/// Installs the chart, or changes the profile of what is installed.
async fn install(cluster: &Cluster, profile: &str) -> Result<()> {
    let on_its_node = json!({"kubernetes.io/hostname": format!("n{OPERATOR_NODE}")});
    let mut values = json!({
        "operator": {"replicas": 1, "nodeSelector": on_its_node},
        "agent": {"profile": profile, "settle": "200ms", "maxUnavailable": "100%"},
    });
    if profile == "privileged" {
        values["agent"]["methods"] = json!({
            "restart": {"command": ["/usr/bin/systemctl", "--no-wall", "reboot"]},
            "liar": {"command": ["/usr/bin/true"]},
        });
    }
    cluster.apply(&chart::install_yaml_with(&values)?).await?;
    wait_until("agents and operator to be Ready", BOUND, || async {
        let sets: Api<DaemonSet> = Api::namespaced(cluster.client()?, names::NAMESPACE);
        let set = tokio::time::timeout(CALL_BOUND, sets.get("slipway-agent")).await??;
        let generation = set.metadata.generation;
        let status = set.status.context("no status")?;
        let wanted = i32::from(OPERATOR_NODE);
        let operators: Api<Deployment> = Api::namespaced(cluster.client()?, names::NAMESPACE);
        let operator =
            tokio::time::timeout(CALL_BOUND, operators.get("slipway-operator")).await??;
        let operators = operator.status.and_then(|status| status.ready_replicas);
        ensure!(
            status.observed_generation == generation
                && status.updated_number_scheduled == Some(wanted)
                && status.number_ready == wanted
                && operators == Some(1),
            "{status:?}, {operators:?} operators are Ready"
        );
        Ok(Some(()))
    })
    .await
}

/// Each node has a policy of its own, which is quick where a machine of the lab is.
fn policy(method: &str) -> String {
    let policy: Value = json!({
        "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootPolicy",
        "metadata": {"name": method.to_lowercase()},
        "spec": {
            "nodeSelector": {"matchLabels": {"method": method}},
            "reboot": {"method": method, "timeout": if method == "liar" { "30s" } else { "5m" }},
            "verify": {"nodeReadyFor": "1s", "podsReadyWithin": "0s"},
        },
    });
    format!("{policy}\n")
}

/// Takes a lock that blocks the shutdown, as a package manager does.
async fn lock(cluster: &Cluster) -> Result<()> {
    let words = [
        "systemd-run",
        "--unit=lock",
        "systemd-inhibit",
        "--what=shutdown",
        "--mode=block",
        "--who=dpkg",
        "--why=upgrade",
        "sleep",
        "1000",
    ];
    let machine = cluster.machine(LOCKED)?;
    machine.exec(&words).await?;
    wait_until("the lock", BOUND, || async {
        let locks = machine.exec(&["systemd-inhibit", "--list"]).await?;
        Ok(locks.contains("dpkg").then_some(()))
    })
    .await
}

/// A node asks for a reboot, and what comes of it.
async fn ends(cluster: &Cluster, number: u8, expected: Expected) -> Result<()> {
    let node = format!("n{number}");
    let machine = cluster.machine(number)?;
    let before = machine
        .boot_id()
        .with_context(|| format!("{node} is not up"))?;
    let boots = machine.boots();
    let fence = status(cluster, &node)
        .await?
        .map_or(0, |status| status.fence);
    machine.write_file("/run/reboot-required", "").await?;
    if number == LOCKED {
        is_locked(cluster, &node).await?;
        machine.exec(&["systemctl", "stop", "lock"]).await?;
    }
    let wanted = match expected {
        Expected::RebootedBy(_) => Phase::Completed,
        Expected::Failed(..) => Phase::Failed,
    };
    let ended = wait_until(&format!("{node} to be {wanted}"), BOUND, || async {
        let status = status(cluster, &node).await?.context("no lease")?;
        ensure!(
            status.phase == wanted && status.fence > fence,
            "{}: {} {}",
            status.phase,
            status.reason,
            status.message
        );
        Ok(Some(status))
    })
    .await?;
    match expected {
        Expected::RebootedBy(method) => {
            ensure!(
                ended.reboot_method.as_deref() == Some(method),
                "{node}: {ended:?}"
            );
            ensure!(
                machine.boots() == boots + 1,
                "{node} was not booted just once"
            );
            ensure!(
                machine.boot_id() != Some(before),
                "{node} has its old boot ID"
            );
        }
        Expected::Failed(reason, told) => {
            ensure!(
                ended.reason == reason && ended.message.contains(told),
                "{node}: {ended:?}"
            );
            ensure!(machine.boot_id() == Some(before), "{node} was booted");
            machine.exec(&["rm", "/run/reboot-required"]).await?;
        }
    }
    ensure!(!is_cordoned(cluster, &node).await?, "{node} is cordoned");
    Ok(())
}

/// The lease names who holds the lock, and nothing on the node has changed.
async fn is_locked(cluster: &Cluster, node: &str) -> Result<()> {
    wait_until("the lock to be named", BOUND, || async {
        let status = status(cluster, node).await?.context("no lease")?;
        ensure!(
            status.reason == "Inhibited" && status.message.contains("dpkg (pid "),
            "{}: {} {}",
            status.phase,
            status.reason,
            status.message
        );
        Ok(Some(()))
    })
    .await?;
    ensure!(
        !is_cordoned(cluster, node).await?,
        "a locked node was cordoned"
    );
    Ok(())
}

async fn status(cluster: &Cluster, node: &str) -> Result<Option<RebootLeaseStatus>> {
    let leases: Api<RebootLease> = Api::all(cluster.client()?);
    let lease = tokio::time::timeout(CALL_BOUND, leases.get_opt(node)).await??;
    Ok(lease.and_then(|lease| lease.status))
}

async fn is_cordoned(cluster: &Cluster, node: &str) -> Result<bool> {
    let nodes: Api<Node> = Api::all(cluster.client()?);
    let node = tokio::time::timeout(CALL_BOUND, nodes.get(node)).await??;
    let ours = node.annotations().contains_key(names::ANNOTATION_CORDONED);
    Ok(ours
        || node
            .spec
            .is_some_and(|spec| spec.unschedulable == Some(true)))
}
