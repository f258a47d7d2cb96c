//! `cargo xtask bench`: how long things take, measured on this machine and held against their goals.
//!
//! Not a suite: a goal in milliseconds is for a quiet machine, and tests have to pass on any.

use anyhow::Result;
use clap::ValueEnum;

use crate::command::{cargo, run};

/// What can be measured.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum What {
    /// A pass, its check and a forecast over 1,000, 10,000 and 50,000 nodes.
    Planner,
}

/// Builds it for release and measures; fails where a goal is missed.
pub(crate) fn bench(what: What) -> Result<()> {
    let mut command = cargo("bench");
    match what {
        What::Planner => command.args(["--locked", "--package", "slipway-planner"]),
    };
    run(command.args(["--bench", "planner"]))
}
