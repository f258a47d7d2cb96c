//! The credentials of pods, for whoever plays the kubelet.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::Client;

use super::kubeconfig::{self, Identity, write_private};
use super::tokens;

/// Gives pods tokens and kubeconfigs without the control plane itself, which a test may be busy
/// stopping and starting.
#[derive(Clone)]
pub struct PodCredentials {
    client: Client,
    url: String,
    ca: String,
}

impl PodCredentials {
    pub(super) fn new(client: Client, url: String, ca: String) -> Self {
        Self { client, url, ca }
    }

    /// Writes a fresh token of the service account, bound to the pod, in place of the one before.
    pub async fn write_token(
        &self,
        namespace: &str,
        service_account: &str,
        pod: (&str, &str),
        path: &Path,
    ) -> Result<()> {
        let (name, uid) = pod;
        let client = self.client.clone();
        let token = tokens::pod_token(client, namespace, service_account, name, uid).await?;
        let draft = draft_of(path);
        write_private(&draft, &token)?;
        // Renamed into place: the program must never read half a token.
        std::fs::rename(&draft, path).with_context(|| format!("failed to write {}", path.display()))
    }

    /// Writes a kubeconfig that names a token file.
    pub fn write_kubeconfig(&self, token_file: &Path, path: &Path) -> Result<()> {
        let identity = Identity::TokenFile(token_file);
        let document = kubeconfig::document(&self.url, &self.ca, &identity);
        write_private(path, &document.to_string())
    }
}

fn draft_of(path: &Path) -> PathBuf {
    path.with_extension("draft")
}
