//! `kubectl reboot`: when nodes will be rebooted, why they are not, and the brakes.
//!
//! Owns reading the cluster once and printing it; every answer is the planner's own, so that the
//! plugin and the operator never disagree. It writes nothing but `spec.paused`.
//! Exit codes: 0 for an answer, 1 for an error, 2 for wrong usage.

mod arguments;
mod cluster;
mod file;
mod html;
mod output;
mod table;
mod times;
mod verbs;
mod view;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Verb};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    slipway_client::connect::install_crypto_provider();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = String::from("error");
            for cause in error.chain() {
                let cause = cause.to_string();
                // Some libraries print their cause within themselves.
                if !text.ends_with(&cause) {
                    text.push_str(": ");
                    text.push_str(&cause);
                }
            }
            drop(writeln!(std::io::stderr(), "{text}"));
            ExitCode::FAILURE
        }
    }
}

/// `kubectl reboot plan | head` is no error.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let connection = &arguments.connection;
    match &arguments.verb {
        Verb::Plan(verb) => verbs::plan::run(connection, verb).await,
        Verb::Explain(verb) => verbs::explain::run(connection, verb).await,
        Verb::Status(verb) => verbs::status::run(connection, verb).await,
        Verb::Pause(verb) => verbs::pause::run(connection, verb, true).await,
        Verb::Resume(verb) => verbs::pause::run(connection, verb, false).await,
    }
}
