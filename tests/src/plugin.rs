//! `kubectl reboot` as a person runs it: the plugin's program, with a kubeconfig of theirs.
//!
//! Called by the suites of the plugin and of its timeline.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};

use crate::simulated::SimulatedCluster;

/// The plugin's own main once more, as Cargo builds it for the lab.
const PROGRAM: &str = "lab-kubectl-reboot";

/// The plugin in the hands of one person.
#[derive(Clone, Debug)]
pub struct Plugin {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Plugin {
    /// For the admin of a cluster.
    pub fn of_admin(cluster: &SimulatedCluster) -> Result<Self> {
        let own = std::env::current_exe()?;
        let program = own
            .ancestors()
            .skip(1)
            .take(2)
            .map(|directory| directory.join(PROGRAM))
            .find(|path| path.is_file())
            .with_context(|| {
                format!("{PROGRAM} is not built: cargo build --package slipway-lab")
            })?;
        Ok(Self {
            program,
            kubeconfig: cluster.control_plane().admin_kubeconfig().to_owned(),
        })
    }

    /// For another user of the same cluster.
    pub fn of_user(cluster: &SimulatedCluster, user: &str) -> Result<Self> {
        Ok(Self {
            kubeconfig: cluster.control_plane().kubeconfig_for(user, &[])?,
            ..Self::of_admin(cluster)?
        })
    }

    /// The command, with nothing to read from and the kubeconfig set.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub async fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command(arguments);
        // The cluster's nodes live on this runtime: its thread is never blocked.
        Ok(tokio::task::spawn_blocking(move || command.output()).await??)
    }

    /// What it prints; it has to succeed.
    pub async fn says(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments).await?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {errors}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What it says of an error; it has to fail, with code 1, and print nothing else.
    pub async fn refuses(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments).await?;
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8(output.stderr)?;
        ensure!(
            output.status.code() == Some(1) && said.is_empty() && errors.contains("error: "),
            "{arguments:?}: {:?} {said}{errors}",
            output.status
        );
        Ok(errors)
    }

    /// Its exit code.
    pub async fn code(&self, arguments: &[&str]) -> Result<Option<i32>> {
        Ok(self.run(arguments).await?.status.code())
    }
}
