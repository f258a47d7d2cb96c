//! Explores configurations of the model and prints one line for each.

use std::io::{self, Write as _};

use clap::Parser;
use slipway_client::clock;
use slipway_model::configuration::{CASES, account};
use slipway_model::mutant::{OF_AGENT, OF_OPERATOR};
use slipway_model::rules::Rules;

/// Explores every state of the protocol and prints what it found.
#[derive(Parser)]
struct Arguments {
    /// Only configurations whose name contains this.
    #[arg(default_value = "")]
    name: String,
    /// Also the large ones.
    #[arg(long)]
    nightly: bool,
    /// Print the shortest way to what does not hold, and every kind of step.
    #[arg(long)]
    trace: bool,
    /// The mutants instead of the protocol.
    #[arg(long)]
    mutants: bool,
    /// Give up after so many states.
    #[arg(long, default_value_t = 60_000_000)]
    most: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{:<28} {:>11} {:>12} {:>6} {:>8}  result",
        "configuration", "states", "steps", "depth", "seconds"
    )?;
    if arguments.mutants {
        return mutants(&mut out, &arguments);
    }
    let mut is_good = true;
    for case in CASES {
        if !case.name.contains(&arguments.name) || (case.is_nightly && !arguments.nightly) {
            continue;
        }
        let begun = clock::boottime();
        let account = account(case, Rules::ALL, arguments.most);
        let seconds = clock::boottime().saturating_sub(begun).as_secs_f64();
        let result = account.verdict.unwrap_or("holds");
        is_good &= account.verdict.is_none();
        let (states, steps, depth) = (account.states, account.steps, account.depth);
        writeln!(
            out,
            "{:<28} {states:>11} {steps:>12} {depth:>6} {seconds:>8.1}  {result}, {} stuck",
            case.name, account.stuck
        )?;
        if arguments.trace {
            for line in &account.trace {
                writeln!(out, "    {line}")?;
            }
            writeln!(out, "    missed: {:?}", account.missed)?;
            for (kind, count) in &account.kinds {
                writeln!(out, "    {count:>10} {kind}")?;
            }
        }
    }
    anyhow::ensure!(is_good, "a configuration does not hold");
    Ok(())
}

fn mutants(out: &mut impl io::Write, arguments: &Arguments) -> anyhow::Result<()> {
    for mutant in OF_OPERATOR.iter().chain(OF_AGENT) {
        if !mutant.name.contains(&arguments.name) {
            continue;
        }
        let begun = clock::boottime();
        let account = mutant.account();
        let seconds = clock::boottime().saturating_sub(begun).as_secs_f64();
        let (states, result) = (account.states, account.verdict.unwrap_or("holds"));
        writeln!(
            out,
            "{:<58} {states:>9} {seconds:>6.1} {:>6} {result}",
            mutant.name,
            format!("{:?}", mutant.breaks)
        )?;
        if arguments.trace {
            for line in &account.trace {
                writeln!(out, "    {line}")?;
            }
        }
    }
    Ok(())
}
