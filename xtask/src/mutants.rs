//! `cargo xtask mutants`: the programs without one of their rules, each of which must be noticed.
//!
//! Owns the copy of the tree that mutants are built in and the order of the layers. All mutants are
//! built together, once; a mutant runs because the environment names it. Each is tried layer by layer,
//! the cheapest first, until one notices.

mod bank;
mod layers;
mod tree;

use std::time::Instant;

use anyhow::{Result, bail, ensure};

use crate::cache;
use crate::command::step;
use bank::Mutant;
use layers::{Layer, Verdict};

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
            list: false,
        }
    }
}

/// Tries mutants; fails where one survives.
pub(crate) fn run(options: &Options) -> Result<()> {
    let all = bank::read(&cache::root().join("tests/mutants"))?;
    let chosen: Vec<&Mutant> = all
        .iter()
        .filter(|mutant| {
            options.only.is_empty() || options.only.iter().any(|name| mutant.name.contains(name))
        })
        .collect();
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
        if !try_one(mutant, &layers, options.seeds)? {
            survivors.push(mutant.name.as_str());
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

/// True when a layer noticed.
fn try_one(mutant: &Mutant, layers: &[Layer], seeds: u64) -> Result<bool> {
    let begun = Instant::now();
    let mut noticed = None;
    for layer in layers.iter().filter(|layer| layer.sees(mutant)) {
        if let Verdict::Killed(by) = layer.run(&mutant.name, seeds)? {
            noticed = Some((layer.name(), by));
            break;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let is_noticed = noticed.is_some();
    let (layer, by) = noticed.unwrap_or_else(|| ("SURVIVED", mutant.rule.clone()));
    println!(
        "{:<34} {:<4} {layer:<10} {seconds:>6.1} s  {by}",
        mutant.name, mutant.breaks
    );
    Ok(is_noticed)
}
