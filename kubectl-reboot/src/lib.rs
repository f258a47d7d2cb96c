//! `kubectl reboot`: when nodes will be rebooted, why they are not, and what people may do about it.
//!
//! Owns reading the cluster and printing it; every answer is the planner's own, so that the plugin
//! and the operator never disagree. It writes only what people may: `spec.paused` of policies and
//! the ledger, and `approved`, `request`, `hold` and `release` of leases. The operator acts on it.
//! Called by `main.rs`, and by the lab's program of the same code.
//! Exit codes: 0 for an answer, 1 for an error, 2 for wrong usage.

mod arguments;
mod cluster;
mod file;
mod html;
mod live;
mod output;
mod selector;
mod table;
mod times;
mod told;
mod verbs;
mod view;
mod write;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Verb};

/// The whole program: reads the command line and answers it.
pub async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    slipway_client::connect::install_crypto_provider();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<Said>() => ExitCode::FAILURE,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "error: {}", chain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Something failed, and what it was has been said.
#[derive(Clone, Copy, Debug)]
struct Said;

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not everything was done")
    }
}

impl std::error::Error for Said {}

/// An error with its causes, in one line.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Some libraries print their cause within themselves.
        if text.ends_with(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text
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
        Verb::Approve(verb) => verbs::approve::run(connection, verb).await,
        Verb::Hold(verb) => verbs::hold::hold(connection, verb).await,
        Verb::Unhold(verb) => verbs::hold::unhold(connection, verb).await,
        Verb::Now(verb) => verbs::now::run(connection, verb).await,
        Verb::Release(verb) => verbs::release::run(connection, verb).await,
        Verb::Pause(verb) => verbs::pause::run(connection, verb, true).await,
        Verb::Resume(verb) => verbs::pause::run(connection, verb, false).await,
    }
}
