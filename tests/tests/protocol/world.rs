//! A cluster with Slipway on it, ways to hold a reboot in each phase, and what must hold at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use slipway_api::{Phase, RebootLease, RebootLedger, RebootPolicy, names};
use slipway_lab::control_plane::apply::apply_yaml;
use slipway_lab::simulated::{RebootBehaviour, SimulatedCluster, SimulatedOptions};
use slipway_lab::wait::wait_until;

/// How long anything that is not held up may take on two busy cores.
pub(crate) const BOUND: Duration = Duration::from_secs(90);
/// How long an edit of a policy may take to act.
pub(crate) const EDIT_BOUND: Duration = Duration::from_secs(2);

/// The phases that a reboot passes through, and is disturbed in.
pub(crate) const PHASES: [Phase; 6] = [
    Phase::Pending,
    Phase::Granted,
    Phase::Draining,
    Phase::Drained,
    Phase::Rebooting,
    Phase::Rebooted,
];

/// Every node, one at a time, quickly verified.
pub(crate) const POLICY: &str = "
apiVersion: slipway.dev/v1alpha1
kind: RebootPolicy
metadata: {name: everything}
spec:
  nodeSelector: {}
  verify: {nodeReadyFor: 1s}
  # Tests hold drains by pods that cannot leave; such a node would not even be cordoned.
  drain: {preflight: false}
";

/// A pod of a node that may not be evicted; `NODE` stands for the node's name.
const PINNED: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: pinned}
spec:
  replicas: 1
  selector: {matchLabels: {app: pinned}}
  template:
    metadata: {labels: {app: pinned}}
    spec:
      nodeSelector: {kubernetes.io/hostname: NODE}
      containers: [{name: web, image: 'localhost/web:1'}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: pinned}
spec: {maxUnavailable: 0, selector: {matchLabels: {app: pinned}}}
";

/// A cluster, and what its nodes were before the test.
pub(crate) struct World {
    pub(crate) cluster: SimulatedCluster,
    before: BTreeMap<String, usize>,
}

impl World {
    /// Starts nodes with Slipway, and waits until agents and operators are Ready.
    pub(crate) async fn start(nodes: usize) -> Result<Self> {
        Self::start_with(SimulatedOptions::with_nodes(nodes)).await
    }

    /// The same, with agents and operators behind a proxy that makes faults.
    pub(crate) async fn start_behind_proxy(nodes: usize) -> Result<Self> {
        Self::start_with(SimulatedOptions {
            behind_proxy: true,
            ..SimulatedOptions::with_nodes(nodes)
        })
        .await
    }

    /// The same, as the options say.
    pub(crate) async fn start_with(options: SimulatedOptions) -> Result<Self> {
        let cluster = SimulatedCluster::start(options).await?;
        cluster.wait_installed(BOUND).await?;
        let mut before = BTreeMap::new();
        for node in cluster.node_names() {
            before.insert(node.clone(), cluster.boots(&node)?.len());
        }
        Ok(Self { cluster, before })
    }

    pub(crate) async fn apply(&self, yaml: &str) -> Result<()> {
        apply_yaml(&self.cluster.client(), yaml).await?;
        Ok(())
    }

    pub(crate) fn policies(&self) -> Api<RebootPolicy> {
        Api::all(self.cluster.client())
    }

    pub(crate) fn leases(&self) -> Api<RebootLease> {
        Api::all(self.cluster.client())
    }

    pub(crate) fn nodes(&self) -> Api<Node> {
        Api::all(self.cluster.client())
    }

