//! The cluster of the demo, whatever its nodes are.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use slipway_api::names;
use tokio::time::timeout;

use super::options::{DemoOptions, Machines};
use crate::chart;
use crate::control_plane::{ControlPlane, apply};
use crate::images::Image;
use crate::machines::{Cluster, ClusterOptions};
use crate::simulated::{SimulatedCluster, SimulatedOptions};
use crate::wait::wait_until;

const CALL_BOUND: Duration = Duration::from_secs(10);
/// How long agents and operators may take to be Ready after they are applied.
const INSTALL_BOUND: Duration = Duration::from_secs(90);
/// Where a real host asks for a reboot.
const SENTINEL: &str = "/run/reboot-required";
/// Zones that the nodes are spread over.
const ZONES: u8 = 3;

/// A cluster.
pub enum World {
    /// Its nodes are directories and processes.
    Simulated(Box<SimulatedCluster>),
    /// Its nodes are machines with a real kubelet.
    Kubelet(Box<Cluster>),
}

impl World {
    /// Starts the cluster and waits until its nodes are Ready; nothing of Slipway is on it.
    pub async fn start(options: &DemoOptions) -> Result<Self> {
        match options.machines {
            Machines::Simulated => {
                let options = SimulatedOptions {
                    install: false,
                    ..SimulatedOptions::with_nodes(options.nodes())
                };
                Ok(Self::Simulated(Box::new(
                    SimulatedCluster::start(options).await?,
                )))
            }
            Machines::Kubelet => {
                let directory = options.binaries()?;
                let operator = Image::operator(&binary(&directory, "slipway-operator")?);
                let agent = Image::agent(&binary(&directory, "slipway-node-agent")?);
                let nodes = u8::try_from(options.nodes())?;
                let mut cluster = ClusterOptions::new(nodes)?
                    .with_image(operator)
                    .with_image(agent);
                for node in 1..=nodes {
                    let zone = format!("zone-{}", (node - 1) % ZONES + 1);
                    cluster = cluster.with_label(node, "topology.kubernetes.io/zone", &zone);
                }
                Ok(Self::Kubelet(Box::new(Cluster::start(cluster).await?)))
            }
        }
    }

    /// A client with the admin's rights.
    pub fn client(&self) -> Result<Client> {
        self.control_plane().admin_client()
    }

    /// The names of all nodes.
    pub fn node_names(&self) -> Vec<String> {
        match self {
            Self::Simulated(cluster) => cluster.node_names(),
            Self::Kubelet(cluster) => {
                let machines = cluster.machines().iter();
                machines.map(|machine| machine.name().to_owned()).collect()
            }
        }
    }

    /// Installs Slipway as a user does, and waits until every agent and the operators are Ready.
    pub async fn install(&self) -> Result<()> {
        let client = self.client()?;
        let file = chart::repository().join("examples/install.yaml");
        apply::apply_file(&client, &file)
            .await
            .context("failed to install Slipway")?;
        let nodes = self.node_names().len();
        wait_until(
            "agents and operators to be Ready",
            INSTALL_BOUND,
            || async {
                let agents = ready(&self.pods(names::COMPONENT_AGENT).await?);
                let operators = ready(&self.pods(names::COMPONENT_OPERATOR).await?);
                ensure!(
                    agents == nodes && operators > 1,
                    "{agents} agents on {nodes} nodes and {operators} operators are Ready"
                );
                Ok(Some(()))
            },
        )
        .await
    }

    /// Makes a host ask for a reboot.
    pub async fn set_sentinel(&self, node: &str) -> Result<()> {
        match self {
            Self::Simulated(cluster) => cluster.set_sentinel(node),
            Self::Kubelet(cluster) => {
                let mut machines = cluster.machines().iter();
                let machine = machines
                    .find(|machine| machine.name() == node)
                    .with_context(|| format!("there is no machine {node}"))?;
                machine.write_file(SENTINEL, "").await
            }
        }
    }

    /// The pods of a component of ours.
    pub async fn pods(&self, component: &str) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client()?, names::NAMESPACE);
        let wanted =
            ListParams::default().labels(&format!("{}={component}", names::LABEL_COMPONENT));
        Ok(timeout(CALL_BOUND, pods.list(&wanted)).await??.items)
    }

    /// Kills the program of a pod (SIGKILL); says whether there was one.
    pub fn kill(&self, pod: &Pod) -> Result<bool> {
        let uid = pod.uid().context("a pod without a UID")?;
        match self {
            Self::Simulated(cluster) => {
                if !cluster.is_running(&uid) {
                    return Ok(false);
                }
                cluster.kill_pod(&uid)?;
                Ok(true)
            }
            Self::Kubelet(_) => kill_in_pod(&uid),
        }
    }

    /// The command line, up to the verb, by which a person reaches the cluster.
    pub fn kubectl(&self) -> Result<String> {
        let program = crate::cache::control_plane_binary()?;
        let kubeconfig = self.control_plane().admin_kubeconfig();
        let inside = match self {
            Self::Simulated(_) => String::new(),
            // Its API server listens in the lab's network only.
            Self::Kubelet(_) => format!("nsenter --net --mount --target {} ", std::process::id()),
        };
        Ok(format!(
            "{inside}{} kubectl --kubeconfig {}",
            program.display(),
            kubeconfig.display()
        ))
    }

    /// Ends everything in order.
    pub async fn stop(self) -> Result<()> {
        match self {
            Self::Simulated(cluster) => cluster.stop().await,
            Self::Kubelet(cluster) => {
                cluster.stop();
                Ok(())
            }
        }
    }

    /// Leaves the logs on disk when the cluster ends, and says where they are.
    pub fn keep_logs(&mut self) -> PathBuf {
        let control_plane = match self {
            Self::Simulated(cluster) => cluster.control_plane_mut(),
            Self::Kubelet(cluster) => cluster.control_plane_mut(),
        };
        control_plane.keep_directory();
        control_plane.dir().to_owned()
    }

    fn control_plane(&self) -> &ControlPlane {
        match self {
            Self::Simulated(cluster) => cluster.control_plane(),
            Self::Kubelet(cluster) => cluster.control_plane(),
        }
    }
}

fn binary(directory: &Path, name: &str) -> Result<PathBuf> {
    let path = directory.join(name);
    ensure!(path.is_file(), "{} is not built", path.display());
    Ok(path)
}

fn ready(pods: &[Pod]) -> usize {
    let is_ready = |pod: &&Pod| crate::simulated::is_pod_ready(pod);
    pods.iter().filter(is_ready).count()
}

/// Kills our program in a pod of a machine: seen from here it is an ordinary process, and its
/// control group names the pod.
fn kill_in_pod(uid: &str) -> Result<bool> {
    let mut killed = false;
    for entry in fs::read_dir("/proc").context("failed to list processes")? {
        let path = entry.context("failed to list processes")?.path();
        let Some(pid) = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok())
        else {
            continue;
        };
        // What ended meanwhile has neither.
        let (Ok(groups), Ok(command)) = (
            fs::read_to_string(path.join("cgroup")),
            fs::read_to_string(path.join("cmdline")),
        ) else {
            continue;
        };
        // Not the sandbox of the pod: without it the kubelet would make a new one.
        if groups.contains(uid) && command.starts_with("/slipway-") {
            kill(Pid::from_raw(pid), Signal::SIGKILL).context("failed to kill")?;
            killed = true;
        }
    }
    Ok(killed)
}
