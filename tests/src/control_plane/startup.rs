//! Bringing a control plane up: its files first, then its servers in order.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::GetParams;
use kube::core::request::Request;
use kube::{Api, Client};
use std::process::Command;
use tempfile::TempDir;

use super::certificates::{Authority, service_account_keys};
use super::kubeconfig::{self, Identity, write_private};
use super::options::ControlPlaneOptions;
use super::ports::Ports;
use super::servers::{self, Files};
use super::{ControlPlane, audit};
use crate::process::Process;
use crate::wait::wait_until;

/// How long etcd may take; a fraction of a second on an idle machine.
const ETCD_BOUND: Duration = Duration::from_secs(30);
/// How long the API server may take; 3 s on an idle machine.
pub(super) const READY_BOUND: Duration = Duration::from_mins(1);
/// How long one look at the API server may take.
const PROBE_BOUND: Duration = Duration::from_secs(2);
/// A file system in memory, for etcd.
const MEMORY: &str = "/dev/shm";
/// How many lines of a dead server's log go into a message.
const LOG_LINES: usize = 15;

impl ControlPlane {
    /// Makes directories and certificates; starts nothing.
    pub(super) fn prepare(options: ControlPlaneOptions) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("slipway-control-plane-")
            .tempdir()
            .context("failed to make a directory")?;
        let etcd_data =
            etcd_directory(directory.path()).context("failed to make etcd's directory")?;
        let files = Files::below(directory.path());
        let authority = Authority::new()?;

