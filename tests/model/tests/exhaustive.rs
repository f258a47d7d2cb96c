//! Every configuration of a commit, exhausted: no invariant breaks, and from every state the goal
//! stays in reach. The large ones are those of `slipway-model --nightly`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use slipway_model::configuration::{Account, CASES, PLAIN, account, configuration};
use slipway_model::rules::Rules;
use stateright::{Checker as _, Model as _};

/// Above the largest configuration of a commit.
const MOST: usize = 4_000_000;

/// What only mutants do, and what only a mutant would need.
const OF_MUTANTS: [&str; 4] = ["GrantLate", "FreeByGuess", "EndByTime", "Void"];

/// Explored by two at once: each is a world of its own.
fn explored() -> Vec<(&'static str, Account)> {
    let next = AtomicUsize::new(0);
    let cases: Vec<_> = CASES.iter().filter(|case| !case.is_nightly).collect();
    let work = || {
        let turns = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        turns
            .map_while(|turn| cases.get(turn))
            .map(|case| (case.name, account(case, Rules::ALL, MOST)))
            .collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut all = work();
        match other.join() {
            Ok(others) => all.extend(others),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        all
    })
}

#[test]
fn every_configuration_holds_and_together_they_take_every_step() {
    let mut kinds = BTreeSet::new();
    for (name, found) in explored() {
        println!(
            "{name}: {} states, {} steps, {} stuck",
            found.states, found.steps, found.stuck
        );
        let way = found.trace.join("\n");
        assert_eq!(found.verdict, None, "{name}: {:?}\n{way}", found.missed);
        kinds.extend(found.kinds.into_keys());
    }
    let every = slipway_model::model::Step::kinds();
    let missing: Vec<_> = every.iter().filter(|kind| !kinds.contains(*kind)).collect();
    let of_the_protocol = |kind: &&&String| !OF_MUTANTS.iter().any(|name| kind.ends_with(name));
    assert_eq!(
        missing.iter().filter(of_the_protocol).count(),
        0,
        "never taken: {missing:?}"
    );
}

#[test]
fn the_checker_of_stateright_finds_the_same_states() {
    let ours = account(&PLAIN, Rules::ALL, MOST);
    let theirs = configuration::<2>(&PLAIN, Rules::ALL)
        .checker()
        .spawn_bfs()
        .join();
    theirs.assert_properties();
    assert_eq!(theirs.unique_state_count(), ours.states);
}
