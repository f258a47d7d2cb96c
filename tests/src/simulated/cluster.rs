//! A control plane with simulated nodes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use kube::Client;
use tokio::task::JoinHandle;

use super::kubelet::Kubelet;
use super::launch::Programs;
use super::logind;
use super::machine::Machine;
use super::node_status::NodeReporter;
use super::options::SimulatedOptions;
use crate::chart;
use crate::control_plane::{ControlPlane, apply};
use crate::fault_proxy::FaultProxy;

/// How long the nodes may take to be Ready after the start.
const NODES_BOUND: Duration = Duration::from_secs(30);

/// A running cluster; dropping it ends everything.
///
/// Its tasks run on the runtime that started it: a test that blocks its thread for ten seconds
/// has nodes that look dead.
pub struct SimulatedCluster {
    // The order of drops: what runs on the nodes before the servers.
    nodes: Nodes,
    proxy: Option<FaultProxy>,
    client: Client,
    control_plane: ControlPlane,
}

impl SimulatedCluster {
    /// Starts a control plane and nodes, waits until every node is Ready, and installs Slipway.
    pub async fn start(options: SimulatedOptions) -> Result<Self> {
        let control_plane = ControlPlane::start(options.control_plane.clone()).await?;
        let proxy = if options.behind_proxy {
            Some(control_plane.fault_proxy().await?)
        } else {
            None
        };
        let mut cluster = Self {
            nodes: Nodes::default(),
            proxy,
            client: control_plane.admin_client()?,
            control_plane,
        };
        let programs = programs(&options)?;
        for number in 1..=options.nodes {
            cluster.add_node(number, &options, programs.clone())?;
        }
        for node in cluster.node_names() {
            cluster.wait_ready(&node, NODES_BOUND).await?;
        }
        if options.install {
            cluster.install().await?;
        }
        Ok(cluster)
    }

    /// Applies `examples/install.yaml`.
    pub async fn install(&self) -> Result<()> {
        apply::apply_file(&self.client, &examples().join("install.yaml"))
            .await
            .context("failed to install Slipway")?;
        Ok(())
    }

    /// A client with the admin's rights.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The control plane.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The proxy between our programs and the API server.
    ///
    /// # Errors
    /// The cluster was started without one.
    pub fn proxy(&self) -> Result<&FaultProxy> {
        self.proxy.as_ref().context("this cluster has no proxy")
    }

    /// The control plane, to stop and start its servers.
    pub fn control_plane_mut(&mut self) -> &mut ControlPlane {
        &mut self.control_plane
    }

    /// The names of all nodes, in the order of their numbers.
    pub fn node_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.machines().keys().cloned().collect();
        names.sort_by_key(|name| (name.len(), name.clone()));
        names
    }

    /// Ends everything in order.
    pub async fn stop(self) -> Result<()> {
        let Self {
            nodes,
            proxy,
            client,
            control_plane,
        } = self;
        drop((nodes, proxy, client));
        control_plane.stop().await
    }

    pub(super) fn machines(&self) -> &BTreeMap<String, Arc<Machine>> {
        &self.nodes.machines
    }

    pub(super) fn machine(&self, node: &str) -> Result<&Arc<Machine>> {
        self.machines()
            .get(node)
            .with_context(|| format!("there is no node {node}"))
    }

    fn add_node(
        &mut self,
        number: usize,
        options: &SimulatedOptions,
        programs: Programs,
    ) -> Result<()> {
        let name = format!("n{number}");
        let zone = format!("zone-{}", (number - 1) % options.zones.max(1) + 1);
        let directory = self.control_plane.dir().join("nodes").join(&name);
        let machine = Machine::new(&name, &directory, options.off_for)?;
        let url = self
            .proxy
            .as_ref()
            .map_or_else(|| self.control_plane.url(), FaultProxy::url);
        let reporter = NodeReporter::new(machine.clone(), self.client(), &zone, number);
        let kubelet = Kubelet::new(
            machine.clone(),
            self.client(),
            self.control_plane.pod_credentials(url)?,
            programs,
            number,
        );
        if options.agent.is_some() {
            let task = logind::start(machine.host().clone())?;
            self.nodes.tasks.push(task);
        }
        self.nodes.tasks.push(tokio::spawn(machine.clone().run()));
        self.nodes.tasks.push(tokio::spawn(reporter.run()));
        self.nodes.tasks.push(tokio::spawn(kubelet.run()));
        self.nodes.machines.insert(name, machine);
        Ok(())
    }
}

/// The machines with the tasks that look after them.
#[derive(Default)]
struct Nodes {
    tasks: Vec<JoinHandle<()>>,
    machines: BTreeMap<String, Arc<Machine>>,
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        // An aborted task may live on for a moment and hold its machine.
        for machine in self.machines.values() {
            machine.close();
        }
    }
}

/// The folder of examples in this checkout.
pub(crate) fn examples() -> PathBuf {
    chart::repository().join("examples")
}

/// Our programs, where Cargo puts them: beside this one, or above it for a test.
fn programs(options: &SimulatedOptions) -> Result<Programs> {
    let own = std::env::current_exe().context("failed to find this program")?;
    let find = |name: &str| {
        own.ancestors()
            .skip(1)
            .take(2)
            .map(|directory| directory.join(name))
            .find(|path| path.is_file())
            .with_context(|| {
                format!("{name} is not built: cargo build --package slipway-lab --bins")
            })
    };
    let environment = options.environment.clone().into_iter().collect();
    let agent = options.agent.clone();
    Ok(Programs {
        agent: agent.map_or_else(|| find("simulated-agent"), Ok)?,
        operator: find("lab-operator")?,
        probe_every: options.probe_every,
        environment,
    })
}
