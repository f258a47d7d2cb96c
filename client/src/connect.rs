//! Clients of the API server, made one way.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::simulate;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a watch may be silent: above the minute between two bookmarks.
pub const READ_TIMEOUT: Duration = Duration::from_secs(90);

/// Where the API server is and who we are there.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// A kubeconfig file; without one, the pod's own service account.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig; the current one if absent.
    pub context: Option<String>,
    /// User to impersonate in every call (`Impersonate-User`).
    pub impersonate: Option<String>,
}

/// Why there is no client. The API server was not asked anything yet.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be read.
    #[error("failed to read the kubeconfig {path}")]
    ReadKubeconfig {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// No kubeconfig of the person can be read.
    #[error("failed to read a kubeconfig ($KUBECONFIG or ~/.kube/config)")]
    InferKubeconfig {
        /// The cause.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// Not in a pod, or its service account is not mounted.
    #[error("failed to read the pod's service account")]
    InCluster {
        /// The cause.
        #[source]
        source: Box<kube::config::InClusterError>,
    },
    /// The configuration makes no client.
    #[error("failed to make a client")]
    Build {
        /// The cause.
        #[source]
        source: Box<kube::Error>,
    },
}

/// Makes a client.
///
/// It never retries by itself: the library's default repeats 429 and 503 up to 15 times, which
/// hides a PodDisruptionBudget's refusal and repeats writes whose first answer was lost.
///
/// # Errors
/// See [`ConnectError`]. An API server that cannot be reached shows at the first call, not here.
pub async fn client(options: &ConnectOptions) -> Result<Client, ConnectError> {
    if let Some(simulated) = simulate::ask(|world| world.client(options)) {
        return Ok(simulated);
    }
    let config = match &options.kubeconfig {
        Some(path) => from_file(path, options).await?,
        None => Config::incluster().map_err(|source| ConnectError::InCluster {
            source: Box::new(source),
        })?,
    };
    build(config, options)
}

/// Makes a client for a person at a terminal: without a file, that of `$KUBECONFIG` or
/// `~/.kube/config`, as kubectl does.
///
/// # Errors
/// See [`ConnectError`].
pub async fn client_of_person(options: &ConnectOptions) -> Result<Client, ConnectError> {
    let config = match &options.kubeconfig {
        Some(path) => from_file(path, options).await?,
        None => Config::from_kubeconfig(&choice(options))
            .await
            .map_err(|source| ConnectError::InferKubeconfig {
                source: Box::new(source),
            })?,
    };
    build(config, options)
}

fn choice(options: &ConnectOptions) -> KubeConfigOptions {
    KubeConfigOptions {
        context: options.context.clone(),
        ..KubeConfigOptions::default()
    }
}

async fn from_file(path: &Path, options: &ConnectOptions) -> Result<Config, ConnectError> {
    let failed = |source| ConnectError::ReadKubeconfig {
        path: path.to_owned(),
        source: Box::new(source),
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
    Config::from_custom_kubeconfig(kubeconfig, &choice(options))
        .await
        .map_err(failed)
}

fn build(mut config: Config, options: &ConnectOptions) -> Result<Client, ConnectError> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    // A pooled connection's idle time must not count against the next answer.
    config.reset_reader_on_write = true;
    config.default_retry = false;
    if options.impersonate.is_some() {
        config
            .auth_info
            .impersonate
            .clone_from(&options.impersonate);
    }
    Client::try_from(config).map_err(|source| ConnectError::Build {
        source: Box::new(source),
    })
}

/// Installs the TLS provider of this process; later calls change nothing.
pub fn install_crypto_provider() {
    // An error says that one is installed already, which is all that is wanted.
    drop(rustls::crypto::ring::default_provider().install_default());
}
