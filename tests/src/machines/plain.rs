//! A cluster of machines without kubelets: the agent is a service of each machine, and the harness
//! plays the kubelet.
//!
//! For tests that need precise control of what a node says, or many machines: such a machine costs
//! some 20 MB.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use kube::Client;
use tokio::task::JoinHandle;

use super::cluster::{kubectl, on_the_bridge, wait_ready};
use super::kinds::{AgentUnit, MachineKind, MachineOptions};
use super::lab::Lab;
use super::machine::Machine;
use super::stand_in::StandIn;
use crate::control_plane::apply::{apply_file, apply_yaml};
use crate::control_plane::{ControlPlane, ControlPlaneOptions};

/// What a cluster without kubelets is to be.
#[derive(Debug, Clone)]
pub struct PlainOptions {
    /// How many nodes.
    pub nodes: u8,
    /// The node agent's program. It is run where a pod with the image `slipway-agent` is bound to the
    /// node, with the pod's arguments, environment and token.
    pub agent: PathBuf,
    /// The agent's environment on top of what its pod says.
    pub environment: BTreeMap<String, String>,
    /// Labels of nodes, by their number.
    pub labels: BTreeMap<u8, BTreeMap<String, String>>,
    /// The control plane; its addresses and port are those of the lab.
    pub control_plane: ControlPlaneOptions,
}

impl PlainOptions {
    /// Some nodes with this agent.
    pub fn new(nodes: u8, agent: &Path) -> Self {
        Self {
            nodes,
            agent: agent.to_owned(),
            environment: BTreeMap::new(),
            labels: BTreeMap::new(),
            control_plane: ControlPlaneOptions::default(),
        }
    }
}

/// A running cluster; dropping it kills everything.
///
/// What plays the kubelets runs on the runtime that started it: a test that blocks its thread for
/// ten seconds has nodes that look dead.
pub struct PlainCluster {
    // The order of drops: kubelets, machines, control plane.
    stand_ins: StandIns,
    machines: Vec<Arc<Machine>>,
    control_plane: ControlPlane,
    lab: Arc<Lab>,
}

#[derive(Default)]
struct StandIns(Vec<JoinHandle<()>>);

impl Drop for StandIns {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl PlainCluster {
    /// Starts a control plane and machines, and waits until all nodes are Ready.
    pub async fn start(options: PlainOptions) -> Result<Self> {
        let lab = Lab::open()?;
        ensure!(
            options.agent.is_file(),
            "the agent {} is not built",
            options.agent.display()
        );
        let control_plane = on_the_bridge(options.control_plane.clone());
        let mut cluster = Self {
            stand_ins: StandIns::default(),
            machines: Vec::new(),
            control_plane: ControlPlane::start(control_plane).await?,
            lab,
        };
        for number in 1..=options.nodes {
            cluster.add_machine(number, &options)?;
        }
        cluster.wait_all_ready().await?;
        Ok(cluster)
    }

    fn add_machine(&mut self, number: u8, options: &PlainOptions) -> Result<()> {
        let directory = self.lab.scratch().join(format!("agent-n{number}"));
        fs::create_dir_all(&directory)
            .with_context(|| format!("failed to make {}", directory.display()))?;
        let agent = AgentUnit {
            binary: options.agent.clone(),
            directory,
        };
        // A pod of a former cluster had a token of a former control plane.
        super::setup::remove_file(&agent.token())?;
        let credentials = self
            .control_plane
            .pod_credentials(self.control_plane.url())?;
        credentials.write_kubeconfig(
            &Path::new(AgentUnit::MOUNT).join("token"),
            &agent.directory.join("kubeconfig"),
        )?;
        let kind = MachineKind::Agent(agent.clone());
        let machine = Machine::start(&self.lab, &MachineOptions::new(number, kind))?;
        let machine = Arc::new(machine);
        let stand_in = StandIn::new(
            Arc::clone(&machine),
            agent,
            (self.client()?, credentials),
            options.labels.get(&number).cloned().unwrap_or_default(),
            options.environment.clone(),
        );
        self.stand_ins.0.push(tokio::spawn(stand_in.run()));
        self.machines.push(machine);
        Ok(())
    }

    /// The control plane.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The control plane, to stop and start its API server.
    pub fn control_plane_mut(&mut self) -> &mut ControlPlane {
        &mut self.control_plane
    }

    /// A client with the admin's rights.
    pub fn client(&self) -> Result<Client> {
        self.control_plane.admin_client()
    }

    /// All machines, in the order of their numbers.
    pub fn machines(&self) -> &[Arc<Machine>] {
        &self.machines
    }

    /// The machine of node `nN`.
    pub fn machine(&self, number: u8) -> Result<&Machine> {
        self.machines
            .iter()
            .find(|machine| machine.number() == number)
            .map(Arc::as_ref)
            .with_context(|| format!("there is no machine {number}"))
    }

    /// What the agent of a machine wrote to its log since the machine's last boot.
    pub async fn agent_log(&self, number: u8) -> Result<String> {
        self.machine(number)?
            .exec(&["journalctl", "--output=cat", "--unit", AgentUnit::UNIT])
            .await
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
        let machines: Vec<&Machine> = self.machines.iter().map(Arc::as_ref).collect();
        wait_ready(&self.client()?, &machines).await
    }

    /// Waits until one node is Ready with another boot id than this one, which is its running
    /// machine's, and returns it.
    pub async fn wait_rebooted(&self, number: u8, before: &str) -> Result<String> {
        let machine = self.machine(number)?;
        let id = machine.wait_booted_after(before).await?;
        wait_ready(&self.client()?, &[machine]).await?;
        Ok(id)
    }

    /// Cuts the machines' power, then kills the control plane; all of their state goes with them.
    pub fn stop(self) {
        // Not asked to end: an API server waits for its clients to hang up, and machines without
        // power never do.
        drop(self.stand_ins);
        drop(self.machines);
        drop(self.control_plane);
    }
}
