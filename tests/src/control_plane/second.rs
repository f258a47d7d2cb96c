//! A second API server on the same etcd, which can be made to fall behind.
//!
//! It reaches etcd over a link of its own: frozen, its watches show the past and its reads at quorum
//! hang, while the first server goes on.

use anyhow::{Context, Result};

use super::kubeconfig::{self, Identity};
use super::link::Link;
use super::ports::{Ports, free_port};
use super::startup::{READY_BOUND, readyz};
use super::{ControlPlane, servers};
use crate::process::Process;
use crate::wait::wait_until;

/// The second server with its link.
pub(super) struct Second {
    // Before the link: a server without etcd does not end when asked.
    _server: Process,
    link: Link,
    port: u16,
}

impl ControlPlane {
    /// Starts a second API server and waits until it serves; its port.
    pub async fn start_second_api_server(&mut self) -> Result<u16> {
        let link = Link::start(self.ports.etcd_client).await?;
        let (port, held) = free_port()?;
        drop(held);
        let ports = Ports {
            etcd_client: link.port(),
            api_server: port,
            ..self.ports
        };
        let command = servers::api_server(ports, &self.files, &self.options)?;
        let server = self.spawn("kube-apiserver-2", &command)?;
        self.second = Some(Second {
            _server: server,
            link,
            port,
        });
        let credential = self.authority.issue_client("admin", &["system:masters"])?;
        let document = kubeconfig::document(
            &format!("https://127.0.0.1:{port}"),
            &self.ca_pem(),
            &Identity::Certificate(&credential),
        );
        let client = kubeconfig::client(document).await?;
        wait_until("the second API server to be ready", READY_BOUND, || async {
            readyz(&client).await.map(Some)
        })
        .await?;
        Ok(port)
    }

    /// From now on nothing passes between the second API server and etcd, or everything again.
    pub fn freeze_second_api_server(&self, frozen: bool) -> Result<()> {
        self.second()?.link.freeze(frozen);
        Ok(())
    }

    /// Ends the second API server's connections to etcd: it makes new ones.
    pub fn cut_second_api_server(&self) -> Result<()> {
        self.second()?.link.cut();
        Ok(())
    }

    fn second(&self) -> Result<&Second> {
        self.second
            .as_ref()
            .context("there is no second API server")
    }

    /// The port of the second API server.
    pub fn second_port(&self) -> Result<u16> {
        Ok(self.second()?.port)
    }
}
