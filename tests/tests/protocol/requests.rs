//! Every write of a reboot meets every fault of a network: lost before or after it took effect,
//! late, repeated, garbled, refused. Each ends in one proven reboot of a drained node.
//!
//! One node for each request, all of them at the same time, one round for each fault. A commit runs
//! three faults; `tests/nightly.rs` has the others.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use http::Method;
use kube::ResourceExt;
use kube::api::ListParams;
use slipway_api::Phase;
use slipway_lab::fault_proxy::{Fault, FaultProxy, Rule, RuleId};
use slipway_lab::wait::wait_until;

use crate::world::{BOUND, World};

/// Twelve nodes reboot at once, and each waits for an answer that never comes.
const ROUND_BOUND: Duration = Duration::from_mins(3);

const POLICY: &str = r#"
apiVersion: slipway.dev/v1alpha1
kind: RebootPolicy
metadata: {name: everything}
spec:
  nodeSelector: {}
  budget: {maxUnavailable: "100%"}
  failure: {maxRebootsPerNode: 5}
  verify: {nodeReadyFor: 1s}
"#;

/// A pod of its own on every node, so that there is something to evict.
const WEB: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-NODE}
spec:
  replicas: 1
  selector: {matchLabels: {app: web-NODE}}
  template:
    metadata: {labels: {app: web-NODE}}
    spec:
      nodeSelector: {kubernetes.io/hostname: NODE}
      containers: [{name: web, image: 'localhost/web:1'}]
";

const LEASES: &str = "/rebootleases/";
const NODES: &str = "/api/v1/nodes/";

/// A request that a reboot consists of.
#[derive(Clone, Copy, Debug)]
enum Site {
    /// The operator appends the node's slot.
    Append,
    /// The operator turns the first key.
    Grant,
    /// The agent takes the grant.
    Accept,
    /// The agent cordons.
    Cordon,
    /// The agent evicts the node's pod.
    Evict,
    /// The agent says that the node is empty.
    Drained,
    /// The operator turns the second key.
    Clear,
    /// The agent commits.
    Commit,
    /// The agent uncordons.
    Undo,
    /// The agent says that it has rebooted.
    Rebooted,
    /// The operator concludes.
    Conclude,
    /// The agent reads the ledger.
    ReadLedger,
}

const SITES: [Site; 12] = [
    Site::Append,
    Site::Grant,
    Site::Accept,
    Site::Cordon,
    Site::Evict,
    Site::Drained,
    Site::Clear,
    Site::Commit,
    Site::Undo,
    Site::Rebooted,
    Site::Conclude,
    Site::ReadLedger,
];

