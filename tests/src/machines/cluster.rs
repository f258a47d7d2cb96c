//! A cluster of machines with real kubelets.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use super::kinds::{File, Kubelet, MachineKind, MachineOptions};
use super::lab::Lab;
use super::machine::Machine;
use super::namespace::HOST_ADDRESS;
use crate::control_plane::apply::{apply_file, apply_yaml};
use crate::control_plane::{ControlPlane, ControlPlaneOptions};
use crate::images::{Image, write_archive};
use crate::wait::wait_until;

/// The API server's port in a lab; free, because the lab's network is of this process alone.
const API_SERVER_PORT: u16 = 36_443;
/// How long all nodes may take to be Ready; 4 to 6 s for four of them.
pub const READY_BOUND: Duration = Duration::from_mins(2);
/// How long one call may take.
const CALL_BOUND: Duration = Duration::from_secs(10);

/// What a cluster is to be.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// How many nodes.
    pub nodes: u8,
    /// Labels of nodes, by their number; `topology.kubernetes.io/zone` for example.
    pub labels: BTreeMap<u8, BTreeMap<String, String>>,
    /// The images that pods can use. The pause image is always there.
    pub images: Vec<Image>,
    /// Files on every machine's disk; `/etc/lab/kubelet.yaml` is the kubelet's configuration.
    pub files: Vec<File>,
    /// The control plane; its addresses and port are those of the lab.
    pub control_plane: ControlPlaneOptions,
}

impl ClusterOptions {
    /// A cluster of some nodes, with the image `localhost/web:1`.
    pub fn new(nodes: u8) -> Result<Self> {
        Ok(Self {
            nodes,
            labels: BTreeMap::new(),
            images: vec![Image::web()?],
            files: Vec::new(),
            control_plane: ControlPlaneOptions::default(),
        })
    }

    /// Adds an image.
    #[must_use]
    pub fn with_image(mut self, image: Image) -> Self {
        self.images.push(image);
        self
    }

    /// Labels a node.
    #[must_use]
    pub fn with_label(mut self, node: u8, key: &str, value: &str) -> Self {
        self.labels
            .entry(node)
            .or_default()
            .insert(key.into(), value.into());
        self
    }
}

/// A running cluster; dropping it kills everything.
pub struct Cluster {
    // The order of drops: kubelets before the control plane, or they would log its absence.
    machines: Vec<Machine>,
    control_plane: ControlPlane,
    images: PathBuf,
    files: Vec<File>,
    labels: BTreeMap<u8, BTreeMap<String, String>>,
    lab: Arc<Lab>,
    took: Duration,
}

impl Cluster {
    /// Starts a control plane and machines, and waits until all nodes are Ready.
    pub async fn start(options: ClusterOptions) -> Result<Self> {
        let lab = Lab::open()?;
        let images = lab.scratch().join("images");
        fs::create_dir_all(&images).context("failed to make the directory of images")?;
        let mut all = vec![Image::pause()?];
        all.extend(options.images);
        write_archive(&images.join("lab.tar"), &all)?;

        let control_plane = ControlPlane::start(on_the_bridge(options.control_plane)).await?;
        let mut cluster = Self {
            machines: Vec::new(),
            control_plane,
            images,
            files: options.files,
            labels: options.labels,
            lab,
            took: Duration::ZERO,
        };
        let started = Instant::now();
        for number in 1..=options.nodes {
            cluster.add_machine(number)?;
        }
        cluster.wait_all_ready().await?;
        cluster.took = started.elapsed();
        Ok(cluster)
    }

    /// Adds a machine to the running cluster, without waiting for its node.
    pub fn add_machine(&mut self, number: u8) -> Result<&Machine> {
        let user = format!("system:node:n{number}");
        let kubelet = Kubelet {
            kubeconfig: self
                .control_plane
                .kubeconfig_for(&user, &["system:nodes"])?,
            images: self.images.clone(),
            api_server_port: self.control_plane.port(),
            labels: self.labels.get(&number).cloned().unwrap_or_default(),
        };
        let options = MachineOptions {
            files: self.files.clone(),
            ..MachineOptions::new(number, MachineKind::Kubelet(kubelet))
        };
        self.machines.push(Machine::start(&self.lab, &options)?);
        self.machine(number)
    }

    /// The control plane.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The control plane, to stop and start its API server.
    pub fn control_plane_mut(&mut self) -> &mut ControlPlane {
        &mut self.control_plane
    }

    /// The lab.
    pub fn lab(&self) -> &Arc<Lab> {
        &self.lab
    }

    /// A client with the admin's rights.
    pub fn client(&self) -> Result<Client> {
        self.control_plane.admin_client()
    }

