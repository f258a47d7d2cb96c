//! The real agent on a simulated host: only what it asks of its machine is replaced.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use slipway_lab::simulated::{HostDirectory, SimulatedHost};
use slipway_node_agent::config::{Cli, LogFormat};
use slipway_node_agent::installed::Installed;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
struct Arguments {
    /// The directory that stands for the host.
    #[arg(long, env = "SLIPWAY_HOST_DIR")]
    host_dir: PathBuf,
    #[command(flatten)]
    agent: Cli,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Cli {
        agent,
        log_format,
        log,
        config,
        ..
    } = arguments.agent;
    slipway_client::telemetry::init(log_format == LogFormat::Json, &log);
    slipway_client::install_crypto_provider();
    let host = SimulatedHost::new(HostDirectory::new(arguments.host_dir));
    match start(agent, config.as_deref(), host) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %slipway_client::chain(error.as_ref()), "the agent ends");
            ExitCode::FAILURE
        }
    }
}

fn start(
    mut agent: slipway_node_agent::AgentConfig,
    installed: Option<&Path>,
    host: SimulatedHost,
) -> anyhow::Result<()> {
    // Only its checks: the methods to reboot are the simulated host's own.
    agent.checks = Installed::read(installed)?.checks;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            ended = slipway_node_agent::run(agent, Arc::new(host)) => ended.map_err(Into::into),
            _ = terminated.recv() => Ok(()),
        }
    })
}
