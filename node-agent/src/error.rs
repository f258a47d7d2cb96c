//! Why the agent ends, and why a pass fails.

use std::net::SocketAddr;

use slipway_client::version::VersionError;
use slipway_client::{CallError, ErrorClass, chain};

use crate::host::HostError;
use crate::journal::JournalError;

/// Why [`crate::run`] returned: only what no waiting can mend.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
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
    /// The API server is not one that is spoken to.
    #[error(transparent)]
    Version(VersionError),
}

/// Why one pass failed; the next one begins with fresh reads.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The API server.
    #[error("failed to talk to the API server")]
    Api {
        /// The cause.
        #[source]
        source: CallError,
    },
    /// The machine.
    #[error("failed to ask the machine")]
    Host {
        /// The cause.
        #[source]
        source: HostError,
    },
    /// The journal. Nothing is accepted or committed that it cannot record.
    #[error("failed to keep the journal")]
    Journal {
        /// The cause.
        #[source]
        source: JournalError,
    },
    /// Nothing is accepted while this agent's rights have no bounds (faults.md F80).
    #[error("failed to prove that admission is in force: {problem}")]
    Admission {
        /// What is missing.
        problem: String,
    },
    /// There is no Node of our name.
    #[error("failed to find the Node {name}: it is not registered, or --node-name is wrong")]
    NodeMissing {
        /// The name.
        name: String,
    },
}

impl PassError {
    /// An error of the API server.
    pub fn api(source: CallError) -> Self {
        Self::Api { source }
    }

    /// True when a fresh read resolves it.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Api { source } => source.class() == ErrorClass::Conflict,
            Self::Host { .. }
            | Self::Journal { .. }
            | Self::Admission { .. }
            | Self::NodeMissing { .. } => false,
        }
    }
}

/// An error of the API server with its causes. A kind that the API server does not know is said
/// plainly: `404 page not found` has sent people looking in the wrong place.
pub(crate) fn told(error: &CallError, kinds: &str, plural: &str) -> String {
    let named = error.status().and_then(|status| status.details.as_ref());
    if error.is_not_found() && named.is_none_or(|details| details.name.is_empty()) {
        return format!(
            "the API server does not know {kinds}: the CRD {plural}.slipway.dev is missing"
        );
    }
    chain(error)
}
