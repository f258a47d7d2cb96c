//! What a test may choose about its control plane.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Choices for one control plane; the default listens on loopback only and runs every server.
#[derive(Debug, Clone)]
pub struct ControlPlaneOptions {
    /// Where the API server listens. It must cover 127.0.0.1, by which our own clients come:
    /// 127.0.0.1 itself or 0.0.0.0. Every other server listens on 127.0.0.1.
    pub bind_address: IpAddr,
    /// The address by which machines and pods reach the API server. It is put into the
    /// `kubernetes` Service and into the server's certificate.
    pub advertise_address: Option<IpAddr>,
    /// The API server's port, for machines whose configuration names one; else any free port.
    pub api_server_port: Option<u16>,
    /// More names and addresses for the server's certificate.
    pub extra_names: Vec<String>,
    /// Feature gates of all servers, such as `ConstrainedImpersonation=false` for an older API.
    pub feature_gates: BTreeMap<String, bool>,
    /// Whether the API servers log who writes what, for `ControlPlane::audit_logs`.
    pub audit: bool,
    /// Users of whom every request is logged as well, reads and watches included.
    pub audited_users: Vec<String>,
    /// Further flags of the API server, each as `--name=value`.
    pub api_server_flags: Vec<String>,
    /// Further flags of the controller manager.
    pub controller_manager_flags: Vec<String>,
    /// Whether to run the controller manager. Without it there are no service accounts `default`,
    /// so pods need one of their own.
    pub controller_manager: bool,
    /// Whether to run the scheduler.
    pub scheduler: bool,
    /// How often the controller manager looks at nodes.
    pub node_monitor_period: Duration,
    /// How long a node may be silent before it counts as unreachable.
    pub node_monitor_grace: Duration,
}

impl Default for ControlPlaneOptions {
    fn default() -> Self {
        Self {
            bind_address: Ipv4Addr::LOCALHOST.into(),
            advertise_address: None,
            api_server_port: None,
            extra_names: Vec::new(),
            feature_gates: BTreeMap::new(),
            audit: false,
            audited_users: Vec::new(),
            api_server_flags: Vec::new(),
            controller_manager_flags: Vec::new(),
            controller_manager: true,
            scheduler: true,
            node_monitor_period: Duration::from_secs(1),
            node_monitor_grace: Duration::from_secs(12),
        }
    }
}

impl ControlPlaneOptions {
    /// The `--feature-gates` flag, where any gate is set.
    pub(super) fn feature_gates_flag(&self) -> Option<String> {
        if self.feature_gates.is_empty() {
            return None;
        }
        let gates: Vec<String> = self
            .feature_gates
            .iter()
            .map(|(gate, on)| format!("{gate}={on}"))
            .collect();
        Some(format!("--feature-gates={}", gates.join(",")))
    }
}
