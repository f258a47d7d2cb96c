//! The program: parse, start, wait.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use slipway_node_agent::config::{Cli, LogFormat};
use slipway_node_agent::host::machine::Machine;
use slipway_node_agent::installed::Installed;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let cli = Cli::parse();
    slipway_client::telemetry::init(cli.log_format == LogFormat::Json, &cli.log);
    slipway_client::install_crypto_provider();
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %slipway_client::chain(error.as_ref()), "the agent ends");
            ExitCode::FAILURE
        }
    }
}

fn start(mut cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let installed = Installed::read(cli.config.as_deref())?;
    cli.agent.checks = installed.checks;
    let host = Machine::new(cli.boot_id_file, cli.dbus_address, installed.methods);
    let host = Arc::new(host);
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        // Stopping is the same as crashing: the next start goes on from what is written down.
        tokio::select! {
            ended = slipway_node_agent::run(cli.agent, host) => ended.map_err(Into::into),
            _ = terminated.recv() => Ok(()),
            _ = interrupted.recv() => Ok(()),
        }
    })
}
