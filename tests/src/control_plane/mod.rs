//! A private Kubernetes control plane: etcd, API server, controller manager and scheduler.
//!
//! Owns starting, stopping, killing and freezing them, their certificates, ports and directories,
//! and the clients and kubeconfigs for them. Each control plane has an authority of its own, so a
//! client of one is refused by another. Any number run side by side.
//! Never runs nodes, and never leaves the process's own network namespace: to serve machines of a
//! lab network, run the whole process inside that namespace.
//! Called by tests and the demo.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use kube::Client;
use tempfile::TempDir;

pub mod apply;
mod audit;
pub mod certificates;
mod etcd;
mod issuer;
mod kubeconfig;
mod link;
mod options;
pub(crate) mod ports;
mod second;
mod servers;
mod startup;
mod tokens;

pub use issuer::PodCredentials;
pub use kubeconfig::install_crypto_provider;
pub use options::ControlPlaneOptions;

use crate::cache;
use crate::fault_proxy::FaultProxy;
use crate::process::Process;
use certificates::Authority;
use kubeconfig::Identity;
use ports::Ports;
use second::Second;
use servers::Files;
use startup::is_port_collision;

/// How often the start is repeated because another process took a port.
const PORT_ATTEMPTS: u32 = 5;
/// How long a server may take to end when asked.
const STOP_BOUND: Duration = Duration::from_secs(15);

/// A running control plane; dropping it kills its servers and removes its directories.
///
/// Its directory, with the logs, stays where the test panics or `SLIPWAY_LAB_KEEP` is set.
pub struct ControlPlane {
    // The order of drops: every server before the directories.
    scheduler: Option<Process>,
    controller_manager: Option<Process>,
    second: Option<Second>,
    api_server: Option<Process>,
    etcd: Option<Process>,
    options: ControlPlaneOptions,
    ports: Ports,
    files: Files,
    authority: Authority,
    admin: Option<Client>,
    etcd_data: TempDir,
    directory: TempDir,
}

impl ControlPlane {
    /// Starts a control plane and waits until it serves.
    ///
    /// That is: the API server is ready, and with a controller manager the service account
    /// `default` of the namespace `default` exists, so that pods can be created.
    pub async fn start(options: ControlPlaneOptions) -> Result<Self> {
        let mut control_plane = Self::prepare(options)?;
        for attempt in 1.. {
            match control_plane.start_servers().await {
                Ok(()) => break,
                Err(error) if attempt < PORT_ATTEMPTS && is_port_collision(&error) => {
                    control_plane.kill_all()?;
                    control_plane.ports = Ports::pick(control_plane.options.api_server_port)?;
                }
                Err(error) => return Err(error.context("failed to start a control plane")),
            }
        }
        Ok(control_plane)
    }