    /// All machines, in the order of their numbers.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// The machine of node `nN`.
    pub fn machine(&self, number: u8) -> Result<&Machine> {
        self.machines
            .iter()
            .find(|machine| machine.number() == number)
            .with_context(|| format!("there is no machine {number}"))
    }

    /// How long the machines took from their start until all nodes were Ready.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Applies every document of a YAML text.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        apply_yaml(&self.client()?, yaml).await?;
        Ok(())
    }

    /// Applies every document of a YAML file.
    pub async fn apply_file(&self, path: &Path) -> Result<()> {
        apply_file(&self.client()?, path).await?;
        Ok(())
    }

    /// Runs kubectl as the admin; its output, or an error if it fails.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        kubectl(&self.control_plane, arguments).await
    }

    /// Waits until every node is Ready, with the boot id of its running machine.
    pub async fn wait_all_ready(&self) -> Result<()> {
        let machines: Vec<&Machine> = self.machines.iter().collect();
        wait_ready(&self.client()?, &machines).await
    }

    /// Waits until one node is Ready with another boot id than this one, which is its running
    /// machine's, and returns it.
    pub async fn wait_rebooted(&self, number: u8, before: &str) -> Result<String> {
        let machine = self.machine(number)?;
        machine.wait_booted_after(before).await?;
        wait_ready(&self.client()?, &[machine]).await?;
        let id = machine.boot_id().context("the machine went down again")?;
        ensure!(id != before, "{} did not reboot", machine.name());
        Ok(id)
    }

    /// Cuts the machines' power, then kills the control plane; all of their state goes with them.
    pub fn stop(self) {
        // Not asked to end: an API server waits for its clients to hang up, and machines without
        // power never do.
        drop(self.machines);
        drop(self.control_plane);
    }
}

/// The options of a control plane, moved to where machines reach it.
pub(super) fn on_the_bridge(options: ControlPlaneOptions) -> ControlPlaneOptions {
    ControlPlaneOptions {
        bind_address: std::net::Ipv4Addr::UNSPECIFIED.into(),
        advertise_address: Some(HOST_ADDRESS.into()),
        api_server_port: Some(API_SERVER_PORT),
        ..options
    }
}

/// Runs kubectl as the admin.
pub(super) async fn kubectl(control_plane: &ControlPlane, arguments: &[&str]) -> Result<String> {
    let mut command = tokio::process::Command::from(control_plane.kubectl()?);
    command
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(READY_BOUND, command.output())
        .await
        .with_context(|| format!("kubectl {arguments:?} did not end within {READY_BOUND:?}"))?
        .context("failed to start kubectl")?;
    if !output.status.success() {
        bail!(
            "kubectl {arguments:?} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits until the nodes of machines are Ready with their machines' boot ids.
pub(super) async fn wait_ready(client: &Client, machines: &[&Machine]) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let names: Vec<&str> = machines.iter().map(|machine| machine.name()).collect();
    let waited = wait_until(&format!("{names:?} to be Ready"), READY_BOUND, || async {
        let list = tokio::time::timeout(CALL_BOUND, nodes.list(&ListParams::default())).await??;
        let found: BTreeMap<String, &Node> =
            list.iter().map(|node| (node.name_any(), node)).collect();
        for machine in machines {
            let node = found
                .get(machine.name())
                .with_context(|| format!("there is no node {}", machine.name()))?;
            let reported = boot_id(node);
            let own = machine.boot_id();
            ensure!(
                is_ready(node) && own.is_some() && reported == own.as_deref(),
                "{}: {:?}, boot id {reported:?}, the machine's is {own:?}",
                machine.name(),
                ready_message(node)
            );
        }
        Ok(Some(()))
    })
    .await;
    if let Err(error) = waited {
        let mut told = String::new();
        for machine in machines {
            told = told + &machine.diagnose().await + "\n";
        }
        return Err(error.context(told));
    }
    Ok(())
}

/// Whether a node's condition Ready is True.
pub fn is_ready(node: &Node) -> bool {
    ready_condition(node).is_some_and(|condition| condition.status == "True")
}

/// The boot id in a node's status.
pub fn boot_id(node: &Node) -> Option<&str> {
    let info = node.status.as_ref()?.node_info.as_ref()?;
    Some(info.boot_id.as_str()).filter(|id| !id.is_empty())
}

fn ready_condition(node: &Node) -> Option<&k8s_openapi::api::core::v1::NodeCondition> {
    node.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == "Ready")
}

fn ready_message(node: &Node) -> String {
    ready_condition(node).map_or_else(
        || "not reported".into(),
        |condition| format!("Ready={}: {:?}", condition.status, condition.message),
    )
}
