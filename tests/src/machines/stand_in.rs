//! Plays the kubelet of one machine: it registers the node, reports what is seen of the machine,
//! says that pods run, and gives the agent's service what its pod would have.
//!
//! Everything it says of the machine is true: boot id, whether it is up, whether the agent is ready.
//! After a power cut it falls silent, as a kubelet does; after an orderly shutdown it has said
//! NotReady.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::keeper::EventKind;
use super::kinds::AgentUnit;
use super::machine::Machine;
use crate::control_plane::PodCredentials;
use crate::simulated::pods::{self, Kind, PodReport};
use crate::simulated::probe;

const TICK: Duration = Duration::from_millis(100);
const CALL_BOUND: Duration = Duration::from_secs(5);
/// How often the Lease is renewed: well below the grace period of the lab's control plane (12 s).
const RENEW: Duration = Duration::from_secs(2);
/// Tokens are valid for an hour.
const TOKEN_REFRESH: Duration = Duration::from_mins(20);
/// Where the agent answers probes.
const AGENT_PORT: u16 = 8081;
/// What tells a node's reports from those of others.
const MANAGER: &str = "kubelet";

/// The kubelet of one machine.
pub(super) struct StandIn {
    machine: Arc<Machine>,
    agent: AgentUnit,
    client: Client,
    credentials: PodCredentials,
    labels: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    /// Boot id and readiness as last written.
    said: Option<(String, bool)>,
    renewed_at: Option<Instant>,
    /// The agent's pod that the service runs for, and when it got its token.
    running: Option<(String, Instant)>,
    /// At which start of the machine each pod was first seen.
    first_boots: BTreeMap<String, usize>,
}

impl StandIn {
    pub(super) fn new(
        machine: Arc<Machine>,
        agent: AgentUnit,
        (client, credentials): (Client, PodCredentials),
        labels: BTreeMap<String, String>,
        environment: BTreeMap<String, String>,
    ) -> Self {
        Self {
            machine,
            agent,
            client,
            credentials,
            labels,
            environment,
            said: None,
            renewed_at: None,
            running: None,
            first_boots: BTreeMap::new(),
        }
    }

