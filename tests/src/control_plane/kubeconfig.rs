//! Kubeconfig files and clients for one API server.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use super::certificates::Credential;

/// A connection attempt that takes longer is a failed one: everything is on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Above the minute between two bookmarks of an idle watch.
const READ_TIMEOUT: Duration = Duration::from_secs(90);

/// How a client proves who it is.
pub(super) enum Identity<'a> {
    /// By a client certificate.
    Certificate(&'a Credential),
    /// By a token in a file, which is read again as the client library sees fit.
    TokenFile(&'a Path),
    /// By a token.
    Token(&'a str),
}

/// The kubeconfig of one identity, as its JSON (which is YAML too).
pub(super) fn document(server: &str, ca: &str, identity: &Identity<'_>) -> Value {
    let user = match identity {
        Identity::Certificate(credential) => json!({
            "client-certificate-data": STANDARD.encode(&credential.certificate),
            "client-key-data": STANDARD.encode(&credential.key),
        }),
        Identity::TokenFile(path) => json!({ "tokenFile": path }),
        Identity::Token(token) => json!({ "token": token }),
    };
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "lab", "cluster": {
            "server": server,
            "certificate-authority-data": STANDARD.encode(ca),
        }}],
        "users": [{ "name": "user", "user": user }],
        "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": "user" } }],
        "current-context": "lab",
    })
}

/// Writes a file that only its owner may read: a kubeconfig or a key.
pub(super) fn write_private(path: &Path, content: &str) -> Result<()> {
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .with_context(|| format!("failed to write {}", path.display()))
}

/// A client for a kubeconfig document. It never retries by itself: tests want to see each answer.
pub(super) async fn client(document: Value) -> Result<Client> {
    install_crypto_provider();
    let kubeconfig: Kubeconfig =
        serde_json::from_value(document).context("failed to read the kubeconfig")?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .context("failed to make a client configuration")?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    // A pooled connection's idle time must not count against the next answer.
    config.reset_reader_on_write = true;
    config.default_retry = false;
    Client::try_from(config).context("failed to make a client")
}

/// Installs the TLS provider of this process; later calls change nothing.
pub fn install_crypto_provider() {
    // An error says that one is installed already, which is all that is wanted.
    drop(rustls::crypto::ring::default_provider().install_default());
}