impl Site {
    /// The first such request for a node meets a fault.
    fn rule(self, node: &str, fault: Fault) -> Rule {
        let lease = |fault| Rule::new(Method::PATCH, LEASES, fault).ending(&format!("/{node}"));
        let enters = |phase: Phase| {
            Rule::new(Method::PATCH, LEASES, fault.clone())
                .ending(&format!("/{node}/status"))
                .body(&format!(r#""phase":"{phase}""#))
        };
        let cordons = |value: &str| {
            Rule::new(Method::PATCH, NODES, fault.clone())
                .ending(&format!("/{node}"))
                .body(&format!(r#""unschedulable":{value}"#))
        };
        match self {
            Self::Append => Rule::new(Method::PUT, "/rebootledgers/cluster/status", fault)
                .body(&format!(r#""node":"{node}""#)),
            Self::Grant => lease(fault).body(r#""grant":{"#),
            Self::Accept => enters(Phase::Draining),
            Self::Cordon => cordons("true"),
            Self::Evict => {
                Rule::new(Method::POST, &format!("/pods/web-{node}-"), fault).ending("/eviction")
            }
            Self::Drained => enters(Phase::Drained),
            Self::Clear => lease(fault).body(r#""clear":{"#),
            Self::Commit => enters(Phase::Rebooting),
            Self::Undo => cordons("null"),
            Self::Rebooted => enters(Phase::Rebooted),
            Self::Conclude => enters(Phase::Completed),
            Self::ReadLedger => Rule::new(Method::GET, "/rebootledgers/", fault).ending("/cluster"),
        }
    }
}

/// A node for each site, with a pod each.
async fn world() -> Result<World> {
    let world = World::start_behind_proxy(SITES.len()).await?;
    for node in world.cluster.node_names() {
        world.apply(&WEB.replace("NODE", &node)).await?;
    }
    world.apply(POLICY).await?;
    Ok(world)
}

/// One fault, met by each site on its own node.
async fn round(world: &World, number: usize, fault: &Fault) -> Result<()> {
    let proxy = world.cluster.proxy()?;
    let nodes = world.cluster.node_names();
    let mut rules = Vec::new();
    for (site, node) in SITES.into_iter().zip(&nodes) {
        wait_for_pod(world, node).await?;
        rules.push((site, proxy.add(site.rule(node, fault.clone()))?));
    }
    for node in &nodes {
        world.cluster.set_sentinel(node)?;
    }
    wait_completed(world, number).await?;
    for node in &nodes {
        assert_proven(world, node, number).await?;
    }
    for (site, rule) in rules {
        ensure!(
            was_met(proxy, rule)?,
            "no request of {site:?} met {fault:?}"
        );
    }
    proxy.clear()
}

fn was_met(proxy: &FaultProxy, rule: RuleId) -> Result<bool> {
    Ok(proxy.hits(rule)? > 0)
}

async fn wait_for_pod(world: &World, node: &str) -> Result<()> {
    wait_until(&format!("the pod of {node}"), BOUND, || async {
        let deployments: kube::Api<k8s_openapi::api::apps::v1::Deployment> =
            kube::Api::namespaced(world.cluster.client(), "default");
        let web = deployments.get(&format!("web-{node}")).await?;
        let ready = web.status.and_then(|status| status.ready_replicas);
        Ok((ready == Some(1)).then_some(()))
    })
    .await
}

/// Waits until every node has rebooted once more: one look at all of them at a time, since twelve
/// that look on their own would be the server's main work.
async fn wait_completed(world: &World, number: usize) -> Result<()> {
    wait_until(
        &format!("reboot {number} of every node"),
        ROUND_BOUND,
        || async {
            let leases = world.leases().list(&ListParams::default()).await?.items;
            let phases: BTreeMap<_, _> = leases
                .iter()
                .map(|lease| (lease.name_any(), lease.phase()))
                .collect();
            for node in world.cluster.node_names() {
                let (boots, phase) = (world.boots_since_start(&node)?, phases.get(&node));
                ensure!(
                    boots >= number && phase == Some(&Phase::Completed),
                    "{node} was booted {boots} times and is {phase:?}"
                );
            }
            Ok(Some(()))
        },
    )
    .await
}

/// The node has rebooted once in each round, with its pod evicted first, and nothing is left behind.
async fn assert_proven(world: &World, node: &str, number: usize) -> Result<()> {
    let boots = world.boots_since_start(node)?;
    ensure!(
        boots == number,
        "{node} was booted {boots} times in {number} rounds\n{}",
        world.cluster.describe(node).await
    );
    // Evicted pods are not counted where the answer to an eviction is what was lost.
    let drain = world.cluster.lease(node).await?.status;
    let pods = drain
        .and_then(|status| status.drain)
        .map_or(0, |it| it.total);
    ensure!(pods > 0, "{node} was rebooted without a drain of its pod");
    world.assert_clean(node).await
}

/// A cluster in which every site meets each of the faults, one round after the other.
pub(crate) async fn rounds(faults: &[Fault]) -> Result<()> {
    let world = world().await?;
    for (number, fault) in (1..).zip(faults) {
        round(&world, number, fault)
            .await
            .map_err(|error| error.context(format!("{fault:?}")))?;
    }
    world.stop().await
}