        let mut names: Vec<String> = [
            "127.0.0.1",
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            servers::SERVICE_ADDRESS,
        ]
        .map(String::from)
        .to_vec();
        names.extend(options.advertise_address.map(|address| address.to_string()));
        names.extend(options.extra_names.iter().cloned());
        let server = authority.issue_server("kube-apiserver", names)?;
        let kubelet_client = authority.issue_client("kube-apiserver", &["system:masters"])?;
        let (private, public) = service_account_keys()?;
        for (path, content) in [
            (&files.ca, &authority.certificate()),
            (&files.server_certificate, &server.certificate),
            (&files.server_key, &server.key),
            (&files.kubelet_certificate, &kubelet_client.certificate),
            (&files.kubelet_key, &kubelet_client.key),
            (&files.service_account_key, &private),
            (&files.service_account_public_key, &public),
            (&files.audit_policy, &audit::policy(&options.audited_users)),
        ] {
            write_private(path, content)?;
        }
        Ok(Self {
            scheduler: None,
            controller_manager: None,
            second: None,
            api_server: None,
            etcd: None,
            ports: Ports::pick(options.api_server_port)?,
            options,
            files,
            authority,
            admin: None,
            etcd_data,
            directory,
        })
    }

    /// Starts every server on the chosen ports and waits until they serve.
    pub(super) async fn start_servers(&mut self) -> Result<()> {
        self.admin = Some(self.write_own_kubeconfigs().await?);
        self.start_etcd().await?;
        self.start_api_server().await?;
        if self.options.controller_manager {
            let command = servers::controller_manager(&self.files, &self.options)?;
            self.controller_manager = Some(self.spawn("kube-controller-manager", &command)?);
        }
        if self.options.scheduler {
            let command = servers::scheduler(&self.files, &self.options)?;
            self.scheduler = Some(self.spawn("kube-scheduler", &command)?);
        }
        if self.options.controller_manager {
            self.wait_for_default_account().await?;
        }
        Ok(())
    }

    /// Starts one server, with its output in a log of its name.
    pub(super) fn spawn(&self, name: &str, command: &Command) -> Result<Process> {
        let log = self.dir().join(format!("{name}.log"));
        // A killed test drops nothing: then etcd's supervisor gives back the memory. Only etcd's,
        // and only there: the logs of a killed test are worth having.
        let clean_up = [self.etcd_data.path()];
        let clean_up = if name == "etcd" { &clean_up[..] } else { &[] };
        Process::spawn_with_clean_up(name, command, &log, clean_up)
    }

    /// Waits until the API server says that it is ready.
    pub(super) async fn wait_ready(&mut self) -> Result<()> {
        let client = self.admin_client()?;
        wait_until("the API server to be ready", READY_BOUND, || {
            let dead = self.dead_server();
            let client = client.clone();
            async move {
                match dead {
                    // No use in waiting on: hand the error out as the value.
                    Some(error) => Ok(Some(Err(error))),
                    None => readyz(&client).await.map(|()| Some(Ok(()))),
                }
            }
        })
        .await?
    }

    /// Kills whatever runs, for a new start.
    pub(super) fn kill_all(&mut self) -> Result<()> {
        for mut server in [
            self.scheduler.take(),
            self.controller_manager.take(),
            self.api_server.take(),
            self.etcd.take(),
        ]
        .into_iter()
        .flatten()
        {
            server.kill()?;
            fs::remove_file(server.log()).context("failed to remove a log")?;
        }
        Ok(())
    }

    /// Writes the kubeconfigs of the servers and the admin, and makes the admin's client.
    async fn write_own_kubeconfigs(&self) -> Result<Client> {
        let masters: &[&str] = &["system:masters"];
        for (path, user, groups) in [
            (&self.files.admin_kubeconfig, "admin", masters),
            (
                &self.files.controller_manager_kubeconfig,
                "system:kube-controller-manager",
                masters,
            ),
            (
                &self.files.scheduler_kubeconfig,
                "system:kube-scheduler",
                &[],
            ),
        ] {
            let credential = self.authority.issue_client(user, groups)?;
            let identity = Identity::Certificate(&credential);
            let document = kubeconfig::document(&self.local_url(), &self.ca_pem(), &identity);
            write_private(path, &document.to_string())?;
        }
        let credential = self.authority.issue_client("admin", masters)?;
        let identity = Identity::Certificate(&credential);
        kubeconfig::client(kubeconfig::document(
            &self.local_url(),
            &self.ca_pem(),
            &identity,
        ))
        .await
    }

    async fn start_etcd(&mut self) -> Result<()> {
        let command = servers::etcd(self.ports, self.etcd_data.path())?;
        let process = self.spawn("etcd", &command)?;
        let log = process.log().to_owned();
        self.etcd = Some(process);
        // Its log, not its port: behind the port may be another's etcd that was faster.
        wait_until("etcd to be ready", ETCD_BOUND, || {
            let dead = self.dead_server();
            let ready = fs::read_to_string(&log).map(|text| text.contains(servers::ETCD_READY));
            async move {
                match dead {
                    Some(error) => Ok(Some(Err(error))),
                    None => Ok(ready?.then_some(Ok(()))),
                }
            }
        })
        .await?
    }

    async fn wait_for_default_account(&mut self) -> Result<()> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin_client()?, "default");
        wait_until("the ServiceAccount default/default", READY_BOUND, || {
            let dead = self.dead_server();
            let accounts = accounts.clone();
            async move {
                if let Some(error) = dead {
                    return Ok(Some(Err(error)));
                }
                let account =
                    tokio::time::timeout(PROBE_BOUND, accounts.get_opt("default")).await??;
                Ok(account.map(|_| Ok(())))
            }
        })
        .await?
    }

    /// The first server that should run and has ended, with the end of its log.
    fn dead_server(&mut self) -> Option<anyhow::Error> {
        [
            &mut self.etcd,
            &mut self.api_server,
            &mut self.controller_manager,
            &mut self.scheduler,
        ]
        .into_iter()
        .flatten()
        .find_map(|server| {
            (!server.is_running()).then(|| {
                anyhow!(
                    "{} has ended:\n{}",
                    server.name(),
                    server.log_tail(LOG_LINES)
                )
            })
        })
    }
}

/// Whether a start failed because another process had the port.
pub(super) fn is_port_collision(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains("address already in use")
}

pub(super) async fn readyz(client: &Client) -> Result<()> {
    let request = Request::new("").get("readyz", &GetParams::default())?;
    tokio::time::timeout(PROBE_BOUND, client.request_text(request)).await??;
    Ok(())
}

/// A directory for etcd's data: in memory where that can be written, else below the other files.
///
/// It carries the name of the control plane's directory, so that all of one can be found together.
fn etcd_directory(directory: &Path) -> std::io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    let name = directory.file_name().unwrap_or_default();
    builder
        .prefix(name)
        .rand_bytes(0)
        .tempdir_in(MEMORY)
        .or_else(|_| builder.tempdir_in(directory))
}