    /// The kubeconfig of a member of `system:masters`.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.files.admin_kubeconfig
    }

    /// A client with the admin's rights.
    pub fn admin_client(&self) -> Result<Client> {
        self.admin
            .clone()
            .context("the control plane was never started")
    }

    /// Writes a kubeconfig with a client certificate for a user; two groups at most.
    ///
    /// A node is `system:node:NAME` in the group `system:nodes`.
    pub fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        let credential = self.authority.issue_client(user, groups)?;
        self.write_kubeconfig(user, &self.url(), &Identity::Certificate(&credential))
    }

    /// A client with a certificate for a user; two groups at most.
    pub async fn client_for(&self, user: &str, groups: &[&str]) -> Result<Client> {
        let credential = self.authority.issue_client(user, groups)?;
        self.client(&Identity::Certificate(&credential)).await
    }

    /// A client that shows a token.
    pub async fn client_with_token(&self, token: &str) -> Result<Client> {
        self.client(&Identity::Token(token)).await
    }

    /// A token of a service account, valid for an hour and bound to a pod: with the pod's claims and,
    /// once it is scheduled to a node that exists, with the node's.
    pub async fn pod_token(
        &self,
        namespace: &str,
        service_account: &str,
        pod_name: &str,
        pod_uid: &str,
    ) -> Result<String> {
        tokens::pod_token(
            self.admin_client()?,
            namespace,
            service_account,
            pod_name,
            pod_uid,
        )
        .await
    }

    /// What a simulated kubelet needs to give its pods their credentials; `url` is where they reach
    /// the API server.
    pub fn pod_credentials(&self, url: String) -> Result<PodCredentials> {
        Ok(PodCredentials::new(
            self.admin_client()?,
            url,
            self.ca_pem(),
        ))
    }

    /// Starts a proxy in front of the API server. It ends when it is dropped.
    pub async fn fault_proxy(&self) -> Result<FaultProxy> {
        FaultProxy::start(&self.authority, self.ports.api_server).await
    }

    /// The certificate of the authority, in PEM.
    pub fn ca_pem(&self) -> String {
        self.authority.certificate()
    }

    /// Where machines, pods and our own clients reach the API server.
    pub fn url(&self) -> String {
        match self.options.advertise_address {
            Some(address) => format!("https://{address}:{}", self.ports.api_server),
            None => self.local_url(),
        }
    }

    /// The API server's port.
    pub fn port(&self) -> u16 {
        self.ports.api_server
    }

    /// The directory of certificates, kubeconfigs and logs.
    pub fn dir(&self) -> &Path {
        self.directory.path()
    }

    /// Leaves the directory with the logs when this is dropped, for whoever looks into a failure.
    pub fn keep_directory(&mut self) {
        self.directory.disable_cleanup(true);
    }

    /// kubectl with the admin's kubeconfig and a discovery cache of its own.
    pub fn kubectl(&self) -> Result<Command> {
        let mut command = cache::kubernetes_program("kubectl")?;
        command
            .env("KUBECONFIG", self.admin_kubeconfig())
            .env("KUBECACHEDIR", self.dir().join("kubectl-cache"));
        Ok(command)
    }

    /// Kills the API server as a crash would; etcd keeps the state.
    pub fn kill_api_server(&mut self) -> Result<()> {
        self.api_server
            .take()
            .map_or(Ok(()), |mut server| server.kill())
    }

    /// Starts the API server again, on the same port and the same etcd, and waits until it serves.
    pub async fn start_api_server(&mut self) -> Result<()> {
        if self.api_server.is_none() {
            let command = servers::api_server(self.ports, &self.files, &self.options)?;
            self.api_server = Some(self.spawn("kube-apiserver", &command)?);
        }
        self.wait_ready().await
    }

    /// Freezes the API server: connections stay open and nothing answers.
    pub async fn suspend_api_server(&mut self) -> Result<()> {
        self.running_api_server()?.suspend().await
    }

    /// Lets a frozen API server go on, and waits until it serves.
    pub async fn resume_api_server(&mut self) -> Result<()> {
        self.running_api_server()?.resume()?;
        self.wait_ready().await
    }

    /// Ends all servers in order: an API server that lost its etcd hangs, so etcd goes last.
    pub async fn stop(mut self) -> Result<()> {
        let servers = [
            self.scheduler.take(),
            self.controller_manager.take(),
            self.api_server.take(),
            self.etcd.take(),
        ];
        // Killed: with its link frozen it would hang.
        drop(self.second.take());
        for mut server in servers.into_iter().flatten() {
            server.terminate(STOP_BOUND).await?;
        }
        Ok(())
    }

    fn running_api_server(&mut self) -> Result<&mut Process> {
        self.api_server
            .as_mut()
            .context("the API server does not run")
    }

    fn local_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.api_server)
    }

    async fn client(&self, identity: &Identity<'_>) -> Result<Client> {
        kubeconfig::client(kubeconfig::document(&self.url(), &self.ca_pem(), identity)).await
    }

    fn write_kubeconfig(&self, name: &str, url: &str, identity: &Identity<'_>) -> Result<PathBuf> {
        let file: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let path = self
            .dir()
            .join(format!("user-{}.kubeconfig", file.trim_matches('-')));
        let document = kubeconfig::document(url, &self.ca_pem(), identity);
        kubeconfig::write_private(&path, &document.to_string())?;
        Ok(path)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // Logs are for whoever looks into a failure.
        if std::thread::panicking() || std::env::var_os("SLIPWAY_LAB_KEEP").is_some() {
            self.directory.disable_cleanup(true);
            eprintln!("the control plane's logs stay in {}", self.dir().display());
        }
    }
}
