//! The operator and the agents prove that admission is in force (F80): with a policy or a binding
//! taken away or changed nothing is granted, and it is said which; put back, it
//! goes on, with no restart.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use slipway_api::{Phase, RebootLease, RebootPolicy, names};
use slipway_lab::chart;
use slipway_lab::control_plane::apply::apply_yaml;
use slipway_lab::simulated::{SimulatedCluster, SimulatedOptions};
use slipway_lab::wait::wait_until;

const BOUND: Duration = Duration::from_secs(90);
const PAUSED: &str = "
apiVersion: slipway.dev/v1alpha1
kind: RebootPolicy
metadata: {name: everything}
spec: {nodeSelector: {}, paused: true, verify: {nodeReadyFor: 1s}}
";

/// What is done to a policy of the chart.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// Its binding is deleted.
    Unbound,
    /// It is deleted itself.
    Deleted,
    /// Every expression holds always: what can be read looks as it should.
    Hollow,
}

/// What is done at once, to four policies at a time: a lease names eight things that it waits for.
const HARMS: [(Harm, [&str; 4]); 5] = [
    (Harm::Unbound, OF_THE_OPERATOR),
    (Harm::Unbound, OF_OTHERS),
    (Harm::Deleted, OF_THE_OPERATOR),
    (Harm::Deleted, OF_OTHERS),
    (Harm::Hollow, OF_THE_OPERATOR),
];
/// These bind the operator, which makes them refuse.
const OF_THE_OPERATOR: [&str; 4] = [
    "slipway-lease-spec",
    "slipway-lease-status",
    "slipway-ledger",
    "slipway-operator-node",
];
/// These it can only read.
const OF_OTHERS: [&str; 4] = [
    "slipway-agent-lease-status",
    "slipway-agent-node",
    "slipway-lease-delete",
    "slipway-lease-delete-slot",
];

struct Scene {
    cluster: SimulatedCluster,
    policies: Api<ValidatingAdmissionPolicy>,
    bindings: Api<ValidatingAdmissionPolicyBinding>,
    shipped: Vec<Value>,
}

impl Scene {
    async fn start() -> Result<Self> {
        let cluster = SimulatedCluster::start(SimulatedOptions::with_nodes(1)).await?;
        cluster.wait_installed(BOUND).await?;
        let client = cluster.client();
        apply_yaml(&client, PAUSED).await?;
        let documents = chart::documents(&chart::install_yaml()?)?;
        let shipped = documents.into_iter().filter(|document| {
            document["kind"]
                .as_str()
                .is_some_and(|kind| kind.starts_with("ValidatingAdmissionPolicy"))
        });
        Ok(Self {
            policies: Api::all(client.clone()),
            bindings: Api::all(client),
            shipped: shipped.collect(),
            cluster,
        })
    }

