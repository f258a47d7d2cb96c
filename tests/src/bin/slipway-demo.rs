//! The demo. See `slipway_lab::demo`.

use std::process::ExitCode;

use clap::Parser;
use slipway_lab::demo::options::Machines;
use slipway_lab::demo::{DemoOptions, keep, run};
use slipway_lab::machines;

fn main() -> ExitCode {
    let options = DemoOptions::parse();
    // Warnings of the harness; our own programs write their logs into files.
    slipway_client::telemetry::init(false, "error");
    match start(options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn start(options: DemoOptions) -> anyhow::Result<u8> {
    let in_background = options.keep && options.report_to.is_none();
    if options.machines == Machines::Kubelet && !in_background && !options.down {
        machines::requirements()?;
        // Before any thread exists: only the calling one is moved.
        machines::enter_lab_namespace()?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if options.down {
            let found = keep::down().await?;
            report(if found {
                "the cluster is gone"
            } else {
                "no cluster is kept"
            });
            return Ok(0);
        }
        if in_background {
            return keep::run_in_background().await;
        }
        run(options).await
    })
}

#[expect(
    clippy::print_stderr,
    reason = "a command line program talks to its user"
)]
fn report(text: &str) {
    eprintln!("{text}");
}