    /// A merge patch of the policy's spec.
    pub(crate) async fn edit_policy(&self, spec: serde_json::Value) -> Result<()> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.policies()
            .patch("everything", &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// The brake for everything.
    pub(crate) async fn pause_all(&self, paused: bool) -> Result<()> {
        let ledgers: Api<RebootLedger> = Api::all(self.cluster.client());
        let patch = Patch::Merge(json!({ "spec": { "paused": paused } }));
        ledgers
            .patch(names::LEDGER_NAME, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// What `kubectl cordon` and `kubectl uncordon` do.
    pub(crate) async fn cordon_by_hand(&self, node: &str, cordoned: bool) -> Result<()> {
        let patch = Patch::Strategic(json!({ "spec": { "unschedulable": cordoned } }));
        let params = PatchParams {
            field_manager: Some("kubectl-cordon".into()),
            ..PatchParams::default()
        };
        self.nodes().patch(node, &params, &patch).await?;
        Ok(())
    }

    /// Makes a node stay in a phase once it gets there, until [`World::release`].
    pub(crate) async fn hold_in(&self, node: &str, phase: Phase) -> Result<()> {
        match phase {
            Phase::Draining => {
                self.apply(&PINNED.replace("NODE", node)).await?;
                wait_until("the pinned pod", BOUND, || async {
                    let pods: Api<k8s_openapi::api::core::v1::Pod> =
                        Api::namespaced(self.cluster.client(), "default");
                    let list = pods
                        .list(&kube::api::ListParams::default().labels("app=pinned"))
                        .await?;
                    let here = list.items.iter().any(|pod| {
                        pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node)
                    });
                    Ok(here.then_some(()))
                })
                .await?;
            }
            Phase::Rebooting => {
                self.cluster
                    .set_reboot_behaviour(node, RebootBehaviour::Delays(8000))?;
            }
            Phase::Rebooted => {
                self.edit_policy(json!({"verify": {"nodeReadyFor": "6s"}}))
                    .await?;
            }
            Phase::Pending => self.edit_policy(json!({"paused": true})).await?,
            Phase::Granted | Phase::Drained | Phase::Completed | Phase::Aborted | Phase::Failed => {
            }
        }
        Ok(())
    }

    /// Ends a hold.
    pub(crate) async fn release(&self, phase: Phase) -> Result<()> {
        match phase {
            Phase::Draining => {
                let budgets: Api<k8s_openapi::api::policy::v1::PodDisruptionBudget> =
                    Api::namespaced(self.cluster.client(), "default");
                budgets
                    .delete("pinned", &kube::api::DeleteParams::default())
                    .await?;
            }
            Phase::Pending => self.edit_policy(json!({"paused": false})).await?,
            Phase::Granted
            | Phase::Drained
            | Phase::Rebooting
            | Phase::Rebooted
            | Phase::Completed
            | Phase::Aborted
            | Phase::Failed => {}
        }
        Ok(())
    }

    /// Waits until a node's reboot has come at least as far as a phase.
    pub(crate) async fn wait_reached(&self, node: &str, phase: Phase) -> Result<RebootLease> {
        let rank = |phase: Phase| Phase::ALL.iter().position(|other| *other == phase);
        self.cluster
            .wait_lease(node, &format!("reached {phase}"), BOUND, |lease| {
                rank(lease.phase()) >= rank(phase)
            })
            .await
    }

    /// A node that was undisturbed at the end: rebooted once, proved, uncordoned, slot given back.
    pub(crate) async fn assert_rebooted_once(&self, node: &str) -> Result<RebootLease> {
        let lease = self
            .cluster
            .wait_phase(node, Phase::Completed, BOUND)
            .await?;
        let boots = self.boots_since_start(node)?;
        ensure!(
            boots == 1,
            "{node} was booted {boots} times\n{}",
            self.cluster.describe(node).await
        );
        self.assert_clean(node).await?;
        Ok(lease)
    }

    pub(crate) fn boots_since_start(&self, node: &str) -> Result<usize> {
        let before = self.before.get(node).context("no such node")?;
        Ok(self.cluster.boots(node)?.len() - before)
    }

    /// Nothing of ours is left on a node, and it holds no slot.
    pub(crate) async fn assert_clean(&self, node: &str) -> Result<()> {
        wait_until(&format!("{node} to be clean"), BOUND, || async {
            let object = self.cluster.node(node).await?;
            ensure!(!is_cordoned(&object), "{node} is cordoned");
            ensure!(!is_ours(&object), "{node} carries our annotation");
            ensure!(!self.holds_slot(node).await?, "{node} holds a slot");
            Ok(Some(()))
        })
        .await
    }

    pub(crate) async fn holds_slot(&self, node: &str) -> Result<bool> {
        let ledger = self.cluster.ledger().await?;
        Ok(ledger
            .status
            .iter()
            .flat_map(|status| &status.slots)
            .any(|slot| slot.node == node))
    }

    /// The lease's own word for why it is where it is.
    pub(crate) async fn reason(&self, node: &str) -> Result<String> {
        Ok(self
            .cluster
            .lease(node)
            .await?
            .status
            .map(|status| status.reason)
            .unwrap_or_default())
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.cluster.stop().await
    }
}

pub(crate) fn is_cordoned(node: &Node) -> bool {
    node.spec
        .as_ref()
        .and_then(|spec| spec.unschedulable)
        .unwrap_or_default()
}

pub(crate) fn is_ours(node: &Node) -> bool {
    node.annotations().contains_key(names::ANNOTATION_CORDONED)
}

/// When the present reboot entered a phase.
pub(crate) fn entered(lease: &RebootLease, phase: Phase) -> Result<jiff::Timestamp> {
    let transitions = lease.status.iter().flat_map(|status| &status.transitions);
    let mut transitions = transitions.filter(|entry| entry.phase == phase);
    let found = transitions
        .next_back()
        .context("it never was in that phase")?;
    Ok(found.at.0)
}