    async fn harm(&self, name: &str, harm: Harm) -> Result<()> {
        let expressions = |list: Option<Value>, value: &str| {
            let mut list = list.unwrap_or_else(|| json!([]));
            for entry in list.as_array_mut().into_iter().flatten() {
                entry["expression"] = json!(value);
            }
            list
        };
        let spec = match harm {
            Harm::Unbound => {
                self.bindings.delete(name, &DeleteParams::default()).await?;
                return Ok(());
            }
            Harm::Deleted => {
                self.policies.delete(name, &DeleteParams::default()).await?;
                return Ok(());
            }
            Harm::Hollow => {
                let policy = serde_json::to_value(self.policies.get(name).await?)?;
                let validations = policy.pointer("/spec/validations").cloned();
                json!({ "validations": expressions(validations, "true") })
            }
        };
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.policies
            .patch(name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    async fn mend(&self, name: &str) -> Result<()> {
        // Anew, for a merge with what was changed would keep some of it.
        drop(self.policies.delete(name, &DeleteParams::default()).await);
        let ours = self.shipped.iter();
        for document in ours.filter(|document| document["metadata"]["name"] == name) {
            apply_yaml(&self.cluster.client(), &document.to_string()).await?;
        }
        Ok(())
    }

    async fn pause(&self, paused: bool) -> Result<()> {
        let policies: Api<RebootPolicy> = Api::all(self.cluster.client());
        let patch = Patch::Merge(json!({ "spec": { "paused": paused } }));
        let params = PatchParams::default();
        policies.patch("everything", &params, &patch).await?;
        Ok(())
    }

    /// Waits until the lease says that these policies are what it waits for.
    async fn wait_named(&self, policies: &[&str]) -> Result<RebootLease> {
        let what = format!("to wait for {policies:?}");
        let named = |lease: &RebootLease| {
            let waits = { lease.status.iter() }.flat_map(|status| &status.waiting_for);
            let waits = waits.filter(|wait| wait.kind == "AdmissionNotProved");
            let objects: BTreeSet<&str> = waits.map(|wait| wait.object.as_str()).collect();
            policies.iter().all(|policy| objects.contains(policy))
        };
        self.cluster.wait_lease("n1", &what, BOUND, named).await
    }

    /// Waits until the API server lets through what a policy forbids whom it binds.
    async fn wait_hollow(&self, policy: &str) -> Result<()> {
        let of_operator = OF_THE_OPERATOR.contains(&policy);
        let (account, uid) = if of_operator {
            let pods = self.cluster.program_pods(names::COMPONENT_OPERATOR).await?;
            let uid = pods.into_iter().next().context("no operator")?;
            (names::SERVICE_ACCOUNT_OPERATOR, uid)
        } else {
            let uid = self.cluster.agent_pod("n1").await?;
            (names::SERVICE_ACCOUNT_AGENT, uid)
        };
        let pods: Api<Pod> = Api::namespaced(self.cluster.client(), names::NAMESPACE);
        let all = pods.list(&ListParams::default()).await?.items;
        let pod = { all.iter() }.find(|pod| pod.uid().as_deref() == Some(&uid));
        let name = pod.context("no such pod")?.name_any();
        let servers = self.cluster.control_plane();
        let token = { servers.pod_token(names::NAMESPACE, account, &name, &uid) }.await?;
        let client = servers.client_with_token(&token).await?;
        let (nodes, leases) = (
            Api::<Node>::all(client.clone()),
            Api::<RebootLease>::all(client),
        );
        let params = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        wait_until(&format!("{policy} to refuse nothing"), BOUND, || async {
            if policy.ends_with("-node") {
                let body = json!({ "metadata": { "labels": { "x": "y" } } });
                nodes.patch("n1", &params, &Patch::Merge(&body)).await?;
            } else {
                let phase = self.cluster.lease("n1").await?.phase();
                let to = if phase == Phase::Pending {
                    "Granted"
                } else {
                    "Pending"
                };
                let body = json!({ "status": { "phase": to } });
                let body = Patch::Merge(&body);
                leases.patch_status("n1", &params, &body).await?;
            }
            Ok(Some(()))
        })
        .await
    }

    async fn wait_waiting_for_nothing_but_the_pause(&self) -> Result<RebootLease> {
        let clear = |lease: &RebootLease| {
            let waits = { lease.status.iter() }.flat_map(|status| &status.waiting_for);
            let kinds: Vec<&str> = waits.map(|wait| wait.kind.as_str()).collect();
            kinds == ["PolicyPaused"]
        };
        let what = "to wait for the policy alone";
        self.cluster.wait_lease("n1", what, BOUND, clear).await
    }
}

/// The policies are looked at every ten minutes; whoever leads anew looks at once.
async fn another_leader(scene: &Scene) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(scene.cluster.client(), names::NAMESPACE);
    let operators = format!("{}={}", names::LABEL_COMPONENT, names::COMPONENT_OPERATOR);
    let ours = ListParams::default().labels(&operators);
    pods.delete_collection(&DeleteParams::default(), &ours)
        .await?;
    Ok(())
}

#[tokio::test]
async fn f80_without_any_one_policy_nothing_is_granted_and_with_it_again_it_goes_on() -> Result<()>
{
    let scene = Scene::start().await?;
    scene.cluster.set_sentinel("n1")?;
    scene.wait_waiting_for_nothing_but_the_pause().await?;
    for (harm, policies) in HARMS {
        for policy in policies {
            scene.harm(policy, harm).await?;
        }
        if matches!(harm, Harm::Hollow) {
            // The last of them: the API server takes changes over in their order.
            scene.wait_hollow("slipway-operator-node").await?;
        }
        another_leader(&scene).await?;
        let named = scene.wait_named(&policies).await;
        named.with_context(|| format!("{policies:?} {harm:?}"))?;
        for policy in policies {
            scene.mend(policy).await?;
        }
        let clear = scene.wait_waiting_for_nothing_but_the_pause().await;
        clear.with_context(|| format!("{policies:?} {harm:?}, mended"))?;
    }
    scene.pause(false).await?;
    let granted = scene.cluster.wait_phase("n1", Phase::Completed, BOUND);
    granted.await?;
    scene.cluster.stop().await
}

#[tokio::test]
async fn f80_a_policy_that_went_a_moment_ago_stops_the_next_grant() -> Result<()> {
    let scene = Scene::start().await?;
    scene.cluster.set_sentinel("n1")?;
    scene.wait_waiting_for_nothing_but_the_pause().await?;
    // A grant may rest on a proof of two seconds ago: their length is time and no condition. Nobody
    // looks for ten minutes then, but for whoever grants.
    tokio::time::sleep(Duration::from_secs(3)).await;
    scene.harm("slipway-ledger", Harm::Unbound).await?;
    scene.pause(false).await?;
    let lease = scene.wait_named(&["slipway-ledger"]).await?;
    ensure!(lease.spec.grant.is_none(), "{:?}", lease.spec);
    // The condition says the same.
    let policies: Api<RebootPolicy> = Api::all(scene.cluster.client());
    wait_until("the policy to say so", BOUND, || async {
        let status = policies.get("everything").await?.status;
        let mut conditions = { status.iter() }.flat_map(|status| &status.conditions);
        let degraded = conditions.find(|condition| condition.type_ == "Degraded");
        let reason = degraded.map(|condition| condition.reason.as_str());
        Ok((reason == Some("AdmissionNotProved")).then_some(()))
    })
    .await?;
    let status = scene.cluster.ledger().await?.status;
    ensure!(status.is_some_and(|status| status.slots.is_empty()));
    scene.mend("slipway-ledger").await?;
    let completed = scene.cluster.wait_phase("n1", Phase::Completed, BOUND);
    completed.await?;
    scene.cluster.stop().await
}

#[tokio::test]
async fn f80_an_agent_whose_policies_do_not_bind_accepts_nothing() -> Result<()> {
    let scene = Scene::start().await?;
    // What is written in the policies looks right: only the agent itself can tell.
    for policy in ["slipway-agent-node", "slipway-agent-lease-status"] {
        scene.pause(true).await?;
        scene.cluster.set_sentinel("n1")?;
        let before = scene.wait_waiting_for_nothing_but_the_pause().await?;
        scene.harm(policy, Harm::Hollow).await?;
        scene.wait_hollow(policy).await?;
        scene.pause(false).await?;
        let pod = scene.cluster.agent_pod("n1").await?;
        let words = format!("admission policy {policy} is not in force");
        wait_until("the agent to say so", BOUND, || async {
            let log = scene.cluster.pod_log(&pod, 200);
            Ok(log.contains(&words).then_some(()))
        })
        .await?;
        let lease = scene.cluster.lease("n1").await?;
        ensure!(!lease.phase().is_accepted(), "{policy}: {:?}", lease.status);
        let node = scene.cluster.node("n1").await?;
        let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable);
        ensure!(cordoned != Some(true), "{policy}: {}", node.name_any());
        scene.mend(policy).await?;
        let what = "to be rebooted after all";
        let rebooted = |lease: &RebootLease| {
            lease.phase() == Phase::Completed && lease.accepted_fence() > before.accepted_fence()
        };
        let done = scene.cluster.wait_lease("n1", what, BOUND, rebooted);
        done.await?;
    }
    scene.cluster.stop().await
}
