//! `cargo xtask`: set up, test, demonstrate and generate.
//!
//! Owns what a fresh machine needs before anything can run (README's two commands do all of it)
//! and the list of suites. It decides nothing about Slipway itself.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a command for people: it prints, times its steps and reads the environment"
)]

mod bench;
mod cache;
mod command;
mod demo;
mod fuzz;
mod generate;
mod mutants;
mod nightly;
mod setup;
mod suites;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Slipway's build, test and demo commands.
#[derive(Parser)]
#[command(name = "cargo xtask", version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Sets everything up and runs every suite; what cannot run is listed with the reason.
    Test {
        /// Runs only suites whose name contains this (repeatable).
        #[arg(long = "only", value_name = "NAME")]
        only: Vec<String>,
        /// Lists the suites and ends.
        #[arg(long)]
        list: bool,
    },
    /// Runs the main job on a real local cluster; all arguments go to the demo (`--help` lists them).
    #[command(disable_help_flag = true)]
    Demo {
        /// Arguments of the demo.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Builds and installs what the suites and the demo need, and nothing else.
    Setup,
    /// Writes the CRDs to crds/yaml and the chart; with --check only says whether they are current.
    Crds {
        /// Writes nothing; fails where a file differs.
        #[arg(long)]
        check: bool,
    },
    /// Renders the chart to examples/install.yaml; with --check only says whether it is current.
    Chart {
        /// Writes nothing; fails where the file differs.
        #[arg(long)]
        check: bool,
    },
    /// Writes docs/reasons.md from the planner; with --check only says whether it is current.
    Reasons {
        /// Writes nothing; fails where the file differs.
        #[arg(long)]
        check: bool,
    },
    /// Measures how long something takes; fails where a goal is missed.
    Bench {
        /// What to measure.
        #[arg(value_enum)]
        what: bench::What,
    },
    /// Runs the programs without one of their rules (tests/mutants); fails where nothing notices.
    Mutants(mutants::Options),
    /// Mangles what the agent reads of its host and of the API server, steered by coverage.
    Fuzz(fuzz::Options),
    /// Many seeds, pairs of crashes, large models, fuzzing and every mutant: hours.
    Nightly(nightly::Nightly),
    /// The seeds that a release needs: hours.
    ReleaseCheck(nightly::Release),
    /// Builds the static programs and the OCI archives of their images.
    Images,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().verb {
        Verb::Test { list: true, .. } => {
            suites::list();
            Ok(())
        }
        Verb::Test { only, list: false } => suites::run(&only),
        Verb::Demo { arguments } => demo::run_demo(&arguments),
        Verb::Setup => setup::everything(),
        Verb::Crds { check } => generate::crds(check),
        Verb::Chart { check } => generate::chart(check),
        Verb::Reasons { check } => generate::reasons(check),
        Verb::Bench { what } => bench::bench(what),
        Verb::Mutants(options) => mutants::run(&options),
        Verb::Fuzz(options) => fuzz::fuzz(&options),
        Verb::Nightly(options) => nightly::nightly(&options),
        Verb::ReleaseCheck(options) => nightly::release(&options),
        Verb::Images => setup::images().map(|paths| {
            for path in paths {
                println!("{}", path.display());
            }
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
