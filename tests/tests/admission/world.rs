//! The cluster that the matrix is asked about: the chart installed, a node with its agent's pod for
//! each phase of a lease, and a client for everybody.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use slipway_api::{Phase, RebootLease, RebootLedger, names};
use slipway_lab::chart;
use slipway_lab::control_plane::apply::apply_yaml;
use slipway_lab::control_plane::{ControlPlane, ControlPlaneOptions};
use slipway_lab::wait::wait_until;

use super::cells::{Cell, Who};

/// The annotation of others that every node has from the operator, and the record of it.
const KARPENTER: &str = names::ANNOTATION_DO_NOT_DISRUPT;
const RECORD: &str = names::ANNOTATION_PROTECTIONS;
/// Cells that are asked at once.
const AT_ONCE: usize = 8;
/// The fence of every grant in this world.
pub(crate) const FENCE: i64 = 5;
/// How long a policy may take until it is in force.
const IN_FORCE: Duration = Duration::from_secs(20);
/// How long the garbage collector may take: it looks for new kinds every half minute.
const COLLECTED: Duration = Duration::from_secs(75);

/// Nodes beside those named after phases: two with a pod each, and leases with a twist.
const OTHERS: [(&str, Phase); 5] = [
    ("n1", Phase::Completed),
    ("n2", Phase::Completed),
    // The grant was revoked before it was accepted.
    ("revoked", Phase::Pending),
    // Drained, without the second key.
    ("unclear", Phase::Drained),
    // Drained and cleared, but called off.
    ("called-off", Phase::Drained),
];

const PEOPLE: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: editor}
rules:
  - apiGroups: [slipway.dev]
    resources: ["*"]
    verbs: [get, list, watch, create, update, patch, delete, deletecollection]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: editor}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: editor}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: eve}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: rebooters}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: slipway-reboot-operator}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: rob}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: admins}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ada}]
"#;

pub(crate) struct World {
    pub(crate) control_plane: ControlPlane,
    pub(crate) admin: Client,
    clients: BTreeMap<Who, Client>,
}

/// The node that is named after a phase.
pub(crate) fn node_in(phase: Phase) -> String {
    phase.as_str().to_lowercase()
}

pub(crate) fn agent(node: &str) -> Who {
    Who::Agent(node.to_owned())
}

impl World {
    /// The world as a present Kubernetes has it.
    pub(crate) async fn make() -> Result<Self> {
        Self::make_with(&BTreeMap::new(), &json!({})).await
    }

    /// The world with feature gates set, and the chart with these values.
    pub(crate) async fn make_with(gates: &BTreeMap<String, bool>, values: &Value) -> Result<Self> {
        let control_plane = ControlPlane::start(ControlPlaneOptions {
            scheduler: false,
            feature_gates: gates.clone(),
            ..Default::default()
        })
        .await?;
        let admin = control_plane.admin_client()?;
        apply_yaml(&admin, &chart::install_yaml_with(values)?).await?;
        apply_yaml(&admin, PEOPLE).await?;
        let mut world = Self {
            control_plane,
            admin,
            clients: BTreeMap::new(),
        };
        let mut nodes: Vec<(String, Phase)> = Phase::ALL
            .into_iter()
            .map(|phase| (node_in(phase), phase))
            .collect();
        nodes.extend(OTHERS.map(|(name, phase)| (name.to_owned(), phase)));
        let mut slots = Vec::new();
        for (node, phase) in &nodes {
            let uid = world.make_node(node).await?;
            let lease = world.make_lease(node, &uid, *phase).await?;
            if ["granted", "draining"].contains(&node.as_str()) {
                slots.push(json!({ "node": node, "nodeUID": uid, "leaseUID": lease,
                    "policyUID": "p", "fence": FENCE }));
            }
        }
        world.make_ledger(&json!(slots)).await?;
        world.meet_everybody().await?;
        Ok(world)
    }