    /// Works until the task is aborted.
    pub(super) async fn run(mut self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.pass().await {
                tracing::debug!("{}: {error:#}", self.machine.name());
            }
        }
    }

    async fn pass(&mut self) -> Result<()> {
        let Some(boot_id) = self.machine.boot_id() else {
            return self.say_goodbye().await;
        };
        if self.said.is_none() {
            self.register().await?;
        }
        self.say((boot_id, true)).await?;
        if self.renewed_at.is_none_or(|at| at.elapsed() >= RENEW) {
            self.renew().await?;
            self.renewed_at = Some(Instant::now());
        }
        self.look_after_pods().await
    }

    /// A machine that went down in order has said so before.
    async fn say_goodbye(&mut self) -> Result<()> {
        let last = self
            .machine
            .events()
            .iter()
            .rev()
            .map(|event| event.kind)
            .find(|kind| *kind != EventKind::Started);
        match (last, self.said.clone()) {
            (Some(EventKind::Rebooted | EventKind::PoweredOff), Some((id, true))) => {
                self.say((id, false)).await
            }
            _ => Ok(()),
        }
    }

    async fn register(&self) -> Result<()> {
        let name = self.machine.name();
        let mut labels = self.labels.clone();
        labels.insert("kubernetes.io/hostname".into(), name.into());
        labels.insert("kubernetes.io/os".into(), "linux".into());
        let node: Node = serde_json::from_value(json!({
            "metadata": { "name": name, "labels": labels },
        }))?;
        let nodes: Api<Node> = Api::all(self.client.clone());
        match timeout(CALL_BOUND, nodes.create(&PostParams::default(), &node)).await? {
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            other => other.map(drop).context("failed to register"),
        }
    }

    async fn say(&mut self, wanted: (String, bool)) -> Result<()> {
        if self.said.as_ref() == Some(&wanted) {
            return Ok(());
        }
        let patch = self.node_status(&wanted);
        let nodes: Api<Node> = Api::all(self.client.clone());
        let patch = Patch::Strategic(&patch);
        timeout(
            CALL_BOUND,
            nodes.patch_status(self.machine.name(), &params(), &patch),
        )
        .await?
        .context("failed to report the node")?;
        self.said = Some(wanted);
        Ok(())
    }

    fn node_status(&self, (boot_id, ready): &(String, bool)) -> Value {
        let now = jiff::Timestamp::now().to_string();
        let (status, reason, message) = if *ready {
            ("True", "KubeletReady", "the machine is up")
        } else {
            ("False", "KubeletNotReady", "node is shutting down")
        };
        let resources = json!({ "cpu": "4", "memory": "8Gi", "pods": "110" });
        json!({ "status": {
            "conditions": [{
                "type": "Ready", "status": status, "reason": reason, "message": message,
                "lastHeartbeatTime": now, "lastTransitionTime": now,
            }],
            "addresses": [
                { "type": "InternalIP", "address": self.machine.address().to_string() },
                { "type": "Hostname", "address": self.machine.name() },
            ],
            "capacity": resources,
            "allocatable": resources,
            "nodeInfo": {
                "bootID": boot_id,
                "machineID": self.machine.name(),
                "systemUUID": self.machine.name(),
                "kernelVersion": "none",
                "osImage": "Debian",
                "containerRuntimeVersion": "none://1",
                "kubeletVersion": "v1.36.3",
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
        }})
    }

    async fn renew(&self) -> Result<()> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), "kube-node-lease");
        let name = self.machine.name();
        let now = format!("{:.6}", jiff::Timestamp::now());
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": name },
            "spec": { "holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now },
        });
        let apply = PatchParams::apply(MANAGER).force();
        timeout(
            CALL_BOUND,
            leases.patch(name, &apply, &Patch::Apply(&lease)),
        )
        .await?
        .context("failed to renew the node's Lease")?;
        Ok(())
    }

    async fn look_after_pods(&mut self) -> Result<()> {
        let all: Api<Pod> = Api::all(self.client.clone());
        let bound = ListParams::default().fields(&format!("spec.nodeName={}", self.machine.name()));
        let list = timeout(CALL_BOUND, all.list(&bound)).await??;
        let uids: Vec<String> = list.iter().filter_map(ResourceExt::uid).collect();
        self.first_boots.retain(|uid, _| uids.contains(uid));
        // Deleted by somebody who did not wait for us.
        if let Some((uid, _)) = &self.running
            && !uids.contains(uid)
        {
            self.stop_agent().await?;
        }
        for pod in &list {
            let uid = pod.uid().unwrap_or_default();
            if pod.metadata.deletion_timestamp.is_some() {
                self.remove(pod, &uid).await?;
            } else if !pods::is_over(pod) {
                self.look_after(pod, &uid).await?;
            }
        }
        Ok(())
    }

    async fn look_after(&mut self, pod: &Pod, uid: &str) -> Result<()> {
        let boots = self.machine.boots();
        let first = *self.first_boots.entry(uid.to_owned()).or_insert(boots);
        let ready = if pods::kind_of(pod) == Kind::Agent {
            self.keep_agent(pod, uid).await?;
            probe::is_ready_at((self.machine.address(), AGENT_PORT)).await
        } else {
            true
        };
        let address = self.machine.address().to_string();
        let report = PodReport {
            ready,
            restarts: u32::try_from(boots.saturating_sub(first))?,
            pod_ip: address.clone(),
            host_ip: address,
        };
        if pods::says(pod, &report) {
            return Ok(());
        }
        let now = jiff::Timestamp::now().round(jiff::Unit::Second)?;
        let patch = pods::status_patch(pod, &report, &now.to_string());
        let api = self.pods_beside(pod);
        let name = pod.name_any();
        timeout(
            CALL_BOUND,
            api.patch_status(&name, &params(), &Patch::Strategic(&patch)),
        )
        .await?
        .with_context(|| format!("failed to report {name}"))?;
        Ok(())
    }

    /// Gives the agent's service the token of this pod, and starts it anew for another pod.
    async fn keep_agent(&mut self, pod: &Pod, uid: &str) -> Result<()> {
        let same = self.running.as_ref().is_some_and(|(own, _)| own == uid);
        let fresh = |(_, at): &(String, Instant)| at.elapsed() < TOKEN_REFRESH;
        if same && self.running.as_ref().is_some_and(fresh) {
            return Ok(());
        }
        if !same {
            self.prepare(pod)?;
        }
        let spec = pod.spec.as_ref().context("a pod without a spec")?;
        let account = spec.service_account_name.as_deref().unwrap_or("default");
        let namespace = pod.namespace().unwrap_or_default();
        let name = pod.name_any();
        self.credentials
            .write_token(&namespace, account, (&name, uid), &self.agent.token())
            .await?;
        if !same && self.running.is_some() {
            self.restart_agent().await?;
        }
        self.running = Some((uid.to_owned(), Instant::now()));
        Ok(())
    }

    /// How the agent's service is started for a pod: as the pod says, with the machine's paths.
    fn prepare(&self, pod: &Pod) -> Result<()> {
        let container = pods::container_of(pod).context("a pod without a container")?;
        let address = self.machine.address().to_string();
        let mut environment: BTreeMap<String, String> = pods::environment(pod, container, &address)
            .into_iter()
            .collect();
        let own = [
            (
                "SLIPWAY_KUBECONFIG",
                format!("{}/kubeconfig", AgentUnit::MOUNT),
            ),
            ("SLIPWAY_NODE_NAME", self.machine.name().to_owned()),
            (
                "SLIPWAY_BOOT_ID_FILE",
                "/proc/sys/kernel/random/boot_id".into(),
            ),
            (
                "SLIPWAY_SENTINELS",
                "/run/reboot-required,/run/reboot-needed".into(),
            ),
            (
                "SLIPWAY_DBUS_ADDRESS",
                "unix:path=/run/dbus/system_bus_socket".into(),
            ),
        ];
        environment.extend(own.map(|(name, value)| (name.to_owned(), value)));
        environment.extend(self.environment.clone());
        let environment: Vec<(String, String)> = environment.into_iter().collect();
        let arguments: Vec<String> = container.args.clone().unwrap_or_default();
        self.agent.prepare(&arguments, &environment)
    }

    /// Lets the service wait for the token of another pod.
    async fn stop_agent(&mut self) -> Result<()> {
        super::setup::remove_file(&self.agent.token())?;
        self.restart_agent().await?;
        self.running = None;
        Ok(())
    }

    async fn restart_agent(&self) -> Result<()> {
        let command = ["systemctl", "restart", "--no-block", AgentUnit::UNIT];
        self.machine.exec(&command).await.map(drop)
    }

    /// Ends a pod that is to go.
    async fn remove(&mut self, pod: &Pod, uid: &str) -> Result<()> {
        if self.running.as_ref().is_some_and(|(own, _)| own == uid) {
            self.stop_agent().await?;
        }
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let api = self.pods_beside(pod);
        match timeout(CALL_BOUND, api.delete(&pod.name_any(), &params)).await? {
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                Ok(())
            }
            other => other.map(drop).context("failed to remove a pod"),
        }
    }

    fn pods_beside(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default())
    }
}

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.into()),
        ..PatchParams::default()
    }
}
