//! `kubectl-reboot`, found by kubectl as `kubectl reboot`: see [`kubectl_reboot::main`].

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    kubectl_reboot::main().await
}
