//! `cargo xtask mutants`: the programs without one of their rules, each of which must be noticed.
//!
//! Owns the copy of the tree that mutants are built in and the order of the layers. All mutants are
//! built together, once; a mutant runs because the environment names it. Each is tried layer by layer,
//! the cheapest first, until one notices. One that names a test on a real API server is shown to that
//! test as well, whoever noticed before: what the layers tell of such a rule is two verdicts.

mod bank;
mod layers;
mod tree;
mod verdicts;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, bail, ensure};

use crate::cache;
use crate::command::step;
use crate::setup;
use bank::Mutant;
use layers::{API, Layer, Verdict};
use verdicts::{Kind, Verdicts};

/// How many tests on a real API server run at once: most of their time is waiting.
const AT_ONCE: usize = 3;

/// What is asked for.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only mutants whose name contains this (repeatable).
    #[arg(long = "only", value_name = "NAME")]
    only: Vec<String>,
    /// Only these layers (repeatable): planner, agent, operator, simulation, sweep, model,
    /// api.
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
    let names = layers::choose(&options.layers)?;
    let of_these: Vec<&Mutant> = all
        .iter()
        .filter(|mutant| {
            options.only.is_empty() || options.only.iter().any(|name| mutant.name.contains(name))
        })
        .collect();
    let chosen = |kind| -> Vec<&Mutant> {
        let is_open = |mutant: &Mutant| !options.open || !verdicts.is_killed(mutant, kind);
        let asked = names.iter().any(|name| kind.is_of(name));
        let those = of_these.iter().copied();
        those
            .filter(|mutant| asked && kind.has(mutant) && is_open(mutant))
            .collect()
    };
    let (ordinary, api) = (chosen(Kind::First), chosen(Kind::Api));
    if options.record {
        // Also where no mutant is left to try: the bank may have changed.
        verdicts.write(&root, &all)?;
    }
    ensure!(
        !(ordinary.is_empty() && api.is_empty()),
        "no mutant is left to try"
    );
    if options.list {
        let listed = |mutant: &&Mutant| {
            let of = |some: &[&Mutant]| some.iter().any(|one| one.name == mutant.name);
            of(&ordinary) || of(&api)
        };
        for mutant in all.iter().filter(listed) {
            println!("{:<34} {:<4} {}", mutant.name, mutant.breaks, mutant.rule);
        }
        return Ok(());
    }
    if !api.is_empty() {
        setup::control_plane()?;
    }
    let copy = step("copying the tree with every mutant in it", || {
        tree::prepare(&all)
    })?;
    let layers = step("building the layers", || layers::build(&copy, &names))?;
    let (real, layers): (Vec<Layer>, Vec<Layer>) =
        layers.into_iter().partition(|layer| layer.name() == API);
    let run = Run {
        root: &root,
        bank: &all,
        options,
        verdicts: Mutex::new(verdicts),
        survivors: Mutex::default(),
    };
    if !ordinary.is_empty() {
        run.in_turn(&ordinary, &layers)?;
    }
    for layer in real.iter().filter(|_| !api.is_empty()) {
        run.by_their_tests(&api, layer)?;
    }
    run.end(ordinary.len() + api.len())
}

/// One run over some mutants.
struct Run<'a> {
    root: &'a Path,
    bank: &'a [Mutant],
    options: &'a Options,
    verdicts: Mutex<Verdicts>,
    survivors: Mutex<Vec<String>>,
}

impl Run<'_> {
    /// Shows each to the layers, the cheapest first.
    fn in_turn(&self, mutants: &[&Mutant], layers: &[Layer]) -> Result<()> {
        step("the protocol itself, with no mutant", || {
            for layer in layers {
                if let Verdict::Killed(by) = layer.run("", self.options.seeds)? {
                    bail!("{} fails without any mutant: {by}", layer.name());
                }
            }
            Ok(())
        })?;
        let tried: Vec<&str> = layers.iter().map(Layer::name).collect();
        let tried = tried.join(", ");
        for mutant in mutants {
            let begun = Instant::now();
            let mut noticed = None;
            for layer in layers.iter().filter(|layer| layer.sees(mutant)) {
                if let Verdict::Killed(by) = layer.run(&mutant.name, self.options.seeds)? {
                    noticed = Some((layer.name(), by));
                    break;
                }
            }
            let noticed = noticed.as_ref().map(|(layer, by)| (*layer, by.as_str()));
            self.note(mutant, (Kind::First, &tried), noticed, begun)?;
        }
        Ok(())
    }

    /// Shows each to the test on a real API server that it names, which has to pass without it.
    fn by_their_tests(&self, mutants: &[&Mutant], layer: &Layer) -> Result<()> {
        let tests: BTreeSet<&str> = mutants.iter().map(|one| one.api.as_str()).collect();
        let tests: Vec<&str> = tests.into_iter().collect();
        step("the tests themselves, with no mutant", || {
            at_once(&tests, |test| {
                if let Verdict::Killed(by) = layer.run_test("", test)? {
                    bail!("{test} fails without any mutant: {by}");
                }
                Ok(())
            })
        })?;
        at_once(mutants, |mutant| {
            let begun = Instant::now();
            let by = match layer.run_test(&mutant.name, &mutant.api)? {
                Verdict::Killed(by) => Some(by),
                Verdict::Survived => None,
            };
            let noticed = by.as_ref().map(|by| (layer.name(), by.as_str()));
            self.note(mutant, (Kind::Api, &mutant.api), noticed, begun)
        })
    }

    /// Says what became of a mutant, and keeps it where that is asked for.
    fn note(
        &self,
        mutant: &Mutant,
        (kind, tried): (Kind, &str),
        killed: Option<(&str, &str)>,
        begun: Instant,
    ) -> Result<()> {
        let (layer, by) = killed.unwrap_or(("SURVIVED", &mutant.rule));
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "{:<34} {:<4} {layer:<10} {seconds:>6.1} s  {by}",
            mutant.name, mutant.breaks
        );
        if killed.is_none() {
            let mut survivors = lock(&self.survivors);
            survivors.push(mutant.name.clone());
        }
        if self.options.record {
            let mut verdicts = lock(&self.verdicts);
            verdicts.note(mutant, kind, killed, tried);
            // After each one: a run of hours may be ended at any time.
            verdicts.write(self.root, self.bank)?;
        }
        Ok(())
    }

    fn end(&self, tried: usize) -> Result<()> {
        let survivors = lock(&self.survivors);
        println!(
            "{tried} verdicts, {} killed, {} survived",
            tried - survivors.len(),
            survivors.len()
        );
        ensure!(survivors.is_empty(), "survived: {}", survivors.join(", "));
        Ok(())
    }
}

fn lock<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Works on all of them, a few at once; an error ends it once those under way are done.
fn at_once<T: Sync>(all: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let worker = || -> Result<()> {
        while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let done = work(one);
            if done.is_err() {
                next.store(all.len(), Ordering::Relaxed);
                return done;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        let ended: Vec<Result<()>> = workers
            .into_iter()
            .map(|worker| match worker.join() {
                Ok(ended) => ended,
                Err(_) => bail!("a thread panicked"),
            })
            .collect();
        ended.into_iter().collect()
    })
}
