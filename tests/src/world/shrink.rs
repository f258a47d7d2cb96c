//! A failing history made small: faults are left out, one after the other, while it still fails.

use anyhow::Result;

use super::run::{Outcome, run_without};
use super::setup::Without;

/// Most histories that are run to make one small.
const TRIES: usize = 150;

/// What is left of a failing seed when everything that does not matter is left out.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What was left out.
    pub without: Without,
    /// The history that still fails.
    pub outcome: Outcome,
    /// How many histories were run for it.
    pub tries: usize,
}

/// Makes the history of a seed as small as it gets.
///
/// # Errors
/// The simulation itself cannot run.
pub fn shrink(seed: u64, without: &Without) -> Result<Shrunk> {
    let mut shrunk = Shrunk {
        without: without.clone(),
        outcome: run_without(seed, without)?,
        tries: 1,
    };
    let Some(wanted) = kind(&shrunk.outcome) else {
        return Ok(shrunk);
    };
    let kinds: Vec<String> = shrunk.outcome.mix.clone();
    try_all(&mut shrunk, &wanted, kinds, |without, kind: String| {
        without.kinds.insert(kind);
    })?;
    // What came last is hardly ever needed: from the end backwards.
    let deeds: Vec<u64> = shrunk
        .outcome
        .deeds
        .iter()
        .map(|(number, _)| *number)
        .rev()
        .collect();
    try_all(&mut shrunk, &wanted, deeds, |without, deed| {
        without.deeds.insert(deed);
    })?;
    Ok(shrunk)
}

/// Leaves out halves, quarters, and so on down to single ones.
fn try_all<T: Clone>(
    shrunk: &mut Shrunk,
    wanted: &str,
    mut left: Vec<T>,
    add: impl Fn(&mut Without, T),
) -> Result<()> {
    let mut size = left.len();
    while size > 0 {
        let mut kept = Vec::new();
        for part in left.chunks(size) {
            let mut without = shrunk.without.clone();
            for one in part {
                add(&mut without, one.clone());
            }
            if shrunk.tries >= TRIES {
                return Ok(());
            }
            shrunk.tries += 1;
            let outcome = run_without(shrunk.outcome.seed, &without)?;
            if kind(&outcome).as_deref() == Some(wanted) {
                shrunk.without = without;
                shrunk.outcome = outcome;
            } else {
                kept.extend_from_slice(part);
            }
        }
        left = kept;
        size /= 2;
    }
    Ok(())
}

/// Which invariant fell first.
fn kind(outcome: &Outcome) -> Option<String> {
    let first = outcome.broken.first()?;
    first.split(':').next().map(str::to_owned)
}
