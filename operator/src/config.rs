//! Flags and environment: the only reader of either.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Parser, ValueEnum};
use slipway_api::names;

use crate::blockers::AllowedUrl;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Slipway's operator: decides which node is rebooted when, and grants it a lease.
#[derive(Clone, Debug, Parser)]
#[command(name = "slipway-operator", version)]
pub struct Config {
    /// Kubeconfig file; without one, the pod's own service account is used.
    #[arg(long, env = "SLIPWAY_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace that Slipway runs in: its agents' pods and the election are there.
    #[arg(long, env = "SLIPWAY_NAMESPACE", default_value = names::NAMESPACE)]
    pub namespace: String,
    /// Name of this replica in the election; must differ between replicas. Default: the host's
    /// name, which is the pod's, and the process ID.
    #[arg(long, env = "SLIPWAY_IDENTITY")]
    pub identity: Option<String>,
    /// Node that this replica runs on: it goes last while this replica leads. Default: not known.
    #[arg(long, env = "SLIPWAY_NODE_NAME")]
    pub node_name: Option<String>,
    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, env = "SLIPWAY_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// How log lines look.
    #[arg(long, env = "SLIPWAY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// Log level, or a filter as `tracing` reads it.
    #[arg(long, env = "SLIPWAY_LOG", default_value = "info")]
    pub log: String,
    /// Also serve kured's metric `kured_reboot_required{node}`, for dashboards that know it.
    #[arg(long, env = "SLIPWAY_KURED_METRIC_ALIAS")]
    pub kured_metric_alias: bool,
    /// Address that blockers of policies may ask, with all that is below it (repeatable; separated by
    /// commas in the environment). Default: any.
    #[arg(long = "allow-url", env = "SLIPWAY_ALLOW_URLS", value_delimiter = ',')]
    pub allow_urls: Vec<AllowedUrl>,
    /// Grant nothing while the admission policies that bound the agents are not in force.
    #[arg(
        long,
        env = "SLIPWAY_REQUIRE_ADMISSION_POLICIES",
        default_value_t = true,
        action = ArgAction::Set
    )]
    pub require_admission_policies: bool,
}

impl Config {
    /// Name of this replica in the election.
    pub fn identity(&self) -> String {
        self.identity.clone().unwrap_or_else(|| {
            let host = nix::unistd::gethostname()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            format!("{host}_{}", std::process::id())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Config::command().debug_assert();
    }

    #[test]
    fn admission_policies_are_required_unless_it_is_written() {
        let config = Config::parse_from(["slipway-operator"]);
        assert!(config.require_admission_policies);
        let config = Config::parse_from(["slipway-operator", "--require-admission-policies=false"]);
        assert!(!config.require_admission_policies);
    }
}
