//! The bench of the drain scenarios: a real API server, the real agent, and a test that plays the
//! operator and the kubelet of a node that exists on paper.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use slipway_api::{Phase, RebootLease, RebootLedger, names, schema};
use slipway_lab::control_plane::{ControlPlane, ControlPlaneOptions};
use slipway_lab::wait::wait_until;
use slipway_node_agent::AgentConfig;
use slipway_node_agent::checks::installed::InstalledChecks;
use slipway_node_agent::config::{EvictionIdentity, KernelPlaces};
use tokio::sync::Mutex;

use crate::paper::Paper;

/// How long anything may take that nothing holds up, with two dozen agents on two busy cores.
pub(crate) const BOUND: Duration = Duration::from_mins(4);
/// The fence of every grant.
const FENCE: i64 = 1;

/// A scenario: its name, and what happens.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) play: Play,
}

type Play = for<'a> fn(&'a Stage) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// The servers, shared by all scenarios.
pub(crate) struct Bench {
    control_plane: ControlPlane,
    client: Client,
    slots: Arc<Mutex<Vec<Value>>>,
}

/// One scenario's node and namespace, both of that name.
pub(crate) struct Stage {
    pub(crate) client: Client,
    pub(crate) name: String,
    slots: Arc<Mutex<Vec<Value>>>,
    reboots: Arc<AtomicUsize>,
}

impl Bench {
    pub(crate) async fn start() -> Result<Self> {
        let control_plane = ControlPlane::start(ControlPlaneOptions {
            scheduler: false,
            // Scenarios make pods of a DaemonSet themselves; its controller would take them away.
            controller_manager_flags: vec!["--controllers=*,-daemonset-controller".to_owned()],
            ..ControlPlaneOptions::default()
        })
        .await?;
        let client = control_plane.admin_client()?;
        let bench = Self {
            control_plane,
            client,
            slots: Arc::default(),
        };
        for (_, text) in schema::documents() {
            slipway_lab::control_plane::apply::apply_yaml(&bench.client, &text).await?;
        }
        let ledgers: Api<RebootLedger> = Api::all(bench.client.clone());
        let ledger = json!({"metadata": {"name": names::LEDGER_NAME}, "spec": {}});
        let ledger: RebootLedger = serde_json::from_value(with_kind(ledger, "RebootLedger"))?;
        wait_until("the ledger to be taken", BOUND, || async {
            Ok(Some(ledgers.create(&PostParams::default(), &ledger).await?))
        })
        .await?;
        Ok(bench)
    }

    /// Plays a scenario with an agent of its own.
    pub(crate) async fn run(
        &self,
        number: usize,
        scenario: Scenario,
    ) -> (&'static str, Result<()>) {
        let name = scenario.name;
        (name, self.play(&format!("s{number}"), scenario.play).await)
    }

    async fn play(&self, name: &str, play: Play) -> Result<()> {
        let directory = tempfile::tempdir()?;
        let sentinel = directory.path().join("reboot-required");
        std::fs::write(&sentinel, "")?;
        let stage = Stage {
            client: self.client.clone(),
            name: name.to_owned(),
            slots: Arc::clone(&self.slots),
            reboots: Arc::default(),
        };
        stage.build().await?;
        let config = AgentConfig {
            node_name: name.to_owned(),
            kubeconfig: Some(self.control_plane.admin_kubeconfig().to_owned()),
            listen: "127.0.0.1:0".parse()?,
            sentinels: vec![sentinel],
            namespace: names::NAMESPACE.to_owned(),
            state_dir: directory.path().join("state"),
            eviction: EvictionIdentity::Own,
            settle: Duration::from_millis(100),
            poll: Duration::from_mins(1),
            kernels: KernelPlaces::default(),
            checks: InstalledChecks::default(),
            // It acts as an admin here, whom no policy bounds.
            require_admission_policies: false,
        };
        let agent = slipway_node_agent::run(config, Arc::new(Paper(Arc::clone(&stage.reboots))));
        let outcome = tokio::select! {
            played = play(&stage) => played,
            ended = Box::pin(agent) => ended.context("the agent ended"),
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(error) => {
                let lease = stage.lease().await;
                let status = lease
                    .ok()
                    .and_then(|lease| lease.status)
                    .unwrap_or_default();
                let said = (status.phase, status.reason, status.message, status.drain);
                Err(error.context(format!("{said:?}")))
            }
        }
    }

