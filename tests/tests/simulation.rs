//! Histories of the seeded simulation: safety after every write, liveness once faults stop.
//!
//! `SLIPWAY_SEEDS=1000` runs more of them, `SLIPWAY_SEED=7` one alone, with its last lines.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};
use slipway_lab::world::{Outcome, run};

/// Seeds of a run when nobody says otherwise.
const SEEDS: u64 = 20;
/// Threads: one history each.
const THREADS: usize = 2;

#[expect(
    clippy::disallowed_methods,
    reason = "how many seeds is said by the environment"
)]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn shown(outcome: &Outcome) -> String {
    format!(
        "seed {} is broken:\n  {}\nrun it again with SLIPWAY_SEED={}; its last lines:\n{}",
        outcome.seed,
        outcome.broken.join("\n  "),
        outcome.seed,
        outcome.lines.join("\n")
    )
}

/// Runs seeds on a few threads; outcomes come by seed.
fn run_all(first: u64, count: u64) -> Result<BTreeMap<u64, Outcome>> {
    let next = AtomicU64::new(first);
    let outcomes = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let outcome = run(seed);
                    let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                    outcomes.insert(seed, outcome);
                }
            });
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

#[test]
fn no_history_breaks_an_invariant() -> Result<()> {
    let (first, count) = match number("SLIPWAY_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("SLIPWAY_SEEDS").unwrap_or(SEEDS)),
    };
    let outcomes = run_all(first, count)?;
    let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, times) in outcomes.values().flat_map(|outcome| &outcome.faults) {
        *faults.entry(kind).or_default() += times;
    }
    let sum = |of: fn(&Outcome) -> u64| outcomes.values().map(of).sum::<u64>();
    println!(
        "{} seeds, {} writes, {} reboots, {} h of virtual time, {} broken\nfaults: {faults:?}",
        outcomes.len(),
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
    let broken: Vec<&Outcome> = outcomes
        .values()
        .filter(|it| !it.broken.is_empty())
        .collect();
    for outcome in broken.iter().skip(1) {
        println!(
            "seed {} is broken too: {}",
            outcome.seed,
            outcome.broken.join("; ")
        );
    }
    ensure!(
        broken.is_empty(),
        "{}",
        broken.first().map_or_else(String::new, |it| shown(it))
    );
    Ok(())
}

#[test]
fn a_seed_replays_byte_for_byte() -> Result<()> {
    let first = run_all(0, 3)?;
    let second = run_all(0, 3)?;
    for (seed, outcome) in &first {
        ensure!(
            second
                .get(seed)
                .is_some_and(|again| again.hash == outcome.hash),
            "seed {seed} has two histories"
        );
    }
    Ok(())
}
