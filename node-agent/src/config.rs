//! Flags and environment: the only reader of either.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, ValueEnum};

use crate::checks::installed::InstalledChecks;

/// Everything that [`crate::run`] needs to know; constructible in code, for tests and the demo.
#[derive(Args, Clone, Debug)]
pub struct AgentConfig {
    /// Name of the Node object of this machine. It must be the one in the agent's token.
    #[arg(long, env = "SLIPWAY_NODE_NAME")]
    pub node_name: String,
    /// Kubeconfig to use instead of the pod's service account.
    #[arg(long, env = "SLIPWAY_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Address of /healthz and /readyz.
    #[arg(long, env = "SLIPWAY_LISTEN", default_value = "0.0.0.0:8081")]
    pub listen: SocketAddr,
    /// A file that asks for a reboot by its existence; repeatable.
    #[arg(
        long = "sentinel",
        env = "SLIPWAY_SENTINELS",
        value_delimiter = ',',
        default_value = "/host/run/reboot-required,/host/run/reboot-needed"
    )]
    pub sentinels: Vec<PathBuf>,
    /// Namespace that Slipway runs in: its operator's pods stay on a node that is drained.
    #[arg(long, env = "SLIPWAY_NAMESPACE", default_value = slipway_api::names::NAMESPACE)]
    pub namespace: String,
    /// Directory on the host's disk for the journal; it must survive reboots.
    #[arg(long, env = "SLIPWAY_STATE_DIR", default_value = "/var/lib/slipway")]
    pub state_dir: PathBuf,
    /// As whom pods are listed and evicted.
    #[arg(long, env = "SLIPWAY_EVICTION", value_enum, default_value_t = EvictionIdentity::Impersonate)]
    pub eviction: EvictionIdentity,
    /// How long a change of what the checks say must last before it counts.
    #[arg(long, env = "SLIPWAY_SETTLE", default_value = "5s", value_parser = duration)]
    pub settle: Duration,
    /// How often the checks look when no event comes.
    #[arg(long, env = "SLIPWAY_POLL", default_value = "60s", value_parser = duration)]
    pub poll: Duration,
    /// Accept no reboot while the admission policies that bound this agent are not in force.
    #[arg(
        long,
        env = "SLIPWAY_REQUIRE_ADMISSION_POLICIES",
        default_value_t = true,
        action = ArgAction::Set
    )]
    pub require_admission_policies: bool,
    /// Where the host keeps its kernels.
    #[command(flatten)]
    pub kernels: KernelPlaces,
    /// Checks of the installed configuration.
    #[arg(skip)]
    pub checks: InstalledChecks,
}

/// Where the check `kernel` looks; it does not apply where there is nothing.
#[derive(Args, Clone, Debug, Default)]
pub struct KernelPlaces {
    /// The host's /boot.
    #[arg(
        long = "boot-dir",
        env = "SLIPWAY_BOOT_DIR",
        default_value = "/host/boot"
    )]
    pub boot: PathBuf,
    /// The host's /lib/modules.
    #[arg(
        long = "modules-dir",
        env = "SLIPWAY_MODULES_DIR",
        default_value = "/host/lib/modules"
    )]
    pub modules: PathBuf,
    /// File with the release of the running kernel.
    #[arg(
        long = "kernel-release-file",
        env = "SLIPWAY_KERNEL_RELEASE_FILE",
        default_value = "/proc/sys/kernel/osrelease"
    )]
    pub running: PathBuf,
}

/// As whom pods are listed and evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EvictionIdentity {
    /// As the node itself, by constrained impersonation: the API server then refuses every pod of
    /// another node. Needs Kubernetes 1.36.
    Impersonate,
    /// As the agent, bounded by an admission policy: Kubernetes 1.33 to 1.35.
    Own,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The command line of the program.
#[derive(Parser, Debug)]
#[command(
    name = "slipway-node-agent",
    version,
    about = "Slipway's node agent: reports, drains and reboots its own node"
)]
pub struct Cli {
    /// The agent's own settings.
    #[command(flatten)]
    pub agent: AgentConfig,
    /// File that holds the host's boot ID.
    #[arg(
        long,
        env = "SLIPWAY_BOOT_ID_FILE",
        default_value = "/host/kernel-random/boot_id"
    )]
    pub boot_id_file: PathBuf,
    /// Address of the host's system bus.
    #[arg(
        long,
        env = "SLIPWAY_DBUS_ADDRESS",
        default_value = "unix:path=/host/run/dbus/system_bus_socket"
    )]
    pub dbus_address: String,
    /// File with the installed configuration, as JSON: methods to reboot the host, and checks.
    #[arg(long, env = "SLIPWAY_CONFIG")]
    pub config: Option<PathBuf>,
    /// Format of the log.
    #[arg(long, env = "SLIPWAY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// Filter of the log, in tracing's syntax.
    #[arg(long, env = "SLIPWAY_LOG", default_value = "info")]
    pub log: String,
}

fn duration(text: &str) -> Result<Duration, slipway_api::duration::ParseDurationError> {
    text.parse::<slipway_api::Duration>().map(|parsed| parsed.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_mounts_of_the_daemon_set() {
        let cli = Cli::try_parse_from(["agent", "--node-name", "n1"]).unwrap();
        assert_eq!(
            cli.agent.sentinels,
            ["/host/run/reboot-required", "/host/run/reboot-needed"].map(PathBuf::from)
        );
        assert_eq!(cli.agent.settle, Duration::from_secs(5));
        assert_eq!(cli.agent.eviction, EvictionIdentity::Impersonate);
        assert!(cli.agent.require_admission_policies);
    }

    #[test]
    fn sentinels_given_on_the_command_line_replace_the_defaults() {
        let arguments = [
            "agent",
            "--node-name",
            "n1",
            "--sentinel",
            "/a",
            "--sentinel",
            "/b",
        ];
        let cli = Cli::try_parse_from(arguments).unwrap();
        assert_eq!(cli.agent.sentinels, ["/a", "/b"].map(PathBuf::from));
    }
}
