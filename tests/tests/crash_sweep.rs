//! The crash sweep: killed before and after every write to the API server and every reboot call, in
//! every scenario, the programs end where they end undisturbed (faults.md 1.4, 4.2).
//!
//! `SLIPWAY_PAIRS_EVERY=10` tries every tenth pair of crashes instead of each crash alone,
//! `SLIPWAY_SCENARIO=happy` one scenario.

#![allow(
    clippy::print_stdout,
    reason = "numbers for people, and how far a long run is"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use slipway_lab::world::{Crash, Run, Side, run_scenario, scenario_names};

/// Threads: one history each.
const THREADS: usize = 2;
/// Scenarios in which programs are also stopped for a while at every site, and go on.
const STOPPED: [&str; 2] = ["happy", "revoked before the second key"];
/// Fewer sites than this, and a scenario does not do what it is there for.
const SITES_MIN: usize = 15;

#[expect(
    clippy::disallowed_methods,
    reason = "what to run is said by the environment"
)]
fn said(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Both sides of every site from `first` on.
fn sides(first: usize, sites: usize) -> impl Iterator<Item = Crash> {
    (first..sites).flat_map(|site| [Side::Before, Side::After].map(|side| Crash { site, side }))
}

/// Runs plans on a few threads; stops at the first that fails.
fn run_all(name: &str, plans: &[Vec<Crash>]) -> Result<Vec<Run>> {
    let next = AtomicUsize::new(0);
    let runs = Mutex::new(BTreeMap::new());
    let work = || -> Result<()> {
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            let Some(plan) = plans.get(turn) else {
                return Ok(());
            };
            let run = run_scenario(name, plan)?;
            runs.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(turn, run);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| match thread.join() {
                Ok(result) => result,
                Err(_) => bail!("a thread has panicked"),
            })
    })?;
    let runs = runs.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(runs.into_values().collect())
}

/// Every n-th pair: the second crash is numbered in the run that the first one has disturbed.
fn pairs(name: &str, undisturbed: &Run, every: usize) -> Result<Vec<Vec<Crash>>> {
    let singles: Vec<Vec<Crash>> = sides(0, undisturbed.sites.len())
        .map(|one| vec![one])
        .collect();
    let runs = run_all(name, &singles)?;
    let mut all = Vec::new();
    for (first, run) in singles.iter().flatten().zip(&runs) {
        let seconds = sides(first.site + 1, run.sites.len());
        all.extend(seconds.map(|second| vec![*first, second]));
    }
    Ok(all.into_iter().step_by(every.max(1)).collect())
}

fn sweep(name: &str, pairs_every: Option<usize>) -> Result<()> {
    let undisturbed = run_scenario(name, &[])?;
    ensure!(
        undisturbed.broken.is_empty(),
        "{name} is broken: undisturbed:\n{}\n{}",
        undisturbed.broken.join("\n"),
        undisturbed.lines.join("\n")
    );
    let sites = undisturbed.sites.len();
    ensure!(sites >= SITES_MIN, "{name} has {sites} sites only");
    let stops = (0..sites).filter(|_| pairs_every.is_none() && STOPPED.contains(&name));
    let stopped = |site| {
        let side = Side::Stopped;
        vec![Crash { site, side }]
    };
    let mut plans = match pairs_every {
        Some(every) => pairs(name, &undisturbed, every)?,
        None => sides(0, sites).map(|one| vec![one]).collect(),
    };
    let killed = plans.len();
    plans.extend(stops.map(stopped));
    let runs = run_all(name, &plans)?;
    let mut covered = BTreeSet::new();
    for (plan, run) in plans.iter().zip(&runs) {
        let named: Vec<String> = plan
            .iter()
            .map(|crash| {
                let label = run.sites.get(crash.site);
                format!("{:?} {} {label:?}", crash.side, crash.site)
            })
            .collect();
        let worse = run.worse_than(&undisturbed);
        if !worse.is_empty() {
            bail!(
                "{name}, killed {named:?}, is broken:\n  {}\n{}",
                worse.join("\n  "),
                run.lines.join("\n")
            );
        }
        let first = plan.first().context("a plan without a crash")?;
        covered.insert((first.site, first.side));
    }
    let most = runs
        .iter()
        .map(|run| run.writes.values().sum::<u64>())
        .max();
    println!(
        "{name}: {sites} sites, {} runs, {} of {} sides, {} of them stopped and not killed, \
         {} writes undisturbed, {} at most",
        runs.len(),
        covered.len(),
        if pairs_every.is_none() {
            plans.len()
        } else {
            2 * sites
        },
        plans.len() - killed,
        undisturbed.writes.values().sum::<u64>(),
        most.unwrap_or(0),
    );
    if pairs_every.is_none() {
        ensure!(covered.len() == plans.len(), "{name}: a site was left out");
    }
    Ok(())
}

#[test]
fn killed_at_any_site_the_programs_end_as_if_undisturbed() -> Result<()> {
    let only = said("SLIPWAY_SCENARIO");
    let every = said("SLIPWAY_PAIRS_EVERY").and_then(|every| every.parse().ok());
    let names = scenario_names();
    ensure!(names.len() >= 8, "faults.md 4.2 wants eight scenarios");
    for name in names {
        if only.as_deref().is_none_or(|only| only == name) {
            sweep(name, every)?;
        }
    }
    Ok(())
}
