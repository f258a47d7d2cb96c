//! How the program of a pod is started on a simulated machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::logind;
use super::machine::Machine;
use super::pods::{self, Kind};
use super::program::Launch;

/// Flags that a pod may set and that the harness sets otherwise.
const OVERRIDDEN: [&str; 10] = [
    "kubeconfig",
    "listen",
    "node-name",
    "boot-id-file",
    "sentinel",
    "state-dir",
    "dbus-address",
    "settle",
    "poll",
    "log-format",
];

/// Where the programs of pods are.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    pub(super) agent: PathBuf,
    pub(super) operator: PathBuf,
    /// How often one that is Ready is asked again.
    pub(super) probe_every: Duration,
    /// Set on top of what the pods say.
    pub(super) environment: Vec<(String, String)>,
}

/// The command line of a pod's program: what the pod says, with paths and addresses of this machine.
///
/// The pod's directory holds the kubeconfig by then.
pub(super) fn of(
    pod: &Pod,
    kind: Kind,
    machine: &Machine,
    programs: &Programs,
    address: &str,
) -> Result<Launch> {
    let container = pods::container_of(pod).context("a pod without a container")?;
    let directory = machine.pod_directory(&pod.uid().unwrap_or_default());
    let host = machine.host();
    let mut environment = pods::environment(pod, container, address);
    let own = [
        ("SLIPWAY_KUBECONFIG", text(&directory.join("kubeconfig"))),
        ("SLIPWAY_NODE_NAME", machine.name().to_owned()),
        ("SLIPWAY_BOOT_ID_FILE", text(&host.boot_id_file())),
        ("SLIPWAY_SENTINELS", text(&host.sentinel())),
        ("SLIPWAY_STATE_DIR", text(&host.state())),
        ("SLIPWAY_HOST_DIR", text(host.root())),
        ("SLIPWAY_DBUS_ADDRESS", logind::address(host)),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    for (name, value) in own.into_iter().chain(programs.environment.clone()) {
        environment.retain(|(present, _)| *present != name);
        environment.push((name, value));
    }
    Ok(Launch {
        name: format!("{} on {}", pod.name_any(), machine.name()),
        program: match kind {
            Kind::Operator => programs.operator.clone(),
            Kind::Agent | Kind::Pretended => programs.agent.clone(),
        },
        arguments: pods::arguments_without(container, &OVERRIDDEN),
        environment,
        log: directory.with_file_name(format!("{}.log", pod.name_any())),
        port: 0,
    })
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
