//! What a test sees of a simulated cluster.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use slipway_api::{Phase, RebootLease, RebootLedger, names};
use tokio::time::timeout;

use super::cluster::SimulatedCluster;
use super::machine::{Boot, Power};
use crate::wait::wait_until;

const CALL_BOUND: Duration = Duration::from_secs(5);

impl SimulatedCluster {
    /// A node's lease, where it has one.
    pub async fn lease_opt(&self, node: &str) -> Result<Option<RebootLease>> {
        let leases: Api<RebootLease> = Api::all(self.client());
        Ok(timeout(CALL_BOUND, leases.get_opt(node)).await??)
    }

    /// A node's lease.
    pub async fn lease(&self, node: &str) -> Result<RebootLease> {
        self.lease_opt(node)
            .await?
            .with_context(|| format!("{node} has no lease"))
    }

    /// The ledger.
    pub async fn ledger(&self) -> Result<RebootLedger> {
        let ledgers: Api<RebootLedger> = Api::all(self.client());
        Ok(timeout(CALL_BOUND, ledgers.get(names::LEDGER_NAME)).await??)
    }

    /// A Node.
    pub async fn node(&self, node: &str) -> Result<Node> {
        let nodes: Api<Node> = Api::all(self.client());
        Ok(timeout(CALL_BOUND, nodes.get(node)).await??)
    }

    /// Every boot of a machine so far, the first one included.
    pub fn boots(&self, node: &str) -> Result<Vec<Boot>> {
        Ok(self.machine(node)?.boots())
    }

    /// When a reboot was called on a machine, each time.
    pub fn reboot_calls(&self, node: &str) -> Result<Vec<jiff::Timestamp>> {
        self.machine(node)?.host().call_times()
    }

    /// Whether a machine runs.
    pub fn power(&self, node: &str) -> Result<Power> {
        Ok(self.machine(node)?.power())
    }

    /// The last lines that the program of a pod wrote, by the pod's UID.
    pub fn pod_log(&self, uid: &str, lines: usize) -> String {
        let log = self
            .machines()
            .values()
            .find_map(|machine| machine.with_program(uid, |program| program.log().to_owned()));
        let text = log
            .and_then(|path| std::fs::read_to_string(path).ok())
            .unwrap_or_default();
        let skipped = text.lines().count().saturating_sub(lines);
        text.lines().skip(skipped).collect::<Vec<_>>().join("\n")
    }

    /// The UID of the agent pod on a node that is not being deleted.
    pub async fn agent_pod(&self, node: &str) -> Result<String> {
        let pods = self.our_pods(names::COMPONENT_AGENT).await?;
        pods.into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .find(|pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node))
            .and_then(|pod| pod.uid())
            .with_context(|| format!("there is no agent pod on {node}"))
    }

    /// The UIDs of the pods of a component of ours.
    pub async fn program_pods(&self, component: &str) -> Result<Vec<String>> {
        let pods = self.our_pods(component).await?;
        Ok(pods.iter().filter_map(ResourceExt::uid).collect())
    }

    async fn our_pods(&self, component: &str) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client(), names::NAMESPACE);
        let wanted =
            ListParams::default().labels(&format!("{}={component}", names::LABEL_COMPONENT));
        Ok(timeout(CALL_BOUND, pods.list(&wanted)).await??.items)
    }

    /// Waits until a lease satisfies a condition; the message of a failure shows its status.
    pub async fn wait_lease(
        &self,
        node: &str,
        what: &str,
        bound: Duration,
        condition: impl Fn(&RebootLease) -> bool,
    ) -> Result<RebootLease> {
        let waited = wait_until(&format!("{node}: {what}"), bound, || async {
            let lease = self.lease(node).await?;
            Ok(condition(&lease).then_some(lease))
        })
        .await;
        match waited {
            Ok(lease) => Ok(lease),
            Err(error) => Err(error.context(self.describe(node).await)),
        }
    }

    /// Waits until a lease is in a phase.
    pub async fn wait_phase(
        &self,
        node: &str,
        phase: Phase,
        bound: Duration,
    ) -> Result<RebootLease> {
        self.wait_lease(node, phase.as_str(), bound, |lease| lease.phase() == phase)
            .await
    }

    /// Waits until a node is Ready under the present boot of its machine, and the controllers have
    /// noticed: a node with a taint gets no pods yet.
    pub async fn wait_ready(&self, node: &str, bound: Duration) -> Result<Node> {
        wait_until(&format!("{node} to be Ready"), bound, || async {
            let id = self.machine(node)?.host().boot_id()?;
            let object = self.node(node).await?;
            let tainted = object.spec.iter().any(|spec| spec.taints.is_some());
            let cordoned = object
                .spec
                .iter()
                .any(|spec| spec.unschedulable == Some(true));
            Ok((is_ready_as(&object, &id) && (!tainted || cordoned)).then_some(object))
        })
        .await
    }

    /// Waits until every node's agent is Ready.
    pub async fn wait_agents(&self, bound: Duration) -> Result<()> {
        wait_until("agents to be Ready", bound, || async {
            let agents = self.our_pods(names::COMPONENT_AGENT).await?;
            let ready = agents.iter().filter(|pod| is_pod_ready(pod)).count();
            anyhow::ensure!(ready == self.machines().len(), "{ready} agents are Ready");
            Ok(Some(()))
        })
        .await
    }

    /// Waits until every node's agent is Ready, and every replica of the operator.
    pub async fn wait_installed(&self, bound: Duration) -> Result<()> {
        wait_until("agents and operators to be Ready", bound, || async {
            let agents = self.our_pods(names::COMPONENT_AGENT).await?;
            let operators = self.our_pods(names::COMPONENT_OPERATOR).await?;
            let ready = |pods: &[Pod]| pods.iter().filter(|pod| is_pod_ready(pod)).count();
            let counts = (ready(&agents), ready(&operators));
            anyhow::ensure!(
                counts.0 == self.machines().len() && counts.1 == operators.len() && counts.1 > 0,
                "{} agents of {} and {} operators of {} are Ready",
                counts.0,
                self.machines().len(),
                counts.1,
                operators.len(),
            );
            Ok(Some(()))
        })
        .await
    }

    /// A node's lease, Node and agent log in a few lines, for the messages of failures.
    pub async fn describe(&self, node: &str) -> String {
        let lease = match self.lease(node).await {
            Ok(lease) => serde_json::to_string(&(lease.spec, lease.status)).unwrap_or_default(),
            Err(error) => format!("{error:#}"),
        };
        let log = match self.agent_pod(node).await {
            Ok(uid) => self.pod_log(&uid, 8),
            Err(error) => format!("{error:#}"),
        };
        format!("{node}: lease {lease}\nits agent's log ends:\n{log}")
    }
}

/// Whether a Node is Ready and says that boot ID.
fn is_ready_as(node: &Node, boot_id: &str) -> bool {
    let Some(status) = &node.status else {
        return false;
    };
    let ready = status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready
        && status
            .node_info
            .as_ref()
            .is_some_and(|info| info.boot_id == boot_id)
}

/// Whether a pod is Ready and stays.
pub(crate) fn is_pod_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| &status.conditions);
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
