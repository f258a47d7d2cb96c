//! Slipway's node agent: reports what its host asks for and, when leased, drains and reboots it.
//!
//! The pipeline, run again at every event (own lease changed, a check changed, a timer):
//! [`checks`] and [`host`] say what the machine asks for and which boot this is, [`observe`] reads
//! lease, ledger, Node and pods at quorum, [`decide`] (pure) chooses one action, and that one action
//! is carried out by a write that fails if the facts have changed.
//! Nothing is remembered between two passes that safety depends on: lease, Node, boot ID and the
//! [`journal`] on the host's disk say everything (faults.md G6).
//!
//! It never writes another node's objects, never a lease's `spec`, and never reboots on a doubt.

mod act;
mod admission;
mod agent;
pub mod backoff;
pub mod checks;
mod commit;
pub mod config;
pub mod decide;
pub mod drain;
pub mod error;
mod evict;
pub mod eviction;
pub mod facts;
pub mod health;
pub mod host;
pub mod installed;
pub mod journal;
pub mod lease_write;
pub mod memory;
pub mod node_write;
pub mod observe;
mod pass;
pub mod probe;
pub mod reason;
pub mod report;
pub mod rest;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use slipway_client::{ConnectError, ConnectOptions, chain, clock, connect, serve};
use tokio::sync::{Notify, watch};

pub use config::AgentConfig;
pub use error::AgentError;
pub use host::Host;

use backoff::Backoff;
use checks::Checks;
use config::EvictionIdentity;
use health::Health;
use journal::Store;
use memory::Memory;
use observe::Reader;
use pass::Agent;

/// Between two tries to get the host's lock.
const LOCK_PAUSE: Duration = Duration::from_secs(2);

/// Runs the agent until it fails for good; dropping the future stops it at any point, as a crash
/// would.
///
/// # Errors
/// Only what no waiting can mend: see [`AgentError`].
pub async fn run(config: AgentConfig, host: Arc<dyn Host>) -> Result<(), AgentError> {
    let started = clock::boottime();
    let health = Arc::new(Health::starting());
    let _server = listen(&config, &health).await?;
    let (connect, reader) = watch::channel(None);
    let checks = Checks::of(&config, reader);
    let (sender, board) = watch::channel(checks.board());
    let looks = checks.run(&sender);
    let work = async {
        let store = lock(&config.state_dir, &health).await;
        let reader = connected(&config, &health).await;
        connect.send_replace(Some(reader.clone()));
        Box::pin(probe::verify_version(&reader, &health)).await?;
        Box::pin(probe::verify_identity(&reader, &health)).await?;
        health.good(health::START);
        let agent = Agent {
            reader: reader.clone(),
            host: Arc::clone(&host),
            store,
            health: Arc::clone(&health),
            checks: checks.clone(),
            board,
            memory: Memory::default(),
            started,
            last: None,
        };
        let lease_changed = Arc::new(Notify::new());
        // In this order, so that a simulation can be replayed; none of them ever keeps the others out.
        tokio::select! {
            biased;
            never = Box::pin(agent.passes(&lease_changed)) => match never {},
            never = Box::pin(agent::watch_lease(&reader, &health, &lease_changed)) => match never {},
            never = Box::pin(probe::watch_permissions(&reader, &host, &health)) => match never {},
        }
    };
    tokio::select! {
        biased;
        ended = Box::pin(work) => ended,
        never = Box::pin(looks) => match never {},
    }
}

/// The server of the probes; ends with the agent.
struct Server(tokio::task::JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn listen(config: &AgentConfig, health: &Arc<Health>) -> Result<Server, AgentError> {
    let health = Arc::clone(health);
    let routes: serve::Routes = Arc::new(move |path: &str| health.answer(path));
    let failed = |source| AgentError::Listen {
        address: config.listen,
        source,
    };
    let (address, task) = serve::serve(config.listen, routes).await.map_err(failed)?;
    tracing::info!(%address, node = config.node_name, "listening");
    Ok(Server(task))
}

/// Waits for the host's lock: a second agent of the host does nothing at all (F19).
async fn lock(directory: &Path, health: &Health) -> Store {
    loop {
        match Store::open(directory) {
            Ok(store) => return store,
            Err(error) => health.bad(health::START, chain(&error)),
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}

/// Makes the clients; tries for ever, because what is missing may be mounted later.
async fn connected(config: &AgentConfig, health: &Health) -> Reader {
    let mut backoff = Backoff::default();
    loop {
        match reader(config).await {
            Ok(reader) => return reader,
            Err(error) => health.bad(health::START, chain(&error)),
        }
        tokio::time::sleep(backoff.failed()).await;
    }
}

async fn reader(config: &AgentConfig) -> Result<Reader, ConnectError> {
    let own = ConnectOptions {
        kubeconfig: config.kubeconfig.clone(),
        ..ConnectOptions::default()
    };
    let client = connect::client(&own).await?;
    let pod_client = match config.eviction {
        EvictionIdentity::Own => client.clone(),
        EvictionIdentity::Impersonate => {
            let node = ConnectOptions {
                impersonate: Some(format!("system:node:{}", config.node_name)),
                ..own
            };
            connect::client(&node).await?
        }
    };
    Ok(Reader {
        client,
        pod_client,
        node_name: config.node_name.clone(),
        namespace: config.namespace.clone(),
        proves_admission: config.require_admission_policies,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_move_between_threads<T: Send>(_: &T) {}

    #[test]
    fn the_agent_may_run_on_any_runtime() {
        let config = AgentConfig {
            node_name: "n1".into(),
            kubeconfig: None,
            listen: "127.0.0.1:0".parse().unwrap(),
            sentinels: Vec::new(),
            namespace: "slipway-system".into(),
            state_dir: "/nonexistent".into(),
            eviction: EvictionIdentity::Own,
            settle: Duration::ZERO,
            poll: Duration::ZERO,
            kernels: config::KernelPlaces::default(),
            checks: checks::installed::InstalledChecks::default(),
            require_admission_policies: true,
        };
        let methods = std::collections::BTreeMap::new();
        let host = host::machine::Machine::new("/nonexistent".into(), String::new(), methods);
        may_move_between_threads(&run(config, Arc::new(host)));
    }
}
