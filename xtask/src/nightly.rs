//! What a commit has no time for: many seeds, pairs of crashes, more faults of requests, fuzzing, large
//! models, every mutant.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::command::{cargo, run, step};
use crate::fuzz;
use crate::mutants;
use crate::setup;

/// How much a night does; smaller numbers try the verb itself.
#[derive(clap::Args)]
pub(crate) struct Nightly {
    /// Seeds, beside every seed that has failed once.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// First of them. Default: so many for each day since 1970, so that no night repeats another.
    #[arg(long)]
    first: Option<u64>,
    /// Every n-th pair of crashes.
    #[arg(long, default_value_t = 10)]
    pairs_every: u64,
    /// Leaves the fuzzing out.
    #[arg(long)]
    no_fuzz: bool,
    /// Leaves the large models out.
    #[arg(long)]
    no_models: bool,
    /// Leaves the mutants out.
    #[arg(long)]
    no_mutants: bool,
}

/// What a release needs.
#[derive(clap::Args)]
pub(crate) struct Release {
    /// Seeds, beside every seed that has failed once.
    #[arg(long, default_value_t = 100_000)]
    seeds: u64,
}

/// `cargo xtask nightly`.
pub(crate) fn nightly(options: &Nightly) -> Result<()> {
    let first = match options.first {
        Some(first) => first,
        None => of_today(options.seeds)?,
    };
    step(&format!("{} seeds from {first}", options.seeds), || {
        run(&mut simulation(first, options.seeds))
    })?;
    step("crashes, one by one", || run(&mut crash_sweep(None)))?;
    step("pairs of crashes", || {
        run(&mut crash_sweep(Some(options.pairs_every)))
    })?;
    setup::control_plane()?;
    step("faults of single requests on a real API server", || {
        run(cargo("test").args(["--locked", "--workspace", "--test", "nightly"]))
    })?;
    if !options.no_fuzz {
        step("fuzzing", || fuzz::fuzz(&fuzz::Options::everything()))?;
    }
    if !options.no_models {
        step("large models", models)?;
    }
    if !options.no_mutants {
        step("mutants", || mutants::run(&mutants::Options::everything()))?;
    }
    Ok(())
}

/// `cargo xtask release-check`.
pub(crate) fn release(options: &Release) -> Result<()> {
    step(&format!("{} seeds", options.seeds), || {
        run(&mut simulation(0, options.seeds))
    })
}

/// The first seed of today.
fn of_today(seeds: u64) -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let days = now.context("the clock is before 1970")?.as_secs() / 86_400;
    Ok(days.saturating_mul(seeds))
}

/// Seeds of the simulation.
pub(crate) fn simulation(first: u64, seeds: u64) -> Command {
    let mut command = lab_test("simulation");
    command
        .env("SLIPWAY_FIRST", first.to_string())
        .env("SLIPWAY_SEEDS", seeds.to_string());
    command
}

/// The crash sweep: single crashes, or every n-th pair.
pub(crate) fn crash_sweep(pairs_every: Option<u64>) -> Command {
    let mut command = lab_test("crash_sweep");
    if let Some(every) = pairs_every {
        command.env("SLIPWAY_PAIRS_EVERY", every.to_string());
    }
    command
}

fn lab_test(test: &str) -> Command {
    let mut command = cargo("test");
    command.args(["--locked", "--workspace"]);
    command.args(["--test", test, "--", "--nocapture"]);
    command
}

fn models() -> Result<()> {
    let mut command = cargo("run");
    command.args(["--quiet", "--locked", "--package", "slipway-model"]);
    run(command.args(["--bin", "slipway-model", "--", "--nightly"]))
}
