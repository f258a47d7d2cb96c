//! Histories of the seeded simulation: safety after every write, liveness once faults stop.
//!
//! `SLIPWAY_SEEDS=1000` runs so many (`SLIPWAY_FIRST=5000` from there), `SLIPWAY_SEED=7` one alone,
//! with its last lines, `SLIPWAY_WITHOUT=late,3` without some of its faults. Seeds that have failed
//! once are in `tests/seeds.txt` and run first. The first that fails ends the run, is made small and
//! shown.

#![allow(
    clippy::print_stdout,
    reason = "numbers for people, and how far a long run is"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use slipway_lab::world::{NETWORK_FAULTS, Outcome, Without, deed_names, run_without, shrink};

/// Seeds of a run when nobody says otherwise.
const SEEDS: u64 = 20;
/// With so many seeds, every fault must have been met.
const ENOUGH: usize = 200;
/// Every so many seeds one is run twice.
const TWICE: u64 = 50;
/// Threads: one history each.
const THREADS: usize = 2;
/// Seeds that failed once.
const PAST: &str = include_str!("seeds.txt");

#[expect(
    clippy::disallowed_methods,
    reason = "how many seeds is said by the environment"
)]
fn said(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str) -> Option<u64> {
    said(name)?.parse().ok()
}

fn without() -> Without {
    Without::read(&said("SLIPWAY_WITHOUT").unwrap_or_default())
}

/// The seeds to run: those of the past first.
fn seeds() -> Vec<u64> {
    if let Some(seed) = number("SLIPWAY_SEED") {
        return vec![seed];
    }
    let first = number("SLIPWAY_FIRST").unwrap_or(0);
    let count = number("SLIPWAY_SEEDS").unwrap_or(SEEDS);
    let past = PAST
        .lines()
        .filter_map(|line| line.split(' ').next()?.parse().ok());
    let mut all: Vec<u64> = past.collect();
    all.extend(first..first + count);
    all.dedup();
    all
}

/// Runs seeds on a few threads until one fails.
fn run_all(seeds: &[u64]) -> Result<BTreeMap<u64, Outcome>> {
    let (next, failed, without) = (AtomicUsize::new(0), AtomicBool::new(false), without());
    let outcomes = Mutex::new(BTreeMap::new());
    let work = || {
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            if failed.load(Ordering::Relaxed) {
                return;
            }
            let outcome = run_without(*seed, &without);
            let good = outcome.as_ref().is_ok_and(|it| it.broken.is_empty());
            failed.fetch_or(!good, Ordering::Relaxed);
            let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            outcomes.insert(*seed, outcome);
            if outcomes.len().is_multiple_of(1000) {
                println!("{} seeds", outcomes.len());
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    let outcomes = outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    outcomes
        .into_iter()
        .map(|(seed, outcome)| Ok((seed, outcome?)))
        .collect()
}

/// A failing history: what it broke, how to see it again, and what of it matters.
fn shown(outcome: &Outcome) -> Result<String> {
    let commit = Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .output();
    let commit = commit.map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned());
    let mut text = format!(
        "seed {} is broken:\n  {}\ncommit {}\n",
        outcome.seed,
        outcome.broken.join("\n  "),
        commit.unwrap_or_default(),
    );
    if said("SLIPWAY_MUTANT").is_some() {
        return Ok(text);
    }
    println!("{text}it is made small");
    let small = shrink(outcome.seed, &without())?;
    let deeds: Vec<String> = small
        .outcome
        .deeds
        .iter()
        .map(|(n, deed)| format!("{n} {deed}"))
        .collect();
    write!(
        text,
        "made small in {} runs; again with SLIPWAY_SEED={} SLIPWAY_WITHOUT={}\nleft: {:?} {deeds:?}\n{}\n{}",
        small.tries,
        outcome.seed,
        small.without.list(),
        small.outcome.mix,
        small.outcome.broken.join("\n"),
        small.outcome.lines.join("\n"),
    )?;
    Ok(text)
}

#[test]
fn no_history_breaks_an_invariant() -> Result<()> {
    let outcomes = run_all(&seeds())?;
    let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, times) in outcomes.values().flat_map(|outcome| &outcome.faults) {
        *faults.entry(kind).or_default() += times;
    }
    let sum = |of: fn(&Outcome) -> u64| outcomes.values().map(of).sum::<u64>();
    let seeds = u64::try_from(outcomes.len())?.max(1);
    println!(
        "{} seeds, {} steps each, {} writes, {} reboots, {} h of virtual time, {} broken\nfaults: {faults:?}",
        seeds,
        sum(|outcome| outcome.steps) / seeds,
        sum(|outcome| outcome.writes),
        sum(|outcome| outcome.reboots),
        sum(|outcome| outcome.lasted.as_secs()) / 3600,
        outcomes.values().filter(|it| !it.broken.is_empty()).count(),
    );
    if number("SLIPWAY_SEED").is_some() {
        for outcome in outcomes.values() {
            println!("{}", outcome.lines.join("\n"));
        }
    }
    if let Some(broken) = outcomes.values().find(|it| !it.broken.is_empty()) {
        bail!("{}", shown(broken)?);
    }
    if outcomes.len() >= ENOUGH {
        let all = NETWORK_FAULTS.iter().map(|kind| (*kind).to_owned());
        for kind in all.chain(deed_names()) {
            ensure!(faults.contains_key(kind.as_str()), "never met: {kind}");
        }
    }
    Ok(())
}

#[test]
fn a_seed_replays_byte_for_byte() -> Result<()> {
    let count = number("SLIPWAY_SEEDS").unwrap_or(SEEDS);
    let sample: Vec<u64> = (0..count)
        .filter(|seed| seed.is_multiple_of(TWICE))
        .collect();
    let (first, second) = (run_all(&sample)?, run_all(&sample)?);
    for (seed, outcome) in &first {
        let again = second.get(seed).context("a seed was not run again")?;
        ensure!(again.hash == outcome.hash, "seed {seed} has two histories");
    }
    Ok(())
}