    pub(crate) async fn stop(self) -> Result<()> {
        let Self { control_plane, .. } = self;
        control_plane.stop().await
    }
}

fn with_kind(mut object: Value, kind: &str) -> Value {
    object["apiVersion"] = json!("slipway.dev/v1alpha1");
    object["kind"] = json!(kind);
    object
}

impl Stage {
    async fn build(&self) -> Result<()> {
        let post = PostParams::default();
        let named = json!({"metadata": {"name": self.name}});
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces
            .create(&post, &serde_json::from_value(named.clone())?)
            .await?;
        let node = self
            .nodes()
            .create(&post, &serde_json::from_value(named)?)
            .await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.name);
        wait_until("the service account", BOUND, || async {
            Ok(accounts.get_opt("default").await?)
        })
        .await?;
        let lease = json!({"metadata": {"name": self.name},
            "spec": {"nodeUID": node.uid(), "requestedAt": "2026-01-01T00:00:00Z"}});
        let lease: RebootLease = serde_json::from_value(with_kind(lease, "RebootLease"))?;
        self.leases().create(&post, &lease).await?;
        Ok(())
    }

    pub(crate) fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    pub(crate) fn leases(&self) -> Api<RebootLease> {
        Api::all(self.client.clone())
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.name)
    }

    fn budgets(&self) -> Api<PodDisruptionBudget> {
        Api::namespaced(self.client.clone(), &self.name)
    }

    pub(crate) async fn lease(&self) -> Result<RebootLease> {
        Ok(self.leases().get(&self.name).await?)
    }

    pub(crate) fn reboots(&self) -> usize {
        self.reboots.load(Ordering::SeqCst)
    }

    /// A pod that runs and is Ready, ends at once when it is told to, and is changed like this.
    pub(crate) async fn pod(&self, name: &str, change: Value) -> Result<Pod> {
        let mut pod = json!({
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"nodeName": self.name, "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "image": "localhost/none:1"}]},
        });
        merge(&mut pod, &change);
        let status = pod.as_object_mut().and_then(|pod| pod.remove("status"));
        let pod = serde_json::from_value(pod)?;
        let made = self.pods().create(&PostParams::default(), &pod).await?;
        let status = status.unwrap_or_else(
            || json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}),
        );
        self.pods()
            .patch_status(
                name,
                &PatchParams::default(),
                &Patch::Merge(json!({"status": status})),
            )
            .await?;
        Ok(made)
    }

    /// A budget for the pods with these labels, once the disruption controller has looked at it and
    /// sees so many healthy pods.
    pub(crate) async fn budget(&self, name: &str, spec: Value, healthy: i32) -> Result<()> {
        let mut spec = spec;
        if spec.get("selector").is_none() {
            spec["selector"] = json!({});
        }
        let budget = json!({"metadata": {"name": name}, "spec": spec});
        self.budgets()
            .create(&PostParams::default(), &serde_json::from_value(budget)?)
            .await?;
        wait_until("the budget to be looked at", BOUND, || async {
            let budget = self.budgets().get(name).await?;
            let seen = budget.status.map(|status| status.current_healthy);
            Ok((seen == Some(healthy)).then_some(()))
        })
        .await
    }

    pub(crate) async fn delete_budget(&self, name: &str) -> Result<()> {
        self.budgets()
            .delete(name, &DeleteParams::default())
            .await?;
        Ok(())
    }

    /// The first key.
    pub(crate) async fn grant(&self, drain: Value) -> Result<()> {
        let lease = self.lease().await?;
        let mut slots = self.slots.lock().await;
        slots.push(json!({"node": self.name, "nodeUID": lease.spec.node_uid,
            "leaseUID": lease.uid(), "policyUID": "p", "fence": FENCE}));
        let ledgers: Api<RebootLedger> = Api::all(self.client.clone());
        let status = json!({"status": {"nextFence": FENCE + 1, "slots": *slots}});
        ledgers
            .patch_status(
                names::LEDGER_NAME,
                &PatchParams::default(),
                &Patch::Merge(status),
            )
            .await?;
        drop(slots);
        let now = slipway_client::clock::wall();
        let end = now.checked_add(jiff::SignedDuration::from_hours(1))?;
        self.write_spec(json!({"grant": {
            "fence": FENCE, "grantedAt": now, "notAfter": end,
            "drain": drain, "reboot": {}, "verify": {},
        }}))
        .await
    }

    /// The second key.
    pub(crate) async fn clear(&self) -> Result<()> {
        let (_, at) = slipway_client::server_time::get_opt(
            &self.client,
            &self.leases(),
            &self.name,
            "read the time",
        )
        .await?;
        self.write_spec(json!({"clear": {"fence": FENCE, "at": at}}))
            .await
    }

    pub(crate) async fn revoke(&self) -> Result<()> {
        self.write_spec(json!({"revoke": {"fence": FENCE, "reason": "WindowClosed"}}))
            .await
    }

    async fn write_spec(&self, spec: Value) -> Result<()> {
        self.leases()
            .patch(
                &self.name,
                &PatchParams::default(),
                &Patch::Merge(json!({"spec": spec})),
            )
            .await?;
        Ok(())
    }

    /// Waits for a phase.
    pub(crate) async fn phase(&self, phase: Phase) -> Result<RebootLease> {
        self.until(&format!("phase {phase}"), |lease| lease.phase() == phase)
            .await
    }

    /// Waits until the lease is like that.
    pub(crate) async fn until(
        &self,
        what: &str,
        holds: impl Fn(&RebootLease) -> bool,
    ) -> Result<RebootLease> {
        wait_until(what, BOUND, || async {
            let lease = self.lease().await?;
            Ok(holds(&lease).then_some(lease))
        })
        .await
    }

    /// Waits until the lease says this of a pod that it waits for.
    pub(crate) async fn told(&self, pod: &str, words: &str) -> Result<RebootLease> {
        self.until(&format!("{pod}: {words}"), |lease| {
            waiting(lease).any(|(name, reason)| {
                name == format!("{}/{pod}", self.name) && reason.contains(words)
            })
        })
        .await
    }

    /// Fails with this reason, and the node is as it was.
    pub(crate) async fn fails(&self, reason: &str) -> Result<String> {
        let lease = self.phase(Phase::Failed).await?;
        let status = lease.status.unwrap_or_default();
        ensure!(status.reason == reason, "failed as {}", status.reason);
        ensure!(!self.is_cordoned().await?, "left cordoned");
        ensure!(self.reboots() == 0, "rebooted");
        Ok(status.message)
    }

    pub(crate) async fn is_cordoned(&self) -> Result<bool> {
        let node = self.nodes().get(&self.name).await?;
        let cordoned = node.spec.and_then(|spec| spec.unschedulable);
        Ok(cordoned == Some(true))
    }

    /// The names of the pods that are there and not leaving.
    pub(crate) async fn staying(&self) -> Result<Vec<String>> {
        let pods = self.pods().list(&kube::api::ListParams::default()).await?;
        let staying = pods
            .items
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(staying.map(ResourceExt::name_any).collect())
    }
}

/// The pods that the lease waits for, and why.
fn waiting(lease: &RebootLease) -> impl Iterator<Item = (String, String)> {
    let status = lease.status.iter();
    let drains = status.filter_map(|status| status.drain.as_ref());
    let all: Vec<_> = drains.flat_map(|drain| drain.waiting.clone()).collect();
    all.into_iter().map(|one| (one.pod, one.reason))
}

/// RFC 7386, but that null is kept.
pub(crate) fn merge(into: &mut Value, change: &Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change.clone(),
    }
}

/// Makes a scenario of an async function.
#[macro_export]
macro_rules! scenario {
    ($name:literal, $play:ident) => {
        $crate::bench::Scenario {
            name: $name,
            play: |stage| Box::pin($play(stage)),
        }
    };
}
