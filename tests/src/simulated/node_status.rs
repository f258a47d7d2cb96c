//! A simulated kubelet's word about its node: registration, Lease, conditions and boot ID.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::kubelet::CALL_BOUND;
use super::machine::{Machine, Power};

const TICK: Duration = Duration::from_millis(50);
/// How often the Lease is renewed: well below the grace period of the lab's control plane (12 s).
const RENEW: Duration = Duration::from_secs(2);
/// How often the status is compared with what it should be: others write it too.
const VERIFY: Duration = Duration::from_secs(2);
/// How soon a call that failed is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// The address of the node with a number.
pub(super) fn address(number: usize) -> String {
    format!("10.99.0.{}", number % 240 + 10)
}

/// Reports on one node.
pub(super) struct NodeReporter {
    machine: Arc<Machine>,
    client: Client,
    zone: String,
    address: String,
    registered_boot: usize,
    /// What was last written or seen to be there.
    said: Option<(String, bool)>,
    said_at: Instant,
    renewed_at: Option<Instant>,
    wait_until: Instant,
}

impl NodeReporter {
    pub(super) fn new(machine: Arc<Machine>, client: Client, zone: &str, number: usize) -> Self {
        let now = Instant::now();
        Self {
            machine,
            client,
            zone: zone.to_owned(),
            address: address(number),
            registered_boot: 0,
            said: None,
            said_at: now,
            renewed_at: None,
            wait_until: now,
        }
    }

    /// Works until the task is aborted.
    pub(super) async fn run(mut self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if Instant::now() < self.wait_until {
                continue;
            }
            if let Err(error) = self.report().await {
                tracing::debug!("{}: {error:#}", self.machine.name());
                self.wait_until = Instant::now() + RETRY;
            }
        }
    }

    async fn report(&mut self) -> Result<()> {
        let power = self.machine.power();
        if power == Power::Off {
            return Ok(());
        }
        let boot = self.machine.boot_count();
        if self.registered_boot != boot {
            self.register().await?;
            self.registered_boot = boot;
            self.renewed_at = None;
            self.said = None;
        }
        let id = self.machine.host().boot_id()?;
        self.say((id, power == Power::On)).await?;
        if power == Power::On && self.renewed_at.is_none_or(|at| at.elapsed() >= RENEW) {
            self.renew().await?;
            self.renewed_at = Some(Instant::now());
        }
        Ok(())
    }

    /// Creates the Node, unless it is there.
    async fn register(&self) -> Result<()> {
        let name = self.machine.name();
        let node: Node = serde_json::from_value(json!({
            "metadata": {
                "name": name,
                "labels": {
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                    "topology.kubernetes.io/zone": self.zone,
                },
            },
        }))?;
        let nodes: Api<Node> = Api::all(self.client.clone());
        match timeout(CALL_BOUND, nodes.create(&PostParams::default(), &node))
            .await
            .context("no answer to the registration")?
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            Err(error) => Err(error).context("failed to register"),
        }
    }

    async fn say(&mut self, wanted: (String, bool)) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let name = self.machine.name();
        if self.said.as_ref() == Some(&wanted) {
            if self.said_at.elapsed() < VERIFY {
                return Ok(());
            }
            let node = timeout(CALL_BOUND, nodes.get(name))
                .await
                .context("no answer about the node")?
                .context("failed to read the node")?;
            self.said_at = Instant::now();
            if said_by(&node) == Some(wanted.clone()) {
                return Ok(());
            }
        }
        let patch = self.status(&wanted.0, wanted.1);
        let params = PatchParams {
            field_manager: Some("kubelet".into()),
            ..PatchParams::default()
        };
        let patch = Patch::Strategic(&patch);
        timeout(CALL_BOUND, nodes.patch_status(name, &params, &patch))
            .await
            .context("no answer to the node's status")?
            .context("failed to write the node's status")?;
        self.said = Some(wanted);
        self.said_at = Instant::now();
        Ok(())
    }

    fn status(&self, boot_id: &str, ready: bool) -> Value {
        let now = jiff::Timestamp::now().to_string();
        let (status, reason, message) = if ready {
            ("True", "KubeletReady", "the simulated kubelet is ready")
        } else {
            ("False", "KubeletNotReady", "node is shutting down")
        };
        let mut condition = json!({
            "type": "Ready", "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now,
        });
        // A change of Ready, not every report, moves the time of the transition; a new boot is
        // one too, because a kubelet that starts says NotReady first.
        let unchanged = self
            .said
            .as_ref()
            .is_some_and(|(id, said)| id == boot_id && *said == ready);
        if !unchanged && let Some(condition) = condition.as_object_mut() {
            condition.insert("lastTransitionTime".into(), json!(now));
        }
        let resources = json!({ "cpu": "4", "memory": "8Gi", "pods": "110" });
        json!({ "status": {
            "conditions": [condition],
            "addresses": [
                { "type": "InternalIP", "address": self.address },
                { "type": "Hostname", "address": self.machine.name() },
            ],
            "capacity": resources,
            "allocatable": resources,
            "nodeInfo": {
                "bootID": boot_id,
                "machineID": self.machine.name(),
                "systemUUID": self.machine.name(),
                "kernelVersion": "6.1.0-simulated",
                "osImage": "Simulated Linux",
                "containerRuntimeVersion": "simulated://1",
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
        let params = PatchParams::apply("kubelet").force();
        timeout(
            CALL_BOUND,
            leases.patch(name, &params, &Patch::Apply(&lease)),
        )
        .await
        .context("no answer to the node's Lease")?
        .context("failed to renew the node's Lease")?;
        Ok(())
    }
}

/// Boot ID and readiness as a Node's status has them.
fn said_by(node: &Node) -> Option<(String, bool)> {
    let status = node.status.as_ref()?;
    let ready = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "Ready")?;
    let boot_id = status.node_info.as_ref()?.boot_id.clone();
    Some((boot_id, ready.status == "True"))
}
