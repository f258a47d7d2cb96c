//! The command lines of the servers.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::audit;
use super::options::ControlPlaneOptions;
use super::ports::Ports;
use crate::cache;

/// The range of Service addresses; its first one is the API server's.
const SERVICE_RANGE: &str = "10.96.0.0/16";
/// The address of the Service `kubernetes`.
pub(super) const SERVICE_ADDRESS: &str = "10.96.0.1";
const LOOPBACK: &str = "127.0.0.1";

/// The files of one control plane, below its directory.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) ca: PathBuf,
    pub(super) server_certificate: PathBuf,
    pub(super) server_key: PathBuf,
    pub(super) kubelet_certificate: PathBuf,
    pub(super) kubelet_key: PathBuf,
    pub(super) service_account_key: PathBuf,
    pub(super) service_account_public_key: PathBuf,
    pub(super) audit_policy: PathBuf,
    pub(super) admin_kubeconfig: PathBuf,
    pub(super) controller_manager_kubeconfig: PathBuf,
    pub(super) scheduler_kubeconfig: PathBuf,
}

impl Files {
    pub(super) fn below(directory: &Path) -> Self {
        Self {
            ca: directory.join("ca.crt"),
            server_certificate: directory.join("apiserver.crt"),
            server_key: directory.join("apiserver.key"),
            kubelet_certificate: directory.join("kubelet-client.crt"),
            kubelet_key: directory.join("kubelet-client.key"),
            service_account_key: directory.join("sa.key"),
            service_account_public_key: directory.join("sa.pub"),
            audit_policy: directory.join("audit-policy.yaml"),
            admin_kubeconfig: directory.join("admin.kubeconfig"),
            controller_manager_kubeconfig: directory.join("controller-manager.kubeconfig"),
            scheduler_kubeconfig: directory.join("scheduler.kubeconfig"),
        }
    }
}

/// What etcd logs once it serves clients.
pub(super) const ETCD_READY: &str = "ready to serve client requests";

/// Appends `--name=value`.
fn flag(command: &mut Command, name: &str, value: impl AsRef<std::ffi::OsStr>) {
    let mut argument = std::ffi::OsString::from(format!("--{name}="));
    argument.push(value);
    command.arg(argument);
}

pub(super) fn etcd(ports: Ports, data: &Path) -> Result<Command> {
    let client = format!("http://{LOOPBACK}:{}", ports.etcd_client);
    let peer = format!("http://{LOOPBACK}:{}", ports.etcd_peer);
    let mut command = cache::kubernetes_program("etcd")?;
    flag(&mut command, "data-dir", data);
    flag(&mut command, "listen-client-urls", &client);
    flag(&mut command, "advertise-client-urls", &client);
    flag(&mut command, "listen-peer-urls", &peer);
    flag(&mut command, "initial-advertise-peer-urls", &peer);
    flag(&mut command, "initial-cluster", format!("default={peer}"));
    // The line that says "ready" is waited for.
    flag(&mut command, "log-level", "info");
    // The data does not outlive the test, so nothing is gained by waiting for a disk.
    command.arg("--unsafe-no-fsync");
    Ok(command)
}

pub(super) fn api_server(
    ports: Ports,
    files: &Files,
    options: &ControlPlaneOptions,
) -> Result<Command> {
    let mut command = cache::kubernetes_program("kube-apiserver")?;
    let c = &mut command;
    flag(
        c,
        "etcd-servers",
        format!("http://{LOOPBACK}:{}", ports.etcd_client),
    );
    flag(c, "secure-port", ports.api_server.to_string());
    flag(c, "bind-address", options.bind_address.to_string());
    if let Some(address) = options.advertise_address {
        flag(c, "advertise-address", address.to_string());
    } else {
        // A loopback address may not stand in the endpoints of a Service.
        flag(c, "advertise-address", LOOPBACK);
        flag(c, "endpoint-reconciler-type", "none");
    }
    flag(c, "tls-cert-file", &files.server_certificate);
    flag(c, "tls-private-key-file", &files.server_key);
    flag(c, "client-ca-file", &files.ca);
    flag(c, "kubelet-client-certificate", &files.kubelet_certificate);
    flag(c, "kubelet-client-key", &files.kubelet_key);
    flag(c, "kubelet-preferred-address-types", "InternalIP");
    flag(c, "service-cluster-ip-range", SERVICE_RANGE);
    flag(
        c,
        "service-account-issuer",
        "https://kubernetes.default.svc",
    );
    flag(
        c,
        "service-account-key-file",
        &files.service_account_public_key,
    );
    flag(
        c,
        "service-account-signing-key-file",
        &files.service_account_key,
    );
    flag(c, "authorization-mode", "Node,RBAC");
    flag(c, "enable-admission-plugins", "NodeRestriction");
    flag(c, "allow-privileged", "true");
    flag(c, "profiling", "false");
    if options.audit {
        let log = audit::log_name(ports.api_server);
        flag(c, "audit-policy-file", &files.audit_policy);
        flag(c, "audit-log-path", files.audit_policy.with_file_name(log));
    }
    c.args(options.feature_gates_flag());
    c.args(&options.api_server_flags);
    Ok(command)
}

pub(super) fn controller_manager(files: &Files, options: &ControlPlaneOptions) -> Result<Command> {
    let mut command = cache::kubernetes_program("kube-controller-manager")?;
    let c = &mut command;
    flag(c, "kubeconfig", &files.controller_manager_kubeconfig);
    flag(c, "root-ca-file", &files.ca);
    flag(
        c,
        "service-account-private-key-file",
        &files.service_account_key,
    );
    // One identity for all controllers: an identity for each costs a token request at the start.
    flag(c, "use-service-account-credentials", "false");
    flag(c, "leader-elect", "false");
    flag(c, "controllers", "*");
    flag(c, "allocate-node-cidrs", "false");
    flag(
        c,
        "node-monitor-period",
        milliseconds(options.node_monitor_period),
    );
    flag(
        c,
        "node-monitor-grace-period",
        milliseconds(options.node_monitor_grace),
    );
    // The defaults (20 and 30) slow down the start and every rollout.
    flag(c, "kube-api-qps", "200");
    flag(c, "kube-api-burst", "400");
    // No metrics, so no port that could collide.
    flag(c, "secure-port", "0");
    c.args(options.feature_gates_flag());
    c.args(&options.controller_manager_flags);
    Ok(command)
}

pub(super) fn scheduler(files: &Files, options: &ControlPlaneOptions) -> Result<Command> {
    let mut command = cache::kubernetes_program("kube-scheduler")?;
    let c = &mut command;
    flag(c, "kubeconfig", &files.scheduler_kubeconfig);
    flag(c, "leader-elect", "false");
    flag(c, "secure-port", "0");
    c.args(options.feature_gates_flag());
    Ok(command)
}

/// A duration as the servers' flags want it.
fn milliseconds(duration: std::time::Duration) -> String {
    format!("{}ms", duration.as_millis())
}
