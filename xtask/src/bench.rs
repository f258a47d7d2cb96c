//! `cargo xtask bench`: how long things take, measured on this machine and held against their goals.
//!
//! Not a suite: a goal in milliseconds is for a quiet machine, and tests have to pass on any.

use anyhow::Result;
use clap::ValueEnum;

use crate::command::{cargo, run, step};
use crate::setup;

/// What can be measured.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum What {
    /// A pass, its check and a forecast over 1,000, 10,000 and 50,000 nodes.
    Planner,
    /// What the agent that is released costs its node and the API server: memory, threads, connections,
    /// wake-ups, processor time and requests, at rest and for a reboot.
    Agent,
}

/// Builds it for release and measures; fails where a goal is missed.
pub(crate) fn bench(what: What) -> Result<()> {
    match what {
        What::Planner => {
            let mut command = cargo("bench");
            command.args(["--locked", "--package", "slipway-planner"]);
            run(command.args(["--bench", "planner"]))
        }
        What::Agent => agent(),
    }
}

fn agent() -> Result<()> {
    setup::control_plane()?;
    setup::programs()?;
    let program = setup::released_agent()?;
    step(
        "measuring the agent: idle, waiting, and for one reboot",
        || run(setup::lab(&["footprint", "--agent"]).arg(&program)),
    )
}
