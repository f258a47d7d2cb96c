//! Why the agent ends: only what no waiting can mend.

use std::net::SocketAddr;

/// Why [`crate::run`] returned.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// There is no client to be made from the configuration.
    #[error("failed to make a client for the API server")]
    Connect {
        /// The cause.
        #[source]
        source: slipway_client::ConnectError,
    },
    /// The address of the probes is taken.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The token belongs to another node: every write would be about the wrong machine.
    #[error("refused to run as node {configured}: the agent's token belongs to node {token}")]
    WrongNode {
        /// `--node-name`.
        configured: String,
        /// The claim of the token.
        token: String,
    },
}
