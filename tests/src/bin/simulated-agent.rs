//! The real agent on a simulated host: only what it asks of its machine is replaced.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use slipway_lab::simulated::{HostDirectory, SimulatedHost};
use slipway_node_agent::config::{Cli, LogFormat};
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
        ..
    } = arguments.agent;
    slipway_client::telemetry::init(log_format == LogFormat::Json, &log);
    slipway_client::install_crypto_provider();
    let host = SimulatedHost::new(HostDirectory::new(arguments.host_dir));
    match start(agent, host) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %slipway_client::chain(error.as_ref()), "the agent ends");
            ExitCode::FAILURE
        }
    }
}

fn start(config: slipway_node_agent::AgentConfig, host: SimulatedHost) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            ended = slipway_node_agent::run(config, Arc::new(host)) => ended.map_err(Into::into),
            _ = terminated.recv() => Ok(()),
        }
    })
}
