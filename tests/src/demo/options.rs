//! The demo's command line.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

/// Where Cargo puts statically linked programs, below its target directory.
const STATIC: &str = "x86_64-unknown-linux-gnu/lab";

/// Reboots every node of a cluster with Slipway, and says whether it kept its promises.
#[derive(Debug, Clone, Parser)]
#[command(name = "slipway-demo", version)]
pub struct DemoOptions {
    /// What the nodes are.
    #[arg(long, value_enum, default_value_t = Machines::Simulated)]
    pub machines: Machines,
    /// How many nodes. Default: 6 simulated ones, or 4 with real kubelets.
    #[arg(long, value_parser = clap::value_parser!(u8).range(3..=30))]
    pub nodes: Option<u8>,
    /// Kill operators and agents at random moments; the number chooses them.
    #[arg(long, value_name = "SEED")]
    pub chaos: Option<u64>,
    /// Leave the cluster running at the end.
    #[arg(long)]
    pub keep: bool,
    /// End a cluster that an earlier run left running.
    #[arg(long, conflicts_with_all = ["keep", "chaos", "nodes", "machines"])]
    pub down: bool,
    /// Where the statically linked programs for machines are.
    #[arg(long, value_name = "DIRECTORY", env = "SLIPWAY_STATIC_PROGRAMS")]
    pub binaries: Option<PathBuf>,
    /// Used by the demo itself: it runs in the background and writes its exit code here.
    #[arg(long, hide = true)]
    pub report_to: Option<PathBuf>,
}

/// What the nodes of the demo are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Machines {
    /// Directories and processes: no root, nothing to install.
    Simulated,
    /// Containers with systemd, containerd and a real kubelet; needs root.
    Kubelet,
}

impl Machines {
    /// How it is written on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Kubelet => "kubelet",
        }
    }
}

impl DemoOptions {
    /// Where the statically linked programs for machines are: by default where
    /// `cargo xtask images` puts them, beside the directory of this program.
    pub fn binaries(&self) -> Result<PathBuf> {
        if let Some(directory) = &self.binaries {
            return Ok(directory.clone());
        }
        let own = std::env::current_exe().context("failed to find this program")?;
        let target = own
            .ancestors()
            .nth(2)
            .context("this program lies at the root")?;
        Ok(target.join(STATIC))
    }

    /// The number of nodes.
    pub fn nodes(&self) -> usize {
        let default = match self.machines {
            Machines::Simulated => 6,
            Machines::Kubelet => 4,
        };
        self.nodes.map_or(default, usize::from)
    }
}
