//! The operator's process: flags, logs, TLS, and an exit code.

use std::process::ExitCode;

use clap::Parser;
use slipway_operator::Config;
use slipway_operator::config::LogFormat;

fn main() -> ExitCode {
    let config = Config::parse();
    slipway_client::telemetry::init(config.log_format == LogFormat::Json, &config.log);
    slipway_client::install_crypto_provider();
    match start(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %slipway_client::chain(error.as_ref()), "the operator ends");
            ExitCode::FAILURE
        }
    }
}

fn start(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(slipway_operator::run(config));
    // Whatever is still under way is abandoned: a write without its answer is read back by the
    // next leader.
    runtime.shutdown_background();
    ended.map_err(Into::into)
}
