//! The logind of a simulated machine, for a real agent: it says yes, and the machine goes down.
//!
//! Only what [`slipway_node_agent::host::logind`] asks. Locks and refusals are real machines' to show.

use anyhow::{Context, Result};
use slipway_fuzz::bus::{Answer, speak};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use super::directory::HostDirectory;

/// Where the agent finds it. Not below `run`, which goes with every reboot.
pub(super) fn address(host: &HostDirectory) -> String {
    format!("unix:path={}", host.root().join("bus").display())
}

/// Serves until the task is aborted.
pub(super) fn start(host: HostDirectory) -> Result<JoinHandle<()>> {
    let socket = host.root().join("bus");
    let listener = UnixListener::bind(&socket)
        .with_context(|| format!("failed to listen on {}", socket.display()))?;
    Ok(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let host = host.clone();
            tokio::spawn(async move {
                // The agent makes a connection for each question, and goes away.
                drop(speak(stream, None, |call| answer(&host, call)).await);
            });
        }
    }))
}

fn answer(host: &HostDirectory, call: &str) -> Answer {
    match call {
        "CanReboot" => Answer::Word("yes".to_owned()),
        "ListInhibitors" => Answer::Locks(Vec::new()),
        "PreparingForShutdown" => Answer::Flag(host.is_going_down()),
        "SystemState" => {
            let down = host.is_going_down();
            Answer::State(if down { "stopping" } else { "running" }.to_owned())
        }
        _ => {
            let called = host.record_call();
            match called.and_then(|()| host.request_reboot(std::time::Duration::ZERO)) {
                Ok(()) => Answer::Done,
                Err(_) => Answer::Silence,
            }
        }
    }
}