    async fn make_node(&mut self, name: &str) -> Result<String> {
        let nodes: Api<Node> = Api::all(self.admin.clone());
        let mut node = json!({ "metadata": {
            "name": name, "labels": { "pool": "a", "state": "rebooting" },
            "annotations": {
                "example.com/kept": "1", "slipway.dev/labels": "state=rebooting",
                KARPENTER: "true",
                RECORD: format!("{KARPENTER}=true"),
            },
        }});
        if name == "n2" {
            let annotations = &mut node["metadata"]["annotations"];
            annotations[names::ANNOTATION_SCALE_DOWN_DISABLED] = json!("true");
        }
        let node = serde_json::from_value(node)?;
        let node = nodes.create(&PostParams::default(), &node).await?;
        let status = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
        nodes
            .patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
            .await?;
        self.make_pod("default", &format!("pod-{name}"), "default", name)
            .await?;
        let token = self
            .pod_token(&format!("agent-{name}"), "slipway-agent", name)
            .await?;
        let client = self.control_plane.client_with_token(&token).await?;
        self.clients.insert(agent(name), client);
        node.uid().context("a node without a UID")
    }

    async fn make_pod(
        &self,
        namespace: &str,
        name: &str,
        account: &str,
        node: &str,
    ) -> Result<String> {
        let pods: Api<Pod> = Api::namespaced(self.admin.clone(), namespace);
        let pod = serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": {
                "nodeName": node, "serviceAccountName": account,
                "containers": [{ "name": "c", "image": "localhost/none:1" }],
            },
        }))?;
        let pod = pods.create(&PostParams::default(), &pod).await?;
        pod.uid().context("a pod without a UID")
    }

    async fn pod_token(&self, pod: &str, account: &str, node: &str) -> Result<String> {
        let uid = self.make_pod(chart::NAMESPACE, pod, account, node).await?;
        self.control_plane
            .pod_token(chart::NAMESPACE, account, pod, &uid)
            .await
    }

    /// A lease as the protocol leaves it in a phase; returns its UID.
    async fn make_lease(&self, node: &str, node_uid: &str, phase: Phase) -> Result<String> {
        let leases: Api<RebootLease> = Api::all(self.admin.clone());
        let mut spec = json!({
            "nodeUID": node_uid, "requestedAt": "2026-03-01T00:00:00Z",
            "grant": {
                "fence": FENCE, "grantedAt": "2026-03-01T00:00:00Z", "notAfter": "2026-03-01T02:00:00Z",
                "drain": {}, "reboot": {}, "verify": {},
            },
        });
        let cleared = phase == Phase::Drained || phase.is_committed();
        if cleared && node != "unclear" {
            spec["clear"] = json!({ "fence": FENCE, "at": "2026-03-01T00:10:00Z" });
        }
        if phase.is_accepted() && node != "unclear" {
            spec["release"] = json!({ "fence": FENCE, "by": "ada", "reason": "it is dead" });
        }
        if ["revoked", "called-off"].contains(&node) {
            spec["revoke"] = json!({ "fence": FENCE, "reason": "WindowClosed" });
        }
        let lease = serde_json::from_value(json!({
            "metadata": { "name": node, "ownerReferences": [{
                "apiVersion": "v1", "kind": "Node", "name": node, "uid": node_uid,
            }]},
            "spec": spec,
        }))?;
        let lease = leases.create(&PostParams::default(), &lease).await?;
        let mut status = json!({ "phase": phase, "fence": 0 });
        if !matches!(phase, Phase::Pending | Phase::Granted) {
            status["fence"] = json!(FENCE);
            status["bootIDBefore"] = json!("before");
        }
        if phase == Phase::Rebooted {
            status["bootIDAfter"] = json!("after");
        }
        leases
            .patch_status(
                node,
                &PatchParams::default(),
                &Patch::Merge(json!({ "status": status })),
            )
            .await?;
        lease.uid().context("a lease without a UID")
    }

    async fn make_ledger(&self, slots: &Value) -> Result<()> {
        let ledgers: Api<RebootLedger> = Api::all(self.admin.clone());
        let ledger =
            serde_json::from_value(json!({ "metadata": { "name": "cluster" }, "spec": {} }))?;
        ledgers.create(&PostParams::default(), &ledger).await?;
        let status = json!({ "status": { "nextFence": FENCE + 1, "slots": slots } });
        ledgers
            .patch_status("cluster", &PatchParams::default(), &Patch::Merge(&status))
            .await?;
        Ok(())
    }

    async fn meet_everybody(&mut self) -> Result<()> {
        let token = self.pod_token("operator", "slipway-operator", "n1").await?;
        let operator = self.control_plane.client_with_token(&token).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin.clone(), chart::NAMESPACE);
        let request = TokenRequest::default();
        let answer = accounts
            .create_token_request("slipway-agent", &PostParams::default(), &request)
            .await?;
        let token = answer.status.context("no token")?.token;
        let unbound = self.control_plane.client_with_token(&token).await?;
        let people = &self.control_plane;
        let collector = "system:serviceaccount:kube-system:generic-garbage-collector";
        let known = [
            (Who::Operator, operator),
            (Who::Unbound, unbound),
            (Who::Editor, people.client_for("eve", &[]).await?),
            (Who::Admin, people.client_for("ada", &[]).await?),
            (Who::Rebooter, people.client_for("rob", &[]).await?),
            (
                Who::Kubelet("n1".into()),
                people
                    .client_for("system:node:n1", &["system:nodes"])
                    .await?,
            ),
            (
                Who::GarbageCollector,
                people.client_for(collector, &[]).await?,
            ),
        ];
        self.clients.extend(known);
        Ok(())
    }

    /// What is wrong with the answer to a cell.
    pub(crate) async fn ask(&self, cell: &Cell) -> Result<Option<String>> {
        let client = self.clients.get(&cell.who).context("nobody by that name")?;
        cell.ask(client).await
    }

    /// What is wrong with the answers to these cells.
    pub(crate) async fn ask_all(&self, cells: &[Cell]) -> Result<Vec<String>> {
        let asked = cells.iter().map(|cell| self.ask(cell));
        let answers: Vec<Option<String>> = futures::stream::iter(asked)
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// Waits until every cell is answered as it has to be: policies take effect after a moment.
    pub(crate) async fn wait_right(&self, cells: &[Cell]) -> Result<()> {
        wait_until("the policies to be in force", IN_FORCE, || async {
            let wrong = self.ask_all(cells).await?;
            ensure!(wrong.is_empty(), "\n{}", wrong.join("\n"));
            Ok(Some(()))
        })
        .await
    }

    /// Waits until a cell is answered otherwise than it has to be, and returns that cell.
    pub(crate) async fn wait_wrong(&self, cells: &[Cell]) -> Result<Cell> {
        wait_until("a cell to be answered otherwise", IN_FORCE, || async {
            for cell in cells {
                if self.ask(cell).await?.is_some() {
                    return Ok(Some(cell.clone()));
                }
            }
            Ok(None)
        })
        .await
    }

    /// Waits until these cells are answered as they have to be, again. A policy is obeyed as a whole:
    /// the cell that showed that it was not shows that it is.
    pub(crate) async fn wait_restored(&self, cells: &[Cell]) -> Result<()> {
        wait_until("the policies to be in force again", IN_FORCE, || async {
            for cell in cells {
                if let Some(wrong) = self.ask(cell).await? {
                    bail!("{wrong}");
                }
            }
            Ok(Some(()))
        })
        .await
    }

    /// The controller manager checks every expression against the types that it is asked about.
    pub(crate) async fn policies_fit_the_types(&self) -> Result<()> {
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.admin.clone());
        wait_until("every policy to be type-checked", IN_FORCE, || async {
            for policy in policies.list(&ListParams::default()).await?.items {
                let name = policy.name_any();
                let Some(checked) = policy.status.and_then(|status| status.type_checking) else {
                    return Ok(None);
                };
                let warnings = checked.expression_warnings.unwrap_or_default();
                ensure!(warnings.is_empty(), "{name}: {warnings:?}");
            }
            Ok(Some(()))
        })
        .await
    }

    /// The garbage collector itself is not stopped by our policies.
    pub(crate) async fn a_lease_goes_with_its_node(&self) -> Result<()> {
        let node = node_in(Phase::Rebooting);
        let nodes: Api<Node> = Api::all(self.admin.clone());
        nodes.delete(&node, &DeleteParams::default()).await?;
        let leases: Api<RebootLease> = Api::all(self.admin.clone());
        wait_until("the lease of a deleted node to go", COLLECTED, || async {
            Ok(leases.get_opt(&node).await?.is_none().then_some(()))
        })
        .await
    }

    /// Reboots are under way and the ledger has slots: neither they nor our policies make it hang.
    pub(crate) async fn the_crds_can_be_deleted(&self) -> Result<()> {
        let definitions: Api<CustomResourceDefinition> = Api::all(self.admin.clone());
        let ours = ListParams::default().labels("app.kubernetes.io/name=slipway");
        definitions
            .delete_collection(&DeleteParams::default(), &ours)
            .await?;
        wait_until("the CRDs to go", COLLECTED, || async {
            let left = definitions.list(&ours).await?.items;
            Ok(left.is_empty().then_some(()))
        })
        .await
    }
}
