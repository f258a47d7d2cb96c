//! `cargo xtask mutants`: the programs without one of their rules, each of which must be noticed.
//!
//! Owns the copy of the tree that mutants are built in and the order of the layers. All mutants are
//! built together, once; a mutant runs because the environment names it. Each is tried layer by layer,
//! the cheapest first, until one notices.

mod bank;
mod layers;
mod tree;
mod verdicts;

use std::time::Instant;

use anyhow::{Result, bail, ensure};

use crate::cache;
use crate::command::step;
use bank::Mutant;
use layers::{Layer, Verdict};
use verdicts::Verdicts;

/// What is asked for.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only mutants whose name contains this (repeatable).
    #[arg(long = "only", value_name = "NAME")]
    only: Vec<String>,
    /// Only these layers (repeatable): planner, agent, operator, simulation, sweep, model.
    #[arg(long = "layer", value_name = "LAYER")]
    layers: Vec<String>,
    /// Seeds of the simulation for each mutant.
    #[arg(long, default_value_t = 300)]
    seeds: u64,
    /// Only mutants that no recorded run has killed as they are now.
    #[arg(long)]
    open: bool,
    /// Keeps what becomes of each in tests/mutants/verdicts.tsv and docs/mutants.md.
    #[arg(long)]
    record: bool,
    /// Lists the bank and ends.
    #[arg(long)]
    list: bool,
}

impl Options {
    /// Everything, as a night runs it.
    pub(crate) fn everything() -> Self {
        Self {
            only: Vec::new(),
            layers: Vec::new(),
            seeds: 300,
            open: false,
            record: false,
            list: false,
        }
    }
}

/// Tries mutants; fails where one survives.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = cache::root();
    let all = bank::read(&root.join("tests/mutants"))?;
    let mut verdicts = Verdicts::read(&root);
    let chosen: Vec<&Mutant> = all
        .iter()
        .filter(|mutant| {
            options.only.is_empty() || options.only.iter().any(|name| mutant.name.contains(name))
        })
        .filter(|mutant| !options.open || !verdicts.is_killed(mutant))
        .collect();
    if options.record {
        // Also where no mutant is left to try: the bank may have changed.
        verdicts.write(&root, &all)?;
    }
    ensure!(!chosen.is_empty(), "no mutant has such a name");
    if options.list {
        for mutant in chosen {
            println!("{:<34} {:<4} {}", mutant.name, mutant.breaks, mutant.rule);
        }
        return Ok(());
    }
    let layers = layers::choose(&options.layers)?;
    let copy = step("copying the tree with every mutant in it", || {
        tree::prepare(&all)
    })?;
    let layers = step("building the layers", || layers::build(&copy, &layers))?;
    step("the protocol itself, with no mutant", || {
        for layer in &layers {
            if let Verdict::Killed(by) = layer.run("", options.seeds)? {
                bail!("{} fails without any mutant: {by}", layer.name());
            }
        }
        Ok(())
    })?;
    let mut survivors = Vec::new();
    for mutant in &chosen {
        let killed = try_one(mutant, &layers, options.seeds)?;
        if killed.is_none() {
            survivors.push(mutant.name.as_str());
        }
        if options.record {
            let tried: Vec<&str> = layers.iter().map(Layer::name).collect();
            let by = killed.as_ref().map(|(layer, by)| (*layer, by.as_str()));
            verdicts.note(mutant, by, &tried.join(", "));
            // After each one: a run of hours may be ended at any time.
            verdicts.write(&root, &all)?;
        }
    }
    println!(
        "{} mutants, {} killed, {} survived",
        chosen.len(),
        chosen.len() - survivors.len(),
        survivors.len()
    );
    ensure!(survivors.is_empty(), "survived: {}", survivors.join(", "));
    Ok(())
}

/// The layer that noticed, and what in it.
fn try_one(
    mutant: &Mutant,
    layers: &[Layer],
    seeds: u64,
) -> Result<Option<(&'static str, String)>> {
    let begun = Instant::now();
    let mut noticed = None;
    for layer in layers.iter().filter(|layer| layer.sees(mutant)) {
        if let Verdict::Killed(by) = layer.run(&mutant.name, seeds)? {
            noticed = Some((layer.name(), by));
            break;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let survived = ("SURVIVED", mutant.rule.clone());
    let (layer, by) = noticed.as_ref().unwrap_or(&survived);
    println!(
        "{:<34} {:<4} {layer:<10} {seconds:>6.1} s  {by}",
        mutant.name, mutant.breaks
    );
    Ok(noticed)
}
