//! What a test may choose about its simulated cluster.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::control_plane::ControlPlaneOptions;

/// Choices for one simulated cluster.
#[derive(Debug, Clone)]
pub struct SimulatedOptions {
    /// How many nodes: `n1`, `n2` and so on.
    pub nodes: usize,
    /// Over how many zones they are spread, one after the other: `zone-1`, `zone-2` and so on.
    pub zones: usize,
    /// How long a machine stays off when it reboots.
    pub off_for: Duration,
    /// Whether agents and operators reach the API server through a proxy that makes faults.
    pub behind_proxy: bool,
    /// Whether to apply `examples/install.yaml`.
    pub install: bool,
    /// The real agent, in place of the one on a simulated host: its machine has a logind of ours then.
    pub agent: Option<PathBuf>,
    /// How often a program that is Ready is asked again whether it is; at every look where it is zero.
    pub probe_every: Duration,
    /// Environment of agents and operators on top of what their pods say. The default makes an
    /// agent believe its sentinel files at once instead of after some seconds.
    pub environment: BTreeMap<String, String>,
    /// Choices for the control plane.
    pub control_plane: ControlPlaneOptions,
}

impl Default for SimulatedOptions {
    fn default() -> Self {
        let environment = [
            ("SLIPWAY_SETTLE", "200ms"),
            ("SLIPWAY_POLL", "2s"),
            ("SLIPWAY_LOG_FORMAT", "text"),
        ];
        Self {
            nodes: 3,
            zones: 3,
            off_for: Duration::from_secs(1),
            behind_proxy: false,
            install: true,
            agent: None,
            probe_every: Duration::ZERO,
            environment: environment
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            control_plane: ControlPlaneOptions::default(),
        }
    }
}

impl SimulatedOptions {
    /// The default with a number of nodes.
    pub fn with_nodes(nodes: usize) -> Self {
        Self {
            nodes,
            ..Self::default()
        }
    }
}
